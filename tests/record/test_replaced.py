"""Files that name classes that have gone."""

import pytest
import torch
import yaml
from torch import nn

from lit_nas.cli import main
from lit_nas.cli.layers import read_layer, with_present_files
from lit_nas.edges import PartialChannels
from lit_nas.methods import PCDARTS
from lit_nas.methods.pc_darts import PAPER
from lit_nas.optim import DartsAdam, DartsSGD
from lit_nas.record.names import import_class
from lit_nas.record.plain import build
from lit_nas.record.recorded_module import load_module
from lit_nas.record.replaced import REPLACED, with_present_classes
from lit_nas.regularizers import ResourceCost
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from tests.methods.test_contract import fit
from tests.support.tiny import INPUTS, NAS_BENCH_201


@pytest.mark.parametrize("name", REPLACED)
def test_a_class_that_has_gone_has_one_that_takes_its_arguments(name):
    with pytest.raises(ValueError, match="There is no class"):
        import_class(name)
    short = name.rpartition(".")[2]
    for path in (name, short, f"lit_nas.{short}", name.replace(".optim.", ".optim.paper_defaults.")):
        present = with_present_classes({"class_path": path})
        if ".optim." in present["class_path"]:
            parameter = [nn.Parameter(torch.zeros(1))]
            made = import_class(present["class_path"])
            if made is DartsSGD or made is DartsAdam:
                group = made(parameter, **present["init_args"]).param_groups[0]
            else:
                group = vars(made(DartsSGD(parameter), **present["init_args"]))
            for key, value in present["init_args"].items():
                assert list(group[key]) == value if isinstance(value, list) else group[key] == value
        else:
            assert build(import_class(present["class_path"]), present["init_args"]).estimator == "expected"


def test_arguments_that_were_given_win():
    given = {"class_path": "lit_nas.optim.GDASSGD", "init_args": {"lr": 0.05, "nesterov": False}}
    found = with_present_classes({"optim": {"weights": given, "other": ["text", given]}})
    expected = {
        "class_path": "lit_nas.optim.DartsSGD",
        "init_args": {"weight_decay": 5e-4, "nesterov": False, "lr": 0.05},
    }
    assert found == {"optim": {"weights": expected, "other": ["text", expected]}}
    assert given["class_path"] == "lit_nas.optim.GDASSGD"
    cost = {"class_path": "lit_nas.regularizers.LogCost", "init_args": {"measure": "operations"}}
    found = with_present_classes(cost)
    assert build(import_class(found["class_path"]), found["init_args"]) == ResourceCost(
        Constant(1e-2), "log", "expected", measures=("operations",)
    )


def test_classes_of_others_stay():
    for path in ("mine.PCDartsSGD", "lit_nas.regularizers.PCDartsSGD", "lit_nas.optim.DartsSGD"):
        assert with_present_classes({"class_path": path}) == {"class_path": path}


def test_a_checkpoint_that_names_one_is_rebuilt_and_continued(tmp_path):
    def made(arch_from_epoch=0):
        optim = SearchOptim(PAPER.weights, PAPER.arch, PAPER.schedule, arch_from_epoch=arch_from_epoch)
        return PCDARTS(INPUTS, NAS_BENCH_201, edges=PartialChannels(2), optim=optim)

    trainer = fit(made(), tmp_path, epochs=2, steps=2)
    trainer.save_checkpoint(tmp_path / "now.ckpt")
    saved = torch.load(tmp_path / "now.ckpt", weights_only=True)
    optim = saved["lit_nas"]["init_args"]["optim"]
    optim["weights"] = {"class_path": "lit_nas.optim.PCDartsSGD"}
    optim["arch"] = {"class_path": "lit_nas.optim.PCDartsAdam", "init_args": {}}
    torch.save(saved, tmp_path / "before.ckpt")
    module = load_module(tmp_path / "before.ckpt")
    assert module.optim.weights.func is DartsSGD
    assert module.optim.weights.keywords == {"lr": 0.1}
    fit(made(), tmp_path, epochs=2, steps=2, ckpt_path=tmp_path / "before.ckpt")
    with pytest.raises(ValueError, match=r"model\.optim\.arch_from_epoch was 0 and is 1"):
        fit(made(1), tmp_path, epochs=2, steps=2, ckpt_path=tmp_path / "before.ckpt")


def test_a_configuration_that_names_one_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    content = {"model": {"class_path": "PCDARTS", "init_args": {"optim": {"weights": {"class_path": "PCDartsSGD"}}}}}
    path.write_text(yaml.safe_dump(content))
    present = {"class_path": "lit_nas.optim.DartsSGD", "init_args": {"lr": 0.1}}
    assert read_layer(path)["model"]["init_args"]["optim"]["weights"] == present
    args = ["fit", "-c", str(path), "--trainer.max_epochs", "2", f"--config={path}"]
    found = with_present_files(args)
    assert [*found[:2], *found[3:5]] == [*args[:2], *args[3:5]]
    for text in (found[2], found[5].removeprefix("--config=")):
        assert yaml.safe_load(text) == read_layer(path)
    path.write_text(yaml.safe_dump(read_layer(path)))
    assert with_present_files(args) == args


@pytest.mark.slow
def test_a_run_with_such_a_configuration_trains(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "model": {
                    "class_path": "DARTS",
                    "init_args": {
                        "space": {"class_path": "DartsSpace", "init_args": {"init_channels": 2, "num_cells": 3}},
                        "optim": {"weights": {"class_path": "PCDartsSGD", "init_args": {"momentum": 0.5}}},
                    },
                },
                "data": {"class_path": "DigitsDataModule", "init_args": {"batch_size": 32}},
                "trainer": {"max_epochs": 1, "limit_train_batches": 1, "default_root_dir": str(tmp_path / "run")},
            }
        )
    )
    assert main(["fit", "-c", str(path)]) == 0
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    weights = written["model"]["init_args"]["optim"]["weights"]
    assert weights["class_path"] == "lit_nas.optim.DartsSGD"
    assert (weights["init_args"]["lr"], weights["init_args"]["momentum"]) == (0.1, 0.5)
