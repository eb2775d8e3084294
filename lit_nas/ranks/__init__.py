"""FaDE-ranks: how good all networks of a product of choices are, by the probabilities of each choice alone."""

from lit_nas.ranks.choices import Choice, Choices, load_choices
from lit_nas.ranks.ranking import Ranked, best_networks, spread_networks
from lit_nas.ranks.spearman import Spearman, average_ranks, spearman
from lit_nas.ranks.table import rank_table, write_ranks

__all__ = (
    "Choice",
    "Choices",
    "Ranked",
    "Spearman",
    "average_ranks",
    "best_networks",
    "load_choices",
    "rank_table",
    "spearman",
    "spread_networks",
    "write_ranks",
)
