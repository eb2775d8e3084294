"""Own data in Python: what is taken as it is, and what is refused with which words."""

import pytest
import torch
from pytorch_lightning import LightningDataModule, Trainer
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import DataLoader

from lit_nas.data import SyntheticDataModule
from lit_nas.image_batches import check_image_batch
from lit_nas.methods import DARTS
from lit_nas.retrain import RetrainModule, RetrainOptim
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec
from lit_nas.tasks.classification import Prediction

INPUTS = ImageSpec(1, 8, 8, 4)
SPACE = DartsSpace(init_channels=2, num_cells=3, nodes=2)
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


def evaluation():
    return RetrainModule(spec=INPUTS, init_channels=2, num_cells=3, optim=RetrainOptim(auxiliary_weight=0.0))


def search(level="bilevel", order=1):
    return DARTS(INPUTS, SPACE, order=order, optim=SearchOptim(level=level))


def samples(count=8, shape=(1, 8, 8), first=0, **types):
    images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    labels = (torch.arange(count) + first) % (4 + first)
    return list(zip(images.to(types.get("images")), labels.to(types.get("labels")), strict=True))


def loader(*args, **types):
    return DataLoader(samples(*args, **types), batch_size=4)


def trainer(tmp_path, **arguments):
    return Trainer(
        default_root_dir=tmp_path, max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", num_sanity_val_steps=0, **arguments,
    )  # fmt: skip


class Own(LightningDataModule):
    """A data module that says nothing of its images."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def train_dataloader(self):
        return self.made


@pytest.mark.parametrize("wrap", [lambda made: made, Own])
@pytest.mark.parametrize(
    "make", [evaluation, lambda: search("single"), lambda: search("alternating"), lambda: search("alternating", 2)]
)
def test_a_plain_loader_trains_what_needs_one_part(make, wrap, tmp_path):
    module = make()
    before = module.network.classifier.weight.detach().clone()
    trainer(tmp_path).fit(module, wrap(loader()))
    assert not torch.equal(module.network.classifier.weight, before)


@pytest.mark.parametrize("combine", [dict, CombinedLoader])
def test_a_dict_of_loaders_trains_a_bilevel_search(combine, tmp_path):
    module = search()
    before = module.architecture.logits["normal"].detach().clone()
    trainer(tmp_path).fit(module, combine({"weights": loader(), "arch": loader()}))
    assert not torch.equal(module.architecture.logits["normal"], before)


def test_a_plain_loader_is_tested_and_predicted(tmp_path):
    module = evaluation()
    assert "test/accuracy" in trainer(tmp_path).test(module, loader(), verbose=False)[0]
    images = torch.stack([image for image, _ in samples()])
    for given in (loader(), DataLoader(images, batch_size=4)):  # labels are not needed
        (first, second) = trainer(tmp_path).predict(module, given)
        assert isinstance(first, Prediction)
        expected = module.eval()(images).softmax(-1).max(-1)
        assert torch.equal(torch.cat([first.classes, second.classes]), expected.indices)
        torch.testing.assert_close(torch.cat([first.probabilities, second.probabilities]), expected.values)


def dicts():
    return DataLoader([{"image": image, "label": label} for image, label in samples()], batch_size=4)


WRONG = [
    (dicts, r"is a dict with the keys \['image', 'label'\]"),
    (
        lambda: DataLoader([image for image, _ in samples()], 4),
        r"is a Tensor, but a pair of tensors \(images",
    ),
    (lambda: DataLoader([(*pair, 1) for pair in samples()], 4), r"is a (list|tuple) of 3 \(Tensor, Tensor, Tensor\)"),
    (lambda: loader(images=torch.uint8), r"images of type torch\.uint8, but normalised floating-point numbers"),
    (
        lambda: loader(images=torch.float64),
        r"images of type torch\.float64, but the network computes in",
    ),
    (lambda: loader(8, (3, 8, 8)), r"shape \[4, 3, 8, 8\], but the network was built for ImageSpec\(.*\[B, 1, 8, 8\]"),
    (lambda: loader(8, (1, 8, 16)), r"shape \[4, 1, 8, 16\], but the network was built for"),
    (
        lambda: loader(labels=torch.int32),
        r"labels of shape \[4\] and type torch\.int32, but .*torch\.int64",
    ),
    (lambda: loader(first=1), r"labels from 1 to 4, but the network tells 4 classes apart, whose labels are 0 to 3"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
@pytest.mark.parametrize("module", [evaluation, lambda: search("single")])
def test_what_no_network_can_compute_with_is_named_in_training(module, make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path).fit(module(), make())


@pytest.mark.parametrize(("make", "message"), WRONG)
@pytest.mark.parametrize("verb", ["validate", "test"])
def test_what_no_network_can_compute_with_is_named_in_evaluation(verb, make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        getattr(trainer(tmp_path), verb)(evaluation(), make(), verbose=False)


@pytest.mark.parametrize(
    "given", [loader, lambda: {"train": loader(), "arch": loader()}, lambda: {"weights": loader()}]
)
def test_a_bilevel_search_says_which_loaders_it_wants(given, tmp_path):
    wanted = r"needs .*'arch', 'weights'.* missing\. Train with `\{\"weights\": loader, \"arch\": loader\}`"
    with pytest.raises(ValueError, match=wanted):
        trainer(tmp_path).fit(search(), given())


def test_images_of_another_size_cannot_be_predicted(tmp_path):
    with pytest.raises(ValueError, match=r"A batch to predict has images of shape \[4, 3, 8, 8\]"):
        trainer(tmp_path).predict(evaluation(), loader(8, (3, 8, 8)))
    with pytest.raises(
        ValueError, match=r"A batch to predict is a dict with the keys \['image', 'label'\], but images"
    ):
        trainer(tmp_path).predict(evaluation(), dicts())


class Unread(torch.Tensor):
    """Labels that lie elsewhere: looking at their values would wait."""

    @property
    def device(self):
        return torch.device("cuda")

    def min(self):
        raise AssertionError("the device was waited for")


def test_labels_are_looked_at_before_they_leave_the_cpu(tmp_path):
    images, labels = torch.randn(4, 1, 8, 8), torch.arange(4)
    check_image_batch((images, labels.as_subclass(Unread)), INPUTS, torch.zeros(1), "It")
    module = search().to("meta")
    module.trainer = trainer(tmp_path)
    module.on_before_batch_transfer({"weights": (images, labels), "arch": [images, labels]}, 0)
    with pytest.raises(ValueError, match="A batch has labels from 1 to 4, but the network tells 4 classes apart"):
        module.on_before_batch_transfer({"weights": (images, labels), "arch": (images, labels + 1)}, 0)
    module.trainer.state.fn, module.trainer.predicting = "predict", True
    module.on_before_batch_transfer((images, labels + 1), 0)  # which are ignored


def test_a_batch_is_not_cut_into_more_parts_than_it_has_images(tmp_path):
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(accumulate=9))
    data = SyntheticDataModule(64, 1, 8, 8, 4, batch_size=8)
    with pytest.raises(ValueError, match=r"model\.optim\.accumulate is 9, but data\.batch_size is 8"):
        trainer(tmp_path).fit(module, data)
