"""Every candidate: its size, its stride, its normalisation."""

import pytest
import torch
from torch import nn

import lit_nas.operations
from lit_nas.operations import (
    COPIES,
    EVALUATION,
    OPERATIONS,
    SEARCH,
    ReLUConvBN,
    Zero,
    build_operation,
    check_operations,
    original,
    register_operation,
)


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


SKIPS = {"skip_connect", *COPIES}
KEEP_CHANNELS = {*SKIPS, *(name for name in OPERATIONS if "pool" in name)}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels_out", [4, 8])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_change_the_number_of_channels_where_their_kind_can(name, channels_out, stride):
    if name in KEEP_CHANNELS and not (name in SKIPS and stride == 2):
        message = rf"'{name}' cannot change the number of channels from 6 to {channels_out}"
        with pytest.raises(ValueError, match=message):
            build_operation(name, 6, stride, SEARCH, channels_out)
        assert build_operation(name, 6, stride, SEARCH, 6)
        return
    module = build_operation(name, 6, stride, SEARCH, channels_out)
    x = torch.randn(2, 6, 8, 12, requires_grad=True)
    out = module(x)
    assert out.shape == (2, channels_out, 8 // stride, 12 // stride)
    out.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_equal_channels_build_the_same_module(name, stride):
    torch.manual_seed(0)
    plain = build_operation(name, 6, stride, SEARCH)
    torch.manual_seed(0)
    asked = build_operation(name, 6, stride, SEARCH, 6)
    assert repr(asked) == repr(plain)
    assert list(asked.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(value, plain.state_dict()[key]) for key, value in asked.state_dict().items())


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("sep_conv_3x3", 9 * 4 + 4 * 4 + 9 * 4 + 4 * 10),
        ("dil_conv_5x5", 25 * 4 + 4 * 10),
        ("conv_7x1_1x7", 7 * 4 * 10 + 7 * 10 * 10),
        ("nor_conv_3x3", 9 * 4 * 10),
    ],
)
def test_where_channels_change(name, weights):
    """At the last pointwise kernel of separable convolutions, at the first kernel of factorised ones."""
    assert sum(parameter.numel() for parameter in build_operation(name, 4, 1, SEARCH, 10).parameters()) == weights


def test_no_connection_is_zero_whatever_its_channels():
    assert not Zero(2, 5)(torch.full((2, 3, 4, 4), 7.0)).any()


def test_operations_of_your_own(monkeypatch):
    monkeypatch.setattr("lit_nas.operations.registry.OPERATIONS", dict(OPERATIONS))

    def own(before, after, stride, style):
        return ReLUConvBN(before, after, 5, stride, style.affine)

    with pytest.raises(ValueError, match=r"Unknown operations \['own_conv'\]"):
        build_operation("own_conv", 4, 1, SEARCH)
    for _ in range(2):  # the second time as if its module were loaded anew
        register_operation("own_conv", own)
    check_operations(("own_conv",), "a test")
    assert build_operation("own_conv", 4, 2, SEARCH, 6)(torch.randn(1, 4, 8, 8)).shape == (1, 6, 4, 4)
    with pytest.raises(ValueError, match=r"There is an operation 'sep_conv_3x3' already, of lit_nas\.operations"):
        register_operation("sep_conv_3x3", own)


def test_every_public_name_is_there():
    for name in lit_nas.operations.__all__:
        assert getattr(lit_nas.operations, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'SepConv'"):
        _ = lit_nas.operations.SepConv


def test_copies_are_what_their_originals_are():
    for copy, name in COPIES.items():
        assert original(copy) == name == original(name)
        for stride in (1, 2):
            torch.manual_seed(0)
            first = build_operation(name, 6, stride, SEARCH)
            torch.manual_seed(0)
            second = build_operation(copy, 6, stride, SEARCH)
            assert type(first) is type(second)
            x = torch.randn(2, 6, 8, 12)
            assert torch.equal(first(x), second(x))
