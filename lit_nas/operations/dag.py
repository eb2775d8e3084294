"""Cells that are a DAG of convolutions: the candidates of FaDE (`dag4_01_02_13_23`).

Paper: Neumeyer, Stier, Granitzer, "FaDE: Fast DARTS Estimator on Hierarchical NAS Spaces", NeurIPS 2023 workshop,
https://openreview.net/forum?id=kmHThRorxE, sections 2.4 and 3; there is no official code. The paper has convolutions
with kernels of 5x5, ReLU and the initialisation of Kaiming He; it names no BatchNorm, and there is none. Read into it:
ReLU follows each convolution, convolutions have a bias (`OperationStyle.conv_bias` leaves it out), and weights are
normal with a variance of 2 / fan-in.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lit_nas.dags import Dag
from lit_nas.operations.paths import drop_path

__all__ = ("DagCell", "DagConv", "connections", "init_kaiming", "run_dag")

KERNEL = 5


def init_kaiming(layer: nn.Conv2d | nn.Linear) -> None:
    """Starts a layer before a ReLU: weights with a variance of 2 / fan-in, a bias of 0.

    Args:
        layer: What is changed.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class DagConv(nn.Sequential):
    """Convolution that keeps height and width, ReLU.

    Args:
        in_channels: C.
        out_channels: C'.
        bias: Whether the convolution has a bias.
        kernel_size: Odd side of the kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, kernel_size: int = KERNEL) -> None:
        convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        init_kaiming(convolution)
        super().__init__(convolution, nn.ReLU(inplace=True))


def connection(source: int, target: int) -> str:
    """What the convolution between two vertices is called.

    Args:
        source: Its vertex, in topological order.
        target: A later one; the number of vertices stands for the output.
    """
    return f"{source}_{target}"


class DagCell(nn.Module):
    """A DAG between an input, which every source reads as it is, and an output, which every sink leads to.

    A convolution stands on each edge and between each sink and the output. A vertex is the sum of what leads to it.
    Where that is more than one value, ReLU follows, as the paper says; behind convolutions that end in ReLU it changes
    nothing.

    Args:
        dag: Its vertices and edges.
        channels: C.
        bias: Whether convolutions have a bias.
    """

    def __init__(self, dag: Dag, channels: int, bias: bool = True) -> None:
        super().__init__()
        self.dag = dag
        self.convolutions = nn.ModuleDict({name: DagConv(channels, channels, bias) for name in connections(dag)})

    def forward(self, x: Tensor, drop_probability: float = 0.0) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W].

        Where several values are added, each is dropped with `drop_probability`, in training mode only.
        """
        return run_dag(self.dag, self.convolutions, x, drop_probability if self.training else 0.0)


def connections(dag: Dag) -> tuple[str, ...]:
    """The names of the convolutions of a cell.

    Args:
        dag: Of the cell.
    """
    pairs = (*dag.edges, *((sink, dag.vertices) for sink in dag.sinks))
    return tuple(connection(*pair) for pair in pairs)


def run_dag(
    dag: Dag,
    convolutions: nn.ModuleDict,
    x: Tensor,
    drop_probability: float = 0.0,
    known: dict[tuple[str | int, ...], Tensor] | None = None,
) -> Tensor:
    """What a cell makes of its input, [B, C, H, W] -> [B, C, H, W].

    Args:
        dag: Of the cell.
        convolutions: By their names, at least those of the cell.
        x: The input.
        drop_probability: Chance that one of several values that are added is dropped.
        known: Values that cells with the same convolutions and the same input have computed; what is new joins them.
    """
    known = {} if known is None else known
    values: list[Tensor] = []
    for vertex, sources in enumerate((*dag.predecessors, dag.sinks)):
        terms = []
        for source in sources:
            key = connection(source, vertex), id(values[source])  # values that are known stay, and so do their ids
            if key not in known:
                known[key] = convolutions[key[0]](values[source])
            terms.append(known[key])
        values.append(_sum(terms, drop_probability, known) if terms else x)
    return values[-1]


def _sum(terms: list[Tensor], drop_probability: float, known: dict[tuple[str | int, ...], Tensor]) -> Tensor:
    if len(terms) == 1:
        return terms[0]
    key = tuple(map(id, terms))
    if key not in known:
        if drop_probability > 0:
            terms = [drop_path(term, drop_probability) for term in terms]
        total = terms[0] + terms[1]
        for term in terms[2:]:
            total = total + term
        known[key] = F.relu_(total)
    return known[key]
