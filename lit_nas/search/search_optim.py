"""How both levels of a search are updated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lit_nas.optim import (
    ClipBy,
    DartsAdam,
    DartsSGD,
    OptimizerCallable,
    PartialDecay,
    SchedulerCallable,
    SearchCosineLR,
    check_clipping,
)
from lit_nas.perturbation import Perturbation
from lit_nas.regularizers import Regularizer

__all__ = ("SearchOptim",)


@dataclass(frozen=True)
class SearchOptim:
    """How both levels are updated. The defaults are those of DARTS (appendix A.1).

    Raises:
        ValueError: if a number is out of range.
    """

    weights: OptimizerCallable = DartsSGD
    """Optimiser of the network weights."""
    arch: OptimizerCallable = DartsAdam
    """Optimiser of the architecture."""
    schedule: SchedulerCallable = SearchCosineLR
    """Learning rate of the weights; that of the architecture is constant."""
    schedule_every: Literal["epoch", "step"] = "epoch"
    """How often the learning rate is updated; where that is at every step, the schedule counts steps."""
    clip: float = 5.0
    """Largest norm of the gradient of all weights together; 0 does not clip."""
    clip_by: ClipBy = "norm"
    """Whether `clip` and `arch_clip` limit the norm of a gradient, or the absolute value of each of its entries."""
    level: Literal["bilevel", "alternating", "single"] = "bilevel"
    """How the two levels, weights and architecture, are coupled: the architecture has training data of its own
    (`bilevel`), it takes the batch of the weights and is updated before them (`alternating`), or both are updated along
    the gradient of one loss at one point (`single`)."""
    arch_from_epoch: int = 0
    """First epoch in which the architecture is updated."""
    accumulate: int = 1
    """Into how many parts each batch is cut, one after the other in memory; their gradients are averaged."""
    graphs: bool = False
    """Whether gradients are captured as CUDA graphs and replayed: first order on one GPU, without float16."""

    regularizers: Sequence[Regularizer] = ()
    """Terms of the architecture's loss, in this order, each with a schedule of its strength; the weights are
    updated by the loss without them."""
    arch_clip: float = 0.0
    """Largest norm of the gradient of all architecture parameters together, regularisers included; 0 does not clip."""
    perturbation: Perturbation | None = None
    """What disturbs the mixing weights while the weights take their step; None trains them at those of the
    architecture."""
    decay: PartialDecay | None = None
    """Decay of the weights and parameters that a step uses, beside that of the optimisers; None has no other."""

    def __post_init__(self) -> None:
        self._check_parts()
        if self.accumulate < 1:
            raise ValueError(f"model.optim.accumulate must be at least 1, not {self.accumulate}.")
        for name in ("clip", "arch_clip", "arch_from_epoch"):
            if not getattr(self, name) >= 0:  # nan is neither
                raise ValueError(f"model.optim.{name} must not be negative, but is {getattr(self, name)}.")
        check_clipping(self.clip_by)
        if self.level not in ("bilevel", "alternating", "single"):
            raise ValueError(f"model.optim.level must be bilevel, alternating or single, not {self.level!r}.")
        if self.schedule_every not in ("epoch", "step"):
            raise ValueError(f"model.optim.schedule_every must be epoch or step, not {self.schedule_every!r}.")
        if self.graphs and self.accumulate > 1:
            raise ValueError("model.optim.graphs replays whole batches: leave model.optim.accumulate at 1.")

    def check_order(self, order: int, product: str) -> None:
        """Refuses an order of the architecture's gradient that a method with two of them cannot take.

        Args:
            order: 1 or 2.
            product: How order 2 computes its Hessian-vector product; `finite_difference` where none was chosen.

        Raises:
            ValueError: if there is no such order, order 1 has a product, or both levels are updated at one point.
        """
        if order not in (1, 2):
            raise ValueError(f"model.order must be 1 or 2, not {order}.")
        if order == 1 and product != "finite_difference":
            raise ValueError(
                f"model.product is {product}, but only order 2 has such a product: set model.order to 2, or leave "
                "model.product out."
            )
        if order == 2 and self.level == "single":
            raise ValueError(
                "Both levels are updated at the same point with model.optim.level single: set model.order to 1."
            )

    def _check_parts(self) -> None:
        given = self.regularizers
        parts = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if not isinstance(given, (list, tuple)) or not all(isinstance(part, Regularizer) for part in parts):
            raise ValueError(
                f"model.optim.regularizers must be a list of regularisers, such as [ZeroOne()], not {given!r}."
            )
        object.__setattr__(self, "regularizers", parts)  # lists come from YAML
        if self.perturbation is None:
            return
        if not isinstance(self.perturbation, Perturbation):
            raise ValueError(
                "model.optim.perturbation must be a perturbation such as RandomSmoothing() or null, not "
                f"{self.perturbation!r}."
            )
        if self.level == "single":
            raise ValueError(
                "model.optim.perturbation disturbs the step of the weights, but with model.optim.level single both "
                "levels take one step: set model.optim.level to bilevel or alternating, or leave the perturbation out."
            )
