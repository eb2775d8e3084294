"""How stages are run: each in a process of its own, or all in this one where a launcher has started several."""

import json
import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.internals import is_rank_zero
from lit_nas.jobs.stage import FileOf, Stage, WeightsOf

__all__ = ("COMMAND", "ORDER", "PARENT", "Executor", "InThisProcess", "Order", "Processes", "launched", "read_order")

ORDER = "stage.json"
"""Name of the file in the folder of a stage that says what the stage is."""
LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID", "LOCAL_RANK", "RANK", "OMPI_COMM_WORLD_RANK")
COMMAND = "LIT_NAS_JOB"
"""Environment variable: the shell command that continues the job."""
PARENT = "LIT_NAS_PARENT"
"""Environment variable: the standard input of the process ends when its job does."""


def launched() -> bool:
    """Whether a launcher has started this process as one of several, which all go through the job together."""
    return any(name in os.environ for name in LAUNCHERS)


@dataclass(frozen=True)
class Order:
    """A stage with all that a process needs to run it."""

    stage: Stage
    folder: Path
    """Where it writes."""
    arguments: tuple[str, ...]
    """Those of `lit-nas fit`."""

    def save(self, path: Path) -> None:
        """Writes it for another process.

        Args:
            path: The file.
        """
        takes = {key: vars(file) for key, file in self.stage.takes.items()}
        weights = None if self.stage.weights is None else vars(self.stage.weights)
        stage = {**vars(self.stage), "takes": takes, "weights": weights}
        content = {"stage": stage, "folder": str(self.folder), "arguments": self.arguments}
        write_text(path, json.dumps(content, indent=2) + "\n")


def read_order(path: Path) -> Order:
    """Reads what `Order.save` has written.

    Args:
        path: The file.

    Raises:
        ValueError: if it is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        takes = {key: FileOf(**file) for key, file in content["stage"].pop("takes").items()}
        weights = content["stage"].pop("weights")
        weights = None if weights is None else WeightsOf(**weights)
        stage = Stage(**content["stage"], takes=takes, weights=weights)
        return Order(stage, Path(content["folder"]), tuple(content["arguments"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"'{path}' is not the stage of a job: {error}.") from error


class Executor(ABC):
    """Runs stages that do not wait for each other; final subclasses are frozen dataclasses."""

    @abstractmethod
    def run(self, orders: Sequence[Order], fit: Callable[[Order], None], begin: Callable[[Order], None]) -> None:
        """Runs all of them.

        Args:
            orders: The stages.
            fit: Runs one in this process.
            begin: Is told of each one before it runs.

        Raises:
            SystemExit: with the status of a stage that failed or was stopped.
        """


@dataclass(frozen=True)
class InThisProcess(Executor):
    """One after the other in this process: what processes of a launcher do, which have to stay together."""

    def run(self, orders: Sequence[Order], fit: Callable[[Order], None], begin: Callable[[Order], None]) -> None:
        """Runs them in order."""
        for order in orders:
            begin(order)
            if is_rank_zero():
                order.save(order.folder / ORDER)
            fit(order)


@dataclass(frozen=True)
class Processes(Executor):
    """Each stage in a process of its own, which leaves no memory behind, on the host and on the device.

    Signals are handed on once, however they came; if this process dies, the stages save and stop.

    Raises:
        ValueError: if `parallel` is not positive.
    """

    parallel: int = 1
    """Stages of a group that run at the same time. They share the devices, and their output is mixed."""

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise ValueError(f"executor.parallel must be at least 1, not {self.parallel}.")

    def run(self, orders: Sequence[Order], fit: Callable[[Order], None], begin: Callable[[Order], None]) -> None:
        """Starts them in order; after a failure none is started any more, and those that run are waited for."""
        waiting, crew = list(orders), _Crew()
        with crew.signals_handed_on():
            while crew.running or (waiting and crew.may_start):
                while waiting and crew.may_start and len(crew.running) < self.parallel:
                    begin(waiting[0])
                    crew.start(waiting.pop(0))
                crew.wait()
        if crew.failed:
            raise SystemExit(crew.failed[0])
        if crew.received:  # every stage that ran had already finished
            raise SystemExit(128 + crew.received[0])


@dataclass
class _Crew:
    """The processes of stages that are running, and how those ended that are not."""

    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    failed: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    queues: dict[str, deque[int]] = field(default_factory=dict)
    """Signals that a stage has not been told of yet."""

    @property
    def may_start(self) -> bool:
        return not self.failed and not self.received

    def start(self, order: Order) -> None:
        self.queues[order.stage.name] = deque()  # from here on a signal is kept for it
        if self.received:
            return
        path = order.folder / ORDER
        order.save(path)
        sys.stdout.flush()
        self.running[order.stage.name] = subprocess.Popen(
            [sys.executable, "-m", "lit_nas", "stage", str(path)],
            stdin=subprocess.PIPE,  # ends with this process
            env={
                **os.environ,
                PARENT: "1",
                "PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path))),
            },
            start_new_session=True,  # Ctrl-C comes here alone, and is handed on once
        )
        self.hand_on()

    def wait(self) -> None:
        """Takes out those that have ended, after a moment at most."""
        for name, process in list(self.running.items()):
            try:
                status = process.wait(timeout=0.1 / len(self.running))
            except subprocess.TimeoutExpired:
                continue
            del self.running[name]
            assert process.stdin is not None
            process.stdin.close()
            if status < 0 and -status not in self.received:
                sys.stderr.write(
                    f"\nThe process of the stage `{name}` was killed by {signal.Signals(-status).name}; "
                    f"the same command continues it{_CONTINUE.get(-status, '')}.\n"
                )
            if status:
                self.failed.append(128 - status if status < 0 else status)

    def hand_on(self) -> None:
        """Tells each process of the signals in its queue; a signal that arrives meanwhile may take over."""
        for name, process in list(self.running.items()):
            with suppress(IndexError):
                while True:
                    process.send_signal(self.queues[name].popleft())  # not to its ranks, which ask it between steps

    @contextmanager
    def signals_handed_on(self) -> Iterator[None]:
        """Hands signals to all stages while they run."""

        def receive(number: int, frame: Any) -> None:
            self.received.append(number)
            for queue in list(self.queues.values()):
                queue.append(number)
            self.hand_on()

        before = {}
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
                if hasattr(signal, name):
                    before[getattr(signal, name)] = signal.signal(getattr(signal, name), receive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


_CONTINUE = {9: ", but if memory ran out it needs a smaller batch"}
