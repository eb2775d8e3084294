"""What to do when memory runs out."""

from pytorch_lightning import Callback, LightningModule, Trainer

__all__ = ("ExplainMemory", "is_out_of_memory")


def is_out_of_memory(exception: BaseException) -> bool:
    """Whether an exception says that a device or the host has no memory left."""
    text = str(exception)
    return isinstance(exception, MemoryError) or "out of memory" in text or "can't allocate memory" in text


class ExplainMemory(Callback):
    """Adds to an out-of-memory error which settings would help, with their present values."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Extends the message; the exception goes on its way."""
        if is_out_of_memory(exception):
            exception.args = (f"{exception}\n{self.advice(trainer, pl_module)}",)

    @staticmethod
    def advice(trainer: Trainer, module: LightningModule) -> str:
        """A sentence a setting."""
        settings = [f"trainer.precision (now {trainer.precision}): bf16-mixed halves the activations"]
        if (data := getattr(trainer, "datamodule", None)) is not None:
            settings.append(f"data.batch_size (now {data.batch_size}): activations grow with it")
        if (parts := getattr(getattr(module, "optim", None), "accumulate", None)) is not None:
            settings.append(f"model.optim.accumulate (now {parts}): cuts a batch into parts that follow each other")
        if (engine := getattr(module, "engine", None)) is not None:
            settings.append(f"model.engine (now {engine!r}): Fused with checkpoint: true keeps the least")
        if (space := getattr(getattr(module, "architecture", None), "space", None)) is not None:
            settings.append(f"model.space.init_channels (now {getattr(space, 'init_channels', 'unset')})")
        return "Memory ran out. Settings that need less: " + "; ".join(settings) + "."
