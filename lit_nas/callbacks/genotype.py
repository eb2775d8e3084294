"""Writing what a search has found."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from pytorch_lightning import Callback, Trainer

import lit_nas
from lit_nas.callbacks.folder import run_folder, writes
from lit_nas.genotype import Genotype

if TYPE_CHECKING:
    from lit_nas.search import SearchModule

__all__ = ("WriteGenotype",)


def _commit() -> str | None:
    """Commit of the checkout that lit-nas runs from; None for an installed package."""
    folder = Path(lit_nas.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


class WriteGenotype(Callback):
    """Writes the derived cells after every epoch as `genotypes/epoch-NNNN.json`, the last ones as `genotype.json`.

    Beside each file lies a picture. The last genotype is printed as a table.

    Args:
        picture: `svg`, `png`, or None for no pictures.

    Raises:
        ValueError: for another kind of picture.
    """

    def __init__(self, picture: str | None = "svg") -> None:
        if picture not in ("svg", "png", None):
            raise ValueError(f"WriteGenotype.picture must be svg, png or null, not {picture!r}.")
        self.picture = picture
        self._last: Genotype | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: "SearchModule") -> None:
        """Writes the cells of this epoch."""
        genotype = pl_module.derive()
        seed, accuracy = os.environ.get("PL_GLOBAL_SEED"), trainer.callback_metrics.get("val/accuracy")
        genotype.meta.update(
            seed=None if seed is None else int(seed),
            epoch=trainer.current_epoch,
            commit=_commit(),
            validation_accuracy=None if accuracy is None else float(accuracy),
        )
        self._last = genotype
        if writes(trainer):
            self._write(genotype, run_folder(trainer) / "genotypes" / f"epoch-{trainer.current_epoch:04d}.json")

    def on_train_end(self, trainer: Trainer, pl_module: "SearchModule") -> None:
        """Writes and prints the last cells."""
        if self._last is not None and writes(trainer):
            path = run_folder(trainer) / "genotype.json"
            self._write(self._last, path)
            self._print(self._last, path)

    def _write(self, genotype: Genotype, path: Path) -> None:
        from lit_nas.drawing import draw_genotype  # matplotlib

        path.parent.mkdir(parents=True, exist_ok=True)
        genotype.save(path)
        if self.picture:
            draw_genotype(genotype, path.with_suffix(f".{self.picture}"))

    @staticmethod
    def _print(genotype: Genotype, path: Path) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("cell", "node", "operation", "from", title=f"Genotype, written to {path}")
        for name, cell in genotype.cells.items():
            for edge in cell.edges:
                origin = f"input {edge.source}" if edge.source < cell.inputs else f"node {edge.source}"
                table.add_row(name, str(edge.target), edge.operation, origin)
            table.add_section()
        Console().print(table)
