"""A job that finds its groups itself, as one command; what it refuses, and that it goes on after a kill."""

import json

import pytest
import yaml

from lit_nas.cli import main
from lit_nas.correlation import Clustering, OperatorCorrelation
from lit_nas.jobs import ClusteredSearch, FileOf, Found, History
from lit_nas.search import SearchModule
from lit_nas.spaces import STACNAS_S1, STACNAS_S4, load_operator_groups
from tests.cli.test_run import TRAINER, job
from tests.jobs.test_winning_group import ONE_PART
from tests.support.mortal_job import Died

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
SUPERNET = {"model.space.num_cells": 3, "model.space.operations": "S4"}
STAGES = [{"model.space.num_cells": 3}, {"model.space.num_cells": 4}]


def finished(folder, groups=STACNAS_S4):
    (folder / "supernet").mkdir()
    groups.save(folder / "supernet" / "groups.json")
    return History((Found("supernet", folder / "supernet", {}, None, None, {}, {}, None),))


def clustered(tmp_path, stages=STAGES, **arguments):
    space = {"class_path": "DartsSpace", "init_args": {"init_channels": 2, "nodes": 2}}
    optim = {"level": "single", "arch_from_epoch": 0}
    given = {"stages": stages, "supernet": SUPERNET, "images": 12, "clustering": {"count": 3}, **arguments}
    search = {
        "model": {"class_path": "StacNAS", "init_args": {"space": space, "optim": optim}}, "data": ONE_PART,
        "trainer": {**TRAINER, "callbacks": [{"class_path": "WriteGenotype", "init_args": {"picture": None}}]},
    }  # fmt: skip
    return job(tmp_path, job={"class_path": "ClusteredSearch", "init_args": given}, search=search)


def test_the_supernet_comes_first_and_its_groups_decide_what_follows(tmp_path):
    how = OperatorCorrelation("all", exclude=("skip_connect",))
    search = ClusteredSearch(STAGES, SUPERNET, images=50, correlation=how, clustering=Clustering(0.3))
    first = search.propose(History())
    assert (first.name, first.section, first.kind) == ("supernet", "search", "search")
    (callback,) = first.changes["trainer.callbacks+"]
    assert {key: value for key, value in first.changes.items() if key in SUPERNET} == SUPERNET
    assert callback == {
        "class_path": "CorrelateOperators",
        "init_args": {
            "images": 50,
            "correlation": {"edges": "all", "definition": "features", "exclude": ["skip_connect"]},
            "clustering": {"threshold": 0.3, "count": None},
        },
    }
    history = finished(tmp_path)
    second = search.propose(history)
    assert (second.name, second.changes["model.space.operations"]) == (
        "stage1",
        ["skip_connect", "sep_conv_3x3", "none"],
    )
    assert [stage.name for stage in search.outline()] == ["supernet", "stage1", "stage2", "retrain"]
    assert search.outline()[0] == first
    (tmp_path / "supernet" / "groups.json").unlink()
    with pytest.raises(ValueError, match=r"has left no groups\.json: do it again with --redo supernet"):
        search.propose(history)


def test_callbacks_of_the_supernet_stand_beside_that_of_the_job():
    given = {**SUPERNET, "trainer.callbacks+": [{"class_path": "LogAlphas"}]}
    changes = ClusteredSearch(STAGES, given).propose(History()).changes
    assert [each["class_path"] for each in changes["trainer.callbacks+"]] == ["LogAlphas", "CorrelateOperators"]
    assert list(changes)[-1] == "trainer.callbacks+"


