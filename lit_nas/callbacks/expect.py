"""What callbacks run with: modules of lit-nas, which know more than Lightning's."""

from pytorch_lightning import Callback, LightningModule

from lit_nas.record.recorded_module import RecordedModule
from lit_nas.search import SearchModule

__all__ = ("recorded", "search_of")


def search_of(pl_module: LightningModule, callback: Callback) -> SearchModule:
    """The module, once it is clear that it is a search.

    Raises:
        TypeError: naming the callback and the module.
    """
    if not isinstance(pl_module, SearchModule):
        raise TypeError(_refusal(pl_module, callback, "a search"))
    return pl_module


def recorded(pl_module: LightningModule, callback: Callback) -> RecordedModule:
    """The module, once it is clear that it is one of lit-nas.

    Raises:
        TypeError: naming the callback and the module.
    """
    if not isinstance(pl_module, RecordedModule):
        raise TypeError(_refusal(pl_module, callback, "a module of lit-nas"))
    return pl_module


def _refusal(pl_module: LightningModule, callback: Callback, wanted: str) -> str:
    name = type(callback).__name__
    return f"{name} works with {wanted}, not with {type(pl_module).__name__}: take it out of trainer.callbacks."
