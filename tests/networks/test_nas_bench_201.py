"""The networks of NAS-Bench-201, against the published counts and against formulas."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.derivation import ArgmaxPerEdge, TopEdges, default_deriver
from lit_nas.engine import Fused, Reference
from lit_nas.genotype import Genotype, load_genotype
from lit_nas.networks import build_retrain_network, build_search_network, count_weights
from lit_nas.networks.nas_bench_201 import (
    NasBench201Cell,
    NasBench201Network,
    NasBench201SearchNetwork,
    ResidualBlock,
)
from lit_nas.relaxations import Softmax
from lit_nas.retrain import RetrainModule
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.spaces.nas_bench_201_strings import CELL_EDGES, CELL_OPERATIONS, format_architecture
from lit_nas.specs import ImageSpec

SMALL = ImageSpec(height=8, width=8)
MIXED = load_genotype("|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|")


def of(*operations: str) -> Genotype:
    return Genotype.from_architecture(format_architecture(operations if len(operations) == 6 else operations * 6))


def one_hot(genotype: Genotype) -> CellMixture:
    chosen = {(edge.source, edge.target): edge.operation for edge in genotype.cells["normal"].edges}
    columns = [CELL_OPERATIONS.index(chosen[edge]) for edge in CELL_EDGES]
    return CellMixture(F.one_hot(torch.tensor(columns), 5).double(), (tuple(range(5)),) * 6)


@pytest.mark.parametrize(
    ("operations", "weights"),
    [
        (["none"], 73_306),
        (["skip_connect"], 73_306),
        (["avg_pool_3x3"], 73_306),
        (["nor_conv_1x1"], 241_306),
        (["nor_conv_3x3"], 1_531_546),
        (["nor_conv_3x3"] * 3 + ["skip_connect"] + ["nor_conv_3x3"] * 2, 1_288_506),
    ],
)
def test_published_weight_counts(operations, weights):
    with torch.device("meta"):
        assert count_weights(NasBench201Network(of(*operations))) == weights


def test_weights_of_any_cell_follow_from_its_convolutions():
    """Each convolution adds C * C * K * K + 2 C in each of five cells of three stages."""
    per_edge = {
        "nor_conv_1x1": sum(5 * (c * c + 2 * c) for c in (16, 32, 64)),
        "nor_conv_3x3": sum(5 * (9 * c * c + 2 * c) for c in (16, 32, 64)),
    }
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        names = [CELL_OPERATIONS[i] for i in torch.randint(5, (6,), generator=draw).tolist()]
        with torch.device("meta"):
            found = count_weights(NasBench201Network(of(*names)))
        assert found == 73_306 + sum(per_edge.get(name, 0) for name in names)


@pytest.mark.parametrize("tracked", [True, False])
def test_search_network(tracked):
    space = NasBench201Space(track_running_stats=tracked)
    network = build_search_network(space, ImageSpec(), Fused())
    assert count_weights(network) == 1_692_826
    assert sum(p.numel() for p in Architecture(space, Softmax()).parameters()) == 30
    assert len(network.cells) == 17
    inside = {id(m) for cell in network.cells if not isinstance(cell, ResidualBlock) for m in cell.modules()}
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        searched = id(norm) in inside
        assert norm.affine == (not searched)
        assert (norm.running_mean is not None) == (tracked or not searched)
    assert len(norms) == 15 * 12 + 2 * 2 + 2


@pytest.mark.parametrize("size", [32, 16])
def test_shapes(size):
    spec, sizes = ImageSpec(3, size, size, 7), []
    space = NasBench201Space()
    search, final = NasBench201SearchNetwork(space, spec), NasBench201Network(MIXED, spec)
    images, mixture = torch.randn(2, 3, size, size), Architecture(space, Softmax())()
    for cell in final.cells:
        cell.register_forward_hook(lambda *call: sizes.append(tuple(call[-1].shape[1:])))
    assert search.features(images, mixture).shape == final.features(images).shape == (2, 64)
    assert search(images, mixture).shape == final(images)[0].shape == (2, 7)
    stages = [(16 * 2**stage, size >> stage, size >> stage) for stage in range(3)]
    assert sizes[:17] == [stages[0]] * 5 + [stages[1]] * 6 + [stages[2]] * 6


def test_skips_alone_multiply_by_four():
    x = torch.randn(2, 3, 4, 4)
    cell = NasBench201Cell(of("skip_connect").cells["normal"], 3)
    assert torch.equal(cell(x), 4 * x)


def test_nothing_into_the_last_node_makes_constant_logits():
    operations = ["nor_conv_3x3"] * 3 + ["none"] * 3
    network = NasBench201Network(of(*operations), SMALL, 4, 3)
    cell = network.cells[0]
    assert not cell(torch.randn(2, 4, 8, 8)).any()
    logits, _ = network.eval()(torch.randn(5, 3, 8, 8))
    assert torch.equal(logits, logits[:1].expand_as(logits))


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_a_one_hot_mixture_equals_the_derived_cell(engine):
    space = NasBench201Space(4, 1)
    search = NasBench201SearchNetwork(space, SMALL, engine).double()
    final = NasBench201Network(MIXED, SMALL, 4, 3).double()
    other = {name: value for name, value in search.state_dict().items() if "edges" not in name}
    missing = final.load_state_dict(other, strict=False).missing_keys
    assert all(".operations." in name for name in missing)
    for ours, theirs in zip(final.cells, search.cells, strict=True):
        if isinstance(ours, ResidualBlock):
            continue
        for operation, edge in zip(ours.operations, ours.genotype.edges, strict=True):
            searched = theirs.edges[CELL_EDGES.index((edge.source, edge.target))].operations[edge.operation]
            if hasattr(searched, "conv"):
                operation.conv.weight.data.copy_(searched.conv.weight)
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(search(images, [one_hot(MIXED)] * 3), final(images)[0])


def test_convolutions_rectify_their_input_and_have_a_bias_in_search_only():
    negative = -torch.rand(1, 4, 4, 4)
    searched = NasBench201SearchNetwork(NasBench201Space(4, 1), SMALL).cells[0].edges[0].operations["nor_conv_3x3"]
    final = NasBench201Cell(of("nor_conv_3x3").cells["normal"], 4).operations[0]
    outputs = []
    for module in (searched, final):
        module.norm.register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0]))
        module(negative)
    assert torch.equal(outputs[0], searched.conv.bias.view(1, 4, 1, 1).expand(1, 4, 4, 4))
    assert searched.conv.bias.any()
    assert final.conv.bias is None
    assert not outputs[1].any()


def test_gradients_of_the_logits_of_an_edge_sum_to_zero():
    space = NasBench201Space(4, 1)
    architecture, network = Architecture(space, Softmax()).double(), NasBench201SearchNetwork(space, SMALL).double()
    logits = network(torch.randn(4, 3, 8, 8, dtype=torch.float64), architecture())
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    gradient = architecture.logits["normal"].grad
    assert gradient.shape == (6, 5)
    assert (gradient != 0).any(-1).all()
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12)


def test_equal_functions_have_equal_outputs():
    """Two of the 15,625 strings may describe one function: here both reach node 3 through one skip."""
    x = torch.randn(2, 4, 4, 4)
    first = of("none", "skip_connect", "none", "none", "none", "skip_connect")
    second = of("skip_connect", "none", "none", "none", "skip_connect", "none")
    outputs = [NasBench201Cell(genotype.cells["normal"], 4)(x) for genotype in (first, second)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], x)


def test_residual_block_equals_its_formula():
    block, x = ResidualBlock(4, 6).eval(), torch.randn(2, 4, 8, 8)
    y = block.first.norm(F.conv2d(F.relu(x), block.first.conv.weight, stride=2, padding=1))
    y = block.second.norm(F.conv2d(F.relu(y), block.second.conv.weight, padding=1))
    shortcut = F.conv2d(F.avg_pool2d(x, 2), block.shortcut.weight)
    torch.testing.assert_close(block(x), y + shortcut)
    assert block(x).shape == (2, 6, 4, 4)


def test_paths_are_dropped_in_training_only():
    cell, x = NasBench201Cell(of("avg_pool_3x3").cells["normal"], 4), torch.randn(8, 4, 4, 4)
    assert torch.equal(cell(x, 0.0), cell(x))
    assert not torch.equal(cell(x, 0.5), cell(x))
    assert torch.equal(cell.eval()(x, 0.5), cell(x))
    skips = NasBench201Cell(of("skip_connect").cells["normal"], 4)
    assert torch.equal(skips(x, 0.9), 4 * x)


def test_derivation_keeps_all_edges():
    space, table = NasBench201Space(), torch.full((6, 5), 0.2)
    assert default_deriver(space) == ArgmaxPerEdge()
    assert default_deriver(DartsSpace()) == TopEdges()
    derived = default_deriver(space)(space, {"normal": table})
    assert derived == of("none")  # ties go to the lower index
    for edge, o in enumerate((3, 1, 0, 4, 2, 1)):
        table[edge, o] = 0.3
    expected = of("nor_conv_3x3", "skip_connect", "none", "avg_pool_3x3", "nor_conv_1x1", "skip_connect")
    assert ArgmaxPerEdge()(space, {"normal": table}) == expected
    without = ArgmaxPerEdge(exclude=("none",))(space, {"normal": table}).cells["normal"]
    assert [edge.operation for edge in without.edges].count("skip_connect") == 3
    with pytest.raises(ValueError, match="has one cell 'normal' with 1 input"):
        TopEdges()(space, {"normal": table})


def test_errors():
    with pytest.raises(ValueError, match=r"no network 'mnist'\. Known are: cifar, imagenet, nas_bench_201"):
        build_retrain_network("mnist", MIXED, SMALL)
    with pytest.raises(ValueError, match=r"no auxiliary head\. Set model\.optim\.auxiliary_weight to 0"):
        RetrainModule(MIXED.to_dict(), SMALL)
    with pytest.raises(ValueError, match="needs a genotype of the space 'nas_bench_201', but genotype 'DARTS_V2' is"):
        NasBench201Network(load_genotype("DARTS_V2"))
    with pytest.raises(ValueError, match=r"lacks \['reduce'\]: it has \['normal'\]"):
        build_retrain_network("cifar", MIXED, SMALL)
    with pytest.raises(ValueError, match=r"num_cells must be a positive multiple of 3.*not 4"):
        NasBench201Network(MIXED, SMALL, 16, 4)
    for build in (NasBench201Network, lambda genotype, spec: NasBench201SearchNetwork(NasBench201Space(), spec)):
        with pytest.raises(ValueError, match="30x32 pixels do not fit a network with 2 reductions"):
            build(MIXED, ImageSpec(3, 30, 32))
