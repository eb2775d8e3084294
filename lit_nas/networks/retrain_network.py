"""What a retraining trains: how the network of a genotype is built."""

from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import Any, ClassVar

from torch import nn

from lit_nas.genotype import Genotype
from lit_nas.specs import ImageSpec, Spec

__all__ = ("RetrainNetwork",)


class RetrainNetwork(ABC):
    """How the network of a genotype is built, with the numbers of its paper; final subclasses are frozen dataclasses.

    A network of your own is named by its class (`model.network` in YAML), or by the name under which `register_space`
    has added it.
    """

    paper_spec: ClassVar[Spec] = ImageSpec()
    """Images and labels of the paper, or its vocabulary."""
    paper_batch_size: ClassVar[int | None] = None
    """Images of each batch of the paper's retraining; None where there is no paper."""
    has_auxiliary: ClassVar[bool] = False
    """Whether the network may have an auxiliary head."""

    @abstractmethod
    def build(self, genotype: Genotype, spec: Any, auxiliary: bool = False) -> nn.Module:
        """The network; maps images and a drop probability to logits [B, K] and auxiliary logits, None without a head.

        That of a kind of data other than images maps what the retraining of that kind hands to it.

        For the tables of `describe` it has the parts `stem`, `cells` (an `nn.ModuleList`) and `types`, the type of each
        cell; an auxiliary head is called `auxiliary`.

        Args:
            genotype: Its cells.
            spec: Images and labels, or what other data agree on with their networks.
            auxiliary: Whether there is an auxiliary head; asked for only where there may be one.

        Raises:
            ValueError: if genotype, images or numbers do not fit.
        """

    def with_numbers(self, **numbers: int | bool | None) -> "RetrainNetwork":
        """The same with other numbers.

        Args:
            numbers: Fields, `init_channels`, `num_cells` or `pool_norm` for example; None leaves one as it is.

        Raises:
            ValueError: if there is no such field.
        """
        description: Any = self  # a dataclass, as all final subclasses are
        given = {name: number for name, number in numbers.items() if number is not None}
        known = [field.name for field in fields(description)]
        if unknown := sorted(set(given) - set(known)):
            raise ValueError(
                f"The network {type(self).__name__} has no {' and no '.join(unknown)}: leave out "
                f"{', '.join(f'model.{name}' for name in unknown)}. It has: {', '.join(known) or 'no numbers'}."
            )
        changed: RetrainNetwork = replace(description, **given)
        return changed
