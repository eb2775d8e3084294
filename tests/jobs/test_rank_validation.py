"""Experiment 1 of FaDE as a job: searches, ranks, retrainings, their correlation."""

import csv
import json
import math
import os
import shutil
from dataclasses import replace

import pytest
import yaml
from matplotlib.figure import Figure
from scipy import stats

from lit_nas.cli import main
from lit_nas.genotype import Genotype, load_genotype
from lit_nas.jobs import Found, History, RankValidation, load_candidates
from lit_nas.ranks import Choices, load_choices, spread_networks
from lit_nas.report.ranks import describe_spearman, rank_validation_report
from tests.cli.test_run import DATA, TRAINER, job
from tests.ranks.test_ranking import left

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
POOLED = {**DATA, "init_args": {**DATA["init_args"], "num_images": 60, "split": "one-one-four"}}
SPACE = {"class_path": "DagSpace", "init_args": {"widths": [2, 3], "dags": ["dag1", "dag2_01", "dag3_01_02_12"]}}


def config(folder, **arguments):
    network = {"class_path": "DagNetwork", "init_args": {"space": SPACE}}
    retrain = {"class_path": "RetrainModule", "init_args": {"network": network, "optim": {"auxiliary_weight": 0.0}}}
    search = {"class_path": "FaDE", "init_args": {"space": SPACE}}
    return job(
        folder,
        job={"class_path": "RankValidation", "init_args": arguments},
        search={"model": search, "data": POOLED, "trainer": TRAINER},
        # another division of the data than that of the searches, which they get nevertheless
        retrain={"model": retrain, "data": DATA, "trainer": TRAINER},
    )


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """Folder of a finished job."""
    folder = tmp_path_factory.mktemp("ranks")
    assert main(["run", "-c", config(folder, repeats=[0, 5], count=3, seeds=[0])]) == 0
    return folder / "job"


def test_networks_of_all_ranks_are_trained_and_compared(validated):
    results = json.loads((validated / "results.json").read_text())
    choices = load_choices([validated / f"search_seed_{seed}" for seed in (0, 5)])
    assert results["size"] == 9
    for cell, row in results["rows"].items():
        single = [
            load_candidates(validated / f"search_seed_{seed}" / "candidates.json").cells[cell][0] for seed in (0, 5)
        ]
        assert row["by_repeat"] == [list(each.probabilities) for each in single]
        assert row["by_repeat"][0] != row["by_repeat"][1]
        assert row["probabilities"] == pytest.approx([sum(each) / 2 for each in zip(*row["by_repeat"], strict=True)])
    wanted = spread_networks(choices, 3, 0)
    for number, (each, found) in enumerate(zip(wanted, results["networks"], strict=True), 1):
        folder = validated / f"network_{number:02d}_seed_0"
        assert found["candidates"] == list(choices.candidates_of(each.choice))
        assert found["rank"] == pytest.approx(math.exp(found["log_rank"]))
        assert found["test_accuracy"] == [json.loads((folder / "test.json").read_text())["test/accuracy"]]
        genotype = load_genotype(folder / "checkpoints" / "last.ckpt")
        assert [cell.edges[0].operation for cell in genotype.cells.values()] == found["candidates"]
        data = yaml.safe_load((folder / "config.yaml").read_text())["data"]["init_args"]
        assert data["split"] == "one-one-four"
        assert found["predicted_place"] == number
    ranks, accuracies = ([each[key] for each in results["networks"]] for key in ("rank", "test_accuracy"))
    expected = stats.spearmanr(ranks, [each[0] for each in accuracies]).statistic
    assert results["spearman"]["coefficient"] == (None if math.isnan(expected) else pytest.approx(expected))


def test_it_leaves_a_report_a_table_and_the_plots(validated):
    results = json.loads((validated / "results.json").read_text())
    assert (validated / "report.md").read_text() == rank_validation_report(results)
    with (validated / "ranks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["rank"]) for row in rows] == sorted((float(row["rank"]) for row in rows), reverse=True)
    assert sum(float(row["rank"]) for row in rows) == pytest.approx(1.0)
    trained = {(row["row_1"], row["row_2"]): float(row["test_accuracy"]) for row in rows if row["test_accuracy"]}
    assert trained == {tuple(each["candidates"]): each["test_accuracy"][0] for each in results["networks"]}
    picture = (validated / "ranks.svg").read_text()
    assert picture.count('id="axes_') == 2
    assert "predicted place" in picture or picture.count("<use") > 10


def test_it_goes_on_where_it_was(validated, tmp_path, capsys):
    shutil.copytree(validated, tmp_path / "job")
    before = json.loads((tmp_path / "job" / "results.json").read_text())
    (tmp_path / "job" / "results.json").unlink()
    shutil.rmtree(tmp_path / "job" / "network_02_seed_0")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "job").rglob("last.ckpt")}
    assert len(kept) == 4
    capsys.readouterr()
    assert main(["run", "-c", config(tmp_path, repeats=[0, 5], count=3, seeds=[0])]) == 0
    after = json.loads((tmp_path / "job" / "results.json").read_text())
    for key in ("rows", "networks", "spearman"):
        assert after[key] == before[key]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize(
    "place",
    [
        "ranks.svg",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in ("search_seed_5/candidates.json", "network_01_seed_0/test.json")
        ),
    ],
)
def test_a_full_disk_is_one_sentence_and_the_job_goes_on_afterwards(place, validated, tmp_path, monkeypatch, capsys):
    """Whether a stage writes or the job, with its own writer or that of another library."""
    shutil.copytree(validated, tmp_path / "job")
    before = (tmp_path / "job" / "results.json").read_text()
    given = config(tmp_path, repeats=[0, 5], count=3, seeds=[0])
    order = ["search_seed_0", "search_seed_5", *(f"network_0{number}_seed_0" for number in (1, 2, 3))]
    gone = order[order.index(place.partition("/")[0]) :] if "/" in place else []
    for folder in (tmp_path / "job").iterdir():
        if folder.is_dir() and folder.name in gone:
            shutil.rmtree(folder)
    full = OSError(28, "No space left on device")
    owner, name = (Figure, "savefig") if place == "ranks.svg" else (os, "replace")
    write = getattr(owner, name)

    def limited(first, path, *rest, **others):
        if str(path).endswith(place):
            raise full
        return write(first, path, *rest, **others)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, limited)
        assert main(["run", "-c", given]) == 2
    said = capsys.readouterr().err
    assert f"lit-nas run: There is no space left for the folder '{tmp_path / 'job'}'. What was finished is kept" in said
    assert main(["run", "-c", given]) == 0
    again, first = json.loads((tmp_path / "job" / "results.json").read_text()), json.loads(before)
    assert (again["rows"], again["networks"]) == (first["rows"], first["networks"])


