"""Constructor calls as plain data."""

from functools import partial
from pathlib import Path

import pytest
import torch

from lit_nas.derivation import TopEdges
from lit_nas.inputs import ImageSpec
from lit_nas.optim import DartsSGD
from lit_nas.recipe import import_class, plain
from lit_nas.search import SearchOptim


def test_parts_become_mappings():
    assert plain(ImageSpec(1, 2, 3, 4)) == {"channels": 1, "height": 2, "width": 3, "classes": 4}
    assert plain(TopEdges(k=3)) == {
        "class_path": "lit_nas.derivation.top_edges.TopEdges",
        "init_args": {"k": 3, "exclude": ["none"]},
    }
    optim = plain(SearchOptim(weights=partial(torch.optim.SGD, lr=0.1)))
    assert optim["weights"] == {"class_path": "torch.optim.sgd.SGD", "init_args": {"lr": 0.1}}
    assert optim["arch"] == {"class_path": "lit_nas.optim.recipes.DartsAdam"}
    assert plain({"a": [Path("b"), (1, None)]}) == {"a": ["b", [1, None]]}


@pytest.mark.parametrize("value", [lambda x: x, partial(DartsSGD, [1]), object()])
def test_what_cannot_be_written_is_refused(value):
    with pytest.raises(TypeError, match="cannot be written into a checkpoint"):
        plain(value)


def test_classes_are_imported_by_path():
    assert import_class("lit_nas.inputs.ImageSpec") is ImageSpec
    for path, message in (("lit_nas.inputs.Nothing", "no class"), ("nonsense", "no class"), ("os.path.join", "not a")):
        with pytest.raises(ValueError, match=message):
            import_class(path)
