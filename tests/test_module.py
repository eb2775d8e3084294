"""Checkpoints that are damaged, foreign or of another kind are refused in words."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS
from lit_nas.module import load_module, read_checkpoint
from tests.methods.test_contract import fit
from tests.methods.tiny import TINY


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    callback = ModelCheckpoint(dirpath=folder, save_last=True)
    fit(TINY["DARTS-first-order"](), folder, callbacks=[callback])
    return callback.last_model_path


def changed(checkpoint, tmp_path, **record):
    content = torch.load(checkpoint, weights_only=True)
    content["lit_nas"].update(record)
    torch.save(content, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


def test_a_search_is_rebuilt_from_its_checkpoint(checkpoint):
    module = load_module(checkpoint)
    assert isinstance(module, DARTS)
    assert isinstance(DARTS.load_from_checkpoint(checkpoint), DARTS)
    assert load_genotype(checkpoint).cells == module.derive().cells


def test_missing_truncated_and_foreign_files(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        read_checkpoint(tmp_path / "absent.ckpt")
    whole = Path(checkpoint).read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.ckpt.*truncated"):
        read_checkpoint(tmp_path / "cut.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="not written by lit-nas"):
        read_checkpoint(tmp_path / "foreign.ckpt")


def test_other_versions_and_classes(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"format version 99; this release reads version 1"):
        load_module(changed(checkpoint, tmp_path, version=99))
    with pytest.raises(ValueError, match="not part of lit-nas"):
        load_module(changed(checkpoint, tmp_path, class_path="subprocess.Popen"))
    with pytest.raises(ValueError, match="is not a module of lit-nas"):
        load_module(changed(checkpoint, tmp_path, class_path="lit_nas.inputs.ImageSpec"))


def test_a_checkpoint_of_another_class_is_named(checkpoint):
    from lit_nas.evaluate import EvaluationModule

    with pytest.raises(ValueError, match="written by DARTS, not by EvaluationModule"):
        EvaluationModule.load_from_checkpoint(checkpoint)
