"""Every engine runs every kind of edge, alone and mixed with others in a cell, as its own code says."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from lit_nas.architecture import CellMixture
from lit_nas.edges import AuxiliarySkip, Edge, EdgeKind, MergedConvolutions, MixedEdge, PartialChannels, PlainEdges
from lit_nas.engine import Fused, Reference
from lit_nas.operations import synchronise_norms
from tests.engine.test_equality import (
    ENGINES,
    assert_equal,
    everything,
    forget,
    make_cell,
    make_nas_bench_201_cell,
    results,
)


class Squashed(MixedEdge):
    """A kind that no engine knows: its value is no sum of its candidates'."""

    def terms(self, x, weights, beside=None):
        yield torch.tanh(sum(super().terms(x, weights, beside)))


@dataclass(frozen=True)
class SquashedEdges(EdgeKind):
    def make(self, plan):
        return Squashed(plan.names, plan.channels, plan.stride, plan.style)


@dataclass(frozen=True)
class AllKinds(EdgeKind):
    """Another kind for each edge of a cell, in turn."""

    def make(self, plan):
        kinds = [PlainEdges(), *KINDS.values()]
        kind = kinds[AllKinds.built % len(kinds)]
        AllKinds.built += 1
        return kind.make(plan)


AllKinds.built = 0
KINDS = {
    "partial-2": PartialChannels(2),
    "partial-4": PartialChannels(4),
    "auxiliary": AuxiliarySkip(),
    "auxiliary-conv": AuxiliarySkip("conv_1x1"),
    "merged": MergedConvolutions(),
    "merged-folded": MergedConvolutions(fold=True),
    "merged-recomputed": MergedConvolutions(fold=True, recompute=True),
    "merged-twice": MergedConvolutions(2),
    "unknown": SquashedEdges(),
}
CELLS = {**KINDS, "all in one cell": AllKinds()}
SOME = [ENGINES[name] for name in ("single", "batched", "checkpoint")]
"""Those that differ in how they run an edge; the others are slow by their number."""
ONE_PATH = tuple((column,) for column in (4, 0, 3, 1, 7, 5, 2, 6, 3))
FEW = ((), (0, 3), (1, 4, 6), (5,), (), (2, 7), (3,), (0,), (4, 5))


def cell_of(name, kind="normal", **arguments):
    AllKinds.built = 0
    return make_cell(kind, channels=8, edges=CELLS[name], **arguments)


@pytest.mark.parametrize(
    "engine",
    [pytest.param(e, id=name, marks=() if e in SOME else pytest.mark.slow) for name, e in ENGINES.items()],
)
@pytest.mark.parametrize("kind", ["normal", "reduce"])
@pytest.mark.parametrize("name", CELLS)
def test_engines_agree(name, kind, engine):
    cell = cell_of(name, kind)
    for active, beside in ((everything(cell), True), (ONE_PATH, False), (FEW, True)):
        expected = results(Reference(), cell, active, batch=2, channels=8, beside=beside)
        found = results(engine, cell, active, batch=2, channels=8, beside=beside)
        assert_equal(found, expected, 1e-10)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("level", ["weights", "arch"])
def test_engines_agree_in_steps_of_one_level(name, level):
    cell = cell_of(name, "reduce")
    expected = results(Reference(), cell, everything(cell), batch=2, channels=8, level=level, beside=True)
    for engine in SOME:
        found = results(engine, cell, everything(cell), batch=2, channels=8, level=level, beside=True)
        assert_equal(found, expected, 1e-10)


@pytest.mark.parametrize("prepare", [nn.Module.eval, forget])
@pytest.mark.parametrize("name", CELLS)
def test_engines_agree_in_all_modes_of_normalisation(name, prepare):
    cell = cell_of(name)
    for buffer in cell.buffers():
        buffer.copy_(torch.rand_like(buffer) + 0.5)
    expected = results(Reference(), cell, everything(cell), batch=2, channels=8, prepare=prepare)
    for engine in SOME:
        found = results(engine, cell, everything(cell), batch=2, channels=8, prepare=prepare)
        assert_equal(found, expected, 1e-10)


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_engines_agree_in_nas_bench_201(name, tracked):
    AllKinds.built = 0
    cell = make_nas_bench_201_cell(8, tracked=tracked, edges=CELLS[name])
    expected = results(Reference(), cell, everything(cell), batch=2, channels=8, beside=True)
    for engine in SOME:
        found = results(engine, cell, everything(cell), batch=2, channels=8, beside=True)
        assert_equal(found, expected, 1e-10)


