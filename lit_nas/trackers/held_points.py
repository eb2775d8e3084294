"""Loggers that know what they hold, so that a run that continues logs no point twice."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

__all__ = ("HeldPoints",)


class HeldPoints(Logger):
    """Leaves out what an earlier process of the same run has logged at the same step.

    A run that was killed has logged steps behind its last checkpoint. It takes them again when it continues, and their
    values are those that the tracker holds already, because it continues exactly. What a kill has kept from the tracker
    before the checkpoint, because it was still under way, comes from the curves in the run folder (`complete`).
    """

    companions: ClassVar[frozenset[str]] = frozenset()
    """Names that accompany others in a row and are logged only together with them."""
    _held: frozenset[tuple[int, str]] | None = None

    @abstractmethod
    def points(self) -> Iterable[tuple[int, str]]:
        """(step, name) of all that earlier processes of this run have logged."""

    def holds(self, name: str, step: int | None) -> bool:
        """Whether an earlier process has logged a value.

        Args:
            name: Of the value.
            step: At which it was logged.
        """
        if self._held is None:
            self._held = frozenset(self.points())
        return step is not None and (step, name) in self._held

    def complete(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Logs what the curves of the run have up to the checkpoint and the tracker has not got.

        Args:
            rows: Those of the curves, each with its `step`.
        """
        for row in rows:
            values = {name: float(value) for name, value in row.items() if value != "" and name != "step"}
            self.log_metrics(values, int(row["step"]))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs what is not held."""
        fresh = {k: v for k, v in metrics.items() if k in self.companions or not self.holds(k, step)}
        if set(fresh) - self.companions:
            super().log_metrics(fresh, step)  # type: ignore[safe-super]  # of the logger that comes next
