"""Mixing weights of an edge and the networks that have its candidates."""

import json

import numpy as np
import pytest
import yaml

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from lit_nas.jobs import AlphaCorrelation, Candidates, EdgeCandidates, History
from lit_nas.report.alpha_correlation import alpha_correlation_table, pearson
from tests.cli.test_run import DATA, TRAINER, job

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
ONE_PART = {**DATA, "init_args": {**DATA["init_args"], "split": "all"}}
OPERATIONS = ("skip_connect", "skip_connect_2", "sep_conv_3x3", "none")


def search(folder, *edges):
    """Files of a finished search; by default one whose first edge has two operations, one of them twice."""
    edges = edges or (EdgeCandidates(0, 2, OPERATIONS, (0.2, 0.1, 0.4, 0.3)),)
    Candidates("darts", {"normal": edges}).save(folder / "candidates.json")
    load_genotype("DARTS_V2").save(folder / "genotype.json")
    return {"genotype": str(folder / "genotype.json"), "candidates": str(folder / "candidates.json")}


@pytest.fixture(scope="module")
def correlated(tmp_path_factory):
    """Folder of a finished job."""
    folder = tmp_path_factory.mktemp("correlation")
    model = {"class_path": "RetrainModule", "init_args": {"init_channels": 4, "num_cells": 3}}
    config = job(
        folder,
        job={"class_path": "AlphaCorrelation", "init_args": search(folder)},
        retrain={"model": model, "data": ONE_PART, "trainer": TRAINER},
    )
    content = yaml.safe_load((folder / "job.yaml").read_text())
    del content["search"]  # it has no search
    (folder / "job.yaml").write_text(yaml.safe_dump(content))
    assert main(["run", "-c", config]) == 0
    return folder / "job"


def test_each_candidate_is_trained_in_the_place_of_the_chosen_one(correlated):
    results = json.loads((correlated / "results.json").read_text())
    rows = results["candidates"]
    assert [(row["operation"], row["chosen"]) for row in rows] == [("skip_connect", False), ("sep_conv_3x3", True)]
    assert [row["alpha"] for row in rows] == pytest.approx([0.3, 0.4])
    for row in rows:
        folder = correlated / f"{row['operation']}_seed_0"
        assert row["test_accuracy"] == [json.loads((folder / "test.json").read_text())["test/accuracy"]]
        genotype = load_genotype(folder / "checkpoints" / "last.ckpt")
        published = load_genotype("DARTS_V2")
        assert genotype.cells["reduce"] == published.cells["reduce"]
        for found, before in zip(genotype.cells["normal"].edges, published.cells["normal"].edges, strict=True):
            assert found[1:] == before[1:]
            assert found.operation == (row["operation"] if found[1:] == (0, 2) else before.operation)
    values = [row["test_accuracy"][0] for row in rows]
    wanted = None if values[0] == values[1] else pytest.approx(float(np.sign(values[1] - values[0])))
    assert results["coefficient"] == wanted
    assert (correlated / "alpha_correlation.md").read_text() == alpha_correlation_table(results)
    assert "sep_conv_3x3" in (correlated / "alpha_correlation.md").read_text()
    assert (correlated / "alpha_correlation.svg").read_text().count('id="line2d') > 4


def test_the_coefficient_is_that_of_pearson():
    xs, ys = np.random.default_rng(0).normal(size=(2, 20))
    assert pearson(xs.tolist(), ys.tolist()) == pytest.approx(np.corrcoef(xs, ys)[0, 1], rel=1e-12)
    assert pearson([1.0, 2.0], [3.0, 3.0]) is None
    assert pearson([1.0], [3.0]) is None


def test_every_network_is_trained_with_every_seed(tmp_path):
    stages = AlphaCorrelation(**search(tmp_path), seeds=[3, 5]).propose(History()).stages
    assert [(stage.name, stage.changes["seed_everything"]) for stage in stages] == [
        ("skip_connect_seed_3", 3), ("skip_connect_seed_5", 5), ("sep_conv_3x3_seed_3", 3), ("sep_conv_3x3_seed_5", 5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge": [0]}, "job.edge must be a pair of states"),
        ({"edge": "02"}, "job.edge must be a pair of states"),
        ({"seeds": []}, "job.seeds must hold at least one seed"),
        ({"seeds": [1, 1]}, "none of them twice"),
        ({"cell": "reduce"}, r"has no edge 0 -> 2 in a cell 'reduce'"),
        ({"edge": [1, 3]}, r"candidates.json' has no edge 1 -> 3 in a cell 'normal'"),
        ({"genotype": "nothing"}, "nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        AlphaCorrelation(**{**search(tmp_path), **change}).outline()


def test_an_edge_that_the_genotype_lacks_or_with_one_candidate_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"genotype.json' has no edge 3 -> 4"):
        AlphaCorrelation(**search(tmp_path, EdgeCandidates(3, 4, OPERATIONS, (0.25,) * 4)), edge=(3, 4)).outline()
    given = search(tmp_path, EdgeCandidates(1, 2, ("none", "skip_connect"), (0.5, 0.5)))
    with pytest.raises(ValueError, match=r"has the candidates \['skip_connect'\] .*a correlation needs two at least"):
        AlphaCorrelation(**given, edge=(1, 2)).outline()
