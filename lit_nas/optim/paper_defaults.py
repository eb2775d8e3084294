"""The optimisers of DARTS with the numbers of its paper as defaults.

Other methods hand over their own numbers (`partial(DartsSGD, lr=0.1)`; in YAML `class_path` and `init_args`), and a
configuration may name any optimiser of torch instead: what these classes add is only that their defaults can be written
into a configuration and read back.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import nn
from torch.optim import LBFGS, SGD, Adam, Optimizer

__all__ = ("DartsAdam", "DartsSGD", "OptimizerCallable", "make_part")

OptimizerCallable = Callable[[Iterable[nn.Parameter] | Iterable[tuple[str, nn.Parameter]]], Optimizer]
"""Parameters, with or without their names -> optimiser; in YAML `class_path` and `init_args`."""

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
