"""Methods side by side: each with its own recipe under what all share, judged by the table, with random search."""

import json
from pathlib import Path

import pytest
import yaml

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from lit_nas.jobs import Comparison, Found, History, StagedSearch
from lit_nas.report.comparison import comparison_table, mean_and_deviation
from lit_nas.tabular import DATASETS, run_baseline
from tests.cli.test_run import DATA, TRAINER
from tests.support.fake_table import make_table

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
SPACE = {"class_path": "NasBench201Space", "init_args": {"init_channels": 2, "cells_per_stage": 1}}
RECIPE = """
model:
  class_path: DARTS
  init_args:
    order: 2
    space: {class_path: DartsSpace, init_args: {init_channels: 30}}
trainer: {max_epochs: 70}
"""
STAGE = "model: {class_path: PDARTS, init_args: {optim: {arch_from_epoch: 0}}}"  # a configuration on one line
STAGES = [{"trainer.max_epochs": 1, "model.keep": 2}, {"trainer.max_epochs": 1, "model.space.init_channels": 3}]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A finished comparison of two recipes, two epochs each."""
    folder = tmp_path_factory.mktemp("comparison")
    make_table().save(folder / "table.csv")
    recipe = folder / "first.yaml"
    recipe.write_text("model: {class_path: DARTS, init_args: {order: 1}}")
    config = {
        "folder": str(folder / "job"),
        "executor": "InThisProcess",
        "job": {
            "class_path": "Comparison",
            "init_args": {
                "methods": {"first": [str(recipe)], "second": [str(recipe), RECIPE], "third": [STAGE]},
                "staged": {"third": {"class_path": "lit_nas.StagedSearch", "init_args": {"stages": STAGES}}},
                "table": str(folder / "table.csv"),
                "seeds": [3],
                "baseline_seeds": 5,
            },
        },
        "search": {"model": {"init_args": {"space": SPACE}}, "data": DATA, "trainer": {**TRAINER, "max_epochs": 2}},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "-c", str(folder / "job.yaml")]) == 0
    return folder


def test_a_method_keeps_its_recipe_beneath_what_all_share(compared):
    for method, order in (("first", 1), ("second", 2)):
        config = yaml.safe_load((compared / "job" / f"{method}_seed_3" / "config.yaml").read_text())
        assert config["seed_everything"] == 3
        assert config["model"]["init_args"]["order"] == order
        assert config["model"]["init_args"]["space"]["class_path"].endswith("NasBench201Space")
        assert config["model"]["init_args"]["space"]["init_args"]["init_channels"] == 2
        assert config["trainer"]["max_epochs"] == 2


def test_accuracies_are_those_of_the_table_and_random_search_has_looked_at_as_many_cells(compared):
    results, table = json.loads((compared / "job" / "results.json").read_text()), make_table()
    for method in ("first", "second"):
        found = results["methods"][method]
        for epoch in range(2):
            genotypes = compared / "job" / f"{method}_seed_3" / "genotypes"
            architecture = load_genotype(genotypes / f"epoch-{epoch:04d}.json").architecture
            for dataset, standing in table.look_up(architecture).items():
                assert found["test_accuracy"][dataset][0][epoch] == standing.test_accuracy
        assert len(found["seconds"]) == 1
    for budget in (1, 2):
        run = run_baseline(table, "random_search", "cifar10", budget, 5)
        for dataset in DATASETS:
            assert results["random_search"]["test_accuracy"][dataset][budget - 1] == run[dataset]["test_accuracy"]


def test_stages_of_a_method_follow_each_other_and_count_as_one_search(compared):
    results, folder = json.loads((compared / "job" / "results.json").read_text()), compared / "job"
    first, second = (folder / f"third_seed_3_stage_{number}" for number in (1, 2))
    left = json.loads((first / "candidates.json").read_text())["cells"]["normal"]
    assert {len(edge["operations"]) for edge in left} == {2}
    config = yaml.safe_load((second / "config.yaml").read_text())["model"]["init_args"]["space"]["init_args"]
    assert config["candidates"] == str(first / "candidates.json")
    assert config["init_channels"] == 3
    found, table = results["methods"]["third"], make_table()
    for epoch, stage in enumerate((first, second)):
        architecture = load_genotype(stage / "genotype.json").architecture
        assert found["test_accuracy"]["cifar10"][0][epoch] == table.look_up(architecture)["cifar10"].test_accuracy
    costs = [json.loads((stage / "cost.json").read_text())["seconds"] for stage in (first, second)]
    assert found["seconds"] == [sum(costs)]


def test_page_and_picture(compared):
    results = json.loads((compared / "job" / "results.json").read_text())
    page = (compared / "job" / "comparison.md").read_text()
    assert page == comparison_table(results)
    last = [seed[-1] for seed in results["methods"]["second"]["test_accuracy"]["cifar10"]]
    (line,) = (line for line in page.splitlines() if line.startswith("| second |"))
    assert line.split(" | ")[2] == mean_and_deviation(last)
    picture = (compared / "job" / "comparison.svg").read_text()
    assert picture.count('id="line2d') > 4


def test_every_method_searches_with_every_seed():
    job = Comparison({"a": ["a.yaml"], "b": ["b.yaml", "trainer: {}"]}, "table.csv", seeds=(5, 7))
    stages = job.propose(History()).stages
    assert [(stage.name, stage.changes["seed_everything"], stage.beneath) for stage in stages] == [
        ("a_seed_5", 5, ("a.yaml",)),
        ("a_seed_7", 7, ("a.yaml",)),
        ("b_seed_5", 5, ("b.yaml", "trainer: {}")),
        ("b_seed_7", 7, ("b.yaml", "trainer: {}")),
    ]


def test_no_search_waits_for_that_of_another_method():
    staged = {"b": StagedSearch(({}, {"model.keep": 2}))}
    job = Comparison({"a": ["a.yaml"], "b": ["b.yaml"]}, "table.csv", staged, (0,))
    first = [stage.name for stage in job.propose(History()).stages]
    assert first == ["a_seed_0", "b_seed_0_stage_1"]
    found = History(tuple(Found(name, Path(name), {}, None, None, {}, {}, None) for name in first))
    (second,) = job.propose(found).stages
    assert second.name == "b_seed_0_stage_2"
    look_up = {"class_path": "QueryTable", "init_args": {"path": "table.csv"}}
    assert second.changes == {"seed_everything": 0, "model.keep": 2, "trainer.callbacks+": [look_up]}
    assert second.beneath == ("b.yaml",)
    assert second.takes["model.space.candidates"].stage == "b_seed_0_stage_1"


def test_mean_and_deviation():
    assert mean_and_deviation([90.0, 92.0]) == "91.00 +- 1.41"
    assert mean_and_deviation([None, 92.0]) == "92.00"
    assert mean_and_deviation([None]) == "-"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": {}}, "must hold at least one each"),
        ({"seeds": ()}, "must hold at least one each"),
        ({"seeds": (-1,)}, "job.seeds must not be negative"),
        ({"seeds": (1, 1)}, "names a seed twice"),
        ({"methods": {"a": "file.yaml"}}, "job.methods.a is 'file.yaml'"),
        ({"dataset": "svhn"}, "The table knows cifar10"),
        ({"staged": {"b": StagedSearch(({},))}}, "job.staged.b is StagedSearch"),
        ({"staged": {"a": 3}}, "job.staged.a is 3, but job.staged must give a StagedSearch"),
        ({"baseline_seeds": 0}, "baseline_seeds must be at least 1"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        Comparison(**{"methods": {"a": ["file.yaml"]}, "table": "table.csv", **change})


def test_a_missing_table_is_refused_before_any_training(compared, tmp_path, capsys):
    config = yaml.safe_load((compared / "job.yaml").read_text())
    config["job"]["init_args"]["table"] = str(tmp_path / "none.csv")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**config, "folder": str(tmp_path / "job")}))
    assert main(["run", "-c", str(tmp_path / "job.yaml")]) == 2
    assert "none.csv" in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_callbacks_of_the_section_stand_beside_that_of_the_job(compared, tmp_path, capsys):
    command = ["run", "-c", str(compared / "job.yaml"), "--folder", str(tmp_path / "job"), "--print_config"]
    more = '[{"trainer.callbacks+": {"class_path": "LogAlphas"}}]'
    words = ["--search.trainer.callbacks", '[{"class_path": "WriteGenotype"}]', "--job.staged"]
    words.append(f"{{third: {{class_path: lit_nas.StagedSearch, init_args: {{stages: {more}}}}}}}")
    assert main([*command, *words]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    for name, wanted in (("first_seed_3", []), ("third_seed_3_stage_1", ["LogAlphas"])):
        classes = [each["class_path"].rpartition(".")[2] for each in printed[name]["trainer"]["callbacks"]]
        assert classes == ["WriteGenotype", *wanted, "QueryTable"]
    twice = '[{"class_path": "QueryTable", "init_args": {"path": "other.csv"}}]'
    assert main([*command, "--search.trainer.callbacks", twice]) == 2
    assert "trainer.callbacks has QueryTable 2 times" in capsys.readouterr().err


def test_what_a_later_search_would_refuse_is_refused_before_any_training(compared, tmp_path, capsys):
    words = [
        "--job.methods",
        "{first: ['model: DARTS'], last: ['model: {class_path: PCDARTS, init_args: {edges: {init_args: {k: 1}}}}']}",
        "--job.staged",
        "{}",
    ]
    assert main(["run", "-c", str(compared / "job.yaml"), "--folder", str(tmp_path / "job"), *words]) == 2
    message = capsys.readouterr().err
    assert "(of the stage `last_seed_3`): model.optim.arch_from_epoch is 15, but the run ends" in message
    assert not (tmp_path / "job").exists()
