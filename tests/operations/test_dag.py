"""Cells that are DAGs, against the same graph computed by hand, and how they are found by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_nas.dags import parse_dag
from lit_nas.networks import count_weights
from lit_nas.operations import EVALUATION, DagCell, DagConv, OperationStyle, build_operation, check_operations
from lit_nas.operations import dag as module

DIAMOND = "dag4_01_02_13_23"
NAMES = ("dag1", "dag2_01", DIAMOND, "dag3_01_02", "dag4_01_12_13", "dag5_02_13_14_24_34", "dag4_01_02_03_12_13_23")


def by_hand(cell, x):
    """One vertex after the other; every value that is a sum goes through ReLU."""
    dag, values = cell.dag, {}

    def block(source, target):
        conv = cell.convolutions[f"{source}_{target}"][0]
        return F.relu(F.conv2d(values[source], conv.weight, conv.bias, padding=2))

    for vertex in (*range(dag.vertices), dag.vertices):
        edges = dag.edges if vertex < dag.vertices else [(sink, vertex) for sink in dag.sinks]
        terms = [block(source, target) for source, target in edges if target == vertex]
        values[vertex] = x if not terms else terms[0] if len(terms) == 1 else F.relu(sum(terms))
    return values[dag.vertices]


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_its_graph(name):
    dag = parse_dag(name)
    cell = DagCell(dag, 3).double()
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64, requires_grad=True)
    found, expected = cell(x), by_hand(cell, x)
    assert found.shape == x.shape
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    inputs, direction = [x, *cell.parameters()], torch.randn_like(found)
    ours, theirs = (torch.autograd.grad((y * direction).sum(), inputs) for y in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert all(gradient.abs().sum() > 0 for gradient in ours)


@pytest.mark.parametrize(("name", "convolutions", "merges"), [("dag1", 1, 0), ("dag2_01", 2, 0), (DIAMOND, 5, 1)])
def test_numbers_of_parts(name, convolutions, merges, monkeypatch):
    """Edges that leave the input hold nothing; a vertex with several inputs has a ReLU of its own."""
    cell, seen = DagCell(parse_dag(name), 4), []
    monkeypatch.setattr(module.F, "relu_", lambda x: seen.append(x) or torch.relu_(x))
    cell(torch.randn(1, 4, 6, 6))
    convs = [part for part in cell.modules() if isinstance(part, nn.Conv2d)]
    assert len(convs) == convolutions == cell.dag.convolutions
    assert len(seen) == merges
    assert count_weights(cell) == convolutions * (25 * 4 * 4 + 4)
    assert {(conv.kernel_size, conv.stride, conv.padding) for conv in convs} == {((5, 5), (1, 1), (2, 2))}


def test_weights_start_as_those_of_kaiming_he():
    conv = DagConv(32, 64)[0]
    assert float(conv.weight.detach().var()) == pytest.approx(2 / (25 * 32), rel=0.02)
    assert not conv.bias.any()
    x = torch.randn(8, 32, 12, 12)
    assert float(conv(x).detach()[..., 2:-2, 2:-2].square().mean()) == pytest.approx(2.0, rel=0.1)


def test_values_that_are_added_are_dropped_in_training_only():
    cell, x = DagCell(parse_dag("dag3_01_02"), 4), torch.randn(400, 4, 1, 1)
    whole = cell(x)
    one, other = (cell.convolutions[f"{v}_3"](cell.convolutions[f"0_{v}"](x)) for v in (1, 2))
    found = cell(x, 0.25)
    kinds = torch.stack([torch.zeros_like(one), one, other, whole]) / 0.75
    which = [int((kinds[:, sample] - found[sample]).abs().sum((1, 2, 3)).argmin()) for sample in range(400)]
    torch.testing.assert_close(found, torch.stack([kinds[kind, sample] for sample, kind in enumerate(which)]))
    assert {which.count(kind) > 10 for kind in range(3)} == {True}
    chain = DagCell(parse_dag("dag2_01"), 4)
    assert torch.equal(chain(x, 0.9), chain(x))  # nothing is added, so nothing can be left out
    assert torch.equal(cell.eval()(x, 0.25), whole)


def test_operations_by_name():
    torch.manual_seed(0)
    found = build_operation(DIAMOND, 4, 1, EVALUATION)
    assert isinstance(found, DagCell)
    assert not any(name.endswith("bias") for name, _ in found.named_parameters())
    biased = build_operation("dag1", 4, 1, OperationStyle(True, False, conv_bias=True))
    assert count_weights(biased) == 404
    check_operations(("dag1", "none", DIAMOND), "a test")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dag3_01", r"a test: 'dag3_01' names no DAG: its 3 vertices are not all connected"),
        ("dag3_12_01", r"a test: The DAG 'dag3_12_01' is called 'dag3_01_12'"),
        ("dig1", r"Unknown operations \['dig1'\] in a test\. Known are: none, .*, all like dag4_01_02_13_23\."),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        check_operations(("none", name), "a test")


def test_what_a_cell_keeps_must_be_kept():
    with pytest.raises(ValueError, match=r"'dag1' keeps height and width, so it needs a position of stride 1, not 2"):
        build_operation("dag1", 4, 2, EVALUATION)
    with pytest.raises(ValueError, match=r"'dag1' cannot change the number of channels from 4 to 8"):
        build_operation("dag1", 4, 1, EVALUATION, 8)
