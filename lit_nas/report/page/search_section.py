"""The part of the page that belongs to one search: heat maps, trajectories and the cells."""

import tempfile
from pathlib import Path
from typing import Any

from lit_nas.genotype import Genotype
from lit_nas.report.draw import draw_genotype
from lit_nas.report.page.alphas import alpha_data
from lit_nas.report.page.markup import data_script, details, escape, picture, table
from lit_nas.report.page.run_files import RunFiles

__all__ = ("search_section",)


def search_section(run: RunFiles, place: int) -> str:
    """HTML of one search.

    Args:
        run: Its files.
        place: Its number on the page, for the names of its plots.
    """
    parts = [_plots(run, place), _cells(run)]
    if not any(parts):
        parts = ["<p>No epoch has been finished yet.</p>"]
    return "\n".join(part for part in parts if part)


def _plots(run: RunFiles, place: int) -> str:
    data = alpha_data(run)
    if data is None:
        return ""
    last, mark = data["epochs"][-1], f"alphas-{place}"
    maps = "\n".join(
        f'<figure><figcaption>Mixing weights: {escape(cell["name"])}</figcaption><div class="plot heat" '
        f'data-alphas="{mark}" data-cell="{number}" style="height:{_height(cell)}px"></div></figure>'
        for number, cell in enumerate(data["cells"])
    )
    options = "\n".join(
        f'<option value="{number},{edge}">{escape(cell["name"])}: {escape(label)}</option>'
        for number, cell in enumerate(data["cells"])
        for edge, label in enumerate(cell["edges"])
    )
    slider = (
        f'<label class="control">epoch <output>{last}</output><input type="range" class="epoch" data-alphas="{mark}" '
        f'min="0" max="{len(data["epochs"]) - 1}" value="{len(data["epochs"]) - 1}"></label>'
    )
    select = f'<label class="control">edge <select class="edge" data-alphas="{mark}">\n{options}\n</select></label>'
    tables = "".join(_table(cell, last) for cell in data["cells"])
    return (
        f'{data_script(mark, data)}\n<div class="scripted">{slider}\n<div class="grid">{maps}</div>\n{select}\n'
        f'<figure><div class="plot trajectory" data-alphas="{mark}"></div>'
        "<figcaption>Mixing weights of an edge over epochs</figcaption></figure></div>\n"
        + details(f"Mixing weights of epoch {last} as tables", tables)
    )


def _height(cell: dict[str, Any]) -> int:
    return 190 + 24 * len(cell["edges"])


def _table(cell: dict[str, Any], epoch: int) -> str:
    rows = [
        [label, *("" if value is None else f"{value:.4f}" for value in values)]
        for label, values in zip(cell["edges"], cell["values"][-1], strict=True)
    ]
    return table([cell["name"], *cell["operations"]], rows, f"{cell['name']}, epoch {epoch}")


def _cells(run: RunFiles) -> str:
    if run.genotype is None:
        return ""
    state = "" if (run.folder / "genotype.json").is_file() else " so far"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cell.svg"
        draw_genotype(run.genotype, path)
        drawn = picture(path, f"Cells of {run.name}: {_words(run.genotype)}")
    text = f"<p><code>{escape(run.genotype.architecture)}</code></p>" if run.genotype.architecture else ""
    return f"<figure>{drawn}<figcaption>The cells{state}</figcaption></figure>{text}"


def _words(genotype: Genotype) -> str:
    cells = []
    for name, cell in genotype.cells.items():
        edges = ", ".join(f"{edge.operation} from {edge.source} to {edge.target}" for edge in cell.edges)
        cells.append(f"{name}: {edges}")
    return "; ".join(cells)
