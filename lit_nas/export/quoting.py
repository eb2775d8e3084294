"""Classes of `blocks` and `parts` as text, each behind those that it uses."""

import ast
from functools import cache
from pathlib import Path

__all__ = ("quote",)

FILES = ("blocks.py", "parts.py")


@cache
def _classes() -> dict[str, tuple[str, frozenset[str]]]:
    """Class -> its text, and the names in it."""
    found = {}
    for file in FILES:
        text = (Path(__file__).parent / file).read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                names = frozenset(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
                found[node.name] = ast.get_source_segment(text, node) or "", names
    return found


def quote(code: str) -> list[str]:
    """The classes that some code uses, and those that they use in turn, in the order in which they can be executed.

    Args:
        code: Of an exported network.
    """
    known = _classes()
    waiting = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)} & known.keys()
    needed: set[str] = set()
    while waiting:
        needed |= waiting
        waiting = {name for each in waiting for name in known[each][1] & known.keys()} - needed
    return [text for name, (text, _) in known.items() if name in needed]