@pytest.mark.parametrize("engine", [ENGINES["single"], ENGINES["batched"]])
@pytest.mark.parametrize("name", CELLS)
def test_second_derivatives(name, engine):
    cell = cell_of(name, "reduce", operations=("none", "skip_connect", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_3x3"))
    states = [torch.randn(2, 8, 4, 4, dtype=torch.float64) for _ in range(2)]
    weights, beside = (torch.rand(*shape, dtype=torch.float64, requires_grad=True) for shape in ((9, 5), (9,)))
    found = []
    for e in (Reference(), engine):
        nodes = e(cell, states, CellMixture(weights, everything(cell), beside))
        parameters = list(cell.edges.parameters())
        first = torch.autograd.grad(sum(node.pow(3).sum() for node in nodes), parameters, create_graph=True)
        inner = sum((g * torch.linspace(-1, 1, g.numel(), dtype=g.dtype).view_as(g)).sum() for g in first)
        found.append(
            torch.autograd.grad(inner, [weights, beside, *parameters], allow_unused=True, materialize_grads=True)
        )
    noise = 1e-13 * max(float(expected.abs().max()) for expected in found[0])
    for ours, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()) + noise)


@pytest.mark.parametrize("engine", SOME)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.filterwarnings("ignore:In CPU autocast")
def test_autocast_is_close(name, engine):
    cell = cell_of(name, dtype=torch.float32)
    states = [torch.randn(4, 8, 8, 8) for _ in range(2)]
    weights, beside = torch.rand(9, 8, requires_grad=True), torch.rand(9, requires_grad=True)
    exact = torch.cat(Reference()(cell, states, CellMixture(weights, everything(cell), beside)))
    with torch.autocast("cpu", torch.bfloat16):
        nodes = torch.cat(engine(cell, states, CellMixture(weights, everything(cell), beside)))
    nodes.float().square().mean().backward()
    assert weights.grad.isfinite().all()
    assert (nodes - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("name", CELLS)
def test_synchronised_norms_run_as_they_are(name):
    cell = cell_of(name)
    expected = results(Reference(), cell, everything(cell), batch=2, channels=8, beside=True)
    for engine in (Fused(), Fused(checkpoint=True)):
        found = results(
            engine, cell, everything(cell), batch=2, channels=8, beside=True, prepare=synchronise_norms
        )  # fmt: skip
        assert_equal(found, expected, 1e-10)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("engine", [Reference(), Fused(), Fused(checkpoint=True)])
def test_what_is_not_active_gets_no_gradient(name, engine):
    cell = cell_of(name, "reduce")
    found = results(engine, cell, ONE_PATH, batch=2, channels=8, beside=True)
    for edge, (column,) in enumerate(ONE_PATH):
        for other in set(cell.space.operations) - {cell.space.operations[column]}:
            prefix = f"gradient of edges.{edge}.operations.{other}."
            assert all(value is None for key, value in found.items() if key.startswith(prefix))
        if cell.space.operations[column] not in ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"):
            merged = [value for key, value in found.items() if key.startswith(f"gradient of edges.{edge}.merged.")]
            assert all(value is None for value in merged)


def test_a_path_that_is_replaced_after_a_first_run_is_noticed():
    engine, cell = Fused(batch_edges=True), cell_of("auxiliary")
    states = [torch.randn(2, 8, 8, 8, dtype=torch.float64) for _ in range(2)]
    mixture = CellMixture(torch.rand(9, 8, dtype=torch.float64), everything(cell), torch.rand(9, dtype=torch.float64))
    before = engine(cell, states, mixture)
    cell.edges[0].path = nn.Hardtanh()
    after = engine(cell, states, mixture)
    for node, found, expected in zip(before, after, Reference()(cell, states, mixture), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        assert not torch.equal(node, found)


def test_terms_of_ones_own_are_not_fused_unless_its_class_says_so():
    class Known(Squashed):
        def terms(self, x, weights, beside=None):
            yield from MixedEdge.terms(self, x, weights, beside)

        fusible = MixedEdge.fusible

    assert Squashed.fusible is None
    assert isinstance(Known.fusible, property)
    assert Edge.fusible.fget(None) is None
