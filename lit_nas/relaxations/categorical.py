"""Children of a categorical prior: what is drawn is executed with weight 1, and no gradient goes through it.

Paper: Casale, Gordon, Fusi, 2019, https://arxiv.org/abs/1902.05116 (PARSEC, section 3); Yan et al., CVPR 2021,
https://arxiv.org/abs/2011.10949 (FP-NAS) describe it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lit_nas.clock import Moment, Time
from lit_nas.relaxations.draw import Draw, Occasion, active_columns, gumbel_noise
from lit_nas.relaxations.relaxation import Relaxation, one_of_each
from lit_nas.relaxations.softmax import log_softmax_of_active, softmax_of_active
from lit_nas.schedules import Constant, Schedule

if TYPE_CHECKING:
    from lit_nas.spaces import CellSpace

__all__ = ("Categorical", "CategoricalPairs")


@dataclass(frozen=True)
class Categorical(Relaxation):
    """One candidate of each edge, drawn with the probability softmax(logits / temperature)."""

    temperature: Schedule = Constant(1.0)
    """Anneals the prior: the higher, the closer to uniform it is, whatever the logits; must stay positive."""

    differentiable = False

    @property
    def samples(self) -> bool:
        """Always."""
        return True

    @property
    def one_path(self) -> bool:
        """Always."""
        return True

    def initial(self, mask: Tensor) -> Tensor:
        """Zeros, [E, O]: a uniform prior."""
        return torch.zeros(mask.shape)

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[E, O] -> [E, O]; a row sums to 1, or to 0 where nothing is active."""
        return softmax_of_active(logits / self.temperature(clock), mask)

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """A child, whose numbers are one-hot, [E, O].

        Raises:
            ValueError: if the temperature is not positive.
        """
        return one_of_each(logits / _checked(self, clock) + gumbel_noise(logits, occasion.generator), mask)

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """Ones and zeros, [E, O]."""
        return draw.numbers

    def log_density(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The logarithm of the probability of the child, [E]; its gradient is (one-hot - prior) / temperature."""
        return (log_softmax_of_active(logits / self.temperature(clock), mask) * draw.numbers).sum(-1)


@dataclass(frozen=True)
class CategoricalPairs(Relaxation):
    """Each node draws pairs of an input and an operation, each pair by two categorical distributions of its own.

    The parameters of a cell with N nodes, the largest of which has M inputs, are [N * pairs, M + O]: for each pair the
    logits of its inputs, with columns to spare where a node has fewer, and those of its operations. Both slots of a
    node may draw the same input, with two operations or with the same one, which then counts twice. The paper leaves
    open whether it rejects that. Where candidates differ from edge to edge, or have been pruned, a slot draws among the
    pairs that there are, with probabilities in the same proportion.

    The probability of a candidate is the number of slots that may be expected to draw it, so that those of an edge do
    not sum to 1.

    Raises:
        ValueError: if there is no pair.
    """

    pairs: int = 2
    """How many pairs a node draws."""
    temperature: Schedule = Constant(1.0)
    """Anneals the prior: the higher, the closer to uniform it is, whatever the logits; must stay positive."""

    differentiable = False
    of_edges = False

    competes = False

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"CategoricalPairs.pairs must be at least 1, not {self.pairs}.")

    @property
    def samples(self) -> bool:
        """Always."""
        return True

    def for_cell(self, cell: CellSpace) -> Relaxation:
        """See `Relaxation`.

        Raises:
            ValueError: if the nodes of the cell keep all their edges.
        """
        if cell.keeps_none:
            raise ValueError(
                f"CategoricalPairs chooses inputs, but the nodes of cell '{cell.name}' keep all of theirs: choose "
                "Categorical, which draws one operation for each edge."
            )
        return _of_cell(self, cell)

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """Only that `for_cell` has probabilities.

        Raises:
            TypeError: always.
        """
        raise TypeError("CategoricalPairs depends on the nodes of a cell: ask for_cell(cell).")


@lru_cache(maxsize=64)
def _of_cell(relaxation: CategoricalPairs, cell: CellSpace) -> Relaxation:
    return _PairsOfCell(relaxation.pairs, relaxation.temperature, cell)


@dataclass(frozen=True)
class _PairsOfCell(Relaxation):
    pairs: int
    temperature: Schedule
    cell: CellSpace

    differentiable = False
    of_edges = False
    competes = False

    @property
    def samples(self) -> bool:
        return True

    @cached_property
    def _inputs(self) -> tuple[int, ...]:
        """How many edges lead to each node; edges are sorted by node."""
        return tuple(sum(end == node for _, end in self.cell.edges) for node in self.cell.targets)

    def initial(self, mask: Tensor) -> Tensor:
        """Zeros: a uniform prior."""
        return torch.zeros(len(self._inputs) * self.pairs, max(self._inputs) + mask.shape[-1])

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[S, M + O] -> [E, O]: how many slots may be expected to draw a candidate."""
        logarithms, alive = self._slots(logits, mask, self.temperature(clock))
        return self._by_edge(logarithms.exp() * alive)

    def importance(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """The mode: the probability of each pair that the most probable child has, and 0 elsewhere, [E, O].

        Where two slots of a node have the same pair, the later one takes its next best input.
        """
        logarithms, alive = self._slots(logits, mask, self.temperature(clock))
        shape = len(self._inputs), self.pairs, max(self._inputs), mask.shape[-1]
        tables, chosen = (logarithms.exp() * alive).view(shape), torch.zeros(shape, dtype=logits.dtype)
        for node, slots in enumerate(tables):
            taken = torch.zeros(shape[2:], dtype=torch.bool)
            for slot, table in enumerate(slots):
                place, column = divmod(int(table.argmax()), shape[3])
                if taken[place, column]:
                    place = int(table[:, column].masked_fill(taken[:, column], -1.0).argmax())
                if table[place, column] > 0 and not taken[place, column]:
                    chosen[node, slot, place, column], taken[place, column] = table[place, column], True
        return self._by_edge(chosen.flatten(0, 1).flatten(1))

    def best(self, logits: Tensor, mask: Tensor, clock: Time) -> Draw:
        """The most probable child."""
        chosen = self.importance(logits, mask, clock) > 0
        return Draw(active_columns(chosen), chosen.to(logits.dtype))

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """A child; its numbers are how often it has each candidate, [E, O], and what each slot chose, [S * M, O]."""
        logarithms, alive = self._slots(logits, mask, _checked(self, clock))
        chosen = one_of_each(logarithms + gumbel_noise(logarithms, occasion.generator), alive).numbers
        counts = self._by_edge(chosen)
        return Draw(active_columns(counts > 0), torch.cat([counts, chosen.view(-1, mask.shape[-1])]))

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """How often the child has each candidate, [E, O]."""
        return draw.numbers[: mask.shape[0]]

    def log_density(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The logarithm of the probability of what each slot chose, [S]; its gradient is (one-hot - prior) / t."""
        logarithms, _ = self._slots(logits, mask, self.temperature(clock))
        return (logarithms * draw.numbers[mask.shape[0] :].view(logarithms.shape)).sum(-1)

    def entropy(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """Of all slots together, in nats, 0-dim."""
        logarithms, alive = self._slots(logits, mask, self.temperature(clock))
        return torch.special.entr(logarithms.exp() * alive).sum()

    def _slots(self, logits: Tensor, mask: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each pair and whether there is such a pair, both [S, M * O]."""
        scaled, most = logits / temperature, max(self._inputs)
        pairs = scaled[:, :most].unsqueeze(2) + scaled[:, most:].unsqueeze(1)  # [S, M, O]
        by_node = pad_sequence(mask.split(self._inputs), batch_first=True)  # [N, M, O]
        alive = by_node.unsqueeze(1).expand(-1, self.pairs, -1, -1).flatten(0, 1).flatten(1)
        return log_softmax_of_active(pairs.flatten(1), alive), alive

    def _by_edge(self, slots: Tensor) -> Tensor:
        """Sums over the slots of a node, [S, M * O] -> [E, O]."""
        nodes = slots.view(len(self._inputs), self.pairs, max(self._inputs), -1).sum(1)
        return torch.cat([node[:inputs] for node, inputs in zip(nodes, self._inputs, strict=True)])


def _checked(relaxation: Categorical | _PairsOfCell, clock: Moment) -> float:
    if not (temperature := float(relaxation.temperature(clock))) > 0:
        raise ValueError(
            f"The temperature of the prior must be positive, but is {temperature} at epoch {float(clock.epoch):.4g}. "
            "End its schedule above 0."
        )
    return temperature
