"""Errors within classes that a user wrote, told with the name of that class."""

import sys
import sysconfig
from collections.abc import Iterator
from types import FrameType

__all__ = ("name_own_class",)

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def name_own_class(error: BaseException) -> str | None:
    """A sentence that names the class of the user in which an error arose; None if it arose elsewhere.

    Args:
        error: What was raised while classes were built.
    """
    for frame in reversed(list(_frames(error))):
        owner = type(frame.f_locals.get("self"))
        if _is_own(owner):
            told = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            return f"{owner.__module__}.{owner.__qualname__} could not be used: {told}"
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _is_own(owner: type) -> bool:
    """Whether a class is neither of lit-nas nor of an installed package."""
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    return file is not None and owner.__module__.partition(".")[0] != "lit_nas" and not file.startswith(_LIBRARIES)
