"""One self-contained HTML page of runs: what `lit-nas report` writes."""

from lit_nas.report.page.page import write_report

__all__ = ("write_report",)
