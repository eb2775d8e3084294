"""A layout for the workspace of Weights & Biases, saved there once for all runs of a project."""

from importlib import import_module
from typing import Any

__all__ = ("build_workspace", "save_workspace")

HEALTH = {
    "entropy": "entropy of the mixing weights (nats)",
    "margin": "lead of the strongest operation",
    "sparsity": "candidates of weight 0",
    "none": "edges on which none is the strongest",
    "skips": "skip connections of the derived cell",
}


def build_workspace(entity: str, project: str, cells: dict[str, list[str]], name: str = "lit-nas") -> Any:
    """The layout: how good, the architecture edge by edge, its health, pictures, cost. Needs no account.

    Its panels find scalars by pattern, so each edge has one live chart of all its operations without any further data.

    Args:
        entity: User or team that it belongs to.
        project: The project.
        cells: Cell -> its edges, `0-2` for example.
        name: What the view is called.

    Raises:
        ValueError: if `wandb-workspaces` is missing, with what to install.
    """
    try:
        panels: Any = import_module("wandb_workspaces.reports.v2")  # finds its classes when it is imported
        workspaces: Any = import_module("wandb_workspaces.workspaces")
    except ModuleNotFoundError as error:
        raise ValueError("A workspace needs the package wandb-workspaces: pip install 'lit-nas[workspace]'.") from error

    def lines(title: str, pattern: str, x: str = "epoch") -> Any:
        return panels.LinePlot(title=title, x=x, metric_regex=pattern)

    def section(title: str, found: list[Any], is_open: bool = True) -> Any:
        return workspaces.Section(name=title, panels=found, is_open=is_open)

    pictures = [panels.MediaBrowser(title="derived cells", media_keys=["cell"], num_columns=1)]
    pictures += [panels.MediaBrowser(title=f"{cell} cell", media_keys=[f"heat_map/{cell}"]) for cell in cells]
    table = [lines(f"{what} in the table", f"^table/.*/{what}$") for what in ("test_accuracy", "rank", "regret")]
    sections = [
        section("results", [lines("accuracy", r"^(train|val|test)/accuracy$"), lines("loss", r"^[a-z]+/loss$")]),
        section("health", [lines(title, f"^{figure}/") for figure, title in HEALTH.items()]),
        section("cells", pictures),
        *(
            section(f"mixing weights, {cell} cell", [lines(f"edge {edge}", f"^alpha/{cell}/{edge}/") for edge in edges])
            for cell, edges in cells.items()
        ),
        section("cost", [lines("cost", "^cost/"), lines("learning rates", "^lr/")], is_open=False),
        section("table", table, is_open=False),
        section("steps", [lines("losses of steps", "/loss_step$", "trainer/global_step")], is_open=False),
    ]
    return workspaces.Workspace(entity=entity, project=project, name=name, sections=sections)


def save_workspace(entity: str, project: str, cells: dict[str, list[str]], name: str = "lit-nas") -> str:
    """Saves the layout at Weights & Biases, which needs an account (`wandb login`).

    Args:
        entity: User or team that it belongs to.
        project: The project.
        cells: Cell -> its edges.
        name: What the view is called.

    Returns:
        Where it is.

    Raises:
        ValueError: if `wandb-workspaces` is missing.
    """
    return str(build_workspace(entity, project, cells, name).save().url)
