"""Retraining of recurrent cells: the recipe of AWD-LSTM."""

import copy
from functools import partial

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch.nn import functional as F

from lit_nas.data import TextFolderDataModule
from lit_nas.data.window_loader import EvaluationLoader
from lit_nas.language import ActivationPenalty, LanguageDropout
from lit_nas.optim import AveragedSGD
from lit_nas.record.recorded_module import load_module
from lit_nas.resume import SaveCheckpoints
from lit_nas.retrain import LanguageRetrainModule, LanguageRetrainOptim, RetrainModule
from lit_nas.specs import TextSpec
from tests.support.tiny_text import DROPOUT, SPEC, WORDS, random_table, write_texts

NOTHING = LanguageDropout(0, 0, 0, 0, 0)


def module(seed=0, **arguments):
    torch.manual_seed(seed)
    given = {"genotype": "DARTS_RNN_V1", "spec": SPEC, "width": 6, "dropout": DROPOUT}
    return LanguageRetrainModule(**{**given, **arguments})


def optim(lr=1.0, **arguments):
    return LanguageRetrainOptim(partial(AveragedSGD, lr=lr), **arguments)


def loaders(steps=3):
    return EvaluationLoader(random_table(0, 5 * steps + 1), 5), EvaluationLoader(random_table(1, 11, 2), 5)


def fit(found, folder, epochs=1, steps=3, callbacks=(), **arguments):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=bool(callbacks), callbacks=list(callbacks),
        num_sanity_val_steps=0, **arguments,
    )  # fmt: skip
    trainer.fit(found, *loaders(steps))
    return trainer


def test_defaults_are_those_of_the_paper():
    with torch.device("meta"):
        found = LanguageRetrainModule(spec=TextSpec(10_000))
    assert sum(weight.numel() for weight in found.network.parameters()) == 22_960_000
    assert found.dropout == LanguageDropout(0.1, 0.2, 0.75, 0.25, 0.75)
    assert found.penalty == ActivationPenalty(0.0, 1e-3)
    assert found.paper_batch_size == 64
    optimizer = found.optim.weights(found.network.parameters())
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]) == (20.0, 8e-7)
    assert len(optimizer.param_groups[0]["params"]) == 11  # the tied weights once


def test_steps_are_the_formula(tmp_path):
    found = module(dropout=NOTHING, penalty=ActivationPenalty(0.2, 0.3), optim=optim(clip=0.1)).double()
    plain = copy.deepcopy(found.network)
    fit(found, tmp_path, precision="64-true")
    optimizer = torch.optim.SGD(plain.parameters(), lr=1.0, weight_decay=8e-7)
    state = torch.zeros(4, 6).double()
    for window in loaders()[0]:
        output = plain(window.tokens, state)
        loss = F.cross_entropy(output.logits.flatten(0, 1), window.targets.flatten())
        change = (output.hidden[1:] - output.hidden[:-1]).square().mean()
        optimizer.zero_grad()
        (loss + 0.2 * output.hidden.square().mean() + 0.3 * change).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        optimizer.step()
        state = output.state.detach()
    for name, value in plain.named_parameters():
        torch.testing.assert_close(dict(found.network.named_parameters())[name], value, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.rank_state()["weights"], state)


class Rates(Callback):
    def __init__(self):
        self.during, self.after = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.during.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_the_rate_follows_the_length_of_a_window_and_is_restored(tmp_path):
    folder, rates = str(write_texts(tmp_path / "text")), Rates()
    data = TextFolderDataModule(folder, batch_size=4, window=6, jitter=2.0, shortest=2, longest=4)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[rates], num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module(optim=optim(20.0)), data)
    assert rates.during == [20.0 * window.share for window in data.train_dataloader()["weights"]]
    assert set(data.train_dataloader()) == {"weights"}  # the validation text does not train
    assert len(set(rates.during)) > 3
    assert set(rates.after) == {20.0}


def test_masks_follow_from_seed_and_step(tmp_path):
    drawn = []

    class Watched(LanguageRetrainModule):
        def _masks(self, window, batch_idx):
            drawn.append(super()._masks(window, batch_idx))
            return drawn[-1]

    torch.manual_seed(0)
    found = Watched("DARTS_RNN_V1", SPEC, width=6, dropout=DROPOUT)
    fit(found, tmp_path, epochs=2)
    kept = [torch.cat([mask.flatten() for mask in masks]) for masks in drawn]
    assert len({tuple(mask.tolist()) for mask in kept}) == 6
    drawn.clear()
    torch.manual_seed(0)
    again = Watched("DARTS_RNN_V1", SPEC, width=6, dropout=DROPOUT)
    torch.manual_seed(99)  # nothing is drawn from the global generator
    fit(again, tmp_path, epochs=2)
    for before, masks in zip(kept, drawn, strict=True):
        assert torch.equal(before, torch.cat([mask.flatten() for mask in masks]))


class Scripted(LanguageRetrainModule):
    """One whose validation losses are given, and that notes by which weights it was validated."""

    losses = (5, 4, 3, 3.5, 3.6, 3.7, 3.8, 3.9, 3.9, 4.5, 2.0, 9.0)

    def _conclude(self, stage):
        super()._conclude(stage)
        self.validated = {name: value.clone() for name, value in self._evaluated().items()}
        return float(self.losses[self.current_epoch]) if stage == "val" else 0.0


