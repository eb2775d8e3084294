"""StacNAS as a job: key operators first, members of the best group of each edge then; what a kill in between leaves."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from lit_nas.cli import main
from lit_nas.jobs import Candidates, EdgeCandidates, Found, History, StagedSearch, WinningGroup, load_candidates
from lit_nas.spaces import OPERATOR_GROUPS, STACNAS_S1, STACNAS_S3
from tests.cli.test_run import DATA, TRAINER, job
from tests.jobs.test_staged_search import state
from tests.support.mortal_job import Died, MortalJob
from tests.support.resume_job import differences

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
STAGES = [{"model.space.num_cells": 3}, {"model.space.num_cells": 4}]
ONE_PART = {**DATA, "init_args": {**DATA["init_args"], "split": "all"}}


def found(rows, operations=(*STACNAS_S1.keys, "none")):
    """A first search whose edges have these probabilities."""
    edges = tuple(EdgeCandidates(0, 1 + place, operations, values) for place, values in enumerate(rows))
    return Found("stage1", Path("stage1"), {}, None, Candidates("darts", {"normal": edges}), {}, {}, None)


ROWS = ((0.3, 0.2, 0.05, 0.05, 0.4), (0.1, 0.2, 0.1, 0.1, 0.5), (0.0, 0.0, 0.3, 0.3, 0.4), (0.1, 0.1, 0.1, 0.6, 0.1))


def test_each_edge_gets_the_members_of_its_winner_and_none():
    rule = WinningGroup()
    assert rule.settings(0) == {"model.space.operations": [*STACNAS_S1.keys, "none"]}
    assert rule.settings(1) == {"model.space.operations": [*STACNAS_S1.operations, "skip_connect_2", "none"]}
    assert rule.changes(found(ROWS)) == {
        "model.space.candidates": {
            "normal": [
                ["max_pool_3x3", "avg_pool_3x3", "none"],
                ["skip_connect", "skip_connect_2", "none"],
                ["sep_conv_3x3", "sep_conv_5x5", "none"],  # the first of equals
                ["dil_conv_3x3", "dil_conv_5x5", "none"],
            ]
        }
    }


@pytest.mark.parametrize(
    ("skips", "row"),
    [
        (1, ["skip_connect", "none"]),
        (2, ["skip_connect", "skip_connect_2", "none"]),
        (3, ["skip_connect", "skip_connect_2", "skip_connect_3", "none"]),
    ],
)
def test_skip_connections_alone_in_their_group_are_doubled(skips, row):
    rule = WinningGroup(skips=skips)
    assert rule.changes(found([ROWS[1]]))["model.space.candidates"]["normal"] == [row]
    assert [name for name in rule.settings(1)["model.space.operations"] if "skip" in name] == row[:-1]


@pytest.mark.parametrize("name", OPERATOR_GROUPS)
def test_candidates_are_operations_of_the_second_search(name):
    groups = OPERATOR_GROUPS[name]
    operations = (*groups.keys, "none")
    rows = [[0.5 if place == best else 0.1 for place in range(len(operations))] for best in range(len(groups.keys))]
    rule = WinningGroup(name)
    rows = rule.changes(found(rows, operations))["model.space.candidates"]["normal"]
    for key, row in zip(groups.keys, rows, strict=True):
        assert [each for each in row[:-1] if each != "skip_connect_2"] == list(groups.members(key))
        assert set(row) <= set(rule.settings(1)["model.space.operations"])


def test_groups_of_more_members_and_groups_of_one_are_not_doubled():
    row = (0.9, 0.0, 0.1, 0.0, 0.0)
    assert WinningGroup("S3").changes(found([row]))["model.space.candidates"]["normal"] == [["max_pool_3x3", "none"]]
    two = found([(0.9, 0.1, 0.0)], ("skip_connect", "sep_conv_3x3", "none"))
    wide = WinningGroup("S2").changes(two)["model.space.candidates"]["normal"][0]
    assert len(wide) == 6
    assert "skip_connect_2" not in wide
    assert STACNAS_S3.members("sep_conv_7x7") == ("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7")


def test_pruned_edges_stay_pruned_and_strangers_are_refused():
    rule = WinningGroup()
    bare = [EdgeCandidates(0, 1, (), ()), EdgeCandidates(0, 2, ("none",), (1.0,))]
    before = Found("stage1", Path("."), {}, None, Candidates("darts", {"normal": tuple(bare)}), {}, {}, None)
    assert rule.changes(before)["model.space.candidates"]["normal"] == [[], ["none"]]
    with pytest.raises(ValueError, match="0 -> 1 chose 'conv_7x1_1x7', which belongs to none of the groups"):
        rule.changes(found([(0.9, 0.1)], ("conv_7x1_1x7", "none")))
    with pytest.raises(ValueError, match="The stage `stage1` has left no candidates"):
        rule.changes(Found("stage1", Path("."), {}, None, None, {}, {}, None))


def test_wrong_arguments(tmp_path):
    for skips in (0, 4):
        with pytest.raises(ValueError, match=f"job.hands_over.skips must be between 1 and 3, not {skips}"):
            WinningGroup(skips=skips)
    with pytest.raises(FileNotFoundError, match="no file of operator groups"):
        WinningGroup(str(tmp_path / "groups.json"))
    with pytest.raises(ValueError, match=r"^job\.hands_over must be a HandOver, .* not 'WinningGroup'\.$"):
        StagedSearch(({}, {}), "WinningGroup")


@pytest.mark.parametrize("count", [1, 3])
def test_groups_need_two_searches(count):
    with pytest.raises(ValueError, match=f"job.stages must hold two searches by groups, .* not {count}"):
        StagedSearch(({},) * count, WinningGroup())


INNER = {"class_path": "DartsSpace", "init_args": {"operations": ["none"]}}


@pytest.mark.parametrize(
    ("number", "stage", "key"),
    [
        (1, {"model.space.operations": ["none"]}, "operations"),
        (2, {"model.space.operations": ["none"]}, "operations"),
        (2, {"model.init_args.space.init_args.operations": ["none"]}, "operations"),
        (2, {"model.space.operations+": "none"}, "operations"),
        (2, {"model.space": INNER}, "operations"),
        (2, {"model": {"class_path": "StacNAS", "init_args": {"space": INNER}}}, "operations"),
        (2, {"model.space.candidates": "candidates.json"}, "candidates"),
        (2, {"model.space.init_args.candidates": "candidates.json"}, "candidates"),
    ],
)
def test_what_the_rule_decides_is_not_set_by_a_stage(number, stage, key):
    stages = [{}, {}]
    stages[number - 1] = stage
    message = f"job.stages sets model.space.{key} of stage{number}, which follows from job.hands_over: leave it out."
    with pytest.raises(ValueError, match=f"^{message}$"):
        StagedSearch(stages, WinningGroup())


def test_a_stage_may_set_all_else_and_the_first_one_its_candidates():
    space = {"class_path": "DartsSpace", "init_args": {"num_cells": 5}}
    whole = StagedSearch([{"model.space.candidates": "candidates.json"}, {"model.space": space}], WinningGroup())
    assert list(whole.outline()[1].changes) == ["model.space", "model.space.operations"]  # what comes last wins
    with pytest.raises(ValueError, match=r"job.stages sets model.space.candidates of stage2"):
        StagedSearch([{}, {"model.space.candidates": "candidates.json"}])


def test_the_second_search_is_known_but_for_its_candidates():
    whole = StagedSearch(STAGES, WinningGroup("S5"))
    first, second, _ = whole.outline()
    assert first.changes == {"model.space.num_cells": 3, **WinningGroup("S5").settings(0)}
    assert second.changes == {"model.space.num_cells": 4, **WinningGroup("S5").settings(1)}
    proposed = whole.propose(History((found([(0.1, 0.8, 0.1)], ("skip_connect", "sep_conv_3x3", "none")),)))
    assert proposed.changes == {**second.changes, "model.space.candidates": {"normal": [["sep_conv_3x3", "none"]]}}


def hierarchical(tmp_path, **top):
    """A job of StacNAS with groups from a file, and a retraining with BatchNorm after pooling."""
    STACNAS_S1.save(tmp_path / "groups.json")
    space = {"class_path": "DartsSpace", "init_args": {"init_channels": 2, "nodes": 2}}
    optim = {"level": "single", "arch": {"class_path": "DartsAdam", "init_args": {"lr": 0.05}}}
    search = {
        "model": {"class_path": "StacNAS", "init_args": {"space": space, "optim": optim}}, "data": ONE_PART,
        "trainer": {**TRAINER, "max_epochs": 2,
                    "callbacks": [{"class_path": "WriteGenotype", "init_args": {"picture": None}}]},
    }  # fmt: skip
    network = {"class_path": "CIFARNetwork", "init_args": {"pool_norm": True}}
    model = {"network": network, "init_channels": 4, "num_cells": 3}
    retrain = {"model": {"class_path": "RetrainModule", "init_args": model}, "data": ONE_PART, "trainer": TRAINER}
    rule = {"class_path": "WinningGroup", "init_args": {"groups": str(tmp_path / "groups.json")}}
    stages = {"class_path": "StagedSearch", "init_args": {"stages": STAGES, "hands_over": rule}}
    return job(tmp_path, **{"job": stages, "search": search, "retrain": retrain, **top})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of an undisturbed job."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["run", "-c", hierarchical(folder)]) == 0
    return folder / "job"


def test_the_second_search_is_one_among_members_of_what_has_won(whole):
    first, second = (load_candidates(whole / name / "candidates.json") for name in ("stage1", "stage2"))
    winners = set()
    for name, edges in first.cells.items():
        for before, after in zip(edges, second.cells[name], strict=True):
            assert before.operations == (*STACNAS_S1.keys, "none")
            values = dict(zip(before.operations[:-1], before.probabilities[:-1], strict=True))
            winners.add(best := max(values, key=values.get))
            assert len(after.operations) == 3
            assert set(after.operations) - {"skip_connect_2", "none"} == set(STACNAS_S1.members(best))
    assert len(winners) > 1
    results = json.loads((whole / "results.json").read_text())
    assert results["genotype"] == json.loads((whole / "stage2" / "genotype.json").read_text())
    cells = results["genotype"]["cells"].values()
    named = {operation for cell in cells for node in cell["nodes"] for operation, _ in node}
    assert not named & {"none", "skip_connect_2"}
    settings = yaml.safe_load((whole / "stage2" / "config.yaml").read_text())["model"]["init_args"]
    assert settings["space"]["init_args"]["num_cells"] == 4
    checkpoint = torch.load(whole / "stage2" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["state_dict"]["architecture.logits.normal"].shape == (5, 9)


@pytest.mark.parametrize(
    ("at", "rest"),
    [
        (4, 6),  # between the stages
        pytest.param(2, 8, marks=pytest.mark.slow),  # in the second epoch of the first stage
        pytest.param(6, 4, marks=pytest.mark.slow),  # in the second epoch of the second stage
        pytest.param(8, 2, marks=pytest.mark.slow),  # before the retraining
    ],
)
def test_a_job_that_dies_in_or_between_stages_goes_on_exactly(at, rest, whole, tmp_path, monkeypatch):
    """Each search has four steps, the retraining two."""
    job = MortalJob(hierarchical(tmp_path), monkeypatch)
    with pytest.raises(Died):
        job.run(dies_at=at)
    assert job.run() == 0
    assert job.steps == rest
    assert differences(state(whole), state(tmp_path / "job")) == []


def test_what_the_space_of_the_second_search_lacks_is_refused_before_the_first_one(tmp_path, capsys):
    """NAS-Bench-201 has no copies of skip connections."""
    groups = {"skip_connect": ["skip_connect"], "nor_conv_3x3": ["nor_conv_3x3", "nor_conv_1x1"]}
    rule = {"class_path": "WinningGroup", "init_args": {"groups": groups}}
    stages = {"class_path": "StagedSearch", "init_args": {"stages": [{}, {}], "hands_over": rule}}
    space = {"class_path": "NasBench201Space", "init_args": {"init_channels": 2, "cells_per_stage": 1}}
    search = {"model": {"class_path": "StacNAS", "init_args": {"space": space}}, "data": ONE_PART, "trainer": TRAINER}
    assert main(["run", "-c", hierarchical(tmp_path, job=stages, search=search)]) == 2
    assert "skip_connect_2" in capsys.readouterr().err
    assert not (tmp_path / "job" / "stage1" / "checkpoints").exists()