def history(*rows):
    """Of searches with these probabilities in both rows, under the seeds 0, 1 and so on."""
    genotype = Choices.of([left(*rows[0])]).genotype((0, 0), held_out={"rule": 1}, method="FaDE")
    return History(
        tuple(
            Found(f"search_seed_{seed}", None, {}, genotype, left(*each), {}, {}, None)
            for seed, each in enumerate(rows)
        )
    )


def test_networks_may_be_picked_by_hand():
    networks = [["dag1", "dag2_01"], ["dag2_01", "dag1"]]
    given = RankValidation(repeats=[0, 1], networks=networks, seeds=[3, 4])
    found = history([(0.2, 0.3, 0.5), (0.6, 0.4)], [(0.4, 0.1, 0.5), (0.8, 0.2)])
    stages = given.propose(found).stages
    assert [stage.name for stage in stages] == [f"network_0{n}_seed_{seed}" for n in (1, 2) for seed in (3, 4)]
    assert [stage.changes["seed_everything"] for stage in stages] == [3, 4, 3, 4]
    genotypes = [Genotype.from_dict(stage.changes["model.genotype"]) for stage in stages]
    assert [[cell.edges[0].operation for cell in genotype.cells.values()] for genotype in genotypes[::2]] == networks
    assert all(genotype.meta == {"held_out": {"rule": 1}} for genotype in genotypes)
    assert {stage.divides_as for stage in stages} == {"search_seed_0"}
    with pytest.raises(ValueError, match=r"job\.networks: The row 'row_1' has no candidate 'dag9'"):
        replace(given, networks=[["dag9", "dag1"], ["dag1", "dag1"]]).propose(found)


def test_searches_come_first_and_a_retraining_is_known_beforehand():
    given = RankValidation(repeats=[7, 8])
    assert [stage.name for stage in given.propose(History()).stages] == ["search_seed_7", "search_seed_8"]
    assert [stage.name for stage in given.outline()] == ["search_seed_7", "search_seed_8", "network_01_seed_0"]


def test_a_search_that_leaves_no_candidates_is_named():
    (found,) = history([(1.0,), (1.0,)]).stages
    with pytest.raises(ValueError, match=r"`search_seed_0` has left no candidates\.json.*write `callbacks\+`"):
        RankValidation(repeats=[0]).propose(History((replace(found, candidates=None),)))


def test_what_cannot_be_computed_is_said():
    found = {"coefficient": None, "p_value": None, "low": None, "high": None, "pairs": 3}
    assert describe_spearman(found) == "undefined, for all accuracies or all ranks are equal (3 networks)"
    found = {"coefficient": 0.8, "p_value": 0.0004, "low": 0.41, "high": 0.95, "pairs": 16}
    assert describe_spearman(found) == "0.80 (95 % interval 0.41 to 0.95, p = 0.0004, 16 networks)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"networks": [["dag1", "dag1"], ["dag1", "dag2"]]},
            "lit-nas run: job.networks: The row 'row_2' has no candidate 'dag2'. It has: dag1, dag2_01, dag3_01_02_12.",
        ),
        (
            {"networks": [["dag1"], ["dag2_01"]]},
            "job.networks: A network needs one candidate for each of the rows",
        ),
        ({"count": 10}, "job.count: There are 9 networks, so that 10 cannot be spread over their ranks."),
    ],
)
def test_networks_that_the_rows_lack_are_refused_before_any_search(arguments, message, tmp_path, capsys):
    assert main(["run", "-c", config(tmp_path, **arguments)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_a_disconnected_dag_is_named_with_its_key(tmp_path, capsys):
    assert main(["run", "-c", config(tmp_path), "--search.model.space.dags", "[dag1, dag3_01]"]) == 2
    assert "space.dags: 'dag3_01' names no DAG: its 3 vertices are not all connected" in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repeats": []}, r"job\.repeats must hold at least one seed"),
        ({"seeds": [1, 1]}, r"job\.seeds must hold at least one seed, and none of them twice"),
        ({"repeats": [0, -1]}, r"job\.repeats must hold whole numbers that are not negative, not \[0, -1\]"),
        ({"seeds": ["a"]}, r"job\.seeds must hold whole numbers"),
        ({"count": 1}, "needs at least 2 networks"),
        ({"networks": [["dag1"]]}, "needs at least 2 networks"),
        ({"networks": ["dag1", "dag2_01"]}, r"job\.networks must be a list of networks"),
        ({"networks": [["dag1"], ["dag1"]]}, r"job\.networks names a network twice"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RankValidation(**arguments)
