"""Several seeds of a fit or a job: which stages there are, what is run once only, and what the numbers are."""

import json
import re
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml

from lit_nas.cli import main
from lit_nas.jobs import FileOf, Found, Group, History, Job, OneFit, RankValidation, Stage, Sweep, WeightsOf
from lit_nas.jobs.chains import part_of, within
from lit_nas.jobs.stage import with_callback
from tests.cli.test_run import DATA, TRAINER, job
from tests.jobs.test_outer_search import WALK, finished
from tests.ranks.test_ranking import left

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
SPACE = {"class_path": "NasBench201Space", "init_args": {"init_channels": 2, "cells_per_stage": 1}}


def found(name, **scores):
    return Found(name, Path(name), {}, None, None, scores, {"seconds": 1.5}, None)


def test_stages_of_an_inner_job_refer_to_each_other_by_their_new_names():
    stage = Stage("b", "retrain", "retrain", {"x": 1}, {"model.genotype": FileOf("a")}, "a", WeightsOf("a", True))
    renamed = within("seed_1_", stage)
    assert renamed.name == "seed_1_b"
    assert renamed.takes == {"model.genotype": FileOf("seed_1_a")}
    assert (renamed.divides_as, renamed.weights) == ("seed_1_a", WeightsOf("seed_1_a", True))
    assert within("seed_1_", Stage("a", "search", "search")).divides_as == ""
    history = History((found("seed_1_a"), found("seed_11_a"), found("seed_1_b")))
    assert [each.name for each in part_of("seed_1_", history)] == ["a", "b"]


def test_seeds_do_not_wait_for_each_other():
    sweep = Sweep(seeds=(4, 0))
    first = sweep.propose(History())
    assert [(stage.name, stage.changes) for stage in first.stages] == [
        ("seed_4_search", {"seed_everything": 4}),
        ("seed_0_search", {"seed_everything": 0}),
    ]
    second = sweep.propose(History((found("seed_4_search"), found("seed_0_search"))))
    assert [stage.takes["model.genotype"].stage for stage in second.stages] == ["seed_4_search", "seed_0_search"]
    assert [stage.name for stage in sweep.outline()] == [
        "seed_4_search",
        "seed_4_retrain",
        "seed_0_search",
        "seed_0_retrain",
    ]
    everything = [found(stage.name) for stage in (*first.stages, *second.stages)]
    assert sweep.propose(History(tuple(everything))) is None


def test_no_run_repeats_another_one():
    def seeds(seed):
        sweep = Sweep(RankValidation(repeats=(0, 1), seeds=(0,)), (seed,))
        return [stage.changes["seed_everything"] for stage in sweep.propose(History()).stages]

    assert seeds(3) == seeds(3)
    assert len({*seeds(3), *seeds(4)}) == 4
    own = Stage("a", "search", "search", with_callback({"seed_everything": 5}, "QueryTable", path="x"))
    (stage,) = Sweep(Proposes(own), (0,)).propose(History()).stages
    assert list(stage.changes) == ["seed_everything", "trainer.callbacks+"]  # words take effect in their order
    assert stage.changes["seed_everything"] != 5


def test_what_the_job_writes_lies_in_a_folder_of_each_seed(tmp_path):
    sweep, history = Sweep(WALK, (4, 9)), History()
    while (proposed := sweep.propose(history)) is not None:
        inner = [replace(stage, name=re.sub(r"seed_\d+_", "", stage.name)) for stage in proposed.stages]
        found = (replace(finished(each), name=stage.name) for each, stage in zip(inner, proposed.stages, strict=True))
        history = History((*history.stages, *found))
        sweep.write_so_far(history, tmp_path)
        counts = [len((tmp_path / f"seed_{seed}" / "trajectory.csv").read_text().splitlines()) for seed in (4, 9)]
        assert counts[0] == counts[1] > 28
    names = {"trajectory.csv", "networks.csv"}
    assert {path.name for path in (tmp_path / "seed_4").iterdir()} == names
    (tmp_path / "begun").mkdir()
    sweep.write_so_far(History(history.stages[:1]), tmp_path / "begun")
    assert [path.name for path in (tmp_path / "begun").iterdir()] == ["seed_4"]  # the other one has nothing yet
    results = sweep.results(history)
    sweep.write(results, tmp_path)
    for seed in (4, 9):
        found = {path.name for path in (tmp_path / f"seed_{seed}").iterdir()}
        assert found == {*names, "report.md", "accuracy.svg", "trajectories.svg"}
    heading = (tmp_path / "sweep.md").read_text().splitlines()[0]
    assert heading == "| Seed | test_accuracy | trend.pearson | search_seconds | retrain_seconds |"


