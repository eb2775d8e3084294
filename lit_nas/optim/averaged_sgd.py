"""SGD that averages its weights from some moment on, for language models.

Papers: Polyak, Juditsky, 1992, https://doi.org/10.1137/0330046; Merity, Keskar, Socher, ICLR 2018,
https://arxiv.org/abs/1708.02182, section 3 (non-monotonically triggered ASGD).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ("AveragedSGD", "non_monotone")


class AveragedSGD(Optimizer):
    """SGD without momentum: lr 20, weight decay 8e-7. After `start` it also keeps the mean of the weights.

    Averages are those of `torch.optim.ASGD` with `t0` and `lambd` 0: the second step after `start` is the first one
    that counts. Differs from it: both phases are one optimiser, so that a checkpoint knows which one it is in
    and has its state, and a step has the present lr (that of torch has the lr of the step before, which differs where
    the lr follows the length of a window).

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        weight_decay: Factor of the weights that is added to their gradient.

    Raises:
        ValueError: if a number is negative.
    """

    def __init__(self, params: Any, lr: float = 20.0, weight_decay: float = 8e-7) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, but is {value}")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "averaging": False})

    @property
    def averaging(self) -> bool:
        """Whether averages are kept."""
        return bool(self.param_groups[0]["averaging"])

    def start(self) -> None:
        """Begins to average."""
        for group in self.param_groups:
            group["averaging"] = True

    def stop(self) -> None:
        """Goes back to plain SGD and forgets the averages."""
        self.state.clear()
        for group in self.param_groups:
            group["averaging"] = False

    @torch.no_grad()
    def averages(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The mean of each parameter; itself where there is none yet.

        Args:
            parameters: Of this optimiser.
        """
        return [self.state[each].get("average", each).detach() for each in parameters]

    @property
    def steps(self) -> int:
        """Steps since `start`."""
        return max((int(state["step"]) for state in self.state.values() if "step" in state), default=0)

    @torch.no_grad()
    def restart(self, parameters: Sequence[Tensor], averages: Sequence[Tensor], steps: int) -> None:
        """Continues to average from a state of before.

        Args:
            parameters: Of this optimiser.
            averages: Their means.
            steps: Steps since `start`.
        """
        self.stop()
        self.start()
        for parameter, average in zip(parameters, averages, strict=True):
            self.state[parameter] = {"step": steps, "average": average.detach().clone()}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step.

        Args:
            closure: Computes the loss anew.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [each for each in group["params"] if each.grad is not None]
            if not parameters:
                continue
            gradients = torch._foreach_add([each.grad for each in parameters], parameters, alpha=group["weight_decay"])
            torch._foreach_add_(parameters, gradients, alpha=-float(group["lr"]))
            if group["averaging"]:
                self._average(parameters)
        return loss

    def _average(self, parameters: list[Tensor]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            state["step"] = state.get("step", 0) + 1
            if "average" not in state:
                state["average"] = parameter.detach().clone()
            else:
                state["average"].lerp_(parameter, 1 / max(1, state["step"] - 1))


def non_monotone(losses: Sequence[float], loss: float, interval: int) -> bool:
    """Whether a validation loss is the sign to begin to average (Merity et al., algorithm 1).

    It is if it is larger than the least one of those that lie more than `interval` validations back.

    Args:
        losses: Of all validations before.
        loss: Of the present one.
        interval: n.
    """
    return len(losses) > interval and loss > min(losses[:-interval] if interval else losses)
