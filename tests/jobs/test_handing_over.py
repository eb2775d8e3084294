"""What stages hand over: candidates of each edge, none among them, and weights."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
import yaml

from lit_nas.architecture import Architecture
from lit_nas.cli import main
from lit_nas.cli.stage import begin_with
from lit_nas.derivation import default_deriver
from lit_nas.engine import Fused, Reference
from lit_nas.jobs import Candidates
from lit_nas.methods import DARTS
from lit_nas.networks import SearchNetwork
from lit_nas.record.recorded_module import load_module
from lit_nas.relaxations import Entmax, GumbelSoftmax, Relaxation, Sigmoid, Softmax
from lit_nas.schedules import Constant
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec
from tests.cli.test_run import job
from tests.jobs.narrowing import ROWS

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
NARROWING = {"class_path": "tests.jobs.narrowing.Narrowing"}
SPEC = ImageSpec(channels=3, height=8, width=8, classes=3)
BOTH = {"normal": ROWS, "reduce": ROWS}


def left(folder, space):
    """The file of candidates that a search in a space leaves."""
    path = folder / "candidates.json"
    Candidates.of(Architecture(space, Softmax())).save(path)
    return path


def test_a_space_takes_the_file_that_a_search_leaves(tmp_path):
    space = DartsSpace(nodes=2, candidates=BOTH)
    path = left(tmp_path, space)
    for given in (path, str(path)):
        found = DartsSpace(nodes=2, candidates=given)
        assert found == space
        assert [found.cells["reduce"].names(edge) for edge in range(5)] == [tuple(row) for row in ROWS]
    rows = {"normal": [["none", "skip_connect"], [], *[["nor_conv_3x3"]] * 4]}
    path = left(tmp_path, NasBench201Space(candidates=rows))
    assert NasBench201Space(candidates=path) == NasBench201Space(candidates=rows)
    code = "import sys; from lit_nas.spaces import load_candidates; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: DartsSpace(nodes=3, candidates=path), "the cell 'normal' has the edges .* number of nodes"),
        (lambda path: NasBench201Space(candidates=path), "those of the space 'darts', not of 'nas_bench_201'"),
        (
            lambda path: DartsSpace(nodes=2, operations=("none", "skip_connect"), candidates=path),
            r"candidates\.json' does not fit: it names max_pool_3x3, sep_conv_3x3, which space\.operations",
        ),
    ],
)
def test_a_file_that_does_not_fit_the_space_is_refused(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make(left(tmp_path, DartsSpace(nodes=2, candidates=BOTH)))


def test_a_file_with_other_cells_or_none_is_refused(tmp_path):
    path = left(tmp_path, DartsSpace(nodes=2))
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "cells": {"normal": content["cells"]["normal"]}}))
    with pytest.raises(ValueError, match="those of the cells normal, not of normal, reduce"):
        DartsSpace(nodes=2, candidates=path)
    with pytest.raises(FileNotFoundError, match="no file of candidates"):
        DartsSpace(nodes=2, candidates=tmp_path / "absent.json")


RELAXATIONS = [Softmax(), Sigmoid(), Entmax(3.0), GumbelSoftmax(Constant(1.0)), GumbelSoftmax(Constant(1.0), hard=True)]


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=lambda value: f"{type(value).__name__}")
@pytest.mark.parametrize("engine", [Reference(), Fused(batch_edges=False), Fused(batch_edges=True)])
def test_edges_that_never_had_a_candidate_equal_edges_that_lost_all(relaxation: Relaxation, engine):
    sizes = {"init_channels": 4, "num_cells": 3, "nodes": 2}
    few, every = DartsSpace(**sizes, candidates=BOTH), DartsSpace(**sizes)
    ours, theirs = Architecture(few, relaxation), Architecture(every, relaxation)
    network, whole = SearchNetwork(few, SPEC, engine), SearchNetwork(every, SPEC, engine)
    for name, mask in ((name, ours.mask(name)) for name in few.cells):
        theirs.prune(name, mask)
        theirs.logits[name].data.copy_(ours.logits[name].data)
    assert not network.load_state_dict(whole.state_dict(), strict=False).missing_keys
    images, found = torch.randn(2, 3, 8, 8), []
    for architecture, net in ((ours, network), (theirs, whole)):
        value = net(images, architecture())
        value.square().sum().backward()
        found.append((value.detach(), architecture.logits["normal"].grad))
        genotype = default_deriver(few)(few, architecture.importance())
        assert {edge.source for edge in genotype.cells["normal"].edges} <= {0, 1}
    torch.testing.assert_close(found[0], found[1])
    assert not found[0][1][1].any()


def test_candidates_and_weights_are_handed_over(tmp_path, capsys):
    assert main(["run", "-c", job(tmp_path, job=NARROWING)]) == 0
    folder = tmp_path / "job"
    wide, narrow = (load_module(folder / name / "checkpoints" / "last.ckpt") for name in ("wide", "narrow"))
    assert narrow.hparams["space"]["init_args"]["candidates"] == BOTH  # not the path, whose file may be gone
    assert narrow.architecture.space.cells["normal"].allowed == wide.architecture.space.cells["normal"].allowed
    ours, theirs = (dict(module.network.named_parameters()) for module in (narrow, wide))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())  # the second one learns nothing
    written = yaml.safe_load((folder / "narrow" / "config.yaml").read_text())["model"]["init_args"]["space"]
    assert written["init_args"]["candidates"] == str(folder / "wide" / "candidates.json")
    capsys.readouterr()
    (folder / "narrow" / "genotype.json").unlink()
    shutil.rmtree(folder / "wide" / "checkpoints")
    assert main(["run", "-c", job(tmp_path, job=NARROWING)]) == 2
    assert "The stage `wide` has left no checkpoints/last.ckpt" in capsys.readouterr().err


def test_a_fit_that_continues_keeps_its_own_weights(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr("lit_nas.cli.stage.begin_with", lambda *given: begun.append(given[1].parent.parent.name))
    config = job(tmp_path, job=NARROWING)
    assert main(["run", "-c", config]) == 0
    (tmp_path / "job" / "narrow" / "genotype.json").unlink()
    assert main(["run", "-c", config]) == 0
    assert (tmp_path / "job" / "narrow" / "genotype.json").exists()
    assert begun == ["wide"]


@pytest.mark.parametrize("partly", [False, True])
def test_weights_that_are_not_there_are_refused_unless_they_may_be_new(partly, tmp_path, capsys):
    config = job(tmp_path, job={**NARROWING, "init_args": {"deeper": True, "partly": partly}})
    assert main(["run", "-c", config]) == (0 if partly else 2)
    if not partly:
        error = capsys.readouterr().err
        assert "wide/checkpoints/last.ckpt' do not fit the network" in error
        assert "'network." in error
        assert "partly=True" in error


def test_a_network_without_any_common_tensor_is_refused(tmp_path):
    from pytorch_lightning import Trainer

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1)
    trainer.strategy.connect(DARTS(SPEC, DartsSpace(init_channels=2, num_cells=3, nodes=2)))
    trainer.save_checkpoint(path := tmp_path / "last.ckpt")
    model = DARTS(SPEC, DartsSpace(init_channels=2, num_cells=3, nodes=2))
    begin_with(model, path, partly=False)
    model.network = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"2 of its 2 tensors are not there .* Hand over those of a network like it"):
        begin_with(model, path, partly=True)
