"""Batches of which nothing is known but their roles and tensors."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from lit_nas.batches import by_role, check_roles, tensors_of


@dataclass
class Part:
    state: torch.Tensor
    more: Any


def test_tensors_are_found_in_order_at_any_depth():
    tensors = list(torch.arange(4).unbind())
    batch = (tensors[0], [Part(tensors[1], (tensors[2], "text", 3))], {"last": tensors[3]})
    assert [found is given for found, given in zip(tensors_of(batch), tensors, strict=True)] == [True] * 4
    assert tensors_of(tensors[0])[0] is tensors[0]
    assert tensors_of("text") == []


def test_a_bare_batch_trains_the_weights():
    part = Part(torch.zeros(1), None)
    assert by_role(part)["weights"] is part
    both = {"weights": 1, "arch": 2}
    assert by_role(both) is both


def test_missing_parts_are_named():
    check_roles({"weights": 1, "arch": 2}, frozenset({"weights"}), "Foo")
    check_roles(torch.zeros(1), frozenset({"weights"}), "Foo")
    with pytest.raises(ValueError, match=r"is a Part, but Foo needs the parts \['arch', 'weights'\] and \['arch'\] is"):
        check_roles(Part(torch.zeros(1), None), frozenset({"weights", "arch"}), "Foo")
    with pytest.raises(ValueError, match=r"dict with the keys \['train'\].*\{\"weights\": loader\}`.*or with a single"):
        check_roles({"train": 1}, frozenset({"weights"}), "Foo")
