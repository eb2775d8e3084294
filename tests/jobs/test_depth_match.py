"""Depth match: every network is measured, and the nearest ones are proposed."""

import csv
import json
from pathlib import Path

import pytest

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from lit_nas.jobs import DepthMatch, Found, History
from lit_nas.optim import GradientConfusion
from lit_nas.report.depth_match import depth_match_table, nearest
from tests.cli.test_run import DATA, TRAINER, job

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
ONE_PART = {**DATA, "init_args": {**DATA["init_args"], "split": "all"}}


def match(tmp_path, **arguments):
    """A job of a target and two searches of one epoch."""
    space = {"class_path": "DartsSpace", "init_args": {"nodes": 2}}
    model = {"class_path": "RetrainModule", "init_args": {"init_channels": 4, "num_cells": 4}}
    search = {"model": {"class_path": "StacNAS", "init_args": {"space": space}}, "data": ONE_PART, "trainer": TRAINER}
    given = {"candidates": [[2, 3], [4, 3]], "propose_count": 1, "estimator": {"draws": 1, "batches": 2}, **arguments}
    return job(
        tmp_path,
        job={"class_path": "DepthMatch", "init_args": given},
        search=search,
        retrain={"model": model, "data": ONE_PART, "trainer": TRAINER},
    )


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    """Folder of a finished job."""
    folder = tmp_path_factory.mktemp("match")
    assert main(["match-depth", "-c", match(folder), "--target", "4x3", "--genotype", "DARTS_V1"]) == 0
    return folder / "job"


def test_each_network_is_measured_and_the_nearest_one_is_proposed(matched):
    results = json.loads((matched / "results.json").read_text())
    names = ["target", "search_2x3", "search_4x3"]
    rows = [results["target"], *results["candidates"]]
    assert [row["name"] for row in rows] == names
    assert [(row["init_channels"], row["num_cells"]) for row in rows] == [(4, 3), (2, 3), (4, 3)]
    for row in rows:
        (measured,) = json.loads((matched / row["name"] / "confusion.json").read_text())["epochs"]
        assert (row["weights"], row["confusion"]) == (measured["weights"], measured["per_mebi"])
        assert row["difference"] == measured["per_mebi"] - results["target"]["confusion"]
    best = min(results["candidates"], key=lambda row: abs(row["difference"]))
    assert results["proposed"] == [best["name"]]
    found = load_genotype(matched / "search_2x3" / "genotype.json").cells["normal"]
    assert rows[1]["skips"] == sum(edge.operation == "skip_connect" for edge in found.edges)
    assert rows[0]["skips"] is None


def test_page_and_file_list_them(matched):
    results = json.loads((matched / "results.json").read_text())
    page = (matched / "depth_match.md").read_text()
    assert page == depth_match_table(results)
    assert page.count("**") == 2
    assert f"**{results['proposed'][0]}**" in page
    rows = list(csv.DictReader((matched / "depth_match.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["target", "search_2x3", "search_4x3"]
    assert [float(row["confusion"]) for row in rows[1:]] == [row["confusion"] for row in results["candidates"]]


def test_the_nearest_ones():
    rows = [{"name": name, "difference": value} for name, value in (("a", 0.3), ("b", -0.1), ("c", 0.1), ("d", -0.5))]
    assert nearest(rows, 3) == ["b", "c", "a"]


def test_all_networks_are_proposed_at_once():
    whole = DepthMatch()
    stages = whole.propose(History()).stages
    assert [stage.name for stage in stages] == [
        "target", "search_32x17", "search_16x14", "search_10x11", "search_16x5", "search_16x17", "search_16x20"
    ]  # fmt: skip
    assert stages[2].changes == {"model.space.init_channels": 16, "model.space.num_cells": 14}
    assert whole.propose(History((Found("target", Path("."), {}, None, None, {}, {}, None),))) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": []}, "job.candidates must be a list of pairs"),
        ({"candidates": [[16]]}, "job.candidates must be a list of pairs"),
        ({"candidates": [[16, "5"]]}, "job.candidates must be a list of pairs"),
        ({"candidates": [[16, 5], [16, 5]]}, "job.candidates names a pair twice"),
        ({"propose_count": 0}, "job.propose_count must be at least 1"),
        ({"estimator": {"draws": 1}}, "job.estimator must be a GradientConfusion"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        DepthMatch(**change)
    assert DepthMatch(estimator=GradientConfusion(2)).estimator.draws == 2


def test_a_stage_that_was_not_measured_is_named(tmp_path):
    configuration = {"model": {"init_args": {"network": None, "init_channels": 4, "num_cells": 3}}}
    bare = Found("target", tmp_path, configuration, None, None, {}, {}, None)
    with pytest.raises(ValueError, match=r"The stage `target` has left no confusion\.json"):
        DepthMatch().results(History((bare,)))


def test_what_makes_no_sense_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):  # of the parser
        main(["match-depth", "-c", match(tmp_path), "--candidates", "16"])
    assert "'16' is not a pair of channels and cells such as 16x14" in capsys.readouterr().err
    assert main(["match-depth", "-c", match(tmp_path), "--genotype", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_another_job_is_refused(tmp_path, capsys):
    assert main(["match-depth", "-c", job(tmp_path)]) == 2
    assert "has the job SearchThenRetrain, not DepthMatch" in capsys.readouterr().err
