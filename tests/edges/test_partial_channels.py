"""Partial channel connections against the formula of the paper and the authors' shuffle, in float64."""

import copy

import pytest
import torch
from torch.nn import functional as F

from lit_nas.architecture import CellMixture
from lit_nas.edges import AuxiliarySkip, MergedConvolutions, MixedEdge, PartialChannels, PlainEdges
from lit_nas.edges.partial_channels import Shuffle
from lit_nas.engine import Fused, Reference
from lit_nas.networks import SearchNetwork, count_weights
from lit_nas.operations import SEARCH
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace
from lit_nas.specs import ImageSpec
from tests.engine.test_equality import everything, make_cell


def shuffled(x, groups):
    """As in the authors' code: view, swap, flatten."""
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def slow(edge, x, weights, beside, k, stride):
    """The edge, written once more: the first channels are mixed, the rest passes by, and all are shuffled."""
    seen = x.shape[1] // k
    mixed = sum(weight * edge.operations[name](x[:, :seen]) for name, weight in weights.items())
    rest = x[:, seen:] if stride == 1 else F.max_pool2d(x[:, seen:], 2, 2)
    return shuffled(torch.cat([mixed, beside * rest], 1), k)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_edge_is_the_formula(k, stride):
    edge = PartialChannels(k).build(DARTS_OPERATIONS, 8, stride, SEARCH).double()
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64, requires_grad=True)
    weights = dict(zip(DARTS_OPERATIONS, torch.rand(8, dtype=torch.float64), strict=True))
    expected = slow(copy.deepcopy(edge), x, weights, 0.3, k, stride)
    found = edge(x, weights, torch.tensor(0.3, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), x), torch.autograd.grad(expected.square().sum(), x), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", [Reference(), Fused(batch_edges=True), Fused(batch_edges=False)])
@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_a_cell_is_the_formula(kind, engine):
    cell = make_cell(kind, channels=8, edges=PartialChannels(4))
    states = [torch.randn(2, 8, 8, 8, dtype=torch.float64) for _ in range(2)]
    weights, beside = torch.rand(9, 8, dtype=torch.float64), torch.rand(9, dtype=torch.float64)
    nodes = engine(copy.deepcopy(cell), states, CellMixture(weights, everything(cell), beside))
    known = list(states)
    for target in (2, 3, 4):
        rows = [index for index, edge in enumerate(cell.space.edges) if edge[1] == target]
        known.append(
            sum(
                slow(
                    cell.edges[row], known[cell.space.edges[row][0]],
                    dict(zip(cell.space.operations, weights[row], strict=True)), beside[row], 4, cell.space.stride(row),
                )
                for row in rows
            )
        )  # fmt: skip
    for node, expected in zip(nodes, known[2:], strict=True):
        torch.testing.assert_close(node, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_shuffle_in_both_layouts(layout):
    x = torch.arange(8.0).view(1, 8, 1, 1).expand(2, 8, 3, 3).contiguous(memory_format=layout)
    mixed, beside = (part.contiguous(memory_format=layout) for part in (x[:, :2], x[:, 2:]))
    found = Shuffle(4)(mixed, beside)
    assert found[0, :, 0, 0].tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert found.is_contiguous(memory_format=layout)
    assert torch.equal(shuffled(found.contiguous(), 2), x)  # with C / K groups the order comes back
    assert Shuffle(4) == Shuffle(4) != Shuffle(2)


def test_no_connection_leaves_what_passes_by():
    edge = PartialChannels(4).build(("none",), 8, 1, SEARCH)
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    found = edge(x, {"none": torch.tensor(1.0)})
    assert not found[:, [0, 4]].any()
    assert torch.equal(found[:, [1, 2, 3, 5, 6, 7]], x[:, [2, 4, 6, 3, 5, 7]])
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient[:, 2:], torch.ones_like(gradient[:, 2:]))
    assert not gradient[:, :2].any()


def test_what_passes_by_is_pooled_for_odd_sizes_as_well():
    edge = PartialChannels(2).build(("max_pool_3x3",), 4, 2, SEARCH)
    assert edge(torch.randn(2, 4, 7, 7), {"max_pool_3x3": torch.tensor(1.0)}).shape == (2, 4, 4, 4)


def test_one_part_is_the_plain_edge():
    edge = PartialChannels(1).build(DARTS_OPERATIONS, 4, 1, SEARCH)
    assert isinstance(edge, MixedEdge)
    assert edge.path is None
    assert edge.fusible.channels is None


def test_size_of_the_search_network():
    assert count_weights(SearchNetwork(DartsSpace(), ImageSpec(), edges=PartialChannels(4))) == 299_578


@pytest.mark.parametrize(
    ("k", "channels", "message"),
    [
        (0, 8, r"edges\.k of PartialChannels must be at least 1, not 0"),
        (3, 8, r"1/3 do not fit cells of 8 channels"),
        (4, 4, r"1/4 do not fit cells of 4 channels.*must be even"),
    ],
)
def test_bad_values_are_refused(k, channels, message):
    with pytest.raises(ValueError, match=message):
        PartialChannels(k).build(DARTS_OPERATIONS, channels, 2, SEARCH)


@pytest.mark.parametrize("kind", [PartialChannels(2), AuxiliarySkip(), MergedConvolutions()])
def test_only_plain_edges_change_the_number_of_channels(kind):
    assert kind.build(("sep_conv_3x3",), 8, 1, SEARCH, 8)
    widened = PlainEdges().build(("sep_conv_3x3",), 8, 1, SEARCH, 6)
    assert widened(torch.randn(2, 8, 4, 4), {"sep_conv_3x3": torch.tensor(1.0)}).shape[1] == 6
    with pytest.raises(
        ValueError, match=r"keeps the number of channels, but .* from 8 to 6: set model\.edges to PlainEdges"
    ):
        kind.build(("sep_conv_3x3",), 8, 1, SEARCH, 6)
