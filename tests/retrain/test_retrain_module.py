import copy
import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from pytorch_lightning import LightningDataModule, Trainer
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, default_collate

from lit_nas.data import SyntheticDataModule
from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS
from lit_nas.networks.complexity import count_weights
from lit_nas.networks.darts_evaluation import EvaluationNetwork
from lit_nas.optim import CosineLR, DartsSGD
from lit_nas.record.recorded_module import load_module
from lit_nas.retrain import RetrainModule, RetrainOptim
from lit_nas.search import SearchOptim
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec

INPUTS = ImageSpec(1, 8, 8, 6)
TINY = {"spec": INPUTS, "init_channels": 2, "num_cells": 3}


class Data(LightningDataModule):
    def __init__(self, spec=INPUTS):
        super().__init__()
        self.spec = spec
        generator = torch.Generator().manual_seed(0)
        self.pairs = [(torch.randn(1, 8, 8, generator=generator), i % 6) for i in range(8)]

    def _pairs(self):
        return DataLoader(self.pairs, batch_size=4)

    val_dataloader = test_dataloader = predict_dataloader = _pairs

    def train_dataloader(self):
        return DataLoader(self.pairs, 4, collate_fn=lambda pairs: {"weights": default_collate(pairs)})


@pytest.fixture
def trainer(tmp_path):
    def make(**kwargs):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
        quiet |= {"enable_checkpointing": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1, "barebones": False}
        return Trainer(default_root_dir=tmp_path, **{"max_epochs": 2, **quiet, **kwargs})

    return make


pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


