"""Correlations of search networks against outputs that were kept and correlated at once."""

import csv
import io
from dataclasses import replace

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.correlation import Correlations, EdgeCorrelation, OperatorCorrelation
from lit_nas.edges.shared_dag_convs import SharedDagEdge
from lit_nas.engine import Fused, Reference
from lit_nas.methods import DARTS, PCDARTS, MergeNAS
from lit_nas.operations import BatchNorm
from lit_nas.relaxations import GumbelSoftmax, Softmax
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from tests.correlation.test_feature_moments import two_pass
from tests.support.tiny import INPUTS, MOBILE, NAS_BENCH_201, SPACE, STAGED, TINY, VARIANTS, pair, with_representatives

ALL = OperatorCorrelation("all")
MERGED = ("MergeNAS", "MergeNAS-nas-bench-201")
IMAGES = torch.cat([pair(seed)[0] for seed in range(4)])  # 24 of them


def measured(module, how=ALL, images=IMAGES, batch=5):
    return how.measure(module.network, module.architecture, images.split(batch), len(images))


def trained(module):
    """With running statistics, logits and weights that a search may have come to."""
    torch.manual_seed(1)
    module.double().train()
    with torch.no_grad():
        for logits in module.architecture.parameters():
            logits.add_(torch.rand_like(logits))
        norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
        for momentum in (1.0, 0.1):  # statistics of all images, so that no ReLU is dead
            for norm in norms:
                norm.momentum = momentum
            module.network(IMAGES.double(), module.architecture.mix(Softmax()))
    return module


def kept(module):
    """Outputs of all candidates by (cell, edge, name), from the modules of the engine that defines the others."""
    cells = [cell for cell in module.network.modules() if hasattr(cell, "engine")]
    found = {}
    for number, cell in enumerate(cells):
        cell.engine = Reference()
        for edge, own in enumerate(cell.edges):
            for name, operation in own.operations.items():
                operation.register_forward_hook(
                    lambda *_, key=(number, edge, name): found.__setitem__(key, _[-1].clone())
                )
    module.eval()
    with torch.no_grad():
        module.network(IMAGES.double(), module.architecture())
    return cells, found


@pytest.mark.parametrize("definition", ["features", "maps"])
@pytest.mark.parametrize("engine", [Reference(), Fused(), Fused(batch_edges=True, layout="contiguous")])
def test_it_is_the_correlation_of_all_outputs_at_once(engine, definition):
    module = trained(DARTS(INPUTS, SPACE, engine=engine))
    found = measured(module, OperatorCorrelation("all", definition))
    assert (found.images, found.definition, len(found.edges)) == (24, definition, 3 * 5)
    cells, outputs = kept(module)
    for edge in found.edges:
        space = cells[edge.cell].space
        number = space.edges.index((edge.source, edge.target))
        assert (edge.type, edge.operations) == (space.name, space.operations[1:])
        expected = two_pass([outputs[edge.cell, number, name] for name in edge.operations], definition)
        torch.testing.assert_close(torch.tensor(edge.matrix, dtype=torch.float64), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", [*with_representatives(), "ProxylessNAS-mobile", "PCDARTS-random"])
def test_every_method_has_correlations(name):
    module = (TINY | VARIANTS)[name]()
    if name in MERGED:
        with pytest.raises(ValueError, match="share a kernel"):
            measured(module)
        return
    if module.architecture.space.name == "dags":  # whose rows have candidates of their own
        shared = isinstance(module.network.cells[0].edges[0], SharedDagEdge)
        with pytest.raises(ValueError, match="share a kernel" if shared else "No edge that is looked at has both"):
            measured(module)
        return
    found = measured(module)
    everything = dict.fromkeys(name for cell in module.architecture.cells.values() for name in cell.operations)
    names = tuple(name for name in everything if name not in ("none", "skip_connect_2"))
    assert found.operations == names
    for row, values in enumerate(found.mean()):
        assert values[row] == pytest.approx(1.0)
        assert all(-1 <= value <= 1 for value in values)


def test_edges_are_those_of_the_authors_or_all():
    def places(space, how):
        return {(edge.type, edge.source, edge.target) for edge in measured(DARTS(INPUTS, space), how, IMAGES[:4]).edges}

    ends = OperatorCorrelation()
    assert places(replace(SPACE, nodes=4), ends) == {
        (kind, *e) for kind in ("normal", "reduce") for e in ((0, 2), (2, 5))
    }
    assert places(NAS_BENCH_201, ends) == {("normal", 0, 1), ("normal", 1, 3)}
    assert places(replace(SPACE, nodes=1), ends) == {(kind, 0, 2) for kind in ("normal", "reduce")}
    assert len(measured(DARTS(INPUTS, replace(SPACE, nodes=4, num_cells=4)), ends, IMAGES[:4]).edges) == 4 * 2
    assert len(places(replace(SPACE, nodes=4), ALL)) == 2 * 14


def test_nothing_of_the_search_changes():
    module = TINY["GDAS"]()
    module.train()
    module.network.stem.eval()
    modes = [part.training for part in module.modules()]
    before, state = {n: v.clone() for n, v in module.state_dict().items()}, torch.get_rng_state()
    measured(module)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks for part in module.modules())
    with pytest.raises(RuntimeError, match="to have 2 channels"):
        measured(module, images=torch.zeros(4, 3, 8, 8))
    assert [part.training for part in module.modules()] == modes
    assert not any(part._forward_hooks for part in module.modules())


