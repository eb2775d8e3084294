"""Retraining networks of lit-nas as classes of plain PyTorch: the class `Network`, and those of its cells."""

from collections.abc import Callable
from typing import Any

from torch import nn

from lit_nas.export.cell_code import cell_forward, dag_class, dag_name, operation_lines
from lit_nas.networks import DagChainNetwork, EvaluationNetwork, FixedCell, NasBench201Network, ProxylessNetwork
from lit_nas.networks.fixed_reduction import FixedReduction
from lit_nas.operations import DagCell, FactorizedReduce, MBConv

__all__ = ("network_code",)


def network_code(network: nn.Module) -> list[str]:
    """The classes of a network that are its own; what they use besides is in `lit_nas.export.blocks` and `parts`.

    Args:
        network: Of a genotype, as `build_retrain_network` makes it.

    Raises:
        ValueError: if the network or one of its operations is none of lit-nas.
    """
    write = _WRITERS.get(type(network))
    if write is None:
        raise ValueError(
            f"{type(network).__name__} is a network of your own, whose code `--format python` cannot write out: export "
            "it with --format pt2 or --format onnx, which take any network."
        )
    return [*_dags(network), *write(network)]


def _dags(network: nn.Module) -> list[str]:
    """A class for each DAG, as a cell of its own or as an operation of one."""
    cells = {dag_name(module.dag): module for module in network.modules() if isinstance(module, DagCell)}
    return [dag_class(cell) for cell in cells.values()]


def _cell(name: str, cell: Any, arguments: str, inputs: str, strides: list[int], start: list[str]) -> str:
    """The class of a cell: what makes its operations, and what computes its nodes."""
    operations = "\n".join(
        f"                {line}" for line in operation_lines(cell.genotype, list(cell.operations), strides)
    )
    begin = "\n".join(f"        {line}" for line in start)
    inputs_made = "self.inputs = CellInputs(channels_before, channels_last, channels, reduced)\n"
    made = f"        {inputs_made}" if "channels_before" in arguments else ""
    forward = "\n".join(f"        {line}" for line in cell_forward(cell.genotype))
    return f'''class {name}(nn.Module):
    """A cell of the genotype: s0 and so on are its states, a node is the sum of its edges."""

    def __init__(self, {arguments}) -> None:
        super().__init__()
{made}        self.operations = nn.ModuleList(
            [
{operations}
            ]
        )

    def forward(self, {inputs}) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
{begin}
{forward}'''


def _network(network: nn.Module, stem: str, cells: list[str], rest: list[str], forward: list[str]) -> str:
    """The class `Network`."""
    rest = [*rest, *_untracked(network)]
    lines = "\n".join(f"                {cell}" for cell in cells)
    made = "\n".join(f"        {line}" for line in rest)
    body = "\n".join(f"        {line}" for line in forward)
    return f'''class Network(nn.Module):
    """The whole network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = {stem}
        self.cells = nn.ModuleList(
            [
{lines}
            ]
        )
{made}

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] -> logits [B, K]."""
{body}'''


def _darts(network: EvaluationNetwork) -> list[str]:
    kinds = {"normal": "NormalCell", "reduce": "ReductionCell"}
    classes, cells = {}, []
    for kind, cell in zip(network.types, network.cells, strict=True):
        name = "FixedReduction" if isinstance(cell, FixedReduction) else kinds[kind]
        if isinstance(cell, FixedCell):
            strides = [2 if kind == "reduce" and e.source < cell.genotype.inputs else 1 for e in cell.genotype.edges]
            arguments = "channels_before: int, channels_last: int, channels: int, reduced: bool"
            start = ["s0, s1 = self.inputs(before, last)"]
            classes[name] = _cell(name, cell, arguments, "before: Tensor, last: Tensor", strides, start)
        inputs: Any = cell.get_submodule("inputs")
        reduced = isinstance(inputs.before, FactorizedReduce)
        first = inputs.before.conv_even if reduced else inputs.before.conv
        last = inputs.last.conv
        cells.append(f"{name}({first.in_channels}, {last.in_channels}, {last.out_channels}, reduced={reduced}),")
    stem = f"{type(network.stem).__name__}({_colours(network)}, {network.stem.out_channels})"
    forward = [
        "before, last = self.stem(images)",
        "for cell in self.cells:",
        "    before, last = last, cell(before, last)",
        "return self.classifier(F.adaptive_avg_pool2d(last, 1).flatten(1))",
    ]
    return [*classes.values(), _network(network, stem, cells, [_classifier(network)], forward)]


