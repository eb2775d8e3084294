"""Names of classes in files: public ones, which outlive a move of the module that defines the class."""

import importlib
import sys
from typing import Any

import lit_nas

__all__ = ("MOVED", "current_name", "import_class", "public_name")

MOVED: dict[str, str] = {
    "lit_nas.evaluate.EvaluationModule": "lit_nas.retrain.RetrainModule",
    "lit_nas.evaluate.EvaluationOptim": "lit_nas.retrain.RetrainOptim",
    "lit_nas.evaluate": "lit_nas.retrain",
    "lit_nas.inputs": "lit_nas.specs",
    "lit_nas.loggers": "lit_nas.resume",
    "lit_nas.tables": "lit_nas.tabular",
}
"""Former dotted name -> present one, of classes, or of modules for all that they define.

Only what a file may hold needs an entry, and only if its public name has changed: the name of a module within the same
package (`lit_nas.methods.darts.DARTS`) leads to the public one (`lit_nas.methods.DARTS`) by itself.
"""


def public_name(found: type) -> str:
    """The shortest dotted name of a class: that of the outermost package that has it, else of its module.

    Args:
        found: The class.

    Returns:
        `lit_nas.methods.DARTS` for `lit_nas.methods.darts.DARTS`, for example.
    """
    parts = found.__module__.split(".")
    for length in range(1, len(parts)):
        package = ".".join(parts[:length])
        if _held(package, found.__qualname__) is found:
            return f"{package}.{found.__qualname__}"
    return f"{found.__module__}.{found.__qualname__}"


def current_name(path: str) -> str:
    """The present public name of a class that a file names; imports nothing.

    Args:
        path: Dotted name, of this release or an earlier one.

    Returns:
        The name; a class whose module is not imported keeps the name that it has.
    """
    path = _moved(path)
    module, _, name = path.rpartition(".")
    while module:
        found = _held(module, name)
        if isinstance(found, type):
            return public_name(found)
        module = module.rpartition(".")[0]
    return path


def import_class(path: str) -> type:
    """Imports `package.module.Class`, a former name of it included.

    Raises:
        ValueError: if there is no such class.
    """
    module, _, name = _moved(path).rpartition(".")
    problem: Exception | None = None
    while problem is None or module:
        try:
            imported = importlib.import_module(module)
            found = getattr(imported, name) if problem is None else vars(imported)[name]
        except (ImportError, AttributeError, KeyError, ValueError) as error:
            problem = problem or error
            module = module.rpartition(".")[0]  # the module may have been renamed; the package still has the class
            continue
        if not isinstance(found, type):
            raise ValueError(f"'{path}' is not a class.")
        return found
    raise ValueError(f"There is no class '{path}': {problem}.") from problem


def _held(module: str, name: str) -> Any:
    """What an imported module holds; names that it would import at their first use are for people, not for files."""
    return vars(sys.modules[module]).get(name) if module in sys.modules else None


def _moved(path: str) -> str:
    package, _, name = path.rpartition(".")
    if package in ("", "lit_nas") and name in lit_nas.HOMES:  # one of the names that people import or write
        return f"{lit_nas.HOMES[name]}.{name}"
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        if (found := MOVED.get(".".join(parts[:length]))) is not None:
            return ".".join([found, *parts[length:]])
    return path
