"""Alpha trajectories: what every edge prefers, epoch by epoch."""

import csv
import io

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_nas.atomic_write import write_text
from lit_nas.callbacks.alpha_history import candidates_of
from lit_nas.callbacks.expect import search_of
from lit_nas.callbacks.health_figures import health_figures
from lit_nas.record.run_folder import run_folder, writes

__all__ = ("LogAlphas",)

Row = tuple[str, ...]
FILES: dict[str, Row] = {
    "alphas.csv": ("epoch", "cell", "source", "target", "operation", "probability"),
    "edge_weights.csv": ("epoch", "cell", "source", "target", "weight"),
}
"""What is written, and its columns; the second one where edges have weights."""


class LogAlphas(Callback):
    """Logs the mixing weights after every epoch, to all loggers and to `alphas.csv` in the run folder.

    Scalars: `alpha/<cell>/<source>-<target>/<operation>` (mixing weight, free of noise), the figures of
    `health_figures`, and `skips/<cell>`, the number of skip connections of the derived cell, while there is one. The
    file has the columns epoch, cell, source, target, operation, probability; both have the candidates that an edge was
    built with. Where edges have weights of their own, they are `edge/<cell>/<source>-<target>` and `edge_weights.csv`
    with the columns epoch, cell, source, target, weight. A resumed run goes on in the same files.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {name: [] for name in FILES}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over the epochs that are behind the run, and drops those that it will train again."""
        self._rows = {name: [] for name in FILES}
        for name, kept in self._rows.items():
            path = run_folder(trainer) / name
            if writes(trainer) and trainer.current_epoch > 0 and path.exists():
                with path.open(encoding="utf-8", newline="") as file:
                    rows = [tuple(row) for row in csv.reader(file)][1:]
                kept += [row for row in rows if int(row[0]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the architecture as the epoch has left it, and adds it to `alphas.csv`."""
        search = search_of(pl_module, self)
        architecture, derived, epoch = search.architecture, search.derive_or_none(), trainer.current_epoch
        probabilities, weights = architecture.probabilities(), architecture.edge_probabilities()
        everything: dict[str, Tensor | float] = {**health_figures(search)}
        for name, cell in architecture.space.cells.items():
            if derived is not None:
                edges = derived.cells[name].edges if name in derived.cells else ()
                everything[f"skips/{name}"] = float(sum(edge.operation == "skip_connect" for edge in edges))
            for (source, target), weight in zip(cell.edges, weights[name], strict=True) if weights else ():
                everything[f"edge/{name}/{source}-{target}"] = weight
                self._add("edge_weights.csv", epoch, name, source, target, repr(float(weight)))
        for each in candidates_of(architecture.space):
            everything[each.scalar] = value = probabilities[each.cell][each.number, each.column]
            self._add("alphas.csv", epoch, each.cell, *each.edge.split("-"), each.operation, repr(float(value)))
        search.log_now(everything)
        for name, rows in self._rows.items():
            if writes(trainer) and rows:
                text = io.StringIO()
                csv.writer(text).writerows([FILES[name], *rows])
                write_text(run_folder(trainer) / name, text.getvalue())

    def _add(self, file: str, *entries: object) -> None:
        self._rows[file].append(tuple(map(str, entries)))
