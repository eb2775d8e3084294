"""Searches with regularisers and perturbations: continued after an interruption, and on two processes."""

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint

from tests.ddp.test_ddp import check
from tests.methods.test_contract import changed, fit, snapshot
from tests.resume.test_resume import interrupted
from tests.support.resume_job import differences, final_state, run, write_config
from tests.support.tiny import VARIANTS


def each(quick):
    return [pytest.param(name, marks=() if name == quick else pytest.mark.slow) for name in VARIANTS]


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("name", each("smoothed"))
def test_the_next_epoch_continues_exactly(name, tmp_path):
    whole, first = VARIANTS[name](), VARIANTS[name]()
    first.load_state_dict(whole.state_dict())
    fit(whole, tmp_path / "whole", epochs=2)

    class Stop(ModelCheckpoint):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            trainer.should_stop = True

    checkpoint = Stop(dirpath=tmp_path / "part", save_last=True)
    fit(first, tmp_path / "part", epochs=2, callbacks=[checkpoint])
    second = VARIANTS[name]()
    fit(second, tmp_path / "rest", epochs=2, ckpt_path=checkpoint.last_model_path)
    assert not changed(snapshot(whole), snapshot(second), "")


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_a_resume_is_bit_identical(name, tmp_path):
    config = write_config(name, tmp_path / "in.yaml")
    assert run(["fit", "-c", str(config), "--trainer.default_root_dir", str(tmp_path / "whole")]) == 0
    (tmp_path / "part").mkdir()
    found = interrupted(name, tmp_path / "part", "SIGKILL", 7, -9, 6)
    assert differences(final_state(tmp_path / "whole"), found) == []


@pytest.mark.parametrize("name", each("smoothed"))
def test_two_processes_equal_one(name, tmp_path):
    """Noise and regularisers are equal on both, and what multiplies the loss sees the mean of both."""
    check(name, tmp_path, 1e-9, precision="64-true")