def test_batches_and_precision_count_for_little():
    module = trained(DARTS(INPUTS, SPACE))
    expected = torch.tensor(measured(module).mean())
    torch.testing.assert_close(torch.tensor(measured(module, batch=24).mean()), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.tensor(measured(module.float()).mean()), expected, atol=1e-5, rtol=0)


def test_all_candidates_are_looked_at_whatever_is_drawn():
    network = DARTS(INPUTS, SPACE).network
    torch.manual_seed(0)
    hard = Architecture(SPACE, GumbelSoftmax(Constant(1.0), hard=True), evaluation="best")
    assert ALL.measure(network, hard, IMAGES.split(6), 24).operations == SPACE.operations[1:]


def test_outputs_are_taken_before_their_weights():
    """Weights of an edge that leads to the last node change nothing that is correlated."""
    module = trained(DARTS(INPUTS, replace(SPACE, nodes=1)))
    first = [edge for edge in measured(module).edges if edge.cell == 0]
    with torch.no_grad():
        module.architecture.logits["normal"].copy_(5 * torch.randn_like(module.architecture.logits["normal"]))
    assert [edge for edge in measured(module).edges if edge.cell == 0] == first


def test_the_number_of_images_is_kept():
    module = trained(DARTS(INPUTS, SPACE))
    found = ALL.measure(module.network, module.architecture, IMAGES.split(5), 12)
    same = measured(module, images=IMAGES[:12])
    assert found.images == same.images == 12
    torch.testing.assert_close(torch.tensor(found.mean()), torch.tensor(same.mean()), atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="over 25 images were asked for, but there are only 24"):
        ALL.measure(module.network, module.architecture, IMAGES.split(5), 25)


def test_no_batch_is_read_that_is_not_needed():
    def batches():
        yield IMAGES[:6]
        yield IMAGES[6:12]
        raise AssertionError

    module = DARTS(INPUTS, SPACE)
    assert ALL.measure(module.network, module.architecture, batches(), 12).images == 12


def test_operations_may_be_left_out():
    module = DARTS(INPUTS, SPACE)
    how = OperatorCorrelation("all", exclude=("skip_connect", "none"))
    found = measured(module, how)
    whole = measured(module)
    assert found.operations == tuple(name for name in whole.operations if name != "skip_connect")
    assert how.alone(module.architecture) == ("skip_connect",)
    assert ALL.alone(module.architecture) == ()
    assert found.mean()[0][1] == pytest.approx(whole.mean()[0][1], abs=1e-6)
    copies = DARTS(INPUTS, replace(SPACE, operations=("skip_connect", "skip_connect_2", "sep_conv_3x3", "none")))
    assert measured(copies).operations == ("skip_connect", "sep_conv_3x3")


def test_pruned_candidates_are_left_out():
    module = DARTS(INPUTS, SPACE)
    for name in module.architecture.cells:
        keep = torch.ones_like(module.architecture.mask(name))
        keep[:, SPACE.operations.index("dil_conv_5x5")] = False
        module.architecture.prune(name, keep)
    assert measured(module).operations == SPACE.operations[1:-1]


def test_constant_outputs_are_told_and_do_not_count():
    module = DARTS(INPUTS, replace(SPACE, operations=("none", "skip_connect", "sep_conv_3x3", "max_pool_3x3")))
    dead = module.network.cells[1].edges[2].operations["sep_conv_3x3"]
    dead.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    found = measured(module)
    (flat,) = (edge for edge in found.edges if edge.constant)
    assert (flat.cell, flat.constant) == (1, ("sep_conv_3x3",))
    rest = [edge.matrix[0][1] for edge in found.edges if edge is not flat]
    assert found.mean()[0][1] == pytest.approx(sum(rest) / len(rest))
    rows = [row for row in csv.reader(io.StringIO(found.csv())) if row[0] == "1" and row[4] == "sep_conv_3x3"]
    source, target = map(str, (flat.source, flat.target))
    assert ["1", flat.type, source, target, "sep_conv_3x3", "", "", ""] in rows
    everywhere = [part for path, part in module.network.named_modules() if path.endswith("sep_conv_3x3")]
    for part in everywhere:
        part.register_forward_hook(lambda module, inputs, output: torch.ones_like(output))
    with pytest.raises(
        ValueError, match="skip_connect and sep_conv_3x3 cannot be correlated, because outputs are const"
    ):
        measured(module).mean()


