"""Names of DAGs: one for each graph, whatever its vertices are called, and a sentence for everything else."""

from itertools import combinations, permutations, product

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_nas.dags import Dag, canonical_dag, canonical_name, parse_dag


@st.composite
def graphs(draw):
    """A weakly connected DAG of up to ten vertices under a numbering of its own, and another numbering."""
    vertices = draw(st.integers(1, 10))
    tree = {(draw(st.integers(0, target - 1)), target) for target in range(1, vertices)}
    more = draw(st.sets(st.sampled_from([*combinations(range(vertices), 2), (0, 0)])))
    edges = tree | (more - {(0, 0)})
    first, second = (draw(st.permutations(range(vertices))) for _ in range(2))
    return vertices, *(tuple((names[a], names[b]) for a, b in edges) for names in (first, second))


@given(graphs())
def test_the_numbering_does_not_depend_on_that_of_the_graph(graph):
    vertices, one, other = graph
    dag = canonical_dag(vertices, one)
    assert dag == canonical_dag(vertices, other)
    assert all(source < target for source, target in dag.edges)
    assert parse_dag(dag.name) == dag
    assert canonical_name(dag.name) == dag.name
    before, after = nx.DiGraph(list(one)), nx.DiGraph(list(dag.edges))
    assert vertices == 1 or nx.is_isomorphic(before, after)


def test_graphs_have_one_name_if_and_only_if_they_are_isomorphic():
    """All DAGs with four vertices, by trying all permutations."""
    pairs = list(combinations(range(4), 2))
    classes: dict[frozenset, set[str]] = {}
    for chosen in product((False, True), repeat=len(pairs)):
        edges = tuple(pair for pair, there in zip(pairs, chosen, strict=True) if there)
        if nx.is_connected(nx.Graph([(v, v) for v in range(4)] + list(edges))):
            everything = [
                frozenset((names[a], names[b]) for a, b in edges) for names in permutations(range(4))
            ]  # fmt: skip
            kind = frozenset(everything)
            classes.setdefault(kind, set()).add(canonical_dag(4, edges).name)
    assert len(classes) == 24
    assert all(len(names) == 1 for names in classes.values())
    assert len(set.union(*classes.values())) == 24


@pytest.mark.parametrize(
    ("name", "convolutions", "sinks"),
    [("dag1", 1, (0,)), ("dag2_01", 2, (1,)), ("dag3_01_02", 4, (1, 2)), ("dag4_01_02_13_23", 5, (3,))],
)
def test_parts_of_a_dag(name, convolutions, sinks):
    dag = parse_dag(name)
    assert (dag.name, dag.convolutions, dag.sinks) == (name, convolutions, sinks)
    assert dag.predecessors == tuple(tuple(a for a, b in dag.edges if b == v) for v in range(dag.vertices))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "dag",
            r"'dag' is no name of a DAG: it is the number of vertices and two digits for each edge, as in dag4_01_02",
        ),
        ("dag02_01", r"'dag02_01' is no name of a DAG"),
        ("dag3_01_1", r"'dag3_01_1' is no name of a DAG"),
        ("dag2_01\n", r"is no name of a DAG"),
        ("dag²", r"'dag²' is no name of a DAG"),
        ("dag0", r"'dag0' names no DAG: a DAG has 1 to 10 vertices, not 0\."),
        ("dag11", r"'dag11' names no DAG: a DAG has 1 to 10 vertices, not 11\."),
        ("dag2_02", r"'dag2_02' names no DAG: the edges \[\(0, 2\)\] have ends that are none of the vertices 0 to 1\."),
        ("dag3_01_12_20", r"'dag3_01_12_20' names no DAG: a DAG has no cycle, but .* among the vertices \[0, 1, 2\]\."),
        ("dag2_01_11", r"a DAG has no cycle, but there is one among the vertices \[1\]\."),
        ("dag3_01", r"'dag3_01' names no DAG: its 3 vertices are not all connected with each other\."),
        ("dag2_01_01", r"'dag2_01_01' names no DAG: an edge is there twice\."),
        ("dag3_12_01", r"The DAG 'dag3_12_01' is called 'dag3_01_12': vertices are numbered so that it has one name\."),
        ("dag3_10_20", r"The DAG 'dag3_10_20' is called 'dag3_02_12'"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse_dag(name)


def test_any_numbering_has_a_canonical_name():
    assert canonical_name("dag3_10_20") == "dag3_02_12"
    assert canonical_name("dag4_31_32_10_20") == "dag4_01_02_13_23"


@pytest.mark.parametrize(
    ("vertices", "edges", "message"),
    [
        (0, (), "A DAG has 1 to 10 vertices, not 0"),
        (2, ((1, 0),), r"The edges \[\(1, 0\)\] do not lead from a lower to a higher one of the vertices 0 to 1"),
        (2, ((0, 1), (0, 1)), r"An edge is there twice: \[\(0, 1\), \(0, 1\)\]"),
        (3, ((0, 1),), "Its 3 vertices are not all connected with each other"),
    ],
)
def test_a_dag_checks_itself(vertices, edges, message):
    with pytest.raises(ValueError, match=message):
        Dag(vertices, edges)
