"""What a step of a memory-efficient method holds for its backward pass, against what one of DARTS holds.

Saved tensors are counted, so that no clock and no other process has a say in it.
"""

from functools import cache

import pytest
import torch

from lit_nas.held_memory import held_for_backward
from lit_nas.methods import DARTS, GDAS, PARSEC, PCDARTS, MergeNAS, ProxylessNAS
from lit_nas.optim import frozen, frozen_statistics
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace
from lit_nas.specs import ImageSpec

SPEC = ImageSpec(3, 16, 16, 10)
SPACE = DartsSpace(init_channels=16, num_cells=8)
CONNECTED = DartsSpace(init_channels=16, num_cells=8, operations=DARTS_OPERATIONS[1:])


def held(module, level="weights", step=0, sample=0) -> int:
    """Bytes that the loss of a level keeps, the other one being frozen."""
    torch.manual_seed(0)
    images, labels = torch.randn(8, 3, 16, 16), torch.randint(10, (8,))
    architecture = module.architecture
    architecture.seed.fill_(0)
    architecture.forget()
    architecture.clock.start(100, 10)
    architecture.clock.set(step, step / 10)
    others = list(architecture.parameters()) if level == "weights" else module.weights
    norms = () if level == "weights" else module.norms
    with frozen(others), frozen_statistics(norms), architecture.drawing(level, sample):
        return held_for_backward(lambda: module.loss((images, labels)))


@cache
def of_darts(level: str) -> int:
    return held(DARTS(SPEC, SPACE), level)


@pytest.mark.parametrize(
    ("method", "level", "most"),
    [
        (PCDARTS, "weights", 0.4),
        pytest.param(PCDARTS, "arch", 0.4, marks=pytest.mark.slow),
        (GDAS, "weights", 0.25),
        pytest.param(ProxylessNAS, "weights", 0.25, marks=pytest.mark.slow),
        pytest.param(ProxylessNAS, "arch", 0.4, marks=pytest.mark.slow),
        (MergeNAS, "weights", 0.5),
        pytest.param(MergeNAS, "arch", 0.5, marks=pytest.mark.slow),
    ],
)
def test_a_step_holds_a_part_of_what_darts_holds(method, level, most):
    module = method(SPEC, SPACE)
    steps = 3 if module.architecture.samples else 1
    assert max(held(module, level, step) for step in range(steps)) <= most * of_darts(level)


@pytest.mark.parametrize("samples", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_child_of_parsec_holds_what_its_path_alone_holds(samples):
    """The path is a search network of which all else has been pruned."""
    module = PARSEC(SPEC, CONNECTED)
    for sample in range(samples):
        found = held(module, sample=sample)
        with module.architecture.drawing("weights", sample):
            children = dict(zip(module.architecture.positions, module.architecture(), strict=True))
        alone = DARTS(SPEC, CONNECTED)
        for name, child in children.items():
            keep = torch.zeros_like(alone.architecture.mask(name))
            for row, columns in zip(keep, child.active, strict=True):
                row[list(columns)] = True
            alone.architecture.prune(name, keep)
        assert 0.8 * held(alone) <= found <= 1.2 * held(alone)
