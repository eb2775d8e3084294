"""Formats of exported networks. It imports no torch, so that the command line can check its arguments at once."""

from importlib.util import find_spec
from pathlib import Path

__all__ = ("FORMATS", "check_target")

FORMATS = {"onnx": ".onnx", "pt2": ".pt2", "python": ".py"}
"""Format -> suffix of its file."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_target(path: Path, format: str) -> None:
    """Refuses a format or a file that cannot be written, before anything is built.

    Args:
        path: The file.
        format: Of it.

    Raises:
        ValueError: if the format is unknown, the suffix is another one, or a package is missing.
        IsADirectoryError: if the path is a folder.
        NotADirectoryError: if its folder is a file.
    """
    if format not in FORMATS:
        raise ValueError(f"There is no format '{format}'. Known are: {', '.join(FORMATS)}.")
    if path.is_dir():
        example = path / f"network{FORMATS[format]}"
        raise IsADirectoryError(f"'{path}' is a folder: name a file, '{example}' for example.")
    if files := [folder for folder in path.parents if folder.is_file()]:
        raise NotADirectoryError(f"'{path}' cannot be written, since '{files[0]}' is a file: name another folder.")
    if path.suffix != FORMATS[format]:
        raise ValueError(f"A file of the format {format} ends in {FORMATS[format]}, but '{path}' does not.")
    if format == "onnx" and (missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]):
        raise ValueError(f"--format onnx needs {', '.join(missing)}: install the extra, pip install 'lit-nas[export]'.")
