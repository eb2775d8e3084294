"""A device that holds no data: whatever looks at a value, or copies one between host and device, shows."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
_LOOKS = {"_local_scalar_dense", "equal", "is_nonzero", "item", "masked_select", "nonzero", "_unique2", "unique_dim"}
"""Operations whose result, or the size of it, the host must know before it goes on."""

_COPIES = {"_to_copy", "copy_"}


@contextmanager
def waits() -> Iterator[list[str]]:
    """Names of the operations for which the host waits for the device, or hands it a number by a copy.

    Within a CUDA graph none of them is possible; outside of one each lets the queue of the device run empty.
    """
    found: list[str] = []
    with autocast_anywhere(), _Calls(found), _Operations(found):
        yield found


@contextmanager
def autocast_anywhere() -> Iterator[None]:
    """Lets code that switches autocast off for a device run on "meta", too."""
    autocast = torch.autocast
    with mock.patch.object(torch, "autocast", lambda kind, *a, **k: _autocast(autocast, kind, *a, **k)):
        yield


def _autocast(autocast: Any, kind: str, *arguments: Any, **named: Any) -> Any:
    return nullcontext() if kind == "meta" else autocast(kind, *arguments, **named)  # torch knows none for "meta"


class _Calls(TorchFunctionMode):
    """Numbers and lists of the host that become a tensor of the device; below this they cannot be told apart."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        makes = name in ("tensor", "as_tensor", "asarray", "new_tensor") and not isinstance(args[0], torch.Tensor)
        if (makes or name == "new_tensor") and out.device != torch.device("cpu"):
            self.found.append(name)
        return out


class _Operations(TorchDispatchMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        if name in _LOOKS or name in _COPIES:
            devices = {leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
            if name in _LOOKS and devices - {"cpu"}:
                self.found.append(name)
            target = {torch.device(kwargs["device"]).type} if kwargs.get("device") else set()
            if name in _COPIES and len(devices | target) > 1:
                self.found.append(f"{name}: {sorted(devices)} -> {sorted(target or devices)}")
        return func(*args, **kwargs)
