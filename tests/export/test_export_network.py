"""Exported networks compute what the network computes, in every space and format, for batches of any size."""

import ast
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from lit_nas.export import FORMATS, export_network
from lit_nas.export.formats import check_target
from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype
from lit_nas.networks import (
    CIFARNetwork,
    DagNetwork,
    EvaluationNetwork,
    ImageNetNetwork,
    MobileNetwork,
    NasBench201CIFARNetwork,
)
from lit_nas.operations import OPERATIONS, BatchNorm
from lit_nas.spaces import DagSpace, MobileSpace
from lit_nas.specs import ImageSpec
from tests.support import chain

SMALL, LARGE = ImageSpec(2, 16, 16, 5), ImageSpec(3, 32, 64, 4)
MOBILE = MobileSpace(4, 8, (6, 8), (3, 2), (2, 1), 1, last_channels=12)
ROWS = ("dag4_01_02_13_23", "dag3_02_12", "dag1")
CANDIDATES = [name for name in OPERATIONS if not name.startswith(("mb_conv", "tiny_chain"))]


def mobile() -> Genotype:
    names = ("mb_conv_3x3_e3", "none", "mb_conv_7x7_e6", "mb_conv_5x5_e3", "mb_conv_3x3_e6")
    cells = {f"block_{n + 1}": CellGenotype((Edge(name, 0, 1),), (1,), 1) for n, name in enumerate(names)}
    return Genotype(cells, "mobile")


def every_operation() -> Genotype:
    """Both cells have every operation on an edge; node 2 of the reduction cell also reads a node."""
    edges = tuple(Edge(name, number % 2, 2 + number % 3) for number, name in enumerate(CANDIDATES))
    normal = (*edges, Edge("dag2_01", 0, 3), Edge("mb_conv_3x3_e3", 1, 4), Edge("skip_connect", 2, 5))
    return Genotype(
        {"normal": CellGenotype(normal, (2, 3, 4, 5)), "reduce": CellGenotype((*edges, Edge("none", 2, 5)), (3, 5))}
    )


def fixed_reduction() -> Genotype:
    return Genotype({"normal": load_genotype("GDAS_F1").cells["normal"]}, "gdas")


def dags() -> Genotype:
    cells = {f"row_{n + 1}": CellGenotype((Edge(name, 0, 1),), (1,), 1) for n, name in enumerate(ROWS)}
    return Genotype(cells, "dags")


TABLE = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
EMPTY = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
NETWORKS = {
    "darts-cifar": lambda: (CIFARNetwork(4, 4).build(load_genotype("DARTS_V2"), SMALL, True), SMALL),
    "darts-imagenet": lambda: (ImageNetNetwork(4, 3).build(load_genotype("PDARTS"), LARGE), LARGE),
    "darts-every-operation": lambda: (CIFARNetwork(4, 3, True).build(every_operation(), SMALL), SMALL),
    "darts-one-cell": lambda: (CIFARNetwork(4, 1).build(load_genotype("NASNet"), SMALL), SMALL),
    "gdas-fixed-reduction": lambda: (CIFARNetwork(4, 4).build(fixed_reduction(), SMALL), SMALL),
    "gdas-imagenet": lambda: (ImageNetNetwork(4, 4).build(fixed_reduction(), LARGE), LARGE),
    "nas-bench-201": lambda: (NasBench201CIFARNetwork(4, 6).build(Genotype.from_architecture(TABLE), SMALL), SMALL),
    "nas-bench-201-empty": lambda: (
        NasBench201CIFARNetwork(4, 3).build(Genotype.from_architecture(EMPTY), SMALL),
        SMALL,
    ),
    "mobile": lambda: (MobileNetwork(MOBILE).build(mobile(), SMALL), SMALL),
    "dags": lambda: (DagNetwork(DagSpace(widths=(4, 3, 6))).build(dags(), SMALL), SMALL),
    "dags-without-bias": lambda: (DagNetwork(DagSpace(widths=(4, 3, 6), bias=False)).build(dags(), SMALL), SMALL),
}


