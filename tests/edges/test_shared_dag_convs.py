"""Rows with one pool of convolutions, against cells that hold the same weights."""

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.dags import parse_dag
from lit_nas.edges import SharedDagConvs
from lit_nas.engine import Fused, Reference
from lit_nas.networks import DagSearchNetwork, build_search_network, count_weights
from lit_nas.networks.candidate_costs import candidate_costs
from lit_nas.operations import EVALUATION, DagCell, OperationStyle
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DagSpace, DartsSpace
from lit_nas.specs import ImageSpec
from tests.support.tiny import DAGS, INPUTS

NAMES = ("dag1", "dag2_01", "dag3_01_02", "dag4_01_02_13_23", "dag3_01_02_12")
BIASED = OperationStyle(affine=True, pool_norm=False, conv_bias=True)


def build():
    return SharedDagConvs().build(NAMES, 3, 1, BIASED).double()


def alone(edge, name):
    """The cell by itself, with the weights of the pool."""
    cell = DagCell(parse_dag(name), 3).double()
    cell.convolutions.load_state_dict({key: edge.pool.state_dict()[key] for key in cell.convolutions.state_dict()})
    return cell


def test_an_edge_is_the_sum_of_cells_with_equal_weights():
    edge = build()
    assert list(edge.pool) == ["0_1", "0_2", "1_2", "1_3", "2_3", "3_4"]
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    weights = {name: torch.rand((), dtype=torch.float64, requires_grad=True) for name in NAMES}
    cells = {name: alone(edge, name) for name in NAMES}
    found = edge(x, weights)
    expected = sum(weights[name] * cells[name](x) for name in NAMES)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(found)
    pool = dict(edge.pool.named_parameters())
    ours = torch.autograd.grad((found * direction).sum(), [*weights.values(), *pool.values()])
    (expected * direction).sum().backward()
    for (name, weight), gradient in zip(weights.items(), ours, strict=False):
        torch.testing.assert_close(gradient, weight.grad, rtol=1e-10, atol=1e-12, msg=name)
    for key, gradient in zip(pool, ours[len(weights) :], strict=True):
        parts = [dict(cell.convolutions.named_parameters()).get(key) for cell in cells.values()]
        torch.testing.assert_close(
            gradient, sum(part.grad for part in parts if part is not None), rtol=1e-9, atol=1e-12
        )
        assert gradient.abs().sum() > 0


def test_what_cells_have_in_common_is_computed_once():
    edge, calls = build(), []
    for key, convolution in edge.pool.items():
        convolution.register_forward_hook(lambda *_, key=key: calls.append(key))
    edge(torch.randn(1, 3, 6, 6, dtype=torch.float64), {name: torch.tensor(0.2) for name in NAMES})
    convolutions = sum(parse_dag(name).convolutions for name in NAMES)
    assert calls.count("0_1") == calls.count("0_2") == 1  # of the input, in four cells and in three
    # 1_2: of the value of vertex 1, which is the same in two cells; 2_3: of that of vertex 2, alone and as a sum
    assert (calls.count("1_2"), calls.count("1_3"), calls.count("2_3"), calls.count("3_4")) == (1, 1, 2, 1)
    assert len(calls) == 7 < convolutions == 16


def test_what_is_not_drawn_is_not_computed():
    edge = build()
    edge(torch.randn(1, 3, 6, 6, dtype=torch.float64), {"dag2_01": torch.tensor(1.0)}).sum().backward()
    trained = {key for key, convolution in edge.pool.items() if convolution[0].weight.grad is not None}
    assert trained == {"0_1", "1_2"}


def test_a_network_with_shared_convolutions():
    torch.manual_seed(0)
    reference, fused = (
        build_search_network(DAGS, INPUTS, engine, SharedDagConvs()).double() for engine in (Reference(), Fused())
    )
    fused.load_state_dict(reference.state_dict())
    architecture = Architecture(DAGS, Softmax()).double()
    images = torch.randn(4, 2, 8, 8, dtype=torch.float64)
    values = []
    for network in (reference, fused):
        loss = network(images, architecture()).square().sum()
        values.append(torch.autograd.grad(loss, [*architecture.parameters(), *network.parameters()]))
    for found, expected in zip(*values, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    assert count_weights(reference) < count_weights(DagSearchNetwork(DAGS, INPUTS))


def test_sizes_of_the_default_rows():
    space = DagSpace()
    shared = build_search_network(space, ImageSpec(), Reference(), SharedDagConvs())
    keys = {"0_1", "0_2", "0_3", "1_2", "1_3", "2_3", "3_4", "1_4", "2_4", "4_5", "2_5", "3_5", "5_6"}
    assert set(shared.cells[0].edges[0].pool) == keys
    outside = 304 + 16_800 + 56 + 330  # stem, transitions and their biases, classifier
    assert count_weights(shared) == len(keys) * (34_000 + 60) + outside


def test_what_is_refused():
    with pytest.raises(
        ValueError, match=r"SharedDagConvs shares the convolutions of DAGs, but the space 'darts' has .* none, sep"
    ):
        build_search_network(DartsSpace(4, 3), ImageSpec(), Reference(), SharedDagConvs())
    with pytest.raises(ValueError, match=r"SharedDagConvs keeps height and width: it needs edges of stride 1, not 2"):
        SharedDagConvs().build(("dag1",), 3, 2, EVALUATION)
    with pytest.raises(ValueError, match=r"SharedDagConvs keeps the number of channels, but .* from 3 to 6"):
        SharedDagConvs().build(("dag1",), 3, 1, EVALUATION, 6)
    network = build_search_network(DAGS, INPUTS, Reference(), SharedDagConvs())
    with pytest.raises(ValueError, match="share their weights, so that none has a cost of its own"):
        candidate_costs(network, DAGS, INPUTS, "parameters")
