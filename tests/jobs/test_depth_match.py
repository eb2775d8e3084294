"""Depth match: every network is measured, and the nearest ones are proposed."""

import csv
import json
from pathlib import Path

import pytest
import yaml

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
    assert len(results["proposed"]) == 1
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
    assert nearest(rows, 3, 0.1) == ["b", "c"]
    assert nearest(rows, 3, 0.05) == []


PAPER = {(32, 17): 0.58, (16, 14): 0.56, (10, 11): 0.55, (16, 5): 0.36, (16, 17): 0.87, (16, 20): 1.02}
"""Confusion of the candidates of the paper's table; that of the target is 0.57."""


def of_the_paper(tmp_path, retraining=None, **arguments):
    """Results of a job whose networks have the confusion of the paper, and the job."""
    whole = DepthMatch(**arguments)
    values = {"target": 0.57, **{f"search_{c}x{cells}": value for (c, cells), value in PAPER.items()}}
    retraining = {"network": None, "init_channels": None, "num_cells": None, **(retraining or {})}
    for name, value in values.items():
        (tmp_path / name).mkdir()
        content = {"estimator": {"draws": 10, "batches": 4, "seed": 0}, "epochs": [{"weights": 5, "per_mebi": value}]}
        (tmp_path / name / "confusion.json").write_text(json.dumps(content))
    found = (
        Found(name, tmp_path / name, {"model": {"init_args": retraining}}, None, None, {}, {}, None) for name in values
    )
    return whole.results(History(tuple(found))), whole


@pytest.mark.parametrize(
    ("arguments", "proposed", "bold"),
    [
        # without a tolerance the fourth one is proposed, however far it is
        ({"propose_count": 4}, ["16x14", "32x17", "10x11", "16x5"], "search networks the 4 nearest to it."),
        ({"propose_count": 4, "tolerance": 0.1}, ["16x14", "32x17", "10x11"], "networks within 10 per cent of it."),
        ({"propose_count": 1, "tolerance": 0.1}, ["16x14"], "networks within 10 per cent of it."),
        ({"tolerance": 0.001}, [], "within 0.1 per cent of it, of which there are none."),
    ],
)
def test_a_tolerance_proposes_what_the_paper_proposes(arguments, proposed, bold, tmp_path):
    results, whole = of_the_paper(tmp_path, **arguments)
    assert results["proposed"] == [f"search_{name}" for name in proposed]
    differences = [row["difference"] for row in results["candidates"]]
    assert differences == pytest.approx([0.01, -0.01, -0.02, -0.21, 0.3, 0.45])
    assert bold in depth_match_table(results)
    word = "proposed" if "tolerance" in arguments else "nearest"
    marked = [name for name, text in whole.summary(results).items() if text.endswith(f"({word})")]
    assert set(marked) == set(results["proposed"])


@pytest.mark.parametrize(
    ("retraining", "size"),
    [
        ({}, (36, 20)),
        ({"network": "imagenet"}, (48, 14)),
        ({"network": "imagenet", "num_cells": 9}, (48, 9)),
        ({"network": {"class_path": "lit_nas.networks.CIFARNetwork", "init_args": {"num_cells": 8}}}, (36, 8)),
    ],
)
def test_sizes_of_the_target_are_those_of_its_network(retraining, size, tmp_path):
    target = of_the_paper(tmp_path, retraining)[0]["target"]
    assert (target["init_channels"], target["num_cells"]) == size


def test_another_estimator_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"of the stage `target` was estimated with .*: do it again with --redo target"
    ):
        of_the_paper(tmp_path, estimator=GradientConfusion(3))


def test_all_networks_are_proposed_at_once():
    whole = DepthMatch()
    stages = whole.propose(History()).stages
    assert [stage.name for stage in stages] == [
        "target", "search_32x17", "search_16x14", "search_10x11", "search_16x5", "search_16x17", "search_16x20"
    ]  # fmt: skip
    (callback,) = stages[2].changes["trainer.callbacks+"]
    assert callback["class_path"] == "MeasureConfusion"
    assert {key: value for key, value in stages[2].changes.items() if "model" in key} == {
        "model.space.init_channels": 16, "model.space.num_cells": 14
    }  # fmt: skip
    assert whole.propose(History((Found("target", Path("."), {}, None, None, {}, {}, None),))) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": []}, "job.candidates must be a list of pairs"),
        ({"candidates": [[16]]}, "job.candidates must be a list of pairs"),
        ({"candidates": [[16, "5"]]}, "job.candidates must be a list of pairs"),
        ({"candidates": [[16, 5], [16, 5]]}, "job.candidates names a pair twice"),
        ({"propose_count": 0}, "job.propose_count must be at least 1"),
        ({"propose_count": 7}, "job.propose_count is 7, but job.candidates has only 6"),
        ({"tolerance": 0}, "job.tolerance must be positive or null, not 0"),
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


def test_callbacks_of_the_section_stand_beside_that_of_the_job(tmp_path, capsys):
    command = ["run", "-c", match(tmp_path), "--print_config"]
    assert main([*command, "--search.trainer.callbacks", '[{"class_path": "WriteGenotype"}]']) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    for name, wanted in (("search_2x3", ["WriteGenotype", "MeasureConfusion"]), ("target", ["MeasureConfusion"])):
        classes = [each["class_path"].rpartition(".")[2] for each in printed[name]["trainer"]["callbacks"]]
        assert classes == wanted
    assert main([*command, "--search.trainer.callbacks", '[{"class_path": "MeasureConfusion"}]']) == 2
    assert "trainer.callbacks has MeasureConfusion 2 times" in capsys.readouterr().err


def test_what_makes_no_sense_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):  # of the parser
        main(["match-depth", "-c", match(tmp_path), "--candidates", "16"])
    assert "'16' is not a pair of channels and cells such as 16x14" in capsys.readouterr().err
    assert main(["match-depth", "-c", match(tmp_path), "--genotype", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_another_job_is_refused(tmp_path, capsys):
    assert main(["match-depth", "-c", job(tmp_path)]) == 2
    assert "has the job SearchThenRetrain, not DepthMatch" in capsys.readouterr().err
