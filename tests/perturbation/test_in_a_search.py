"""Perturbation in the weight steps of a search, and nowhere else."""

import copy
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.methods import DARTS
from lit_nas.optim import frozen_statistics, running_statistics
from lit_nas.perturbation import AdversarialSmoothing, RandomSmoothing, to_simplex, uniform
from lit_nas.perturbation.perturbation import CellWeights
from lit_nas.relaxations import Draw, Relaxation, Softmax
from lit_nas.relaxations.draw import active_columns
from lit_nas.schedules import Constant, Linear
from lit_nas.search import SearchOptim
from tests.methods.test_contract import changed, snapshot
from tests.search.test_search_module import FrozenNorms, double_loss, fit, float16
from tests.support.tiny import INPUTS, SPACE, TINY, pair
from tests.test_waits import made, run

RANDOM, ADVERSARIAL = RandomSmoothing(Constant(0.1)), AdversarialSmoothing(Constant(0.1), steps=2)
SHORT = replace(ADVERSARIAL, steps=1)
BOTH = pytest.mark.parametrize("part", [RANDOM, ADVERSARIAL])
ADVERSARY_FIRST = pytest.mark.parametrize("part", [pytest.param(RANDOM, marks=pytest.mark.slow), SHORT])
LEVELS = [name for name, make in TINY.items() if make().optim.level != "single"]
QUICK = ("DARTS-first-order", "DARTS-second-order", "GDAS")
METHODS = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in LEVELS]
)


def watched(module):
    """Lets a module note the mixing weights of each forward pass."""
    seen = []

    def look(network, arguments):
        seen.append([cell.weights.detach().clone() for cell in arguments[1]])

    module.network.register_forward_pre_hook(look)
    return seen


def own(module):
    """Mixing weights and names of each cell type once."""
    with torch.no_grad():
        return [(name, p.detach().clone()) for name, p in module.architecture.expected().items()]


@METHODS
@BOTH
def test_only_the_weights_move_and_statistics_see_one_pass(name, part):
    """The architecture is bit-equal, and running statistics are those of the pass at the disturbed mixing weights."""
    module, levels = TINY[name](), []
    module.optim = replace(module.optim, perturbation=part)
    seen, step = watched(module), module.step_weights

    def step_weights(loss, batch):
        plain = copy.deepcopy(module.network)
        with module.architecture.drawing("weights"):
            clean = module.architecture()
        before, count = snapshot(module), len(seen)
        step(loss, batch)
        passes = seen[count:]
        plain(batch[0], [replace(cell, weights=weights) for cell, weights in zip(clean, passes[-1], strict=True)])
        levels.append((before, snapshot(module), passes, clean, plain))

    module.step_weights = step_weights
    fit(module, steps=1)
    ((before, after, passes, clean, plain),) = levels
    assert not changed(before, after, "architecture.")
    assert changed(before, after, "network.")
    for key, value in plain.named_buffers():
        assert torch.equal(after[f"network.{key}"], value), key
    assert len(passes) == (1 if part is RANDOM else 2 + 2 + 1)
    pairs = list(zip(passes[-1], clean, strict=True))
    # one path has nothing to disturb
    assert any(not torch.equal(found, cell.weights) for found, cell in pairs) != module.architecture.samples
    for found, _ in pairs:
        torch.testing.assert_close(found.sum(-1), torch.ones(len(found)))


@METHODS
@ADVERSARY_FIRST
def test_the_step_of_the_architecture_does_not_see_it(name, part):
    """It moves in the first step as it does without, bit for bit."""
    plain, other = TINY[name](), TINY[name]()
    other.load_state_dict(plain.state_dict())
    other.optim = replace(other.optim, perturbation=part)
    for module in (plain, other):
        fit(module, steps=1)
    assert not changed(snapshot(plain), snapshot(other), "architecture.")


