"""Executors: stages that die are run again, others go on, and nothing that has finished is repeated."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lit_nas.jobs import Order, Processes, RayTasks, Stage
from lit_nas.jobs.executor import Trials, available_cores

STAGE = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[2]).parent
tries = folder / "tries"
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
(folder / "threads").write_text(os.environ.get("OMP_NUM_THREADS", "-"))
(folder / "environment").write_text(" ".join(sorted(os.environ)))
(folder / "cores").write_text(str(time.time()))
wish = (folder / "wish").read_text().split()[len(tries.read_text()) - 1:]
wish = wish[0] if wish else "0"
if wish == "wait":
    def stop(number, frame):
        (folder / "saved").touch()
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    (folder / "ready").touch()
    time.sleep(60)
if wish == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(wish))
"""
"""What stands in the place of lit-nas: ends as a file says, for each try."""


@pytest.fixture
def order(tmp_path, monkeypatch):
    """Makes a stage that ends with the given statuses, one for each try."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "lit_nas").mkdir()
    (tmp_path / "lit_nas" / "__init__.py").touch()
    (tmp_path / "lit_nas" / "__main__.py").write_text(STAGE)
    monkeypatch.chdir(tmp_path)  # `python -m` looks there first
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def make(name, *ends):
        (tmp_path / name).mkdir()
        (tmp_path / name / "wish").write_text(" ".join(map(str, ends)))
        return Order(Stage(name, "search", "search"), tmp_path / name, ())

    return make


def tries(order):
    path = order.folder / "tries"
    return len(path.read_text()) if path.exists() else 0


def run(executor, orders):
    begun = []
    executor.run(orders, pytest.fail, lambda each: begun.append(each.stage.name))
    return begun


def test_a_stage_that_dies_is_run_again_and_the_others_are_not(order, capfd):
    orders = [order("a", 0), order("b", "kill", 1, 0), order("c", 0)]
    assert run(Processes(parallel=2, retries=2), orders)[:2] == ["a", "b"]
    assert [tries(each) for each in orders] == [1, 3, 1]
    said = capfd.readouterr().err
    assert "killed by SIGKILL" in said
    assert "`b` is started again (2 of 2)" in said


def test_a_stage_that_fails_does_not_keep_others_from_running(order, capfd):
    orders = [order("a", 7, 7), order("b", 0), order("c", 0)]
    with pytest.raises(SystemExit) as end:
        run(Processes(retries=1), orders)
    assert end.value.code == 7
    assert [tries(each) for each in orders] == [2, 1, 1]
    assert "Of 3 stages 1 did not finish: a (exit status 7)." in capfd.readouterr().err


def test_a_refused_configuration_is_not_tried_again(order):
    refused = order("a", 2, 0)
    with pytest.raises(SystemExit) as end:
        run(Processes(retries=5), [refused])
    assert end.value.code == 2
    assert tries(refused) == 1


def test_a_stopped_job_tries_nothing_again(order):
    waiting, other = order("a", "wait", 0), order("b", 0)

    def stop():
        deadline = time.monotonic() + 60
        while not (waiting.folder / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(SystemExit) as end:
        run(Processes(retries=3), [waiting, other])
    assert end.value.code == 143
    assert (tries(waiting), tries(other)) == (1, 0)


@pytest.mark.parametrize(
    ("executor", "expected"),
    [(Processes(), "-"), (Processes(2), str(max(1, available_cores() // 2))), (Processes(2, threads=3), "3")],
)
def test_processes_share_the_cores(executor, expected, order, capfd):
    orders = [order("a", 0), order("b", 0)]
    run(executor, orders)
    assert [(each.folder / "threads").read_text() for each in orders] == [expected] * 2
    each = f"with {expected} CPU thread{'s' if expected != '1' else ''} each"
    assert (f"2 stages at a time, {each}." in capfd.readouterr().err) == (executor.parallel > 1)


def test_threads_that_the_user_sets_are_kept(order, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    orders = [order("a", 0), order("b", 0)]
    run(Processes(2), orders)
    assert (orders[0].folder / "threads").read_text() == "5"


def test_trials_count_each_stage_for_itself():
    orders = [Order(Stage(name, "search", "search"), Path(name), ()) for name in "ab"]
    trials = Trials(orders, retries=1)
    assert [trials.waiting.popleft() for _ in orders] == orders
    for each in orders:
        trials.note(each, 1)
    assert list(trials.waiting) == orders
    trials.note(orders[1], 9)
    assert trials.failed == {"b": 9}
    with pytest.raises(SystemExit):
        trials.conclude()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Processes(retries=-1), "executor.retries must not be negative"),
        (lambda: Processes(threads=0), "executor.threads must be at least 1"),
        (lambda: RayTasks(cpus=0), "executor.cpus must be positive"),
        (lambda: RayTasks(gpus=-1), "executor.gpus not negative"),
        (lambda: RayTasks(retries=-1), "executor.retries must not be negative"),
    ],
)
def test_wrong_numbers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_ray_is_named_where_it_is_not_installed(order, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'lit-nas\[ray\]'"):
        run(RayTasks(), [order("a", 0)])


@pytest.fixture
def cluster(order, monkeypatch):
    """A local cluster of two cores."""
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")  # as if a launcher had started the cluster
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_ray_runs_stages_and_runs_again_what_died(order, cluster):
    orders = [order("a", 0), order("b", "kill", 0), order("c", 0)]
    assert sorted(run(RayTasks(), orders)) == ["a", "b", "b", "c"]
    assert [tries(each) for each in orders] == [1, 2, 1]
    assert "SLURM_NTASKS" not in (orders[0].folder / "environment").read_text().split()


@pytest.mark.slow
def test_ray_reports_what_failed_and_refuses_what_would_wait_for_ever(order, cluster, capfd):
    with pytest.raises(SystemExit) as end:
        run(RayTasks(retries=0), [order("a", 2), order("b", 0)])
    assert end.value.code == 2
    assert "a (exit status 2)" in capfd.readouterr().err
    with pytest.raises(ValueError, match=r"executor.cpus is 64, but no node"):
        run(RayTasks(cpus=64), [order("c", 0)])
    with pytest.raises(ValueError, match=r"executor.gpus is 1, but no node"):
        run(RayTasks(gpus=1), [order("d", 0)])


@pytest.mark.slow
def test_ray_survives_the_death_of_a_worker(order, cluster, capfd):
    first = order("a", "wait", 0)

    def kill_the_worker():
        deadline = time.monotonic() + 60
        while not (first.folder / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        found = subprocess.run(["pgrep", "-f", "ray::run_stage"], capture_output=True, text=True, check=True)
        os.kill(int(found.stdout.split()[0]), signal.SIGKILL)

    threading.Thread(target=kill_the_worker).start()
    run(RayTasks(), [first])
    assert tries(first) == 2
    assert "The stage `a` was lost" in capfd.readouterr().err


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_refused_at_once(order, scheme, capfd):
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ValueError, match=rf"No Ray cluster answers at '{address}' \(executor.address\): .*refused"):
            run(RayTasks(address=address), [order("a", 0)])
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_an_address_of_another_form_is_refused(order):
    pytest.importorskip("ray")
    with pytest.raises(
        ValueError, match=r"executor\.address is 'head', but must be auto, HOST:PORT or ray://HOST:PORT"
    ):
        run(RayTasks(address="head"), [order("a", 0)])


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_named(order):
    pytest.importorskip("ray")
    with pytest.raises(ValueError, match=r"No Ray cluster answers at 'auto' \(executor.address\)"):
        run(RayTasks(address="auto"), [order("a", 0)])
