"""A relaxation: a softmax whose temperature falls over the search."""

from dataclasses import dataclass

from torch import Tensor

from lit_nas.clock import Time
from lit_nas.relaxations import Relaxation
from lit_nas.schedules import Linear, Schedule


@dataclass(frozen=True)
class Cooling(Relaxation):
    """softmax(logits / temperature) of the active candidates."""

    temperature: Schedule = Linear(2.0, 0.2)
    """Over the search."""

    def probabilities(self, logits: Tensor, mask: Tensor, clock: Time) -> Tensor:
        """[E, O] -> [E, O]; 0 where a candidate is not active, also on an edge without any."""
        scaled = (logits / self.temperature(clock)).masked_fill(~mask, float("-inf"))
        return scaled.softmax(-1).nan_to_num(0.0) * mask
