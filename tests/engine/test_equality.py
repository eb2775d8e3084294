"""The fused engine against the reference: nodes, gradients and running statistics."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.edges import PlainEdges
from lit_nas.engine import Fused, Reference
from lit_nas.networks import SearchCell, build_search_network
from lit_nas.networks.nas_bench_201 import NasBench201SearchCell
from lit_nas.operations import EVALUATION, OPERATIONS, SEARCH
from lit_nas.optim import frozen, frozen_statistics
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DARTS_OPERATIONS, CellSpace, DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec

ENGINES = {
    "single": Fused(batch_edges=False),
    "batched": Fused(batch_edges=True),
    "auto": Fused(),
    "checkpoint": Fused(checkpoint=True, batch_edges=True),
    "contiguous": Fused(layout="contiguous", batch_edges=True),
    "contiguous-single": Fused(layout="contiguous", batch_edges=False),
}
EDGES = tuple((source, target) for target in range(2, 5) for source in range(target))
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def make_cell(
    kind="normal", operations=DARTS_OPERATIONS, channels=4, dtype=torch.float64, style=SEARCH, edges=PlainEdges()
):
    space = CellSpace(kind, operations, EDGES, reduction=kind == "reduce")
    return SearchCell(space, channels, channels, channels, False, style, Reference(), edges).to(dtype)


def make_nas_bench_201_cell(channels=4, dtype=torch.float64, tracked=True, edges=PlainEdges()):
    space = NasBench201Space(channels, track_running_stats=tracked)
    return NasBench201SearchCell(space.cells["normal"], channels, space.style, Reference(), edges).to(dtype)


def everything(cell):
    return tuple(tuple(range(len(cell.space.operations))) for _ in cell.space.edges)


def results(engine, cell, active, size=8, batch=3, level="both", prepare=lambda cell: None, channels=4, beside=False):
    """Everything that a step sees, by name, on a copy of the cell."""
    cell = copy.deepcopy(cell)
    prepare(cell)
    dtype = next(cell.parameters()).dtype
    draw = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)

    states = [random(batch, channels, size, size).requires_grad_() for _ in range(cell.space.num_inputs)]
    weights = random(len(cell.space.edges), len(cell.space.operations)).abs()
    weights.requires_grad_(level != "weights")
    aside = random(len(cell.space.edges)).requires_grad_(level != "weights") if beside else None
    with frozen(cell.parameters() if level == "arch" else ()):
        nodes = engine(cell, states, CellMixture(weights, active, aside))
        loss = sum((node * random(*node.shape)).sum() for node in nodes)
        if loss.requires_grad:
            loss.backward()
    found = {f"node {index}": node.detach() for index, node in enumerate(nodes)}
    found |= {f"gradient of state {index}": state.grad for index, state in enumerate(states)}
    found |= {"gradient of mixing weights": weights.grad}
    found |= {} if aside is None else {"gradient of what is beside": aside.grad}
    found |= {f"gradient of {name}": parameter.grad for name, parameter in cell.named_parameters()}
    return found | dict(cell.named_buffers())


def assert_equal(found, expected, tolerance, least=1e-30):
    assert list(found) == list(expected)
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            # a running mean may be close to zero: what counts is its distance in units of the deviation, which is one
            # and the gradient of a bias that the batch takes out again is rounding noise of one like the weight's
            like = expected[name.removesuffix("bias") + "weight"] if name.endswith("conv.bias") else value
            scale = 1.0 if name.endswith("running_mean") else like.abs().max().clamp_min(least)
            assert found[name].shape == value.shape, name
            assert (found[name] - value).abs().max() <= tolerance * scale, name


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("kind", ["normal", "reduce"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("channels", "size", "batch"), [(4, 8, 3), (8, 16, 2)])
def test_all_operations_on_all_edges(engine, kind, dtype, channels, size, batch):
    cell = make_cell(kind, tuple(OPERATIONS), channels, dtype)
    expected = results(Reference(), cell, everything(cell), size, batch, channels=channels)
    found = results(engine, cell, everything(cell), size, batch, channels=channels)
    assert_equal(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("kind", ["normal", "reduce"])
@pytest.mark.parametrize("level", ["weights", "arch"])
def test_levels(kind, level):
    cell = make_cell(kind)
    expected = results(Reference(), cell, everything(cell), level=level)
    for engine in ENGINES.values():
        assert_equal(results(engine, cell, everything(cell), level=level), expected, 1e-10)


def forget(cell):
    for module in cell.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False


def mixed_modes(cell):
    cell.edges[2].eval()
    cell.edges[3].operations["sep_conv_3x3"][0].norm.momentum = 0.3
    cell.edges[4].operations["max_pool_3x3"].norm.eps = 0.1


@pytest.mark.parametrize("prepare", [nn.Module.eval, forget, mixed_modes])
@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_modes_of_normalisation(kind, prepare):
    cell = make_cell(kind)
    for buffer in cell.buffers():
        buffer.copy_(torch.rand_like(buffer) + 0.5)
    expected = results(Reference(), cell, everything(cell), prepare=prepare)
    for engine in ENGINES.values():
        assert_equal(results(engine, cell, everything(cell), prepare=prepare), expected, 1e-10)


@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_affine_normalisation_and_plain_pools(kind):
    cell = make_cell(kind, style=EVALUATION)
    expected = results(Reference(), cell, everything(cell))
    for engine in ENGINES.values():
        assert_equal(results(engine, cell, everything(cell)), expected, 1e-10)


@pytest.mark.parametrize("kind", ["normal"])
def test_odd_sizes_run_without_subgrids(kind):
    cell = make_cell(kind)
    expected = results(Reference(), cell, everything(cell), size=7)
    for engine in ENGINES.values():
        assert_equal(results(engine, cell, everything(cell), size=7), expected, 1e-10)


def test_hooks_and_replaced_modules_are_respected():
    def prepare(cell):
        cell.edges[0].operations["sep_conv_3x3"].register_forward_hook(lambda module, inputs, output: 2 * output)
        cell.edges[1].operations["dil_conv_3x3"][0].norm = nn.InstanceNorm2d(4).double()
        cell.edges[2].operations["dil_conv_5x5"][0].pointwise = nn.Sequential()
        cell.edges[3].operations["skip_connect"] = nn.Hardtanh()

    cell = make_cell()
    expected = results(Reference(), cell, everything(cell), prepare=prepare)
    for engine in ENGINES.values():
        assert_equal(results(engine, cell, everything(cell), prepare=prepare), expected, 1e-10)


CELLS = {kind: make_cell(kind, (*DARTS_OPERATIONS, "conv_7x1_1x7"), channels=2) for kind in ("normal", "reduce")}
SETS = st.lists(st.sets(st.integers(0, 8), max_size=3), min_size=len(EDGES), max_size=len(EDGES))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(sets=SETS, kind=st.sampled_from(["normal", "reduce"]), name=st.sampled_from(sorted(ENGINES)))
def test_any_set_of_active_pairs(sets, kind, name):
    active = tuple(tuple(sorted(operations)) for operations in sets)
    expected = results(Reference(), CELLS[kind], active, size=4, batch=2, channels=2)
    assert_equal(results(ENGINES[name], CELLS[kind], active, size=4, batch=2, channels=2), expected, 1e-10)


@pytest.mark.parametrize("active", [(), (0,)])
@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_empty_nodes(kind, active):
    cell = make_cell(kind)
    pairs = tuple(active if target == 3 else (4,) for _, target in EDGES)
    expected = results(Reference(), cell, pairs)
    assert not expected["node 1"].any()
    for engine in ENGINES.values():
        assert_equal(results(engine, cell, pairs), expected, 1e-10)


def test_unknown_layouts_are_refused():
    with pytest.raises(ValueError, match=r"engine\.layout must be auto, channels_last or contiguous, not 'nhwc'"):
        Fused(layout="nhwc")


@pytest.mark.parametrize(("layout", "kept"), [("auto", True), ("channels_last", True), ("contiguous", False)])
def test_states_have_the_layout_that_was_asked_for(layout, kept):
    cell = make_cell()
    mixture = CellMixture(torch.ones(9, 8, dtype=torch.float64), everything(cell))
    states = [torch.randn(3, 4, 8, 8, dtype=torch.float64) for _ in range(2)]
    seen = []
    cell.edges[-1].operations["skip_connect"].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    for batched in (False, True):
        Fused(layout=layout, batch_edges=batched)(cell, states, mixture)
    assert len(seen) == 2
    for state in seen:
        assert state.is_contiguous(memory_format=torch.channels_last) == kept
        assert state.is_contiguous() != kept


def shuffle(cell):
    for buffer in cell.buffers():
        buffer.copy_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(2)) + 0.5)


def mixed_nas_bench_201(cell):
    cell.edges[2].eval()
    cell.edges[3].operations["nor_conv_3x3"].norm.momentum = 0.3
    cell.edges[4].operations["nor_conv_1x1"].norm.eps = 0.1
    cell.edges[5].operations["nor_conv_1x1"].register_forward_hook(lambda module, inputs, output: 2 * output)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("level", ["both", "weights", "arch"])
def test_cell_of_nas_bench_201(engine, dtype, tracked, level):
    cell = make_nas_bench_201_cell(8, dtype, tracked)
    shuffle(cell)
    assert bool(list(cell.buffers())) == tracked
    expected = results(Reference(), cell, everything(cell), 16, 2, level, channels=8)
    assert_equal(results(engine, cell, everything(cell), 16, 2, level, channels=8), expected, TOLERANCE[dtype])
    biases = [value for name, value in expected.items() if name.endswith("conv.bias")]
    assert len(biases) == 12
    assert all((value is None) == (level == "arch") for value in biases)


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("prepare", [nn.Module.eval, forget, mixed_nas_bench_201])
def test_modes_of_normalisation_in_nas_bench_201(prepare, tracked):
    cell = make_nas_bench_201_cell(tracked=tracked)
    shuffle(cell)
    expected = results(Reference(), cell, everything(cell), prepare=prepare)
    for engine in ENGINES.values():
        assert_equal(results(engine, cell, everything(cell), prepare=prepare), expected, 1e-10)


NAS_BENCH_201_CELL = make_nas_bench_201_cell()
PAIRS = st.lists(st.sets(st.integers(0, 4), max_size=3), min_size=6, max_size=6)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(sets=PAIRS, name=st.sampled_from(sorted(ENGINES)))
def test_any_set_of_active_pairs_in_nas_bench_201(sets, name):
    active = tuple(tuple(sorted(operations)) for operations in sets)
    expected = results(Reference(), NAS_BENCH_201_CELL, active, size=4, batch=2)
    # the reference makes rounding noise of a bias alone, which is all that a convolution of an empty node has
    assert_equal(results(ENGINES[name], NAS_BENCH_201_CELL, active, size=4, batch=2), expected, 1e-10, least=1.0)


def test_a_bias_before_statistics_of_the_batch_only_moves_the_running_mean():
    cell = make_nas_bench_201_cell()
    before = results(ENGINES["batched"], cell, everything(cell))
    for edge in cell.edges:
        for name in ("nor_conv_1x1", "nor_conv_3x3"):
            edge.operations[name].conv.bias.data += 10.0
    after = results(ENGINES["batched"], cell, everything(cell))
    for name, value in after.items():
        shift = 1.0 if name.endswith("running_mean") else 0.0  # momentum 0.1 of 10
        torch.testing.assert_close(value, before[name] + shift, msg=name)


SPACES = [
    DartsSpace(init_channels=4, num_cells=3, nodes=2),
    NasBench201Space(4, 1),
    NasBench201Space(4, 1, track_running_stats=True),
]


@pytest.mark.parametrize("space", SPACES, ids=["darts", "nas_bench_201", "nas_bench_201_tracked"])
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_checkpoints_and_two_steps_of_a_network(engine, space):
    images, labels = torch.randn(2, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 1])
    spec = ImageSpec(height=16, width=16)
    networks = [build_search_network(space, spec, e).double() for e in (Reference(), engine)]
    networks[1].load_state_dict(networks[0].state_dict())
    architecture = Architecture(space, Softmax()).double()
    found = []
    for network in networks:
        with frozen(network.parameters()), frozen_statistics(network.modules()):
            loss = nn.functional.cross_entropy(network(images, architecture()), labels)
            gradient = torch.autograd.grad(loss, list(architecture.parameters()))
        with frozen(architecture.parameters()):
            nn.functional.cross_entropy(network(images, architecture()), labels).backward()
        weights = [p.grad for p in network.parameters()]
        found.append([*gradient, *weights, *network.buffers()])
    for ours, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("engine", [ENGINES["single"], ENGINES["batched"], ENGINES["contiguous"]])
@pytest.mark.parametrize("kind", ["normal", "reduce", "nas_bench_201"])
def test_second_derivatives(engine, kind):
    cell = make_nas_bench_201_cell(2) if kind == "nas_bench_201" else make_cell(kind, channels=2)
    states = [torch.randn(2, 2, 4, 4, dtype=torch.float64) for _ in range(cell.space.num_inputs)]
    shape = len(cell.space.edges), len(cell.space.operations)
    weights = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    found = []
    for e in (Reference(), engine):
        nodes = e(cell, states, CellMixture(weights, everything(cell)))
        parameters = list(cell.edges.parameters())
        first = torch.autograd.grad(sum(node.pow(3).sum() for node in nodes), parameters, create_graph=True)
        inner = sum((g * torch.linspace(-1, 1, g.numel(), dtype=g.dtype).view_as(g)).sum() for g in first)
        found.append(torch.autograd.grad(inner, [weights, *parameters]))
    noise = 1e-13 * max(float(expected.abs().max()) for expected in found[0])  # what should be zero is not exactly
    for ours, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()) + noise)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.filterwarnings("ignore:In CPU autocast")
def test_autocast_is_close(engine):
    cell = make_cell(dtype=torch.float32)
    states = [torch.randn(4, 4, 8, 8) for _ in range(2)]
    weights = torch.rand(9, 8, requires_grad=True)
    exact = torch.cat(Reference()(cell, states, CellMixture(weights, everything(cell))))
    with torch.autocast("cpu", torch.bfloat16):
        nodes = torch.cat(engine(cell, states, CellMixture(weights, everything(cell))))
    nodes.float().square().mean().backward()
    assert weights.grad.isfinite().all()
    assert (nodes - exact).norm() < 0.05 * exact.norm()
