"""Results of a validation or a test as a table."""

from pytorch_lightning import Callback, LightningModule, Trainer

__all__ = ("ShowResults",)


class ShowResults(Callback):
    """Prints the metrics of `validate` and `test` with four digits, in the place of Lightning's table."""

    def __init__(self) -> None:
        self._verbose = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps Lightning from printing the metrics of a validation that is not part of a fit."""
        if trainer.state.fn == "validate":
            self._verbose, trainer.validate_loop.verbose = trainer.validate_loop.verbose, False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the metrics in a table of our own."""
        if trainer.state.fn == "validate":
            self._print(trainer, "validation metric")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps Lightning from printing the metrics."""
        self._verbose, trainer.test_loop.verbose = trainer.test_loop.verbose, False

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the metrics in a table of our own."""
        self._print(trainer, "test metric")

    def _print(self, trainer: Trainer, title: str) -> None:
        from rich import get_console
        from rich.table import Table

        if not (self._verbose and trainer.is_global_zero and trainer.callback_metrics):
            return
        table = Table(title, "value")
        for name, value in sorted(trainer.callback_metrics.items()):
            table.add_row(name, f"{float(value):.4f}")
        get_console().print(table)
