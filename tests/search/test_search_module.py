"""Verbs of a search beyond the contract: clipping, accumulation, precision, schedules, refusals."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins import MixedPrecision

from lit_nas.data import SyntheticDataModule
from lit_nas.methods import DARTS, PARSEC, PCDARTS, ProxylessNAS
from lit_nas.optim import PartialDecay
from lit_nas.relaxations import BinaryGates, Categorical, CategoricalPairs, GumbelSoftmax
from lit_nas.search import SearchOptim
from tests.methods.test_contract import changed, loader, snapshot
from tests.support.tiny import INPUTS, SPACE, TINY, pair, with_representatives

METHODS = pytest.mark.parametrize("name", with_representatives())


class FrozenNorms(Callback):
    """Running statistics instead of those of a batch, which depend on how it is cut."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        pl_module.network.eval()


def fit(module, steps=3, epochs=1, callbacks=(), **arguments):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=list(callbacks), **arguments,
    )  # fmt: skip
    trainer.fit(module, loader(steps))
    return trainer


@METHODS
@pytest.mark.parametrize("parts", [2, 4])  # 6 images: 3 + 3, and 2 + 2 + 2
def test_parts_of_a_batch_equal_the_batch(name, parts):
    whole = TINY[name]().double()
    cut = copy.deepcopy(whole)
    cut.optim = replace(cut.optim, accumulate=parts)
    for module in (whole, cut):
        module.loss = partial(double_loss, module)
        fit(module, callbacks=[FrozenNorms()])
    before = snapshot(TINY[name]())
    after, expected = snapshot(cut), snapshot(whole)
    assert changed(before, {k: v.to(before[k].dtype) for k, v in after.items()}, "architecture.logits")
    for key, value in expected.items():
        torch.testing.assert_close(after[key], value, rtol=1e-5, atol=1e-7, msg=key)


def double_loss(module, batch, mixture=None):
    return type(module).loss(module, (batch[0].double(), batch[1]), mixture)


