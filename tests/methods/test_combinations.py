"""Every relaxation on every kind of edge in every method: it is learned from, or refused before the first step."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from inspect import signature
from itertools import product
from typing import Any

import pytest
import torch

import lit_nas.methods
from lit_nas.edges import (
    AuxiliarySkip,
    ConstantBeside,
    EdgeKind,
    MergedConvolutions,
    PartialChannels,
    PlainEdges,
    SharedDagConvs,
)
from lit_nas.methods import (
    DARTS,
    GDAS,
    PARSEC,
    PCDARTS,
    PDARTS,
    SNAS,
    DropNAS,
    EntmaxDARTS,
    FaDE,
    MergeNAS,
    ProxylessNAS,
    StacNAS,
)
from lit_nas.relaxations import (
    BinaryGates,
    Categorical,
    CategoricalPairs,
    Entmax,
    GroupedDropout,
    GumbelSoftmax,
    Relaxation,
    Sigmoid,
    Softmax,
)
from lit_nas.schedules import Constant
from lit_nas.search import SearchModule
from tests.methods.test_contract import changed, fit, snapshot
from tests.support import tiny_text
from tests.support.tiny import CONNECTED, INPUTS, PROXYLESS, SPACE, THREE

RELAXATIONS: dict[str, Relaxation] = {
    "softmax": Softmax(),
    "entmax": Entmax(1.5),
    "sigmoid": Sigmoid(),
    "soft samples": GumbelSoftmax(Constant(1.0)),
    "hard samples": GumbelSoftmax(Constant(1.0), hard=True, per_cell=True),
    "two gates": BinaryGates("two"),
    "all gates": BinaryGates("all"),
    "one gate": BinaryGates("one"),
    "categorical": Categorical(),
    "pairs": CategoricalPairs(),
    "dropout": GroupedDropout(Constant(0.3), Constant(0.2)),
}
EDGES: dict[str, EdgeKind] = {
    "plain": PlainEdges(),
    "partial": PartialChannels(2),
    "random": PartialChannels(2, "random"),
    "merged": MergedConvolutions(),
    "folded": MergedConvolutions(fold=True, recompute=True),
    "ratios": MergedConvolutions(rescale=False),
    "shortcut": AuxiliarySkip(),
    "constant": ConstantBeside(),
    "shared": SharedDagConvs(),
}


def default_optim(method: type[SearchModule], **changes: Any) -> Any:
    """The one of the paper, without a warm-up."""
    return replace(signature(method).parameters["optim"].default, arch_from_epoch=0, **changes)


METHODS: dict[str, tuple[Callable[..., SearchModule], str | None]] = {
    "DARTS": (lambda **parts: DARTS(INPUTS, SPACE, **parts), "relaxation"),
    "DARTS-2": (lambda **parts: DARTS(INPUTS, SPACE, 2, **parts), "relaxation"),
    "DARTS-2-exact": (lambda **parts: DARTS(INPUTS, SPACE, 2, "exact", **parts), "relaxation"),
    "PDARTS": (
        lambda **parts: PDARTS(INPUTS, SPACE, Constant(0.3), optim=default_optim(PDARTS), **parts),
        "relaxation",
    ),
    "EntmaxDARTS": (lambda **parts: EntmaxDARTS(INPUTS, SPACE, **parts), "relaxation"),
    "PCDARTS": (lambda **parts: PCDARTS(INPUTS, SPACE, optim=default_optim(PCDARTS), **parts), "relaxation"),
    "MergeNAS": (lambda **parts: MergeNAS(INPUTS, SPACE, **parts), "relaxation"),
    "DropNAS": (lambda **parts: DropNAS(INPUTS, SPACE, **parts), "relaxation"),
    "StacNAS": (lambda **parts: StacNAS(INPUTS, SPACE, **parts), "relaxation"),
    "FaDE": (lambda **parts: FaDE(INPUTS, SPACE, **parts), "relaxation"),
    "GDAS": (lambda **parts: GDAS(INPUTS, SPACE, **parts), "relaxation"),
    "GDAS-constant": (lambda **parts: GDAS(INPUTS, SPACE, constant_unselected=True, **parts), "relaxation"),
    "SNAS": (lambda **parts: SNAS(INPUTS, SPACE, **parts), "relaxation"),
    "SNAS-alone": (
        lambda **parts: SNAS(INPUTS, SPACE, drop_path=None, optim=default_optim(SNAS, regularizers=()), **parts),
        "relaxation",
    ),
    "PARSEC": (lambda **parts: PARSEC(INPUTS, CONNECTED, sampling=THREE, **parts), "prior"),
    "ProxylessNAS": (lambda **parts: ProxylessNAS(INPUTS, SPACE, arch_every=1, optim=PROXYLESS, **parts), None),
    "ProxylessNAS-all": (
        lambda **parts: ProxylessNAS(INPUTS, SPACE, paths="all", arch_every=1, optim=PROXYLESS, **parts),
        None,
    ),
    "ProxylessNAS-reinforce": (
        lambda **parts: ProxylessNAS(INPUTS, SPACE, "reinforce", arch_every=1, optim=PROXYLESS, **parts),
        None,
    ),
    "RecurrentDARTS": (tiny_text.search, "relaxation"),
    "RecurrentDARTS-2": (partial(tiny_text.search, order=2), "relaxation"),
}
WITHOUT_EDGES = {"RecurrentDARTS", "RecurrentDARTS-2"}
"""Their weights belong to nodes."""
LEARN = {
    ("DARTS", "entmax", "partial"), ("DARTS", "hard samples", "merged"), ("DARTS", "two gates", "random"),
    ("DARTS-2", "sigmoid", "merged"), ("PDARTS", "entmax", "merged"), ("EntmaxDARTS", "entmax", "merged"),
    ("GDAS", "hard samples", "merged"), ("SNAS", "soft samples", "partial"), ("PARSEC", "pairs", "merged"),
    ("PARSEC", "categorical", "random"), ("ProxylessNAS", "", "merged"), ("ProxylessNAS-all", "", "partial"),
    ("DropNAS", "dropout", "random"), ("StacNAS", "sigmoid", "partial"),
    ("RecurrentDARTS", "entmax", ""), ("RecurrentDARTS", "sigmoid", ""), ("RecurrentDARTS", "hard samples", ""),
    ("RecurrentDARTS-2", "soft samples", ""),
}  # fmt: skip
"""A part of what is learned from, for the default tests."""
REFUSED = {
    ("DARTS", "one gate", "plain"), ("DARTS", "softmax", "constant"), ("DARTS", "hard samples", "ratios"),
    ("DARTS-2-exact", "two gates", "plain"), ("PDARTS", "softmax", "folded"), ("GDAS", "softmax", "plain"),
    ("GDAS-constant", "hard samples", "partial"), ("SNAS", "soft samples", "merged"), ("PARSEC", "softmax", "plain"),
    ("MergeNAS", "softmax", "partial"), ("ProxylessNAS", "", "ratios"), ("DARTS", "softmax", "shared"),
    ("FaDE", "hard samples", "plain"), ("RecurrentDARTS", "one gate", ""), ("RecurrentDARTS", "pairs", ""),
}  # fmt: skip
"""A part of what is refused."""


def combinations() -> Iterator[Any]:
    for name, (_, key) in METHODS.items():
        for relaxation, edges in product(RELAXATIONS if key else ("",), ("",) if name in WITHOUT_EDGES else EDGES):
            default = (name, relaxation, edges) in LEARN | REFUSED
            yield pytest.param(name, relaxation, edges, marks=() if default else pytest.mark.slow)


def test_every_method_is_listed():
    assert {name.split("-")[0] for name in METHODS} == set(lit_nas.methods.__all__)


def test_every_relaxation_and_kind_of_edge_is_listed():
    own = {kind for kind in EdgeKind.__subclasses__() if kind.__module__.startswith("lit_nas.")}
    assert {type(each) for each in EDGES.values()} == own
    public = {getattr(lit_nas.relaxations, name) for name in lit_nas.relaxations.__all__}
    public = {each for each in public if isinstance(each, type) and issubclass(each, Relaxation)}
    assert {type(each) for each in RELAXATIONS.values()} == public - {
        Relaxation,
        lit_nas.relaxations.Best,
        lit_nas.relaxations.Mean,
    }


@pytest.mark.parametrize(("name", "relaxation", "edges"), list(combinations()))
def test_a_combination_is_learned_from_or_refused(name, relaxation, edges, tmp_path):
    make, key = METHODS[name]
    torch.manual_seed(0)
    module, message = None, ""
    try:
        parts = {"edges": EDGES[edges]} if edges else {}
        module = make(**parts, **({key: RELAXATIONS[relaxation]} if key else {}))
        before = snapshot(module)
        fit(module, tmp_path)
    except ValueError as error:
        message = str(error)
    assert bool(message) == ((name, relaxation, edges) in REFUSED) or (name, relaxation, edges) not in LEARN | REFUSED
    if message:
        assert "model." in message
        assert module is None or not changed(before, snapshot(module), "network.")  # nothing has been computed by then
        return
    after, logits = snapshot(module), {each for each in before if each.startswith("architecture.logits")}
    assert all(value.isfinite().all() for value in after.values())
    assert changed(before, after, "architecture.logits") == logits
    assert changed(before, after, "network.")
