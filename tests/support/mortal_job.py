"""A job that dies before a step, wherever in its stages that is."""

from collections.abc import Callable
from typing import Any

import pytest

from lit_nas.cli import main
from lit_nas.retrain import RetrainModule
from lit_nas.search import SearchModule


class Died(BaseException):
    """What a process would end by without a chance to save."""


class MortalJob:
    """Runs a job in this process, and counts the steps of all its stages.

    Args:
        config: Its configuration.
        monkeypatch: Of the test.
    """

    def __init__(self, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config, self.monkeypatch, self.steps = config, monkeypatch, 0

    def run(self, dies_at: int | None = None) -> int:
        """The exit status of `lit-nas run`; `steps` are those of this run alone.

        Args:
            dies_at: How many steps it takes before it dies; None lets it end.

        Raises:
            Died: before the step after them.
        """
        self.steps = 0
        with self.monkeypatch.context() as patch:
            for owner in (SearchModule, RetrainModule):
                patch.setattr(owner, "on_train_batch_start", self._counted(owner, dies_at))
            return main(["run", "-c", self.config])

    def _counted(self, owner: type[Any], dies_at: int | None) -> Callable[..., Any]:
        begin = owner.on_train_batch_start

        def on_train_batch_start(module: Any, batch: Any, batch_idx: int) -> Any:
            if self.steps == dies_at:
                raise Died
            self.steps += 1
            return begin(module, batch, batch_idx)

        return on_train_batch_start
