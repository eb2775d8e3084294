"""Mobile networks: published weights and multiply-adds, shortcuts, and a search from beginning to end."""

import copy

import pytest
import torch
from torch import nn

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.derivation import ArgmaxPerEdge, default_deriver
from lit_nas.engine import Fused, Reference
from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype
from lit_nas.methods import DARTS, ProxylessNAS
from lit_nas.networks import (
    MobileNetwork,
    MobileSearchNetwork,
    build_retrain_network,
    build_search_network,
    count_multiply_adds,
    count_weights,
)
from lit_nas.operations import MBConv
from lit_nas.relaxations import Softmax
from lit_nas.report.describe import describe
from lit_nas.report.draw import draw_genotype
from lit_nas.retrain import RetrainModule, RetrainOptim
from lit_nas.spaces import MOBILE_OPERATIONS, MobileSpace
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import fit
from tests.support.tiny import INPUTS, MOBILE, PROXYLESS

PAPER = ImageSpec(3, 224, 224, 1000)


@pytest.mark.parametrize(
    ("name", "weights", "multiply_adds"),
    [("CPU", 4_361_648, 439.2), ("GPU", 7_119_848, 465.3), ("MOBILE", 4_080_512, 320.4)],
)
def test_the_published_networks(name, weights, multiply_adds):
    """Weights in millions and multiply-adds are in the logs of the authors."""
    genotype = load_genotype(f"PROXYLESS_{name}")
    found = describe(genotype, genotype.meta["network"])
    assert found["weights"] == weights
    assert round(found["multiply_adds"] / 1e6, 1) == multiply_adds
    assert found["cells"][-1]["output"][1:] == [7, 7]
    parts = [found["stem"], *found["cells"], found["classifier"]]
    assert sum(part["weights"] for part in parts) == weights
    assert len(found["cells"]) == sum(cell.edges[0].operation != "none" for cell in genotype.cells.values())


def mobile_net_v2(width):
    """Multiply-adds of MobileNetV2 in millions, by hand: its blocks are those of this space with other numbers."""
    blocks = (2, 3, 4, 3, 3, 1)
    space = MobileSpace(blocks=blocks, widths=(24, 32, 64, 96, 160, 320), width=width)
    chosen = {position.cell: CellGenotype((Edge("mb_conv_3x3_e6", 0, 1),), (1,), 1) for position in space.layout}
    with torch.device("meta"):
        network = build_retrain_network(MobileNetwork(space), Genotype(chosen, "mobile"), PAPER)
    return count_weights(network), count_multiply_adds(network, PAPER)


def test_mobile_net_v2_is_a_network_of_this_kind():
    """Weights and multiply-adds of MobileNetV2, as torchvision has it and as its paper counts (300M)."""
    weights, multiply_adds = mobile_net_v2(1.0)
    assert weights == 3_504_872
    assert multiply_adds == pytest.approx(300e6, rel=0.01)
    assert mobile_net_v2(1.4)[1] == pytest.approx(582e6, rel=0.01)


def test_a_search_network_by_hand():
    space = MobileSpace(8, 4, (6, 8), (2, 1), (2, 1), last_channels=10)
    network = build_search_network(space, ImageSpec(3, 8, 8, 5), Reference())

    def block(before, after, kernel, expansion):
        wide = before * expansion
        first = before * wide + 2 * wide if expansion > 1 else 0
        return first + wide * kernel**2 + 2 * wide + wide * after + 2 * after

    kinds = [(kernel, expansion) for kernel in (3, 5, 7) for expansion in (3, 6)]
    expected = 3 * 8 * 9 + 16 + block(8, 4, 3, 1)
    expected += sum(block(before, after, *kind) for before, after in ((4, 6), (6, 6), (6, 8)) for kind in kinds)
    expected += 8 * 10 + 20 + 10 * 5 + 5
    assert count_weights(network) == expected
    assert {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}
    assert {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}
    assert [cell.shortcut for cell in network.cells] == [False, True, False]


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_a_block_without_a_path_is_the_identity(engine):
    network = MobileSearchNetwork(MOBILE, INPUTS, engine)
    (place,) = (number for number, cell in enumerate(network.cells) if cell.shortcut)
    cell, x = network.cells[place], torch.randn(2, 6, 4, 4)
    none = cell.space.operations.index("none")
    weights = torch.ones(1, len(cell.space.operations))
    assert torch.equal(cell(x, CellMixture(weights, ((none,),))), x)
    assert not torch.equal(cell(x, CellMixture(weights, ((0,),))), x)


