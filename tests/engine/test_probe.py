"""Probed candidates: the gradient by their weights is that of running them, and they leave no trace."""

import copy

import pytest
import torch
from torch import nn

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.edges import AuxiliarySkip, MergedConvolutions, PartialChannels, PlainEdges
from lit_nas.edges.merged_convolutions import FAMILIES
from lit_nas.engine import Fused, Reference
from lit_nas.held_memory import held_for_backward
from lit_nas.networks import SearchNetwork
from lit_nas.relaxations import BinaryGates
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec

SPEC = ImageSpec(height=8, width=8)
SPACE = DartsSpace(init_channels=4, num_cells=3, nodes=2)
KERNEL = FAMILIES["depthwise"]
KINDS = [PlainEdges(), PartialChannels(2), AuxiliarySkip(), MergedConvolutions()]
ENGINES = {
    "reference": Reference(),
    "single": Fused(batch_edges=False),
    "batched": Fused(batch_edges=True),
    "checkpoint": Fused(checkpoint=True),
}
PATHS = {"normal": (4, 0, 6, 1, 3), "reduce": (3, 5, 2, 7, 4)}
PROBED = {"normal": ((5, 6), (4,), (2, 7), (), (4, 1, 0)), "reduce": ((4,), (1, 3, 4), (0,), (5,), ())}


def network(engine, edges=PlainEdges()):
    torch.manual_seed(0)
    return SearchNetwork(SPACE, SPEC, engine, edges).double()


def gates(kind):
    weights = torch.zeros(5, 8, dtype=torch.float64)
    weights[range(5), PATHS[kind]] = torch.linspace(0.5, 1.5, 5, dtype=torch.float64)
    return weights.requires_grad_()


def mixture_of(net, weights, probed, executed=False):
    cells = {}
    for kind, each in weights.items():
        active = tuple((column,) for column in PATHS[kind])
        if executed:
            active = tuple(tuple(sorted(row + more)) for row, more in zip(active, PROBED[kind], strict=True))
        cells[kind] = CellMixture(each, active, None, PROBED[kind] if probed else ())
    return [cells[kind] for kind in net.types]