def test_the_job_checks_what_its_searches_begin_with():
    sweep = Sweep(RankValidation(networks=[["dag1", "dag1"], ["dag9", "dag1"]]), (0, 1))
    with pytest.raises(ValueError, match=r"job\.networks: The row 'row_1' has no candidate 'dag9'"):
        sweep.check_candidates(left((0.2, 0.3, 0.5), (0.6, 0.4)))


@dataclass(frozen=True)
class Proposes(Job):
    """A single stage."""

    stage: Stage

    def propose(self, history):
        return None if len(history) else self.stage


class Two(Job):
    """Proposes two stages at a time."""

    def propose(self, history):
        return None if len(history) else Group((Stage("a", "search", "search"), Stage("b", "search", "search")))


def test_groups_of_the_seeds_become_one():
    assert [stage.name for stage in Sweep(Two(), (0, 1)).propose(History()).stages] == [
        "seed_0_a",
        "seed_0_b",
        "seed_1_a",
        "seed_1_b",
    ]


def test_mean_and_deviation_over_seeds(tmp_path):
    sweep = Sweep(OneFit("retrain"), (0, 1, 2))
    accuracies = [0.5, 0.75, 0.625]
    history = History(tuple(found(f"seed_{seed}_fit", **{"test/accuracy": a}) for seed, a in enumerate(accuracies)))
    results = sweep.results(history)
    statistics = results["statistics"]["stages.fit.scores.test/accuracy"]
    assert statistics == {"mean": fmean(accuracies), "deviation": stdev(accuracies), "values": accuracies}
    sweep.write(results, tmp_path)
    lines = (tmp_path / "sweep.md").read_text().splitlines()
    assert lines[0].startswith("| Seed | stages.fit.scores.test/accuracy |")
    assert lines[-1].startswith("| mean +- deviation | 0.625 +- 0.12 |")
    assert sweep.summary(results)["stages.fit.scores.test/accuracy"] == "0.625 +- 0.12"
    (alone,) = Sweep(OneFit("retrain"), (1,)).results(History((history.stages[1],)))["runs"]
    assert alone == "1"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A search with two seeds, and the arguments that made it."""
    folder = tmp_path_factory.mktemp("sweep")
    config = {
        "seed_everything": 7,
        "model": {"class_path": "DARTS", "init_args": {"space": SPACE}},
        "data": DATA,
        "trainer": {**TRAINER, "max_epochs": 1, "default_root_dir": str(folder / "run")},
    }
    (folder / "fit.yaml").write_text(yaml.safe_dump(config))
    (folder / "here.yaml").write_text("executor: InThisProcess")
    arguments = ["-c", str(folder / "fit.yaml"), "-c", str(folder / "here.yaml")]
    assert main(["sweep", *arguments, "--seeds", "1,2", "--model.optim.clip", "4.0"]) == 0
    return folder, arguments


def test_a_fit_with_several_seeds(swept):
    folder, _ = swept
    runs, logits = folder / "run_seeds", []
    for seed in (1, 2):
        config = yaml.safe_load((runs / f"seed_{seed}_fit" / "config.yaml").read_text())
        assert config["seed_everything"] == seed
        assert config["model"]["init_args"]["optim"]["clip"] == 4.0
        logits.append(json.loads((runs / f"seed_{seed}_fit" / "candidates.json").read_text()))
    assert logits[0] != logits[1]
    results = json.loads((runs / "results.json").read_text())
    costs = [json.loads((runs / f"seed_{seed}_fit" / "cost.json").read_text())["seconds"] for seed in (1, 2)]
    assert results["statistics"]["stages.fit.cost.seconds"]["values"] == costs
    assert (runs / "sweep.md").exists()


def test_more_seeds_leave_those_that_have_finished_alone(swept):
    folder, arguments = swept
    before = (folder / "run_seeds" / "seed_1_fit" / "genotype.json").stat().st_mtime_ns
    assert main(["sweep", *arguments, "--seeds", "1..3", "--model.optim.clip", "4.0"]) == 0
    assert (folder / "run_seeds" / "seed_1_fit" / "genotype.json").stat().st_mtime_ns == before
    assert json.loads((folder / "run_seeds" / "results.json").read_text())["seeds"] == [1, 2, 3]


def test_another_configuration_is_refused_with_a_command_that_takes_it(swept, tmp_path, capsys):
    folder, arguments = swept
    shutil.copytree(folder / "run_seeds", tmp_path / "runs")
    words = [*arguments, "--folder", str(tmp_path / "runs"), "--seeds", "1", "--model.optim.clip", "3.0"]
    assert main(["sweep", *words]) == 2
    said = capsys.readouterr().err
    assert "model.optim.clip" in said
    assert f"lit-nas sweep {shlex.join(words)} --redo seed_1_fit" in said
    before = (tmp_path / "runs" / "seed_2_fit" / "genotype.json").stat().st_mtime_ns
    assert main(["sweep", *words, "--redo", "seed_1_fit"]) == 0
    config = yaml.safe_load((tmp_path / "runs" / "seed_1_fit" / "config.yaml").read_text())
    assert config["model"]["init_args"]["optim"]["clip"] == 3.0
    assert (tmp_path / "runs" / "seed_1_fit-1" / "genotype.json").exists()
    assert (tmp_path / "runs" / "seed_2_fit" / "genotype.json").stat().st_mtime_ns == before


def test_each_seed_is_a_chain_of_its_own():
    sweep = Sweep(Sweep(seeds=(1, 2)), (1, 12))
    names = ["seed_1_seed_1_search", "seed_1_seed_2_search", "seed_12_seed_1_search", "seed_12_seed_1_retrain"]
    assert [sweep.chain_of(name) for name in names] == [
        "seed_1_seed_1_",
        "seed_1_seed_2_",
        "seed_12_seed_1_",
        "seed_12_seed_1_",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "3..1"], "--seeds is '3..1'"),
        (["--seeds", "a"], "--seeds is 'a'"),
        (["--seeds", "1,1"], "names a seed twice"),
        (["--seeds", "-1"], "--seeds is '-1'"),
        (["--seeds", "0..1", "--model.optim.clp", "1"], "clp is unknown"),
        (["--seeds", "0..1", "--executor.parallel", "0"], "executor.parallel must be at least 1"),
        (["--seeds", "0..1", "--executor.retries", "-1"], "executor.retries must not be negative"),
        (["--seeds", "0..1", "--trainer.default_root_dir", "x"], "--folder is the folder of the sweep"),
        (["--seeds", "0..1", "--seed_everything=3"], "--seed_everything is set by --seeds"),
        (["--seeds", "0..1", "--redo", "seed_2_fit"], "--redo seed_2_fit: the job has no such stage yet"),
    ],
)
def test_wrong_arguments(words, message, swept, capsys):
    folder, arguments = swept
    assert main(["sweep", *arguments[:2], "--folder", str(folder / "other"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "other").exists()


def test_a_configuration_without_a_model_is_refused(tmp_path, capsys):
    (tmp_path / "data.yaml").write_text("data: DigitsDataModule")
    assert main(["sweep", "-c", str(tmp_path / "data.yaml"), "--seeds", "0,1"]) == 2
    assert "names no model" in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_job_with_several_seeds(tmp_path):
    assert main(["sweep", "-c", job(tmp_path), "--seeds", "0..1", "--folder", str(tmp_path / "all")]) == 0
    results = json.loads((tmp_path / "all" / "results.json").read_text())
    accuracies = [results["runs"][seed]["test_accuracy"] for seed in ("0", "1")]
    assert results["statistics"]["test_accuracy"]["mean"] == fmean(accuracies)
