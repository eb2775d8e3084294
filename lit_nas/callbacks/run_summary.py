"""What a table of runs shows of one, and which scalars belong to epochs."""

import os
from typing import Any

from pytorch_lightning import Trainer

from lit_nas.callbacks.alpha_history import candidates_of
from lit_nas.callbacks.measure_cost import MeasureCost
from lit_nas.genotype import Genotype
from lit_nas.internals import callbacks_of, data_of
from lit_nas.record.recorded_module import RecordedModule
from lit_nas.search import SearchModule
from lit_nas.tabular import DATASETS, Standing

__all__ = ("epoch_scalars", "run_summary")

EVERYWHERE = (
    *("val/loss", "val/accuracy", "val/top5_accuracy", "val/perplexity", "train/loss", "train/accuracy"),
    *("lr/weights", "lr/arch", "weights/loss", "arch/loss"),
    *("cost/seconds", "cost/device_hours", "cost/peak_memory_gib"),
)
"""Scalars of any run that are logged once an epoch."""
SHOWN = ("accuracy", "loss", "perplexity")
"""What the names of metrics end in that tell how good a run is."""


def epoch_scalars(module: RecordedModule) -> tuple[str, ...]:
    """Names of the scalars whose x-axis is the epoch.

    Args:
        module: What is fitted.
    """
    if not isinstance(module, SearchModule):
        return EVERYWHERE
    found = [*EVERYWHERE, "temperature"]
    for name, cell in module.architecture.space.cells.items():
        found += [f"{figure}/{name}" for figure in ("entropy", "margin", "sparsity", "none", "skips")]
        found += [f"heat_map/{name}", f"alphas/{name}"]
        if module.architecture.edge_relaxation is not None:
            found += [f"edge/{name}/{source}-{target}" for source, target in cell.edges]
    found += [each.scalar for each in candidates_of(module.architecture.space)]
    found += [f"table/{data}/{name}" for data in DATASETS for name in Standing._fields]
    return (*found, "cell")


def run_summary(trainer: Trainer, module: RecordedModule) -> dict[str, Any]:
    """Method, data and seed, how good the run is and what it has cost, what it found.

    Args:
        trainer: Of the run.
        module: What was fitted.
    """
    seed, space = os.environ.get("PL_GLOBAL_SEED"), getattr(getattr(module, "architecture", None), "space", None)
    values: dict[str, Any] = {"method": type(module).__name__, "epochs": trainer.current_epoch}
    if space is not None:
        values["space"] = type(space).__name__
    if (data := data_of(trainer)) is not None:
        values["data"] = type(data).__name__
    if seed is not None:
        values["seed"] = int(seed)
    for name, value in trainer.callback_metrics.items():
        if name.endswith(SHOWN) or name.startswith(("entropy/", "margin/", "skips/", "none/", "sparsity/", "table/")):
            values[name] = float(value)
    for callback in callbacks_of(trainer):
        if isinstance(callback, MeasureCost):
            cost = callback.values(trainer, module.device)
            values |= {f"cost/{name}": value for name, value in cost.items() if value is not None}
    genotype = module.derive_or_none() if isinstance(module, SearchModule) else getattr(module, "genotype", None)
    if genotype is not None:
        values["genotype"] = genotype.label or _in_one_line(genotype)
        values["skip_connections"] = sum(
            edge.operation == "skip_connect" for cell in genotype.cells.values() for edge in cell.edges
        )
    values["folder"] = str(trainer.default_root_dir)
    return values


def _in_one_line(genotype: Genotype) -> str:
    """As in `normal 2 = sep_conv_3x3(0) + skip_connect(1), 3 = ...; reduce ...`."""
    cells = []
    for name, cell in genotype.cells.items():
        nodes = sorted({edge.target for edge in cell.edges})
        sums = (" + ".join(f"{edge.operation}({edge.source})" for edge in cell.inbound(node)) for node in nodes)
        cells.append(f"{name} " + ", ".join(f"{node} = {terms}" for node, terms in zip(nodes, sums, strict=True)))
    return "; ".join(cells)
