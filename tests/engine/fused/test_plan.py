"""Plans: what a step launches, and when a plan is made anew."""

import gc

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.engine import Fused, Reference
from lit_nas.engine.fused import planning as plan
from lit_nas.networks import SearchNetwork
from lit_nas.operations import part_norms, synchronise_norms
from lit_nas.optim import frozen, frozen_statistics
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec
from tests.engine.test_equality import assert_equal, everything, make_cell, results

VIEWS = {
    "detach", "slice", "permute", "unsqueeze", "view", "select", "squeeze", "expand", "split", "split_with_sizes",
    "unbind", "t", "transpose", "as_strided", "_unsafe_view", "empty",
}  # fmt: skip
"""Operators that launch nothing on a GPU."""
PLAIN = 3_839
"""Kernels of the step below when every candidate joined its own weights and updated its own statistics."""


class Count(TorchDispatchMode):
    """Counts operators that launch kernels."""

    kernels = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.kernels += function._schema.name.removeprefix("aten::") not in VIEWS
        return function(*args, **(kwargs or {}))


def test_a_first_order_step_launches_half_of_what_it_did():
    space = DartsSpace(init_channels=4, num_cells=3)
    with torch.device("meta"):
        network = SearchNetwork(space, ImageSpec(), Fused())
        images, labels = torch.empty(2, 3, 32, 32), torch.empty(2, dtype=torch.long)
    architecture = Architecture(space, Softmax())
    _ = architecture()  # reads the active candidates, which the meta device cannot
    architecture.to("meta")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with Count() as count:
        with frozen(network.parameters()), frozen_statistics(norms):
            loss = nn.functional.cross_entropy(network(images, architecture()), labels)
            torch.autograd.grad(loss, list(architecture.parameters()))
        with frozen(architecture.parameters()):
            nn.functional.cross_entropy(network(images, architecture()), labels).backward()
    assert count.kernels < 0.53 * PLAIN


def watched(cell, active):
    """The plan of a cell in the batched mode."""
    return plan.find_plan(cell, active, (True,) * cell.space.targets[-1], True)


def test_synchronised_norms_run_as_the_modules_they_are():
    cell = make_cell()
    before = watched(cell, everything(cell))  # made while each process normalised by itself
    synchronise_norms(cell)
    during = watched(cell, everything(cell))
    assert {group.kind for group in before.groups} > {group.kind for group in during.groups} <= {nn.Identity}
    part_norms(cell)
    assert watched(cell, everything(cell)) is before


def test_a_plan_is_kept_until_something_changes():
    cell = make_cell()
    first = watched(cell, everything(cell))
    assert watched(cell, everything(cell)) is first
    with frozen_statistics(cell.modules()):
        assert watched(cell, everything(cell)) is not first
    assert watched(cell, everything(cell)) is first
    cell.edges[1].eval()
    assert watched(cell, everything(cell)) is not first
    cell.edges[1].train()
    cell.edges[0].operations["sep_conv_3x3"].register_forward_hook(lambda module, inputs, output: 2 * output)
    second = watched(cell, everything(cell))
    assert second is not first
    cell.edges[1].operations["dil_conv_5x5"][0].norm = nn.InstanceNorm2d(4)
    assert watched(cell, everything(cell)) is not second


def pruned(cell):
    return tuple((4, 5) for _ in cell.space.edges)


def hooked(cell):
    cell.edges[0].operations["sep_conv_3x3"].register_forward_hook(lambda module, inputs, output: 2 * output)


def replaced(cell):
    cell.edges[3].operations["skip_connect"] = nn.Hardtanh()


def evaluated(cell):
    cell.edges[2].eval()


@pytest.mark.parametrize("change", [hooked, replaced, evaluated])
def test_changes_after_a_first_run_are_noticed(change):
    def prepare(cell):
        Fused(batch_edges=True)(
            cell, [torch.randn(3, 4, 8, 8, dtype=torch.float64)] * 2,
            CellMixture(torch.ones(9, 8, dtype=torch.float64), everything(cell)),
        )  # fmt: skip
        for buffer in cell.buffers():
            buffer.fill_(0.5)
        change(cell)

    cell = make_cell()
    for active in (everything(cell), pruned(cell)):
        expected = results(Reference(), cell, active, prepare=prepare)
        assert_equal(results(Fused(batch_edges=True), cell, active, prepare=prepare), expected, 1e-10)


def test_plans_of_sampled_paths_do_not_pile_up():
    cell = make_cell()
    before = len(plan._CELLS)
    for step in range(20):
        watched(cell, tuple(((step + edge) % 8,) for edge in range(9)))
    assert len(plan._CELLS[cell].watches) == plan.KEPT
    del cell
    gc.collect()
    assert len(plan._CELLS) <= before
