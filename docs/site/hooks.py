"""Makes the pages that are not written by hand, and leads links between files of the repository to pages."""

import json
from base64 import b64decode
from pathlib import PurePosixPath
from typing import Any

from method_pages import methods
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from repository import ROOT, SINGLE, packages, place, relinked, targets

LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "sh", ".sbatch": "sh", ".toml": "toml", ".json": "json"}
_origins: dict[str, str] = {}
"""Page -> the file that it was read from; pages that were made have no links of the repository."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fills the navigation: pages by hand as this list says, and all those that are made."""
    names = {method.page: method.name for method in methods()}
    notebooks = [f"notebooks/{path.stem}.md" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    howto = [f"howto/{path.name}" for path in sorted((ROOT / "docs" / "howto").glob("*.md"))]
    first = ["configuration.md", "data.md", "python.md", "resume.md", "speed.md"]
    written = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    rest = [name for name in written if name not in {*first, "methods.md", "glossary.md", "architecture.md"}]
    config.nav = [
        {"Home": "index.md"},
        {"Tutorials": notebooks},
        {"Guides": first},
        {"How to": howto},
        {"Methods": ["methods.md", *({name: page} for page, name in names.items())]},
        {"Topics": rest},
        {"Reference": [{name: f"reference/{name}.md"} for name in packages()]},
        {"Project": ["architecture.md", "contributing.md", "changelog.md", "glossary.md"]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    _origins.clear()

    def add(page: str, content: str | bytes, origin: str | None = None) -> None:
        files.append(File.generated(config, page, content=content))
        if origin is not None:
            _origins[page] = origin

    linked: set[str] = set()
    for file in files.documentation_pages():
        _origins[file.src_uri] = origin = f"docs/{file.src_uri}"
        linked |= targets(file.content_string, origin)
    for origin, page in SINGLE.items():
        text = (ROOT / origin).read_text(encoding="utf-8")
        linked |= targets(text, origin)
        add(page, text, origin)
    for method in methods():
        add(method.page, method.markdown())
        linked |= set(method.configurations())
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for page, content in notebook_pages(path.stem, json.loads(path.read_text(encoding="utf-8"))).items():
            add(page, content)
    for name in packages():
        options = "    options:\n        show_root_heading: false\n"
        add(f"reference/{name}.md", f"# lit_nas.{name}\n\n::: lit_nas.{name}\n{options}")
    known = {file.src_uri for file in files}
    for origin in sorted(linked):
        if (page := place(origin)) not in known:
            add(page, source_page(origin))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links to pages."""
    uri = page.file.src_uri
    return relinked(markdown, _origins[uri], uri) if uri in _origins else markdown


def source_page(origin: str) -> str:
    """A file of the repository as a page; a folder as the list of what is in it.

    Args:
        origin: From the root of the repository.
    """
    path = ROOT / origin
    if path.is_dir():
        names = sorted(each.name for each in path.iterdir() if not each.name.startswith(("_", ".")))
        return f"# {origin}\n\n" + "".join(f"- `{name}`\n" for name in names)
    fence = f"```{LANGUAGES.get(path.suffix, 'text')}"
    return f"# {PurePosixPath(origin).name}\n\n`{origin}`\n\n{fence}\n{path.read_text(encoding='utf-8')}```\n"


def notebook_pages(name: str, notebook: dict[str, Any]) -> dict[str, str | bytes]:
    """The page of a notebook with what it printed, and its pictures.

    Args:
        name: Of the file.
        notebook: Its content.
    """
    text, pictures = [], {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        text.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                printed = "".join(output["text"]).rstrip()
                text.append(f"```text\n{printed}\n```")
            elif picture := output["data"].get("image/png"):
                file = f"{name}_{len(pictures)}.png"
                pictures[f"notebooks/{file}"] = b64decode(picture)
                text.append(f"![What the cell above plots]({file})")
    return {f"notebooks/{name}.md": "\n\n".join(text) + "\n", **pictures}
