"""Cells of a genotype as classes of plain PyTorch, with their edges spelled out."""

import re
from collections.abc import Callable, Sequence

from torch import nn

from lit_nas.dags import PREFIX, Dag
from lit_nas.genotype import CellGenotype
from lit_nas.operations import AvgPool, DagCell, MaxPool, connections, original

__all__ = ("cell_forward", "dag_class", "dag_name", "operation_lines")

LINE = 120
"""Longest line of an exported file."""
_FAMILIES: dict[str, Callable[[re.Match[str]], tuple[str, ...]]] = {
    r"(max|avg)_pool_(\d)x\2": lambda found: (f"{found[1].title()}Pool", "channels", found[2]),
    r"sep_conv_(\d)x\1": lambda found: ("SeparableConv", "channels", found[1]),
    r"dil_conv_(\d)x\1": lambda found: ("DilatedConv", "channels", found[1]),
    r"conv_(\d)x1_1x\1": lambda found: ("FactorizedConv", "channels", found[1]),
    r"nor_conv_(\d)x\1": lambda found: ("ReLUConvBN", "channels", "channels", found[1]),
    r"mb_conv_(\d)x\1_e(\d)": lambda found: ("MBConv", "channels", "channels", found[1], found[2]),
}
"""Name of an operation -> its class and what that is called with, `channels` being a name in the cell."""


def operation_lines(cell: CellGenotype, operations: Sequence[nn.Module], strides: Sequence[int]) -> list[str]:
    """The modules of the edges of a cell, as lines of a list.

    Args:
        cell: Its edges.
        operations: Their modules.
        strides: Of each of them.

    Raises:
        ValueError: if an operation is none of lit-nas.
    """
    lines = []
    for edge, module, stride in zip(cell.edges, operations, strides, strict=True):
        lines.append(f"{_constructed(edge.operation, module, stride)},  # {edge.source} -> {edge.target}")
    return lines


def _constructed(name: str, module: nn.Module, stride: int) -> str:
    """What makes the module of an operation of C channels."""
    step = [] if stride == 1 else [f"stride={stride}"]
    name = original(name)
    if name == "none":
        return f"Zero({', '.join(step)})"
    if name == "skip_connect":
        return "nn.Identity()" if stride == 1 else "FactorizedReduce(channels, channels)"
    if isinstance(module, DagCell):
        return f"{dag_name(module.dag)}(channels)"
    for pattern, make in _FAMILIES.items():
        if type(module).__module__.startswith("lit_nas.") and (found := re.fullmatch(pattern, name)):
            kind, *arguments = make(found)
            pooled = isinstance(module, (MaxPool, AvgPool)) and not isinstance(module.norm, nn.Identity)
            return f"{kind}({', '.join([*arguments, *step, *(['norm=True'] if pooled else [])])})"
    raise ValueError(
        f"The operation '{name}' is one of your own, whose code `--format python` cannot write out: export the network "
        "with --format pt2 or --format onnx, which take any operation."
    )


def cell_forward(cell: CellGenotype) -> list[str]:
    """The nodes of a cell, each the sum of its edges, and its output, as lines; `s0` and so on are the states.

    Nodes that lead nowhere are not computed.

    Args:
        cell: Its edges.
    """
    read = set(cell.concat)
    for edge in reversed(cell.edges):  # grouped by target, so what reads a node comes behind it
        read |= {edge.source} if edge.target in read else set()
    terms: dict[int, list[str]] = {}
    for number, edge in enumerate(cell.edges):
        if edge.target not in read:
            continue
        terms.setdefault(edge.target, []).append(f"self.operations[{number}](s{edge.source})")
    lines = [line for state, values in terms.items() for line in _assignment(f"s{state}", values)]
    states = [f"s{state}" for state in cell.concat]
    return [*lines, f"return torch.cat(({', '.join(states)}), 1)" if len(states) > 1 else f"return {states[0]}"]


def _assignment(name: str, terms: list[str]) -> list[str]:
    line = f"{name} = {' + '.join(terms)}"
    if len(line) + 8 <= LINE:
        return [line]
    return [f"{name} = (", f"    {terms[0]}", *(f"    + {term}" for term in terms[1:]), ")"]


def dag_name(dag: Dag) -> str:
    """The class of a cell that is a DAG: `Dag4_01_02_13_23`."""
    return dag.name.replace(PREFIX, PREFIX.title(), 1)


def dag_class(cell: DagCell) -> str:
    """The class of a cell that is a DAG of convolutions.

    Args:
        cell: One of them.
    """
    dag, convolutions = cell.dag, list(cell.convolutions.values())
    bias = convolutions[0].get_submodule("0").bias is not None
    lines = []
    for vertex, sources in enumerate((*dag.predecessors, dag.sinks)):
        terms = [f'self.convolutions["{source}_{vertex}"](v{source})' for source in sources] or ["x"]
        summed = terms[0] if len(terms) == 1 else f"F.relu({' + '.join(terms)})"
        line = f"v{vertex} = {summed}"
        if len(line) + 8 > LINE:
            split = [f"    {terms[0]}", *(f"    + {term}" for term in terms[1:])]
            lines += [f"v{vertex} = F.relu(", *split, ")"]
        else:
            lines.append(line)
    names = "\n".join(f'            "{name}": DagConv(channels, channels, 5, {bias}),' for name in connections(dag))
    body = "\n".join(f"        {line}" for line in lines)
    return f'''class {dag_name(dag)}(nn.Module):
    """A DAG of convolutions: each vertex is the sum of what leads to it, v{dag.vertices} is the output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = {{
{names}
        }}
        self.convolutions = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
{body}
        return v{dag.vertices}'''
