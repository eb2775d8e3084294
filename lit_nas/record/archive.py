"""Reading the file of a checkpoint, with nothing heavier than torch."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

__all__ = ("read_archive",)


def read_archive(path: str | Path) -> Any:
    """Reads a file of torch without executing anything in it, and compares its checksums.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or not of torch.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint '{path}'.")
    import torch  # names and help need none of it

    try:
        with ZipFile(path) as archive:  # torch does not compare the checksums that it writes
            if damaged := archive.testzip():
                raise ValueError(f"checksum of {damaged}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        raise ValueError(
            f"'{path}' cannot be read as a checkpoint; it may be truncated or of another program. ({error})"
        ) from error
