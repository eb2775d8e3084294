"""Jobs: fits that follow from each other, each in a folder and a process of its own."""

from lit_nas.jobs.alpha_correlation import AlphaCorrelation
from lit_nas.jobs.clustered_search import ClusteredSearch
from lit_nas.jobs.comparison import Comparison
from lit_nas.jobs.depth_match import DepthMatch
from lit_nas.jobs.executor import Executor, InThisProcess, Order, Processes, launched
from lit_nas.jobs.history import Found, History
from lit_nas.jobs.job import Job
from lit_nas.jobs.loop import advance, is_finished, look_ahead, members
from lit_nas.jobs.outer_search import Evaluation, OuterSearch
from lit_nas.jobs.rank_validation import RankValidation
from lit_nas.jobs.ray_tasks import RayTasks
from lit_nas.jobs.search_then_retrain import SearchThenRetrain
from lit_nas.jobs.stage import FileOf, Group, Stage, WeightsOf
from lit_nas.jobs.staged_search import HandOver, LeftCandidates, StagedSearch
from lit_nas.jobs.strategies import AnchorRow, EvolveBest, PseudoGradient, RandomSteps, Strategy
from lit_nas.jobs.sweep import OneFit, Sweep
from lit_nas.jobs.winning_group import WinningGroup
from lit_nas.spaces import Candidates, EdgeCandidates, load_candidates

__all__ = (
    "AlphaCorrelation",
    "AnchorRow",
    "Candidates",
    "ClusteredSearch",
    "Comparison",
    "DepthMatch",
    "EdgeCandidates",
    "Evaluation",
    "EvolveBest",
    "Executor",
    "FileOf",
    "Found",
    "Group",
    "HandOver",
    "History",
    "InThisProcess",
    "Job",
    "LeftCandidates",
    "OneFit",
    "Order",
    "OuterSearch",
    "Processes",
    "PseudoGradient",
    "RandomSteps",
    "RankValidation",
    "RayTasks",
    "SearchThenRetrain",
    "Stage",
    "StagedSearch",
    "Strategy",
    "Sweep",
    "WeightsOf",
    "WinningGroup",
    "advance",
    "is_finished",
    "launched",
    "load_candidates",
    "look_ahead",
    "members",
)
