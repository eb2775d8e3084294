"""What all retrainings share: a genotype, and one part of data that trains it."""

from abc import ABC
from typing import TYPE_CHECKING, Any

from torchmetrics import MeanMetric

from lit_nas.genotype import Genotype, load_genotype
from lit_nas.record.recorded_module import RecordedModule

__all__ = ("GenotypeSource", "Retraining")

if TYPE_CHECKING:
    GenotypeSource = Genotype | str | dict[str, Any]
else:  # the parser of the command line would replace the name of a file by its content
    GenotypeSource = str | dict[str, Any]


class Retraining(RecordedModule, ABC):
    """Trains the network of a genotype from scratch."""

    roles: frozenset[str] = frozenset({"weights"})
    merges_roles: bool = True
    """Asks the data for the parts of a search that train as one part."""
    genotype: Genotype
    train_loss: MeanMetric
    """Of the epoch so far."""

    def take(self, genotype: GenotypeSource) -> Genotype:
        """Reads a genotype, and records it as data: its file may be gone when the checkpoint is read.

        Args:
            genotype: A `Genotype`, its dict form, a published name, a genotype file, a checkpoint of a search, or an
                architecture string of NAS-Bench-201.
        """
        if isinstance(genotype, dict):
            return Genotype.from_dict(genotype, "model.genotype")
        found = genotype if isinstance(genotype, Genotype) else load_genotype(genotype)
        self.hparams["genotype"] = found.to_dict()
        return found

    def record(self) -> dict[str, Any]:
        """Adds the genotype, so that tools find it where the checkpoints of searches have it."""
        return {"genotype": self.genotype.to_dict()}
