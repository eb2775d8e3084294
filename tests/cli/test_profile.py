"""`lit-nas profile`: the range of a space by brute force, and whether targets can be reached."""

import itertools
import json
import re
from statistics import median

import pytest
import torch

from lit_nas.cli import main
from lit_nas.derivation import TopEdges, default_deriver
from lit_nas.genotype import CellGenotype, Genotype
from lit_nas.networks import CIFARNetwork, NasBench201CIFARNetwork
from lit_nas.networks.derived_costs import derived_costs
from lit_nas.report.cost_range import CostRange
from lit_nas.spaces import DartsSpace, NasBench201Space
from tests.support.tiny import INPUTS
from tests.test_configs import SYNTHETIC

SEARCH = ["-c", "configs/search/darts.yaml", "-c", "configs/layers/space/nas_bench_201.yaml", *SYNTHETIC]
SMALL = ["--init_channels", "4", "--num_cells", "3"]
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def every_cell(space):
    """All cells of NAS-Bench-201 over the operations of a space."""
    cell = space.cells["normal"]
    for names in itertools.product(space.operations, repeat=6):
        edges = tuple((name, *edge) for name, edge in zip(names, cell.edges, strict=True))
        yield Genotype({"normal": CellGenotype(edges, (3,), 1)}, space.name)


def test_the_ends_are_those_of_all_cells():
    space = NasBench201Space(operations=("none", "nor_conv_1x1", "nor_conv_3x3"))
    costs = derived_costs(space, INPUTS, NasBench201CIFARNetwork(4, 3), "parameters")
    spread, values = CostRange(space, default_deriver(space), costs), sorted(map(costs.of, every_cell(space)))
    assert (spread.least, spread.most) == (values[0], values[-1])
    assert spread.median(50, seed=1) == spread.median(50, seed=1) == median(spread.samples(50, seed=1))
    assert spread.samples(50, seed=1) != spread.samples(50, seed=2)
    assert set(spread.samples(50)) <= set(values)
    for wanted in (values[100], values[400], values[-1]):
        assert spread.nearest(wanted).cost == wanted
    assert not spread.nearest(2 * values[-1]).reached


def test_the_ends_of_darts_keep_the_edges_of_a_node():
    """Against all choices of operations and edges of a cell with three nodes, the other cell as it is at its ends."""
    space = DartsSpace(2, 3, nodes=3, operations=("none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"))
    costs = derived_costs(space, INPUTS, CIFARNetwork(4, 3), "parameters")
    spread = CostRange(space, TopEdges(), costs)
    ends = []
    for pick in (min, max):
        total = costs.fixed
        for name, cell in space.cells.items():
            for node in cell.targets:
                inbound = [number for number, edge in enumerate(cell.edges) if edge[1] == node]
                total += pick(
                    float(costs.by_type[name][a, o]) + float(costs.by_type[name][b, p])
                    for a, b in itertools.combinations(inbound, 2)
                    for o, p in itertools.product(range(1, 4), repeat=2)
                )
        ends.append(total)
    assert [spread.least, spread.most] == ends
    generator = torch.Generator().manual_seed(0)
    for wanted in (ends[0] + (ends[1] - ends[0]) * torch.rand(2, generator=generator)).tolist():
        assert spread.nearest(wanted).reached


def test_the_command_prints_ranges_and_targets(tmp_path, capsys):
    files = ["--out", str(tmp_path / "latency.json"), "--json", str(tmp_path / "profile.json")]
    targets = ["--target.weights", "5e3", "--target.multiply_adds", "1e12", "--target.latency", "1e-9"]
    few = ["--warm_up", "0", "--repeats", "1", "--samples", "9"]
    assert main(["profile", *SEARCH, *SMALL, *files, *targets, *few]) == 0
    out, told = capsys.readouterr().out, json.loads((tmp_path / "profile.json").read_text())
    assert "NasBench201CIFARNetwork (init_channels 4, num_cells 3)" in out
    assert "The target of 5,000 weights can be reached" in out
    assert "The target of 1,000,000,000,000 multiply_adds cannot be reached" in out
    assert [told[name].get("reachable") for name in told] == [True, False, False]
    for values in told.values():
        assert 0 < values["least"] < values["median"] < values["most"]


@pytest.mark.slow
def test_what_is_measured_is_what_a_search_reads(tmp_path, capsys):
    files, few = ["--out", str(tmp_path / "latency.json")], ["--warm_up", "0", "--repeats", "1", "--samples", "9"]
    assert main(["profile", *SEARCH, *SMALL, *files, *few]) == 0
    part = {"target": 1.0, "measure": str(tmp_path / "latency.json"), "init_channels": 4, "num_cells": 3}
    run = [*SEARCH, "--model.space.init_channels", "4", "--model.space.cells_per_stage", "1", "--trainer.max_epochs"]
    run += ["1", "--data.batch_size", "4", "--trainer.limit_train_batches", "1", "--trainer.accelerator", "cpu"]
    run += ["--model.optim.regularizers", json.dumps([{"class_path": "CostTarget", "init_args": part}])]
    assert main(["fit", *run, "--trainer.default_root_dir", str(tmp_path / "run")]) == 0  # the table is what it needs
    part["init_channels"] = 6
    run[-1] = json.dumps([{"class_path": "CostTarget", "init_args": part}])
    assert main(["fit", *run, "--trainer.default_root_dir", str(tmp_path / "other")]) == 2
    assert "measure them with `lit-nas profile -c CONFIG --out FILE`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*SEARCH, "--target.weights", "many"], "--target.weights must be a positive number, such as 2e6, not 'many'"),
        ([*SEARCH, "--samples", "0"], "--samples must be at least 1, not 0"),
        ([*SEARCH, "--out", "a.txt"], "--out must name a .json file, not 'a.txt'"),
        ([*SEARCH, "--no_latency", "--target.latency", "3"], "--no_latency measures no latencies"),
        ([*SEARCH, "--network", "mine"], "There is no network 'mine'. Known are: cifar"),
        (["-c", "configs/retrain/cifar.yaml", *SYNTHETIC], "A profile is that of the space of a search"),
    ],
)
def test_what_cannot_be_profiled_is_refused(arguments, message, capsys):
    assert main(["profile", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_documentation_shows_what_is_printed(request, capsys):
    page = (request.config.rootpath / "docs" / "cost.md").read_text(encoding="utf-8")
    command, shown = re.findall(r"^```(?:sh)?\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[:2]
    assert main([*command.split()[1:], "--no_latency"]) == 0
    assert shown in capsys.readouterr().out
