import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lit_nas.genotype import load_genotype
from lit_nas.networks import build_retrain_network
from lit_nas.networks.complexity import count_multiply_adds, count_weights, multiply_adds_by_layer, run_for_shapes
from lit_nas.networks.darts_evaluation import EvaluationNetwork
from lit_nas.specs import ImageSpec


@pytest.mark.parametrize(
    ("spec", "arguments", "expected"),
    [
        (ImageSpec(), (36, 20, True, "cifar"), 528_359_040),
        (ImageSpec(3, 224, 224, 1000), (48, 14, True, "imagenet"), 529_911_552),
    ],
)
def test_multiply_adds_of_the_paper(spec, arguments, expected):
    with torch.device("meta"):
        network = EvaluationNetwork(load_genotype("DARTS_V2"), spec, *arguments)
    assert count_multiply_adds(network, spec) == expected


@pytest.mark.parametrize("name", ["NASNet", "AmoebaNet"])
def test_equals_the_counter_of_torch(name):
    spec = ImageSpec(1, 16, 24, 5)
    network = EvaluationNetwork(load_genotype(name), spec, 4, 3)
    keys = list(network.state_dict())
    counted = count_multiply_adds(network, spec)
    assert network.training
    assert list(network.state_dict()) == keys
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.randn(1, 1, 16, 24))
    assert counter.get_total_flops() == 2 * counted


def test_a_layer_that_runs_twice_counts_twice():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    network = nn.Sequential(layer, layer, nn.Flatten(), nn.Linear(32, 5))
    assert count_weights(network) == 2 * 2 * 9 + 2 + 32 * 5 + 5
    assert multiply_adds_by_layer(network, ImageSpec(2, 4, 4, 5)) == {"0": 2 * 16 * 2 * 18, "3": 160}


@pytest.mark.parametrize(
    "name",
    ["DARTS_V2", "NASNet", "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|none~0|skip_connect~1|none~2|"],
)
def test_shapes_are_those_of_a_real_pass(name):
    genotype, spec = load_genotype(name), ImageSpec(3, 16, 24, 5)
    network = build_retrain_network(None, genotype, spec, 4, 3).eval()
    seen = []
    for module in network.modules():
        module.register_forward_hook(lambda module, args, out: seen.append(getattr(out, "shape", None)))
    run_for_shapes(network, spec)
    traced = list(seen)
    seen.clear()
    out = network(torch.randn(1, 3, 16, 24))[0]
    assert traced == seen
    assert out.std() > 0  # the layers compute again


def test_layers_compute_again_after_a_failure():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Unflatten(1, (7, 7)))
    with pytest.raises(RuntimeError):
        run_for_shapes(network, ImageSpec())
    assert network[0](torch.randn(1, 3, 8, 8)).std() > 0
