"""Which candidates of a search are given up."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lit_nas.spaces import CellSpace

__all__ = ("Pruning",)


@dataclass(frozen=True)
class Pruning:
    """Candidates whose mixing weight is at most a threshold are taken out permanently.

    With the threshold 0 this is the rule of sparse single-level search (Bezirganyan and Akarmazyan, 2022): what a
    sparse relaxation has set to exactly zero is pruned. The paper does not say how often; the default is after each
    epoch.

    Raises:
        ValueError: if a number is out of range.
    """

    threshold: float = 0.0
    """Largest mixing weight that is pruned."""
    every: Literal["step", "epoch"] = "epoch"
    """When candidates are looked at: after each training step, or after each epoch."""
    from_epoch: int = 0
    """First epoch in which candidates are pruned; the epochs before it are a warm-up."""
    guard: bool = False
    """Whether a node keeps an operation: where the last one other than `none` would be pruned, the other candidates of
    its edge, `none` among them, are pruned instead."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < 1.0:
            raise ValueError(f"pruning.threshold must be in [0, 1), not {self.threshold}.")
        if self.every not in ("step", "epoch"):
            raise ValueError(f"pruning.every must be `step` or `epoch`, not {self.every!r}.")
        if self.from_epoch < 0:
            raise ValueError(f"pruning.from_epoch must not be negative, but is {self.from_epoch}.")

    def keep(self, cell: CellSpace, weights: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        """The candidates that stay active.

        Args:
            cell: Their cell type.
            weights: Mixing weights, [E, O].
            logits: Architecture parameters, [E, O]; they say which candidate the guard spares.
            mask: Active candidates, bool [E, O].

        Returns:
            bool [E, O]; a row may be without any.
        """
        keep = mask & (weights > self.threshold)
        if self.guard:
            connections = [column for column, name in enumerate(cell.operations) if name != "none"]
            for node in cell.targets:
                rows = [row for row, (_, target) in enumerate(cell.edges) if target == node]
                if not keep[rows][:, connections].any() and mask[rows][:, connections].any():
                    active = logits.masked_fill(~mask, float("-inf"))[rows]
                    behind = active.amax(-1, keepdim=True) - active  # how far each is behind the best of its edge
                    row, column = divmod(int(behind[:, connections].argmin()), len(connections))
                    keep[rows[row]] = False
                    keep[rows[row], connections[column]] = True
        return keep
