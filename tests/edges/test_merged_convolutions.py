"""Merged kernels against the convolutions that they stand for, one by one, in float64."""

import pytest
import torch
from torch.nn import functional as F

from lit_nas.edges import MergedConvolutions
from lit_nas.edges.lean import recomputed
from lit_nas.edges.merged_conv import MergedConv, Window
from lit_nas.edges.merged_convolutions import FAMILIES
from lit_nas.networks import SearchNetwork, count_weights
from lit_nas.operations import SEARCH, OperationStyle
from lit_nas.operations.convolution import DepthwiseStage
from lit_nas.spaces import DARTS_OPERATIONS, DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec

CONVS = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
WINDOWS = {"sep_conv_3x3": (3, 1), "sep_conv_5x5": (5, 1), "dil_conv_3x3": (3, 2), "dil_conv_5x5": (5, 2)}
DENSE = {"nor_conv_1x1": (1, 1), "nor_conv_3x3": (3, 1)}
SETS = [CONVS, CONVS[:1], CONVS[1:2], CONVS[2:], ("sep_conv_5x5", "dil_conv_3x3")]


def window(kernel, size, dilation):
    """The kernel of one candidate, cut out of the shared one."""
    centre, reach = kernel.shape[-1] // 2, dilation * (size // 2)
    pixels = range(centre - reach, centre + reach + 1, dilation)
    return torch.stack([torch.stack([kernel[..., row, column] for column in pixels], -1) for row in pixels], -2)


