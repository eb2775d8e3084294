"""What a regulariser is: the architecture in, a number that joins its loss out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from lit_nas.architecture import Architecture, Mixture
from lit_nas.clock import Number, Time
from lit_nas.genotype import Genotype
from lit_nas.networks import RetrainNetwork
from lit_nas.networks.candidate_costs import CostTable
from lit_nas.networks.derived_costs import NetworkCosts
from lit_nas.schedules import Schedule
from lit_nas.spaces import SearchSpace

__all__ = ("ArchitectureView", "CostedNetwork", "Regularizer")


@dataclass(frozen=True)
class CostedNetwork:
    """The network whose costs a regulariser asks for."""

    network: str | RetrainNetwork | None = None
    """A retraining network, by its name or itself; `search` is the search network, None the retraining network of the
    space."""
    init_channels: int | None = None
    """C of the first cell; None means the network's own."""
    num_cells: int | None = None
    """Depth; None means the network's own."""


def _no_costs(measure: str, network: CostedNetwork) -> NetworkCosts:
    raise ValueError("This view of an architecture has no costs of networks.")


@dataclass(frozen=True)
class ArchitectureView:
    """What regularisers see of a search. Tensors are those of the device; gradients lead to the parameters."""

    space: SearchSpace
    """What is searched."""
    logits: Mapping[str, Tensor]
    """Cell type -> parameters, [E, O]."""
    probabilities: Mapping[str, Tensor]
    """Cell type -> what the relaxation makes of them, without noise, [E, O]; 0 where a candidate is not active."""
    masks: Mapping[str, Tensor]
    """Cell type -> active candidates, bool [E, O]."""
    clock: Time
    """Where the search is."""
    costs: Callable[[str], CostTable]
    """Table of what each candidate costs."""
    edges: Mapping[str, Tensor] = field(default_factory=dict)
    """Cell type -> weights of edges without noise, [E]; empty where a method has none."""
    rivals: Mapping[str, Tensor] = field(default_factory=dict)
    """Cell type -> how many edges with a candidate lead to the node of an edge, int64 [E]; empty like `edges`."""
    mixture: Callable[[], Mixture] = tuple
    """What the forward passes of this step mix, for each cell of the network, with gradients to the parameters; where
    nothing is drawn, the probabilities."""
    log_densities: Callable[[], Sequence[Tensor]] = tuple
    """How probable what was drawn for each cell of the network is, see `Relaxation.log_density`."""

    soft_samples: Callable[[], Mapping[str, Tensor]] = dict
    """Cell type -> the soft sample of the step, [E, O], see `Relaxation.soft_sample`."""

    network_costs: Callable[[str, CostedNetwork], NetworkCosts] = _no_costs
    """What each choice costs in a network, by measure."""
    derived: Callable[[], Genotype | None] = lambda: None
    """What would be derived now; None where no operation of a cell is left. Parameters are copied to the host for
    it."""
    kept_edges: int | None = None
    """How many edges derivation keeps of a node; None keeps all that have an operation."""
    excluded: tuple[str, ...] = ()
    """Operations that derivation never chooses."""

    def shares(self, cell: str) -> Tensor:
        """How much each candidate counts in the network, [E, O]: its probability times the weight of its edge."""
        shares = self.probabilities[cell]
        return shares * self.edges[cell].unsqueeze(-1) if self.edges else shares


@dataclass(frozen=True)
class Regularizer(ABC):
    """A term of the architecture's loss. A value: no parameters, no state.

    It sees the architecture only, so its gradient never reaches the weights of the network. It enters once per step,
    into how many parts a batch may be cut and on how many devices it may lie.

    Raises:
        ValueError: if the strength is no schedule.
    """

    strength: Schedule
    """What it is multiplied by, over the search."""

    takes_loss = False
    """Whether it changes the loss otherwise than by adding to it."""

    def __post_init__(self) -> None:
        if not isinstance(self.strength, Schedule):
            raise ValueError(
                f"{type(self).__name__}.strength must be a schedule, for example Constant(0.1), not {self.strength!r}."
            )

    def check(self, architecture: Architecture) -> None:  # noqa: B027 - most fit every architecture
        """Refuses an architecture whose space or relaxation it does not fit, before the first step.

        Raises:
            ValueError: naming what does not fit.
        """

    def check_start(self, view: ArchitectureView) -> None:
        """Refuses what the search starts with, and asks for the tables that it needs.

        Args:
            view: Before the first step, without gradients.
        """
        self.value(view)

    @abstractmethod
    def value(self, view: ArchitectureView) -> Tensor:
        """Its function of the architecture, 0-dim, without the strength: what is logged."""

    def __call__(self, loss: Tensor, value: Tensor, strength: Number) -> Tensor:
        """The loss of the architecture with this term.

        Args:
            loss: Without it: that on data and the terms before this one, 0-dim.
            value: What `value` gave.
            strength: Of now.
        """
        return loss + strength * value
