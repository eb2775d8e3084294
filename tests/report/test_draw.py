from itertools import combinations

import matplotlib
import networkx as nx
import pytest

from lit_nas.dags import parse_dag
from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype, published_genotypes
from lit_nas.report import draw as drawing
from lit_nas.report.draw import SUFFIXES, _layout, draw_genotype
from lit_nas.report.draw_dags import dag_layout
from lit_nas.report.layered import room
from lit_nas.spaces import HAND_PICKED_DAGS

FULL = CellGenotype(tuple(Edge("sep_conv_3x3", s, t) for t in range(2, 6) for s in range(t)), (2, 3, 4, 5))
PAIRS = tuple(combinations(range(6), 2))
ODD = CellGenotype((Edge("none", 0, 2), Edge("skip_connect", 0, 4)), (4,))  # 3 is empty, 2 is unused


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_genotype_gives_same_bytes(tmp_path, suffix):
    before = matplotlib.rcParams.copy()
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        draw_genotype(load_genotype("DARTS_V2"), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert matplotlib.rcParams == before
    draw_genotype(load_genotype("DARTS_V1"), files[1])
    assert files[0].read_bytes() != files[1].read_bytes()


def test_odd_cells_can_be_drawn(tmp_path):
    path = tmp_path / "new" / "odd.PNG"
    draw_genotype(Genotype({"a": FULL, "b": ODD}, "other"), path)
    assert path.read_bytes()[:4] == b"\x89PNG"


CELLS = [cell for name in published_genotypes() for cell in load_genotype(name).cells.values()]


EMPTY = load_genotype("|none~0|+|skip_connect~0|none~1|+|none~0|nor_conv_3x3~1|none~2|").cells["normal"]


def test_edges_without_a_connection_are_faint(tmp_path):
    draw_genotype(Genotype({"normal": EMPTY}, "other"), tmp_path / "cell.svg")
    draw_genotype(load_genotype("DARTS_V2"), tmp_path / "darts.svg")
    assert "#d5d9dc" in (tmp_path / "cell.svg").read_text()
    assert "#d5d9dc" not in (tmp_path / "darts.svg").read_text()


@pytest.mark.parametrize("cell", [*CELLS, FULL, ODD, EMPTY])
def test_nothing_overlaps(cell):
    layout = _layout(cell)
    assert sum(place[0] == "edge" for place in layout) == len(cell.edges)
    check_layout(layout)


def check_layout(layout):
    for (a, at_a), (b, at_b) in combinations(layout.nodes(data=True), 2):
        if at_a["x"] == at_b["x"]:
            assert abs(at_a["y"] - at_b["y"]) > (room(a) + room(b)) / 2 - 1e-9
    assert all(layout.nodes[b]["x"] == layout.nodes[a]["x"] + 1 for a, b in layout.edges)  # left to right


@pytest.mark.parametrize("cell", [CELLS[0], FULL, EMPTY])
def test_states_have_the_numbers_of_the_files(cell, tmp_path, monkeypatch):
    texts = []
    draw = drawing.box
    monkeypatch.setattr(
        drawing, "box", lambda axes, at, half, text, *look: texts.append(text) or draw(axes, at, half, text, *look)
    )
    genotype = Genotype({"normal": cell}, "other")
    draw_genotype(genotype, tmp_path / "cell.svg")
    stored = genotype.to_dict()["cells"]["normal"]
    names = {text.split(":")[0] for text in texts if text[0].isdigit()}
    used = {str(source) for node in stored["nodes"] for _, source in node} | {str(state) for state in stored["concat"]}
    assert names == used | {str(state) for state in range(stored["inputs"])}
    inputs = {text for text in texts if ":" in text}
    assert inputs == {f"{state}: $c_{{k{state - stored['inputs']}}}$" for state in range(stored["inputs"])}


@pytest.mark.parametrize("name", [*HAND_PICKED_DAGS, "dag1", "dag6_" + "_".join(f"{a}{b}" for a, b in PAIRS)])
def test_dags_are_drawn_without_overlap(name, tmp_path):
    layout = dag_layout(parse_dag(name))
    check_layout(layout)
    plain = nx.DiGraph((a, b) for a, b in layout.edges)
    for bend in [place for place in layout if place[0] == "bend"]:
        ((before,), (after,)) = plain.predecessors(bend), plain.successors(bend)
        plain.remove_node(bend)
        plain.add_edge(before, after)
    dag = parse_dag(name)
    expected = {(("state", a), ("state", b)) for a, b in dag.edges}
    expected |= {(("input",), ("state", v)) for v, sources in enumerate(dag.predecessors) if not sources}
    expected |= {(("state", sink), ("output",)) for sink in dag.sinks}
    assert set(plain.edges) == expected
    row = CellGenotype((Edge(name, 0, 1),), (1,), 1)
    for file in ("a.svg", "b.svg"):
        draw_genotype(Genotype({"row_1": row, "row_2": row}, "dags"), tmp_path / file)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cell\.pdf' cannot be drawn: the suffix must be one of \.png, \.svg"):
        draw_genotype(load_genotype("NASNet"), tmp_path / "cell.pdf")
