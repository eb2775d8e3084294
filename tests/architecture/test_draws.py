"""Draws: when they are the same and when others, and that nothing is computed or moved that is not drawn."""

import copy
from dataclasses import replace

import pytest
import torch
from pytorch_lightning import Callback

from lit_nas.architecture import Architecture, draws
from lit_nas.engine import Fused, Reference
from lit_nas.methods import GDAS
from lit_nas.relaxations import GumbelSoftmax, Softmax
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from tests.methods.test_contract import fit, snapshot
from tests.support.tiny import INPUTS, SPACE, TINY, pair


def sampled(per_cell=False, **arguments):
    return Architecture(SPACE, GumbelSoftmax(Constant(1.0), True, per_cell), **arguments)


def at(architecture, step):
    architecture.clock.start(100, 10)
    architecture.clock.set(step, step / 10)


def actives(mixture):
    return [cell.active for cell in mixture]


def test_a_draw_lasts_as_long_as_its_step():
    architecture = sampled()
    found = {}
    for step in (0, 1):
        at(architecture, step)
        for level in ("weights", "arch", "both"):
            for sample in (0, 1):
                with architecture.drawing(level, sample):
                    first = actives(architecture())
                    assert actives(architecture()) == first
                    for logits in architecture.parameters():  # no draw looks at what a step has changed
                        logits.data.add_(torch.randn_like(logits))
                    assert actives(architecture()) == first
                for logits in architecture.parameters():
                    logits.data.zero_()
                with architecture.drawing(level, sample):
                    found[step, level, sample] = actives(architecture())
    assert len({tuple(draw) for draw in found.values()}) == len(found)
    at(architecture, 0)
    assert actives(architecture()) == found[0, "weights", 0]  # outside of a step, that of the weights
    again = sampled()
    again.load_state_dict(architecture.state_dict())
    with again.drawing("both", 1):
        assert actives(again()) == found[0, "both", 1]
    again.seed += 1
    again.forget()
    with again.drawing("both", 1):
        assert actives(again()) != found[0, "both", 1]


def test_cells_of_a_type_share_a_draw_or_have_one_each():
    space = replace(SPACE, num_cells=6)
    for per_cell in (False, True):
        mixture = Architecture(space, GumbelSoftmax(Constant(1.0), True, per_cell))()
        by_type = {"normal": [], "reduce": []}
        for position, cell in zip(space.layout, mixture, strict=True):
            by_type[position.cell].append(cell)
        for cells in by_type.values():
            assert (len({cell.active for cell in cells}) > 1) == per_cell
            assert all((cell is cells[0]) != per_cell for cell in cells[1:])


def test_drawing_uses_up_no_random_numbers_and_softmax_draws_nothing():
    state = torch.random.get_rng_state()
    relaxed = Architecture(SPACE, Softmax())
    assert relaxed.seed == torch.initial_seed()
    after = torch.random.get_rng_state()
    torch.random.set_rng_state(state)
    architecture = sampled()
    architecture()
    assert torch.equal(torch.random.get_rng_state(), after)
    assert not relaxed.samples
    assert all(cell.active == relaxed.active("normal") for cell in relaxed())


def test_parameters_are_read_once_for_all_cell_types(monkeypatch):
    reads, read = [], draws.on_host
    monkeypatch.setattr(draws, "on_host", lambda architecture: reads.append(1) or read(architecture))
    module = TINY["hard-gumbel-second-order"]()
    fit(module, None, steps=3)
    assert len(reads) == 1 + 2 * 3  # whether parameters have a gradient at all, then for each level and step


class Passes(Callback):
    """What each forward pass in training executed, by step."""

    def __init__(self, network):
        self.steps = []
        network.register_forward_pre_hook(lambda _, given: self.steps[-1].append(tuple(actives(given[1]))))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.steps.append([])


@pytest.mark.parametrize(("name", "passes"), [("GDAS", 2), ("hard-gumbel-second-order", 10),
                                              ("GDAS-single-level", 1)])  # fmt: skip
def test_all_passes_of_a_level_see_the_same_network(name, passes, tmp_path):
    module = TINY[name]()
    watch = Passes(module.network)
    fit(module, tmp_path, steps=3, callbacks=[watch])
    levels = []
    for step in watch.steps:
        assert len(step) == passes
        parts = module.optim.accumulate
        assert len(set(step[-parts:])) == 1
        assert len(set(step[:-parts])) <= 1
        levels += [step[-1], *step[:1][: passes - parts]]
    assert len(set(levels)) == len(levels)
    assert all(len(columns) == 1 for draw in levels for cell in draw for columns in cell)


