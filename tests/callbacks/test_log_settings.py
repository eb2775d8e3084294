"""Loggers know how a run was made."""

from types import SimpleNamespace

import pytest
import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from lit_nas.callbacks import LogSettings
from lit_nas.cli import main
from lit_nas.data import SyntheticDataModule
from lit_nas.methods import DARTS
from lit_nas.specs import ImageSpec
from tests.cli.test_commands import TINY_SEARCH, folder
from tests.support.tiny import SPACE


@pytest.mark.filterwarnings("ignore")
def test_the_command_line_logs_the_resolved_configuration(tmp_path):
    logger = f"{{class_path: TensorBoardLogger, init_args: {{save_dir: {tmp_path}, name: tb, version: ''}}}}"
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path / "run"), "--trainer.logger", logger]) == 0
    resolved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    logged = yaml.safe_load((tmp_path / "tb" / "hparams.yaml").read_text())
    for section in ("seed_everything", "model", "data", "trainer"):
        assert logged[section] == resolved[section], section
    assert logged["global_batch"] == {"weights": 4, "arch": 4}
    # what TensorBoard shows is the first record of a run
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    metadata = EventAccumulator(str(tmp_path / "tb")).Reload().SummaryMetadata("_hparams_/session_start_info")
    shown = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
    assert shown["data/init_args/num_images"].number_value == 40
    assert shown["trainer/max_epochs"].number_value == 1


def test_python_logs_what_is_known(tmp_path):
    data = SyntheticDataModule(num_images=40, height=8, width=8, batch_size=4)
    logger = TensorBoardLogger(tmp_path, name="tb", version="")
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, logger=logger, callbacks=[LogSettings()],
        limit_train_batches=1, limit_val_batches=0, log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(DARTS(data.spec, SPACE), data)
    logged = yaml.safe_load((tmp_path / "tb" / "hparams.yaml").read_text())
    assert logged["model"]["class_path"] == "lit_nas.methods.DARTS"
    assert logged["model"]["init_args"]["space"]["init_args"]["init_channels"] == 2
    assert logged["data"]["class_path"] == "lit_nas.data.SyntheticDataModule"
    assert (logged["data"]["init_args"]["batch_size"], logged["data"]["init_args"]["seed"]) == (4, 0)
    assert (logged["trainer"]["max_epochs"], logged["trainer"]["limit_train_batches"]) == (1, 1)


@pytest.mark.parametrize(
    ("world", "accumulate", "total", "paper", "words"),
    [
        (1, 1, 64, 64, ""),
        (1, 1, 64, None, ""),
        (1, 1, 64, 256, "64; the learning rates of the paper belong to 256"),
        (1, 3, 192, 192, ""),
        (2, 1, 128, 128, "64 per process x 2 processes = 128"),
        (2, 1, 128, 64, "64 per process x 2 processes = 128; the learning rates of the paper belong to 64"),
        (2, 3, 384, None, "64 per process x 2 processes x 3 accumulated = 384"),
    ],
)
def test_global_batch(world, accumulate, total, paper, words, monkeypatch):
    logged, said = [], []
    monkeypatch.setattr("lit_nas.callbacks.log_settings.rank_zero_info", said.append)
    trainer = SimpleNamespace(
        datamodule=SimpleNamespace(batch_size=64, roles={"weights", "arch", "val"}), world_size=world,
        accumulate_grad_batches=accumulate, enable_autolog_hparams=True,
        loggers=[SimpleNamespace(log_hyperparams=logged.append)],
    )  # fmt: skip
    LogSettings({"seed_everything": 1}).on_fit_start(trainer, SimpleNamespace(paper_batch_size=paper, spec=ImageSpec()))
    assert logged == [{"seed_everything": 1, "global_batch": {"weights": total, "arch": total}}]
    assert said == ([f"Images in each step: {words}."] if words else [])
    trainer.enable_autolog_hparams = False
    LogSettings({}).on_fit_start(trainer, None)
    assert len(logged) == 1
