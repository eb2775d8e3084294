"""Writing files that are whole at every moment."""

import os
import tempfile
from pathlib import Path

__all__ = ("write_text",)


def write_text(path: Path, text: str) -> None:
    """Writes a file so that it is either the old one or the new one, whatever happens.

    Args:
        path: The file; its folder is made if needed.
        text: Its content, written as it is.

    Raises:
        OSError: if it cannot be written, with its path, which the system leaves out where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