def _nas_bench_201(network: NasBench201Network) -> list[str]:
    classes, cells = {}, []
    for kind, cell in zip(network.types, network.cells, strict=True):
        part: Any = cell
        if kind == "residual":
            shortcut = part.shortcut
            cells.append(f"ResidualBlock({shortcut.in_channels}, {shortcut.out_channels}),")
            width = shortcut.out_channels
            continue
        if not cells:
            width = network.stem.conv.out_channels
        strides = [1] * len(part.genotype.edges)
        classes["Cell"] = _cell("Cell", part, "channels: int", "s0: Tensor", strides, [])
        cells.append(f"Cell({width}),")
    stem = f"ConvBN({_colours(network)}, {network.stem.conv.out_channels})"
    classifier = _classifier(network)  # refuses that of another task
    rest = [f"self.head = Head({network.classifier.in_features})", classifier]
    forward = [
        "x = self.stem(images)",
        "for cell in self.cells:",
        "    x = cell(x)",
        "return self.classifier(self.head(x))",
    ]
    return [*classes.values(), _network(network, stem, cells, rest, forward)]


def _mobile(network: ProxylessNetwork) -> list[str]:
    first: Any = network.stem[0]
    convolution, fixed = first[0], network.stem[1]
    stem = (
        f"nn.Sequential(MobileConvBN({convolution.in_channels}, {convolution.out_channels}, "
        f"{convolution.kernel_size[0]}, stride={convolution.stride[0]}), {_mb_conv(fixed)})"
    )
    cells = []
    for kind, block in zip(network.types, network.cells, strict=True):
        part: Any = block
        cells.append(f"MobileBlock({_mb_conv(part.operation)}, shortcut={part.shortcut}),  # {kind}")
    head: Any = network.head[0]
    rest = [f"self.head = MobileConvBN({head.in_channels}, {head.out_channels}, 1)", _classifier(network)]
    forward = [
        "x = self.stem(images)",
        "for cell in self.cells:",
        "    x = cell(x)",
        "return self.classifier(F.adaptive_avg_pool2d(self.head(x), 1).flatten(1))",
    ]
    return [_network(network, stem, cells, rest, forward)]


def _mb_conv(module: Any) -> str:
    """The call that makes an inverted residual, whose numbers are those of its layers."""
    assert isinstance(module, MBConv)  # all that the mobile space has
    kernel: Any = module.depthwise[0]
    project: Any = module.project[0]
    before = kernel.in_channels if isinstance(module.expand, nn.Identity) else module.expand[0].in_channels
    step = "" if kernel.stride[0] == 1 else f", stride={kernel.stride[0]}"
    expansion = kernel.in_channels // before
    return f"MBConv({before}, {project.out_channels}, {kernel.kernel_size[0]}, {expansion}{step})"


def _dag_chain(network: DagChainNetwork) -> list[str]:
    cells = []
    for kind, row in zip(network.types, network.cells, strict=True):
        part: Any = row
        identity = isinstance(part.transition, nn.Identity)
        before = "nn.Identity()" if identity else f"nn.Sequential({_dag_conv(part.transition[0])}, nn.MaxPool2d(2))"
        width = next(iter(part.cell.convolutions.values()))[0].in_channels
        cells.append(f"DagRow({before}, {dag_name(part.cell.dag)}({width})),  # {kind}")
    forward = [
        "x = self.stem(images)",
        "for cell in self.cells:",
        "    x = cell(x)",
        "return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))",
    ]
    return [_network(network, _dag_conv(network.stem), cells, [_classifier(network)], forward)]


def _dag_conv(module: Any) -> str:
    layer = module[0]
    return f"DagConv({layer.in_channels}, {layer.out_channels}, {layer.kernel_size[0]}, bias={layer.bias is not None})"


def _untracked(network: nn.Module) -> list[str]:
    """What takes running statistics away from the layers that have none."""
    norms = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    names = [name for name, norm in norms if norm.running_mean is None]
    if not names:
        return []
    return [
        "# without running statistics: the batch normalises, in evaluation, too",
        "for name in (",
        *(f'    "{name}",' for name in names),
        "):",
        "    norm = self.get_submodule(name)",
        "    norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None",
        "    norm.num_batches_tracked = None",
    ]


def _colours(network: nn.Module) -> int:
    """Channels of the images."""
    return next(layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d))


def _classifier(network: nn.Module) -> str:
    layer: Any = network.get_submodule("classifier")
    if type(layer) is not nn.Linear or getattr(network, "dense", False):
        raise ValueError(
            f"The last layer of the network is a {type(layer).__name__} of another task than classification, whose "
            "code `--format python` cannot write out: export it with --format pt2 or --format onnx, which take any "
            "network."
        )
    return f"self.classifier = nn.Linear({layer.in_features}, {layer.out_features})"


_WRITERS: dict[type[nn.Module], Callable[[Any], list[str]]] = {
    EvaluationNetwork: _darts,
    NasBench201Network: _nas_bench_201,
    ProxylessNetwork: _mobile,
    DagChainNetwork: _dag_chain,
}
"""Class of a network -> what writes it."""