class Averaging(Callback):
    def __init__(self):
        self.began, self.means, self.sums = [], [], {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.optimizers[0].averaging:
            for name, value in pl_module.network.named_parameters():
                self.sums.setdefault(name, []).append(value.detach().clone())

    def on_validation_end(self, trainer, pl_module):
        self.began.append(trainer.optimizers[0].averaging)
        if self.sums:
            for name, values in self.sums.items():
                mean = torch.stack(values[1:]).mean(0)
                torch.testing.assert_close(pl_module.validated[name], mean, rtol=1e-4, atol=1e-6)
        else:
            for name, value in pl_module.network.named_parameters():
                assert torch.equal(pl_module.validated[name], value)


def test_averaging_begins_exactly_after_the_ninth_epoch_and_is_validated(tmp_path):
    torch.manual_seed(0)
    found, watch = Scripted("DARTS_RNN_V1", SPEC, width=6, optim=optim(0.5)), Averaging()
    trainer = fit(found, tmp_path, epochs=12, callbacks=[watch, SaveCheckpoints()])
    assert watch.began == [False] * 8 + [True] * 4
    assert found._losses == list(Scripted.losses[:9])  # later ones do not count
    assert float(found.best.loss) == 2.0
    assert int(found.best.steps) == 6  # of the eleventh epoch, two after the switch
    best = found.best.weights()
    for name, values in watch.sums.items():
        torch.testing.assert_close(best[name], torch.stack(values[1:6]).mean(0), rtol=1e-4, atol=1e-6)
        assert not torch.equal(best[name], dict(found.network.named_parameters())[name])
    # a test takes the best weights, from a checkpoint, too
    (scores,) = trainer.test(found, loaders()[1], verbose=False)
    window = next(iter(loaders()[1]))
    network = copy.deepcopy(found.network)
    network.load_state_dict(best)
    loaded = load_module(tmp_path / "checkpoints" / "last.ckpt", trust=("tests",))
    (again,) = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False).test(
        loaded, loaders()[1], verbose=False
    )
    assert again == scores
    state, losses = torch.zeros(2, 6), []
    for window in loaders()[1]:
        output = network(window.tokens, state)
        losses.append(F.cross_entropy(output.logits.flatten(0, 1), window.targets.flatten(), reduction="none"))
        state = output.state
    assert scores["test/loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    assert scores["test/perplexity"] == pytest.approx(torch.tensor(scores["test/loss"]).exp().item(), rel=1e-5)


def test_a_loss_that_is_not_finite_brings_the_best_weights_back(tmp_path):
    class Breaking(LanguageRetrainModule):
        def _losses_of(self, window, masks):
            loss, penalty, state = super()._losses_of(window, masks)
            if self.current_epoch == 2 and self.trainer.fit_loop.epoch_loop.batch_idx == 1:
                loss = loss * torch.nan
                self.before = {name: value.detach().clone() for name, value in self.network.named_parameters()}
            return loss, penalty, state

        def _roll_back(self):
            loss = super()._roll_back()
            self.after = {name: value.detach().clone() for name, value in self.network.named_parameters()}
            return loss

    torch.manual_seed(0)
    found = Breaking("DARTS_RNN_V1", SPEC, width=6, optim=optim(0.5, non_monotone=None))
    with pytest.warns(UserWarning, match="The loss was not finite in epoch 2, step 7: training goes on from the best"):
        fit(found, tmp_path, epochs=3)
    assert any(not torch.equal(found.before[name], value) for name, value in found.after.items())
    assert all(value.isfinite().all() for value in found.network.parameters())
    early = Breaking("DARTS_RNN_V1", SPEC, width=6, optim=optim(float("inf"), clip=0.0))
    with pytest.raises(FloatingPointError, match="not finite in epoch 0, step 1, before the first validation"):
        fit(early, tmp_path)


@pytest.mark.parametrize(
    ("make", "trainer", "message"),
    [
        (module, {"gradient_clip_val": 1.0}, r"Set model\.optim\.clip \(now 0\.25\)"),
        (module, {"accumulate_grad_batches": 2}, r"would add up windows that follow each other in the text"),
        (module, {"max_epochs": -1}, r"Retraining needs trainer\.max_epochs >= 1, not -1"),
        (lambda: module(optim=LanguageRetrainOptim(torch.optim.SGD)), {}, r"made SGD, which keeps no averages: set"),
        (lambda: module(optim=LanguageRetrainOptim(clip=-1)), {}, r"model\.optim\.clip must not be negative"),
        (lambda: module(optim=LanguageRetrainOptim(non_monotone=-1)), {}, r"model\.optim\.non_monotone must not be"),
        (lambda: module(genotype="DARTS_V2"), {}, r"'cifar' is for images, but the model trains on token"),
        (lambda: RetrainModule("DARTS_RNN_V1"), {}, r"'language_model' is for token sequences, but .* on images"),
        (lambda: module(width=0), {}, r"model\.width must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(make, trainer, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(make(), tmp_path, **{"epochs": trainer.pop("max_epochs", 1), **trainer})


@pytest.mark.slow
def test_it_beats_the_frequencies_of_words(tmp_path):
    data = TextFolderDataModule(str(write_texts(tmp_path / "text", 400)), batch_size=8, window=10, jitter=2.0)
    found = module(width=24, dropout=LanguageDropout(0, 0, 0.1, 0.1, 0.1), optim=optim(20.0, non_monotone=1))
    trainer = Trainer(
        accelerator="cpu", max_epochs=8, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.fit(found, data)
    (scores,) = trainer.test(found, data, verbose=False)
    counts = data.tokens("train").bincount(minlength=WORDS).double()
    unigram = -(counts / counts.sum()).log()[data.tokens("test")].mean()
    assert scores["test/loss"] < unigram - 0.5
