"""Messages of Lightning and torch that are not about the run."""

import logging
import warnings

__all__ = ("quiet",)


class _Unneeded(logging.Filter):
    """Drops messages about Lightning's own code and its vendor's products, and repetitions within a process."""

    NEVER = (
        "litlogger",
        "litmodels",
        "TPU available",
        "`Trainer.fit` stopped: `max_epochs=",
        "Restoring states from",  # a second line says that it is done
        "distributed_backend=",  # a frame wider than a terminal; each process has said that it starts
    )
    ONCE = ("GPU available", "Seed set to")

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is shown."""
        message = record.getMessage()
        if any(part in message for part in self.NEVER) or message in self._seen:
            return False
        if any(part in message for part in self.ONCE):
            self._seen.add(message)
        return True


_UNNEEDED = _Unneeded()


def quiet() -> None:
    """Takes out messages that are not about the run, and those that a job of several stages would repeat."""
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")  # a run without validation
    # means over the epoch are logged all the same
    warnings.filterwarnings("ignore", r"The number of training batches \(\d+\) is smaller than the logging interval")
    # of depthwise kernels, where both layouts are the same
    warnings.filterwarnings("ignore", r"Grad strides do not match bucket view strides[\s\S]*sizes\(\) = \[\d+, 1, ")
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.seed"):
        logging.getLogger(name).addFilter(_UNNEEDED)  # which adds the same one once only
