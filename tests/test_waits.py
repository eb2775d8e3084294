"""No step waits for its device, unless it logs, prunes or draws what it executes."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
from pytorch_lightning.strategies import SingleDeviceStrategy

from lit_nas.callbacks import Prune, default_callbacks
from lit_nas.pruning import Pruning
from lit_nas.retrain import RetrainModule
from tests.support.meta_device import META, waits
from tests.support.tiny import INPUTS, METHODS, TINY, pair

STEPS = 2


class ModuleOnMeta(SingleDeviceStrategy):
    """Lightning itself stays on the host; the module and its batches are on a device without data."""

    def __init__(self):
        super().__init__("cpu", accelerator=CPUAccelerator())

    def model_to_device(self):
        self.model.to(META)

    def batch_to_device(self, batch, device=None, dataloader_idx=0):
        return batch

    def teardown(self):
        """Nothing can be copied back."""


class EnoughError(Exception):
    """Ends a run within an epoch, because its end looks at values."""


class Watch(Callback):
    """Watches some steps, all that happens between them included."""

    def __init__(self):
        self.found, self.stack = None, ExitStack()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.found = self.stack.enter_context(waits())
        if batch_idx == STEPS:
            raise EnoughError


def run(module, folder, *callbacks, **arguments):
    """For what the steps wait."""
    batch = {role: tuple(tensor.to(META) for tensor in pair(0)) for role in module_roles(module)}
    watch = Watch()
    trainer = Trainer(
        strategy=ModuleOnMeta(), max_epochs=1, logger=False, enable_model_summary=False, default_root_dir=folder,
        callbacks=[watch, *callbacks], **{"enable_progress_bar": False, "enable_checkpointing": False, **arguments},
    )  # fmt: skip
    with watch.stack, pytest.raises(EnoughError):
        trainer.fit(module, torch.utils.data.DataLoader([batch] * (STEPS + 2), batch_size=None))
    return watch.found


def module_roles(module):
    return ("weights",) if isinstance(module, RetrainModule) else ("weights", "arch")


def made(name, **optim):
    """A method as the configurations have it: what is pruned is pruned after an epoch."""
    module = TINY[name]()
    module.optim = replace(module.optim, **optim)
    if hasattr(module, "pruning"):
        module.pruning = Pruning()
    module.architecture.count_active()  # known before a step, and looked up again only after pruning
    assert module.architecture.host_seed >= 0  # read once a run, by what draws
    return module


QUICK = {("DARTS-first-order", 2), ("DARTS-second-order", 1), ("EntmaxDARTS", 1)}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        pytest.param(name, parts, marks=() if (name, parts) in QUICK else pytest.mark.slow)
        for name in METHODS
        for parts in (1, 2)
    ],
)
def test_steps_wait_for_nothing(name, parts, tmp_path):
    assert run(made(name, accumulate=parts), tmp_path) == []


@pytest.mark.filterwarnings("ignore")  # Lightning's advice about checkpoints and bars
@pytest.mark.parametrize("bar", [TQDMProgressBar, pytest.param(RichProgressBar, marks=pytest.mark.slow)])
def test_neither_do_callbacks_and_progress_bars(bar, tmp_path):
    module = made("DARTS-first-order")
    callbacks = [*default_callbacks(module), Prune(Pruning(0.1)), bar(refresh_rate=1)]
    found = run(module, tmp_path, *callbacks, enable_progress_bar=True, enable_checkpointing=True)
    assert found == []


def test_nor_does_retraining(tmp_path):
    assert run(RetrainModule("DARTS_V2", INPUTS, init_channels=4, num_cells=3), tmp_path) == []


def test_a_step_that_waits_is_noticed(tmp_path):
    class Look(Callback):
        def on_train_batch_end(self, trainer, pl_module, *arguments):
            float(pl_module.losses["weights"].mean_value)

    for module, callback, arguments in (
        (made("DARTS-first-order"), Look(), {}),
        (made("DARTS-first-order"), Callback(), {"log_every_n_steps": 1}),
        (made("DARTS-first-order"), Prune(Pruning(every="step")), {}),
    ):
        with pytest.raises((RuntimeError, NotImplementedError), match="meta tensor"):
            run(module, tmp_path, callback, **arguments)
