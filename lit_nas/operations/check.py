"""Which names of operations are known."""

__all__ = ("check_operations",)


def check_operations(names: tuple[str, ...], where: str) -> None:
    """Refuses names that are neither in `OPERATIONS` nor those of a family.

    Args:
        names: Operation names.
        where: What holds them, for the message: a configuration key, a file, a cell.

    Raises:
        ValueError: naming the unknown operations and listing the known ones, or saying what is wrong with a name that
            begins like those of a family.
    """
    # brings in torch, which describing a space does not need
    from lit_nas.operations.registry import find_operation, known_operations

    unknown = []
    for name in names:
        try:
            if find_operation(name) is None:
                unknown.append(name)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if unknown:
        raise ValueError(f"Unknown operations {sorted(set(unknown))} in {where}. Known are: {known_operations()}.")