def trained(name: str) -> tuple[nn.Module, ImageSpec]:
    """A network whose statistics and parameters are none that a new one has."""
    torch.manual_seed(0)
    network, spec = NETWORKS[name]()
    with torch.no_grad():
        for norm in (each for each in network.modules() if isinstance(each, BatchNorm) and each.affine):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        for _ in range(20):
            network(torch.randn(8, spec.channels, spec.height, spec.width) * 2)
    return network, spec


def run_file(path: Path, kind: str, images: torch.Tensor) -> torch.Tensor:
    """Logits of an exported file, as its user computes them."""
    if kind == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(path))
        assert [each.name for each in session.get_inputs()] == ["images"]
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
    with torch.no_grad():
        if kind == "pt2":
            return torch.export.load(path).module()(images)
        space = {"__name__": "exported", "__file__": str(path)}
        exec(compile(path.read_text(), str(path), "exec"), space)
        return space["load"]()(images)


def needs(kind: str) -> None:
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason="the extra 'export' is not installed")


def cases() -> list:
    """Every network in every format; graphs of many operations take some time."""
    graphs = ("darts-imagenet", "gdas-fixed-reduction")
    large = ("darts-every-operation", "darts-cifar", "gdas-imagenet", "dags-without-bias", "nas-bench-201-empty")

    def slow(name: str, kind: str) -> bool:
        return (name in large and kind != "python") or (name in graphs and kind == "onnx")

    return [
        pytest.param(name, kind, marks=[pytest.mark.slow] if slow(name, kind) else [])
        for name in NETWORKS
        for kind in FORMATS
    ]


@pytest.mark.parametrize(("name", "kind"), cases())
def test_every_format_computes_what_the_network_computes(name, kind, tmp_path):
    needs(kind)
    network, spec = trained(name)
    path = tmp_path / f"network{FORMATS[kind]}"
    assert export_network(network, spec, path, kind) <= 1e-5
    network.eval()
    for batch in (1, 2, 5):
        images = torch.randn(batch, spec.channels, spec.height, spec.width)
        with torch.no_grad():
            expected, _ = network(images)
        torch.testing.assert_close(run_file(path, kind, images), expected, rtol=1e-5, atol=1e-5)
    assert "empty" in name or expected.std(0).min() > 1e-4  # they depend on the image


@pytest.mark.parametrize("name", NETWORKS)
def test_a_python_file_is_plain_and_takes_the_weights_of_a_checkpoint(name, tmp_path):
    network, spec = trained(name)
    path = tmp_path / "network.py"
    export_network(network, spec, path, "python", 'A name with """ and \\N{x}.')
    text = path.read_text()
    imports = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert imports <= {"torch", "pathlib"}
    assert "import lit_nas" not in text
    assert max(map(len, text.splitlines())) <= 120
    space = {"__name__": "exported", "__file__": str(path)}
    exec(compile(text, str(path), "exec"), space)
    made, known = space["Network"](), {n for n, _ in network.named_modules()}
    kept = {n: v for n, v in network.state_dict().items() if not n.startswith("auxiliary.")}
    made.load_state_dict(dict(kept))  # strictly
    assert {
        n for n, module in made.named_modules() if next(module.parameters(recurse=False), None) is not None
    } <= known
    classes = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert set(classes) <= used | {"Network"}  # nothing is quoted that is not needed
    assert len(classes) == len(set(classes))


def test_files_are_formatted_like_code(tmp_path):
    if find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    import subprocess

    for name in NETWORKS:
        network, spec = trained(name)
        export_network(network, spec, tmp_path / f"{name.replace('-', '_')}.py", "python", "A network.")
    rules = ["--select", "E,F,W,I", "--line-length", "120", "--isolated"]
    answer = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("kind", FORMATS)
