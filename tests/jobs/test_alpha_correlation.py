"""Mixing weights of an edge and the networks that have its candidates."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from lit_nas.jobs import AlphaCorrelation, Candidates, EdgeCandidates, Found, History
from lit_nas.report.alpha_correlation import alpha_correlation_table, pearson
from tests.cli.test_run import DATA, TRAINER, job

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
ONE_PART = {**DATA, "init_args": {**DATA["init_args"], "split": "all"}}
OPERATIONS = ("skip_connect", "skip_connect_2", "sep_conv_3x3", "max_pool_3x3", "none")


def search(folder, *edges):
    """Files of a finished search; by default one whose first edge has three operations, one of them twice."""
    edges = edges or (EdgeCandidates(0, 2, OPERATIONS, (0.15, 0.1, 0.4, 0.05, 0.3)),)
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
    assert [(row["operation"], row["chosen"]) for row in rows] == [
        ("skip_connect", False), ("sep_conv_3x3", True), ("max_pool_3x3", False)
    ]  # fmt: skip
    assert [row["alpha"] for row in rows] == pytest.approx([0.25, 0.4, 0.05])
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
    wanted = None if len(set(values)) == 1 else pytest.approx(np.corrcoef([0.25, 0.4, 0.05], values)[0, 1])
    assert results["coefficient"] == wanted
    assert (correlated / "alpha_correlation.md").read_text() == alpha_correlation_table(results)
    assert "sep_conv_3x3" in (correlated / "alpha_correlation.md").read_text()
    assert (correlated / "alpha_correlation.svg").read_text().count('id="line2d') > 4


def test_the_coefficient_is_that_of_pearson():
    xs, ys = np.random.default_rng(0).normal(size=(2, 20))
    assert pearson(xs.tolist(), ys.tolist()) == pytest.approx(np.corrcoef(xs, ys)[0, 1], rel=1e-12)
    assert pearson([1.0, 2.0], [3.0, 3.0]) is None
    assert pearson([1.0], [3.0]) is None


def test_the_coefficient_of_three_candidates_is_that_of_their_mean_accuracies(tmp_path):
    whole = AlphaCorrelation(**search(tmp_path), seeds=[0, 1])
    scores = {"skip_connect": (0.91, 0.93), "sep_conv_3x3": (0.97, 0.96), "max_pool_3x3": (0.9, 0.95)}
    found = [
        Found(f"{name}_seed_{seed}", tmp_path, {}, None, None, {"test/accuracy": value}, {}, None)
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]
    wanted = np.corrcoef([0.25, 0.4, 0.05], [0.92, 0.965, 0.925])[0, 1]
    assert whole.results(History(tuple(found)))["coefficient"] == pytest.approx(wanted, rel=1e-9)
    assert 0.1 < abs(wanted) < 0.95


def two_stages(tmp_path, chosen="sep_conv_5x5", second=("sep_conv_3x3", "sep_conv_5x5", "none")):
    """Files of both stages of a search by groups, whose first edge has chosen a member that is no key."""
    files = []
    for number, (names, values) in enumerate(((OPERATIONS, (0.1, 0.0, 0.4, 0.2, 0.3)), (second, (0.15, 0.6, 0.25)))):
        files.append(str(tmp_path / f"stage{number + 1}.json"))
        Candidates("darts", {"normal": (EdgeCandidates(0, 2, names, values),)}).save(Path(files[-1]))
    genotype = load_genotype("DARTS_V2").to_dict()
    (node,) = (node for node in genotype["cells"]["normal"]["nodes"][:1])
    node[[source for _, source in node].index(0)][0] = chosen
    (tmp_path / "genotype.json").write_text(json.dumps(genotype))
    return {"genotype": str(tmp_path / "genotype.json"), "candidates": files}


def test_members_of_the_best_group_share_its_weight(tmp_path):
    given = two_stages(tmp_path)
    whole = AlphaCorrelation(**given)
    # 0.4 is divided as 0.15 to 0.6
    assert whole.alphas == pytest.approx(
        {"skip_connect": 0.1, "max_pool_3x3": 0.2, "sep_conv_3x3": 0.08, "sep_conv_5x5": 0.32}
    )
    names = [stage.name for stage in whole.outline()]
    assert names == ["skip_connect_seed_0", "max_pool_3x3_seed_0", "sep_conv_3x3_seed_0", "sep_conv_5x5_seed_0"]
    with pytest.raises(ValueError, match=r"has sep_conv_5x5 on .* which is no candidate in .*files of both stages"):
        AlphaCorrelation(**{**given, "candidates": given["candidates"][0]}).outline()
    with pytest.raises(ValueError, match=r"the first one, '.*', has chosen sep_conv_3x3, and the second one"):
        AlphaCorrelation(**two_stages(tmp_path, second=("dil_conv_3x3", "dil_conv_5x5", "none"))).outline()
    with pytest.raises(ValueError, match=r"job.candidates must be a file, or the two files"):
        AlphaCorrelation(**{**given, "candidates": given["candidates"] * 2})


def test_every_network_is_trained_with_every_seed(tmp_path):
    stages = AlphaCorrelation(**search(tmp_path), seeds=[3, 5]).propose(History()).stages
    assert [(stage.name, stage.changes["seed_everything"]) for stage in stages] == [
        ("skip_connect_seed_3", 3), ("skip_connect_seed_5", 5), ("sep_conv_3x3_seed_3", 3), ("sep_conv_3x3_seed_5", 5),
        ("max_pool_3x3_seed_3", 3), ("max_pool_3x3_seed_5", 5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge": [0]}, "job.edge must be a pair of states"),
        ({"edge": "02"}, "job.edge must be a pair of states"),
        ({"seeds": []}, "job.seeds must hold at least one seed"),
        ({"seeds": [1, 1]}, "none of them twice"),
        ({"seeds": [0, -1]}, r"job.seeds must not be negative, but is \[0, -1\]"),
        ({"cell": "reduce"}, r"does not have the edge 0 -> 2 of the cell 'reduce'"),
        ({"edge": [1, 3]}, r"candidates.json' does not have the edge 1 -> 3 of the cell 'normal'"),
        ({"genotype": "nothing"}, "nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        AlphaCorrelation(**{**search(tmp_path), **change}).outline()


def test_an_edge_that_the_genotype_lacks_or_with_one_candidate_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"genotype.json' has no edge 3 -> 4"):
        AlphaCorrelation(**search(tmp_path, EdgeCandidates(3, 4, OPERATIONS, (0.2,) * 5)), edge=(3, 4)).outline()
    given = search(tmp_path, EdgeCandidates(1, 2, ("none", "skip_connect"), (0.5, 0.5)))
    with pytest.raises(ValueError, match=r"has the candidates \['skip_connect'\] .*a correlation needs two at least"):
        AlphaCorrelation(**given, edge=(1, 2)).outline()
