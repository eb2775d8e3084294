"""The auxiliary path: what it adds, and that nothing else changes."""

import copy

import pytest
import torch
from torch import nn

from lit_nas.architecture import CellMixture
from lit_nas.edges import AuxiliarySkip, PlainEdges
from lit_nas.engine import Fused, Reference
from lit_nas.networks import SearchNetwork, build_search_network, count_weights
from lit_nas.operations import SEARCH, FactorizedReduce
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec
from tests.engine.test_equality import everything, make_cell

ENGINES = [Reference(), Fused(batch_edges=True), Fused(batch_edges=False)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["normal", "reduce"])
@pytest.mark.parametrize("path", ["identity", "conv_1x1"])
def test_a_cell_is_the_plain_one_and_its_paths(kind, path, engine):
    cell = make_cell(kind, edges=AuxiliarySkip(path))
    states = [torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in range(2)]
    weights, beside = torch.rand(9, 8, dtype=torch.float64), torch.rand(9, dtype=torch.float64)
    nodes = engine(copy.deepcopy(cell), states, CellMixture(weights, everything(cell), beside))
    known = list(states)
    for target in (2, 3, 4):
        total = 0
        for row, (source, end) in enumerate(cell.space.edges):
            if end == target:
                x, edge = known[source], cell.edges[row]
                total = total + beside[row] * edge.path(x)
                total = total + sum(weights[row, o] * edge.operations[n](x) for o, n in enumerate(DARTS_OPERATIONS))
        known.append(total)
    for node, expected in zip(nodes, known[2:], strict=True):
        torch.testing.assert_close(node, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_the_path_an_edge_is_plain(engine):
    cell, plain = make_cell("reduce", edges=AuxiliarySkip()), make_cell("reduce", edges=PlainEdges())
    assert not plain.load_state_dict(cell.state_dict(), strict=False).missing_keys
    states = [torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in range(2)]
    weights = torch.rand(9, 8, dtype=torch.float64)
    found = engine(cell, states, CellMixture(weights, everything(cell), torch.zeros(9, dtype=torch.float64)))
    for node, expected in zip(found, engine(plain, states, CellMixture(weights, everything(cell))), strict=True):
        torch.testing.assert_close(node, expected, rtol=1e-12, atol=1e-12)


def test_path_and_candidate_add_up():
    edge = AuxiliarySkip().build(("skip_connect", "sep_conv_3x3"), 4, 1, SEARCH).double()
    x, conv = torch.randn(2, 4, 6, 6, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    values = []
    for skip, beside in ((0.1, 0.7), (0.4, 0.4)):
        weights = {"skip_connect": torch.tensor(skip, dtype=torch.float64), "sep_conv_3x3": conv}
        values.append(edge(x, weights, torch.tensor(beside, dtype=torch.float64)))
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)


def test_with_no_connection_the_path_alone_is_left():
    edge = AuxiliarySkip("conv_1x1").build(("none",), 4, 1, SEARCH)
    x, beside = torch.randn(2, 4, 4, 4), torch.tensor(1.0, requires_grad=True)
    found = edge(x, {"none": torch.tensor(1.0)}, beside)
    torch.testing.assert_close(found, x)
    assert torch.equal(edge(x, {"none": torch.tensor(1.0)}), found)  # without a factor it counts once
    (gradient,) = torch.autograd.grad(found.sum(), beside)
    torch.testing.assert_close(gradient, x.sum())


def test_the_path_of_stride_two_is_a_reduction_of_its_own():
    edge = AuxiliarySkip().build(DARTS_OPERATIONS, 4, 2, SEARCH)
    assert type(edge.path) is FactorizedReduce
    assert edge.path is not edge.operations["skip_connect"]
    assert edge.path(torch.randn(2, 4, 6, 6)).shape == (2, 4, 3, 3)
    assert type(AuxiliarySkip().build(DARTS_OPERATIONS, 4, 1, SEARCH).path) is nn.Identity


def test_sizes_of_search_networks():
    assert count_weights(SearchNetwork(DartsSpace(), ImageSpec(), edges=AuxiliarySkip())) == 1_971_578
    plain, auxiliary = (
        build_search_network(NasBench201Space(4, 1), ImageSpec(), Fused(), edges)
        for edges in (PlainEdges(), AuxiliarySkip())
    )
    assert plain.state_dict().keys() == auxiliary.state_dict().keys()


def test_unknown_paths_are_refused():
    with pytest.raises(ValueError, match=r"edges\.path of AuxiliarySkip must be identity or conv_1x1, not 'skip'"):
        AuxiliarySkip("skip")
