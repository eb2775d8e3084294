"""What all searches share: the verbs of both levels, their settings, health, and the kinds of data, images and text."""

from lit_nas.search.dropped_paths import DroppedPaths
from lit_nas.search.image_search import ImageSearchModule
from lit_nas.search.importance_sampling import ImportanceSampling
from lit_nas.search.random_channels import draw_channels
from lit_nas.search.search_module import Loss, SearchBatch, SearchModule
from lit_nas.search.search_optim import SearchOptim
from lit_nas.search.skip_dropout import DroppedSkip, drop_skips, restore_skips
from lit_nas.search.text_search import TextSearchModule

__all__ = (
    "DroppedPaths",
    "DroppedSkip",
    "ImageSearchModule",
    "ImportanceSampling",
    "Loss",
    "SearchBatch",
    "SearchModule",
    "SearchOptim",
    "TextSearchModule",
    "draw_channels",
    "drop_skips",
    "restore_skips",
)
