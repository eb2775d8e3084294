import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype
from lit_nas.networks.complexity import count_weights
from lit_nas.networks.darts_evaluation import AuxiliaryHead, EvaluationNetwork, FixedCell
from lit_nas.specs import ImageSpec

V2 = load_genotype("DARTS_V2")
GREY = ImageSpec(1, 28, 28, 10)


def meta(*args, **kwargs):
    with torch.device("meta"):
        return EvaluationNetwork(*args, **kwargs)


@pytest.mark.parametrize(("name", "weights"), [("DARTS_V2", 3_349_342), ("DARTS_V1", 3_169_414)])
def test_weight_counts_of_the_paper(name, weights):
    network = meta(load_genotype(name))
    assert count_weights(network.auxiliary) == 476_426
    assert count_weights(network) == weights + 476_426
    assert count_weights(meta(load_genotype(name), auxiliary=False)) == weights


def test_imagenet_network_of_the_paper():
    spec = ImageSpec(3, 224, 224, 1000)
    network = meta(V2, spec, 48, 14, stem="imagenet")
    assert count_weights(network) - count_weights(network.auxiliary) == 4_718_752
    assert isinstance(network.auxiliary.norm2, nn.Identity)
    sizes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda *call: sizes.append(call[-1].shape[-1]))
    logits, auxiliary = network(torch.empty(2, 3, 224, 224, device="meta"))
    assert logits.shape == auxiliary.shape == (2, 1000)
    assert sizes == [28] * 4 + [14] * 5 + [7] * 5


@pytest.mark.parametrize(
    ("spec", "stem"),
    [
        (GREY, "cifar"),
        (ImageSpec(1, 8, 8, 10), "cifar"),
        (ImageSpec(3, 64, 48, 7), "cifar"),
        (ImageSpec(2, 64, 128, 3), "imagenet"),
    ],
)
def test_any_image(spec, stem):
    network = EvaluationNetwork(V2, spec, 4, 3, stem=stem)
    images = torch.randn(2, spec.channels, spec.height, spec.width)
    logits, auxiliary = network(images)
    assert logits.shape == auxiliary.shape == (2, spec.classes)
    (logits.sum() + auxiliary.sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    logits, auxiliary = network.eval()(images)
    assert logits.shape == (2, spec.classes)
    assert auxiliary is None
    assert EvaluationNetwork(V2, spec, 4, 3, auxiliary=False, stem=stem)(images)[1] is None


@pytest.mark.parametrize("num_cells", [1, 2, 3, 4, 5])
def test_any_depth(num_cells):
    network = EvaluationNetwork(V2, GREY, 2, num_cells)
    assert network(torch.randn(2, 1, 28, 28))[1].shape == (2, 10)


@pytest.mark.parametrize(("side", "stride"), [(8, 3), (7, 2)])
def test_auxiliary_pooling_of_the_paper(side, stride):
    head = AuxiliaryHead(4, (side, side), ImageSpec(3, 32, 32, 3)).double().eval()
    x = torch.randn(2, 4, side, side, dtype=torch.float64)
    pooled = F.avg_pool2d(F.relu(x), 5, stride, 0, count_include_pad=False)
    assert pooled.shape[-2:] == (2, 2)
    expected = head.classifier(F.relu(head.norm2(head.conv2(F.relu(head.norm1(head.conv1(pooled))))))[:, :, 0, 0])
    torch.testing.assert_close(head(x), expected)


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (4, 4), (5, 6), (16, 12), (9, 11)])
def test_auxiliary_pooling_is_adaptive_otherwise(size):
    head = AuxiliaryHead(4, size, ImageSpec(3, 32, 32, 3))
    x = torch.randn(2, 4, *size)
    torch.testing.assert_close(F.avg_pool2d(x, head.window, head.stride), F.adaptive_avg_pool2d(x, 2))
    assert head(x).shape == (2, 3)


def _genotype(normal, reduce=V2.cells["reduce"]):
    return Genotype({"normal": normal, "reduce": reduce})


