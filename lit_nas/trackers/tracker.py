"""What a tracker can be asked to show: one interface, with an adapter for each logger."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pytorch_lightning.loggers.logger import Logger

from lit_nas.trackers.held_points import HeldPoints
from lit_nas.trackers.identity import RunIdentity
from lit_nas.trackers.shown import Chart, Kept, Picture

__all__ = ("Tracker",)


class Tracker(ABC):
    """Shows what scalars cannot, by the interface that a logger alone has. Called on rank zero only.

    Scalars, and the configuration, reach every logger of Lightning without it. A logger without an adapter gets those
    alone; `register_tracker` adds one.

    Args:
        logger: A logger of the kind that the adapter serves.
    """

    draws: ClassVar[bool] = True
    """Whether it takes pictures and charts; otherwise none is drawn for it."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    @staticmethod
    @abstractmethod
    def serves() -> type[Logger]:
        """The class of its loggers; imported when it is asked for."""

    @staticmethod
    def arguments(given: Mapping[str, Any], run: RunIdentity) -> dict[str, Any]:
        """Arguments of the logger's constructor that make the run found again, next to those it belongs to.

        Args:
            given: Those that the configuration gives; they win.
            run: Which run it is.
        """
        return {}

    def begin(self, folder: Path, by_epoch: Sequence[str], together: Mapping[str, Mapping[str, Sequence[str]]]) -> None:  # noqa: B027  # most need not
        """Arranges scalars before the first one comes.

        Args:
            folder: Of the run.
            by_epoch: Names of scalars whose x-axis is the epoch; that of all others is the step.
            together: Chart -> panel -> names of the scalars that belong into it.
        """

    def holds(self, name: str, step: int) -> bool:
        """Whether the logger has a value from before a kill, as far as it knows that.

        Args:
            name: Of the value.
            step: At which it was logged.
        """
        return isinstance(self.logger, HeldPoints) and self.logger.holds(name, step)

    @abstractmethod
    def show_chart(self, chart: Chart, epoch: int, step: int) -> None:
        """Shows lines over the epochs so far.

        Args:
            chart: The lines.
            epoch: The present one.
            step: Of the weights, since the run began.
        """

    @abstractmethod
    def show_picture(self, picture: Picture, epoch: int, step: int) -> None:
        """Shows a picture as that of an epoch.

        Args:
            picture: The picture; its file is gone afterwards.
            epoch: The present one.
            step: Of the weights, since the run began.
        """

    @abstractmethod
    def keep(self, kept: Kept) -> None:
        """Keeps a version of a file.

        Args:
            kept: The file.
        """

    @abstractmethod
    def summarise(self, values: Mapping[str, Any]) -> None:
        """Shows what a table of runs should show of this one.

        Args:
            values: Numbers and short texts by name.
        """

    def end(self) -> None:  # noqa: B027  # most have nothing to end
        """Ends the run, where the next one of this process would otherwise go on with it."""
