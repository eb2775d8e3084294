"""Tables of the page: all runs, groups with means and deviations, configurations and what differs in them."""

import json
from collections.abc import Sequence
from typing import Any

import yaml

from lit_nas.report.page.find_runs import JobFiles
from lit_nas.report.page.groups import Group, differences, mean_and_deviation, shown_scores
from lit_nas.report.page.markup import details, escape, picture, table
from lit_nas.report.page.run_files import RunFiles, flat

__all__ = ("configurations", "groups_table", "job_part", "runs_table")

LONGEST = 160
"""Characters of a value in a table of differences; the whole one is in the configuration below."""


def runs_table(groups: Sequence[Group]) -> str:
    """A row for each run: what it is, how far it is, its last scores and its cost.

    Args:
        groups: All groups.
    """
    names = shown_scores(groups)
    heading = ["run", "kind", "model", "data", "seed", "epochs", *names, "seconds", "device-hours", "GiB", "device"]
    rows = []
    for run in (run for group in groups for run in group.runs):
        scores = [f"{run.scores[name]:.4f}" if name in run.scores else "" for name in names]
        what = [run.name, run.kind, run.model, run.data, run.seed, run.progress]
        rows.append([*what, *scores, *_cost(run.cost)])
    return table(heading, rows, "Runs; scores are those of the last epoch, true accuracies of a table as fractions", 4)


def _cost(cost: dict[str, Any]) -> list[str]:
    formats = {"seconds": "{:,.0f}", "device_hours": "{:.3f}", "peak_memory_gib": "{:.2f}"}
    numbers = [
        form.format(cost[key]) if isinstance(cost.get(key), (int, float)) else "" for key, form in formats.items()
    ]
    return [*numbers, str(cost.get("device", ""))]


def groups_table(groups: Sequence[Group]) -> str:
    """A row for each group: mean and deviation of scores and times.

    Args:
        groups: All groups.
    """
    names = shown_scores(groups)
    rows = []
    for group in groups:
        scores, costs = group.scores(), [run.cost.get("seconds") for run in group.runs]
        times = [seconds for seconds in costs if isinstance(seconds, (int, float))]
        cells = [mean_and_deviation(scores[name]) if name in scores else "" for name in names]
        rows.append([group.name, len(group.runs), *cells, mean_and_deviation(times, 0) if times else ""])
    caption = "Mean and deviation (of a sample) over the runs that differ in their seeds alone"
    return table(["runs", "number", *names, "seconds"], rows, caption)


def configurations(groups: Sequence[Group]) -> str:
    """What differs between runs of a kind, then each configuration as a whole.

    Args:
        groups: All groups.
    """
    parts: list[str] = []
    runs = [run for group in groups for run in group.runs if run.config]
    for kind in dict.fromkeys(run.kind for run in runs):
        alike = [run for run in runs if run.kind == kind]
        if len(alike) < 2:
            continue
        rows = [[key, *map(_short, values)] for key, values in differences(alike).items()]
        caption = f"What differs between the configurations, {kind}"
        names = [run.name for run in alike]
        parts.append(
            table(["key", *names], rows, caption, len(names) + 1) if rows else f"<p>{escape(caption)}: nothing.</p>"
        )
    for run in runs:
        text = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
        parts.append(details(f"Configuration of {run.name}", f"<pre>{escape(text)}</pre>"))
    return "\n".join(parts) or "<p>No run has a configuration (config.yaml).</p>"


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]} …"


def job_part(job: JobFiles) -> str:
    """What a job or a sweep has left: its numbers and its pictures.

    Args:
        job: Its files.
    """
    results = job.results
    parts = [f"<p>{escape(job.job)} in <code>{escape(str(job.folder))}</code></p>"]
    statistics = results.get("statistics")
    if isinstance(statistics, dict):
        rows = [[key, *_statistics(value)] for key, value in statistics.items() if isinstance(value, dict)]
        parts.append(table(["number", "mean", "deviation"], rows, f"{job.name}: over its seeds"))
    numbers = [
        [key, f"{value:.6g}"]
        for key, value in flat({k: v for k, v in results.items() if k not in ("statistics", "genotype", "versions")})
        if isinstance(value, (int, float)) and not isinstance(value, bool) and ".genotype." not in key
    ]
    if numbers:
        parts.append(details("All numbers of results.json", table(["number", "value"], numbers)))
    if not results:
        parts.append("<p>The job has not been finished: there is no results.json yet.</p>")
    for path in job.pictures:
        parts.append(f"<figure>{picture(path, path.name)}<figcaption>{escape(path.name)}</figcaption></figure>")
    if versions := results.get("versions"):
        parts.append(f"<p>Versions: {escape(json.dumps(versions))}</p>")
    parts += [f'<p class="note">{escape(note)}</p>' for note in job.notes]
    return "\n".join(parts)


def _statistics(found: dict[str, Any]) -> list[str]:
    values = [found.get("mean"), found.get("deviation")]
    return [f"{value:.6g}" if isinstance(value, (int, float)) else "-" for value in values]


def notes(runs: Sequence[RunFiles]) -> str:
    """What could not be read.

    Args:
        runs: All runs, after everything else has been read.
    """
    lines = [f"<li>{escape(run.name)}: {escape(note)}</li>" for run in runs for note in dict.fromkeys(run.notes)]
    return f'<ul class="note">{"".join(lines)}</ul>' if lines else ""
