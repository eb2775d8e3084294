"""Classes that have gone, because others do the same with other arguments: files that name them are still read."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ("REPLACED", "with_present_classes")

Arguments = dict[str, Any]


def _with(**numbers: Any) -> Callable[[Arguments], Arguments]:
    """Arguments of the class that has gone -> those of the present one, whose defaults are others."""
    return lambda arguments: {**numbers, **arguments}


def _resource_cost(arguments: Arguments) -> Arguments:
    measure = {"measures": [arguments["measure"]]} if "measure" in arguments else {"measures": ["parameters"]}
    rest = {name: value for name, value in arguments.items() if name != "measure"}
    return {"form": "log", "estimator": "expected", **measure, **rest}


REPLACED: Mapping[str, tuple[str, Callable[[Arguments], Arguments]]] = {
    "lit_nas.optim.DartsImageNetSGD": ("lit_nas.optim.DartsSGD", _with(lr=0.1, weight_decay=3e-5)),
    "lit_nas.optim.DropNASAdam": ("lit_nas.optim.DartsAdam", _with(weight_decay=0.0)),
    "lit_nas.optim.DropNASCosineLR": ("lit_nas.optim.SearchCosineLR", _with(lr_min=1.5e-3)),
    "lit_nas.optim.DropNASSGD": ("lit_nas.optim.DartsSGD", _with(lr=0.0375, weight_decay=0.0)),
    "lit_nas.optim.GDASSGD": ("lit_nas.optim.DartsSGD", _with(weight_decay=5e-4, nesterov=True)),
    "lit_nas.optim.PCDartsAdam": ("lit_nas.optim.DartsAdam", _with(lr=6e-4)),
    "lit_nas.optim.PCDartsSGD": ("lit_nas.optim.DartsSGD", _with(lr=0.1)),
    "lit_nas.optim.ParsecAdam": ("lit_nas.optim.DartsAdam", _with(lr=3e-3, weight_decay=0.0)),
    "lit_nas.optim.ProxylessAdam": ("lit_nas.optim.DartsAdam", _with(lr=1e-3, betas=[0.0, 0.999], weight_decay=0.0)),
    "lit_nas.optim.ProxylessSGD": ("lit_nas.optim.DartsSGD", _with(weight_decay=4e-5, nesterov=True)),
    "lit_nas.regularizers.LogCost": ("lit_nas.regularizers.ResourceCost", _resource_cost),
}
"""Public name of a class that has gone -> that of the present one, and what becomes of its arguments."""
_NAMES = {name.rpartition(".")[2]: name for name in REPLACED}


def with_present_classes(value: Any) -> Any:
    """Plain data whose classes are all there; what was handed over stays as it is.

    Args:
        value: Of a checkpoint or a configuration; classes stand under `class_path`, in full, by their name alone or as
            people import them.
    """
    if isinstance(value, list):
        return [with_present_classes(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: with_present_classes(item) for key, item in value.items()}
    path = str(found.get("class_path", ""))
    module, _, short = path.rpartition(".")
    name = _NAMES.get(short)
    if name is None or not (module in ("", "lit_nas") or path.startswith(f"{name.rpartition('.')[0]}.")):
        return found
    present, arguments = REPLACED[name]
    return {**found, "class_path": present, "init_args": arguments(dict(found.get("init_args") or {}))}