def before_norm(conv, x, weights, windows, stride):
    """The weighted sum of the candidates' convolutions, each run by itself."""
    total = 0
    for name, weight in weights.items():
        size, dilation = windows[name]
        y = F.conv2d(
            F.relu(x), window(conv.kernel, size, dilation), None, stride, dilation * (size // 2), dilation,
            x.shape[1] if conv.depthwise else 1,
        )  # fmt: skip
        total = total + weight * (F.conv2d(y, conv.pointwise) if conv.depthwise else y)
    return total


def norm_of(x):
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def some(names, factor=1.0):
    values = factor * torch.linspace(0.1, 0.6, len(names), dtype=torch.float64)
    return {name: value.clone().requires_grad_() for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("active", SETS)
def test_one_kernel_is_the_sum_of_all_convolutions(active, stride):
    windows = FAMILIES["depthwise"]
    conv = MergedConv({name: windows[name] for name in CONVS}, True, 4, stride, SEARCH).double()
    x, weights = torch.randn(3, 4, 10, 10, dtype=torch.float64), some(active)
    mass = sum(weights.values())
    expected = mass * norm_of(before_norm(conv, x, weights, WINDOWS, stride) / mass)
    found = conv(x, weights)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    direction, inputs = torch.randn_like(found), [*weights.values(), conv.kernel, conv.pointwise]
    ours, theirs = (torch.autograd.grad((y * direction).sum(), inputs) for y in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("active", [tuple(DENSE), ("nor_conv_1x1",), ("nor_conv_3x3",)])
def test_one_dense_kernel_is_the_sum_of_all_convolutions(active):
    conv = MergedConv(FAMILIES["dense"], False, 4, 1, SEARCH).double()
    x, weights = torch.randn(3, 4, 6, 6, dtype=torch.float64), some(active)
    mass = sum(weights.values())
    expected = mass * norm_of(before_norm(conv, x, weights, DENSE, 1) / mass)
    torch.testing.assert_close(conv(x, weights), expected, rtol=1e-10, atol=1e-10)


def test_candidates_overlap_as_in_the_paper():
    conv = MergedConv(FAMILIES["depthwise"], True, 2, 1, SEARCH)
    masks = {name: conv.masks[index] for index, name in enumerate(conv.windows)}
    assert [int(masks[name].sum()) for name in CONVS] == [9, 25, 9, 25]
    together = sum(masks[name] for name in CONVS)
    assert int((together > 0).sum()) == 41
    assert together[2:7, 2:7].int().tolist() == [
        [3, 1, 3, 1, 3], [1, 2, 2, 2, 1], [3, 2, 4, 2, 3], [1, 2, 2, 2, 1], [3, 1, 3, 1, 3],
    ]  # fmt: skip
    assert torch.equal(together, together.rot90())


def test_convolutions_as_a_whole_compete_with_other_candidates():
    conv = MergedConv(FAMILIES["depthwise"], True, 2, 1, SEARCH).double()
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(conv(x, some(CONVS, 2.0)), 2 * conv(x, some(CONVS)), rtol=1e-12, atol=1e-12)


def test_weights_that_are_all_zero_have_finite_gradients():
    conv = MergedConv(FAMILIES["depthwise"], True, 2, 1, SEARCH)
    weights = {name: torch.tensor(0.0, requires_grad=True) for name in CONVS}
    found = conv(torch.randn(2, 2, 8, 8), weights)
    assert not found.any()
    gradients = torch.autograd.grad(found.sum(), [*weights.values(), conv.kernel])
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("blocks", [1, 2])
def test_pools_and_skip_connections_run_beside_the_kernel(blocks, stride):
    edge = MergedConvolutions(blocks).build(DARTS_OPERATIONS, 4, stride, SEARCH).double()
    x, weights = torch.randn(2, 4, 8, 8, dtype=torch.float64), some(DARTS_OPERATIONS)
    convs, expected = {name: weights[name] for name in CONVS}, x
    for index, conv in enumerate(edge.merged["depthwise"]):
        mass = sum(convs.values())
        expected = mass * norm_of(before_norm(conv, expected, convs, WINDOWS, 1 if index else stride) / mass)
    for name in set(DARTS_OPERATIONS) - set(CONVS):
        expected = expected + weights[name] * edge.operations[name](x)
    torch.testing.assert_close(edge(x, weights), expected, rtol=1e-10, atol=1e-10)


def test_an_edge_has_one_kernel_for_each_family():
    edge = MergedConvolutions().build((*DARTS_OPERATIONS, "nor_conv_3x3", "conv_7x1_1x7"), 8, 1, SEARCH)
    assert list(edge.merged) == ["depthwise", "dense"]
    assert count_weights(edge.merged["depthwise"]) == 81 * 8 + 8 * 8
    assert "conv_7x1_1x7" in edge.operations
    assert MergedConvolutions().build(("sep_conv_3x3", "sep_conv_5x5"), 8, 1, SEARCH).merged["depthwise"][
        0
    ].kernel.shape == (8, 1, 5, 5)
    assert not MergedConvolutions().build(("skip_connect",), 8, 1, SEARCH).merged
    assert list(edge.state_dict()) == [key for key in edge.state_dict() if "masks" not in key]


def test_size_of_the_search_network():
    # in the place of 102 C + 6 C^2 weights of four candidates there are 81 C + C^2 on each edge
    edges = [(14, channels) for channels in (16, 16, 32, 32, 32, 64, 64, 64)]
    saved = sum(number * (21 * c + 5 * c * c) for number, c in edges)
    network = SearchNetwork(DartsSpace(), ImageSpec(), edges=MergedConvolutions())
    assert count_weights(network) == 1_930_618 - saved


def test_norms_obey_the_style():
    style = OperationStyle(affine=True, pool_norm=False, track_running_stats=False)
    norm = MergedConvolutions().build(("nor_conv_3x3",), 4, 1, style).merged["dense"][0].norm
    assert norm.affine
    assert norm.running_mean is None
    assert NasBench201Space(4, 1).style.conv_bias


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"edges\.blocks of MergedConvolutions must be 1 or 2, not 3"):
        MergedConvolutions(3)


def test_pixels_that_no_drawn_window_reads_have_a_gradient_of_zero():
    """So momentum and weight decay move them, as the class says: they are parts of one tensor."""
    conv = MergedConv({"small": Window(3), "large": Window(5)}, True, 4, 1, SEARCH)
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1, momentum=0.9)
    for drawn, moves in (("large", True), ("small", True), ("small", True)):
        before = conv.kernel.detach().clone()
        optimizer.zero_grad()
        conv(torch.randn(2, 4, 6, 6), {drawn: torch.tensor(1.0)}).square().sum().backward()
        border = torch.ones(5, 5, dtype=torch.bool)
        border[1:4, 1:4] = False
        assert bool((conv.kernel.grad[:, :, border] == 0).all()) == (drawn == "small")
        optimizer.step()
        assert bool((conv.kernel.detach() != before)[:, :, border].all()) == moves


LINEAR = ("skip_connect", "avg_pool_3x3")


def fixed(name, channels):
    """The kernel of the paper for a candidate without weights, [C, C, 9, 9]."""
    kernel = torch.zeros(channels, channels, 9, 9, dtype=torch.float64)
    for channel in range(channels):
        if name == "skip_connect":
            kernel[channel, channel, 4, 4] = 1
        else:
            kernel[channel, channel, 3:6, 3:6] = 1 / 9
    return kernel


def expanded(conv, weights):
    """The whole edge as one kernel from all to all channels, [C, C, 9, 9] (proposition 3)."""
    size = conv.kernel.shape[-1] // 2
    kernel = conv.kernel if conv.pointwise is None else conv.pointwise * conv.kernel.transpose(0, 1)
    kernel = F.pad(kernel, [4 - size] * 4)
    total = 0
    for name, weight in weights.items():
        if name in LINEAR:
            total = total + weight * fixed(name, conv.channels)
        else:
            mask = conv.masks[list(conv.windows).index(name)]
            total = total + weight * F.pad(mask, [4 - size] * 4) * kernel
    return total


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("names", [(*CONVS, *LINEAR), (*DENSE, *LINEAR), ("sep_conv_3x3", "avg_pool_3x3"), LINEAR])
def test_all_that_is_linear_is_one_kernel(names, stride, recompute, rescale):
    family = "dense" if set(names) & set(DENSE) else "depthwise"
    edge = MergedConvolutions(fold=True, rescale=rescale, recompute=recompute).build(
        (*(DENSE if family == "dense" else CONVS), *LINEAR), 4, stride, SEARCH
    )
    (conv,) = edge.merged[family].double()
    names = names if stride == 1 else tuple(name for name in names if name != "skip_connect")
    x, weights = torch.randn(3, 4, 10, 10, dtype=torch.float64, requires_grad=True), some(names)
    mass = sum(weights.values()) if rescale else 1
    expected = mass * norm_of(F.conv2d(F.relu(x), expanded(conv, weights) / mass, None, stride, 4))
    found = edge(x, weights)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    kernels = [conv.kernel, *([] if conv.pointwise is None else [conv.pointwise])]
    inputs = [x, *weights.values(), *(kernels if set(names) - set(LINEAR) else [])]
    direction = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((y * direction).sum(), inputs) for y in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_fixed_kernels_are_the_identity_and_the_mean():
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(F.conv2d(x, fixed("skip_connect", 3), padding=4), x)
    for stride in (1, 2):
        mean = F.conv2d(x, fixed("avg_pool_3x3", 3), None, stride, 4)
        torch.testing.assert_close(mean, F.avg_pool2d(x, 3, stride, 1, count_include_pad=True))
    darts = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    padded = F.conv2d(x, fixed("avg_pool_3x3", 3), padding=4)
    torch.testing.assert_close(padded[..., 1:-1, 1:-1], darts[..., 1:-1, 1:-1])
    assert not torch.allclose(padded, darts)


def test_what_cannot_be_folded_runs_beside_the_kernel():
    fold = MergedConvolutions(fold=True)
    edge = fold.build((*DARTS_OPERATIONS, "skip_connect_2"), 4, 1, SEARCH)
    assert set(edge.operations) == {"none", "max_pool_3x3"}
    assert set(fold.build(DARTS_OPERATIONS, 4, 2, SEARCH).operations) == {"none", "max_pool_3x3", "skip_connect"}
    assert set(fold.build(LINEAR, 4, 1, SEARCH).operations) == set(LINEAR)
    assert set(edge.fusible.operations) == {"none", "max_pool_3x3"}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CONVS)