def gradients(net, probed, executed=False):
    """Of a loss by images and mixing weights."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=generator).requires_grad_()
    weights = {kind: gates(kind) for kind in PATHS}
    value = net(images, mixture_of(net, weights, probed, executed)).square().sum()
    return torch.autograd.grad(value, [images, *weights.values()])


def combinations():
    for kind in KINDS:
        for name, engine in ENGINES.items():
            quick = name in ("reference", "batched") or isinstance(kind, PlainEdges)
            marks = () if quick else pytest.mark.slow
            yield pytest.param(engine, kind, id=f"{name}-{type(kind).__name__}", marks=marks)


def alone_in_a_kernel(edges, kind):
    """Row and column of what is probed in a merged kernel of which nothing is executed."""
    for row, (path, probed) in enumerate(zip(PATHS[kind], PROBED[kind], strict=True)):
        for column in probed if isinstance(edges, MergedConvolutions) else ():
            if SPACE.operations[column] in KERNEL and SPACE.operations[path] not in KERNEL:
                yield row, column


def beside_the_path(engine, edges, kind, row, column, weight=1e-9):
    """The derivative by the weight of one candidate that runs beside the path, as that weight falls to 0."""
    net = network(engine, edges)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = {name: gates(name).detach() for name in PATHS}
    weights[kind][row, column] = weight
    cells = {}
    for name, each in weights.items():
        active = [[path] for path in PATHS[name]]
        if name == kind:
            active[row] = sorted([*active[row], column])
        cells[name] = CellMixture(each.requires_grad_(), tuple(map(tuple, active)), None, ())
    value = net(images, [cells[name] for name in net.types]).square().sum()
    return torch.autograd.grad(value, weights[kind])[0][row, column]


@pytest.mark.parametrize(("engine", "edges"), list(combinations()))
def test_the_gradient_is_that_of_running_them(engine, edges):
    _, *expected = gradients(network(Reference(), edges), probed=False, executed=True)
    alone, *_ = gradients(network(engine, edges), probed=False)
    images, *found = gradients(network(engine, edges), probed=True)
    torch.testing.assert_close(images, alone, rtol=1e-12, atol=1e-12)  # the gradient of the path, and no other
    for kind, each, by_running in zip(PATHS, found, expected, strict=True):
        known = torch.zeros(5, 8, dtype=torch.bool)
        for row, (path, probed) in enumerate(zip(PATHS[kind], PROBED[kind], strict=True)):
            known[row, [path, *probed]] = True
        for row, column in alone_in_a_kernel(edges, kind):
            by_running[row, column] = beside_the_path(engine, edges, kind, row, column)
        torch.testing.assert_close(each[known], by_running[known], rtol=1e-7, atol=1e-10)
        assert each[known].count_nonzero() > known.sum() // 2  # all but those of `none`
        assert not each[~known].any()


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_they_leave_no_trace(engine):
    net = network(engine)
    before = copy.deepcopy(net.state_dict())
    gradient = gradients(net, probed=False)[0]
    path = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    again = network(engine)
    assert torch.equal(gradients(again, probed=True)[0], gradient)
    for name, value in again.state_dict().items():
        assert torch.equal(value, net.state_dict()[name]), name
    assert path
    assert all(module.track_running_stats for module in again.modules() if isinstance(module, nn.BatchNorm2d))
    images, weights = torch.randn(4, 3, 8, 8, dtype=torch.float64), {kind: gates(kind) for kind in PATHS}
    again(images, mixture_of(again, weights, True)).square().sum().backward()
    with_gradient = {name for name, parameter in again.named_parameters() if parameter.grad is not None}
    paths = {
        f"cells.{index}.edges.{edge}.operations.{SPACE.operations[column]}."
        for index, kind in enumerate(again.types)
        for edge, column in enumerate(PATHS[kind])
    }
    assert all(name.startswith(tuple(paths)) for name in with_gradient if ".operations." in name)


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_memory_does_not_depend_on_the_number_of_candidates(engine):
    held = []
    for names in (SPACE.operations[:4], SPACE.operations):
        space = DartsSpace(init_channels=8, num_cells=3, nodes=2, operations=names)
        net, paths = SearchNetwork(space, SPEC, engine), []
        images = torch.randn(8, 3, 8, 8)
        for probed in ((), ((0, 1, *range(2, 3), *range(4, len(names))),) * 5):
            cell = CellMixture(torch.zeros(5, len(names), requires_grad=True), ((3,),) * 5, None, probed)
            for parameter in net.parameters():
                parameter.requires_grad_(False)
            paths.append(held_for_backward(lambda net=net, images=images, cell=cell: net(images, [cell] * 3).sum()))
        held.append(paths)
    few, many = held
    numbers = 3 * 2 * 5 * 4 * 4  # of mixing weights, in bytes
    assert abs(many[1] - few[1]) <= 4 * numbers
    assert few[0] <= few[1]


def test_the_precision_of_the_backward_pass_is_that_of_the_forward_pass():
    net = SearchNetwork(SPACE, SPEC, Reference())
    seen = []
    convolution = net.cells[0].edges[0].operations["sep_conv_5x5"]  # probed
    convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    weights = {kind: gates(kind).detach().float().requires_grad_() for kind in PATHS}
    with torch.autocast("cpu", torch.bfloat16):
        value = net(torch.randn(4, 3, 8, 8), mixture_of(net, weights, True)).square().sum()
    assert not seen  # not in the forward pass
    value.backward()
    assert seen == [torch.bfloat16]
    assert weights["normal"].grad.dtype == torch.float32


def test_an_edge_that_is_not_executed_probes_nothing():
    net = network(Reference())
    weights = {kind: gates(kind) for kind in PATHS}
    cells = [
        CellMixture(cell.weights, ((), *cell.active[1:]), None, cell.probed) for cell in mixture_of(net, weights, True)
    ]
    net(torch.randn(2, 3, 8, 8, dtype=torch.float64), cells).sum().backward()
    assert not weights["normal"].grad[0].any()


def test_gates_probe_in_a_whole_network():
    """All gates at once: one path runs, all have their gradient."""
    net = network(Fused())
    architecture = Architecture(SPACE, BinaryGates("all")).double()
    with architecture.drawing("arch"):
        mixture = architecture()
        value = net(torch.randn(4, 3, 8, 8, dtype=torch.float64), mixture).square().sum()
    assert {len(columns) for cell in mixture for columns in cell.active} == {1}
    assert {len(columns) for cell in mixture for columns in cell.probed} == {7}
    for gradient in torch.autograd.grad(value, list(architecture.parameters())):
        assert (gradient != 0).all()
        torch.testing.assert_close(gradient.sum(-1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-9)
