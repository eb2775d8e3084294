"""Alpha trajectories: what every edge prefers, epoch by epoch."""

import csv
import io

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_nas.atomic_write import write_text
from lit_nas.callbacks.expect import search_of
from lit_nas.record.run_folder import run_folder, writes

__all__ = ("LogAlphas", "entropy", "margin")

COLUMNS = ("epoch", "cell", "source", "target", "operation", "probability")


def entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy of each edge in nats, [E, O] -> [E]; log O for equal candidates, 0 for a single one."""
    return torch.special.entr(probabilities).sum(-1)


def margin(probabilities: Tensor) -> Tensor:
    """Lead of the best candidate of each edge over the second best, [E, O] -> [E]; O = 1 leads over nothing by p."""
    best = probabilities.sort(-1, descending=True).values
    return best[:, 0] - best[:, 1] if probabilities.shape[1] > 1 else best[:, 0]


class LogAlphas(Callback):
    """Logs the mixing weights after every epoch, to all loggers and to `alphas.csv` in the run folder.

    Scalars: `alpha/<cell>/<source>-<target>/<operation>` (mixing weight), and the means over the edges of a cell
    `entropy/<cell>` (nats) and `margin/<cell>` (lead of the best operation); `skips/<cell>` counts the skip
    connections of the derived cell, while there is one. The file has the columns epoch, cell, source, target,
    operation, probability. A resumed run goes on in the same file.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over the epochs that are behind the run, and drops those that it will train again."""
        path = run_folder(trainer) / "alphas.csv"
        self._rows = []
        if writes(trainer) and trainer.current_epoch > 0 and path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [tuple(row) for row in csv.reader(file)][1:]
            self._rows = [row for row in rows if int(row[0]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs and writes one epoch."""
        search = search_of(pl_module, self)
        space, probabilities = search.architecture.space, search.architecture.probabilities()
        derived, everything = search.derive_or_none(), dict[str, Tensor | float]()
        for name, cell in space.cells.items():
            table = probabilities[name]
            values = {f"entropy/{name}": entropy(table).mean(), f"margin/{name}": margin(table).mean()}
            if derived is not None:
                edges = derived.cells[name].edges if name in derived.cells else ()
                values[f"skips/{name}"] = torch.tensor(float(sum(edge.operation == "skip_connect" for edge in edges)))
            for edge, (source, target) in enumerate(cell.edges):
                for o, operation in enumerate(cell.operations):
                    value = table[edge, o]
                    values[f"alpha/{name}/{source}-{target}/{operation}"] = value
                    row = (trainer.current_epoch, name, source, target, operation, repr(float(value)))
                    self._rows.append(tuple(str(entry) for entry in row))
            everything |= values
        search.log_now(everything)
        if writes(trainer):
            text = io.StringIO()
            csv.writer(text).writerows([COLUMNS, *self._rows])
            write_text(run_folder(trainer) / "alphas.csv", text.getvalue())