def test_a_single_candidate_is_the_block_of_darts(name, training):
    (conv,) = MergedConvolutions().build(DARTS_OPERATIONS, 4, 2, SEARCH).merged["depthwise"].double()
    stage = DepthwiseStage(4, 4, WINDOWS[name][0], 2, WINDOWS[name][1], affine=False).double()
    with torch.no_grad():
        stage.depthwise.weight.copy_(window(conv.kernel, *WINDOWS[name]))
        stage.pointwise.weight.copy_(conv.pointwise)
        for norm in (conv.norm, stage.norm):
            norm.running_mean.copy_(torch.arange(4.0))
            norm.running_var.copy_(torch.arange(1.0, 5.0))
    x = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    one = {name: torch.ones((), dtype=torch.float64)}
    for module in (conv, stage):
        module.train(training)
    torch.testing.assert_close(conv(x, one), stage(x), rtol=1e-12, atol=1e-12)
    zeros = {other: torch.zeros((), dtype=torch.float64) for other in CONVS}
    torch.testing.assert_close(conv(x, {**zeros, **one}), stage(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(conv.norm.running_mean, stage.norm.running_mean)  # seen twice by both
    torch.testing.assert_close(conv.norm.running_var, stage.norm.running_var)


def test_the_gradient_of_a_weight_is_the_product_with_its_own_convolution():
    (conv,) = MergedConvolutions(rescale=False).build(DARTS_OPERATIONS, 4, 1, SEARCH).merged["depthwise"].double()
    conv.norm.eps = 0.0  # with mean 0 and variance 1 it then is the identity in evaluation
    conv.eval()
    x, weights = torch.randn(3, 4, 8, 8, dtype=torch.float64), some(CONVS)
    y = conv(x, weights)
    direction = torch.randn_like(y)
    for name, gradient in zip(CONVS, torch.autograd.grad((y * direction).sum(), list(weights.values())), strict=True):
        alone = before_norm(conv, x, {name: 1.0}, WINDOWS, 1)
        torch.testing.assert_close(gradient, (direction * alone).sum())


def test_without_rescaling_only_ratios_matter():
    conv = MergedConv(FAMILIES["depthwise"], True, 2, 1, SEARCH, rescale=False).double()
    conv.norm.eps = 1e-12
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(conv(x, some(CONVS, 2.0)), conv(x, some(CONVS)), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("affine", "recompute"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("names", [(*CONVS[:1], *LINEAR), (*DENSE, *LINEAR)])
def test_what_is_computed_a_second_time_can_be_differentiated_twice(names, affine, recompute):
    style = OperationStyle(affine=affine, pool_norm=False)
    edge = MergedConvolutions(fold=True, recompute=recompute).build(names, 2, 1, style).double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    values = [torch.rand((), dtype=torch.float64, requires_grad=True) for _ in names]

    def value(x, *values):
        return edge(x, dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(value, (x, *values), fast_mode=True)
    assert torch.autograd.gradgradcheck(value, (x, *values), fast_mode=True)


def test_folding_needs_one_block():
    with pytest.raises(ValueError, match=r"edges\.fold of MergedConvolutions needs edges\.blocks 1"):
        MergedConvolutions(blocks=2, fold=True)


@pytest.mark.filterwarnings("ignore:In CPU autocast")
def test_a_second_computation_has_the_precision_of_the_first():
    seen = []

    def function(x, weight):
        value = F.linear(x, weight)
        seen.append(value.dtype)
        return value

    x, weight = torch.randn(3, 4), torch.randn(5, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = recomputed(function, function, x, weight)
    y.sum().backward()
    assert seen == [torch.bfloat16, torch.bfloat16]
    assert weight.grad.dtype == torch.float32
