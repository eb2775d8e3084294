"""Tables of latencies: which parts are measured, how, and what a search makes of them."""

import copy
import json
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from lit_nas.architecture import Architecture
from lit_nas.edges import MergedConvolutions
from lit_nas.engine import Fused, Reference
from lit_nas.methods import DARTS, PARSEC, ProxylessNAS
from lit_nas.networks import build_search_network
from lit_nas.networks.latency import LatencyTable, Piece, find_costs, load_latencies, network_pieces
from lit_nas.networks.stopwatch import Stopwatch
from lit_nas.operations import BatchNorm
from lit_nas.optim import Reinforce
from lit_nas.regularizers import CostFactor, ExpectedCost
from lit_nas.relaxations import Softmax
from lit_nas.schedules import Constant
from lit_nas.search import ImportanceSampling, SearchOptim
from lit_nas.specs import ImageSpec, TextSpec
from tests.methods.test_contract import fit
from tests.support.text import GrammarSpace, LanguageSearch
from tests.support.tiny import DAGS, INPUTS, MOBILE, NAS_BENCH_201, PROXYLESS, SPACE

SPACES = pytest.mark.parametrize(
    "space", [MOBILE, SPACE, NAS_BENCH_201, DAGS], ids=["mobile", "darts", "nas-bench-201", "dags"]
)


def table_of(network, space, scale=1.0, spec=INPUTS):
    """A table with another number for each key."""
    keys = dict.fromkeys(piece.key for piece in network_pieces(network, space, spec))
    return LatencyTable({key: scale * (1.5 + 0.25 * number) for number, key in enumerate(keys)}, {"machine": {}})


@SPACES
@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_every_candidate_but_none_is_a_piece_that_runs(space, engine):
    network = build_search_network(space, INPUTS, engine)
    names, numbers = list(network.state_dict()), torch.get_rng_state()
    pieces = network_pieces(network, space, INPUTS)
    assert list(network.state_dict()) == names
    assert not any(module._forward_hooks for module in network.modules())
    assert {type(module.engine) for module in network.modules() if hasattr(module, "engine")} == {type(engine)}
    assert torch.equal(torch.get_rng_state(), numbers)
    cells = [space.cell_at(position) for position in space.layout]
    wanted = {
        (number, edge, column)
        for number, cell in enumerate(cells)
        for edge in range(len(cell.edges))
        for column in cell.allowed[edge]
        if cell.operations[column] != "none"
    }
    assert {piece.place for piece in pieces if piece.place is not None} == wanted
    for piece in pieces:
        inputs = [torch.randn(2, *shape) for shape in piece.shapes]
        out = piece.module.eval()(*inputs)
        out = out[0] if isinstance(out, (list, tuple)) else out
        *sides, channels = map(int, piece.key.rpartition(" -> ")[2].split("x"))
        assert tuple(out.shape[1:]) == (channels, *sides), piece.key
        if piece.place is not None:  # as a network of the genotype has it
            number, _, column = piece.place
            assert piece.key.startswith(f"{cells[number].operations[column]} ")
            assert all(norm.affine for norm in piece.module.modules() if isinstance(norm, BatchNorm))


def test_what_is_not_searched_is_measured_as_a_whole():
    pieces = network_pieces(build_search_network(MOBILE, INPUTS, Fused()), MOBILE, INPUTS)
    assert [piece.key for piece in pieces if piece.place is None] == [
        "stem 8x8x2 -> 8x8x4", "head 4x4x8 -> 4x4x8", "classifier 8 -> 3",
    ]  # fmt: skip
    assert "mb_conv_5x5_e6 8x8x4 -> 4x4x6" in {piece.key for piece in pieces}
    fixed = [p.key for p in network_pieces(build_search_network(SPACE, INPUTS, Fused()), SPACE, INPUTS) if not p.place]
    assert [key.partition(" ")[0] for key in fixed if key.startswith("cells")] == [
        f"cells.{number}.inputs" for number in range(3)
    ]
    assert sum("+" in key for key in fixed) == 3  # which have two inputs


