"""A disk without space, as a sentence that names the folder."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ("full_disk_named",)

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Says which folder cannot be written to where the system says only that there is no space.

    Args:
        folder: Of the job, or of the stage.

    Raises:
        OSError: in the place of one that says so; others pass as they are.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            f"There is no space left for the folder '{folder}'. What was finished is kept: free space, and the same "
            "command continues."
        ) from error
