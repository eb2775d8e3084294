"""Search spaces: frozen dataclasses that networks are built from."""

from lit_nas.spaces.candidates import Candidates, EdgeCandidates, load_candidates
from lit_nas.spaces.dags import HAND_PICKED_DAGS, DagSpace
from lit_nas.spaces.darts import DARTS_OPERATIONS, DartsSpace, reduction_places
from lit_nas.spaces.gdas import GDAS_OPERATIONS, GDASSpace
from lit_nas.spaces.mobile import MOBILE_OPERATIONS, MobileSpace
from lit_nas.spaces.nas_bench_201 import NasBench201Space
from lit_nas.spaces.operator_groups import (
    OPERATOR_GROUPS,
    STACNAS_S1,
    STACNAS_S2,
    STACNAS_S3,
    STACNAS_S4,
    STACNAS_S5,
    OperatorGroups,
    load_operator_groups,
    named_operations,
    operator_groups,
)
from lit_nas.spaces.recurrent import RECURRENT_OPERATIONS, RecurrentSpace
from lit_nas.spaces.space import MOST_CELLS, CellSpace, Position, SearchSpace, known_spaces

__all__ = (
    "DARTS_OPERATIONS",
    "GDAS_OPERATIONS",
    "HAND_PICKED_DAGS",
    "MOBILE_OPERATIONS",
    "MOST_CELLS",
    "OPERATOR_GROUPS",
    "RECURRENT_OPERATIONS",
    "STACNAS_S1",
    "STACNAS_S2",
    "STACNAS_S3",
    "STACNAS_S4",
    "STACNAS_S5",
    "Candidates",
    "CellSpace",
    "DagSpace",
    "DartsSpace",
    "EdgeCandidates",
    "GDASSpace",
    "MobileSpace",
    "NasBench201Space",
    "OperatorGroups",
    "Position",
    "RecurrentSpace",
    "SearchSpace",
    "known_spaces",
    "load_candidates",
    "load_operator_groups",
    "named_operations",
    "operator_groups",
    "reduction_places",
)
