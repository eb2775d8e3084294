"""The names that `import lit_nas` gives."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lit_nas
from lit_nas.record.names import public_name


@pytest.mark.parametrize("name", lit_nas.__all__)
def test_each_name_leads_to_what_its_room_defines(name):
    found = getattr(lit_nas, name)
    assert found is not None
    if isinstance(found, type):
        assert found.__name__ == name
        assert public_name(found) == f"{lit_nas.HOMES[name]}.{name}"  # files keep the name of the room


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(lit_nas.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == lit_nas.HOMES
    assert {*seen, "__version__"} == set(lit_nas.__all__)
    assert set(lit_nas.__all__) <= set(dir(lit_nas))


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'lit_nas' has no attribute 'DART'"):
        lit_nas.DART  # noqa: B018
    with pytest.raises(ImportError, match="DART"):
        from lit_nas import DART  # noqa: F401


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, lit_nas; print({'torch', 'numpy', 'pytorch_lightning', 'yaml'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
