"""The page of each method, made of its docstring, its configurations, and the rows that tables of docs/ have of it."""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from repository import ROOT, place, relinked

__all__ = ("Method", "methods")

TABLES = ["docs/methods.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
"""Pages whose tables may have rows of methods."""
SECTIONS = re.compile(r"\n\nFormula:\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Method:
    """A method of the package."""

    name: str
    """Its class."""
    file: str
    """From the root of the repository."""
    title: str
    text: str
    """Of the module: paper, what was read, deviations."""
    formula: str
    idea: str
    """The first line of the docstring of the class."""

    @property
    def page(self) -> str:
        """Where it stands on the site."""
        return place(self.file)

    def markdown(self) -> str:
        """The page."""
        parts = [f"# {self.title}\n\n{self.idea}\n", f"```{{.text .wrap}}\n{self.formula}\n```\n"]
        parts += self._rows("README.md")
        parts += ["## Paper, and what differs from it\n", _paragraphs(self.text)]
        parts += ["## Configurations\n", *self._configurations()]
        tables = [part for page in dict.fromkeys(TABLES) for part in self._rows(page)]
        parts += ["## Parts, cost, and what was measured here\n", *tables] if tables else []
        parts += [f"## Arguments\n\n::: lit_nas.methods.{Path(self.file).stem}.{self.name}\n    options:"]
        parts += ["        members: false\n        heading_level: 3\n"]
        return "\n".join(parts)

    def configurations(self) -> list[str]:
        """Files that name the class, the plainest one first."""
        named = re.compile(rf"class_path: (lit_nas\.)?{self.name}$", re.MULTILINE)
        files = [file for folder in ("search", "job") for file in sorted((ROOT / "configs" / folder).glob("*.yaml"))]
        found = [str(file.relative_to(ROOT)) for file in files if named.search(file.read_text(encoding="utf-8"))]
        return sorted(found, key=lambda file: ("search" not in file, len(file)))

    def _configurations(self) -> Iterator[str]:
        for number, file in enumerate(self.configurations()):
            text = (ROOT / file).read_text(encoding="utf-8")
            comment = [line[2:] for line in text.splitlines() if line.startswith("# ") or line == "#"]
            says = " ".join(line for line in comment if not line.startswith("  "))
            commands = [line.strip() for line in comment if line.startswith("  ")]
            link = f"[`{file}`]({os.path.relpath(place(file), 'methods')})"
            shown = "\n".join(commands) or f"lit-nas {'run' if '/job/' in file else 'fit'} -c {file}"
            yield f"### {link}\n\n{says}\n\n```sh\n{shown}\n```\n"
            if not number:
                yaml.safe_load(text)
                body = "\n".join(f"    {line}" for line in text.splitlines() if not line.startswith("#"))
                yield f'??? note "Its settings"\n    ```yaml\n{body}\n    ```\n'

    def _rows(self, page: str) -> Iterator[str]:
        """Tables of a page with the rows of the method alone, below the heading that each stands under."""
        heading, header = "", []
        rows: list[str] = []
        for line in [*(ROOT / page).read_text(encoding="utf-8").splitlines(), ""]:
            if found := re.match(r"#+ (.*)", line):
                heading = found[1]
            if line.startswith("|"):
                if len(header) < 2:
                    header.append(line)
                elif _plain(line.split("|")[1]) == _plain(self.name):
                    rows.append(line)
                continue
            if rows:
                anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
                link = f"[{heading}]({os.path.relpath(place(page), 'methods')}#{anchor})"
                table = relinked("\n".join([*header, *rows]), page, self.page)
                yield f"{table}\n\n<small>From {link}.</small>\n"
            header, rows = [], []


def _plain(cell: str) -> str:
    """A name in a table, as the class is called."""
    return cell.split(",")[0].strip().replace("-", "").lower()


def _paragraphs(text: str) -> str:
    """A docstring in which what starts with `Differs` is a paragraph of its own, and addresses are links."""
    begins = "Differs|What differs|What the papers?|Not printed|Defaults|Read with|As the authors"
    text = re.sub(rf"\n(?=({begins}))", "\n\n", text)
    return re.sub(r"(?<![(<\[])(https?://[^\s,;]+[^\s,;.:)])", r"<\1>", text) + "\n"


def methods() -> list[Method]:
    """All of them, by name."""
    found = []
    for file in sorted((ROOT / "lit_nas" / "methods").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        if file.name == "__init__.py" or not classes:
            continue
        whole, own = ast.get_docstring(tree) or "", ast.get_docstring(classes[-1]) or ""
        formula = SECTIONS.search(whole)
        if formula is None:
            raise ValueError(f"'{file}' says no formula: write a paragraph `Formula:` at the end of its docstring.")
        title, _, text = whole[: formula.start()].partition("\n\n")
        lines = [re.sub(r" {3,}", "\n", line.removeprefix("    ")) for line in formula[1].splitlines()]
        name = classes[-1].name
        idea = own.partition("\n\n")[0].replace("\n", " ")
        path = str(file.relative_to(ROOT))
        found.append(Method(name, path, title.rstrip(".").replace("\n", " "), text, "\n".join(lines).strip(), idea))
    return found
