"""lit-nas: differentiable neural architecture search on PyTorch Lightning.

The public names below are imported when they are first used, so that `import lit_nas` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit_nas.callbacks import Prune, QueryTable, default_callbacks
    from lit_nas.data import (
        CIFAR10DataModule,
        CIFAR100DataModule,
        DigitsDataModule,
        FashionMNISTDataModule,
        ImageDataModule,
        ImageFolderDataModule,
        SVHNDataModule,
        SyntheticDataModule,
    )
    from lit_nas.derivation import ArgmaxPerEdge, TopEdges
    from lit_nas.engine import Fused, Reference
    from lit_nas.genotype import Genotype, load_genotype
    from lit_nas.methods import DARTS, EntmaxDARTS
    from lit_nas.pruning import Pruning
    from lit_nas.record.recorded_module import load_module, read_checkpoint
    from lit_nas.relaxations import Entmax, Sigmoid, Softmax
    from lit_nas.report.describe import describe
    from lit_nas.report.draw import draw_genotype
    from lit_nas.resume import RunLogger, find_last
    from lit_nas.retrain import RetrainModule, RetrainOptim
    from lit_nas.search import SearchModule, SearchOptim
    from lit_nas.spaces import DartsSpace, NasBench201Space
    from lit_nas.specs import ImageSpec
    from lit_nas.tabular import read_table

__version__ = "0.1.0"

__all__ = (
    "DARTS",
    "ArgmaxPerEdge",
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "DartsSpace",
    "DigitsDataModule",
    "Entmax",
    "EntmaxDARTS",
    "FashionMNISTDataModule",
    "Fused",
    "Genotype",
    "ImageDataModule",
    "ImageFolderDataModule",
    "ImageSpec",
    "NasBench201Space",
    "Prune",
    "Pruning",
    "QueryTable",
    "Reference",
    "RetrainModule",
    "RetrainOptim",
    "RunLogger",
    "SVHNDataModule",
    "SearchModule",
    "SearchOptim",
    "Sigmoid",
    "Softmax",
    "SyntheticDataModule",
    "TopEdges",
    "__version__",
    "default_callbacks",
    "describe",
    "draw_genotype",
    "find_last",
    "load_genotype",
    "load_module",
    "read_checkpoint",
    "read_table",
)

_ROOMS = {
    "callbacks": ("Prune", "QueryTable", "default_callbacks"),
    "data": tuple(name for name in __all__ if name.endswith("DataModule")),
    "derivation": ("ArgmaxPerEdge", "TopEdges"),
    "engine": ("Fused", "Reference"),
    "genotype": ("Genotype", "load_genotype"),
    "methods": ("DARTS", "EntmaxDARTS"),
    "pruning": ("Pruning",),
    "record.recorded_module": ("load_module", "read_checkpoint"),
    "relaxations": ("Entmax", "Sigmoid", "Softmax"),
    "report.describe": ("describe",),
    "report.draw": ("draw_genotype",),
    "resume": ("RunLogger", "find_last"),
    "retrain": ("RetrainModule", "RetrainOptim"),
    "search": ("SearchModule", "SearchOptim"),
    "spaces": ("DartsSpace", "NasBench201Space"),
    "specs": ("ImageSpec",),
    "tabular": ("read_table",),
}
HOMES = {name: f"lit_nas.{room}" for room, names in _ROOMS.items() for name in names}
"""Public name -> the module that has it."""


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use; it is not kept here, so that each class has one public name in files."""
    if name not in HOMES:
        raise AttributeError(f"module 'lit_nas' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
