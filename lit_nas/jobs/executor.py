"""How stages are run: each in a process of its own, or all in this one where a launcher has started several."""

import json
import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_nas.atomic_write import write_text
from lit_nas.internals import is_rank_zero
from lit_nas.jobs.stage import FileOf, Stage, WeightsOf
from lit_nas.record.job_folder import ORDER

__all__ = ("PARENT", "Executor", "InThisProcess", "Order", "Processes", "launched", "read_order")

LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_STEP_ID", "LOCAL_RANK", "RANK", "OMPI_COMM_WORLD_RANK")
PARENT = "LIT_NAS_PARENT"
"""Environment variable: the standard input of the process ends when its job does."""


THREADS = "OMP_NUM_THREADS"
REFUSED, STOPPED = 2, (130, 143, 138)
"""Exit statuses: of a configuration that cannot work, and after SIGINT, SIGTERM and SIGUSR1."""


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_retries(retries: int) -> None:
    """Refuses a negative number of retries.

    Raises:
        ValueError: naming the key.
    """
    if retries < 0:
        raise ValueError(f"executor.retries must not be negative, but is {retries}.")


def stage_command(path: Path) -> list[str]:
    """What the interpreter is told, so that it runs a stage.

    Args:
        path: Its `stage.json`.
    """
    return ["-m", "lit_nas", "stage", str(path)]


def stage_environment() -> dict[str, str]:
    """What such a process needs to know of this one; its standard input must be a pipe that ends with its parent."""
    return {PARENT: "1", "PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}


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


@dataclass
class Trials:
    """Which stages are still to be run, and which have failed for good.

    Args:
        orders: All of them.
        retries: How often one that has died is run again.
    """

    orders: Sequence[Order]
    retries: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """Name -> exit status."""

    def __post_init__(self) -> None:
        self.waiting, self._tries = deque(self.orders), Counter[str]()

    def note(self, order: Order, status: int, may_retry: bool = True) -> None:
        """Puts a stage that has failed back, or counts it as failed.

        Args:
            order: The stage.
            status: How its process ended.
            may_retry: Whether it may be run again now.
        """
        name = order.stage.name
        self._tries[name] += 1
        if may_retry and status not in (REFUSED, *STOPPED) and self._tries[name] <= self.retries:
            sys.stderr.write(f"The stage `{name}` is started again ({self._tries[name]} of {self.retries}).\n")
            self.waiting.append(order)
        else:
            self.failed[name] = status

    def conclude(self) -> None:
        """Ends the process of the job if a stage has failed, naming those that did where there are several.

        Raises:
            SystemExit: with the status of the first one.
        """
        if not self.failed:
            return
        if len(self.orders) > 1:
            listed = ", ".join(f"{name} (exit status {status})" for name, status in self.failed.items())
            sys.stderr.write(
                f"Of {len(self.orders)} stages {len(self.failed)} did not finish: {listed}. The same command continues "
                "them, and does not repeat the others.\n"
            )
        raise SystemExit(next(iter(self.failed.values())))


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

    Signals are handed on once, however they came; if this process dies, the stages save and stop. A stage that fails
    does not keep the others of its group from being run: none waits for another.

    Raises:
        ValueError: if a number is out of range.
    """

    parallel: int = 1
    """Stages of a group that run at the same time. They share the devices, and their output is mixed."""
    retries: int = 0
    """How often a stage is started again that has died, each time from its last checkpoint; not one that was refused
    because of its configuration."""
    threads: int | None = None
    """CPU threads of each process. None leaves it to torch, or to OMP_NUM_THREADS where that is set; where several run
    at the same time, each gets its part of the cores."""

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise ValueError(f"executor.parallel must be at least 1, not {self.parallel}.")
        check_retries(self.retries)
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"executor.threads must be at least 1 or null, not {self.threads}.")

    def run(self, orders: Sequence[Order], fit: Callable[[Order], None], begin: Callable[[Order], None]) -> None:
        """Starts them in order, as many at a time as may run."""
        trials, crew = Trials(orders, self.retries), _Crew(self._environment(len(orders)))
        with crew.signals_handed_on():
            while crew.running or (trials.waiting and not crew.received):
                while trials.waiting and not crew.received and len(crew.running) < self.parallel:
                    order = trials.waiting.popleft()
                    begin(order)
                    crew.start(order)
                for order, status in crew.wait():
                    if status:
                        trials.note(order, status, may_retry=not crew.received)
        if not trials.failed and crew.received:  # every stage that ran had already finished
            raise SystemExit(128 + crew.received[0])
        trials.conclude()

    def _environment(self, stages: int) -> dict[str, str]:
        threads, together = self.threads, min(self.parallel, stages)
        if threads is None and together > 1 and THREADS not in os.environ:
            threads = max(1, available_cores() // together)
        if together > 1:
            each = threads or os.environ[THREADS]
            sys.stderr.write(f"{together} stages at a time, with {each} CPU thread{'s'[: str(each) != '1']} each.\n")
        return {} if threads is None else {THREADS: str(threads), "MKL_NUM_THREADS": str(threads)}


@dataclass
class _Crew:
    """The processes of stages that are running."""

    environment: dict[str, str]
    """Added to that of this process."""
    running: dict[str, tuple[Order, "subprocess.Popen[bytes]"]] = field(default_factory=dict)
    received: list[int] = field(default_factory=list)
    queues: dict[str, deque[int]] = field(default_factory=dict)
    """Signals that a stage has not been told of yet."""

    def start(self, order: Order) -> None:
        self.queues[order.stage.name] = deque()  # from here on a signal is kept for it
        if self.received:
            return
        path = order.folder / ORDER
        order.save(path)
        sys.stdout.flush()
        process = subprocess.Popen(
            [sys.executable, *stage_command(path)],
            stdin=subprocess.PIPE,  # ends with this process
            env={**os.environ, **stage_environment(), **self.environment},
            start_new_session=True,  # Ctrl-C comes here alone, and is handed on once
        )
        self.running[order.stage.name] = order, process
        self.hand_on()

    def wait(self) -> Iterator[tuple[Order, int]]:
        """Takes out those that have ended, after a moment at most, each with its exit status as a shell has it."""
        for name, (order, process) in list(self.running.items()):
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
            yield order, 128 - status if status < 0 else status

    def hand_on(self) -> None:
        """Tells each process of the signals in its queue; a signal that arrives meanwhile may take over."""
        for name, (_, process) in list(self.running.items()):
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