def chain(space, operation):
    return Genotype(
        {
            name: CellGenotype((Edge("none" if "none" in cell.operations else operation, 0, 1),), (1,), 1)
            for name, cell in space.cells.items()
        },
        "mobile",
    )


def test_a_network_without_optional_blocks():
    space = MobileSpace()
    with torch.device("meta"):
        network = build_retrain_network(None, chain(space, "mb_conv_3x3_e3"), PAPER)
    assert sum(isinstance(module, MBConv) for module in network.modules()) == 1 + 6
    assert network.types == ("block_1", "block_5", "block_9", "block_13", "block_17", "block_21")


def test_engines_agree():
    torch.manual_seed(0)
    architecture = Architecture(MOBILE, Softmax()).double()
    one = MobileSearchNetwork(MOBILE, INPUTS, Reference()).double()
    images = torch.randn(4, 2, 8, 8, dtype=torch.float64)
    values = []
    for engine in (Reference(), Fused(), Fused(batch_edges=True), Fused(checkpoint=True)):
        other = MobileSearchNetwork(MOBILE, INPUTS, engine).double()
        other.load_state_dict(one.state_dict())
        loss = other(images, architecture()).square().sum()
        values.append([loss, *torch.autograd.grad(loss, list(architecture.parameters()))])
    for found in values[1:]:
        for value, expected in zip(found, values[0], strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", [DARTS, lambda *arguments: ProxylessNAS(*arguments, arch_every=1, optim=PROXYLESS)])
def test_search_derive_draw_and_retrain(method, tmp_path):
    module = method(INPUTS, MOBILE)
    fit(module, tmp_path)
    assert default_deriver(MOBILE) == ArgmaxPerEdge()
    genotype = module.derive()
    assert list(genotype.cells) == ["block_1", "block_2", "block_3"]
    genotype.save(tmp_path / "cell.json")
    assert load_genotype(tmp_path / "cell.json") == genotype
    draw_genotype(genotype, tmp_path / "cell.svg")
    optim = RetrainOptim(auxiliary_weight=0.0, drop_path=0.3)
    retrained = RetrainModule(genotype, INPUTS, MobileNetwork(MOBILE), optim=optim)
    before = copy.deepcopy(retrained.state_dict())
    fit(retrained, tmp_path)
    assert any(not torch.equal(value, before[name]) for name, value in retrained.state_dict().items())


def test_a_genotype_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"a genotype of the space 'mobile' with 21 blocks, but .* and has 3 cells"):
        build_retrain_network("mobile", chain(MOBILE, "mb_conv_3x3_e3"), PAPER)
    with pytest.raises(ValueError, match=r"with 21 blocks, but genotype 'DARTS_V2' is of the space 'darts'"):
        build_retrain_network("mobile", load_genotype("DARTS_V2"), PAPER)
    cut = Genotype({name: CellGenotype((Edge("none", 0, 1),), (1,), 1) for name in MOBILE.cells}, "mobile")
    with pytest.raises(ValueError, match="block_1, block_3 have no shortcut: `none` would cut the network there"):
        build_retrain_network(MobileNetwork(MOBILE), cut, INPUTS)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="do not fit a network with 5 reductions"):
        MobileSearchNetwork(MobileSpace(), ImageSpec(3, 48, 48, 10))


def test_every_operation_of_the_space_is_an_inverted_residual():
    for name in MOBILE_OPERATIONS:
        assert name.startswith("mb_conv_")