def test_layers_without_running_statistics_normalise_by_the_batch(kind, tmp_path):
    needs(kind)
    network, spec = trained("nas-bench-201")
    for norm in network.cells.modules():
        if isinstance(norm, BatchNorm):
            norm.untrack()
    path = tmp_path / f"network{FORMATS[kind]}"
    export_network(network, spec, path, kind)
    images = torch.randn(4, spec.channels, spec.height, spec.width)
    with torch.no_grad():
        expected, alone = network.eval()(images)[0], network(images[:1])[0]
    assert (expected[:1] - alone).abs().max() > 1e-3
    torch.testing.assert_close(run_file(path, kind, images), expected, rtol=1e-5, atol=1e-5)


def test_the_network_stays_as_it_was(tmp_path):
    network, spec = trained("darts-cifar")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_network(network, spec, tmp_path / "network.pt2", "pt2")
    assert network.training
    assert network.auxiliary is not None
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_of_ones_own_runs_but_is_not_written_out(tmp_path):
    cells = {
        "block_0": CellGenotype((Edge("tiny_chain_3x3", 0, 1),), (1,), 1),
        "block_1": CellGenotype((Edge("nor_conv_3x3", 0, 1),), (1,), 1),
        "block_2": CellGenotype((Edge("none", 0, 1),), (1,), 1),
    }
    network = chain.ChainNetwork().build(Genotype(cells, "tiny_chain"), SMALL)
    assert export_network(network, SMALL, tmp_path / "network.pt2", "pt2") <= 1e-5
    with pytest.raises(ValueError, match=r"FixedChain is a network of your own, .* with --format pt2 or"):
        export_network(network, SMALL, tmp_path / "network.py", "python")
    assert not (tmp_path / "network.py").exists()


def test_an_operation_of_ones_own_is_not_written_out(tmp_path):
    edges = (Edge("tiny_chain_3x3", 0, 2), Edge("skip_connect", 1, 2))
    cell = CellGenotype(edges, (2,))
    network = EvaluationNetwork(Genotype({"normal": cell, "reduce": cell}), SMALL, 4, 3, False)
    assert export_network(network, SMALL, tmp_path / "network.pt2", "pt2") <= 1e-5
    with pytest.raises(ValueError, match="The operation 'tiny_chain_3x3' is one of your own"):
        export_network(network, SMALL, tmp_path / "network.py", "python")


def test_what_is_not_what_its_name_says_is_refused(tmp_path):
    network, spec = trained("darts-cifar")
    network.cells[0].operations[0][0].norm.eps = 0.5
    with pytest.raises(ValueError, match=r"differs from the original by .*, so nothing was written"):
        export_network(network, spec, tmp_path / "network.py", "python")
    assert list(tmp_path.iterdir()) == []
    assert export_network(network, spec, tmp_path / "network.pt2", "pt2") <= 1e-5


@pytest.mark.parametrize(
    ("file", "kind", "message"),
    [
        ("network.onnx", "pt2", r"A file of the format pt2 ends in \.pt2, but .*network\.onnx' does not"),
        ("network.py", "torch", "There is no format 'torch'. Known are: onnx, pt2, python"),
        ("", "python", r"is a folder: name a file, '.*network\.py' for example"),
    ],
)
def test_wrong_targets_are_refused(tmp_path, file, kind, message):
    network, spec = NETWORKS["dags"]()
    with pytest.raises((ValueError, OSError), match=message):
        export_network(network, spec, tmp_path / file, kind)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("lit_nas.export.formats.find_spec", lambda name: None)
    network, spec = NETWORKS["dags"]()
    with pytest.raises(ValueError, match=r"needs onnx, onnxscript, onnxruntime: .* pip install 'lit-nas\[export\]'"):
        export_network(network, spec, tmp_path / "network.onnx", "onnx")


def test_a_folder_that_is_a_file_is_named_before_anything_is_built(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"since '.*notes' is a file: name another folder"):
        check_target(tmp_path / "notes" / "deep" / "network.py", "python")
    check_target(tmp_path / "new" / "network.py", "python")
