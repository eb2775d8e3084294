"""What a relaxation is: logits in, mixing weights out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_nas.clock import Moment, Time
from lit_nas.relaxations.draw import Draw, Occasion, active_columns

if TYPE_CHECKING:
    from lit_nas.spaces import CellSpace

__all__ = ("Best", "Mean", "Relaxation", "one_of_each")


class Relaxation(ABC):
    """Turns architecture parameters into mixing weights. A value: no parameters, no state.

    A relaxation gives two things. `probabilities` are free of noise; logs, derivation, tables, pruning, checkpoints and
    evaluation see them, and a deterministic relaxation defines nothing else. One that samples has `samples` True and
    says what a step computes, in two parts: `draw` runs on the host, once for each update of a level, and tells which
    candidates are executed; `weights` runs in each forward pass and is differentiable. The rows are edges and the
    columns operations; where edges are weighted, the rows are nodes and the columns the edges that lead to them.

    How the sampled methods fit in:

    - Gumbel-softmax with soft samples (SNAS): `draw` keeps the noise and all active candidates, `weights` is the
      softmax of logits and noise; `per_cell` gives each cell noise of its own. See `GumbelSoftmax`.
    - Gumbel-softmax with hard samples (GDAS): `draw` also keeps the one-hot argmax and executes it alone; `weights` has
      its value, and the gradient of the soft sample.
    - Binary gates (ProxylessNAS): `draw` looks at `occasion.updates`. One path is drawn where the weights are updated,
      two where the architecture is; the gate g is 1 for one of the two, the other one is `probed`, and `weights` is
      g + q - q.detach(), with q the softmax over both: then the gradient at the weight of each path is what the paper
      calls that of its gate. `expected` is q, and `settled` keeps what both have together. See `BinaryGates`.
    - Several samples a step (PARSEC): `with architecture.drawing(updates, sample=k)` draws for each k; `draw` executes
      the child, `weights` are its ones, and the gradient is that of `log_density`. See `Categorical`, and
      `CategoricalPairs`, which chooses inputs, too, and therefore knows its cell (`for_cell`).
    - Operation dropout (DropNAS): `draw` keeps a random part of each group of `occasion.names`, and `weights` is the
      softmax over those; `settled` lets the others keep their probabilities. See `GroupedDropout`.
    - Parameters on a simplex (GAEA): `initial` is uniform over the mask, `probabilities` are the parameters themselves,
      and the optimiser keeps them on the simplex. With `draw` of their logarithms they are sampled, too.
    """

    @property
    def samples(self) -> bool:
        """Whether a step needs a `draw`."""
        return False

    @property
    def skips(self) -> bool:
        """Whether a draw may leave out active candidates, whose weights then have no gradient."""
        return self.samples

    @property
    def per_cell(self) -> bool:
        """Whether each cell has a draw of its own; otherwise cells of a type share one."""
        return False

    @property
    def settles(self) -> bool:
        """Whether parameters are `settled` after a step of their optimiser."""
        return False

    @property
    def one_path(self) -> bool:
        """Whether a step executes one candidate of each edge."""
        return False

    @property
    def probes(self) -> bool:
        """Whether a draw may probe candidates, see `Draw.probed`."""
        return False

    differentiable = True
    """Whether the mixing weights have a gradient to the parameters; otherwise a method must learn in another way."""
    of_edges = True
    """Whether it may weigh edges as well as operations."""

    competes = True
    """Whether the weights of an edge sum to 1; otherwise each is in [0, 1] by itself."""

    def for_cell(self, cell: "CellSpace") -> "Relaxation":
        """What turns the parameters of one cell type into weights: itself, unless it needs to know the cell.

        One that does, because it chooses inputs for example, may have parameters of another shape, which its `initial`
        gives; masks and mixing weights are [E, O] all the same.

        Args:
            cell: Its DAG.

        Raises:
            ValueError: if it does not fit the cell.
        """
        return self

    @abstractmethod
    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """Mixing weights without noise.

        Args:
            logits: [E, O].
            mask: bool [E, O], True where a candidate is active.
            clock: Where the search is.

        Returns:
            [E, O]; exactly 0 where the mask is False.
        """

    def importance(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """What derivation compares, [E, O]: the probabilities, unless the best network is more than the best rows."""
        return self.probabilities(logits, mask, clock)

    def best(self, logits: Tensor, mask: Tensor, clock: Time) -> Draw:
        """The most probable network, without chance; its numbers are its mixing weights, [E, O]."""
        return one_of_each(self.probabilities(logits, mask, clock), mask)

    def entropy(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """Entropy of everything that is decided in a cell, in nats, 0-dim."""
        return torch.special.entr(self.probabilities(logits, mask, clock)).sum()

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """What is random in a step, and what is executed; without chance all active candidates are.

        Args:
            logits: float64 [E, O] on the CPU, detached.
            mask: bool [E, O] on the CPU.
            clock: In numbers of the host.
            occasion: For what it is made.
        """
        return Draw(active_columns(mask))

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """Mixing weights of a forward pass, with gradients to the logits; must not wait for the device.

        Args:
            logits: [E, O].
            mask: bool [E, O], True where a candidate is active.
            clock: Where the search is.
            draw: What was drawn, its numbers on the device of the logits.

        Returns:
            [E, O]; entries of candidates that are not executed do not matter.
        """
        return self.probabilities(logits, mask, clock)

    def soft_sample(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The point of the simplex that was drawn, before one candidate of it is chosen, with gradients to the logits.

        Args:
            logits: [E, O].
            mask: bool [E, O], True where a candidate is active.
            clock: Where the search is.
            draw: What was drawn, its numbers on the device of the logits.

        Returns:
            [E, O]; a row sums to 1.

        Raises:
            ValueError: if there is none.
        """
        raise ValueError(f"{type(self).__name__} draws no soft samples.")

    def log_density(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """The logarithm of the density, or of the probability, of what was drawn, with gradients to the logits only.

        Args:
            logits: [E, O].
            mask: bool [E, O], True where a candidate is active.
            clock: Where the search is.
            draw: What was drawn, its numbers on the device of the logits.

        Returns:
            A number for each part that was drawn by itself: each row, [E].

        Raises:
            ValueError: if it cannot be said.
        """
        raise ValueError(f"{type(self).__name__} cannot say how probable what it draws is.")

    def expected(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """What regularisers take for the probabilities in a step of the architecture, with gradients to the logits.

        Args:
            logits: [E, O].
            mask: bool [E, O], True where a candidate is active.
            clock: Where the search is.
            draw: That of the step, its numbers on the device of the logits.

        Returns:
            [E, O]; a method that updates drawn candidates alone gives the others 0.
        """
        return self.probabilities(logits, mask, clock)

    def settled(self, before: Tensor, after: Tensor, mask: Tensor, draw: Draw) -> Tensor:
        """What parameters become after a step of their optimiser; must not wait for the device.

        Args:
            before: Parameters before the step, [E, O].
            after: Parameters as the optimiser leaves them, [E, O].
            mask: bool [E, O], True where a candidate is active.
            draw: What was drawn for the step, its numbers on the device of the parameters; all active candidates
                where nothing is drawn.

        Returns:
            [E, O].
        """
        return after

    def initial(self, mask: Tensor) -> Tensor:
        """Start values of the parameters, [E, O]: normal with standard deviation 1e-3, as in DARTS.

        Args:
            mask: bool [E, O], the candidates that there are.
        """
        return 1e-3 * torch.randn(mask.shape)


@dataclass(frozen=True)
class Mean(Relaxation):
    """Another relaxation without chance: all active candidates, by their probabilities."""

    of: Relaxation
    """The other one."""

    def for_cell(self, cell: "CellSpace") -> Relaxation:
        """That of the other one for the cell."""
        return type(self)(self.of.for_cell(cell))

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """Those of the other one, [E, O] -> [E, O]."""
        return self.of.probabilities(logits, mask, clock)


@dataclass(frozen=True)
class Best(Mean):
    """The most probable candidate of another relaxation, alone and with weight 1."""

    @property
    def samples(self) -> bool:
        """As it says on the host what is executed, although nothing is random."""
        return True

    def draw(self, logits: Tensor, mask: Tensor, clock: Moment, occasion: Occasion) -> Draw:
        """See `Relaxation.best`."""
        return self.of.best(logits, mask, clock)

    def weights(self, logits: Tensor, mask: Tensor, clock: Time, draw: Draw) -> Tensor:
        """Ones and zeros, [E, O]."""
        return draw.numbers


def one_of_each(values: Tensor, mask: Tensor) -> Draw:
    """Executes the active candidate of each edge with the largest value; its weight is 1.

    Args:
        values: [E, O] on the CPU.
        mask: bool [E, O] on the CPU; a row without any executes nothing.

    Returns:
        The draw, whose numbers are one-hot, [E, O].
    """
    largest = values.masked_fill(~mask, float("-inf")).argmax(-1)
    chosen = F.one_hot(largest, mask.shape[-1]).bool() & mask
    return Draw(active_columns(chosen), chosen.to(values.dtype))
