"""The reference engine against the formula, written once more and slowly."""

import pytest
import torch

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.engine import Reference
from lit_nas.networks import SearchCell, SearchNetwork
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec


def cell_of(kind: str, channels: int = 4) -> SearchCell:
    space = DartsSpace(init_channels=channels)
    return SearchCell(space.cells[kind], channels, channels, channels, False, space.style, Reference()).double()


@pytest.mark.parametrize("kind", ["normal", "reduce"])
def test_nodes_are_weighted_sums(kind):
    cell = cell_of(kind)
    weights = torch.rand(14, 8, dtype=torch.float64)
    active = tuple(tuple(range(8)) for _ in range(14))
    states = [torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in range(2)]
    nodes = Reference()(cell, states, CellMixture(weights, active))
    row, known = 0, list(states)
    for _ in range(4):
        total = 0
        for source in range(len(known)):
            for o, operation in enumerate(cell.edges[row].operations.values()):
                total = total + weights[row, o] * operation(known[source])
            row += 1
        known.append(total)
    for node, expected in zip(nodes, known[2:], strict=True):
        torch.testing.assert_close(node, expected, rtol=1e-13, atol=1e-13)


def test_inactive_pairs_do_not_run():
    cell = cell_of("normal")
    active = tuple((3, 4) if edge == 0 else () for edge in range(14))
    called = []
    for edge in cell.edges:
        for name, operation in edge.operations.items():
            operation.register_forward_hook(lambda *_, key=(id(edge), name): called.append(key))
    states = [torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in range(2)]
    nodes = Reference()(cell, states, CellMixture(torch.ones(14, 8, dtype=torch.float64), active))
    assert called == [(id(cell.edges[0]), "skip_connect"), (id(cell.edges[0]), "sep_conv_3x3")]
    assert all(not node.any() for node in nodes[1:])
    assert nodes[0].any()


def test_node_without_edges_in_a_reduction_cell_has_half_the_size():
    cell = cell_of("reduce")
    states = [torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in range(2)]
    nodes = Reference()(cell, states, CellMixture(torch.ones(14, 8), tuple(() for _ in range(14))))
    assert [tuple(node.shape) for node in nodes] == [(2, 4, 4, 4)] * 4


def test_one_dominant_operation_is_that_operation():
    cell = cell_of("normal")
    architecture = Architecture(DartsSpace(), Softmax()).double()
    logits = architecture.logits["normal"]
    logits.data.zero_()[:, 4] = 1e3
    states = [torch.randn(2, 4, 8, 8, dtype=torch.float64) for _ in range(2)]
    mixed = Reference()(cell, states, architecture()[0])
    single = Reference()(cell, states, CellMixture(torch.ones(14, 8, dtype=torch.float64), ((4,),) * 14))
    for a, b in zip(mixed, single, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_equal_logits_are_the_mean_of_the_operations():
    architecture = Architecture(DartsSpace(), Softmax())
    architecture.logits["normal"].data.zero_()
    assert torch.equal(architecture()[0].weights, torch.full((14, 8), 1 / 8))


def test_size_of_the_search_network():
    network = SearchNetwork(DartsSpace(), ImageSpec())
    assert sum(p.numel() for p in network.parameters()) == 1_930_618
    assert [tuple(c.shape) for c in cell_outputs(network)] == [
        (1, 64, 32, 32), (1, 64, 32, 32), (1, 128, 16, 16), (1, 128, 16, 16), (1, 128, 16, 16),
        (1, 256, 8, 8), (1, 256, 8, 8), (1, 256, 8, 8),
    ]  # fmt: skip


def cell_outputs(network):
    outputs = []
    for cell in network.cells:
        cell.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        network.eval()(torch.randn(1, 3, 32, 32), Architecture(DartsSpace(), Softmax())())
    return outputs


def test_images_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match=r"30x30 .* 2 reductions.* multiples of 4.* 32x32"):
        SearchNetwork(DartsSpace(), ImageSpec(height=30, width=30))
