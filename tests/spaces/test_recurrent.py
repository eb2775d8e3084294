"""The recurrent space, its genotypes, and what can be said of them."""

import json

import pytest
import torch

from lit_nas.cli import main
from lit_nas.derivation import TopEdges, default_deriver
from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype
from lit_nas.operations import SEARCH, build_operation
from lit_nas.report.draw import draw_genotype
from lit_nas.spaces import RecurrentSpace

V1 = "relu 0, relu 1, tanh 2, relu 3, relu 4, identity 1, relu 5, relu 1"
V2 = "sigmoid 0, relu 1, relu 1, identity 1, tanh 2, sigmoid 5, tanh 3, relu 5"
ENAS = "tanh 0, tanh 1, relu 1, tanh 3, tanh 3, relu 3, relu 4, relu 7, relu 8, relu 8, relu 8"


@pytest.mark.parametrize(("name", "nodes"), [("DARTS_RNN_V1", V1), ("DARTS_RNN_V2", V2), ("ENAS_RNN", ENAS)])
def test_published_cells(name, nodes):
    genotype = load_genotype(name)
    cell = genotype.cells["recurrent"]
    assert ", ".join(f"{edge.operation} {edge.source}" for edge in cell.edges) == nodes
    assert cell.concat == ((2, 5, 6, 9, 10, 11) if name == "ENAS_RNN" else tuple(range(1, 9)))
    assert Genotype.from_json(genotype.to_json()) == genotype


def test_rows_of_alpha():
    cell = RecurrentSpace().cells["recurrent"]
    assert len(cell.edges) == 36
    assert [cell.edges.index((0, node)) for node in range(1, 9)] == [0, 1, 3, 6, 10, 15, 21, 28]
    assert cell.operations == ("none", "tanh", "relu", "sigmoid", "identity")


def test_one_predecessor_for_each_node_by_its_best_activation():
    space = RecurrentSpace(nodes=3)
    assert default_deriver(space) == TopEdges(1)
    probabilities = torch.tensor([
        [0.9, 0.02, 0.05, 0.02, 0.01],  # node 1 <- 0: `none` is never chosen
        [0.1, 0.5, 0.2, 0.1, 0.1], [0.0, 0.1, 0.1, 0.6, 0.2],  # node 2: state 1 has the strongest activation
        [0.1, 0.3, 0.3, 0.2, 0.1], [0.7, 0.0, 0.0, 0.0, 0.3], [0.1, 0.2, 0.2, 0.25, 0.25],  # ties: the first ones
    ])  # fmt: skip
    (cell,) = default_deriver(space)(space, {"recurrent": probabilities}).cells.values()
    assert cell.edges == (Edge("relu", 0, 1), Edge("sigmoid", 1, 2), Edge("tanh", 0, 3))
    assert cell.concat == (1, 2, 3)


def of(*edges):
    return {"recurrent": CellGenotype(tuple(Edge(*edge) for edge in edges), (1,), 1)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecurrentSpace(width=0), r"space\.width must be at least 1, not 0"),
        (lambda: RecurrentSpace(nodes=21), r"space\.nodes must be at most 20, not 21"),
        (lambda: RecurrentSpace(operations=("tanh", "sep_conv_3x3")), r"\['sep_conv_3x3'\], which are no activations"),
        (
            lambda: Genotype(of(("tanh", 0, 1), ("relu", 0, 1)), "recurrent"),
            r"one edge each, but .*\[1, 1\]",
        ),
        (
            lambda: Genotype(of(("tanh", 0, 1), ("none", 1, 2)), "recurrent"),
            r"names \['none'\], but nodes of",
        ),
        (
            lambda: Genotype(of(("gelu", 0, 1)), "recurrent"),
            r"Unknown operations \['gelu'\].*tanh, relu, sigmoid",
        ),
        (
            lambda: build_operation("tanh", 4, 2, SEARCH),
            "'tanh' keeps height and width, so .* stride 1, not 2",
        ),
        (lambda: build_operation("relu", 4, 1, SEARCH, 8), "'relu' cannot change the number of channels from 4 to 8"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_activations_are_operations_of_any_cell():
    x = torch.randn(2, 3, 4, 4)
    for name, function in (
        ("tanh", torch.tanh),
        ("relu", torch.relu),
        ("sigmoid", torch.sigmoid),
        ("identity", lambda x: x),
    ):
        operation = build_operation(name, 3, 1, SEARCH)
        assert torch.equal(operation(x), function(x))
        assert name in repr(operation)


def test_description(capsys):
    assert main(["describe", "DARTS_RNN_V2", "--format", "json"]) == 0
    (described,) = json.loads(capsys.readouterr().out)
    assert described["weights"] == 22_960_000
    assert described["multiply_adds"] == 8_500_000 + 1700**2 + 8 * 850 * 1700
    assert described["cells"][0]["weights"] == 1700**2 + 8 * 850 * 1700
    assert main(["describe", "DARTS_RNN_V1", "--width", "700", "--num_classes", "33278"]) == 0
    assert "33,127,878" in capsys.readouterr().out
    assert main(["describe", "DARTS_RNN_V1", "--num_cells", "3"]) == 2
    assert "LanguageNetwork has no num_cells" in capsys.readouterr().err
    assert main(["describe", "DARTS_V2", "--width", "3"]) == 2


def test_picture(tmp_path):
    draw_genotype(load_genotype("DARTS_RNN_V2"), tmp_path / "cell.svg")
    draw_genotype(load_genotype("ENAS_RNN"), tmp_path / "cell.png")
    assert (tmp_path / "cell.png").read_bytes().startswith(b"\x89PNG")
