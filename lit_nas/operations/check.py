"""Which names of operations are known."""

__all__ = ("check_operations",)


def check_operations(names: tuple[str, ...], where: str) -> None:
    """Refuses names that are not in `OPERATIONS`.

    Args:
        names: Operation names.
        where: What holds them, for the message: a configuration key, a file, a cell.

    Raises:
        ValueError: naming the unknown operations and listing the known ones.
    """
    from lit_nas.operations.registry import OPERATIONS  # brings in torch, which describing a space does not need

    if unknown := sorted(set(names) - set(OPERATIONS)):
        raise ValueError(f"Unknown operations {unknown} in {where}. Known are: {', '.join(OPERATIONS)}.")
