"""Merged kernels against the convolutions that they stand for, one by one, in float64."""

import pytest
import torch
from torch.nn import functional as F

from lit_nas.edges import MergedConvolutions
from lit_nas.edges.merged_convolutions import FAMILIES, MergedConv, Window
from lit_nas.networks import SearchNetwork, count_weights
from lit_nas.operations import SEARCH, OperationStyle
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
