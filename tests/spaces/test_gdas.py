"""The space of GDAS: weights and shapes of its networks, and the reduction cell that is not searched."""

import pytest
import torch
from torch import nn

from lit_nas.architecture import Architecture
from lit_nas.engine import Fused, Reference
from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype
from lit_nas.networks import EvaluationNetwork, build_search_network, count_weights
from lit_nas.networks.cell_inputs import CellInputs
from lit_nas.networks.fixed_reduction import FixedReduction
from lit_nas.relaxations import Softmax
from lit_nas.spaces import GDASSpace
from lit_nas.specs import ImageSpec


def weights_of_a_fixed_cell(before, last, channels):
    """Counted by hand: inputs, and twice two grouped kernels of three pixels with one of a pixel, all with biases."""
    inputs = (before + 1) * channels + (last + 1) * channels
    branch = 2 * (3 * channels * channels // 8 + channels) + (channels + 1) * channels
    return inputs + 2 * branch


@pytest.mark.parametrize("fixed", [False, True])
def test_weights_and_shapes_of_the_search_network(fixed):
    space = GDASSpace(fixed_reduction=fixed)
    network = build_search_network(space, ImageSpec(), Fused())
    shapes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda *call: shapes.append(tuple(call[-1].shape[1:])))
    with torch.no_grad():
        network(torch.randn(2, 3, 32, 32), Architecture(space, Softmax())())
    assert shapes == [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2
    assert network.types == ("normal", "normal", "reduce", "normal", "reduce", "normal")
    parameters = sum(logits.numel() for logits in Architecture(space, Softmax()).parameters())
    if not fixed:
        assert count_weights(network) == 1_343_034
        assert parameters == 224
    else:
        assert parameters == 112
        # every tensor but the 10 biases of the classifier is a multiple of 16, as the channels are
        assert count_weights(network) == 744_570
        assert count_weights(network) % 16 == 10
        for number, sizes in ((2, (64, 64, 32)), (4, (128, 128, 64))):
            assert count_weights(network.cells[number]) == weights_of_a_fixed_cell(*sizes)


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_a_fixed_cell_is_the_one_of_the_authors(size):
    torch.manual_seed(1)
    inputs = CellInputs(6, 10, 8, False, affine=False, bias=True)
    cell = FixedReduction(inputs, 8, affine=False, bias=True).double()
    before, last = (torch.randn(3, channels, *size, dtype=torch.float64) for channels in (6, 10))
    found = cell(before, last)
    assert found.shape == (3, 32, (size[0] + 1) // 2, (size[1] + 1) // 2)
    norm, relu = nn.BatchNorm2d(8, affine=False), nn.functional.relu
    states, parts = inputs(before, last), []
    for state, branch in zip(states, cell.convolutions, strict=True):
        wide, high, point = (layer for layer in branch if isinstance(layer, nn.Conv2d))
        x = nn.functional.conv2d(relu(state), wide.weight, wide.bias, (1, 2), (0, 1), groups=8)
        x = nn.functional.conv2d(x, high.weight, high.bias, (2, 1), (1, 0), groups=8)
        x = nn.functional.conv2d(relu(norm.double()(x)), point.weight, point.bias)
        parts.append(norm(x))
    parts += [norm(nn.functional.max_pool2d(state, 3, 2, 1)) for state in states]
    torch.testing.assert_close(found, torch.cat(parts, 1))
    dropped = cell.train()(before, last, 0.5)
    assert not torch.equal(dropped, found)
    assert torch.equal(cell.eval()(before, last, 0.5), cell(before, last))


def test_engines_agree_where_convolutions_have_biases():
    space = GDASSpace(init_channels=4, nodes=2)
    torch.manual_seed(0)
    networks = [
        build_search_network(space, ImageSpec(3, 8, 8, 5), engine).double() for engine in (Reference(), Fused())
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    architecture, images = Architecture(space, Softmax()).double(), torch.randn(3, 3, 8, 8, dtype=torch.float64)
    outputs = [network(images, architecture()) for network in networks]
    torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
    ours, theirs = (dict(network.named_buffers()) for network in networks)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-9, atol=1e-10)
    for output in outputs:
        output.square().sum().backward()
    for (name, value), other in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
        if ".bias" not in name or name.startswith("classifier"):
            torch.testing.assert_close(other.grad, value.grad, rtol=1e-7, atol=1e-9, msg=name)


def test_a_genotype_without_a_reduction_cell_is_of_this_space_alone():
    cell = CellGenotype((Edge("skip_connect", 0, 2), Edge("sep_conv_3x3", 1, 2)), (2,))
    network = EvaluationNetwork(Genotype({"normal": cell}, "gdas"), ImageSpec(3, 16, 16, 4), 4, 3, auxiliary=False)
    assert [type(each).__name__ for each in network.cells] == ["FixedCell", "FixedReduction", "FixedReduction"]
    logits, _ = network(torch.randn(2, 3, 16, 16), 0.2)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with pytest.raises(ValueError, match=r"needs \['normal', 'reduce'\]"):
        Genotype({"normal": cell}, "darts")
    with pytest.raises(ValueError, match=r"init_channels must be a multiple of 4 .* not 6"):
        EvaluationNetwork(load_genotype("GDAS_F1"), ImageSpec(), 6, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normal_cells": 1}, r"space\.normal_cells must be from 2 to 1000, not 1"),
        ({"nodes": 0}, r"space\.nodes must be from 1 to 20, not 0"),
        ({"init_channels": 3}, r"multiple of 2 \(factorised reduction\), not 3"),
        ({"init_channels": 6, "fixed_reduction": True}, r"multiple of 4 \(the fixed .* eight groups\), not 6"),
        ({"operations": ("none", "conv")}, "conv"),
    ],
)
def test_wrong_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GDASSpace(**arguments)