SAMPLED = ("GDAS", "GDAS-single-level", "hard-gumbel-second-order")


@pytest.mark.parametrize("name", SAMPLED)
def test_what_is_not_drawn_is_neither_computed_nor_moved(name, tmp_path):
    module = TINY[name]()
    module.optim = replace(module.optim, clip=0.1)
    before, states, steps = [], [], []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            before.append(snapshot(pl_module))

        def on_train_batch_end(self, trainer, pl_module, *_):
            after = snapshot(pl_module)
            steps.append({key for key in after if not torch.equal(after[key], before[-1][key])})
            optimizer = trainer.optimizers[0]
            named = dict(pl_module.network.named_parameters())
            states.append({key for key, value in named.items() if optimizer.state.get(value)})

    passes, watch = Passes(module.network), Watch()
    fit(module, tmp_path, steps=4, callbacks=[passes, watch])
    seen = set()
    for moved, known, step in zip(steps, states, passes.steps, strict=True):
        drawn = set()
        of_the_weights = step[0 if name == "GDAS" else -1]
        for number, (cell, active) in enumerate(zip(module.network.cells, of_the_weights, strict=True)):
            for edge, columns in enumerate(active):
                drawn |= {f"cells.{number}.edges.{edge}.operations.{cell.space.operations[o]}." for o in columns}
        candidates = {key.removeprefix("network.") for key in moved if ".operations." in key}
        assert candidates
        assert all(any(key.startswith(prefix) for prefix in drawn) for key in candidates)
        seen |= drawn
        with_state = {key for key in known if ".operations." in key}
        assert with_state
        assert all(any(key.startswith(prefix) for prefix in seen) for key in with_state)
    # some were drawn, and left alone later, although they had momentum
    assert any(states[0] - {key.removeprefix("network.") for key in moved} for moved in steps[1:])


@pytest.mark.parametrize("engine", [Fused(), Fused(checkpoint=True), Fused(batch_edges=False)])
def test_engines_agree_on_what_is_drawn(engine):
    module = GDAS(INPUTS, SPACE, engine=Reference()).double()
    other = copy.deepcopy(module)
    for cell in other.network.cells:
        cell.engine = engine
    images, labels = pair(0)
    calls = []
    for cell in module.network.cells:
        for edge in cell.edges:
            for operation in edge.operations.values():
                operation.register_forward_hook(lambda *_: calls.append(1))
    for step in range(3):
        for each in (module, other):
            each.zero_grad()
            at(each.architecture, step)
            each.loss((images.double(), labels)).backward()
        theirs = dict(other.named_parameters())
        for key, value in module.named_parameters():
            if value.grad is None:
                assert theirs[key].grad is None, key
            else:
                torch.testing.assert_close(theirs[key].grad, value.grad, rtol=1e-8, atol=1e-12, msg=key)
        assert len(calls) == 5 * len(module.network.cells)  # one candidate on each edge
        calls.clear()


@pytest.mark.parametrize("evaluation", ["mean", "best"])
def test_evaluation_has_no_chance(evaluation):
    architecture = sampled(evaluation=evaluation).eval()
    for logits in architecture.parameters():
        logits.data.normal_()
    found = []
    for step in (0, 1):
        at(architecture, step)
        found.append(architecture())
    probabilities = architecture.probabilities()
    for position, first, second in zip(SPACE.layout, *found, strict=True):
        table = probabilities[position.cell]
        assert torch.equal(first.weights, second.weights)
        if evaluation == "mean":
            torch.testing.assert_close(first.weights.double(), table, rtol=1e-5, atol=1e-6)
            assert first.active == architecture.active(position.cell)
        else:
            assert first.active == tuple((int(best),) for best in table.argmax(-1))
            assert torch.equal(first.weights.argmax(-1), table.argmax(-1))
            assert torch.equal(first.weights.sum(-1), torch.ones(5))


def test_another_kind_of_evaluation_is_refused():
    with pytest.raises(ValueError, match="evaluation must be `mean` or `best`, not 'mode'"):
        Architecture(SPACE, Softmax(), evaluation="mode")


def test_graphs_are_refused():
    module = GDAS(INPUTS, SPACE, optim=SearchOptim(graphs=True))
    with pytest.raises(ValueError, match=r"model\.optim\.graphs needs a relaxation that draws nothing"):
        fit(module, None)
