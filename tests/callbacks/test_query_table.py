"""What `QueryTable` logs and writes, and that both are exact after an interruption."""

import csv

import pytest
import yaml
from pytorch_lightning import Trainer

from lit_nas.callbacks import QueryTable
from lit_nas.genotype import load_genotype
from lit_nas.retrain import RetrainModule
from tests.callbacks.test_callbacks import rows
from tests.methods.test_contract import loader
from tests.support.fake_table import make_table, worth
from tests.support.resume_job import differences, final_state, run, write_config
from tests.support.tiny import INPUTS, TINY

NAME = "DARTS-nas-bench-201"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("table") / "table.csv"
    make_table().save(made)
    return made


def fit(module, folder, path, **arguments):
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, default_root_dir=folder, logger=False, callbacks=[QueryTable(str(path))],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **arguments,
    )  # fmt: skip
    trainer.fit(module, loader(2))
    return trainer


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_each_epoch_is_looked_up(path, tmp_path):
    module = TINY[NAME]()
    trainer = fit(module, tmp_path, path)
    table, last = rows(tmp_path / "table.csv"), module.derive().architecture
    assert [(row["epoch"], row["dataset"]) for row in table] == [
        (epoch, dataset) for epoch in ("0", "1") for dataset in ("cifar10", "cifar100", "imagenet16_120")
    ]
    assert list(table[0]) == ["epoch", "architecture", "dataset", "test_accuracy", "rank", "regret"]
    for row, extra in zip(table[3:], (10, 5, 0), strict=True):
        assert row["architecture"] == last
        assert float(row["test_accuracy"]) == extra + worth(last)
        assert float(row["regret"]) == 72 - worth(last)
        assert int(row["rank"]) == make_table().look_up(last)[row["dataset"]].rank
        for name in ("test_accuracy", "rank", "regret"):
            assert trainer.callback_metrics[f"table/{row['dataset']}/{name}"] == pytest.approx(float(row[name]))


@pytest.mark.slow
@pytest.mark.parametrize("bomb", ["SIGTERM", "SIGKILL"])
def test_a_resumed_run_ends_as_one_in_one_go(bomb, path, tmp_path):
    config = write_config(NAME, tmp_path / "in.yaml")
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"].append({"class_path": "QueryTable", "init_args": {"path": str(path)}})
    config.write_text(yaml.safe_dump(content))
    base = ["fit", "-c", str(config), "--trainer.default_root_dir"]
    assert run([*base, str(tmp_path / "whole")]) == 0
    part = [*base, str(tmp_path / "part")]
    assert run(part, bomb, at=9) == {"SIGTERM": 143, "SIGKILL": -9}[bomb]
    assert run([*part, "--ckpt_path", "last"]) == 0
    assert (tmp_path / "part" / "table.csv").read_text() == (tmp_path / "whole" / "table.csv").read_text()
    whole, resumed = final_state(tmp_path / "whole"), final_state(tmp_path / "part")
    assert differences(whole, resumed) == []
    logged = [row for row in whole["metrics"] if "table/cifar10/regret" in row]
    assert len(logged) == 3
    with (tmp_path / "whole" / "table.csv").open(newline="") as file:
        written = [row for row in csv.DictReader(file) if row["dataset"] == "cifar10"]
    assert [float(row["regret"]) for row in written] == [float(row["table/cifar10/regret"]) for row in logged]


def test_epochs_that_are_trained_again_are_dropped(path, tmp_path):
    callback = QueryTable(str(path))
    head = "epoch,architecture,dataset,test_accuracy,rank,regret\n"
    (tmp_path / "table.csv").write_text(head + "0,a,cifar10,1.0,2,3.0\n1,b,cifar10,1.0,2,3.0\n")

    class FakeTrainer:
        is_global_zero, fast_dev_run, sanity_checking, default_root_dir, current_epoch = True, False, False, tmp_path, 1

    callback.on_train_start(FakeTrainer(), None)
    assert callback._rows == [("0", "a", "cifar10", "1.0", "2", "3.0")]
    FakeTrainer.current_epoch = 0
    callback.on_train_start(FakeTrainer(), None)
    assert callback._rows == []


def test_what_is_no_search_in_the_space_is_refused(path, tmp_path):
    cell = load_genotype("DARTS_V2").to_dict()
    for module in (TINY["DARTS-first-order"](), RetrainModule(cell, INPUTS, init_channels=4, num_cells=3)):
        with pytest.raises(ValueError, match=r"QueryTable looks up cells of NAS-Bench-201: leave it out, or search in"):
            fit(module, tmp_path, path)
    with pytest.raises(FileNotFoundError, match=r"no table '.*none\.csv'"):
        fit(TINY[NAME](), tmp_path, tmp_path / "none.csv")


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_a_dry_run_writes_nothing(path, tmp_path):
    fit(TINY[NAME](), tmp_path, path, fast_dev_run=True)
    assert list(tmp_path.iterdir()) == []
