"""What the masks of a step follow from, where something is dropped in a network."""

import torch

from lit_nas.architecture import Architecture

__all__ = ("mask_parts",)


def mask_parts(architecture: Architecture, place: int) -> tuple[int | str, ...]:
    """Seed of the architecture, step, what is updated, number of the sample, place and process, for a seed of its own.

    All passes of a step see one mask by it, and a run that continues those that it would have seen.

    Args:
        architecture: Knows seed and time.
        place: Number of what is dropped in its network.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if distributed else 0
    return architecture.host_seed, int(architecture.clock.moment().step), *architecture.drawn_for, place, rank
