"""What a search leaves to the next one: the strongest candidates of each edge."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_nas.callbacks.expect import search_of
from lit_nas.search import SearchModule

__all__ = ("KeepStrongest", "strongest")


class KeepStrongest(Callback):
    """Prunes all but the most probable candidates of each edge after the last epoch of a search.

    In a job, `candidates.json` then has what the next search begins with. `none` competes like any other; of equally
    probable candidates the first ones go, as in the authors' code of P-DARTS. Curves, `alphas.csv` and the scores of
    the last epoch are those of the search before.

    Args:
        count: How many candidates an edge keeps; one that has fewer keeps them all.

    Raises:
        ValueError: if none would be left.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"KeepStrongest.count must be at least 1, not {count}.")
        self.count = count

    def record(self) -> dict[str, Any]:
        """The number, which a run that continues must have."""
        return {"count": self.count}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prunes, if this was the last epoch, before its checkpoint is written."""
        search = search_of(pl_module, self)
        if trainer.max_epochs == trainer.current_epoch + 1:
            _prune(search, self.count)


def strongest(probabilities: Tensor, mask: Tensor, count: int) -> Tensor:
    """Which candidates are among the most probable ones of their edge, bool [E, O].

    Args:
        probabilities: [E, O].
        mask: Active candidates, bool [E, O].
        count: How many of each edge.
    """
    keep = mask.clone()
    for row, values in zip(keep, probabilities, strict=True):
        columns = row.nonzero().flatten()
        weakest = values[columns].argsort(stable=True)[: max(len(columns) - count, 0)]
        row[columns[weakest]] = False
    return keep


def _prune(search: SearchModule, count: int) -> None:
    architecture = search.architecture
    for name, probabilities in architecture.probabilities().items():
        mask = architecture.mask(name).cpu()
        keep = strongest(probabilities, mask, count)
        if not torch.equal(keep, mask):
            architecture.prune(name, keep)