def test_random_noise_is_what_the_formula_says():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=RANDOM, arch=partial(torch.optim.SGD, lr=0.0)))
    seen, start = watched(module), dict(own(module))
    fit(module, steps=3)
    clean, disturbed = seen[0::2], seen[1::2]
    names = [position.cell for position in SPACE.layout]
    for step in range(3):
        for position, name in enumerate(names):
            assert torch.equal(clean[step][position], start[name])
            p = start[name]
            stream = list(dict.fromkeys(names)).index(name)
            noise = uniform(module.architecture.seed, torch.tensor(float(step)), stream, tuple(p.shape), p.dtype)
            cell = CellWeights(p, torch.ones_like(p, dtype=torch.bool), noise, True)
            assert torch.equal(disturbed[step][position], to_simplex(p + 0.1 * noise, cell))
    assert not torch.equal(disturbed[0][0], disturbed[1][0])


@pytest.mark.parametrize(
    ("statistics", "accumulate"),
    [
        ("running", 1),
        ("batch", 2),
        pytest.param("running", 2, marks=pytest.mark.slow),
        pytest.param("batch", 1, marks=pytest.mark.slow),
    ],
)
def test_the_adversary_is_that_of_a_slow_ascent(statistics, accumulate):
    part = AdversarialSmoothing(Constant(0.1), 3, statistics)
    optim = SearchOptim(perturbation=part, arch=partial(torch.optim.SGD, lr=0.0), accumulate=accumulate)
    module = DARTS(INPUTS, SPACE, optim=optim).double()
    module.loss = partial(double_loss, module)
    held = running_statistics if statistics == "running" else frozen_statistics
    batch, mixture, names = pair(0), module.architecture(), [position.cell for position in SPACE.layout]
    parts = list(zip(batch[0].chunk(accumulate), batch[1].chunk(accumulate), strict=True))

    def loss(table):
        cells = [replace(cell, weights=table[name]) for cell, name in zip(mixture, names, strict=True)]
        with held(module.norms):
            return sum(module.loss(part, cells) for part in parts) / accumulate

    start, now = dict(own(module)), {}
    for stream, (name, p) in enumerate(start.items()):
        noise = uniform(module.architecture.seed, torch.tensor(0.0), stream, tuple(p.shape), p.dtype)
        now[name] = (p + 0.1 * noise).clamp(0, 1)
        now[name] /= now[name].sum(-1, keepdim=True)
    for _ in range(3):
        leaves = {name: p.clone().requires_grad_() for name, p in now.items()}
        gradient = torch.autograd.grad(loss(leaves), list(leaves.values()))
        for (name, p), g in zip(start.items(), gradient, strict=True):
            moved = p + (now[name] + 0.2 / 3 * g.sign() - p).clamp(-0.1, 0.1)
            now[name] = moved.clamp(0, 1) / moved.clamp(0, 1).sum(-1, keepdim=True)
    assert loss(now) > loss(start)  # it does not fail
    seen = watched(module)
    fit(module, steps=1)
    for position, name in enumerate(names):
        torch.testing.assert_close(seen[-1][position], now[name], rtol=1e-9, atol=1e-12)


@ADVERSARY_FIRST
def test_without_a_width_nothing_changes(part):
    plain = DARTS(INPUTS, SPACE).double()
    plain.loss = partial(double_loss, plain)
    other = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=replace(part, epsilon=Constant(0.0)))).double()
    other.loss = partial(double_loss, other)
    other.load_state_dict(plain.state_dict())
    for module in (plain, other):
        fit(module, steps=1)
    for key, value in snapshot(plain).items():
        torch.testing.assert_close(snapshot(other)[key], value, rtol=1e-9, atol=1e-12, msg=key)


@ADVERSARY_FIRST
def test_parts_of_a_batch_see_one_perturbation(part):
    whole = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=part)).double()
    cut = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=part, accumulate=2)).double()
    cut.load_state_dict(whole.state_dict())
    for module in (whole, cut):
        module.loss = partial(double_loss, module)
        fit(module, steps=1, callbacks=[FrozenNorms()])
    for key, value in snapshot(whole).items():
        torch.testing.assert_close(snapshot(cut)[key], value, rtol=1e-6, atol=1e-9, msg=key)


