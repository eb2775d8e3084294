"""The whole page: parts in their order, with style, script and the library of the plots within."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from lit_nas import __version__
from lit_nas.atomic_write import write_text
from lit_nas.report.page.curves import curve_figures
from lit_nas.report.page.find_runs import JobFiles, find_runs
from lit_nas.report.page.groups import Group, group_runs
from lit_nas.report.page.markup import data_script, details, escape, section
from lit_nas.report.page.overview import configurations, groups_table, job_part, notes, runs_table
from lit_nas.report.page.run_files import RunFiles
from lit_nas.report.page.search_section import search_section

__all__ = ("write_report",)

# a browser that follows it loads nothing from anywhere, whatever a file made the page say
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def write_report(folders: Sequence[str | Path], path: str | Path) -> Path:
    """Writes one HTML page of runs, jobs and sweeps, which needs no network and no other file.

    Runs may still be going on: the page shows what there is.

    Args:
        folders: Of searches, retrainings, jobs and sweeps, at least one.
        path: The file.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if a folder is not there or holds no run.
        NotADirectoryError: if one is a file.
        IsADirectoryError: if `path` is a folder.
        ValueError: if plotly is not installed, or `path` is no .html file.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder: name a file, '{path / 'report.html'}' for example.")
    if path.suffix not in (".html", ".htm"):
        raise ValueError(f"A report is a page and ends in .html, but '{path}' does not.")
    if find_spec("plotly") is None:
        raise ValueError("A report needs plotly: install the extra, pip install 'lit-nas[report]'.")
    runs, jobs = find_runs([Path(folder) for folder in folders])
    groups = group_runs(runs)
    write_text(path, _page(_title(runs, jobs), _parts(groups, jobs)))
    return path


def _title(runs: Sequence[RunFiles], jobs: Sequence[JobFiles]) -> str:
    stages = [job.folder for job in jobs]
    names = [*(job.name for job in jobs), *(run.name for run in runs if run.folder.parent not in stages)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _parts(groups: Sequence[Group], jobs: Sequence[JobFiles]) -> dict[str, str]:
    """Heading -> HTML of a section."""
    runs = [run for group in groups for run in group.runs]
    parts = {"Runs": runs_table(groups)}
    if any(len(group.runs) > 1 for group in groups):
        parts["Mean and deviation"] = groups_table(groups)
    for number, (heading, figures) in enumerate(curve_figures(groups).items()):
        plots = "\n".join(
            f'<div class="plot figure" data-topic="curves-{number}" data-name="{escape(name)}"></div>'
            for name in figures
        )
        parts[heading] = f'{data_script(f"curves-{number}", figures)}<div class="grid scripted">{plots}</div>'
    searches = [run for run in runs if run.kind == "search"]
    if searches:
        each = [details(run.name, search_section(run, place), place == 0) for place, run in enumerate(searches)]
        parts["Searches"] = "\n".join(each)
    for job in jobs:
        parts[f"Job {job.name}"] = job_part(job)
    parts["Configurations"] = configurations(groups)
    if unread := notes(runs):
        parts["What could not be read"] = unread
    return parts


def _page(title: str, parts: dict[str, str]) -> str:
    from plotly.offline import get_plotlyjs

    folder = Path(__file__).parent
    style, script = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    marks = {heading: f"part-{number}" for number, heading in enumerate(parts)}
    links = "\n".join(f'<a href="#{mark}">{escape(heading)}</a>' for heading, mark in marks.items())
    body = "\n".join(section(heading, part, marks[heading]) for heading, part in parts.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} · lit-nas</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>
<nav aria-label="Parts of the page">{links}</nav>
<noscript><p class="note">Plots need JavaScript; tables and pictures of cells do not.</p></noscript></header>
<main>
{body}
</main>
<footer>Written by lit-nas {__version__}.</footer>
<script>{get_plotlyjs()}</script>
<script>
{script}</script>
</body>
</html>
"""
