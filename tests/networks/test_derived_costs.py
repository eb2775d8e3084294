"""Costs of derived networks from tables, against networks that are built and counted one by one."""

import itertools

import pytest
import torch
from torch import nn

from lit_nas.architecture import Architecture
from lit_nas.derivation import ArgmaxPerEdge, default_deriver
from lit_nas.networks import CIFARNetwork, DagNetwork, MobileNetwork, NasBench201CIFARNetwork, RetrainNetwork
from lit_nas.networks.candidate_costs import count_layers
from lit_nas.networks.complexity import count_multiply_adds, count_weights
from lit_nas.networks.derived_costs import derived_costs, derived_pieces, latency_costs
from lit_nas.networks.latency import LatencyTable
from lit_nas.relaxations import Softmax
from lit_nas.spaces import GDASSpace, NasBench201Space
from lit_nas.specs import ImageSpec, TextSpec
from tests.support.chain import ChainNetwork, ChainSpace
from tests.support.tiny import DAGS, INPUTS, MOBILE, SECOND_STAGE, SPACE, STAGED

SPACES = {
    "darts": (SPACE, CIFARNetwork(4, 4)),
    "candidates of each edge": (STAGED, CIFARNetwork(4, 3, pool_norm=True)),
    "copies of an operation": (SECOND_STAGE, CIFARNetwork(4, 3)),
    "nas_bench_201": (NasBench201Space(), NasBench201CIFARNetwork(4, 3)),
    "gdas": (GDASSpace(init_channels=4, nodes=2, fixed_reduction=True), CIFARNetwork(4, 4)),
    "mobile": (MOBILE, MobileNetwork(MOBILE)),
    "dags": (DAGS, DagNetwork(DAGS)),
    "own": (ChainSpace(), ChainNetwork()),
}
LARGE = ImageSpec(2, 16, 16, 3)


def genotypes(space, count=3):
    """Random ones, as they are derived."""
    architecture = Architecture(space, Softmax())
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        for logits in architecture.parameters():
            logits.data.normal_(generator=generator)
        yield default_deriver(space)(
            space, architecture.importance(), {name: architecture.mask(name) for name in space.cells}
        )


def built(network, genotype):
    with torch.device("meta"):
        return network.build(genotype, LARGE).eval()


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("measure", ["parameters", "multiply_adds", "memory_access"])
def test_a_genotype_costs_what_its_network_does(name, measure):
    space, network = SPACES[name]
    costs = derived_costs(space, LARGE, network, measure)
    values = set()
    for genotype in genotypes(space):
        module = built(network, genotype)
        counted = {
            "parameters": lambda m: count_weights(m), "multiply_adds": lambda m: count_multiply_adds(m, LARGE),
            "memory_access": lambda m: sum(count_layers(m, LARGE, "memory_access").values()),
        }[measure](module)  # fmt: skip
        assert costs.of(genotype) == counted
        values.add(counted)
    assert len(values) > 1
    assert costs.to(torch.device("cpu"), torch.float32).of(genotype) == counted


def test_a_cell_that_has_lost_nodes_is_counted_by_itself():
    network, lost = CIFARNetwork(4, 4), 0
    costs = derived_costs(SPACE, LARGE, network, "parameters")
    logits = {name: torch.zeros(len(cell.edges), len(cell.operations)) for name, cell in SPACE.cells.items()}
    for cell, column in itertools.product(logits, (1, 4, 7)):
        table = {name: rows.clone() for name, rows in logits.items()}
        for rows in table.values():
            rows[:, column] = 1.0
        table[cell][:2, 0] = 2.0  # nothing leads to the first node of one cell
        genotype = ArgmaxPerEdge()(SPACE, table)
        assert costs.of(genotype) == count_weights(built(network, genotype))
        lost += len(genotype.cells[cell].concat) < 2
    assert lost == 6


def test_latencies_are_the_sum_of_what_runs():
    """Against the modules of a network that is built for real, each with a latency of its own."""
    space, network = SPACES["darts"]
    pieces = derived_pieces(space, LARGE, network)
    table = LatencyTable({piece.key: 1.0 + number / 7 for number, piece in enumerate(pieces)}, {})
    costs = latency_costs(space, LARGE, network, table)
    fixed = sum(table.latencies[piece.key] for piece in pieces if piece.place is None)
    for genotype in genotypes(space):
        module, total = built(network, genotype), fixed
        sides = {"normal": 0, "reduce": 1}
        height, channels = 16, 4
        for kind in module.types:
            height, channels = height // (2 if sides[kind] else 1), channels * (2 if sides[kind] else 1)
            for edge in genotype.cells[kind].edges:
                before = 2 * height if sides[kind] and edge.source < 2 else height
                total += table.latencies[
                    f"{edge.operation} {before}x{before}x{channels} -> {height}x{height}x{channels}"
                ]
        assert costs.of(genotype) == pytest.approx(total, rel=1e-12)
    for piece in pieces:
        piece.module(*(torch.zeros(1, *shape) for shape in piece.shapes))  # they run as they are


class Nameless(nn.Module):
    """A network whose cells do not say what is what."""

    types = ("normal",)

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.Conv2d(2, 3, 1)])

    def forward(self, images, drop_probability=0.0):
        return self.cells[0](images).mean((2, 3)), None


class NamelessNetwork(RetrainNetwork):
    made = Nameless

    def build(self, genotype, spec, auxiliary=False):
        return self.made()


class LineNetwork(NamelessNetwork):
    made = staticmethod(lambda: nn.Sequential(nn.Conv2d(2, 3, 1)))


@pytest.mark.parametrize(
    ("network", "message"),
    [(NamelessNetwork(), "Conv2d does not say which of its parts"), (LineNetwork(), "Sequential has no `cells` with")],
)
def test_a_network_must_say_which_part_is_which_edge(network, message):
    with pytest.raises(ValueError, match=message):
        derived_costs(SPACE, LARGE, network, "parameters")


def test_text_has_no_retraining_network():
    with pytest.raises(ValueError, match="Retraining networks are built for images, but this search reads token seq"):
        derived_costs(SPACE, TextSpec(12), CIFARNetwork(4, 3), "parameters")


def test_no_random_number_is_used_up():
    state = torch.get_rng_state()
    derived_pieces(*(SPACES["darts"][0], LARGE, SPACES["darts"][1]))
    derived_costs(SPACE, INPUTS, CIFARNetwork(4, 3), "multiply_adds")
    assert torch.equal(torch.get_rng_state(), state)