@pytest.mark.parametrize("space", [MOBILE, SPACE], ids=["mobile", "darts"])
def test_the_expected_latency_is_that_of_the_parts(space, tmp_path):
    """With logits that have decided it is the sum of one network; its gradient is p_i * (F_i - sum of p_j * F_j)."""
    network = build_search_network(space, INPUTS, Fused())
    table = table_of(network, space)
    table.save(tmp_path / "latency.json")
    measure = str(tmp_path / "latency.json")
    assert load_latencies(measure).latencies == table.latencies
    part = ExpectedCost(Constant(1.0), measure, reference=10.0)
    module = DARTS(INPUTS, space, optim=SearchOptim(regularizers=(part,))).double()
    architecture, generator = module.architecture, torch.Generator().manual_seed(0)
    chosen = {}
    with torch.no_grad():
        for name, cell in space.cells.items():
            columns = [row[int(torch.randint(len(row), (), generator=generator))] for row in cell.allowed]
            architecture.logits[name].fill_(-1e4)
            architecture.logits[name][range(len(columns)), columns] = 0.0
            chosen[name] = columns
    pieces = network_pieces(network, space, INPUTS)
    total = 0.0
    for piece in pieces:
        number, edge, column = piece.place or (0, 0, 0)
        if piece.place is None or chosen[space.layout[number].cell][edge] == column:
            total += table.latencies[piece.key]
    zeros = [torch.zeros_like(parameter) for parameter in architecture.parameters()]
    _, values = module.regularisation.add(zeros, None)
    assert float(values["expected_cost"]) == pytest.approx(total / 10 - 1)
    with torch.no_grad():
        for logits in architecture.parameters():
            logits.normal_(generator=generator)
    found, _ = module.regularisation.add(zeros, None)
    for (name, logits), gradient in zip(architecture.logits.items(), found, strict=True):
        expected = torch.zeros_like(logits)
        for edge, row in enumerate(logits.detach().softmax(-1)):
            cost = torch.zeros_like(row)
            for piece in pieces:
                if piece.place and space.layout[piece.place[0]].cell == name and piece.place[1] == edge:
                    cost[piece.place[2]] += table.latencies[piece.key]
            expected[edge] = row * (cost - (row * cost).sum()) / 10
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_a_search_descends_on_its_loss_times_the_latency(tmp_path):
    network = build_search_network(MOBILE, INPUTS, Fused())
    table_of(network, MOBILE, 3.0).save(tmp_path / "latency.json")
    part = CostFactor(Constant(0.3), str(tmp_path / "latency.json"), scale=0.2)
    module = ProxylessNAS(INPUTS, MOBILE, arch_every=1, optim=replace(SearchOptim(), regularizers=(part,)))
    before = copy.deepcopy(module.architecture.state_dict())
    fit(module, tmp_path, steps=2)
    assert all(
        not torch.equal(value, before[name])
        for name, value in module.architecture.state_dict().items()
        if name.startswith("logits")
    )


def test_rewards_may_count_latencies(tmp_path):
    network = build_search_network(MOBILE, INPUTS, Fused())
    table_of(network, MOBILE).save(tmp_path / "latency.json")
    reinforce = Reinforce(2, measure=str(tmp_path / "latency.json"), reference=20.0)
    module = ProxylessNAS(INPUTS, MOBILE, "reinforce", arch_every=1, reinforce=reinforce, optim=PROXYLESS)
    fit(module, tmp_path, steps=1)
    assert float(module.baseline.known) == 1


