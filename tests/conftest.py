"""Shared by all tests: one seed, threads as OMP_NUM_THREADS says or one, and a marker of tests of kernels."""

import os
from pathlib import Path

os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("MPLBACKEND", "Agg")
# workers whose threads spin while they wait slow each other a hundredfold; read when torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch

KERNELS = [Path(__file__).parent / folder for folder in ("engine", "methods", "operations")]


def pytest_collection_modifyitems(items):
    for item in items:
        if any(folder in item.path.parents for folder in KERNELS):
            item.add_marker("kernels")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Tests neither read nor write the cache of the user."""
    before = os.environ.get("LIT_NAS_CACHE")
    os.environ["LIT_NAS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("LIT_NAS_CACHE")
    if before is not None:
        os.environ["LIT_NAS_CACHE"] = before


def set_threads():
    """Sums of two threads differ from those of one, so all runs of a test have as many."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture(autouse=True, scope="session")
def _same_threads():
    """Before fixtures of a module, some of which are whole jobs."""
    set_threads()


@pytest.fixture(autouse=True)
def _same_start():
    set_threads()
    torch.manual_seed(0)
