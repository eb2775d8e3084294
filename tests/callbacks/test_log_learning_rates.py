"""Learning rates are those of the epoch that has ended, whenever a schedule moves."""

import csv
from math import cos, pi

import pytest
from pytorch_lightning import Trainer

from lit_nas.callbacks import LogLearningRates
from lit_nas.data import SyntheticDataModule
from lit_nas.resume.curves import RunLogger
from lit_nas.retrain import RetrainModule, RetrainOptim
from tests.methods.test_contract import loader
from tests.support.tiny import TINY


def rates(folder, module, data, epochs=3):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=RunLogger(folder), log_every_n_steps=1,
        callbacks=[LogLearningRates()], enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, data)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["lr/weights"]]
    return [{name: float(value) for name, value in row.items() if name.startswith("lr/")} for row in rows]


def test_search(tmp_path):
    found = rates(tmp_path, TINY["DARTS-first-order"](), loader(2))
    expected = [0.001 + 0.024 * (1 + cos(pi * epoch / 3)) / 2 for epoch in range(3)]
    assert [row["lr/weights"] for row in found] == pytest.approx(expected)
    assert [row["lr/arch"] for row in found] == [3e-4] * 3


@pytest.mark.parametrize(("every", "last"), [("epoch", [0, 4, 8]), ("step", [3, 7, 11])])
def test_retraining(every, last, tmp_path):
    data = SyntheticDataModule(num_images=20, height=8, width=8, batch_size=5, split="all")
    optim = RetrainOptim(schedule_every=every, auxiliary_weight=0.0)
    module = RetrainModule("DARTS_V1", data.spec, init_channels=2, num_cells=3, optim=optim)
    found = rates(tmp_path, module, data)
    steps = len(data.train_dataloader()["weights"])
    expected = [0.025 * (1 + cos(pi * step / (3 * steps))) / 2 for step in last]
    assert [row["lr/weights"] for row in found] == pytest.approx(expected)
    assert "lr/arch" not in found[0]
