"""Figures that tell how a search fares, all of them free of noise."""

import torch
from torch import Tensor

from lit_nas.relaxations.draw import mask_of
from lit_nas.schedules import Schedule
from lit_nas.search import SearchModule

__all__ = ("entropy", "health_figures", "margin", "temperature")


def entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy of each edge in nats, [E, O] -> [E]; log O for equal candidates, 0 for a single one."""
    return torch.special.entr(probabilities).sum(-1)


def margin(probabilities: Tensor) -> Tensor:
    """Lead of the best candidate of each edge over the second best, [E, O] -> [E]; O = 1 leads over nothing by p."""
    best = probabilities.sort(-1, descending=True).values
    return best[:, 0] - best[:, 1] if probabilities.shape[1] > 1 else best[:, 0]


def temperature(search: SearchModule) -> float | None:
    """The temperature of the relaxation now; None where it has none.

    Args:
        search: Whose relaxation it is.
    """
    schedule = getattr(search.architecture.relaxation, "temperature", None)
    return float(schedule(search.architecture.clock.moment())) if isinstance(schedule, Schedule) else None


def health_figures(search: SearchModule) -> dict[str, float]:
    """Means over the edges of a cell that have candidates, by name.

    `entropy/<cell>` (nats) and `margin/<cell>` (lead of the strongest operation over the second one);
    `sparsity/<cell>`, the part of its candidates whose mixing weight is exactly 0, as of those that were pruned; and
    where the space has the operation `none`, `none/<cell>`, the number of edges on which it is the strongest.
    `temperature` where the relaxation has one.

    Args:
        search: The search.
    """
    found: dict[str, float] = {}
    for name, table in search.architecture.probabilities().items():
        cell = search.architecture.space.cells[name]
        allowed = mask_of(cell.allowed, len(cell.operations)).to(table.device)
        edges = table[allowed.any(-1)]  # one without candidates has decided nothing
        found |= {f"entropy/{name}": float(entropy(edges).mean()), f"margin/{name}": float(margin(edges).mean())}
        found[f"sparsity/{name}"] = float((table[allowed] == 0).double().mean())
        if "none" in cell.operations:
            column = cell.operations.index("none")
            others = torch.cat([table[:, :column], table[:, column + 1 :]], -1)
            ahead = table[:, column] > others.max(-1).values if others.shape[1] else table[:, column] > 0
            found[f"none/{name}"] = float(ahead.sum())  # a tie, as at the start, does not count
    if (now := temperature(search)) is not None:
        found["temperature"] = now
    return found
