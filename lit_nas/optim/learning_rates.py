"""Learning rates over a run: schedulers of torch that take their length from it.

A configuration may name any scheduler of torch instead; of the classes here only `EpochDecayLR` has a length of its
own. Each is a function of the number of steps it has taken, so a run that continues goes on where it was.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import cos, pi

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler, ReduceLROnPlateau

__all__ = (
    "CosineLR",
    "EpochDecayLR",
    "RampedCosineLR",
    "RestartedCosineLR",
    "SchedulerCallable",
    "SearchCosineLR",
    "WarmUpCosineLR",
    "WarmUpLinearLR",
    "fit_to_run",
    "is_spanning",
)

SchedulerCallable = Callable[[Optimizer], LRScheduler]
"""Optimiser -> scheduler, stepped once per epoch or step; in YAML `class_path` and `init_args`."""


class _SpanningLR(LRScheduler, ABC):
    """One whose length is that of the run unless it is given one.

    It counts epochs, or steps where it is updated at every step. Parts of it that are given in epochs count as many
    steps as these have if the length is that of the run; otherwise they are in the unit of `epochs`.
    """

    def __init__(self, optimizer: Optimizer, epochs: int | None) -> None:
        self.epochs, self.per_epoch = epochs, 1
        super().__init__(optimizer)

    def span(self, epochs: int, per_epoch: int) -> None:
        """Takes over the length of a run before its first step, whose lr may follow from it.

        Args:
            epochs: Of the run, or its number of steps.
            per_epoch: How many of these an epoch has.
        """
        self.epochs, self.per_epoch = epochs, per_epoch
        rates = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self._last_lr = rates

    @abstractmethod
    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group in the present epoch."""


def _half_cosine(base: float | Tensor, lr_min: float, done: float) -> float | Tensor:
    return lr_min + (base - lr_min) * (1 + cos(pi * min(done, 1.0))) / 2


