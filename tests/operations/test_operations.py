"""Every candidate: its size, its stride, its normalisation."""

import pytest
import torch
from torch import nn

from lit_nas.operations import EVALUATION, OPERATIONS, SEARCH, build_operation


@pytest.mark.parametrize("style", [SEARCH, EVALUATION], ids=["search", "evaluation"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_output_size(name, stride, style):
    x = torch.randn(2, 6, 8, 12)
    assert build_operation(name, 6, stride, style)(x).shape == (2, 6, 8 // stride, 12 // stride)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("none", 0),
        ("max_pool_3x3", 0),
        ("avg_pool_3x3", 0),
        ("skip_connect", 0),
        ("sep_conv_3x3", 2 * (9 * 16 + 256)),
        ("sep_conv_5x5", 2 * (25 * 16 + 256)),
        ("sep_conv_7x7", 2 * (49 * 16 + 256)),
        ("dil_conv_3x3", 9 * 16 + 256),
        ("dil_conv_5x5", 25 * 16 + 256),
        ("conv_7x1_1x7", 2 * 7 * 256),
    ],
)
def test_weights_in_search(name, weights):
    module = build_operation(name, 16, 1, SEARCH)
    assert sum(p.numel() for p in module.parameters()) == weights


def test_styles_differ_in_affine_parameters_and_in_pooling():
    for name in OPERATIONS:
        search = [m for m in build_operation(name, 4, 2, SEARCH).modules() if isinstance(m, nn.BatchNorm2d)]
        final = [m for m in build_operation(name, 4, 2, EVALUATION).modules() if isinstance(m, nn.BatchNorm2d)]
        assert not any(norm.affine for norm in search)
        assert all(norm.affine for norm in final)
        assert (len(search) - len(final)) == (1 if "pool" in name else 0)


def test_average_pooling_does_not_count_padding():
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(build_operation("avg_pool_3x3", 1, 1, EVALUATION)(ones), ones)


def test_skip_with_stride_one_is_the_identity():
    x = torch.randn(2, 4, 5, 5)
    assert build_operation("skip_connect", 4, 1, SEARCH)(x) is x


def test_no_operation_changes_its_input():
    for name in OPERATIONS:
        x = torch.randn(2, 4, 6, 6)
        before = x.clone()
        build_operation(name, 4, 1, SEARCH)(x)
        assert torch.equal(x, before), name


@pytest.mark.parametrize(("half", "parity"), [(slice(0, 2), 0), (slice(2, 4), 1)])
def test_halves_of_factorized_reduce_see_even_and_odd_pixels(half, parity):
    module = build_operation("skip_connect", 4, 2, SEARCH).eval()
    x = torch.rand(1, 4, 6, 6, requires_grad=True)  # positive, so that ReLU hides nothing
    module(x)[:, half].sum().backward()
    seen = torch.zeros(6, 6, dtype=torch.bool)
    seen[parity::2, parity::2] = True  # pixels with one even and one odd coordinate are seen by neither half
    assert torch.equal(x.grad != 0, seen.expand(1, 4, 6, 6))


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"\['sep_conv_9x9'\].*dil_conv_5x5"):
        build_operation("sep_conv_9x9", 4, 1, SEARCH)


def test_odd_channels_cannot_be_reduced():
    with pytest.raises(ValueError, match="out_channels=3 must be even"):
        build_operation("skip_connect", 3, 2, SEARCH)
