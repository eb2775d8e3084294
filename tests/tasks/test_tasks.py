"""Tasks: losses and metrics by hand, what is refused, and that every space has a head for each of them."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from lit_nas.architecture import Architecture
from lit_nas.derivation import ArgmaxPerEdge, default_deriver
from lit_nas.engine import Reference
from lit_nas.export.network_code import network_code
from lit_nas.genotype import load_genotype
from lit_nas.methods import ProxylessNAS
from lit_nas.networks import CIFARNetwork, DagNetwork, MobileNetwork, NasBench201CIFARNetwork
from lit_nas.networks.complexity import count_multiply_adds
from lit_nas.networks.registry import build_search_network
from lit_nas.relaxations import Softmax
from lit_nas.retrain import RetrainModule, RetrainOptim
from lit_nas.search import SearchOptim
from lit_nas.spaces import GDASSpace
from lit_nas.specs import ImageSpec
from lit_nas.tasks import Classification, MultiLabel, Regression, Segmentation
from tests.support.tiny import DAGS, INPUTS, MOBILE, NAS_BENCH_201, SPACE

SPECS = {
    "class": replace(INPUTS, height=16, width=16),
    "labels": ImageSpec(2, 16, 16, 4, MultiLabel()),
    "numbers": ImageSpec(2, 16, 16, 1, Regression()),
    "pixels": ImageSpec(2, 16, 16, 3, Segmentation()),
}
SHAPES = {"class": (5, 3), "labels": (5, 4), "numbers": (5, 1), "pixels": (5, 3, 16, 16)}
SPACES = {
    "darts": SPACE, "nas_bench_201": NAS_BENCH_201, "dags": DAGS, "mobile": MOBILE,
    "gdas": GDASSpace(init_channels=4, nodes=2, fixed_reduction=True),
}  # fmt: skip
NETWORKS = {
    "darts": CIFARNetwork(4, 3), "nas_bench_201": NasBench201CIFARNetwork(4, 3), "dags": DagNetwork(DAGS),
    "mobile": MobileNetwork(MOBILE), "gdas": CIFARNetwork(4, 3),
}  # fmt: skip


def numbers(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def test_losses():
    outputs = numbers(5, 4)
    labels = torch.tensor([[1.0, 0, 1, 0]] * 5, dtype=torch.float64)
    p = 1 / (1 + (-outputs).exp())
    for weight in (1.0, 3.0):
        expected = -(weight * labels * p.log() + (1 - labels) * (1 - p).log()).mean()
        torch.testing.assert_close(MultiLabel(weight).loss(outputs, labels), expected)
    targets, distance = numbers(5, 4).flip(0), (outputs - numbers(5, 4).flip(0)).abs()
    torch.testing.assert_close(Regression().loss(outputs, targets), distance.square().mean())
    torch.testing.assert_close(Regression("absolute").loss(outputs, targets), distance.mean())
    huber = torch.where(distance < 1, distance.square() / 2, distance - 0.5).mean()
    torch.testing.assert_close(Regression("huber").loss(outputs, targets), huber)
    maps, pixels = numbers(2, 3, 4, 4), torch.arange(32).view(2, 4, 4) % 3
    pixels[0, 0, 0] = 7
    rows = maps.permute(0, 2, 3, 1)[pixels != 7]
    expected = (rows.logsumexp(-1) - rows.gather(-1, pixels[pixels != 7].unsqueeze(-1))[:, 0]).mean()
    torch.testing.assert_close(Segmentation(7).loss(maps, pixels), expected)
    maps.requires_grad_()
    nothing = Segmentation(7).loss(maps, torch.full_like(pixels, 7))  # no pixel counts
    (gradient,) = torch.autograd.grad(nothing, maps)
    assert nothing == 0
    assert not gradient.any()
    smoothed = F.cross_entropy(outputs, torch.arange(5) % 4, label_smoothing=0.1)
    torch.testing.assert_close(Classification().loss(outputs, torch.arange(5) % 4, 0.1), smoothed)


def found(task, spec, outputs, targets, test=False):
    values = {}
    for name, metric in task.metrics(spec, test).items():
        metric.update(*task.score(outputs, targets))
        values[name] = float(metric.compute())
    return values


def test_metrics():
    spec = ImageSpec(1, 2, 2, 2, MultiLabel())
    logits, labels = torch.tensor([[1.0, -1], [1, 1]]), torch.tensor([[1.0, 1], [0, 1]])
    assert found(spec.task, spec, logits, labels) == pytest.approx({"accuracy": 0.5, "f1": 2 * 2 / (2 * 2 + 1 + 1)})
    small = torch.tensor([[0.1, 0.4]])  # look like probabilities below one half
    assert found(spec.task, spec, small, torch.ones(1, 2)) == {"accuracy": 1.0, "f1": 1.0}
    spec = ImageSpec(1, 2, 2, 1, Regression())
    values = found(spec.task, spec, torch.tensor([[1.0], [5]]), torch.tensor([[0.0], [2]]))
    assert values == pytest.approx({"mae": 2.0, "rmse": math.sqrt(5)})
    spec = ImageSpec(1, 2, 2, 2, Segmentation())
    maps = torch.tensor([[[[2.0, -2], [2, 2]], [[0, 0], [0, 0]]]])  # says class 0, 1, 0, 0
    values = found(spec.task, spec, maps, torch.tensor([[[0, 1], [1, -100]]]))
    assert values == pytest.approx({"accuracy": 2 / 3, "iou": (1 / 2 + 1 / 2) / 2})
    spec = ImageSpec(1, 2, 2, 6)
    logits = torch.arange(6.0).repeat(2, 1)
    assert found(spec.task, spec, logits, torch.tensor([5, 1]), test=True) == {"accuracy": 0.5, "top5_accuracy": 1.0}
    assert set(spec.task.metrics(spec)) == {"accuracy"}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("task", SPECS)
def test_every_space_has_a_head_for_it(space, task):
    spec, images = SPECS[task], torch.zeros(5, 2, 16, 16)
    architecture = Architecture(SPACES[space], Softmax())
    network = build_search_network(SPACES[space], spec, Reference())
    assert network(images, architecture()).shape == SHAPES[task]
    rule = ArgmaxPerEdge(("none",)) if space == "mobile" else default_deriver(SPACES[space])
    genotype = rule(SPACES[space], architecture.importance(), {n: architecture.mask(n) for n in architecture.cells})
    fixed = NETWORKS[space].build(genotype, spec).eval()
    assert fixed(images)[0].shape == SHAPES[task]
    assert count_multiply_adds(fixed, spec) > 0


@pytest.mark.parametrize(
    ("task", "targets", "message"),
    [
        ("labels", torch.zeros(5, 4).long(), r"MultiLabel takes zeros and ones in floating point, \[5, 4\]"),
        ("labels", torch.full((5, 4), 2.0), "has targets from 2 to 2, but MultiLabel takes numbers from 0"),
        ("numbers", torch.zeros(5), r"Regression takes floating-point numbers \[5, 1\]"),
        ("numbers", torch.tensor([[1.0]] * 4 + [[math.nan]]), "has targets that are nan or infinite, but Regression"),
        ("numbers", torch.full((5, 1), math.inf), "has targets that are nan or infinite, but Regression"),
        ("pixels", torch.zeros(5).long(), r"a class number for each pixel, \[5, 16, 16\]"),
        ("pixels", torch.full((5, 16, 16), 3), "has pixels of the classes 3 to 3, but there are 3 classes"),
        ("class", torch.zeros(5, 3), r"class numbers of shape \[5\]"),
    ],
)
def test_targets_that_do_not_fit(task, targets, message):
    spec = SPECS[task]

    def check():
        spec.task.check_targets(targets, 5, spec, "The batch")
        spec.task.check_values(targets, spec, "The batch")

    with pytest.raises(ValueError, match=message):
        check()


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"spec\.task must be a task"):
        ImageSpec(task="regression")
    with pytest.raises(ValueError, match=r"spec\.classes is 1, but Segmentation needs at least 2"):
        ImageSpec(classes=1, task=Segmentation())
    with pytest.raises(ValueError, match=r"Regression\.distance must be squared, absolute or huber"):
        Regression("cubic")
    for weight in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"MultiLabel\.positive_weight must be positive and finite"):
            MultiLabel(weight)
    genotype, optim = load_genotype("DARTS_V2"), RetrainOptim(auxiliary_weight=0.0)
    with pytest.raises(ValueError, match=r"label_smoothing is 0\.1, but the targets of Regression"):
        RetrainModule(genotype, SPECS["numbers"], CIFARNetwork(4, 3), optim=replace(optim, label_smoothing=0.1))
    with pytest.raises(ValueError, match="The auxiliary head says one thing of a whole image, but Segmentation"):
        RetrainModule(genotype, SPECS["pixels"], CIFARNetwork(4, 3))
    with pytest.raises(ValueError, match=r"model\.label_smoothing is 0\.1, but the targets of MultiLabel"):
        ProxylessNAS(SPECS["labels"], SPACE, label_smoothing=0.1)
    with pytest.raises(ValueError, match="reinforce rewards accuracy, which Regression"):
        ProxylessNAS(SPECS["numbers"], SPACE, "reinforce", optim=SearchOptim())


def test_a_task_is_part_of_what_data_and_model_agree_on():
    assert repr(SPECS["class"]) == "ImageSpec(channels=2, height=16, width=16, classes=3)"
    assert "task=Regression(distance='squared')" in repr(SPECS["numbers"])
    assert SPECS["labels"] != replace(SPECS["labels"], task=Classification())


@pytest.mark.parametrize("name", ["DARTS_V2", "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|none~2|"])
def test_a_head_of_another_kind_is_not_written_as_python(name):
    network = NETWORKS["darts" if name == "DARTS_V2" else "nas_bench_201"].build(load_genotype(name), SPECS["pixels"])
    with pytest.raises(ValueError, match="The last layer of the network is a Sequential of another task"):
        network_code(network)
