"""Gradient confusion of runs: against a plain loop, without a trace in the run, the same after a resume."""

import json
from functools import partial

import pytest
import torch
from pytorch_lightning import Trainer

from lit_nas.callbacks import MeasureConfusion, SaveCheckpoints
from lit_nas.data import SyntheticDataModule
from lit_nas.methods import GDAS, StacNAS
from lit_nas.optim import GradientConfusion
from lit_nas.retrain import RetrainModule, RetrainOptim
from tests.methods.test_contract import Steps, fit, snapshot
from tests.support.tiny import INPUTS, SPACE, TINY

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
FEW = GradientConfusion(draws=2, batches=3)
DATA = partial(SyntheticDataModule, num_images=60, height=8, width=8, channels=2, classes=3, batch_size=4)
RETRAINING = partial(
    RetrainModule, "DARTS_V2", INPUTS, init_channels=4, num_cells=3, optim=RetrainOptim(drop_path=0.5)
)  # fmt: skip


def run(module, folder, *callbacks, data=None, epochs=2, **arguments):
    torch.manual_seed(5)  # for what a run draws itself
    data = DATA(split="all" if module.roles == {"weights"} else "half") if data is None else data
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[SaveCheckpoints(), *callbacks], limit_train_batches=2,
        use_distributed_sampler=False, num_sanity_val_steps=0, limit_val_batches=1,
    )  # fmt: skip
    trainer.fit(module, data, **arguments)
    return json.loads((folder / "confusion.json").read_text())["epochs"] if callbacks else None


@pytest.mark.parametrize("make", [lambda: StacNAS(INPUTS, SPACE), lambda: GDAS(INPUTS, SPACE), RETRAINING])
def test_measuring_leaves_no_trace(make, tmp_path):
    torch.manual_seed(0)
    plain = make()
    torch.manual_seed(0)
    measured = make()
    run(plain, tmp_path / "plain")
    epochs = run(measured, tmp_path / "measured", MeasureConfusion(FEW))
    after = snapshot(measured)
    assert all(torch.equal(after[name], value) for name, value in snapshot(plain).items())
    assert [each["epoch"] for each in epochs] == [0, 1]
    weights = sum(weight.numel() for weight in measured.network.parameters())
    assert {each["weights"] for each in epochs} == {weights}
    assert epochs[0]["values"] != epochs[1]["values"]


def test_it_is_that_of_the_gradients_of_the_training_loss(tmp_path):
    """A data set of two batches, so that three mini-batches always hold a repeated one; each pass has both."""
    module = RETRAINING()
    trainer = fit(
        module, tmp_path, steps=2, callbacks=[MeasureConfusion(GradientConfusion(1, 2))], epochs=1
    )  # fmt: skip
    (found,) = json.loads((tmp_path / "confusion.json").read_text())["epochs"]
    module.train()
    gradients = []
    for index in range(2):
        images, labels = Steps(2)[index]["weights"]
        logits, auxiliary = module.network(images, 0.0)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss = loss + 0.4 * torch.nn.functional.cross_entropy(auxiliary, labels)
        gradient = torch.autograd.grad(loss, list(module.network.parameters()))
        gradients.append(torch.cat([each.flatten() for each in gradient]).double())
    assert found["mean"] == pytest.approx(-float(gradients[0] @ gradients[1]), rel=1e-4)
    assert trainer.callback_metrics["confusion/per_weight"] == pytest.approx(
        found["mean"] / len(gradients[0]), rel=1e-4
    )


def test_after_a_resume_the_file_goes_on(tmp_path):
    torch.manual_seed(0)
    whole = run(StacNAS(INPUTS, SPACE), tmp_path / "whole", MeasureConfusion(FEW))
    torch.manual_seed(0)
    module = StacNAS(INPUTS, SPACE)
    run(module, tmp_path / "parts", MeasureConfusion(FEW))
    previous = tmp_path / "parts" / "checkpoints" / "previous.ckpt"
    again = run(
        StacNAS(INPUTS, SPACE), tmp_path / "parts", MeasureConfusion(FEW), ckpt_path=previous
    )  # fmt: skip
    assert again == whole
    assert len(whole) == 2


def test_every_counts_epochs_and_the_last_one_is_always_measured(tmp_path):
    epochs = run(StacNAS(INPUTS, SPACE), tmp_path / "some", MeasureConfusion(FEW, every=2), epochs=3)
    assert [each["epoch"] for each in epochs] == [1, 2]
    epochs = run(StacNAS(INPUTS, SPACE), tmp_path / "last", MeasureConfusion(FEW, every=0))
    assert [each["epoch"] for each in epochs] == [1]


def test_what_cannot_be_measured_is_refused(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([Steps(1)[0]])

    with pytest.raises(ValueError, match=r"MeasureConfusion\.every must not be negative, but is -1"):
        MeasureConfusion(every=-1)
    module = TINY["DARTS-first-order"]()
    module.contract_data = lambda steps: torch.utils.data.DataLoader(Stream(), batch_size=None)
    with pytest.raises(ValueError, match="needs data of lit-nas or a DataLoader over a data set with a length"):
        fit(module, tmp_path, callbacks=[MeasureConfusion(FEW)])
