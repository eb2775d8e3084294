"""A run that continues with other settings: what finished steps depended on is refused, the rest takes effect."""

import logging
import warnings
from functools import partial

import pytest
import torch
import yaml
from pytorch_lightning import Trainer

from lit_nas.callbacks import Prune, SaveCheckpoints
from lit_nas.cli import main
from lit_nas.data import Augmentation, SyntheticDataModule
from lit_nas.engine import Reference
from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.methods import EntmaxDARTS
from lit_nas.optim import CosineLR, DartsSGD, EpochDecayLR
from lit_nas.pruning import Pruning
from lit_nas.relaxations import Entmax
from lit_nas.retrain import RetrainModule, RetrainOptim
from lit_nas.search import SearchOptim
from tests.methods.test_contract import loader
from tests.support.resume_job import differences, run
from tests.support.tiny import INPUTS, SPACE

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
IMAGES = {"num_images": 24, "channels": 2, "height": 8, "width": 8, "classes": 3, "batch_size": 4}


def search(**arguments):
    return EntmaxDARTS(INPUTS, SPACE, **{"relaxation": Entmax(3.0), **arguments})


def data(owner=SyntheticDataModule, **arguments):
    arguments = {"augmentation": Augmentation(crop_padding=1), **arguments}
    return owner(**{**(IMAGES if owner is SyntheticDataModule else {}), **arguments})


def trainer(folder, **arguments):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    arguments = {"max_epochs": 2, "limit_train_batches": 2, "limit_val_batches": 1, **arguments}
    arguments["callbacks"] = [SaveCheckpoints(), *arguments.get("callbacks", [])]
    return Trainer(default_root_dir=folder, **quiet, **arguments)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """Checkpoint of a search after one of two epochs."""
    folder = tmp_path_factory.mktemp("half")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(folder, max_steps=2).fit(search(), data())
    return folder / "checkpoints" / "last.ckpt"


