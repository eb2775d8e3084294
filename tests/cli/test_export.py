"""`lit-nas export`, from a retraining that was trained to the files that its user runs."""

import sys

import pytest
import torch

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from lit_nas.record.recorded_module import load_module

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs
DATA = [
    "--data", "SyntheticDataModule", "--data.num_images", "40", "--data.height", "8", "--data.width", "8",
    "--data.batch_size", "4", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1",
    "--trainer.enable_progress_bar", "false", "--trainer.limit_train_batches", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder with the run folders `retrain` and `search`."""
    folder = tmp_path_factory.mktemp("runs")
    retrain = ["--model", "RetrainModule", "--model.genotype", "GDAS_F1", "--model.init_channels", "4"]
    retrain += ["--model.num_cells", "3", "--model.optim.auxiliary_weight", "0.4"]
    search = ["--model", "DARTS", "--model.space.init_channels", "2", "--model.space.num_cells", "3"]
    for name, model in (("retrain", retrain), ("search", search)):
        assert main(["fit", *model, *DATA, "--trainer.default_root_dir", str(folder / name)]) == 0
    return folder


@pytest.mark.parametrize("kind", ["onnx", "pt2", "python"])
def test_a_trained_network_is_exported_with_its_weights(runs, tmp_path, capsys, kind):
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason="the extra 'export' is not installed")
    suffix = {"onnx": ".onnx", "pt2": ".pt2", "python": ".py"}[kind]
    source, path = runs / "retrain" / "checkpoints" / "last.ckpt", tmp_path / f"mine{suffix}"
    assert main(["export", str(source), "--format", kind, "-o", str(path)]) == 0
    assert "logits differ by at most" in capsys.readouterr().out
    module = load_module(source).eval()
    assert module.network.auxiliary is not None  # so that there is something to leave out
    images = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        expected = module(images)
        if kind == "onnx":
            from onnxruntime import InferenceSession

            found = torch.from_numpy(InferenceSession(str(path)).run(None, {"images": images.numpy()})[0])
        elif kind == "pt2":
            found = torch.export.load(path).module()(images)
        else:
            space = {"__name__": "mine", "__file__": str(path)}
            exec(compile(path.read_text(), str(path), "exec"), space)
            found = space["load"]()(images)
            # the weights of the checkpoint itself fit, too
            state = torch.load(source, weights_only=True)["state_dict"]
            own = {name[8:]: value for name, value in state.items() if name.startswith("network.")}
            made = space["Network"]()
            made.load_state_dict({name: value for name, value in own.items() if not name.startswith("auxiliary.")})
            torch.testing.assert_close(made.eval()(images), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_python_file_runs_where_lit_nas_is_not_installed(tmp_path, monkeypatch):
    import subprocess

    monkeypatch.chdir(tmp_path)
    settings = ["--init_channels", "4", "--num_cells", "3", "--image", "1", "16", "16", "--num_classes", "7"]
    assert main(["export", "DARTS_V2", "--format", "python", *settings]) == 0
    code = """
import sys
sys.modules["lit_nas"] = None  # an import of it would fail
import torch
from DARTS_V2 import Network
print(tuple(Network()(torch.randn(2, 1, 16, 16)).shape))
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "(2, 7)"
    assert not (tmp_path / "DARTS_V2.pt").exists()


def test_a_search_stands_for_the_code_of_its_cells(runs, tmp_path):
    source = runs / "search" / "checkpoints" / "last.ckpt"
    path = tmp_path / "found.py"
    small = ["--init_channels", "4", "--num_cells", "3"]
    assert main(["export", str(source), "--format", "python", "-o", str(path), *small]) == 0
    genotype, text = load_genotype(source), path.read_text()
    for kind in ("normal", "reduce"):
        for edge in genotype.cells[kind].edges:
            assert f"# {edge.source} -> {edge.target}" in text
    assert "def load" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DARTS_V2", "--format", "onnx"], "is a genotype without the weights of a network: retrain it"),
        (["SEARCH", "--format", "pt2"], "is a genotype without the weights of a network: retrain it"),
        (["DARTS_RNN_V2", "--format", "onnx"], "is a genotype for token sequences, but networks for images alone"),
        (["RETRAIN", "--format", "pt2", "--num_cells", "3"], "Leave out --num_cells: "),
        (
            ["RETRAIN", "--format", "pt2", "-o", "x.onnx"],
            "A file of the format pt2 ends in .pt2, but 'x.onnx' does not",
        ),
        (["RETRAIN", "--format", "pt2", "-o", "."], "'.' is a folder: name a file, 'network.pt2' for example"),
        (["nothing.ckpt", "--format", "pt2"], "nothing.ckpt"),
        (["Nothing", "--format", "python"], "'Nothing' is neither a published genotype nor a file"),
        (["DARTS_V2", "--format", "python", "--network", "nas_bench_201"], "needs a genotype of the space"),
        (["DARTS_V2", "--format", "python", "--image", "3", "30", "32"], "Images of 30x32 pixels do not fit"),
        (["PROXYLESS_GPU", "--format", "python", "--init_channels", "3"], "has no init_channels"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(runs, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    places = {name.upper(): str(runs / name / "checkpoints" / "last.ckpt") for name in ("search", "retrain")}
    assert main(["export", *(places.get(word, word) for word in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_classes_of_ones_own_need_trust(tmp_path, monkeypatch, capsys):
    """The network of a retraining is one that the checkpoint names."""
    from pytorch_lightning import Trainer

    from lit_nas.genotype import CellGenotype, Edge, Genotype
    from lit_nas.retrain import RetrainModule, RetrainOptim
    from lit_nas.specs import ImageSpec
    from tests.support.chain import ChainNetwork

    names = {"block_0": "tiny_chain_3x3", "block_1": "nor_conv_3x3", "block_2": "none"}
    cells = {block: CellGenotype((Edge(name, 0, 1),), (1,), 1) for block, name in names.items()}
    optim, spec = RetrainOptim(auxiliary_weight=0.0), ImageSpec(2, 8, 8, 3)
    module = RetrainModule(Genotype(cells, "tiny_chain"), spec, ChainNetwork(), optim=optim)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir=tmp_path)
    trainer.strategy.connect(module)
    source = str(tmp_path / "own.ckpt")
    trainer.save_checkpoint(source)
    assert main(["export", source, "--format", "pt2"]) == 2
    assert "allow it to be imported: --trust tests." in capsys.readouterr().err
    assert main(["export", source, "--format", "pt2", "--trust", "tests"]) == 0
    images = torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        found = torch.export.load(tmp_path / "own.pt2").module()(images)
        torch.testing.assert_close(found, module.eval()(images), rtol=1e-5, atol=1e-5)
    assert main(["export", source, "--format", "python", "--trust", "tests"]) == 2
    assert "FixedChain is a network of your own" in capsys.readouterr().err


def test_published_networks_are_written_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "PROXYLESS_GPU", "--network", "proxyless_gpu", "--format", "python"]) == 0
    assert (
        "MobileBlock(MBConv(24, 32, 5, 3, stride=2), shortcut=False),  # block_1"
        in (tmp_path / "PROXYLESS_GPU.py").read_text()
    )
