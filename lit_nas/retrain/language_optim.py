"""How the weights of a language model are updated.

Paper: Merity, Keskar, Socher, ICLR 2018, https://arxiv.org/abs/1708.02182.
"""

from dataclasses import dataclass

from lit_nas.optim import AveragedSGD, OptimizerCallable

__all__ = ("LanguageRetrainOptim",)


@dataclass(frozen=True)
class LanguageRetrainOptim:
    """How the weights are updated. The defaults are those of DARTS on Penn Treebank.

    Raises:
        ValueError: if a number is out of range.
    """

    weights: OptimizerCallable = AveragedSGD
    """Optimiser, with a constant learning rate for windows of the usual length."""
    clip: float = 0.25
    """Largest norm of the gradient of all weights together; 0 does not clip."""
    non_monotone: int | None = 5
    """n: weights are averaged from the validation on whose loss is larger than the least of those more than n back;
    None never averages, which optimisers other than `AveragedSGD` need."""

    def __post_init__(self) -> None:
        if not self.clip >= 0:
            raise ValueError(f"model.optim.clip must not be negative, but is {self.clip}.")
        if self.non_monotone is not None and self.non_monotone < 0:
            raise ValueError(f"model.optim.non_monotone must not be negative, but is {self.non_monotone}.")
