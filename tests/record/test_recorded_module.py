"""Checkpoints that are damaged, foreign or of another kind are refused in words."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS
from lit_nas.record import names
from lit_nas.record.migrations import FORMAT_VERSION
from lit_nas.record.recorded_module import load_module, read_checkpoint
from tests.methods.test_contract import fit
from tests.support.tiny import TINY

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")


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
    with pytest.raises(ValueError, match=rf"format version 99; this release reads version {FORMAT_VERSION}.*upgrade"):
        load_module(changed(checkpoint, tmp_path, version=99))
    with pytest.raises(ValueError, match=r"'subprocess.Popen', which is neither of lit-nas.*trust=\('subprocess',\)"):
        load_module(changed(checkpoint, tmp_path, class_path="subprocess.Popen"))
    with pytest.raises(ValueError, match="is not a module of lit-nas"):
        load_module(changed(checkpoint, tmp_path, class_path="lit_nas.specs.ImageSpec"))


def test_a_checkpoint_of_another_class_is_named(checkpoint):
    from lit_nas.retrain import EvaluationModule

    with pytest.raises(ValueError, match="written by DARTS, not by EvaluationModule"):
        EvaluationModule.load_from_checkpoint(checkpoint)


def test_state_that_a_release_did_not_have_takes_its_initial_value(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    del content["state_dict"]["architecture.clock.step"]
    torch.save(content, tmp_path / "older.ckpt")
    with pytest.warns(UserWarning, match="without the state 'architecture.clock.step'"):
        assert load_module(tmp_path / "older.ckpt").architecture.clock.step == 0
    for name in ("architecture.logits.normal", "network.stem.conv.weight"):
        content = torch.load(checkpoint, weights_only=True)
        del content["state_dict"][name]
        torch.save(content, tmp_path / "damaged.ckpt")
        with pytest.raises(ValueError, match=rf"does not fit the model.*'{name}'"):
            load_module(tmp_path / "damaged.ckpt")


def test_running_statistics_have_no_initial_value(tmp_path):
    callback = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    fit(TINY["DARTS-nas-bench-201"](), tmp_path, callbacks=[callback])
    content = torch.load(callback.last_model_path, weights_only=True)
    name = next(name for name in content["state_dict"] if name.endswith("running_var"))
    del content["state_dict"][name]
    torch.save(content, tmp_path / "damaged.ckpt")
    with pytest.raises(ValueError, match="does not fit the model: 1 tensors"):
        load_module(tmp_path / "damaged.ckpt")


def test_an_argument_that_a_release_did_not_have_takes_its_default(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    arguments = content["lit_nas"]["init_args"]
    del arguments["product"], arguments["optim"]["graphs"]
    torch.save(content, tmp_path / "older.ckpt")
    assert load_module(tmp_path / "older.ckpt").product == "finite_difference"
    fit(TINY["DARTS-first-order"](), tmp_path, ckpt_path=tmp_path / "older.ckpt")
    with pytest.raises(ValueError, match=r"model\.product was 'finite_difference' and is 'exact'"):
        fit(TINY["DARTS-second-order-exact"](), tmp_path, ckpt_path=tmp_path / "older.ckpt")


def test_a_class_that_moved_is_found(checkpoint, tmp_path, monkeypatch):
    path = changed(checkpoint, tmp_path, class_path="lit_nas.algorithms.Darts")
    with pytest.raises(ValueError, match=r"no class 'lit_nas\.algorithms\.Darts'"):
        load_module(path)
    with pytest.raises(ValueError, match="written by Darts, but the model is DARTS"):
        fit(TINY["DARTS-first-order"](), tmp_path, ckpt_path=path)
    monkeypatch.setitem(names.MOVED, "lit_nas.algorithms.Darts", "lit_nas.methods.DARTS")
    assert isinstance(load_module(path), DARTS)
    fit(TINY["DARTS-first-order"](), tmp_path, ckpt_path=path)


def test_names_in_a_checkpoint_do_not_depend_on_modules(checkpoint):
    record = read_checkpoint(checkpoint)["lit_nas"]
    assert record["class_path"] == "lit_nas.methods.DARTS"
    assert record["init_args"]["optim"]["arch"]["class_path"] == "lit_nas.optim.DartsAdam"
