"""lit-nas: differentiable neural architecture search on PyTorch Lightning.

The public names below are imported when they are first used, so that `import lit_nas` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names once more, as type checkers want them
    from lit_nas.callbacks import KeepStrongest as KeepStrongest
    from lit_nas.callbacks import MeasureConfusion as MeasureConfusion
    from lit_nas.callbacks import Prune as Prune
    from lit_nas.callbacks import QueryTable as QueryTable
    from lit_nas.callbacks import SkipDropout as SkipDropout
    from lit_nas.callbacks import default_callbacks as default_callbacks
    from lit_nas.correlation import Clustering as Clustering
    from lit_nas.correlation import OperatorCorrelation as OperatorCorrelation
    from lit_nas.data import CIFAR10DataModule as CIFAR10DataModule
    from lit_nas.data import CIFAR100DataModule as CIFAR100DataModule
    from lit_nas.data import DatasetLoader as DatasetLoader
    from lit_nas.data import DigitsDataModule as DigitsDataModule
    from lit_nas.data import FashionMNISTDataModule as FashionMNISTDataModule
    from lit_nas.data import ImageDataModule as ImageDataModule
    from lit_nas.data import ImageFolderDataModule as ImageFolderDataModule
    from lit_nas.data import SVHNDataModule as SVHNDataModule
    from lit_nas.data import SyntheticDataModule as SyntheticDataModule
    from lit_nas.data import TextFolderDataModule as TextFolderDataModule
    from lit_nas.derivation import ArgmaxPerEdge as ArgmaxPerEdge
    from lit_nas.derivation import EveryChoice as EveryChoice
    from lit_nas.derivation import LimitedSkips as LimitedSkips
    from lit_nas.derivation import TopEdges as TopEdges
    from lit_nas.derivation import TopPairs as TopPairs
    from lit_nas.edges import AuxiliarySkip as AuxiliarySkip
    from lit_nas.edges import MergedConvolutions as MergedConvolutions
    from lit_nas.edges import PartialChannels as PartialChannels
    from lit_nas.edges import PlainEdges as PlainEdges
    from lit_nas.edges import SharedDagConvs as SharedDagConvs
    from lit_nas.engine import Fused as Fused
    from lit_nas.engine import Reference as Reference
    from lit_nas.genotype import Genotype as Genotype
    from lit_nas.genotype import load_genotype as load_genotype
    from lit_nas.jobs import ClusteredSearch as ClusteredSearch
    from lit_nas.jobs import EvolveBest as EvolveBest
    from lit_nas.jobs import Group as Group
    from lit_nas.jobs import Job as Job
    from lit_nas.jobs import OuterSearch as OuterSearch
    from lit_nas.jobs import PseudoGradient as PseudoGradient
    from lit_nas.jobs import RandomSteps as RandomSteps
    from lit_nas.jobs import SearchThenRetrain as SearchThenRetrain
    from lit_nas.jobs import Stage as Stage
    from lit_nas.jobs import StagedSearch as StagedSearch
    from lit_nas.jobs import WinningGroup as WinningGroup
    from lit_nas.language import ActivationPenalty as ActivationPenalty
    from lit_nas.language import LanguageDropout as LanguageDropout
    from lit_nas.methods import DARTS as DARTS
    from lit_nas.methods import GDAS as GDAS
    from lit_nas.methods import PARSEC as PARSEC
    from lit_nas.methods import PCDARTS as PCDARTS
    from lit_nas.methods import PDARTS as PDARTS
    from lit_nas.methods import SNAS as SNAS
    from lit_nas.methods import DropNAS as DropNAS
    from lit_nas.methods import EntmaxDARTS as EntmaxDARTS
    from lit_nas.methods import FaDE as FaDE
    from lit_nas.methods import MergeNAS as MergeNAS
    from lit_nas.methods import ProxylessNAS as ProxylessNAS
    from lit_nas.methods import RecurrentDARTS as RecurrentDARTS
    from lit_nas.methods import StacNAS as StacNAS
    from lit_nas.networks import register_space as register_space
    from lit_nas.operations import register_operation as register_operation
    from lit_nas.optim import GradientConfusion as GradientConfusion
    from lit_nas.optim import PartialDecay as PartialDecay
    from lit_nas.perturbation import AdversarialSmoothing as AdversarialSmoothing
    from lit_nas.perturbation import RandomSmoothing as RandomSmoothing
    from lit_nas.pruning import Pruning as Pruning
    from lit_nas.record.recorded_module import load_module as load_module
    from lit_nas.record.recorded_module import read_checkpoint as read_checkpoint
    from lit_nas.regularizers import CostFactor as CostFactor
    from lit_nas.regularizers import CostTarget as CostTarget
    from lit_nas.regularizers import Entropy as Entropy
    from lit_nas.regularizers import ExpectedCost as ExpectedCost
    from lit_nas.regularizers import MaxNorm as MaxNorm
    from lit_nas.regularizers import ResourceCost as ResourceCost
    from lit_nas.regularizers import ZeroOne as ZeroOne
    from lit_nas.relaxations import BinaryGates as BinaryGates
    from lit_nas.relaxations import Categorical as Categorical
    from lit_nas.relaxations import CategoricalPairs as CategoricalPairs
    from lit_nas.relaxations import Entmax as Entmax
    from lit_nas.relaxations import GroupedDropout as GroupedDropout
    from lit_nas.relaxations import GumbelSoftmax as GumbelSoftmax
    from lit_nas.relaxations import Sigmoid as Sigmoid
    from lit_nas.relaxations import Softmax as Softmax
    from lit_nas.report.describe import describe as describe
    from lit_nas.report.draw import draw_genotype as draw_genotype
    from lit_nas.resume import RunLogger as RunLogger
    from lit_nas.resume import find_last as find_last
    from lit_nas.retrain import LanguageRetrainModule as LanguageRetrainModule
    from lit_nas.retrain import LanguageRetrainOptim as LanguageRetrainOptim
    from lit_nas.retrain import RetrainModule as RetrainModule
    from lit_nas.retrain import RetrainOptim as RetrainOptim
    from lit_nas.schedules import Constant as Constant
    from lit_nas.schedules import Cosine as Cosine
    from lit_nas.schedules import Delayed as Delayed
    from lit_nas.schedules import Exponential as Exponential
    from lit_nas.schedules import Linear as Linear
    from lit_nas.schedules import LinearThenExponential as LinearThenExponential
    from lit_nas.schedules import Steps as Steps
    from lit_nas.search import ImportanceSampling as ImportanceSampling
    from lit_nas.search import SearchModule as SearchModule
    from lit_nas.search import SearchOptim as SearchOptim
    from lit_nas.spaces import DagSpace as DagSpace
    from lit_nas.spaces import DartsSpace as DartsSpace
    from lit_nas.spaces import GDASSpace as GDASSpace
    from lit_nas.spaces import MobileSpace as MobileSpace
    from lit_nas.spaces import NasBench201Space as NasBench201Space
    from lit_nas.spaces import OperatorGroups as OperatorGroups
    from lit_nas.spaces import RecurrentSpace as RecurrentSpace
    from lit_nas.specs import ImageSpec as ImageSpec
    from lit_nas.specs import TextSpec as TextSpec
    from lit_nas.tabular import read_table as read_table
    from lit_nas.tasks import Classification as Classification
    from lit_nas.tasks import MultiLabel as MultiLabel
    from lit_nas.tasks import Regression as Regression
    from lit_nas.tasks import Segmentation as Segmentation
    from lit_nas.tasks import Task as Task

__version__ = "0.1.0"

_ROOMS = {
    "callbacks": ("KeepStrongest", "MeasureConfusion", "Prune", "QueryTable", "SkipDropout", "default_callbacks"),
    "correlation": ("Clustering", "OperatorCorrelation"),
    "data": (
        "CIFAR10DataModule",
        "CIFAR100DataModule",
        "DatasetLoader",
        "DigitsDataModule",
        "FashionMNISTDataModule",
        "ImageDataModule",
        "ImageFolderDataModule",
        "SVHNDataModule",
        "SyntheticDataModule",
        "TextFolderDataModule",
    ),
    "derivation": ("ArgmaxPerEdge", "LimitedSkips", "TopEdges", "TopPairs", "EveryChoice"),
    "edges": ("AuxiliarySkip", "MergedConvolutions", "PartialChannels", "PlainEdges", "SharedDagConvs"),
    "engine": ("Fused", "Reference"),
    "genotype": ("Genotype", "load_genotype"),
    "jobs": (
        "ClusteredSearch",
        "EvolveBest",
        "Group",
        "Job",
        "OuterSearch",
        "PseudoGradient",
        "RandomSteps",
        "SearchThenRetrain",
        "Stage",
        "StagedSearch",
        "WinningGroup",
    ),
    "language": ("ActivationPenalty", "LanguageDropout"),
    "methods": (
        "DARTS",
        "GDAS",
        "PARSEC",
        "PCDARTS",
        "PDARTS",
        "SNAS",
        "DropNAS",
        "EntmaxDARTS",
        "FaDE",
        "MergeNAS",
        "ProxylessNAS",
        "RecurrentDARTS",
        "StacNAS",
    ),
    "networks": ("register_space",),
    "operations": ("register_operation",),
    "optim": ("GradientConfusion", "PartialDecay"),
    "perturbation": ("AdversarialSmoothing", "RandomSmoothing"),
    "pruning": ("Pruning",),
    "record.recorded_module": ("load_module", "read_checkpoint"),
    "regularizers": (
        "CostFactor",
        "CostTarget",
        "Entropy",
        "ExpectedCost",
        "MaxNorm",
        "ResourceCost",
        "ZeroOne",
    ),
    "relaxations": (
        "BinaryGates",
        "Categorical",
        "CategoricalPairs",
        "Entmax",
        "GroupedDropout",
        "GumbelSoftmax",
        "Sigmoid",
        "Softmax",
    ),
    "report.describe": ("describe",),
    "report.draw": ("draw_genotype",),
    "resume": ("RunLogger", "find_last"),
    "retrain": ("LanguageRetrainModule", "LanguageRetrainOptim", "RetrainModule", "RetrainOptim"),
    "schedules": ("Constant", "Cosine", "Delayed", "Exponential", "Linear", "LinearThenExponential", "Steps"),
    "search": ("SearchModule", "SearchOptim", "ImportanceSampling"),
    "spaces": (
        "DagSpace",
        "DartsSpace",
        "MobileSpace",
        "NasBench201Space",
        "GDASSpace",
        "OperatorGroups",
        "RecurrentSpace",
    ),
    "specs": ("ImageSpec", "TextSpec"),
    "tabular": ("read_table",),
    "tasks": ("Classification", "MultiLabel", "Regression", "Segmentation", "Task"),
}
HOMES = {name: f"lit_nas.{room}" for room, names in _ROOMS.items() for name in names}
"""Public name -> the module that has it."""
__all__ = ("__version__", *HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use; it is not kept here, so that each class has one public name in files."""
    if name not in HOMES:
        raise AttributeError(f"module 'lit_nas' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
