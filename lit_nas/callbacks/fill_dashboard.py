"""What the dashboards of a run show beside scalars."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.callbacks.alpha_history import AlphaHistory, candidates_of, panel_names
from lit_nas.callbacks.expect import recorded
from lit_nas.callbacks.run_summary import epoch_scalars, run_summary
from lit_nas.genotype import Genotype
from lit_nas.internals import batches_that_stepped
from lit_nas.record.run_folder import run_folder, writes
from lit_nas.resume import RunLogger
from lit_nas.retrain import Retraining
from lit_nas.search import SearchModule
from lit_nas.trackers import HeldPoints, Kept, Picture, Tracker, is_due, tracker_of

__all__ = ("FillDashboard",)


class FillDashboard(Callback):
    """Shows charts, pictures and files of a run in its loggers, each as it can (`lit_nas.trackers`).

    In a search: a heat map of the mixing weights of each cell and the derived cells as a picture, the trajectories of
    all operations of an edge in one chart, and each new genotype as a version. In a retraining its cell. In both the
    last checkpoint, and a summary for a table of runs. Mixing weights are free of noise. No picture is drawn
    where there are only loggers without a tracker, and that of the run folder.

    Args:
        every_n_epochs: How often heat maps are drawn, and cells where they have changed.
        checkpoint: Whether the last checkpoint becomes a version when the run has finished.

    Raises:
        ValueError: if the number is not positive.
    """

    def __init__(self, every_n_epochs: int = 1, checkpoint: bool = True) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"FillDashboard.every_n_epochs must be at least 1, not {every_n_epochs}.")
        self.every_n_epochs, self.checkpoint = every_n_epochs, checkpoint
        self._trackers: list[Tracker] = []
        self._history = AlphaHistory()
        self._shown: dict[str, Any] | None = None  # the cells of the last picture

    def state_dict(self) -> dict[str, Any]:
        """The cells that were shown last, so that a run that continues shows the same ones as one that was not cut."""
        return {"shown": self._shown}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over which cells were shown last."""
        self._shown = state_dict["shown"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the trackers, arranges their scalars and takes over the epochs that are behind the run."""
        folder, module = run_folder(trainer), recorded(pl_module, self)
        self._trackers = []
        if not writes(trainer):
            return
        self._trackers = [found for logger in trainer.loggers if (found := tracker_of(logger)) is not None]
        if self._drawing:
            self._history = AlphaHistory.read(folder / "alphas.csv", trainer.current_epoch)
        together = {}
        if isinstance(module, SearchModule):
            together = {f"alphas/{cell}": panels for cell, panels in panel_names(module.architecture.space).items()}
        for tracker in self._trackers:
            tracker.begin(folder, epoch_scalars(module), together)
        if batches_that_stepped(trainer):  # it continues
            curves = [row for logger in trainer.loggers if isinstance(logger, RunLogger) for row in logger.rows()]
            for logger in trainer.loggers:
                if isinstance(logger, HeldPoints):
                    logger.complete(curves)
        if isinstance(module, Retraining) and trainer.current_epoch == 0:
            self._show_cells(trainer, module.genotype)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows what the epoch has changed."""
        if not isinstance(pl_module, SearchModule) or not self._drawing:
            return
        epoch, last = trainer.current_epoch, trainer.current_epoch + 1 == trainer.max_epochs
        space, tables = pl_module.architecture.space, pl_module.architecture.probabilities()
        weights = {each.line: float(tables[each.cell][each.number, each.column]) for each in candidates_of(space)}
        self._history.add(epoch, weights)
        if last or epoch % self.every_n_epochs == 0:
            genotype = pl_module.derive_or_none()
            self._show_heat_maps(trainer, pl_module)
            if genotype is not None and genotype.to_dict()["cells"] != self._shown:
                self._show_cells(trainer, genotype)
                self._keep_genotype(trainer, genotype)
        if last or is_due(epoch):
            for tracker in self._drawing:
                for name in space.cells:
                    tracker.show_chart(self._history.chart(name), epoch, batches_that_stepped(trainer))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the genotype and the last checkpoint, and tells the summary."""
        folder = run_folder(trainer)
        kept = []
        if (path := folder / "genotype.json").exists() and isinstance(pl_module, SearchModule):
            kept.append(Kept("genotype", "genotype", path, ("final",), self._told(trainer)))
        if self.checkpoint and (path := folder / "checkpoints" / "last.ckpt").exists():
            kept.append(Kept("checkpoint", "model", path, ("last",), self._told(trainer)))
        for tracker in self._trackers:
            for each in kept:
                tracker.keep(each)
            tracker.summarise(run_summary(trainer, recorded(pl_module, self)))

    @property
    def _drawing(self) -> list[Tracker]:
        return [tracker for tracker in self._trackers if tracker.draws]

    def _show_heat_maps(self, trainer: Trainer, search: SearchModule) -> None:
        from lit_nas.report.draw_alphas import draw_heat_map  # matplotlib

        tables, cells = search.architecture.probabilities(), search.architecture.space.cells
        for name, cell in cells.items():
            values = [
                [float(table[o]) if o in cell.allowed[number] else None for o in range(len(cell.operations))]
                for number, table in enumerate(tables[name])
            ]
            rows, title = [f"{a} to {b}" for a, b in cell.edges], f"{name} cell, epoch {trainer.current_epoch}"
            with TemporaryDirectory() as folder:
                path = Path(folder) / "heat_map.png"
                draw_heat_map((rows, cell.operations, values), title, path)
                self._show(trainer, Picture(f"heat_map/{name}", path, title))

    def _show_cells(self, trainer: Trainer, genotype: Genotype) -> None:
        from lit_nas.report.draw import draw_genotype  # matplotlib

        self._shown = genotype.to_dict()["cells"]
        if self._drawing:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "cell.png"
                draw_genotype(genotype, path)
                caption = genotype.architecture or f"epoch {trainer.current_epoch}"
                self._show(trainer, Picture("cell", path, caption))

    def _show(self, trainer: Trainer, picture: Picture) -> None:
        for tracker in self._drawing:
            tracker.show_picture(picture, trainer.current_epoch, batches_that_stepped(trainer))

    def _keep_genotype(self, trainer: Trainer, genotype: Genotype) -> None:
        name = f"epoch-{trainer.current_epoch:04d}"
        for tracker in self._drawing:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "genotype.json"
                genotype.save(path)
                tracker.keep(Kept("genotype", "genotype", path, (name,), self._told(trainer)))

    @staticmethod
    def _told(trainer: Trainer) -> Mapping[str, object]:
        return {"epoch": trainer.current_epoch, "folder": str(run_folder(trainer))}
