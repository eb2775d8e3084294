"""Random states of processes on any device."""

import random

import numpy as np
import pytest
import torch

from lit_nas.resume.random_state import collect, restore


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002


def test_what_follows_is_drawn_again():
    state = collect()
    assert "cuda" not in state
    first = draw()
    restore(state)
    assert draw() == first


def test_the_state_of_a_gpu_is_left_out_on_a_machine_without():
    state = {**collect(), "cuda": torch.zeros(16, dtype=torch.uint8)}
    first = draw()
    restore(state, torch.device("cpu"))
    assert draw() == first


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_only_the_own_gpu_is_asked_and_set():
    device = torch.device("cuda", torch.cuda.current_device())
    state = collect(device)
    assert isinstance(state["cuda"], torch.Tensor)
    first = torch.rand(3, device=device)
    restore(state, device)
    assert torch.equal(torch.rand(3, device=device), first)
