"""What `trainer.sync_batchnorm` does to the networks of this package."""

from pytorch_lightning.plugins import LayerSync, TorchSyncBatchNorm
from pytorch_lightning.strategies import Strategy
from torch import nn

from lit_nas.internals import layer_sync_of, set_layer_sync
from lit_nas.operations import part_norms, synchronise_norms

__all__ = ("SynchroniseNorms", "replace_layer_sync")


class SynchroniseNorms(LayerSync):
    """Lets BatchNorm see the batches of all processes while a Trainer fits."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Synchronises.

        Raises:
            ValueError: if candidates were to run as compiled code, which synchronised ones cannot.
        """
        if any(getattr(getattr(module, "engine", None), "compile", False) for module in model.modules()):
            raise ValueError(
                "trainer.sync_batchnorm and model.engine.compile exclude each other: compiled candidates know the "
                "batch of their own process only. Set one of them to false."
            )
        synchronise_norms(model)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Makes each process normalise by itself again."""
        part_norms(model)
        return model


def replace_layer_sync(strategy: Strategy) -> None:
    """Puts `SynchroniseNorms` in the place of Lightning's own, which runs on GPUs only and has no second derivative."""
    if isinstance(layer_sync_of(strategy), TorchSyncBatchNorm):
        set_layer_sync(strategy, SynchroniseNorms())
