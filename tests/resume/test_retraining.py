"""A retraining that is interrupted within an epoch ends as one that was not, dropped paths included."""

import pytest
import yaml

from tests.support.resume_job import differences, final_state, run, write_config

MODEL = {
    "class_path": "RetrainModule",
    "init_args": {
        "genotype": "DARTS_V1", "init_channels": 4, "num_cells": 3,
        "optim": {"drop_path": 0.5, "auxiliary_weight": 0.4},
    },
}  # fmt: skip


def fit(folder, *arguments, every="epoch", **bomb):
    folder.mkdir(exist_ok=True)
    config = yaml.safe_load(write_config("DARTS-first-order", folder / "in.yaml", model=MODEL).read_text())
    config["model"]["init_args"]["optim"]["schedule_every"] = every
    config["data"]["init_args"] |= {"split": "all", "height": 16, "width": 16}
    (folder / "in.yaml").write_text(yaml.safe_dump(config))
    paths = ["-c", str(folder / "in.yaml"), "--trainer.default_root_dir", str(folder / "run")]
    return run(["fit", *paths, *arguments], **bomb)


@pytest.mark.parametrize(
    ("bomb", "at", "status", "rest", "every"), [("SIGTERM", 6, 143, 5, "epoch"), ("SIGKILL", 7, -9, 6, "step")]
)
def test_retraining_continues_bit_identically(bomb, at, status, rest, every, tmp_path):
    assert fit(tmp_path / "whole", every=every) == 0
    assert fit(tmp_path / "cut", every=every, bomb=bomb, at=at) == status
    assert fit(tmp_path / "cut", "--ckpt_path", "last", every=every) == 0
    assert int((tmp_path / "cut" / "run" / "steps.txt").read_text()) == rest
    whole, cut = final_state(tmp_path / "whole" / "run"), final_state(tmp_path / "cut" / "run")
    assert float(whole["metrics"][-1].get("train/loss", 1)) > 0
    assert differences(whole, cut) == []
