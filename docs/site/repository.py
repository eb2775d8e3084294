"""What the pages of the site are made of, and where links between files of the repository lead on it."""

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

__all__ = ("ROOT", "SINGLE", "packages", "place", "relinked", "targets")

ROOT = Path(__file__).resolve().parents[2]
SINGLE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages that lie outside docs/."""
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s]+)(?=\))")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def packages() -> list[str]:
    """Rooms of the package that have public names, and its single files."""
    found = []
    for path in sorted((ROOT / "lit_nas").iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        is_module = file.suffix == ".py" and file.exists() and not path.name.startswith("_")
        if is_module and re.search(r"^__all__", file.read_text(encoding="utf-8"), re.MULTILINE):
            found.append(path.stem)
    return found


def place(path: str) -> str:
    """The page of a file or folder of the repository.

    Args:
        path: From the root of the repository.

    Raises:
        ValueError: if there is no such file.
    """
    if not (ROOT / path).exists():
        raise ValueError(f"A page links to '{path}', which does not exist.")
    parts = PurePosixPath(path).parts
    if path in SINGLE:
        return SINGLE[path]
    if parts[0] == "docs" and "examples" not in parts:  # which are code
        return PurePosixPath(*parts[1:]).as_posix()
    if parts[0] == "notebooks" and path.endswith(".ipynb"):
        return f"notebooks/{PurePosixPath(path).stem}.md"
    if parts[:2] == ("lit_nas", "methods") and len(parts) == 3 and not parts[2].startswith("_"):
        return f"methods/{PurePosixPath(path).stem}.md"
    if parts[0] == "lit_nas" and len(parts) == 2 and PurePosixPath(path).stem in packages():
        return f"reference/{PurePosixPath(path).stem}.md"
    return f"source/{path}.md"


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """A text whose prose has been changed, and whose code has not.

    Args:
        text: Markdown.
        change: From a piece of prose to what stands in its place.
    """
    pieces = CODE.split(text)
    return "".join(piece if number % 2 else change(piece) for number, piece in enumerate(pieces))


def targets(text: str, origin: str) -> set[str]:
    """Files and folders of the repository that a page links to.

    Args:
        text: Markdown.
        origin: The file that it comes from, from the root of the repository.
    """
    found: set[str] = set()

    def note(prose: str) -> str:
        found.update(_target(match[1], origin)[0] for match in LINK.finditer(prose))
        return prose

    outside_code(text, note)
    return found


def relinked(text: str, origin: str, page: str) -> str:
    """A page whose links lead to pages of the site.

    Args:
        text: Markdown.
        origin: The file that it comes from, from the root of the repository.
        page: The page that it becomes.
    """

    def to_page(match: re.Match[str]) -> str:
        target, anchor = _target(match[1], origin)
        return os.path.relpath(place(target), str(PurePosixPath(page).parent)) + anchor

    return outside_code(text, lambda prose: LINK.sub(to_page, prose))


def _target(link: str, origin: str) -> tuple[str, str]:
    path, hash_, anchor = link.partition("#")
    folder = str(PurePosixPath(origin).parent)
    return os.path.normpath(os.path.join(folder, path)) if path else origin, hash_ + anchor
