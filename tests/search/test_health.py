"""A search that goes wrong says so, where, and what was good last."""

import pytest
import torch
from pytorch_lightning import Callback, Trainer

from lit_nas.callbacks import ExplainMemory, SaveCheckpoints
from lit_nas.callbacks.out_of_memory import is_out_of_memory
from lit_nas.data import SyntheticDataModule
from lit_nas.engine import Fused, Reference
from lit_nas.methods import DARTS
from lit_nas.retrain import RetrainModule, RetrainOptim
from tests.methods.test_contract import fit
from tests.support.tiny import INPUTS, SPACE, TINY, pair, with_representatives


class Poison(Callback):
    """Makes a tensor of the module infinite before a batch."""

    def __init__(self, name: str, epoch: int, batch: int) -> None:
        self.name, self.epoch, self.batch = name, epoch, batch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            pl_module.get_parameter(self.name).data.view(-1)[0] = torch.inf


@pytest.mark.parametrize("name", ["architecture.logits", "network.classifier.bias"])
@pytest.mark.parametrize("method", with_representatives())
def test_what_is_not_finite_stops_the_run(method, name, tmp_path):
    module = TINY[method]()
    if name == "architecture.logits":
        name = f"{name}.{next(iter(module.architecture.cells))}"
    with pytest.raises(FloatingPointError, match=r"since epoch 1, batch 2 \(after 5 steps.*last\.ckpt.*lr"):
        fit(module, tmp_path, epochs=2, steps=3, callbacks=[SaveCheckpoints(), Poison(name, 1, 2)])
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in saved["state_dict"].values())


def test_without_a_checkpoint_the_message_says_none(tmp_path):
    with pytest.raises(FloatingPointError, match=r"epoch 0, batch 0 .*checkpoint is none"):
        fit(TINY["DARTS-first-order"](), tmp_path, callbacks=[Poison("network.classifier.bias", 0, 0)])


def test_memory_errors_say_which_settings_help(tmp_path):
    module = TINY["DARTS-first-order"]()

    def loss(pair, mixture=None):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    module.loss = loss
    with pytest.raises(torch.OutOfMemoryError) as error:
        fit(module, tmp_path, callbacks=[ExplainMemory()])
    for part in ("Tried to allocate", "model.optim.accumulate (now 1)", "init_channels (now 2)", "precision (now 32"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Fused(), "model.engine.checkpoint (now false)"),
        (Fused(checkpoint=True), None),
        (Reference(), "model.engine (now Reference)"),
    ],
)
def test_memory_advice_knows_the_engine(engine, said, tmp_path):
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path)
    advice = ExplainMemory.advice(trainer, DARTS(INPUTS, SPACE, engine=engine))
    assert said in advice if said else "model.engine" not in advice


def test_memory_advice_for_retraining(tmp_path):
    trainer = Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, accumulate_grad_batches=3)
    trainer.datamodule = SyntheticDataModule(batch_size=12)
    optim = RetrainOptim(auxiliary_weight=0.0)
    module = RetrainModule("DARTS_V1", INPUTS, init_channels=2, num_cells=3, optim=optim)
    advice = ExplainMemory.advice(trainer, module)
    for part in (
        "trainer.accumulate_grad_batches (now 3)", "data.batch_size (now 12)", "model.init_channels (now 2)",
    ):  # fmt: skip
        assert part in advice
    assert "model.optim.accumulate" not in advice  # there is no such key
    assert "model.engine" not in advice


def test_other_errors_are_left_alone():
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("size mismatch"))


class Stream(torch.utils.data.IterableDataset):
    """Batches without a length."""

    def __iter__(self):
        for step in range(3):
            yield {"weights": pair(2 * step), "arch": pair(2 * step + 1)}


def test_data_without_a_length_are_watched(tmp_path):
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, default_root_dir=tmp_path, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, callbacks=[Poison("network.classifier.bias", 1, 1)],
    )  # fmt: skip
    with pytest.raises(FloatingPointError, match=r"since step 4 \(after 4 steps"):
        trainer.fit(TINY["DARTS-first-order"](), torch.utils.data.DataLoader(Stream(), batch_size=None))
