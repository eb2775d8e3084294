"""Operations of a search grouped by the correlation of their outputs, with the files that tell of it."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from lit_nas.correlation import Clustering, OperatorCorrelation
from lit_nas.report.correlation import format_correlation, write_correlation
from lit_nas.search import SearchModule

__all__ = ("group_operators",)


def group_operators(
    search: SearchModule,
    batches: Iterable[Tensor],
    images: int,
    correlation: OperatorCorrelation,
    clustering: Clustering,
    folder: Path | None,
    picture: str | None = "svg",
) -> str:
    """Runs the supernet over images, groups what is alike, and writes `groups.json` with the table and the heat map.

    Args:
        search: The search; it is not changed.
        batches: Images, each [B, ...], on its device.
        images: How many of them to take.
        correlation: What is correlated, and how.
        clustering: How groups follow.
        folder: Where the files are written; None writes none.
        picture: `svg`, `png`, or None for no picture.

    Returns:
        The mean matrix and the groups as text.

    Raises:
        ValueError: if there are fewer images, or candidates cannot be correlated.
    """
    network, architecture = search.network, search.architecture
    found = correlation.measure(network, architecture, batches, images)
    groups = clustering.groups(found.operations, found.mean(), correlation.alone(architecture))
    if folder is not None:
        write_correlation(found, groups, folder, picture)
    return format_correlation(found, groups)