CHANGES = {
    "model.optim.weights.lr was 0.025 and is 0.5": {
        "model": {"optim": SearchOptim(level="single", weights=partial(DartsSGD, lr=0.5))}
    },
    "model.optim.weights was 'lit_nas.optim.DartsSGD' and is 'torch.optim.SGD'": {
        "model": {"optim": SearchOptim(level="single", weights=partial(torch.optim.SGD, lr=0.025))}
    },
    "model.optim.level was 'single' and is 'alternating'": {"model": {"optim": SearchOptim(level="alternating")}},
    "model.relaxation.alpha was 3.0 and is 2.0": {"model": {"relaxation": Entmax(2.0)}},
    "model.pruning.every was 'epoch' and is 'step'": {"model": {"pruning": Pruning(every="step")}},
    "trainer.max_epochs was 2 and is 3 (the clock and the schedules of a search span the run)": {
        "trainer": {"max_epochs": 3}
    },
    "trainer.precision was '32-true' and is 'bf16-mixed'": {"trainer": {"precision": "bf16-mixed"}},
    "trainer.limit_train_batches was 2 and is 1": {"trainer": {"limit_train_batches": 1}},
    "trainer.callbacks.Prune": {"model": {"pruning": None}, "trainer": {"callbacks": []}},
    "data.batch_size was 4 and is 6": {"data": {"batch_size": 6}},
    "data.seed was 0 and is 1": {"data": {"seed": 1}},
    "data.augmentation.crop_padding was 1 and is 0": {"data": {"augmentation": Augmentation(crop_padding=0)}},
    "data.split_seed was 0 and is 1": {"data": {"split_seed": 1}},
    "seed_everything was 5 and is 6": {"seed": "6"},
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_what_finished_steps_depended_on_is_refused_by_name(sentence, half, tmp_path, monkeypatch):
    change, path = CHANGES[sentence], half
    if "seed" in change:
        content = torch.load(half, weights_only=True)
        content["lit_nas"]["run"]["seed_everything"] = 5
        path = tmp_path / "seeded.ckpt"
        torch.save(content, path)
        monkeypatch.setenv("PL_GLOBAL_SEED", change["seed"])
    fit = trainer(tmp_path, **change.get("trainer", {}))
    with pytest.raises(ValueError, match="made with other settings") as error:
        fit.fit(search(**change.get("model", {})), data(**change.get("data", {})), ckpt_path=path)
    assert sentence in str(error.value)
    assert "start a new run" in str(error.value)
    assert fit.global_step == 0
    assert not (tmp_path / "split.json").exists()


def test_all_changes_are_named_at_once(half, tmp_path):
    with pytest.raises(ValueError, match="made with other settings") as error:
        trainer(tmp_path, max_epochs=3).fit(search(relaxation=Entmax(2.0)), data(batch_size=6), ckpt_path=half)
    for key in ("model.relaxation.alpha", "trainer.max_epochs", "data.batch_size"):
        assert key in str(error.value)


def test_a_callback_that_prunes_is_part_of_the_run(half, tmp_path):
    with pytest.raises(ValueError, match=r"trainer\.callbacks\.Prune\.threshold was 0\.0 and is 0\.5"):
        trainer(tmp_path, callbacks=[Prune(Pruning(threshold=0.5))]).fit(search(pruning=None), data(), ckpt_path=half)


def test_other_data_are_refused(half, tmp_path):
    other = type("OtherDataModule", (SyntheticDataModule,), {})
    with pytest.raises(ValueError, match=r"data was 'lit_nas\.data\.SyntheticDataModule' and is '.*OtherDataModule'"):
        trainer(tmp_path).fit(search(), data(other, **IMAGES), ckpt_path=half)
    with pytest.raises(ValueError, match=r"data was '.*SyntheticDataModule' and is 'loaders of its own'"):
        trainer(tmp_path).fit(search(), loader(2), ckpt_path=half)
    # an epoch of loaders has a length, which is known when training starts
    content = torch.load(half, weights_only=True)
    content["lit_nas"]["run"]["data"] = None
    torch.save(content, tmp_path / "loaders.ckpt")
    with pytest.raises(ValueError, match=r"made with 2 batches in each epoch, but there are 1"):
        trainer(tmp_path).fit(search(), loader(1), ckpt_path=tmp_path / "loaders.ckpt")


def test_another_number_of_processes_is_refused_with_both(half, tmp_path):
    content = torch.load(half, weights_only=True)
    content["lit_nas"]["run"]["processes"] = 2
    torch.save(content, tmp_path / "two.ckpt")
    with pytest.raises(ValueError, match=r"written by 2 processes.*continued exactly by 1:.*trainer\.devices"):
        trainer(tmp_path).fit(search(), data(), ckpt_path=tmp_path / "two.ckpt")
    trainer(tmp_path).validate(search(), data(), ckpt_path=tmp_path / "two.ckpt", verbose=False)  # weights are weights


@pytest.mark.filterwarnings("ignore:.*deterministic.*")
def test_what_steps_do_not_depend_on_takes_effect(half, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        module, fit = search(engine=Reference()), trainer(tmp_path, log_every_n_steps=1, limit_val_batches=2)
        fit.fit(module, data(eval_batch_size=3), ckpt_path=half)
    assert fit.global_step == 4
    assert "used from here on: model.engine: 'lit_nas.engine.Fused' -> 'lit_nas.engine.Reference'" in caplog.text
    again = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["lit_nas"]
    assert again["init_args"]["engine"]["class_path"] == "lit_nas.engine.Reference"


def test_weights_are_validated_by_the_model_that_they_belong_to(half, tmp_path):
    other = search(optim=SearchOptim(clip=1.0), pruning=None)
    trainer(tmp_path, max_epochs=7).validate(other, data(batch_size=3), ckpt_path=half, verbose=False)
    with pytest.raises(ValueError, match=r"model\.relaxation\.alpha was 3\.0 and is 2\.0"):
        trainer(tmp_path).validate(search(relaxation=Entmax(2.0)), data(), ckpt_path=half, verbose=False)


# -- retraining --------------------------------------------------------------------------------------------------


def genotype(operation="max_pool_3x3", source=1):
    cell = CellGenotype((Edge("sep_conv_3x3", 0, 2), Edge(operation, source, 2)), (2,), 2)
    return Genotype({"normal": cell, "reduce": cell}, meta={"found": operation}).to_dict()


def retraining(cells=None, schedule=EpochDecayLR, drop_path=0.0, **optim):
    optim = RetrainOptim(schedule=schedule, drop_path=drop_path, auxiliary_weight=0.0, **optim)
    return RetrainModule(cells or genotype(), INPUTS, init_channels=2, num_cells=3, optim=optim)


def retrain(folder, epochs, ckpt_path=None, **arguments):
    torch.manual_seed(0)
    module, fit = retraining(**arguments), trainer(folder, max_epochs=epochs)
    fit.fit(module, data(split="all"), ckpt_path=ckpt_path)
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("schedule", [EpochDecayLR, partial(CosineLR, epochs=5)])
def test_a_longer_retraining_equals_one_that_was_meant_to_be_so_long(schedule, tmp_path):
    retrain(tmp_path / "short", 1, schedule=schedule)
    longer = retrain(tmp_path / "longer", 3, tmp_path / "short" / "checkpoints" / "last.ckpt", schedule=schedule)
    whole = retrain(tmp_path / "whole", 3, schedule=schedule)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert differences(whole[key], longer[key]) == []
    assert longer["lit_nas"]["run"]["trainer"]["max_epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"schedule": CosineLR}, r"model\.optim\.schedule span"),
        ({"drop_path": 0.2}, r"model\.optim\.drop_path span"),
        ({"schedule": CosineLR, "schedule_every": "step"}, r"model\.optim\.schedule span"),
    ],
)
def test_a_longer_retraining_is_refused_where_its_schedules_spanned_the_run(arguments, reason, tmp_path):
    retrain(tmp_path, 1, **arguments)
    with pytest.raises(ValueError, match=rf"trainer\.max_epochs was 1 and is 3 \({reason}"):
        retrain(tmp_path / "longer", 3, tmp_path / "checkpoints" / "last.ckpt", **arguments)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_weights_of_another_genotype_are_refused(command, tmp_path):
    path, images = tmp_path / "checkpoints" / "last.ckpt", data(split={"weights": 0.5, "val": 0.5})
    trainer(tmp_path, max_steps=2).fit(retraining(), images)
    same = genotype()
    same["meta"] = {"found": "elsewhere"}
    getattr(trainer(tmp_path), command)(retraining(same), datamodule=images, ckpt_path=path)
    for other, nodes in ((genotype("avg_pool_3x3"), "avg_pool_3x3', 1"), (genotype(source=0), "max_pool_3x3', 0")):
        with pytest.raises(ValueError, match=r"model\.genotype\.cells\.reduce\.nodes\.0 was") as error:
            getattr(trainer(tmp_path), command)(retraining(other), datamodule=images, ckpt_path=path)
        assert nodes in str(error.value)


# -- the command line --------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_the_configuration_says_what_was_used(tmp_path, capsys):
    arguments = [
        "fit", "--model", "DARTS", "--model.space.init_channels", "2", "--model.space.num_cells", "3",
        "--model.space.nodes", "2", "--data", "SyntheticDataModule", "--data.num_images", "40", "--data.height", "8",
        "--data.width", "8", "--data.batch_size", "4", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "3",
        "--trainer.enable_progress_bar", "false", "--trainer.limit_train_batches", "2", "--trainer.default_root_dir",
        str(tmp_path),
    ]  # fmt: skip
    assert run(arguments, "exception", 2) == 1
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    last = [*arguments, "--ckpt_path", "last"]
    assert main([*last, "--model.optim.weights.lr", "0.5", "--data.split_seed", "3"]) == 2
    assert "model.optim.weights.lr was 0.025 and is 0.5" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert run([*last, "--model.engine", "Reference"], "exception", 2) == 1
    assert main([*last, "--model.engine", "Reference", "--trainer.log_every_n_steps", "1"]) == 0
    assert main(last) == 0  # has finished: no step used another configuration
    found = {path.name: yaml.safe_load(path.read_text()) for path in tmp_path.glob("config*.yaml")}
    used = [
        (name, content["model"]["init_args"]["engine"]["class_path"].rpartition(".")[2], content["trainer"])
        for name, content in sorted(found.items())
    ]
    assert [(name, engine, trainer["log_every_n_steps"]) for name, engine, trainer in used] == [
        ("config-0001.yaml", "Fused", None), ("config-0002.yaml", "Reference", None), ("config.yaml", "Reference", 1),
    ]  # fmt: skip
    assert found["config.yaml"]["ckpt_path"] is None
