"""The cells of NAS-Bench-201 as the strings that its tables use as keys.

Paper: Dong, Yang, ICLR 2020, https://arxiv.org/abs/2001.00326, section 2.1.
"""

from collections.abc import Sequence
from itertools import groupby, product
from typing import Final

__all__ = ("CELL_EDGES", "CELL_OPERATIONS", "all_architectures", "format_architecture", "parse_architecture")

CELL_OPERATIONS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The five candidates in the paper's order, which is the order of the columns of alpha."""
CELL_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The six edges (source, target), which is the order of the rows of alpha; state 0 is the input, state 3 the output."""
EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|"


def format_architecture(operations: Sequence[str]) -> str:
    """The string of a cell.

    Args:
        operations: One name an edge, in the order of `CELL_EDGES`.

    Raises:
        ValueError: if there are not six of them, or one is no candidate.
    """
    if len(operations) != len(CELL_EDGES) or not set(operations) <= set(CELL_OPERATIONS):
        raise ValueError(
            f"A cell of NAS-Bench-201 has {len(CELL_EDGES)} operations out of {', '.join(CELL_OPERATIONS)}, not "
            f"{list(operations)}."
        )
    chosen = zip(operations, CELL_EDGES, strict=True)
    nodes = groupby(chosen, lambda choice: choice[1][1])
    return "+".join("|" + "".join(f"{name}~{source}|" for name, (source, _) in node) for _, node in nodes)


def parse_architecture(text: str) -> tuple[str, ...]:
    """The operations of a cell, in the order of `CELL_EDGES`.

    Args:
        text: Its string; white space at both ends does not count.

    Raises:
        ValueError: if it is not the string of a cell.
    """
    nodes = [node.strip("|").split("|") for node in text.strip().split("+")]
    operations = tuple(entry.rpartition("~")[0] for node in nodes for entry in node)
    known = len(operations) == len(CELL_EDGES) and set(operations) <= set(CELL_OPERATIONS)
    if not known or format_architecture(operations) != text.strip():
        raise ValueError(
            f"'{text}' is not a cell of NAS-Bench-201. Its string names the operation of each of the six edges, as in "
            f"{EXAMPLE}; operations are {', '.join(CELL_OPERATIONS)}."
        )
    return operations


def all_architectures() -> list[str]:
    """The strings of all 15,625 cells."""
    return [format_architecture(operations) for operations in product(CELL_OPERATIONS, repeat=len(CELL_EDGES))]
