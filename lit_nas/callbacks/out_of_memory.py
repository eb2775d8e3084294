"""What to do when memory runs out."""

from pytorch_lightning import Callback, LightningModule, Trainer

from lit_nas.internals import data_of
from lit_nas.retrain import LanguageRetrainModule, RetrainModule
from lit_nas.search import SearchModule

__all__ = ("ExplainMemory", "is_out_of_memory")


def is_out_of_memory(exception: BaseException) -> bool:
    """Whether an exception says that a device or the host has no memory left."""
    text = str(exception)
    return isinstance(exception, MemoryError) or "out of memory" in text or "can't allocate memory" in text


class ExplainMemory(Callback):
    """Adds to an out-of-memory error which settings would help, with their present values."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Extends the message of the exception, which is raised further."""
        if is_out_of_memory(exception):
            exception.args = (f"{exception}\n{self.advice(trainer, pl_module)}",)

    @staticmethod
    def advice(trainer: Trainer, module: LightningModule) -> str:
        """One clause per setting that the module obeys."""
        settings = []
        if (parts := _parts(trainer, module)) is not None:
            settings.append(parts)
        if (size := getattr(data_of(trainer), "batch_size", None)) is not None:
            settings.append(f"data.batch_size (now {size}): activations grow with it")
        if (checkpoint := _engine_checkpoint(module)) is not None:
            settings.append(checkpoint)
        settings.append(f"trainer.precision (now {trainer.precision}): bf16-mixed halves the activations")
        if (channels := _init_channels(module)) is not None:
            settings.append(channels)
        return "Memory ran out. Settings that need less: " + "; ".join(settings) + "."


def _parts(trainer: Trainer, module: LightningModule) -> str | None:
    """The setting that cuts a step into parts: a search has its own, retraining uses that of the Trainer."""
    if isinstance(module, SearchModule):
        return (
            f"model.optim.accumulate (now {module.optim.accumulate}): cuts each batch into parts that follow each "
            "other in memory"
        )
    if isinstance(module, RetrainModule):
        return (
            f"trainer.accumulate_grad_batches (now {trainer.accumulate_grad_batches}): 2 with half the data.batch_size "
            "makes steps of the same size"
        )
    return None


def _engine_checkpoint(module: LightningModule) -> str | None:
    """The setting of the engine, which the module keeps in its recorded arguments only."""
    if not isinstance(module, SearchModule) or (engine := module.hparams.get("engine")) is None:
        return None
    name, arguments = engine["class_path"].rpartition(".")[2], engine.get("init_args", {})
    if "checkpoint" not in arguments:
        return f"model.engine (now {name}): Fused with checkpoint: true keeps the least"
    if arguments["checkpoint"]:
        return None
    return "model.engine.checkpoint (now false): true computes candidates again instead of keeping their results"


def _init_channels(module: LightningModule) -> str | None:
    if isinstance(module, SearchModule):
        space = module.architecture.space
        width = "init_channels" if hasattr(space, "init_channels") else "width"
        return f"model.space.{width} (now {getattr(space, width, 'unset')})"
    if isinstance(module, LanguageRetrainModule):
        return f"model.width (now {module.network.width})"
    if isinstance(module, RetrainModule):
        channels = module.hparams.get("init_channels")
        return f"model.init_channels (now {'the default' if channels is None else channels})"
    return None
