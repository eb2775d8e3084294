"""The layout of the workspace, as it would be sent to the server."""

import json
import re
import sys

import pytest

from lit_nas.cli import main
from lit_nas.trackers.workspace import build_workspace


@pytest.mark.filterwarnings("ignore")  # of a package that this one is built on
def test_the_layout_has_a_panel_for_each_edge_that_finds_its_operations_and_no_others():
    pytest.importorskip("wandb_workspaces")
    view = build_workspace("me", "project", {"normal": ["0-2", "1-2"], "reduce": ["0-2"]})._to_model()
    spec = json.loads(view.spec.model_dump_json(by_alias=True))
    sections = spec["section"]["panelBankConfig"]["sections"]
    named = {section["name"]: section["panels"] for section in sections}
    configs = [panel["config"] for panel in named["mixing weights, normal cell"]]
    assert [config["chartTitle"] for config in configs] == ["edge 0-2", "edge 1-2"]
    names = [f"alpha/{cell}/{edge}/{o}" for cell in ("normal", "reduce") for edge in ("0-2", "1-2") for o in ("a", "b")]
    matched = [name for name in names if re.search(configs[0]["metricRegex"], name)]
    assert matched == ["alpha/normal/0-2/a", "alpha/normal/0-2/b"]
    assert {config["xAxis"] for config in configs} == {"epoch"}
    assert [panel["config"]["mediaKeys"] for panel in named["cells"]] == [
        ["cell"], ["heat_map/normal"], ["heat_map/reduce"]
    ]  # fmt: skip


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ValueError, match=r"pip install 'lit-nas\[workspace\]'"):
        build_workspace("me", "project", {})


def test_the_command_takes_the_edges_of_a_search(tmp_path, monkeypatch, capsys):
    saved = []
    monkeypatch.setattr("lit_nas.cli.workspace.save_workspace", lambda *given: saved.append(given) or "https://there")
    assert main(["workspace", str(tmp_path), "--entity", "me"]) == 2
    assert "name the folder of a search that has finished an epoch" in capsys.readouterr().err
    (tmp_path / "alphas.csv").write_text(
        "epoch,cell,source,target,operation,probability\n0,normal,0,2,a,0.5\n0,normal,0,2,b,0.5\n0,normal,1,2,a,1\n"
    )
    assert main(["workspace", str(tmp_path), "--entity", "me", "--project", "p"]) == 0
    assert saved == [("me", "p", {"normal": ["0-2", "1-2"]}, "lit-nas")]
    assert capsys.readouterr().out == "https://there\n"
