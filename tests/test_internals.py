"""Every attribute of Lightning and torch that is no part of their public interfaces is where it is expected."""

import importlib
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.plugins import TorchSyncBatchNorm
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from lit_nas import internals
from lit_nas.data import SyntheticDataModule


@pytest.fixture
def trainer(tmp_path):
    return Trainer(
        accelerator="cpu", devices=1, max_epochs=2, limit_train_batches=3, limit_val_batches=0, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("owner", "method"), [(owner, method) for owner, names in internals.OVERRIDDEN.items() for method in names]
)
def test_overridden_methods_exist(owner, method):
    module, _, name = owner.rpartition(".")
    assert callable(getattr(getattr(importlib.import_module(module), name), method))


def test_steps_attachment_and_data(trainer):
    module = BoringModel()
    assert not internals.is_attached(module)
    assert internals.data_of(trainer) is None
    trainer.fit(module)
    assert internals.is_attached(module)
    assert internals.batches_that_stepped(trainer) == 6
    assert internals.data_of(trainer) is None
    data = SyntheticDataModule(num_images=4)
    trainer.datamodule = data
    assert internals.data_of(trainer) is data


@pytest.mark.parametrize(("interval", "expected"), [(1, [False, False, True]), (2, [False, True, True])])
def test_batches_that_something_follows(interval, expected, tmp_path):
    found = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            found.append(internals.is_followed(trainer))

    Trainer(
        accelerator="cpu", max_epochs=1, limit_train_batches=3, limit_val_batches=1, val_check_interval=interval,
        logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        callbacks=[Watch()], default_root_dir=tmp_path,
    ).fit(BoringModel())  # fmt: skip
    assert found == expected


def test_trials_are_told_from_runs(trainer, tmp_path):
    assert not internals.is_trial(trainer)
    assert internals.is_trial(Trainer(fast_dev_run=True, accelerator="cpu", logger=False, default_root_dir=tmp_path))


def test_a_callback_is_put_before_all_others(trainer):
    last, first = Callback(), Callback()
    internals.put_first(trainer, last)
    internals.put_first(trainer, first)
    assert internals.callbacks_of(trainer)[:2] == trainer.callbacks[:2] == [first, last]


def test_settings_of_a_trainer(trainer, tmp_path):
    assert not internals.overfits(trainer)
    assert internals.log_interval(trainer) == 50
    other = Trainer(
        overfit_batches=2, log_every_n_steps=7, accelerator="cpu", logger=False, default_root_dir=tmp_path,
    )  # fmt: skip
    assert internals.overfits(other)
    assert internals.log_interval(other) == 7


def test_rank_zero(monkeypatch):
    assert internals.is_rank_zero()
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert not internals.is_rank_zero()


def test_recorded_arguments_are_the_hyperparameters(trainer):
    logged = []

    class Logger(pytest.importorskip("pytorch_lightning.loggers").CSVLogger):
        def log_hyperparams(self, params):
            logged.append(dict(params))

    module = BoringModel()
    internals.record_arguments(module, {"a": 1})
    assert module.hparams == module.hparams_initial == {"a": 1}
    trainer.loggers = [Logger(trainer.default_root_dir)]
    trainer.fit(module)
    assert logged == [{"a": 1}]


def test_ddp_keeps_names_out_and_expects_unused_parameters():
    strategy, module = DDPStrategy(), LightningModule()
    internals.expect_unused_parameters(strategy)
    assert strategy._ddp_kwargs["find_unused_parameters"] is True
    internals.keep_out_of_ddp(module, ("architecture.a",))
    assert module._ddp_params_and_buffers_to_ignore == ["architecture.a"]
    source = importlib.import_module("torch.nn.parallel.distributed")
    assert "_ddp_params_and_buffers_to_ignore" in Path(source.__file__).read_text(encoding="utf-8")


def test_layer_sync_is_read_and_replaced(tmp_path):
    trainer = Trainer(sync_batchnorm=True, accelerator="cpu", devices=1, strategy="ddp", default_root_dir=tmp_path)
    assert isinstance(internals.layer_sync_of(trainer.strategy), TorchSyncBatchNorm)
    internals.set_layer_sync(trainer.strategy, "another")
    assert internals.layer_sync_of(trainer.strategy) == trainer.strategy._layer_sync == "another"


def test_tensors_and_modules():
    x = torch.zeros(4, requires_grad=True)
    assert internals.is_view((x * 1)[:2])
    assert not internals.is_view(x * 1)
    norm = nn.BatchNorm2d(2)
    assert isinstance(norm, internals.BatchNormKind)
    assert isinstance(norm, internals.NormKind)
    assert isinstance(nn.InstanceNorm2d(2), internals.NormKind)
    assert list(internals.parameters_of(norm)) == ["weight", "bias"]
    assert list(internals.children_of(nn.Sequential(norm))) == ["0"]


@pytest.mark.parametrize(
    "register",
    ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
     "register_full_backward_pre_hook"],
)  # fmt: skip
def test_every_kind_of_hook_is_seen(register):
    module = nn.ReLU()
    assert not any(internals.hooks_of(module))
    handle = getattr(module, register)(lambda *_: None)
    assert any(internals.hooks_of(module))
    handle.remove()
    assert not any(internals.hooks_of(module))
