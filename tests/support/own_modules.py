"""Packages of a user's own that a test imports in its own process, and that must not be known to later tests."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lit_nas.networks.registry import SPACES
from lit_nas.operations.registry import FAMILIES, OPERATIONS


@contextmanager
def forgotten(package: str) -> Iterator[None]:
    """Forgets a package afterwards: parsers of the command line look at all classes that are alive."""
    registries = [(registry, dict(registry)) for registry in (SPACES, OPERATIONS, FAMILIES)]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
        for registry, before in registries:
            registry.clear()
            registry.update(before)
        gc.collect()
