"""Writing what a search has found."""

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.callbacks.expect import search_of
from lit_nas.genotype import Genotype
from lit_nas.record.run_folder import run_folder, writes

__all__ = ("WriteGenotype",)


class WriteGenotype(Callback):
    """Writes the derived cells after every epoch as `genotypes/epoch-NNNN.json`, the last ones as `genotype.json`.

    Beside each file lies a picture. The last genotype is printed as a table. An epoch in which nothing can be derived,
    because a cell has lost every operation, has no file.

    Args:
        picture: `svg`, `png`, or None for no pictures.

    Raises:
        ValueError: for another kind of picture.
    """

    def __init__(self, picture: str | None = "svg") -> None:
        if picture not in ("svg", "png", None):
            raise ValueError(f"WriteGenotype.picture must be svg, png or null, not {picture!r}.")
        self.picture = picture

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the cells of this epoch."""
        genotype = search_of(pl_module, self).derive_or_none()
        if genotype is not None and writes(trainer):
            self._write(genotype, run_folder(trainer) / "genotypes" / f"epoch-{trainer.current_epoch:04d}.json")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes and prints the last cells, also if the run was finished but for this."""
        if writes(trainer):
            genotype, path = (
                search_of(pl_module, self).derive_or_none(),
                run_folder(trainer) / "genotype.json",
            )
            if genotype is not None:
                self._write(genotype, path)
                self._print(genotype, path)
        trainer.strategy.barrier()  # what follows on any rank finds the file

    def _write(self, genotype: Genotype, path: Path) -> None:
        from lit_nas.report.draw import draw_genotype  # matplotlib

        path.parent.mkdir(parents=True, exist_ok=True)
        genotype.save(path)
        if self.picture:
            draw_genotype(genotype, path.with_suffix(f".{self.picture}"))

    @staticmethod
    def _print(genotype: Genotype, path: Path) -> None:
        from rich import box, get_console
        from rich.table import Table

        table = Table("cell", "node", "is the sum of", box=box.SIMPLE_HEAD)
        for name, cell in genotype.cells.items():
            for node in sorted({edge.target for edge in cell.edges}):
                terms = ", ".join(f"{edge.operation}({edge.source})" for edge in cell.inbound(node))
                table.add_row(name, str(node), terms)
            table.add_section()
        console = get_console()
        console.print(table)
        inputs = max(cell.inputs for cell in genotype.cells.values())
        states = "0 is the input" if inputs == 1 else f"0 to {inputs - 1} are the inputs".replace("0 to 1", "0 and 1")
        console.print(f"Numbers as in the files and the picture: {states} of a cell.", highlight=False)
        if genotype.architecture:
            console.print(genotype.architecture, soft_wrap=True, markup=False, highlight=False)
        console.print(f"Written to {path}", soft_wrap=True, markup=False, highlight=False)
