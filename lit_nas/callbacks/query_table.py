"""What the cell of each epoch is truly worth, from a tabular benchmark."""

import csv
import io
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_nas.atomic_write import write_text
from lit_nas.callbacks.expect import search_of
from lit_nas.genotype import NAS_BENCH_201
from lit_nas.record.run_folder import run_folder, writes
from lit_nas.search import SearchModule
from lit_nas.tabular import Standing, Table, read_table

__all__ = ("QueryTable",)

COLUMNS = ("epoch", "architecture", "dataset", *Standing._fields)


class QueryTable(Callback):
    """Looks the derived cell of NAS-Bench-201 up after every epoch, for all loggers and `table.csv` in the run folder.

    Scalars, for each data set: `table/<dataset>/test_accuracy` (per cent), `rank` (1 is the best of 15,625 cells) and
    `regret` (percentage points behind the best). The file has the columns epoch, architecture, dataset, test_accuracy,
    rank, regret. A resumed run goes on in the same file. Nothing of this reaches the search.

    Args:
        path: The table: a CSV file, or the official file or folder of NATS-Bench (see `read_table`).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._table: Table | None = None
        self._rows: list[tuple[str, ...]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reads the table.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: if it is not whole, or the run is no search among the cells of NAS-Bench-201.
        """
        if not isinstance(pl_module, SearchModule) or pl_module.architecture.space.name != NAS_BENCH_201:
            raise ValueError(
                "QueryTable looks up cells of NAS-Bench-201: leave it out, or search in NasBench201Space (model.space)."
            )
        if stage == "fit":
            self._table = read_table(Path(self.path))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over the epochs that are behind the run, and drops those that it will train again."""
        path = run_folder(trainer) / "table.csv"
        self._rows = []
        if writes(trainer) and trainer.current_epoch > 0 and path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [tuple(row) for row in csv.reader(file)][1:]
            self._rows = [row for row in rows if int(row[0]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs what the table says of the cell that the epoch has found, and adds it to `table.csv`."""
        search = search_of(pl_module, self)
        genotype = search.derive_or_none()
        if genotype is None or genotype.architecture is None or self._table is None:
            return
        architecture, values = genotype.architecture, dict[str, Tensor | float]()
        for dataset, standing in self._table.look_up(architecture).items():
            values |= {f"table/{dataset}/{name}": float(value) for name, value in standing._asdict().items()}
            numbers = (repr(value) for value in standing)
            self._rows.append((str(trainer.current_epoch), architecture, dataset, *numbers))
        search.log_now(values)
        if writes(trainer):
            text = io.StringIO()
            csv.writer(text).writerows([COLUMNS, *self._rows])
            write_text(run_folder(trainer) / "table.csv", text.getvalue())
