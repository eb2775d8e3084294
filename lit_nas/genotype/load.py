"""Where genotypes are found: the published ones by name, files, checkpoints and strings."""

from pathlib import Path

from lit_nas.genotype.genotype import Genotype
from lit_nas.record.archive import read_archive

__all__ = ("load_genotype", "published_genotypes", "read_genotype")

_FOLDER = Path(__file__).parent / "published"


def published_genotypes() -> tuple[str, ...]:
    """Names of the genotypes that come with lit-nas."""
    return tuple(sorted((path.stem for path in _FOLDER.glob("*.json")), key=str.lower))


def load_genotype(source: str | Path) -> Genotype:
    """Finds a genotype by name or by file.

    Args:
        source: A published name (upper and lower case are the same), a JSON file, a checkpoint of a search
            (`.ckpt`), which holds the genotype of its epoch, or an architecture string of NAS-Bench-201, which
            starts with `|`.

    Raises:
        FileNotFoundError: if there is neither such a name nor such a file.
        ValueError: if the file or the string holds no valid genotype.
    """
    if str(source).lstrip().startswith("|"):
        return Genotype.from_architecture(str(source))
    path = Path(source)
    for name in published_genotypes():
        if name.lower() == str(source).lower():
            return Genotype.load(_FOLDER / f"{name}.json")
    if not path.is_file():
        raise FileNotFoundError(
            f"'{source}' is neither a published genotype nor a file ('{path.absolute()}' was looked for). Published "
            f"are: {', '.join(published_genotypes())}."
        )
    return read_genotype(path) if path.suffix == ".ckpt" else Genotype.load(path)


def read_genotype(path: Path) -> Genotype:
    """Reads the genotype of the epoch at which a checkpoint of a search was written; imports none of its classes.

    Args:
        path: The checkpoint.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or holds no genotype.
    """
    checkpoint = read_archive(path)
    record = checkpoint.get("lit_nas") if isinstance(checkpoint, dict) else None
    if not isinstance(record, dict) or "genotype" not in record:
        raise ValueError(
            f"'{path}' holds no genotype: the key lit_nas.genotype is missing. Give the checkpoint of a search of "
            "lit-nas, a genotype file (.json) or a published name."
        )
    if record["genotype"] is None:
        raise ValueError(
            f"'{path}' holds no genotype: when it was written, a cell of its search had lost every operation. Give an "
            "earlier genotype of that run (genotypes/epoch-*.json)."
        )
    return Genotype.from_dict(record["genotype"], f"'{path}' (lit_nas.genotype)")
