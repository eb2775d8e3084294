"""The scale of losses in float16, for gradients that no `GradScaler` sees."""

import torch
from torch import Tensor
from torch.amp import GradScaler

__all__ = ("LossScale",)


class LossScale:
    """Unscales gradients of the architecture, and lowers the scale of the run where they overflow.

    The weights' optimiser is stepped by the scaler itself, which skips the step and lowers the scale after an
    overflow. The architecture's gradient is handled outside of it; if only that gradient overflowed, the scale would
    stay, and the architecture would never be updated again.

    Args:
        scaler: The one of `16-mixed`; None for precisions that need none.
    """

    def __init__(self, scaler: GradScaler | None) -> None:
        self._scaler = scaler
        self.value = 1.0 if scaler is None else float(scaler.get_scale())
        """Factor of the losses of this step."""

    def unscale(self, gradient: list[Tensor]) -> list[Tensor] | None:
        """Divides a gradient by the factor; None if it has overflowed."""
        if self._scaler is None:
            return gradient
        if not bool(torch.stack([part.isfinite().all() for part in gradient]).all()):  # waits once
            return None
        return [part / self.value for part in gradient]

    def lower(self, device: torch.device) -> None:
        """Lowers the scale after an overflow, unless the weights' step has done so since."""
        if self._scaler is not None and self._scaler.get_scale() >= self.value:
            self._scaler.scale(torch.ones((), device=device))  # a scaler is made whole by its first use
            self._scaler.update(self.value * self._scaler.get_backoff_factor())