def test_cell_equals_its_formula():
    torch.manual_seed(0)
    edges = (("skip_connect", 0, 2), ("avg_pool_3x3", 1, 2), ("sep_conv_3x3", 1, 4), ("skip_connect", 2, 4))
    genotype = CellGenotype(tuple(Edge(*edge) for edge in edges), (4, 2))  # node state 3 is empty
    cell = FixedCell(genotype, 6, 6, 4, reduced=False, reduction=False).double()
    before, last = torch.randn(2, 2, 6, 8, 8, dtype=torch.float64)
    s0, s1 = cell.inputs(before, last)
    s2 = s0 + F.avg_pool2d(s1, 3, 1, 1, count_include_pad=False)
    s4 = cell.operations[2](s1) + s2
    torch.testing.assert_close(cell(before, last), torch.cat([s4, s2], 1))


def test_reduction_cell_halves_inputs_only():
    cell = FixedCell(V2.cells["reduce"], 6, 6, 4, reduced=False, reduction=True)
    assert cell(*torch.randn(2, 2, 6, 8, 8)).shape == (2, 16, 4, 4)


def test_drop_path_of_probability_zero_is_identity():
    network = EvaluationNetwork(V2, GREY, 4, 3).double()
    images = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    assert torch.equal(network(images, 0.0)[0], network(images)[0])
    assert not torch.equal(network(images, 0.5)[0], network(images)[0])
    network.eval()
    assert torch.equal(network(images, 0.9)[0], network(images)[0])


def test_identity_is_never_dropped():
    skip = CellGenotype((Edge("skip_connect", 0, 2), Edge("skip_connect", 1, 2)), (2,))
    cell = FixedCell(skip, 4, 4, 4, reduced=False, reduction=False)
    inputs = torch.randn(2, 8, 4, 6, 6)
    assert torch.equal(cell(*inputs, 0.9), cell(*inputs))
    halving = FixedCell(skip, 4, 4, 4, reduced=False, reduction=True)  # not an identity
    assert (halving(*inputs, 0.9).flatten(1).abs().sum(1) == 0).any()


def test_drop_path_keeps_the_mean_and_drops_samples():
    torch.manual_seed(0)
    pool = CellGenotype((Edge("avg_pool_3x3", 1, 2),), (2,))
    cell = FixedCell(pool, 2, 2, 2, reduced=False, reduction=False).double()
    inputs = torch.randn(2, 1, 2, 4, 4, dtype=torch.float64).expand(2, 4000, 2, 4, 4)
    whole, dropped = cell(*inputs), cell(*inputs, 0.3)
    scale = (dropped / whole).detach().flatten(1)
    torch.testing.assert_close(scale, scale[:, :1].expand_as(scale))  # one draw a sample
    assert sorted({round(float(value), 6) for value in scale[:, 0]}) == [0.0, round(1 / 0.7, 6)]
    assert float(scale[:, 0].mean()) == pytest.approx(1, abs=0.05)


def test_errors():
    with pytest.raises(ValueError, match=r"lacks \['normal', 'reduce'\]: it has \['cell'\]"):
        meta(Genotype({"cell": V2.cells["normal"]}, "other"))
    one = CellGenotype((Edge("skip_connect", 0, 1),), (1,), inputs=1)
    with pytest.raises(ValueError, match=r"cells\.normal\.inputs of genotype '' is 1"):
        meta(_genotype(one))
    with pytest.raises(ValueError, match=r"no network 'mnist'\. Known are: cifar, imagenet"):
        meta(V2, stem="mnist")
    with pytest.raises(ValueError, match=r"init_channels must be even .* not 3"):
        meta(V2, init_channels=3)
    with pytest.raises(ValueError, match="num_cells must be at least 1, not 0"):
        meta(V2, num_cells=0)
    with pytest.raises(ValueError, match="needs a map of at least 2x2 pixels, but gets 1x1"):
        meta(V2, ImageSpec(3, 4, 4))
    with pytest.raises(ValueError, match="Images of 30x32 pixels do not fit a network with 2 reductions"):
        meta(V2, ImageSpec(3, 30, 32))
    with pytest.raises(ValueError, match="5 reductions"):
        meta(V2, ImageSpec(3, 240, 240), stem="imagenet")
