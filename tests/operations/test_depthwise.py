"""Depthwise convolution and its gradients against the library's."""

import pytest
import torch
from torch.nn import functional as F

from lit_nas.operations.depthwise import depthwise, from_subgrids, to_subgrids


@pytest.mark.parametrize("size", [3, 5, 7, 9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", [6, 7, 16, 18, 19])
def test_equals_the_library(size, stride, width):
    x = torch.randn(2, 3, 6, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, size, size, dtype=torch.float64, requires_grad=True)
    ours, theirs = depthwise(x, weight, stride), F.conv2d(x, weight, None, stride, size // 2, 1, 3)
    gradient = torch.randn_like(theirs)
    expected = torch.autograd.grad(theirs, (x, weight), gradient)
    for a, b in zip((ours, *torch.autograd.grad(ours, (x, weight), gradient)), (theirs, *expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", [6, 16])
def test_two_derivatives(stride, width):
    x = torch.randn(1, 2, 4, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: depthwise(x, w, stride), (x, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x, w: depthwise(x, w, stride), (x, weight), fast_mode=True)


@pytest.mark.parametrize("frozen", [0, 1])
def test_only_what_is_needed_is_computed(frozen):
    tensors = [torch.randn(1, 2, 16, 16), torch.randn(2, 1, 5, 5)]
    tensors[1 - frozen].requires_grad_()
    depthwise(*tensors).sum().backward()
    assert tensors[frozen].grad is None
    assert tensors[1 - frozen].grad is not None


@pytest.mark.parametrize("size", [3, 5])
def test_dilation_is_an_ordinary_kernel_on_subgrids(size):
    x, weight = torch.randn(2, 3, 8, 6, dtype=torch.float64), torch.randn(3, 1, size, size, dtype=torch.float64)
    assert torch.equal(from_subgrids(to_subgrids(x)), x)
    expected = F.conv2d(x, weight, None, 1, size - 1, 2, 3)
    torch.testing.assert_close(from_subgrids(depthwise(to_subgrids(x), weight)), expected)
    torch.testing.assert_close(depthwise(x, weight, 1, 2), expected)
    halved = F.conv2d(x, weight, None, 2, size - 1, 2, 3)
    torch.testing.assert_close(depthwise(to_subgrids(x)[:2], weight), halved)