def test_what_groups_could_need_of_a_space_is_refused_before_the_supernet(tmp_path, capsys):
    """NAS-Bench-201 has no copies of skip connections, which a group of one would need."""
    space = {"class_path": "NasBench201Space", "init_args": {"init_channels": 2, "cells_per_stage": 1}}
    search = {"model": {"class_path": "StacNAS", "init_args": {"space": space}}, "data": ONE_PART, "trainer": TRAINER}
    supernet = {"model.space.operations": ["skip_connect", "nor_conv_3x3", "nor_conv_1x1", "none"]}
    given = {"stages": [{}, {}], "supernet": supernet, "images": 12, "correlation": {"exclude": ["skip_connect"]}}
    words = {"job": {"class_path": "ClusteredSearch", "init_args": {**given, "skips": 2}}, "search": search}
    assert main(["run", "-c", job(tmp_path, **words)]) == 2
    message = capsys.readouterr().err
    assert "(of the stage `stage2`)" in message
    assert "skip_connect_2" in message
    assert not list(tmp_path.rglob("*.ckpt"))
    outline = ClusteredSearch(**{**given, "correlation": OperatorCorrelation()}, skips=1).outline()
    for stage in outline[1:3]:
        assert stage.changes["model.space.operations"] == supernet["model.space.operations"]


def test_stages_hand_groups_over_as_a_file(tmp_path):
    file = FileOf("supernet", "groups.json")
    with pytest.raises(FileNotFoundError, match=r"The stage `supernet` has left no groups\.json"):
        file.check(tmp_path)
    finished(tmp_path, STACNAS_S1)
    file.check(tmp_path)
    (tmp_path / "supernet" / "groups.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a file of operator groups"):
        file.check(tmp_path)


@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_command_goes_from_a_supernet_to_a_retraining(killed, tmp_path, capsys, monkeypatch):
    config, folder = clustered(tmp_path), tmp_path / "job"
    step = SearchModule.on_train_batch_start

    def die(self, *arguments):
        if self.trainer.default_root_dir.endswith("stage1"):
            raise Died
        step(self, *arguments)

    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(SearchModule, "on_train_batch_start", die)
            with pytest.raises(Died):
                main(["run", "-c", config])
        stamp = (folder / "supernet" / "genotype.json").stat().st_mtime_ns
    assert main(["run", "-c", config]) == 0
    if killed:
        assert (folder / "supernet" / "genotype.json").stat().st_mtime_ns == stamp
    groups = load_operator_groups(folder / "supernet" / "groups.json")
    assert len(groups.keys) == 3
    assert set(groups.operations) == set(STACNAS_S4.operations)
    results = json.loads((folder / "results.json").read_text())
    assert results["groups"] == groups.plain()
    assert list(results["stages"]) == ["supernet", "stage1", "stage2", "retrain"]
    seconds = [results["stages"][name]["cost"]["seconds"] for name in ("supernet", "stage1", "stage2")]
    assert results["search_seconds"] == pytest.approx(sum(seconds))
    spaces = [
        yaml.safe_load((folder / name / "config.yaml").read_text())["model"]["init_args"]["space"]["init_args"]
        for name in ("supernet", "stage1", "stage2")
    ]
    assert spaces[0]["operations"] == "S4"
    assert spaces[1]["operations"] == [*groups.keys, "none"]
    for rows in spaces[2]["candidates"].values():
        for row in rows:
            others = [name for name in row if name not in ("none", "skip_connect_2")]
            assert list(groups.members(others[0])) == others
    assert "groups" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 1}, r"job\.images must be at least 2, not 1\."),
        ({"skips": 9}, r"job\.skips must be between 1 and 3, not 9\."),
        ({"supernet": [3]}, r"job\.supernet must be a mapping of dotted keys .*"),
        ({"supernet": {}}, r"job\.supernet must set model\.space\.operations, .*"),
        (
            {"supernet": {"model.space.operations": ["conv"]}},
            r"Unknown operations \['conv'\] in job\.supernet\.model\.space\.operations\..*",
        ),
        ({"stages": []}, r"job\.stages must be a list .*"),
        ({"stages": [{}]}, r"job\.stages must hold two searches by groups, .* not 1\."),
        (
            {"stages": [{"model.space.operations": ["skip_connect"]}, {}]},
            r"job\.stages sets model\.space\.operations of stage1, which follows from job\.hands_over: leave it out\.",
        ),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ClusteredSearch(**{"stages": STAGES, "supernet": SUPERNET, **arguments})


def test_a_job_that_cannot_group_is_refused_before_its_first_step(tmp_path, capsys):
    config = clustered(tmp_path, images=41)
    assert main(["run", "-c", config]) == 2
    assert "41 training images were asked for" in capsys.readouterr().err
    assert not list((tmp_path / "job").rglob("*.ckpt"))
