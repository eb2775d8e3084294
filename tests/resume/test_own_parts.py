"""A package of the user's own: its classes are trusted where the configuration names them, not where a file does."""

import sys

import pytest
import torch
import yaml

from lit_nas.cli import main
from lit_nas.record.recorded_module import load_module, read_checkpoint
from tests.support.own_modules import forgotten
from tests.support.resume_job import differences, final_state, run, write_config

PACKAGE = """
from dataclasses import dataclass

from torch.optim import SGD

from lit_nas.architecture import Architecture
from lit_nas.derivation import Deriver, TopEdges
from lit_nas.engine import Fused
from lit_nas.specs import ImageSpec
from lit_nas.networks import build_search_network
from lit_nas.relaxations import Relaxation
from lit_nas.search import ImageSearchModule, SearchOptim
from lit_nas.spaces import DartsSpace, SearchSpace


@dataclass(frozen=True)
class Tempered(Relaxation):
    temperature: float = 1.0

    def probabilities(self, logits, mask, clock):
        return (logits / self.temperature).softmax(-1) * mask


@dataclass(frozen=True)
class OneEdge(Deriver):
    def __call__(self, space, probabilities, masks=None):
        return TopEdges(k=1)(space, probabilities, masks)


class SlowSGD(SGD):
    def __init__(self, params, lr: float = 0.01, momentum: float = 0.5):
        super().__init__(params, lr=lr, momentum=momentum)


class OwnSearch(ImageSearchModule):
    def __init__(
        self,
        spec: ImageSpec = ImageSpec(),
        space: SearchSpace = DartsSpace(),
        relaxation: Relaxation = Tempered(),
        optim: SearchOptim = SearchOptim(),
        deriver: Deriver = OneEdge(),
    ) -> None:
        super().__init__()
        self.spec, self.optim, self.deriver = spec, optim, deriver
        self.network = build_search_network(space, spec, Fused())
        self.architecture = Architecture(space, relaxation)

    def training_step(self, batch, batch_idx):
        self.step_levels(self.loss, batch)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of a run in one go, and of one that was killed and continued."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_parts").mkdir()
    (folder / "own_parts" / "__init__.py").write_text(
        "from own_parts.parts import OneEdge, OwnSearch, SlowSGD, Tempered\n"
    )
    (folder / "own_parts" / "parts.py").write_text(PACKAGE)
    config = yaml.safe_load(write_config("DARTS-first-order", folder / "in.yaml").read_text())
    arguments = {key: config["model"]["init_args"][key] for key in ("space", "optim")}
    arguments["relaxation"] = {"class_path": "own_parts.Tempered", "init_args": {"temperature": 2.0}}
    arguments["deriver"] = {"class_path": "own_parts.parts.OneEdge"}
    arguments["optim"]["weights"] = {"class_path": "own_parts.SlowSGD", "init_args": {"lr": 0.02}}
    config["model"] = {"class_path": "own_parts.parts.OwnSearch", "init_args": arguments}
    (folder / "in.yaml").write_text(yaml.safe_dump(config))
    fit = ["fit", "-c", str(folder / "in.yaml"), "--trainer.default_root_dir"]
    sys.path.insert(0, str(folder))  # which processes inherit
    try:
        assert run([*fit, str(folder / "whole")]) == 0
        assert run([*fit, str(folder / "cut")], "SIGKILL", 7) == -9
        assert run([*fit, str(folder / "cut"), "--ckpt_path", "last"]) == 0
        yield folder
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(autouse=True)
def _forget():
    with forgotten("own_parts"):
        yield


def test_a_run_continues_bit_identically(runs):
    assert int((runs / "cut" / "steps.txt").read_text()) == 6
    assert differences(final_state(runs / "whole"), final_state(runs / "cut")) == []


def test_a_file_has_nothing_imported_that_is_not_trusted(runs, tmp_path, capsys):
    path = runs / "cut" / "checkpoints" / "last.ckpt"
    record = read_checkpoint(path)["lit_nas"]
    assert record["class_path"] == "own_parts.OwnSearch"
    assert record["init_args"]["optim"]["weights"]["class_path"].startswith("own_parts.")
    for trust in ((), ("own",), ("own_parts.other",)):
        with pytest.raises(ValueError, match=r"'own_parts\.OwnSearch'.*trust=\('own_parts',\)"):
            load_module(path, trust)
    output = tmp_path / "cell.json"
    assert main(["derive", "--ckpt_path", str(path), "-o", str(output)]) == 0  # needs no class of the file
    assert output.exists()
    # nor what is named where only a text is expected
    content = torch.load(path, weights_only=True)
    content["lit_nas"] |= {
        "class_path": "lit_nas.methods.EntmaxDARTS",
        "init_args": {"relaxation": "own_parts.Tempered"},
    }
    torch.save(content, tmp_path / "sly.ckpt")
    with pytest.raises(ValueError, match="cannot be rebuilt"):
        load_module(tmp_path / "sly.ckpt")
    assert not [name for name in sys.modules if name.startswith("own_parts")]


def test_a_trusted_package_is_imported(runs, tmp_path):
    path = runs / "cut" / "checkpoints" / "last.ckpt"
    module = load_module(path, trust=("own_parts",))
    own = sys.modules["own_parts"]
    assert isinstance(module, own.OwnSearch)
    assert module.architecture.relaxation == own.Tempered(2.0)
    assert isinstance(module.deriver, own.OneEdge)
    assert module.optim.weights([torch.nn.Parameter(torch.ones(1))]).defaults["lr"] == 0.02
    assert isinstance(own.OwnSearch.load_from_checkpoint(path, trust=["own_parts"]), own.OwnSearch)
