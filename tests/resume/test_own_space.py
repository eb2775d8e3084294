"""A search space of the user's own, in a package that nothing but the configuration names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import tests.support.chain
from lit_nas.record.recorded_module import read_checkpoint

STAND_IN = Path(tests.support.chain.__file__).read_text(encoding="utf-8")
DATA = {
    "class_path": "SyntheticDataModule",
    "init_args": {"num_images": 40, "channels": 2, "height": 8, "width": 8, "classes": 3, "batch_size": 4},
}
TRAINER = {"accelerator": "cpu", "max_epochs": 2, "enable_progress_bar": False, "limit_train_batches": 2}
SEARCH = {
    "seed_everything": 3,
    "model": {
        "class_path": "DARTS",
        "init_args": {"space": {"class_path": "own_chain.ChainSpace", "init_args": {"width": 6}}},
    },
    "data": DATA,
    "trainer": TRAINER,
}
NETWORK = {
    "class_path": "own_chain.ChainNetwork",
    "init_args": {"space": {"class_path": "own_chain.ChainSpace", "init_args": {"width": 8}}},
}


def retraining(genotype: Path, network: dict | None) -> dict:
    arguments = {"genotype": str(genotype), "network": network, "optim": {"auxiliary_weight": 0.0}}
    data = {**DATA, "init_args": {**DATA["init_args"], "split": "all"}}
    return {**SEARCH, "model": {"class_path": "RetrainModule", "init_args": arguments}, "data": data}


class Shell:
    """Runs several commands in one fresh process, with the package on its path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *commands: list[str]) -> list[tuple[int, str, str]]:
        """Status, output and messages of each command, and last the packages that were imported."""
        code = f"""
import contextlib, io, json, sys, warnings
sys.path.insert(0, {str(self.folder)!r})
warnings.simplefilter("ignore")
from lit_nas.cli import main
answers = []
for command in {commands!r}:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(command)
    answers.append((status, out.getvalue(), err.getvalue(), "own_chain" in sys.modules))
print("ANSWERS" + json.dumps(answers))
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=self.folder)
        return json.loads(run.stdout.rpartition("ANSWERS")[2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the package, a finished search of two epochs, and one that was stopped after the first."""
    folder = tmp_path_factory.mktemp("own_space")
    (folder / "own_chain").mkdir()
    (folder / "own_chain" / "parts.py").write_text(STAND_IN.replace("tiny_chain", "own_chain"))
    (folder / "own_chain" / "__init__.py").write_text("from own_chain.parts import ChainNetwork, ChainSpace\n")
    (folder / "search.yaml").write_text(yaml.safe_dump(SEARCH))
    fit = ["fit", "-c", "search.yaml", "--trainer.default_root_dir"]
    answers = Shell(folder)(
        [*fit, "whole"],
        [*fit, "cut", "--trainer.max_steps", "2"],
    )
    assert [status for status, *_ in answers] == [0, 0], answers
    return folder


@pytest.mark.slow
def test_a_search_continues_in_a_fresh_process(folder):
    fit = ["fit", "-c", "search.yaml", "--trainer.default_root_dir", "cut", "--ckpt_path", "last"]
    ((status, _, errors, imported),) = Shell(folder)(fit)
    assert (status, imported) == (0, True), errors
    states = [read_checkpoint(folder / name / "checkpoints" / "last.ckpt")["state_dict"] for name in ("whole", "cut")]
    assert states[0]["network.cells.1.edges.0.operations.own_chain_5x5.6.weight"].shape == (8, 18, 1, 1)
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


def test_files_import_nothing(folder):
    checkpoint = "whole/checkpoints/last.ckpt"
    derive, draw, describe, named = Shell(folder)(
        ["derive", "--ckpt_path", checkpoint, "-o", "derived.json"],
        ["draw", "derived.json", "-o", "derived.svg"],
        ["describe", "derived.json"],
        ["describe", "derived.json", "--network", "own_chain.ChainNetwork", "--format", "json"],
    )
    assert (derive[0], draw[0], describe[0], named[0]) == (0, 0, 2, 0)
    assert [answer[3] for answer in (derive, draw, describe, named)] == [False, False, False, True]
    assert "of the space 'own_chain', for which no network is known. Spaces are: darts, nas_bench_201" in describe[2]
    (found,) = json.loads(named[1])
    assert [row["type"] for row in found["cells"]] == ["block_0", "block_1", "block_2"]
    assert (folder / "derived.json").read_text() == (folder / "whole" / "genotype.json").read_text()


@pytest.mark.slow
def test_a_retraining_names_its_network(folder):
    genotype = folder / "whole" / "genotype.json"
    for name, network in (("named", NETWORK), ("unnamed", None)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(retraining(genotype, network)))
    unnamed, named = Shell(folder)(
        ["fit", "-c", "unnamed.yaml", "--trainer.default_root_dir", "retrain"],
        ["fit", "-c", "named.yaml", "--trainer.default_root_dir", "retrain"],
    )
    assert unnamed[0] == 2
    assert "or the class of your own, as `network`" in unnamed[2]
    assert named[0] == 0, named[2]
    content = read_checkpoint(folder / "retrain" / "checkpoints" / "last.ckpt")
    assert content["state_dict"]["network.stem.conv.weight"].shape == (8, 2, 3, 3)
    network = content["lit_nas"]["init_args"]["network"]
    assert network["class_path"] == "own_chain.ChainNetwork"