def test_children_may_count_latencies(tmp_path):
    """With equal losses the share of a child is its latency to the power -beta."""
    network = build_search_network(NAS_BENCH_201, INPUTS, Fused())
    table = table_of(network, NAS_BENCH_201)
    table.save(tmp_path / "latency.json")
    path = str(tmp_path / "latency.json")
    sampling = ImportanceSampling(4, likelihood="mean", cost_power=Constant(2.0), cost=path)
    module = PARSEC(INPUTS, NAS_BENCH_201, sampling=sampling)
    module.loss = lambda batch: module(batch[0]).sum() * 0.0
    seen, costs = [], module.samples.costs
    module.samples.costs = lambda *arguments: seen.append(costs(*arguments)) or seen[-1]
    fit(module, tmp_path, steps=1)
    total = find_costs(network, NAS_BENCH_201, INPUTS, path)
    least, most = (
        total.fixed + sum(float(choose(each, -1).values.sum()) for each in total.costs)
        for choose in (torch.min, torch.max)
    )
    assert len(seen) == 2  # of both levels
    for each in seen:
        assert len(each.unique()) > 1
        assert least <= float(each.min()) < float(each.max()) <= most
        shares = sampling.shares(torch.zeros(4), 6, module.architecture.clock, each)
        torch.testing.assert_close(shares, each.double() ** -2 / (each.double() ** -2).sum())


@pytest.mark.parametrize("method", ["gates", "reinforce", "children"])
def test_a_table_that_lacks_a_candidate_is_refused_before_training(method, tmp_path):
    network = build_search_network(MOBILE, INPUTS, Fused())
    table = table_of(network, MOBILE)
    lost = "mb_conv_5x5_e6 8x8x4 -> 4x4x6"
    path = tmp_path / "latency.json"
    replace(table, latencies={key: value for key, value in table.latencies.items() if key != lost}).save(path)
    if method == "gates":
        module = ProxylessNAS(INPUTS, MOBILE, optim=SearchOptim(regularizers=(ExpectedCost(measure=str(path)),)))
    elif method == "children":
        sampling = ImportanceSampling(2, cost_power=Constant(1.0), cost=str(path))
        module = PARSEC(INPUTS, MOBILE, sampling=sampling)
        module.samples.means = None  # which would be called first
    else:
        module = ProxylessNAS(
            INPUTS, MOBILE, "reinforce", reinforce=Reinforce(measure=str(path), reference=2.0), optim=PROXYLESS
        )
    module.step_weights = None  # which would be called first
    message = rf"The table '.*latency\.json' lacks 1 of the latencies .* for example `{lost}`: measure them with"
    with pytest.raises(ValueError, match=message):
        fit(module, tmp_path)