class CosineLR(_SpanningLR):
    """Half a cosine from the optimiser's lr to `lr_min` over the whole run, in closed form (Loshchilov, Hutter, 2017).

    Args:
        optimizer: Whose lr it sets.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length; None means that of the run. It counts steps if the schedule is updated at every step.
    """

    def __init__(self, optimizer: Optimizer, lr_min: float = 0.0, epochs: int | None = None) -> None:
        self.lr_min = float(lr_min)
        super().__init__(optimizer, epochs)

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group in the present epoch."""
        done = 0.0 if self.epochs is None else self.last_epoch / self.epochs
        return [_half_cosine(base, self.lr_min, done) for base in self.base_lrs]


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
        epochs: Length; None means that of the run. It counts steps if the schedule is updated at every step.
        warm_up: N, in epochs; in the unit of `epochs` where these are given.

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
        part = min((self.last_epoch + 1) / (self.warm_up * self.per_epoch), 1.0) if self.warm_up else 1.0
        return [part * lr for lr in super().get_lr()]


class _TwoPartLR(_SpanningLR, ABC):
    """The first epochs, and what follows them."""

    def __init__(self, optimizer: Optimizer, first: int, epochs: int | None) -> None:
        if first < 0:
            raise ValueError(f"{type(self).__name__}.first must not be negative, but is {first}")
        self.first = first
        super().__init__(optimizer, epochs)

    @abstractmethod
    def _beginning(self, base: float | Tensor, length: int) -> float | Tensor:
        """The lr of the present one of the first epochs, `length` in number."""

    @abstractmethod
    def _rest(self, base: float | Tensor, length: int) -> float | Tensor:
        """The lr of the present epoch after the first ones, `length` in number."""

    def get_lr(self) -> list[float | Tensor]:
        """The lr of each group in the present epoch."""
        first = self.first * self.per_epoch
        part = self._beginning if self.last_epoch < first else self._rest
        return [part(base, first) for base in self.base_lrs]


class _ThenCosineLR(_TwoPartLR, ABC):
    """Half a cosine follows the first epochs."""

    def __init__(self, optimizer: Optimizer, first: int, lr_min: float, epochs: int | None) -> None:
        self.lr_min = float(lr_min)
        super().__init__(optimizer, first, epochs)

    def _rest(self, base: float | Tensor, length: int) -> float | Tensor:
        rest = 1 if self.epochs is None else max(self.epochs - length, 1)
        return _half_cosine(base, self.lr_min, (self.last_epoch - length) / rest)


class RestartedCosineLR(_ThenCosineLR):
    """Two cosines: a higher one over the first epochs, in which the weights warm up, and another one over the rest.

    Args:
        optimizer: Whose lr it sets.
        first: Epochs of the first cosine, from `factor` times the lr to 0; ProxylessNAS has 40 of 160. In the unit of
            `epochs` where these are given.
        factor: What the lr is multiplied by at its beginning.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length of both; None means that of the run. It counts steps if the schedule is updated at every step.
    """

    def __init__(
        self, optimizer: Optimizer, first: int = 40, factor: float = 2.0, lr_min: float = 0.0, epochs: int | None = None
    ) -> None:
        self.factor = float(factor)
        super().__init__(optimizer, first, lr_min, epochs)

    def _beginning(self, base: float | Tensor, length: int) -> float | Tensor:
        return _half_cosine(base * self.factor, 0.0, self.last_epoch / length)


class WarmUpCosineLR(_ThenCosineLR):
    """In equal parts up to the lr, which the last of the first epochs has, and down half a cosine over the rest.

    Args:
        optimizer: Whose lr it sets.
        first: Epochs on the way up; in the unit of `epochs` where these are given.
        lr_min: The lr that epoch `epochs` would have.
        epochs: Length of both; None means that of the run. It counts steps if the schedule is updated at every step.
    """

    def __init__(self, optimizer: Optimizer, first: int = 5, lr_min: float = 0.0, epochs: int | None = None) -> None:
        super().__init__(optimizer, first, lr_min, epochs)

    def _beginning(self, base: float | Tensor, length: int) -> float | Tensor:
        return base * (self.last_epoch + 1) / length


class WarmUpLinearLR(_TwoPartLR):
    """In equal parts up to the lr in the first epochs; then what is left of a line that falls to 0 over the run.

    So PC-DARTS and P-DARTS retrain on ImageNet (`train_imagenet.py` of the authors of both). With E epochs, of which
    `last` are the last ones, the line is lr * (E - last - e) / (E - last) in epoch e, and in the last epochs it goes
    from lr / (E - last) to 0.

    Args:
        optimizer: Whose lr it sets.
        first: Epochs on the way up; in the unit of `epochs` where these are given.
        last: Epochs at the end, in which the lr is almost 0; in the unit of `epochs` where these are given.
        epochs: Length, E; None means that of the run. It counts steps if the schedule is updated at every step.

    Raises:
        ValueError: if `first` or `last` is negative.
    """

    def __init__(self, optimizer: Optimizer, first: int = 5, last: int = 5, epochs: int | None = None) -> None:
        if last < 0:
            raise ValueError(f"WarmUpLinearLR.last must not be negative, but is {last}")
        self.last = last
        super().__init__(optimizer, first, epochs)

    def _beginning(self, base: float | Tensor, length: int) -> float | Tensor:
        return base * (self.last_epoch + 1) / length

    def _rest(self, base: float | Tensor, length: int) -> float | Tensor:
        if self.epochs is None:
            return base
        last = self.last * self.per_epoch
        left, line = max(self.epochs - self.last_epoch, 0), max(self.epochs - last, 1)
        return base * (left - last) / line if left > last else base * left / (line * max(last, 1))


class EpochDecayLR(ExponentialLR):
    """Decay of retraining on ImageNet (DARTS, appendix A.3): a factor of 0.97 per epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float = 0.97) -> None:
        super().__init__(optimizer, gamma)


def is_spanning(scheduler: LRScheduler) -> bool:
    """Whether a scheduler takes its length from the run, see `fit_to_run`."""
    return isinstance(scheduler, _SpanningLR) and scheduler.epochs is None


def fit_to_run(scheduler: LRScheduler, epochs: int | None, per_epoch: int = 1) -> LRScheduler:
    """Gives a scheduler that spans the whole run its length, unless it was configured with one.

    Args:
        scheduler: Any scheduler; others than those of this module are returned as they are.
        epochs: `max_epochs` of the run, or its number of steps.
        per_epoch: How many of these an epoch has: 1, or its number of steps.

    Raises:
        ValueError: if the scheduler needs a length and the run has none (`max_epochs: -1`), or if it needs a metric.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError(
            f"{type(scheduler).__name__} needs a metric at each step, but model.optim.schedule is stepped once an "
            "epoch without one. Choose a scheduler that counts epochs, such as CosineLR or EpochDecayLR."
        )
    if isinstance(scheduler, _SpanningLR) and is_spanning(scheduler):
        if epochs is None or epochs < 1:
            raise ValueError(
                f"{type(scheduler).__name__} spans the run, so trainer.max_epochs must be positive, not {epochs}; "
                "or give the scheduler its own `epochs`."
            )
        scheduler.span(epochs, per_epoch)
    return scheduler
