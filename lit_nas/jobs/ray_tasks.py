"""Stages as tasks of Ray, on this machine or on the nodes of a cluster that exists."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_nas.jobs.executor import (
    Executor,
    Order,
    Trials,
    check_retries,
    stage_command,
    stage_environment,
)
from lit_nas.record.job_folder import ORDER

__all__ = ("RayTasks",)

HANDED_ON = ("LIT_NAS_", "WANDB_", "MLFLOW_")
"""What the variables of the environment begin with that the nodes get from this process."""
FOREIGN = ("SLURM_", "OMPI_", "PMI_")
"""Those of a launcher that has started the cluster: Lightning would take the stage for one of its processes."""


@dataclass(frozen=True)
class RayTasks(Executor):
    """Each stage as a task of Ray, which waits until a node has the cores and GPUs for it.

    The folder of the job, the configurations and the data must lie on a file system that all nodes share, and each
    node needs lit-nas installed: `pip install 'lit-nas[ray]'`. Results stay in the folders of the stages, so nothing is
    lost with the cluster. A stage whose node dies is run again on another one, from its last checkpoint.

    Raises:
        ValueError: if a number is out of range.
    """

    address: str | None = None
    """Of the cluster: `auto` for the one that this machine is a node of, `HOST:PORT`, or `ray://HOST:10001` for a
    client. None starts one on this machine, which ends with the job."""
    cpus: float = 1
    """Cores of each stage, which are its CPU threads, too."""
    gpus: float = 0
    """GPUs of each stage; a part of one lets several stages share it."""
    retries: int = 1
    """How often a stage is run again that has died, or whose node has; not one that was refused."""

    def __post_init__(self) -> None:
        if not self.cpus > 0 or not self.gpus >= 0:
            raise ValueError(
                f"executor.cpus must be positive and executor.gpus not negative, not {self.cpus} and {self.gpus}."
            )
        check_retries(self.retries)

    def run(self, orders: Sequence[Order], fit: Callable[[Order], None], begin: Callable[[Order], None]) -> None:
        """Hands all of them to Ray, and takes what ends.

        Raises:
            ValueError: if Ray is not installed, cannot be reached, or has no node that is large enough.
        """
        if not orders:
            return
        ray, trials = _import_ray(), Trials(orders, self.retries)
        with _connected(ray, self.address), _signals_end_it():
            self._check_nodes(ray.nodes())
            ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker need not import torch
            task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)(run_stage)
            running: dict[Any, Order] = {}
            try:
                while trials.waiting or running:
                    while trials.waiting:
                        order = trials.waiting.popleft()
                        order.save(order.folder / ORDER)
                        begin(order)
                        command = stage_command((order.folder / ORDER).absolute())
                        running[task.remote(command, os.getcwd(), _environment())] = order
                    ended, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
                    for reference in ended:
                        order = running.pop(reference)
                        if status := _status(ray, reference, order):
                            trials.note(order, status)
            finally:
                for reference in running:  # each saves and stops
                    ray.cancel(reference, force=False)
                if running:
                    ray.wait(list(running), num_returns=len(running), timeout=60.0)
        trials.conclude()

    def _check_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Refuses tasks that would wait for ever."""
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        for key, wanted, name in (("CPU", self.cpus, "cpus"), ("GPU", self.gpus, "gpus")):
            most = max((node.get(key, 0.0) for node in alive), default=0.0)
            if wanted > most:
                raise ValueError(
                    f"executor.{name} is {wanted:g}, but no node of the Ray cluster has more than {most:g}: a stage "
                    "would wait for ever."
                )


def run_stage(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> int:
    """Runs a stage on a node, and waits for it.

    Args:
        command: What its interpreter is told; the last word is the file of the stage.
        folder: Working directory, that of the job.
        environment: Added to that of the node.

    Returns:
        Its exit status as a shell has it.

    Raises:
        FileNotFoundError: if the node does not have the file.
    """
    if not Path(command[-1]).is_file() or not Path(folder).is_dir():
        raise FileNotFoundError(
            f"the node '{os.uname().nodename}' does not have '{command[-1]}' or the folder '{folder}', which must lie "
            "on a file system that all nodes share"
        )
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    process = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, cwd=folder, env={**own, **environment}
    )
    try:
        status = process.wait()
    except BaseException:  # cancelled: the stage saves and stops
        process.terminate()
        process.wait()
        raise
    return 128 - status if status < 0 else status


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ValueError("The executor RayTasks needs the package ray: pip install 'lit-nas[ray]'.") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connects with a cluster, or starts one, unless this process has done so already."""
    if ray.is_initialized():
        yield
        return
    if address not in (None, "auto", "local"):
        _refuse_silent(address)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a stage without GPUs of Ray's sees none
    try:
        ray.init(address=address or "local", log_to_driver=True, logging_level="warning", include_dashboard=False)
    except Exception as error:  # Ray raises many kinds
        reason = " ".join(str(error).split()).rstrip(".")
        where = "No Ray cluster can be started here" if address is None else f"No Ray cluster answers at '{address}'"
        raise ValueError(f"{where} (executor.address): {reason}.") from error
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silent(address: str) -> None:
    """Refuses an address where nothing listens, for which Ray would try for minutes and print a line for each try.

    Raises:
        ValueError: naming the key.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"executor.address is '{address}', but must be auto, HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"No Ray cluster answers at '{address}' (executor.address): {error}. Start one with `ray start --head`, or "
            "name the address of one that runs."
        ) from error


def _environment() -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)},
        **stage_environment(),
    }


def _status(ray: Any, reference: Any, order: Order) -> int:
    """Exit status of a stage that has ended; 1 if its node or worker died."""
    try:
        return int(ray.get(reference))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        reason = " ".join(str(cause).split()).rstrip(".")
        sys.stderr.write(f"\nThe stage `{order.stage.name}` was lost: {reason[:300]}.\n")
        return 1


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Lets SIGTERM end the job as SIGINT does, so that its tasks are cancelled."""

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