@METHODS
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_follows_float32(name, precision):
    full = TINY[name]()
    full.optim = replace(full.optim, arch=partial(torch.optim.SGD, lr=1.0))  # Adam's first step shows signs only
    mixed = copy.deepcopy(full)
    start = snapshot(full)
    fit(full, steps=1)
    if precision == "bf16":
        fit(mixed, steps=1, precision="bf16-mixed")
    else:  # Lightning would turn 16-mixed on a CPU into bf16
        fit(mixed, steps=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", 2.0**10))])
    assert all(value.dtype == start[key].dtype for key, value in snapshot(mixed).items())
    for prefix in ("network.", "architecture.logits"):
        steps = []
        for module in (full, mixed):
            after = snapshot(module)
            parameters = [key for key, _ in module.named_parameters() if key.startswith(prefix)]
            steps.append(torch.cat([(after[key] - start[key]).flatten() for key in parameters]))
        # behind BatchNorm a candidate that is alone on its edge has hardly a gradient by its own weight: terms cancel
        alone = isinstance(full.architecture.relaxation, GumbelSoftmax) and full.architecture.skips
        least = 0.7 if alone and prefix != "network." else 0.9
        assert torch.cosine_similarity(*steps, dim=0) > least, prefix


@METHODS
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # the only step of the epoch is skipped
def test_a_scale_that_overflows_skips_the_step_and_falls(name):
    module = TINY[name]()
    start = snapshot(module)
    scaler = torch.amp.GradScaler("cpu", 2.0**40)
    fit(module, steps=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    after = snapshot(module)
    # each step of its own halves the scale; the second order computes in float32, without one
    by_score = isinstance(module.architecture.relaxation, (Categorical, CategoricalPairs))  # no loss is differentiated
    steps = 2 if module.order == 1 and module.optim.level != "single" and not by_score else 1
    assert scaler.get_scale() == 2.0 ** (40 - steps)
    assert not changed(start, after, "network.") & {f"network.{key}" for key, _ in module.network.named_parameters()}
    if module.order == 1 and not by_score:  # the second order computes in float32, without a scale
        assert not changed(start, after, "architecture.logits")
    assert all(value.isfinite().all() for key, value in after.items() if key.startswith("architecture"))


class WatchLogits(Callback):
    """Notes after each step whether logits and weights have moved, and the scale."""

    def __init__(self):
        self.before, self.moved = {}, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before = snapshot(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        after = snapshot(pl_module)
        weights = {f"network.{key}" for key, _ in pl_module.network.named_parameters()}
        logits = changed(self.before, after, "architecture.logits")
        self.moved.append((bool(logits), bool(changed(self.before, after, "network.") & weights)))
        assert all(value.isfinite().all() for value in after.values())


def float16(scale):
    return [MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", scale))]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("level", ["bilevel", "alternating", "single"])
def test_both_levels_move_again_after_an_overflow(level):
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(level=level))
    watch, plugins = WatchLogits(), float16(2.0**24)
    fit(module, steps=18, callbacks=[watch], plugins=plugins)
    assert watch.moved[0] == (False, False)
    last = max(step for step, both in enumerate(watch.moved) if both != (True, True))
    assert len(watch.moved) - last > 5


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("level", ["bilevel", "single"])
def test_a_resume_across_an_overflow_is_exact(level, tmp_path):
    def search(epochs, **arguments):
        torch.manual_seed(1)
        module = DARTS(INPUTS, SPACE, optim=SearchOptim(level=level))
        trainer = Trainer(
            accelerator="cpu", max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False,
            enable_checkpointing=False, plugins=float16(2.0**26), callbacks=[StopAfter(epochs)],
        )  # fmt: skip
        trainer.fit(module, loader(4), **arguments)
        return module, trainer

    whole, _ = search(3)
    first, trainer = search(1)  # within the overflows
    assert trainer.precision_plugin.scaler.get_scale() < 2.0**26
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    second, _ = search(3, ckpt_path=tmp_path / "x.ckpt")
    assert changed(snapshot(first), snapshot(second), "architecture.logits")
    assert not changed(snapshot(whole), snapshot(second), "")


class StopAfter(Callback):
    """Ends the run after some epochs, as an interruption would."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


class _OverflowAbove(torch.autograd.Function):
    """The identity, whose gradient does not fit into the type if it is larger than 2^10."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.masked_fill(gradient.abs() > 2.0**10, torch.inf)


@pytest.mark.parametrize("level", ["bilevel", "single"])
def test_the_scale_falls_where_only_the_architecture_overflows(level):
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(level=level))
    original = module.loss

    def loss(batch, mixture=None):
        logits = module.architecture.logits["normal"]
        return original(batch, mixture) + _OverflowAbove.apply(logits).sum() - logits.sum().detach()

    module.loss = loss
    watch, plugins = WatchLogits(), float16(2.0**14)
    fit(module, steps=12, callbacks=[watch], plugins=plugins)
    assert [weights for _, weights in watch.moved] == [True] * 12
    assert [logits for logits, _ in watch.moved] == [False] * 4 + [True] * 8
    assert plugins[0].scaler.get_scale() == 2.0**10


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_precisions_with_16_bits_everywhere_are_refused(precision):
    with pytest.raises(ValueError, match=rf"trainer.precision {precision} does not work.*32-true, bf16-mixed"):
        fit(DARTS(INPUTS, SPACE), precision=precision)


def test_log_every_n_steps_zero_logs_epochs_only(tmp_path):
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=CSVLogger(tmp_path, "", ""), log_every_n_steps=0,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(DARTS(INPUTS, SPACE), loader(3))
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "weights/loss" in header
    assert not any(name.endswith("loss_step") for name in header)


def test_weights_are_clipped_and_the_architecture_is_not():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(weights=partial(torch.optim.SGD, lr=1.0), clip=1e-3))
    before = snapshot(module)
    fit(module, steps=1)
    after = snapshot(module)
    names = [f"network.{key}" for key, _ in module.network.named_parameters()]
    step = torch.cat([(after[key] - before[key]).flatten() for key in names])
    assert step.norm().item() == pytest.approx(1e-3, rel=1e-3)
    logits = (after["architecture.logits.normal"] - before["architecture.logits.normal"]).abs()
    assert logits.max().item() == pytest.approx(3e-4, rel=1e-2)  # Adam's first step


def test_clip_zero_does_not_clip():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(weights=partial(torch.optim.SGD, lr=1.0), clip=0.0))
    before = snapshot(module)
    fit(module, steps=1)
    names = [f"network.{key}" for key, _ in module.network.named_parameters()]
    after = snapshot(module)
    assert torch.cat([(after[key] - before[key]).flatten() for key in names]).norm() > 0.1


