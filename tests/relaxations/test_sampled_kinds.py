"""The interface of relaxations carries the kinds of draws that methods have, each as a stand-in of a few lines."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

from lit_nas.architecture import Architecture
from lit_nas.relaxations import Draw, Relaxation
from lit_nas.relaxations.draw import active_columns
from lit_nas.relaxations.softmax import softmax_of_active
from lit_nas.spaces import DARTS_OPERATIONS
from tests.support.tiny import SPACE, TINY, pair


@dataclass(frozen=True)
class Gates(Relaxation):
    """One path where the weights move, two where the architecture does (ProxylessNAS)."""

    samples = True

    def probabilities(self, logits, mask, clock):
        return softmax_of_active(logits, mask)

    def draw(self, logits, mask, clock, occasion):
        p, count = softmax_of_active(logits, mask), 1 if occasion.updates == "weights" else 2
        paths = torch.multinomial(p, count, generator=occasion.generator)
        chosen = F.one_hot(paths, logits.shape[1]).sum(1).bool()
        q = softmax_of_active(logits, chosen)
        gate = torch.multinomial(q, 1, generator=occasion.generator)
        return Draw(active_columns(chosen), torch.stack([F.one_hot(gate[:, 0], logits.shape[1]), chosen]))

    def weights(self, logits, mask, clock, draw):
        gates, chosen = draw.numbers
        q = softmax_of_active(logits, chosen.bool())
        return gates + (q - q.detach())


@dataclass(frozen=True)
class Child(Relaxation):
    """One path of each edge, without a gradient; several samples a step (PARSEC)."""

    samples = True

    def probabilities(self, logits, mask, clock):
        return softmax_of_active(logits, mask)

    def draw(self, logits, mask, clock, occasion):
        path = torch.multinomial(softmax_of_active(logits, mask), 1, generator=occasion.generator)
        return Draw(tuple((int(column),) for column in path[:, 0]))

    def weights(self, logits, mask, clock, draw):
        return torch.ones_like(logits)


@dataclass(frozen=True)
class Dropout(Relaxation):
    """A random part of each group is kept, one candidate at least (DropNAS)."""

    rate: float = 0.1
    samples = True

    def probabilities(self, logits, mask, clock):
        return softmax_of_active(logits, mask)

    def draw(self, logits, mask, clock, occasion):
        kept = torch.zeros_like(mask)
        convolutions = torch.tensor([name.startswith(("sep", "dil")) for name in occasion.names])
        for group in (convolutions, ~convolutions):
            drop = self.rate ** (1 / int(group.sum()))
            for row in range(len(mask)):
                while not (kept[row] & group).any():
                    kept[row] |= group & (torch.rand(len(group), generator=occasion.generator) >= drop)
        return Draw(active_columns(kept & mask), (kept & mask)[None])

    def weights(self, logits, mask, clock, draw):
        return softmax_of_active(logits, draw.numbers[0].bool())


def module_with(relaxation):
    module = TINY["DARTS-first-order"]()
    module.architecture = Architecture(SPACE, relaxation)
    for logits in module.architecture.parameters():
        logits.data.normal_(generator=torch.Generator().manual_seed(0))
    return module.double()


def loss(module):
    images, labels = pair(0)
    return module.loss((images.double(), labels))


@pytest.mark.parametrize("level", ["weights", "arch"])
def test_binary_gates_have_the_gradient_of_the_paper(level):
    module = module_with(Gates())
    architecture = module.architecture
    with architecture.drawing(level):
        mixture = architecture()
        assert all(len(columns) == (1 if level == "weights" else 2) for cell in mixture for columns in cell.active)
        logits = architecture.logits["normal"]
        normal = dict(zip(module.network.types, mixture, strict=True))["normal"]
        value = module.loss((pair(0)[0].double(), pair(0)[1]), mixture)
        found, gates = torch.autograd.grad(value, [logits, normal.weights], retain_graph=True)
    for edge, columns in enumerate(normal.active):
        columns = list(columns)
        q = logits[edge, columns].detach().softmax(0)
        g = gates[edge, columns]  # of the loss by the gate of each path
        torch.testing.assert_close(found[edge, columns], q * (g - (q * g).sum()))
        others = [column for column in range(8) if column not in columns]
        assert not found[edge, others].any()
        assert normal.weights[edge].detach().sort().values.tolist() == [0.0] * 7 + [1.0]


def test_several_samples_a_step_are_several_children():
    module = module_with(Child())
    children, values = [], []
    for sample in range(4):
        with module.architecture.drawing("arch", sample):
            children.append(tuple(cell.active for cell in module.architecture()))
            values.append(float(loss(module).detach()))
        with module.architecture.drawing("arch", sample):  # a second pass, for the gradient
            assert tuple(cell.active for cell in module.architecture()) == children[-1]
    assert len(set(children)) == len(set(values)) == 4
    # the gradient by the score, as a method computes it, from posterior weights and the children
    posterior = torch.tensor(values, dtype=torch.float64).neg().softmax(0)
    table = module.architecture.probabilities()["normal"]
    normal = module.network.types.index("normal")
    hot = torch.stack([F.one_hot(torch.tensor(child[normal])[:, 0], 8) for child in children]).double()
    gradient = (posterior.view(-1, 1, 1) * hot).sum(0) - table
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(5, dtype=torch.float64))


def test_operation_dropout_keeps_a_part_of_each_group():
    architecture = module_with(Dropout(0.5)).architecture
    seen = set()
    for step in range(5):
        architecture.clock.start(5, 1)
        architecture.clock.set(step, step / 5)
        with architecture.drawing("both"):
            mixed = architecture()[0]
        for columns, weights in zip(mixed.active, mixed.weights, strict=True):
            names = [DARTS_OPERATIONS[column] for column in columns]
            assert any(name.startswith(("sep", "dil")) for name in names)
            assert not all(name.startswith(("sep", "dil")) for name in names)
            torch.testing.assert_close(weights.detach()[list(columns)].sum(), torch.ones((), dtype=torch.float64))
            assert weights.detach().count_nonzero() == len(columns)
        seen.add(mixed.active)
    assert len(seen) == 5
