"""What candidates cost, against networks that hold one of them and are counted as a whole."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lit_nas.architecture import Architecture
from lit_nas.edges import AuxiliarySkip, MergedConvolutions
from lit_nas.engine import Fused, Reference
from lit_nas.networks.candidate_costs import candidate_costs
from lit_nas.networks.complexity import count_weights
from lit_nas.networks.registry import build_search_network
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec, TextSpec
from tests.support.text import GrammarSpace, LanguageSearch

INPUTS = ImageSpec(channels=2, height=8, width=12, classes=3)
SPACES = pytest.mark.parametrize(
    "space", [DartsSpace(init_channels=4, num_cells=4, nodes=2), NasBench201Space(init_channels=4, cells_per_stage=2)]
)


def chosen(space, choice):
    """The space with one candidate on every edge."""
    return replace(space, operations=(choice,))


@SPACES
@pytest.mark.parametrize("engine", [Fused(), Reference()])
def test_one_candidate_everywhere_costs_what_its_network_has(space, engine):
    network = build_search_network(space, INPUTS, engine)
    names = next(iter(space.cells.values())).operations
    tables = {measure: candidate_costs(network, space, INPUTS, measure) for measure in ("parameters", "multiply_adds")}
    for column, name in enumerate(names):
        alone = build_search_network(chosen(space, name), INPUTS, Reference())
        mixture = Architecture(chosen(space, name), Softmax())()
        with FlopCounterMode(display=False) as counter:
            alone.eval()(torch.randn(1, 2, 8, 12), mixture)
        expected = {"parameters": count_weights(alone), "multiply_adds": counter.get_total_flops() / 2}
        for measure, table in tables.items():
            found = table.fixed + sum(float(cost[:, column].sum()) for cost in table.costs)
            assert found == expected[measure], (measure, name)


@SPACES
def test_the_table_has_every_position_and_leaves_everything_alone(space):
    network = build_search_network(space, INPUTS, Fused())
    before, numbers = list(network.state_dict()), torch.get_rng_state()
    table = candidate_costs(network, space, INPUTS, "multiply_adds")
    assert torch.equal(torch.get_rng_state(), numbers)
    assert list(network.state_dict()) == before
    assert network.training
    assert {type(module.engine) for module in network.modules() if hasattr(module, "engine")} == {Fused}
    assert table.types == tuple(position.cell for position in space.layout)
    for name, total in table.by_type.items():
        each = [cost for kind, cost in zip(table.types, table.costs, strict=True) if kind == name]
        assert torch.equal(total, sum(each))


def test_a_convolution_by_hand():
    space = DartsSpace(init_channels=4, num_cells=3, nodes=1, operations=("none", "sep_conv_3x3"))
    network = build_search_network(space, INPUTS, Reference())
    weights = 2 * (4 * 9 + 4 * 4)  # depthwise and pointwise, twice, without affine norms
    table = candidate_costs(network, space, INPUTS, "parameters")
    assert table.costs[0].tolist() == [[0, weights], [0, weights]]
    assert candidate_costs(network, space, INPUTS, "multiply_adds").costs[0].tolist() == [[0, weights * 96]] * 2


def test_a_measure_must_be_known():
    space = NasBench201Space(init_channels=4, cells_per_stage=1)
    network = build_search_network(space, INPUTS, Reference())
    with pytest.raises(
        ValueError, match="must be one of parameters, multiply_adds, operations, memory_access, not 'latency'"
    ):
        candidate_costs(network, space, INPUTS, "latency")


def test_candidates_that_share_their_weights_have_no_cost():
    space = NasBench201Space(init_channels=4, cells_per_stage=1)
    network = build_search_network(space, INPUTS, Reference())
    del network.cells[0].edges[2].operations
    with pytest.raises(ValueError, match=r"candidates of 'cells\.0\.edges\.2' share their weights"):
        candidate_costs(network, space, INPUTS, "parameters")


@pytest.mark.parametrize("measure", ["parameters", "multiply_adds"])
def test_merged_candidates_have_no_cost(measure):
    """Not even that of 0, by which convolutions would be free."""
    space = DartsSpace(init_channels=4, num_cells=3, nodes=1)
    network = build_search_network(space, INPUTS, Reference(), MergedConvolutions())
    with pytest.raises(ValueError, match=r"candidates of 'cells\.0\.edges\.0' share their weights"):
        candidate_costs(network, space, INPUTS, measure)


def test_what_runs_beside_the_candidates_is_not_searched():
    space = DartsSpace(init_channels=4, num_cells=3, nodes=1)
    tables = [
        candidate_costs(build_search_network(space, INPUTS, Reference(), *edges), space, INPUTS, "parameters")
        for edges in ((), (AuxiliarySkip("conv_1x1"),))
    ]
    for plain, other in zip(*(table.costs for table in tables), strict=True):
        assert torch.equal(plain, other)
    assert tables[1].fixed > tables[0].fixed


@pytest.mark.parametrize("measure", ["parameters", "multiply_adds"])
def test_a_network_without_cells_is_refused(measure):
    module = LanguageSearch()
    with pytest.raises(ValueError, match=rf"No {measure} of candidates.* GrammarNetwork has no cells"):
        candidate_costs(module.network, GrammarSpace(), TextSpec(12), measure)


def test_multiply_adds_are_those_of_images():
    space = NasBench201Space(init_channels=4, cells_per_stage=1)
    network = build_search_network(space, INPUTS, Reference())
    with pytest.raises(ValueError, match="multiply_adds are counted for one image, but this network reads token seq"):
        candidate_costs(network, space, TextSpec(12), "multiply_adds")
    assert candidate_costs(network, space, TextSpec(12), "parameters").costs
