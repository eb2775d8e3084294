"""Keeping one level of a search unchanged while the other is updated."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from lit_nas.internals import BatchNormKind

__all__ = ("frozen", "frozen_statistics", "running_statistics")


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Takes parameters out of autograd, so that neither their gradients nor what these need is computed or kept."""
    moving = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)


@contextmanager
def frozen_statistics(norms: Iterable[nn.Module]) -> Iterator[None]:
    """Lets BatchNorm normalise by the batch without updating its running statistics.

    Args:
        norms: Modules; those that are not BatchNorm are ignored.
    """
    tracking = [norm for norm in norms if isinstance(norm, BatchNormKind) and norm.track_running_stats]
    for norm in tracking:
        vars(norm)["track_running_stats"] = False  # setting attributes of thousands of modules would show in each step
    try:
        yield
    finally:
        for norm in tracking:
            vars(norm)["track_running_stats"] = True


@contextmanager
def running_statistics(norms: Iterable[nn.Module]) -> Iterator[None]:
    """Lets BatchNorm normalise by its running statistics, and leaves them as they are.

    Args:
        norms: Modules; those that are not BatchNorm are ignored, and those without running statistics go on by those
            of the batch.
    """
    training = [
        norm for norm in norms if isinstance(norm, BatchNormKind) and norm.training and norm.track_running_stats
    ]
    for norm in training:
        vars(norm)["training"] = False
    try:
        yield
    finally:
        for norm in training:
            vars(norm)["training"] = True