@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (lambda: MergeNAS(INPUTS, SPACE), ALL, r"Candidates of the edge 0 -> 2 of cell 0 \(normal\) share a kernel"),
        (
            lambda: DARTS(INPUTS, replace(STAGED, candidates={**STAGED.candidates, "reduce": [["none"]] * 5})),
            ALL,
            "No edge that is looked at has both max_pool_3x3 and skip_connect",
        ),
        (lambda: DARTS(INPUTS, replace(SPACE, operations=("none", "sep_conv_3x3"))), ALL, "there is nothing to group"),
        (lambda: DARTS(INPUTS, SPACE), OperatorCorrelation(exclude=("nor_conv_3x3",)), "names nor_conv_3x3, which the"),
        (lambda: DARTS(INPUTS, SPACE), OperatorCorrelation(exclude=SPACE.operations[2:]), "there is nothing to group"),
    ],
)
def test_networks_without_outputs_to_correlate_are_refused(make, how, message):
    module = make()
    with pytest.raises(ValueError, match=message):
        how.check(module.network, module.architecture)
    with pytest.raises(ValueError, match=message):
        measured(module, how)


def test_partial_channels_are_those_that_candidates_see():
    module = trained(PCDARTS(INPUTS, replace(SPACE, init_channels=4), optim=SearchOptim()))
    found = measured(module)
    _, outputs = kept(module)
    edge = found.edges[0]
    maps = [outputs[0, 0, name] for name in edge.operations]
    assert {each.shape[1] for each in maps} == {1}
    torch.testing.assert_close(torch.tensor(edge.matrix, dtype=torch.float64), two_pass(maps), atol=1e-10, rtol=0)


def test_networks_that_have_diverged_are_refused():
    module = DARTS(INPUTS, SPACE)
    with torch.no_grad():
        next(module.network.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="outputs of the candidates are not finite"):
        measured(module)


def test_edges_that_do_not_run_their_candidates_are_refused():
    module = DARTS(INPUTS, SPACE, engine=Reference())
    edge = module.network.cells[0].edges[0]
    edge.terms = lambda x, weights, beside=None: iter([edge.operations["skip_connect"](x)])
    with pytest.raises(ValueError, match=r"edge 0 -> 2 of cell 0 \(normal\) did not compute each of its candidates"):
        measured(module)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"edges": "some"}, "correlation.edges must be ends or all, not 'some'"),
        ({"definition": "pixels"}, "correlation.definition must be features or maps, not 'pixels'"),
        ({"exclude": ["sep_conv"]}, r"Unknown operations \['sep_conv'\] in correlation.exclude"),
    ],
)
def test_unknown_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OperatorCorrelation(**arguments)


def test_the_mean_is_over_edges_that_have_both():
    one = EdgeCorrelation(0, "normal", 0, 1, ("a", "b"), ((1.0, 0.5), (0.5, 1.0)))
    two = EdgeCorrelation(1, "normal", 0, 1, ("a", "b", "c"), ((1.0, 0.1, 0.2), (0.1, 1.0, 0.4), (0.2, 0.4, 1.0)))
    found = Correlations((one, two), ("a", "b", "c"), 9, "features")
    expected = torch.tensor([[1.0, 0.3, 0.2], [0.3, 1.0, 0.4], [0.2, 0.4, 1.0]])
    torch.testing.assert_close(torch.tensor(found.mean()), expected)
    rows = list(csv.reader(io.StringIO(found.csv())))
    assert rows[0] == ["cell", "type", "source", "target", "operation", "a", "b", "c"]
    assert rows[1] == ["0", "normal", "0", "1", "a", "1.000000", "0.500000", ""]
    assert rows[-1] == ["mean", "", "", "", "c", "0.200000", "0.400000", "1.000000"]
    assert len(rows) == 1 + 2 + 3 + 3
    with pytest.raises(ValueError, match="No edge has both a and c"):
        Correlations((one,), ("a", "b", "c"), 9, "features").mean()
    with pytest.raises(ValueError, match="Correlations need at least one edge"):
        Correlations((), (), 9, "features")


def test_a_space_of_blocks_has_an_edge_for_each():
    module = VARIANTS["ProxylessNAS-mobile"]()
    found = measured(module, OperatorCorrelation())
    assert [edge.cell for edge in found.edges] == list(range(len(MOBILE.layout)))
    assert {(edge.source, edge.target) for edge in found.edges} == {(0, 1)}