def test_architecture_rests_before_its_first_epoch():
    class Look(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            after.append(snapshot(pl_module))

    module, after = DARTS(INPUTS, SPACE, optim=SearchOptim(arch_from_epoch=1)), []
    before = snapshot(module)
    fit(module, epochs=2, callbacks=[Look()])
    assert not changed(before, after[0], "architecture.logits")
    assert changed(before, after[1], "architecture.logits")


def test_an_architecture_that_would_never_move_is_refused():
    with pytest.raises(ValueError, match=r"arch_from_epoch is 2, but the run ends after trainer\.max_epochs 2"):
        fit(DARTS(INPUTS, SPACE, optim=SearchOptim(arch_from_epoch=2)), epochs=2)


WIDE = replace(SPACE, init_channels=8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PCDARTS(INPUTS, WIDE, Categorical(), None, optim=SearchOptim()), "relaxation is Categorical, whose"),
        (
            lambda: PCDARTS(INPUTS, WIDE, edge_relaxation=Categorical(), optim=SearchOptim()),
            r"model\.edge_relaxation is Categorical, whose mixing weights have no gradient, but PCDARTS learns",
        ),
        (lambda: PCDARTS(INPUTS, WIDE, BinaryGates("one"), None, optim=SearchOptim()), "relaxation is BinaryGates"),
        (
            lambda: PCDARTS(INPUTS, WIDE, edge_relaxation=BinaryGates(), optim=SearchOptim()),
            r"model\.edge_relaxation is BinaryGates, which is for operations alone",
        ),
        (
            lambda: PARSEC(INPUTS, SPACE, optim=SearchOptim(decay=PartialDecay())),
            r"model\.optim\.decay follows what a step executes, but the architecture of PARSEC",
        ),
        (
            lambda: ProxylessNAS(INPUTS, SPACE, label_smoothing=0.1, optim=SearchOptim(level="single")),
            r"model\.label_smoothing smooths the targets of the weights alone",
        ),
    ],
)
def test_combinations_that_would_not_learn_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        fit(make())


def test_a_norm_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"model\.optim\.clip must not be negative, but is nan"):
        SearchOptim(clip=float("nan"))


def test_learning_rate_follows_the_cosine_and_the_clock_runs():
    rates, clocks = [], []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])
            clock = pl_module.architecture.clock
            clocks.append([float(value) for value in (clock.step, clock.epoch, clock.progress)])
            assert (clock.total_steps, clock.total_epochs) == (8, 4)

    fit(DARTS(INPUTS, SPACE), steps=2, epochs=4, callbacks=[Watch()])
    half = [1.0, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2]
    assert rates[::2] == pytest.approx([0.001 + 0.024 * h for h in half])
    assert clocks == [[step, step / 2, step / 8] for step in range(8)]


def test_accumulate_must_be_positive():
    with pytest.raises(ValueError, match=r"model.optim.accumulate must be at least 1, not 0"):
        SearchOptim(accumulate=0)


def test_images_of_the_pair_are_cut_in_order():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(accumulate=4))
    images, labels = pair(0)
    parts = module.gradients.parts((images, labels))
    assert torch.equal(torch.cat([x for (x, _), _ in parts]), images)
    assert torch.equal(torch.cat([y for (_, y), _ in parts]), labels)
    assert sum(share for _, share in parts) == pytest.approx(1.0)


def test_double_precision_computes_in_float64(tmp_path):
    data = SyntheticDataModule(num_images=24, channels=2, height=8, width=8, classes=3, batch_size=6)
    module = DARTS(data.spec, SPACE)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, precision="64-true", logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, data)
    assert {value.dtype for value in module.parameters()} == {torch.float64}
    assert trainer.callback_metrics["val/loss"].dtype == torch.float32  # metrics are


def test_the_mean_of_an_epoch_weighs_batches_by_their_images():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(level="single", weights=partial(torch.optim.SGD, lr=0.0)))
    losses = iter([1.0, 4.0])
    module.loss = lambda batch, mixture=None: next(losses) + 0 * type(module).loss(module, batch)
    batches = [pair(0, size=6), pair(1, size=2)]
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))
    assert trainer.callback_metrics["weights/loss"].item() == pytest.approx((6 * 1.0 + 2 * 4.0) / 8)


def test_without_a_deriver_the_rule_of_the_space_holds():
    module = DARTS(INPUTS, SPACE)
    expected = module.derive()
    module.deriver = None
    assert module.derive() == expected
