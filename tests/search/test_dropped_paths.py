"""Drop path in a search: masks of whole edges, the same in all passes of a step."""

import copy
from dataclasses import dataclass

import pytest
import torch

from lit_nas.engine import Fused, Reference
from lit_nas.engine.engine import Engine, edges_of, empty_node
from lit_nas.methods import SNAS
from lit_nas.relaxations import GumbelSoftmax, Softmax
from lit_nas.relaxations.draw import generator_of
from lit_nas.schedules import Constant, Linear
from lit_nas.search import DroppedPaths, SearchOptim
from tests.methods.test_contract import fit
from tests.search.test_search_module import double_loss
from tests.support.edge_searches import EDGE_SEARCHES
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, pair

DROP = Constant(0.4)


def made(drop_path, space=SPACE, **arguments):
    torch.manual_seed(0)
    return SNAS(INPUTS, space, GumbelSoftmax(Constant(0.5)), drop_path, **arguments).double()


def at(module, step):
    module.architecture.clock.start(100, 10)
    module.architecture.clock.set(step, step / 10)


@dataclass(frozen=True)
class Masked(Engine):
    """The formula: a node is the sum over its edges of mask / (1 - p) times the mixture of the edge."""

    masks: tuple
    cells: tuple

    def __call__(self, cell, states, mixture):
        start = 5 * self.cells.index(id(cell))
        states, inputs = list(states), len(states)
        for target in cell.space.targets:
            node = empty_node(cell, states)
            for index, (source, end) in enumerate(cell.space.edges):
                if end == target:
                    names = cell.space.operations
                    weights = {names[o]: mixture.weights[index, o] for o in mixture.active[index]}
                    node = node + self.masks[start + index] * edges_of(cell)[index](states[source], weights)
            states.append(node)
        return states[inputs:]


def masks(module, step, level, size=6, keep=0.6):
    seed = module.architecture.host_seed
    for place in range(15):
        drawn = torch.rand(size, 1, 1, 1, dtype=torch.float64,
                           generator=generator_of("drop path", seed, step, level, 0, place, 0))  # fmt: skip
        yield (drawn < keep) / keep


@pytest.mark.parametrize("engine", [Reference(), Fused(), Fused(checkpoint=True)])
@pytest.mark.parametrize("level", ["both", "weights"])
def test_masks_multiply_whole_edges(engine, level):
    module, plain = made(DROP, engine=engine), made(None)
    plain.load_state_dict(module.state_dict())
    for each in (module, plain):
        at(each, 7)
    table = tuple(masks(module, 7, level))
    assert 0.2 < torch.stack(table).bool().double().mean() < 0.9
    cells = tuple(map(id, plain.network.cells))
    for cell in plain.network.cells:
        cell.engine = Masked(table, cells)
    values = []
    for each in (module, plain):
        with each.architecture.drawing(level):
            values.append(double_loss(each, pair(0)))
            values[-1].backward()
    torch.testing.assert_close(*values, rtol=1e-10, atol=0)
    theirs = dict(plain.named_parameters())
    for key, value in module.named_parameters():
        torch.testing.assert_close(value.grad, theirs[key].grad, rtol=1e-8, atol=1e-12, msg=key)


def test_each_step_level_and_edge_has_masks_of_its_own():
    module = made(DROP)
    found = set()
    for step in (1, 2):
        for level in ("both", "weights", "arch"):
            found |= {tuple(mask.flatten().tolist()) for mask in masks(module, step, level, size=40)}
    assert len(found) == 2 * 3 * 15
    mean = torch.stack([mask for step in range(60) for mask in masks(module, step, "both", size=40)]).mean()
    assert float(mean) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("space", [SPACE, NAS_BENCH_201])
def test_nothing_is_dropped_in_evaluation_or_at_zero(space):
    module, plain = made(DROP, space, engine=Reference()), made(None, space, engine=Reference())
    plain.load_state_dict(module.state_dict())
    never = made(Linear(0.0, 0.3, "epoch"), space, engine=Reference())
    never.load_state_dict(module.state_dict())
    images = pair(0)[0].double()
    for each in (module, plain, never):
        at(each, 3)
    assert torch.equal(plain(images), never(images))  # in the first epoch
    assert not torch.equal(plain(images), module(images))
    for each in (module, plain):
        each.load_state_dict(never.state_dict())  # the same running statistics
        each.eval()
    assert torch.equal(module(images), plain(images))


def test_a_copy_drops_by_its_own_clock():
    module = made(Linear(0.0, 0.9, "epoch"))
    twin = copy.deepcopy(module)
    images = pair(0)[0].double()
    for each in (module, twin):
        at(each, 0)
    assert torch.equal(module(images), twin(images))
    at(twin, 90)
    twin.architecture.clock.step.fill_(0)  # the same sample
    before = module(images)
    twin.architecture.forget()
    assert not torch.equal(before, twin(images))


def test_it_can_be_used_with_other_edges_and_not_with_shared_kernels():
    module = EDGE_SEARCHES["partial channels"]()
    DroppedPaths(DROP, module.architecture).attach(module.network)
    fit(module, None, steps=1)
    module = EDGE_SEARCHES["merged kernels"]()
    with pytest.raises(ValueError, match=r"those of 'cells\.0' are computed together: leave model\.drop_path out"):
        DroppedPaths(DROP, module.architecture).attach(module.network)


def test_a_probability_outside_is_refused():
    with pytest.raises(ValueError, match=r"model\.drop_path must be in \[0, 1\), but is 1 at epoch 0"):
        fit(SNAS(INPUTS, SPACE, drop_path=Constant(1.0), optim=SearchOptim(level="single")), None)


def test_a_graph_would_replay_its_masks(tmp_path):
    optim = SearchOptim(level="single", graphs=True)
    with pytest.raises(ValueError, match=r"model\.optim\.graphs needs no drop path, whose masks are drawn"):
        fit(SNAS(INPUTS, SPACE, Softmax(), optim=optim), tmp_path)
    with pytest.raises(ValueError, match=r"model\.optim\.graphs needs a GPU"):
        fit(SNAS(INPUTS, SPACE, Softmax(), drop_path=None, optim=optim), tmp_path)
