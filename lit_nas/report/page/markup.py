"""Pieces of HTML. Text from files goes through `escape` here, so that no file can add markup to a page."""

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

__all__ = ("data_script", "details", "escape", "picture", "section", "table")

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


def table(heading: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", numbers_from: int = 1) -> str:
    """A table that scrolls by itself where it is wider than the page; the first column names the row.

    Args:
        heading: Of the columns.
        rows: Values, as many as columns.
        caption: What it shows.
        numbers_from: The first column that is set like numbers.
    """
    places = [' class="number"' if place >= numbers_from else "" for place in range(len(heading))]
    head = "".join(f'<th scope="col"{at}>{escape(name)}</th>' for name, at in zip(heading, places, strict=True))
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td{at}>{escape(str(v))}</td>" for v, at in zip(rest, places[1:], strict=True))
        lines.append(f'<tr><th scope="row">{escape(str(first))}</th>{cells}</tr>')
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "\n".join(lines)
    label = escape(caption or heading[0])
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}"><table>{title}'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def section(title: str, body: str, mark: str) -> str:
    """A part of the page.

    Args:
        title: Its heading.
        body: HTML.
        mark: What links to it use.
    """
    return f'<section id="{escape(mark)}"><h2>{escape(title)}</h2>\n{body}\n</section>'


def details(summary: str, body: str, opened: bool = False) -> str:
    """What can be unfolded.

    Args:
        summary: Its line.
        body: HTML.
        opened: Whether it is unfolded at first.
    """
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>\n{body}\n</details>"


def picture(path: Path, text: str) -> str:
    """A picture within the page, which scrolls by itself where it is wider.

    As an image of its own, because pictures of one page would share the names of their parts, and nothing in an image
    is executed.

    Args:
        path: An .svg or .png file.
        text: What it shows, for those who do not see it.
    """
    content = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{escape(text)}" src="data:{_TYPES[path.suffix]};base64,{content}">'
    return f'<div class="wide" tabindex="0" role="region" aria-label="picture">{image}</div>'


def data_script(mark: str, data: Any) -> str:
    """Data for the script of the page.

    Args:
        mark: What the script finds them by.
        data: Plain data.
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":  # so that no text ends the element
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{escape(mark)}">{text}</script>'
