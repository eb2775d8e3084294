"""Writes each script of this folder as a notebook: `python notebooks/build.py` after a change, as a test checks.

A script is in the percent format: a line `# %%` starts a cell of code, `# %% [markdown]` one of text in comments. With
`--run` the script is executed, and what it prints and plots goes into the notebook; without it, the outputs of cells
that did not change are kept.
"""

import argparse
import base64
import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ("cells", "notebook", "run")

HERE = Path(__file__).resolve().parent
MARKER = re.compile(r"^# %%( \[markdown\])?$")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cells(script: str) -> list[tuple[str, str]]:
    """The cells of a script: pairs of their type, `markdown` or `code`, and their source.

    Raises:
        ValueError: if something stands before the first cell, or a line of text is no comment.
    """
    found: list[tuple[str, list[str]]] = []
    for line in script.splitlines():
        if marker := MARKER.match(line):
            found.append(("markdown" if marker[1] else "code", []))
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            raise ValueError(f"A script starts with a cell (`# %%`), but this one has {line!r} before it.")
    return [(kind, _source(kind, lines)) for kind, lines in found]


def _source(kind: str, lines: list[str]) -> str:
    if kind == "markdown":
        lines = [line for line in lines if line.strip()]
        for line in lines:
            if not line.startswith("#"):
                raise ValueError(f"Text of a notebook is written in comments, but {line!r} is none.")
        lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
    return "\n".join(lines).strip("\n")


def run(parts: list[tuple[str, str]]) -> list[list[dict[str, Any]]]:
    """Executes the cells of code in one namespace; what each of them printed and plotted, in the form of a notebook."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.show = lambda: None
    namespace: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for number, (kind, source) in enumerate(parts):
        printed = io.StringIO()
        if kind == "code":
            with contextlib.redirect_stdout(printed):
                exec(compile(source, f"cell {number}", "exec"), namespace)
        texts = [{"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())}]
        outputs.append([*(texts if printed.getvalue() else []), *_figures()])
    return outputs


def _figures() -> Iterator[dict[str, Any]]:
    from matplotlib import pyplot

    for number in pyplot.get_fignums():
        image = io.BytesIO()
        pyplot.figure(number).savefig(image, format="png", dpi=80, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(number)
        data = {"image/png": base64.b64encode(image.getvalue()).decode(), "text/plain": ["<Figure>"]}
        yield {"data": data, "metadata": {}, "output_type": "display_data"}


def notebook(parts: list[tuple[str, str]], outputs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """The notebook of cells and their outputs, in format 4.5."""
    written, executed = [], 0
    for number, ((kind, source), output) in enumerate(zip(parts, outputs, strict=True)):
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": _lines(source)}
        if kind == "code":
            executed += 1
            cell |= {"execution_count": executed if any(outputs) else None, "outputs": output}
        written.append(cell)
    return {"cells": written, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _kept(path: Path, parts: list[tuple[str, str]]) -> list[list[dict[str, Any]]]:
    """The outputs of the present notebook, if all its cells of code are those of the script; otherwise none."""
    if not path.exists():
        return [[] for _ in parts]
    old = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [source for kind, source in parts if kind == "code"]
    same = [cell for cell in old if cell["cell_type"] == "code"]
    if ["".join(cell["source"]) for cell in same] != code:
        return [[] for _ in parts]
    outputs = iter([cell["outputs"] for cell in same])
    return [next(outputs) if kind == "code" else [] for kind, _ in parts]


def main() -> None:
    """Writes the notebooks."""
    parser = argparse.ArgumentParser(description="Writes each script of this folder as a notebook.")
    parser.add_argument("--run", action="store_true", help="execute the scripts and keep what they print and plot")
    arguments = parser.parse_args()
    for script in sorted(HERE.glob("*.py")):
        if script != Path(__file__).resolve():
            parts, path = cells(script.read_text(encoding="utf-8")), script.with_suffix(".ipynb")
            outputs = run(parts) if arguments.run else _kept(path, parts)
            path.write_text(json.dumps(notebook(parts, outputs), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
