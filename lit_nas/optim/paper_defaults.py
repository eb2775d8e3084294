"""Optimisers and schedules with the numbers of the papers as defaults, under names of their own.

A configuration may name any optimiser and scheduler of torch instead: what these classes add is only that their
defaults can be written into a configuration and read back.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import cos, pi
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler, ReduceLROnPlateau

__all__ = (
    "GDASSGD",
    "CosineLR",
    "DartsAdam",
    "DartsImageNetSGD",
    "DartsSGD",
    "DropNASAdam",
    "DropNASCosineLR",
    "DropNASSGD",
    "EpochDecayLR",
    "OptimizerCallable",
    "PCDartsAdam",
    "PCDartsSGD",
    "ParsecAdam",
    "ProxylessAdam",
    "ProxylessSGD",
    "RampedCosineLR",
    "RestartedCosineLR",
    "SchedulerCallable",
    "SearchCosineLR",
    "WarmUpCosineLR",
    "fit_to_run",
    "is_spanning",
    "make_part",
)

OptimizerCallable = Callable[[Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]]], Optimizer]
"""Parameters, with or without their names -> optimiser; in YAML `class_path` and `init_args`."""
SchedulerCallable = Callable[[Optimizer], LRScheduler]
"""Optimiser -> scheduler, stepped once per epoch; in YAML `class_path` and `init_args`."""


Argument = TypeVar("Argument")
Part = TypeVar("Part")


def make_part(build: Callable[[Argument], Part], argument: Argument, key: str) -> Part:
    """Makes the optimiser or the scheduler of a configuration.

    Args:
        build: Makes it.
        argument: Parameters, or the optimiser.
        key: Where the configuration has it.

    Raises:
        ValueError: naming the key, if torch refuses the settings, or if an optimiser needs several losses a step.
    """
    try:
        part = build(argument)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{key} refuses its settings: {error}.") from error
    if isinstance(part, LBFGS):
        raise ValueError(
            f"{key} is LBFGS, which computes several losses a step. Choose an optimiser such as SGD or Adam."
        )
    return part


class DartsSGD(SGD):
    """Weights in a search and on CIFAR (DARTS, appendices A.1 and A.2): lr 0.025, momentum 0.9, weight decay 3e-4."""

    def __init__(
        self, params: Any, lr: float = 0.025, momentum: float = 0.9, weight_decay: float = 3e-4, nesterov: bool = False
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


class DartsAdam(Adam):
    """Architecture of a search (DARTS, appendix A.1): lr 3e-4, betas (0.5, 0.999), weight decay 1e-3."""

    def __init__(
        self,
        params: Any,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-3,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class GDASSGD(SGD):
    """Weights in a search of GDAS (authors' configurations): lr 0.025, Nesterov momentum 0.9, weight decay 5e-4."""

    def __init__(
        self, params: Any, lr: float = 0.025, momentum: float = 0.9, weight_decay: float = 5e-4, nesterov: bool = True
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


class ParsecAdam(Adam):
    """Prior of PARSEC, whose paper does not print it: lr 3e-3, betas (0.5, 0.999), no weight decay."""

    def __init__(
        self,
        params: Any,
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class PCDartsSGD(SGD):
    """Weights in a search of PC-DARTS on CIFAR (section 4.2 of its paper): lr 0.1, all else as in DARTS."""

    def __init__(
        self, params: Any, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 3e-4, nesterov: bool = False
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


class PCDartsAdam(Adam):
    """Architecture in a search of PC-DARTS on CIFAR (section 4.2 of its paper): lr 6e-4, all else as in DARTS."""

    def __init__(
        self,
        params: Any,
        lr: float = 6e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-3,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class ProxylessSGD(SGD):
    """Weights in a search of ProxylessNAS (authors' code): lr 0.025, Nesterov momentum 0.9, weight decay 4e-5."""

    def __init__(
        self, params: Any, lr: float = 0.025, momentum: float = 0.9, weight_decay: float = 4e-5, nesterov: bool = True
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


class ProxylessAdam(Adam):
    """Architecture of ProxylessNAS (authors' code): lr 1e-3, betas (0, 0.999), no weight decay.

    Without momentum a candidate that is not drawn stays where it is.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.0, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class DartsImageNetSGD(SGD):
    """Retraining on ImageNet (DARTS, appendix A.3): lr 0.1, momentum 0.9, weight decay 3e-5."""

    def __init__(
        self, params: Any, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 3e-5, nesterov: bool = False
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


class DropNASSGD(SGD):
    """Weights in a search of DropNAS: lr 0.0375, momentum 0.9; their decay is a `PartialDecay`."""

    def __init__(
        self, params: Any, lr: float = 0.0375, momentum: float = 0.9, weight_decay: float = 0.0, nesterov: bool = False
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


class DropNASAdam(Adam):
    """Architecture in a search of DropNAS: lr 3e-4, betas (0.5, 0.999); its decay is a `PartialDecay`."""

    def __init__(
        self,
        params: Any,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


class CosineLR(LRScheduler):
    """Half a cosine from the optimiser's lr to `lr_min` over the whole run, in closed form (Loshchilov, Hutter, 2017).

    Args:
        optimizer: Whose lr it sets.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length; None means that of the run. It counts steps if the schedule moves at every step.
    """

    def __init__(self, optimizer: Optimizer, lr_min: float = 0.0, epochs: int | None = None) -> None:
        self.lr_min, self.epochs = float(lr_min), epochs
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group in the present epoch."""
        where = 0.0 if self.epochs is None else min(self.last_epoch / self.epochs, 1.0)
        return [self.lr_min + (base - self.lr_min) * (1 + cos(pi * where)) / 2 for base in self.base_lrs]


class SearchCosineLR(CosineLR):
    """Cosine of a search (DARTS, appendix A.1): down to 0.001."""

    def __init__(self, optimizer: Optimizer, lr_min: float = 1e-3, epochs: int | None = None) -> None:
        super().__init__(optimizer, lr_min, epochs)


class RampedCosineLR(CosineLR):
    """A cosine whose first epochs have a part of it only: 1 / N of it in the first one, N / N in the last of N.

    So PC-DARTS searches on ImageNet (authors' `train_search_imagenet.py`), where batches are large.

    Args:
        optimizer: Whose lr it sets.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length; None means that of the run. It counts steps if the schedule moves at every step.
        warm_up: N, counted as `epochs` are.

    Raises:
        ValueError: if `warm_up` is negative.
    """

    def __init__(self, optimizer: Optimizer, lr_min: float = 0.0, epochs: int | None = None, warm_up: int = 5) -> None:
        if warm_up < 0:
            raise ValueError(f"RampedCosineLR.warm_up must not be negative, but is {warm_up}")
        self.warm_up = warm_up
        super().__init__(optimizer, lr_min, epochs)

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group in the present epoch."""
        part = min((self.last_epoch + 1) / self.warm_up, 1.0) if self.warm_up else 1.0
        return [part * lr for lr in super().get_lr()]


class DropNASCosineLR(CosineLR):
    """Cosine of a search of DropNAS: down to 0.0015."""

    def __init__(self, optimizer: Optimizer, lr_min: float = 1.5e-3, epochs: int | None = None) -> None:
        super().__init__(optimizer, lr_min, epochs)


class _TwoPartLR(CosineLR, ABC):
    def __init__(self, optimizer: Optimizer, first: int, lr_min: float, epochs: int | None) -> None:
        if first < 0:
            raise ValueError(f"{type(self).__name__}.first must not be negative, but is {first}")
        self.first = first
        super().__init__(optimizer, lr_min, epochs)

    @abstractmethod
    def _beginning(self, base: float | Tensor) -> float | Tensor:
        """The lr of the present one of the first epochs."""

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group in the present epoch."""
        if self.last_epoch < self.first:
            return [self._beginning(base) for base in self.base_lrs]
        rest = 1 if self.epochs is None else max(self.epochs - self.first, 1)
        where = min((self.last_epoch - self.first) / rest, 1.0)
        return [self.lr_min + (base - self.lr_min) * (1 + cos(pi * where)) / 2 for base in self.base_lrs]


class RestartedCosineLR(_TwoPartLR):
    """Two cosines: a higher one over the first epochs, in which the weights warm up, and another one over the rest.

    Args:
        optimizer: Whose lr it sets.
        first: Epochs of the first cosine, from `factor` times the lr to 0; ProxylessNAS has 40 of 160.
        factor: What the lr is multiplied by at its beginning.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length of both; None means that of the run.
    """

    def __init__(
        self, optimizer: Optimizer, first: int = 40, factor: float = 2.0, lr_min: float = 0.0, epochs: int | None = None
    ) -> None:
        self.factor = float(factor)
        super().__init__(optimizer, first, lr_min, epochs)

    def _beginning(self, base: float | Tensor) -> float | Tensor:
        return base * self.factor * (1 + cos(pi * self.last_epoch / self.first)) / 2


class WarmUpCosineLR(_TwoPartLR):
    """In equal parts up to the lr, which the last of the first epochs has, and down half a cosine over the rest.

    Args:
        optimizer: Whose lr it sets.
        first: Epochs on the way up.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length of both; None means that of the run.
    """

    def __init__(self, optimizer: Optimizer, first: int = 5, lr_min: float = 0.0, epochs: int | None = None) -> None:
        super().__init__(optimizer, first, lr_min, epochs)

    def _beginning(self, base: float | Tensor) -> float | Tensor:
        return base * (self.last_epoch + 1) / self.first


class EpochDecayLR(ExponentialLR):
    """Decay of retraining on ImageNet (DARTS, appendix A.3): a factor 0.97 an epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float = 0.97) -> None:
        super().__init__(optimizer, gamma)


def is_spanning(scheduler: LRScheduler) -> bool:
    """Whether a scheduler takes its length from the run, see `fit_to_run`."""
    return isinstance(scheduler, CosineLR) and scheduler.epochs is None


def fit_to_run(scheduler: LRScheduler, epochs: int | None) -> LRScheduler:
    """Gives a scheduler that spans the whole run its length, unless it was configured with one.

    Args:
        scheduler: Any scheduler; others than `CosineLR` are returned as they are.
        epochs: `max_epochs` of the run, or its number of steps.

    Raises:
        ValueError: if the scheduler needs a length and the run has none (`max_epochs: -1`), or if it needs a metric.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError(
            f"{type(scheduler).__name__} needs a metric at each step, but model.optim.schedule is stepped once an "
            "epoch without one. Choose a scheduler that counts epochs, such as CosineLR or EpochDecayLR."
        )
    if is_spanning(scheduler):
        if epochs is None or epochs < 1:
            raise ValueError(
                f"{type(scheduler).__name__} spans the run, so trainer.max_epochs must be positive, not {epochs}; "
                "or give the scheduler its own `epochs`."
            )
        scheduler.epochs = epochs  # type: ignore[attr-defined]  # any scheduler of which `is_spanning` knows
    return scheduler