@ADVERSARY_FIRST
def test_each_step_hands_out_the_same_memory(part):
    """A captured graph reads in each step what it read when it was captured."""
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=part))
    last, step = [], module.step_weights

    def look(network, arguments):
        last.append([cell.weights.data_ptr() for cell in arguments[1]])

    def step_weights(loss, batch):
        step(loss, batch)
        ends.append(last[-1])

    ends, module.step_weights = [], step_weights
    module.network.register_forward_pre_hook(look)
    fit(module, steps=3)
    assert ends[0] == ends[1] == ends[2]


def test_float16_moves_both_levels():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=ADVERSARIAL))
    before = snapshot(module)
    fit(module, steps=1, plugins=float16(2.0**10))
    after = snapshot(module)
    assert changed(before, after, "architecture.logits")
    assert "network.classifier.weight" in changed(before, after, "network.")
    assert all(value.isfinite().all() for value in after.values())


@ADVERSARY_FIRST
def test_steps_wait_for_nothing(part, tmp_path):
    assert run(made("DARTS-first-order", perturbation=part), tmp_path) == []


def test_the_weights_of_edges_are_not_disturbed():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=RANDOM, arch=partial(torch.optim.SGD, lr=0.0)))
    module.architecture = Architecture(SPACE, Softmax(), edge_relaxation=Softmax())
    edges = [cell.weights.detach().sum(-1) for cell in module.architecture()]
    seen = watched(module)
    fit(module, steps=1)
    for found, clean, each in zip(seen[1], seen[0], edges, strict=True):
        torch.testing.assert_close(found.sum(-1), each)
        assert not torch.allclose(found, clean, atol=1e-3)


@dataclass(frozen=True)
class FirstTwo(Relaxation):
    """Executes the first two candidates; what the others have as weights is not read."""

    samples = True

    def probabilities(self, logits, mask, clock):
        return Softmax().probabilities(logits, mask, clock)

    def draw(self, logits, mask, clock, occasion):
        first = mask & (torch.arange(mask.shape[-1]) < 2)
        return Draw(active_columns(first), first.double())

    def weights(self, logits, mask, clock, draw):
        return self.probabilities(logits, draw.numbers.bool(), clock) + 7.0 * (1 - draw.numbers)


@pytest.mark.parametrize("part", [RANDOM, SHORT])
def test_entries_that_are_not_executed_are_no_part_of_the_weight_of_an_edge(part):
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=part, arch=partial(torch.optim.SGD, lr=0.0)))
    module.architecture = Architecture(SPACE, FirstTwo(), edge_relaxation=Softmax())
    seen = watched(module)
    fit(module, steps=1)
    edges = {name: weights.float() for name, weights in module.architecture.edge_probabilities().items()}
    for position, found, clean in zip(SPACE.layout, seen[-1], seen[0], strict=True):
        torch.testing.assert_close(found[:, :2].sum(-1), edges[position.cell])
        assert not torch.allclose(found[:, :2], clean[:, :2], atol=1e-3)


def test_one_step_for_both_levels_leaves_no_room_for_it():
    with pytest.raises(ValueError, match=r"model\.optim\.perturbation disturbs.*set model\.optim\.level to bilevel"):
        SearchOptim(level="single", perturbation=RANDOM)


@pytest.mark.parametrize("given", [RandomSmoothing, "RandomSmoothing", Constant(0.1)])
def test_only_a_perturbation_is_taken(given):
    with pytest.raises(ValueError, match=r"model\.optim\.perturbation must be a perturbation such as"):
        SearchOptim(perturbation=given)


@pytest.mark.parametrize("epsilon", [Constant(-0.1), Linear(0.1, -0.1), Linear(-0.1, 0.1)])
def test_a_negative_width_is_refused_before_the_first_step(epsilon):
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(perturbation=RandomSmoothing(epsilon)))
    with pytest.raises(ValueError, match=r"epsilon is -0\.\d+ in epoch \d, but half the width .* must not be negative"):
        fit(module, epochs=3)
