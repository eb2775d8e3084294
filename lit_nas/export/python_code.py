"""The text of a Python file that holds a network as plain PyTorch."""

from torch import nn

from lit_nas.export.network_code import network_code
from lit_nas.export.quoting import quote
from lit_nas.specs import ImageSpec

__all__ = ("python_code",)

_IMPORTS = """\
from torch import Tensor, nn
from torch.nn import functional as F"""
_LOAD = '''\
def load(path: str | Path = Path(__file__).with_suffix(".pt")) -> Network:
    """The trained network, in evaluation mode, on the CPU."""
    network = Network()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()
'''


def python_code(network: nn.Module, spec: ImageSpec, about: str, weights: bool) -> str:
    """Writes a network as one file that imports torch and nothing else.

    Args:
        network: Of a genotype, as `build_retrain_network` makes it.
        spec: Its images and labels.
        about: What it is, a sentence for the head of the file.
        weights: Whether a file with the weights lies beside it.

    Raises:
        ValueError: if the network or one of its operations is none of lit-nas.
    """
    own = network_code(network)
    classes = [*quote("\n".join(own)), *own]
    usage = "`load()` gives the network with its trained weights." if weights else "`Network()` has random weights."
    images = f"[B, {spec.channels}, {spec.height}, {spec.width}]"
    # in a docstring neither quotes nor backslashes of a name may end it
    told = " ".join(about.split()).replace("\\", "/").replace('"""', "'''")
    head = (
        f'"""{told}\n\nIt maps images {images}, normalised as those that it was trained on, to logits '
        f"[B, {spec.classes}].\n{usage} Paths are not dropped in training, and there is no auxiliary head.\n"
        'Written by lit-nas; the names of its submodules are those of the network there.\n"""\n'
    )
    body = "\n\n\n".join([*classes, *([_LOAD] if weights else [])]).rstrip("\n")
    path = "from pathlib import Path\n\n" if weights else ""
    torch = "import torch\n" if "torch." in body else ""
    return f"{head}\n{path}{torch}{_IMPORTS}\n\n\n{body}\n"