def test_costs_below_one_have_no_logarithm_to_multiply_by(tmp_path):
    network = build_search_network(MOBILE, INPUTS, Fused())
    table_of(network, MOBILE, 1e-3).save(tmp_path / "latency.json")
    part = CostFactor(measure=str(tmp_path / "latency.json"))
    with pytest.raises(ValueError, match=r"takes logarithms, so costs must be above 1, but 0\.0\d+ is expected"):
        fit(ProxylessNAS(INPUTS, MOBILE, optim=SearchOptim(regularizers=(part,))), tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ExpectedCost(measure="milliseconds"),
            r"ExpectedCost\.measure must be .* the path of a table",
        ),
        (
            lambda: ImportanceSampling(cost="ms"),
            r"model\.sampling\.cost must be one of parameters, .* or the path of a table of latencies",
        ),
        (
            lambda: Reinforce(measure="ms", reference=2.0),
            r"model\.reinforce\.measure must be one of parameters, .* or the path of a table of latencies",
        ),
    ],
)
def test_what_is_no_measure_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_only_networks_of_images_with_candidates_of_their_own_are_measured():
    module = LanguageSearch()
    with pytest.raises(ValueError, match="Latencies are those of networks for images, but this network reads token"):
        network_pieces(module.network, GrammarSpace(), TextSpec(12))
    with pytest.raises(ValueError, match="Linear has no cells of the space whose latency could be measured"):
        network_pieces(nn.Linear(2, 2), MOBILE, INPUTS)
    merged = build_search_network(SPACE, INPUTS, Fused(), MergedConvolutions())
    with pytest.raises(ValueError, match="share their weights"):
        network_pieces(merged, SPACE, INPUTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a table of latencies: "),
        ("[]", "its format is not 'lit-nas latency'"),
        ('{"format": "lit-nas latency", "version": 2}', "its version is 2, and this release reads 1"),
        ('{"format": "lit-nas latency", "version": 1}', "it has no `milliseconds`"),
        (
            '{"format": "lit-nas latency", "version": 1, "milliseconds": {"a": -1}}',
            "the latency of `a` must be a number",
        ),
        ('{"format": "lit-nas latency", "version": 1, "milliseconds": {"a": "1"}}', "milliseconds, not '1'"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    path = tmp_path / "latency.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_latencies(path)
    with pytest.raises(FileNotFoundError, match=r"no table of latencies 'none\.json'.* `lit-nas latency -c"):
        find_costs(build_search_network(MOBILE, INPUTS, Fused()), MOBILE, INPUTS, "none.json")


class Slow(nn.Module):
    """Takes 50 ms in its first runs, 2 ms later, and 30 ms once in between."""

    def __init__(self):
        super().__init__()
        self.runs, self.threads = 0, set()

    def forward(self, x):
        self.runs += 1
        self.threads.add(torch.get_num_threads())
        assert not self.training
        assert x.shape == (3, 4, 2, 2)
        time.sleep(0.05 if self.runs <= 2 else 0.03 if self.runs == 4 else 0.002)
        return x


def test_the_median_of_the_runs_behind_the_warm_up_counts():
    slow, before = Slow(), torch.get_num_threads()
    watch = Stopwatch(warm_up=2, repeats=5, threads=2, batch_size=3)
    table = watch.measure([Piece("slow", slow, ((4, 2, 2),)), Piece("slow", slow, ((4, 2, 2),))])
    assert slow.runs == 7  # once for both
    assert slow.threads == {2}
    assert torch.get_num_threads() == before
    assert 2 <= table.latencies["slow"] < 30
    assert table.about["measured"] == {
        "warm_up": 2, "repeats": 5, "threads": 2, "batch_size": 3, "device": "cpu",
    }  # fmt: skip
    assert set(table.about["machine"]) == {"processor", "system", "torch"}
    json.dumps(table.about)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"warm_up": -1}, r"--warm_up must be at least 0, not -1"),
        ({"repeats": 0}, r"--repeats must be at least 1, not 0"),
        ({"threads": 0}, r"--threads must be at least 1, not 0"),
        ({"batch_size": 0}, r"--batch_size must be at least 1, not 0"),
        ({"device": "abacus"}, r"--device abacus cannot be used here: "),
    ],
)
def test_impossible_measurements_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Stopwatch(**arguments)


def test_costs_have_the_form_of_counted_ones():
    network = build_search_network(NAS_BENCH_201, INPUTS, Fused())
    costs = table_of(network, NAS_BENCH_201).costs(network, NAS_BENCH_201, INPUTS)
    assert costs.types == ("normal",) * 3
    none = NAS_BENCH_201.operations.index("none")
    assert all(not cost[:, none].any() for cost in costs.costs)
    others = [column for column in range(5) if column != none]
    assert all((cost[:, others] > 0).all() for cost in costs.costs)
    assert {name: logits.shape for name, logits in Architecture(NAS_BENCH_201, Softmax()).logits.items()} == {
        name: cost.shape for name, cost in costs.by_type.items()
    }
    larger = ImageSpec(2, 16, 16, 3)
    with pytest.raises(ValueError, match="The table lacks"):
        table_of(network, NAS_BENCH_201).costs(network, NAS_BENCH_201, larger)
