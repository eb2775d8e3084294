"""Reading tables: a CSV file, or the official file of NATS-Bench with its package.

Paper: Dong, Liu, Musial, Gabrys, TPAMI 2021, https://arxiv.org/abs/2009.00437.
"""

import csv
from pathlib import Path
from typing import Any

from lit_nas.spaces.nas_bench_201_strings import all_architectures, parse_architecture
from lit_nas.tabular.table import COLUMNS, DATASETS, TEST, VALIDATION, Table

__all__ = ("read_csv", "read_nats_bench", "read_table")

_OFFICIAL = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16_120": "ImageNet16-120"}
_OFFICIAL_VALIDATION = {**_OFFICIAL, "cifar10": "cifar10-valid"}


def read_table(path: str | Path) -> Table:
    """Reads a table: a file `.csv`, else the official file or folder of NATS-Bench.

    Args:
        path: The file or folder.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no whole table, or the package `nats_bench` is needed and not installed.
    """
    return read_csv(path) if Path(path).suffix.lower() == ".csv" else read_nats_bench(path)


def read_csv(path: str | Path) -> Table:
    """Reads a CSV file with the columns `architecture` and `COLUMNS`; other columns are ignored.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: naming the column or the line that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no table '{path}'. docs/nas_bench_201.md says how to make one from the official file."
        )
    values: dict[str, dict[str, float]] = {column: {} for column in COLUMNS}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        try:
            if missing := sorted({"architecture", *COLUMNS} - set(reader.fieldnames or ())):
                raise ValueError(f"the columns {missing} are missing; it has {list(reader.fieldnames or ())}.")
            for row in reader:
                _read_row(row, values, reader.line_num)
            tests, validations = (
                {dataset: values[kind.format(dataset)] for dataset in DATASETS} for kind in (TEST, VALIDATION)
            )
            return Table(tests, validations)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"'{path}' is not a table of NAS-Bench-201: {error}") from error


def _read_row(row: dict[str, str], values: dict[str, dict[str, float]], line: int) -> None:
    architecture = (row["architecture"] or "").strip()
    try:
        parse_architecture(architecture)
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from error
    if architecture in values[COLUMNS[0]]:
        raise ValueError(f"line {line}: the cell '{architecture}' is there twice.")
    for column in COLUMNS:
        try:
            values[column][architecture] = float(row[column])
        except (TypeError, ValueError) as error:  # the former if the line is too short
            raise ValueError(f"line {line}: {column} is {row[column]!r}, which is not a number.") from error


def read_nats_bench(path: str | Path, api: Any = None) -> Table:
    """Reads the official file of NATS-Bench (topology search space) with the package `nats_bench`.

    It takes minutes; `Table.save` writes what was read as a CSV file, which takes a second.

    Args:
        path: The folder `NATS-tss-v1_0-3ffb9-simple`, or the file `NATS-tss-v1_0-3ffb9-full.pickle.pbz2`.
        api: An open interface of `nats_bench`, for which `path` is only a name; None opens one.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if the package is not installed, or the file lacks a cell.
    """
    api = _open(Path(path)) if api is None else api
    values: dict[str, dict[str, float]] = {column: {} for column in COLUMNS}
    for architecture in all_architectures():
        index = api.query_index_by_arch(architecture)
        if index < 0:
            raise ValueError(f"'{path}' lacks the cell '{architecture}'.")
        for dataset in DATASETS:
            found = api.get_more_info(index, _OFFICIAL[dataset], hp="200", is_random=False)
            values[TEST.format(dataset)][architecture] = float(found["test-accuracy"])
            found = api.get_more_info(index, _OFFICIAL_VALIDATION[dataset], hp="12", is_random=False)
            values[VALIDATION.format(dataset)][architecture] = float(found["valid-accuracy"])
    tests, validations = (
        {dataset: values[kind.format(dataset)] for dataset in DATASETS} for kind in (TEST, VALIDATION)
    )
    return Table(tests, validations)


def _open(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(
            f"There is no table '{path}': neither a CSV file (.csv) nor the official file of NATS-Bench. "
            "docs/nas_bench_201.md says where to get it."
        )
    try:
        import nats_bench
    except ImportError as error:
        raise ValueError(
            f"'{path}' is not a CSV file (.csv), and other files are read with the package nats_bench, which is not "
            "installed: `pip install nats_bench`."
        ) from error
    return nats_bench.create(str(path), "tss", fast_mode=path.is_dir(), verbose=False)
