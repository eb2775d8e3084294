"""Networks of the space of FaDE: weights by hand, equal engines, and a search from beginning to end."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.derivation import ArgmaxPerEdge, default_deriver
from lit_nas.edges import PlainEdges
from lit_nas.engine import Fused, Reference
from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype
from lit_nas.methods import DARTS, GDAS
from lit_nas.networks import (
    DagNetwork,
    DagSearchNetwork,
    build_retrain_network,
    build_search_network,
    count_multiply_adds,
    count_weights,
)
from lit_nas.networks.candidate_costs import candidate_costs
from lit_nas.operations import DagCell
from lit_nas.relaxations import Softmax
from lit_nas.report.describe import describe
from lit_nas.report.draw import draw_genotype
from lit_nas.retrain import RetrainModule, RetrainOptim
from lit_nas.spaces import HAND_PICKED_DAGS, DagSpace
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import fit
from tests.support.tiny import DAGS, INPUTS

WIDTHS = (4, 8, 16, 32)


def chain(*names):
    return Genotype(
        {f"row_{i + 1}": CellGenotype((Edge(name, 0, 1),), (1,), 1) for i, name in enumerate(names)}, "dags"
    )  # fmt: skip


@pytest.mark.parametrize("name", HAND_PICKED_DAGS)
def test_weights_of_the_paper(name):
    """Some 0.25 million for each DAG in four rows; one edge has 34,000 of them."""
    found = describe(chain(*[name] * 4))
    cells = 7 * sum(25 * width**2 for width in WIDTHS)
    assert cells == 7 * 34_000
    biases = sum(7 * width for width in WIDTHS)
    between = sum(25 * a * b + b for a, b in ((3, 4), (4, 8), (8, 16), (16, 32)))
    assert found["weights"] == cells + biases + between + 330 == 255_910
    assert found["network"] == "dags"
    assert [row["output"] for row in found["cells"]] == [[4, 32, 32], [8, 16, 16], [16, 8, 8], [32, 4, 4]]
    parts = [found["stem"], *found["cells"], found["classifier"]]
    assert sum(part["weights"] for part in parts) == found["weights"]
    # a convolution has 25 C^2 of them at each pixel, and stands before the pooling
    adds = 7 * sum(25 * w * w * (1024 // 4**i) for i, w in enumerate(WIDTHS))
    adds += 25 * 3 * 4 * 1024 + sum(25 * a * b * (1024 // 4**i) for i, (a, b) in enumerate(((4, 8), (8, 16), (16, 32))))
    assert found["multiply_adds"] == adds + 320


def test_options_of_the_space():
    small = DagSpace(transition_kernel=1, bias=False)
    with torch.device("meta"):
        network = build_retrain_network(DagNetwork(small), chain(*["dag1"] * 4), ImageSpec())
    assert count_weights(network) == 34_000 + 12 + 32 + 128 + 512 + 330
    search = build_search_network(small, ImageSpec(), Reference())
    assert count_weights(search) == 5 * 7 * 34_000 + 12 + 32 + 128 + 512 + 330
    assert not any(isinstance(module, nn.BatchNorm2d) for module in search.modules())


def test_costs_of_candidates():
    network = build_search_network(DAGS, INPUTS, Fused())
    weights = candidate_costs(network, DAGS, INPUTS, "parameters")
    assert weights.costs[0].tolist() == [[1 * 102, 4 * 102]]
    assert weights.costs[2].tolist() == [[5 * 228, 1 * 228, 3 * 228]]
    adds = candidate_costs(network, DAGS, INPUTS, "multiply_adds")
    assert adds.costs[0].tolist() == [[100 * 64, 4 * 100 * 64]]
    assert adds.costs[1].tolist() == [[2 * 400 * 16, 4 * 400 * 16, 7 * 400 * 16]]


def test_a_search_network_is_the_weighted_sum_of_its_cells():
    torch.manual_seed(0)
    network = DagSearchNetwork(DAGS, INPUTS, Reference()).double()
    images = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    weights = [torch.rand(1, len(cell.operations), dtype=torch.float64) for cell in DAGS.cells.values()]
    mixture = [CellMixture(rows, (tuple(range(rows.shape[1])),)) for rows in weights]
    x = F.relu(network.stem[0](images))
    for row, mixed in zip(network.cells, weights, strict=True):
        if row is not network.cells[0]:
            x = F.max_pool2d(F.relu(row.transition[0][0](x)), 2)
        cells = row.edges[0].operations.values()
        x = sum(weight * cell(x) for weight, cell in zip(mixed[0], cells, strict=True))
    expected = network.classifier(x.mean((2, 3)))
    torch.testing.assert_close(network(images, mixture), expected, rtol=1e-12, atol=1e-12)


def test_engines_agree():
    torch.manual_seed(0)
    architecture = Architecture(DAGS, Softmax()).double()
    one = DagSearchNetwork(DAGS, INPUTS, Reference()).double()
    images = torch.randn(4, 2, 8, 8, dtype=torch.float64)
    values = []
    for engine in (Reference(), Fused(), Fused(batch_edges=True), Fused(checkpoint=True)):
        other = DagSearchNetwork(DAGS, INPUTS, engine).double()
        other.load_state_dict(one.state_dict())
        loss = other(images, architecture()).square().sum()
        values.append([loss, *torch.autograd.grad(loss, [*architecture.parameters(), *other.parameters()])])
    for found in values[1:]:
        for value, expected in zip(found, values[0], strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_only_what_a_step_needs_is_evaluated(engine):
    network, calls = DagSearchNetwork(DAGS, INPUTS, engine, PlainEdges()), []
    for row, cell in enumerate(network.cells):
        for name, operation in cell.edges[0].operations.items():
            operation.register_forward_hook(lambda *_, key=(row, name): calls.append(key))
    weights = [torch.ones(1, len(cell.operations)) for cell in DAGS.cells.values()]
    mixture = [CellMixture(rows, ((0,),)) for rows in weights]
    network(torch.randn(2, 2, 8, 8), mixture).sum().backward()
    assert calls == [(row, cell.operations[0]) for row, cell in enumerate(DAGS.cells.values())]
    for row in network.cells:
        first, *others = row.edges[0].operations.values()
        assert all(parameter.grad is not None for parameter in first.parameters())
        assert all(parameter.grad is None for other in others for parameter in other.parameters())


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_a_chosen_network_is_the_searched_one_with_one_cell_in_each_row(engine):
    search = DagSearchNetwork(DAGS, INPUTS, engine).double()
    chosen = chain(*(row[-1] for row in DAGS.rows))
    final = build_retrain_network(DagNetwork(DAGS), chosen, INPUTS).double()
    final.stem.load_state_dict(search.stem.state_dict())
    final.classifier.load_state_dict(search.classifier.state_dict())
    for row, searched in zip(final.cells, search.cells, strict=True):
        row.transition.load_state_dict(searched.transition.state_dict())
        row.cell.load_state_dict(list(searched.edges[0].operations.values())[-1].state_dict())
    counts = [len(cell.operations) for cell in DAGS.cells.values()]
    mixture = [CellMixture(torch.ones(1, n, dtype=torch.float64), ((n - 1,),)) for n in counts]
    images = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(final(images)[0], search(images, mixture), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", [DARTS, GDAS])
def test_search_derive_draw_and_retrain(method, tmp_path):
    module = method(INPUTS, DAGS)
    fit(module, tmp_path)
    assert default_deriver(DAGS) == ArgmaxPerEdge()
    genotype = module.derive()
    best = {name: table.argmax(-1).item() for name, table in module.architecture.probabilities().items()}
    assert {name: cell.edges[0].operation for name, cell in genotype.cells.items()} == {
        name: DAGS.cells[name].operations[column] for name, column in best.items()
    }
    genotype.save(tmp_path / "cell.json")
    assert load_genotype(tmp_path / "cell.json") == genotype
    draw_genotype(genotype, tmp_path / "cell.svg")
    optim = RetrainOptim(auxiliary_weight=0.0, drop_path=0.3)
    retrained = RetrainModule(genotype, INPUTS, DagNetwork(DAGS), optim=optim)
    before = copy.deepcopy(retrained.state_dict())
    fit(retrained, tmp_path)
    assert any(not torch.equal(value, before[name]) for name, value in retrained.state_dict().items())


def test_dropped_values_change_the_training_only():
    network = build_retrain_network(DagNetwork(DAGS), chain("dag3_01_02_12", "dag2_01", "dag3_02_12"), INPUTS)
    images = torch.randn(2, 2, 8, 8)
    assert sum(isinstance(module, DagCell) for module in network.modules()) == 3
    assert not torch.equal(network(images, 0.5)[0], network(images)[0])
    network.eval()
    assert torch.equal(network(images, 0.5)[0], network(images)[0])


def test_genotypes_and_images_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match=r"with 4 rows, one for each of the widths \(4, 8, 16, 32\), but .* has 2 cells"
    ):
        build_retrain_network("dags", chain("dag1", "dag1"), ImageSpec())
    with pytest.raises(ValueError, match=r"but genotype 'DARTS_V2' is of the space 'darts'"):
        build_retrain_network("dags", load_genotype("DARTS_V2"), ImageSpec())
    with pytest.raises(ValueError, match="do not fit a network with 3 reductions"):
        DagSearchNetwork(DagSpace(), ImageSpec(3, 28, 28, 10))
    deep = DagNetwork(DagSpace(widths=(2, 2)))
    assert count_multiply_adds(build_retrain_network(deep, chain("dag1", "dag1"), INPUTS), INPUTS) > 0