@pytest.mark.parametrize("by", ["norm", "value"])
def test_fit_equals_training_by_hand(trainer, by):
    """Two epochs of two batches against plain PyTorch: lr, momentum, decay, clip, auxiliary loss, smoothing."""
    limit, clip = (0.5, nn.utils.clip_grad_norm_) if by == "norm" else (0.01, nn.utils.clip_grad_value_)
    optim = RetrainOptim(clip=limit, clip_by=by, drop_path=0.0, label_smoothing=0.1)
    module = RetrainModule(**TINY, optim=optim).double()
    network, data = copy.deepcopy(module.network), Data()
    trainer(precision="64-true").fit(module, data)

    optimizer = SGD(network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    for epoch in range(2):
        optimizer.param_groups[0]["lr"] = 0.025 * (1 + math.cos(math.pi * epoch / 2)) / 2
        for batch in data.train_dataloader():
            images, labels = batch["weights"]
            logits, auxiliary = network(images.double())
            loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
            loss = loss + 0.4 * F.cross_entropy(auxiliary, labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            gradient = torch.cat([value.grad.flatten() for value in network.parameters()])
            assert (gradient.norm() if by == "norm" else gradient.abs().max()) > limit
            clip(network.parameters(), limit)
            optimizer.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(module.network.state_dict()[name], tensor, msg=name)


@pytest.mark.parametrize(
    "change",
    [{"clip": 0.0}, {"clip_by": "value"}, {"drop_path": 0.0}, {"auxiliary_weight": 0.1}, {"label_smoothing": 0.2}],
)
def test_each_number_changes_the_result(trainer, change):
    def train(optim):
        torch.manual_seed(0)
        module = RetrainModule(**TINY, optim=optim)
        trainer().fit(module, Data())
        return module.network.classifier.weight.detach().clone()

    base = RetrainOptim(clip=0.1, drop_path=0.5)
    assert torch.equal(train(base), train(base))
    assert not torch.equal(train(base), train(replace(base, **change)))


def test_drop_probability_rises_linearly(trainer, monkeypatch):
    seen = []
    forward = EvaluationNetwork.forward

    def spy(self, images, drop_probability=0.0):
        seen.append((self.training, drop_probability))
        return forward(self, images, drop_probability)

    monkeypatch.setattr(EvaluationNetwork, "forward", spy)
    trainer(max_epochs=4).fit(RetrainModule(**TINY), Data())
    training = [probability for train, probability in seen if train]
    assert training == pytest.approx([0, 0, 0.05, 0.05, 0.1, 0.1, 0.15, 0.15])
    assert {probability for train, probability in seen if not train} == {0.0}


def test_logged_numbers(trainer):
    module, data = RetrainModule(**TINY), Data()
    fit = trainer(max_epochs=1)
    fit.fit(module, data)
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy"} <= set(fit.callback_metrics)

    tested = trainer().test(module, data, verbose=False)[0]
    images, labels = default_collate(data.pairs)
    logits = module.eval()(images).detach()
    assert tested["test/accuracy"] == pytest.approx(float((logits.argmax(-1) == labels).float().mean()))
    top5 = (logits.topk(5).indices == labels[:, None]).any(-1).float().mean()
    assert tested["test/top5_accuracy"] == pytest.approx(float(top5))
    assert tested["test/loss"] == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    predicted = trainer().predict(module, data)
    assert torch.equal(torch.cat([batch.classes for batch in predicted]), logits.argmax(-1))
    probabilities = torch.cat([batch.probabilities for batch in predicted])
    torch.testing.assert_close(probabilities, logits.softmax(-1).max(-1).values)


def test_few_classes_have_no_top5(trainer):
    data = Data(ImageSpec(1, 8, 8, 5))
    data.pairs = [(image, label % 5) for image, label in data.pairs]
    module = RetrainModule(**{**TINY, "spec": data.spec})
    assert set(trainer().test(module, data, verbose=False)[0]) == {"test/loss", "test/accuracy"}


def test_no_auxiliary_head_without_weight():
    assert RetrainModule(**TINY).network.auxiliary is not None
    assert RetrainModule(**TINY, optim=RetrainOptim(auxiliary_weight=0)).network.auxiliary is None


def test_checkpoint_outlives_the_genotype_file(trainer, tmp_path):
    file, checkpoint = tmp_path / "found.json", tmp_path / "last.ckpt"
    load_genotype("NASNet").save(file)
    optim = RetrainOptim(weights=partial(DartsSGD, lr=0.1), drop_path=0.3)
    module = RetrainModule(str(file), **TINY, optim=optim)
    fit = trainer(max_epochs=1)
    fit.fit(module, Data())
    fit.save_checkpoint(checkpoint)
    file.unlink()

    loaded = load_module(checkpoint)
    assert isinstance(loaded, RetrainModule)
    assert loaded.genotype == load_genotype(checkpoint) == load_genotype("NASNet")
    assert loaded.spec == INPUTS
    assert loaded.optim.drop_path == 0.3
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(loaded.eval()(images), module.eval()(images))
    assert json.dumps(dict(loaded.hparams)) == json.dumps(dict(module.hparams))


def test_resume_equals_the_run_in_one_go(trainer, tmp_path):
    def run(stop):
        torch.manual_seed(0)
        module, half = RetrainModule(**TINY, optim=RetrainOptim(drop_path=0.0)), tmp_path / "half.ckpt"
        if stop:
            first = trainer(max_epochs=4, max_steps=4)  # two epochs
            first.fit(module, Data())
            first.save_checkpoint(half)
            module = RetrainModule(**TINY, optim=RetrainOptim(drop_path=0.0))
        trainer(max_epochs=4).fit(module, Data(), ckpt_path=half if stop else None, weights_only=True)
        return module.state_dict()

    whole, resumed = run(False), run(True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_genotype_as_dict():
    module = RetrainModule(load_genotype("AmoebaNet").to_dict(), **TINY)
    assert module.genotype == load_genotype("AmoebaNet")
    with pytest.raises(ValueError, match=r"model\.genotype is not a genotype: the key 'format'"):
        RetrainModule({}, **TINY)
    with pytest.raises(FileNotFoundError, match="'nothing' is neither a published genotype nor a file"):
        RetrainModule("nothing", **TINY)


def test_schedule_keeps_its_own_length(trainer):
    optim = RetrainOptim(schedule=partial(CosineLR, epochs=100))
    fit = trainer()
    fit.fit(RetrainModule(**TINY, optim=optim), Data())
    assert fit.lr_scheduler_configs[0].interval == "epoch"
    assert fit.lr_scheduler_configs[0].scheduler.epochs == 100


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("clip", -1, "must not be negative, but is -1"),
        ("clip_by", "size", "must be norm or value, not 'size'"),
        ("auxiliary_weight", -0.4, "must not be negative, but is -0.4"),
        ("auxiliary_weight", math.nan, "must not be negative, but is nan"),
        ("drop_path", 1.0, r"must be in \[0, 1\), but is 1.0"),
        ("label_smoothing", -0.1, r"must be in \[0, 1\), but is -0.1"),
    ],
)
def test_wrong_numbers(name, value, message):
    with pytest.raises(ValueError, match=rf"model\.optim\.{name} {message}"):
        RetrainOptim(**{name: value})


@pytest.mark.parametrize("every", ["epoch", "step"])
def test_schedule_moves_every_epoch_or_step(every, trainer):
    seen = []

    class Watched(RetrainModule):
        def on_before_optimizer_step(self, optimizer):
            seen.append(optimizer.param_groups[0]["lr"])

    trainer().fit(Watched(**TINY, optim=RetrainOptim(schedule_every=every)), Data())
    places = (0, 0, 1 / 2, 1 / 2) if every == "epoch" else (0, 1 / 4, 2 / 4, 3 / 4)  # two epochs of two steps
    assert seen == pytest.approx([0.025 * (1 + math.cos(math.pi * place)) / 2 for place in places])


def test_networks_have_the_numbers_of_their_papers():
    cell = "|none~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"
    module = RetrainModule(cell, optim=RetrainOptim(auxiliary_weight=0.0))
    assert module.genotype.architecture == cell
    assert count_weights(module.network) == 73_306
    module = RetrainModule("DARTS_V2")
    assert count_weights(module.network) == 3_349_342 + 476_426


def test_wrong_runs(trainer):
    module = RetrainModule(**TINY)
    with pytest.raises(
        ValueError, match=r"built for ImageSpec\(channels=1.* but Data hands over ImageSpec\(channels=3"
    ):
        trainer().fit(module, Data(ImageSpec(3, 8, 8, 6)))
    with pytest.raises(ValueError, match=r"trainer\.max_epochs >= 1, not -1"):
        trainer(max_epochs=-1, max_steps=2).fit(module, Data())
    with pytest.raises(ValueError, match=r"gradient_clip_val is 1.0.*Set model\.optim\.clip \(now 5.0\)"):
        trainer(gradient_clip_val=1.0).fit(module, Data())


def test_the_mean_of_an_epoch_weighs_batches_by_their_images(trainer):
    """Six images in batches of four and two: the mean is that of the images."""
    data, seen = Data(), []
    data.pairs = data.pairs[:6]

    class Watched(RetrainModule):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            seen.append((len(batch["weights"][1]), float(loss.detach())))
            return loss

    fit = trainer(max_epochs=1)
    fit.fit(Watched(**TINY), data)
    assert [size for size, _ in seen] == [4, 2]
    mean = sum(size * loss for size, loss in seen) / 6
    assert mean != pytest.approx(sum(loss for _, loss in seen) / 2)
    assert float(fit.callback_metrics["train/loss"]) == pytest.approx(mean)


def test_a_genotype_knows_which_images_may_not_test_it(trainer, tmp_path):
    def data(split):
        return SyntheticDataModule(48, 1, 8, 8, 6, split=split, batch_size=4)

    search = DARTS(INPUTS, DartsSpace(init_channels=2, num_cells=3, nodes=2))
    fit = trainer(max_epochs=1, limit_train_batches=1)
    fit.fit(search, data("one-one-four"))
    search.derive().save(tmp_path / "genotype.json")
    module = RetrainModule(str(tmp_path / "genotype.json"), **TINY)
    for split in ("all", "half"):
        with pytest.raises(ValueError, match=r"test on images that the search trained on: .* that of the data set"):
            trainer(max_epochs=1).fit(module, data(split))
    trainer(max_epochs=1, limit_train_batches=1).fit(module, data("one-one-four"))


@pytest.mark.parametrize("split", ["half", "one-one-four", "all", {"weights": 0.5, "arch": 0.2, "val": 0.2}])
@pytest.mark.parametrize("limit", [None, 30])
def test_retraining_takes_the_split_of_the_search_without_a_leak(trainer, tmp_path, split, limit):
    def roles(module):
        data = SyntheticDataModule(48, 1, 8, 8, 6, split=split, batch_size=4, limit=limit)
        trainer(max_epochs=1, limit_train_batches=1).fit(module, data)
        return {role: set(part) for role, part in json.loads((tmp_path / "split.json").read_text())["parts"].items()}

    level = "single" if split == "all" else "bilevel"
    space = DartsSpace(init_channels=2, num_cells=3, nodes=2)
    searched, retrained = roles(DARTS(INPUTS, space, optim=SearchOptim(level=level))), roles(RetrainModule(**TINY))
    assert retrained["weights"] == searched["weights"] | searched.get("arch", set())
    assert retrained["test"] == searched["test"]
    assert not retrained["test"] & retrained["weights"]
    assert set(retrained) == set(searched) - {"arch"}


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_images_come_in_the_precision_of_the_run(precision, tmp_path):
    data = SyntheticDataModule(num_images=24, height=8, width=8, batch_size=6, split="all", validate_on_test=True)
    module = RetrainModule("DARTS_V2", data.spec, init_channels=4, num_cells=3)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, precision=precision, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, data)
    assert trainer.callback_metrics["val/loss"].isfinite()
    wanted = {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
    assert {parameter.dtype for parameter in module.network.parameters()} == {wanted}
