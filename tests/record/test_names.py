"""Names of classes in files."""

import sys

import pytest
import torch

from lit_nas.methods import DARTS
from lit_nas.record import names
from lit_nas.record.names import current_name, import_class, public_name
from lit_nas.retrain import RetrainModule
from lit_nas.specs import ImageSpec


def test_classes_are_imported_by_path():
    assert import_class("lit_nas.specs.ImageSpec") is ImageSpec
    assert import_class("lit_nas.DARTS") is import_class("DARTS") is DARTS  # what is public needs no module
    for path, message in (
        ("lit_nas.specs.Nothing", "no class"), ("nonsense", "no class"), ("os.path.join", "not a"), ("", "no class"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            import_class(path)


def test_public_names_do_not_depend_on_the_module():
    assert public_name(DARTS) == "lit_nas.methods.DARTS"
    assert public_name(torch.optim.SGD) == "torch.optim.SGD"
    assert import_class(public_name(RetrainModule)) is RetrainModule
    assert import_class("lit_nas.methods.darts.DARTS") is import_class("lit_nas.methods.before.DARTS") is DARTS
    assert current_name("lit_nas.methods.darts.DARTS") == current_name("lit_nas.methods.before.DARTS")


def test_classes_and_modules_that_moved_are_found(monkeypatch):
    monkeypatch.setitem(names.MOVED, "lit_nas.older.Images", "lit_nas.specs.ImageSpec")
    monkeypatch.setitem(names.MOVED, "lit_nas.once", "lit_nas.methods")
    assert import_class("lit_nas.older.Images") is ImageSpec
    assert import_class("lit_nas.once.DARTS") is DARTS
    assert current_name("lit_nas.once.DARTS") == "lit_nas.methods.DARTS"
    assert current_name("lit_nas.onceonly.DARTS") == "lit_nas.onceonly.DARTS"


def test_a_name_is_compared_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "foreign_package.py").write_text("class A: pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert current_name("foreign_package.A") == "foreign_package.A"
    assert "foreign_package" not in sys.modules


def test_names_for_people_lead_to_names_in_files():
    assert import_class("lit_nas.DARTS") is import_class("lit_nas.methods.DARTS")
    assert current_name("lit_nas.DARTS") == "lit_nas.methods.DARTS"
    assert current_name("lit_nas.Fused") == "lit_nas.engine.Fused"
    with pytest.raises(ValueError, match=r"no class 'lit_nas\.Dart'"):
        import_class("lit_nas.Dart")
