"""The mobile space: its blocks as in the paper, what it refuses, and the numbers of its configurations."""

from itertools import pairwise

import pytest

from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.spaces import MOBILE_OPERATIONS, MobileSpace
from lit_nas.spaces.mobile import round_channels
from tests.methods.test_proxylessnas import PROXYLESS

IMAGENET = {
    "root": "data/imagenet", "size": 224, "in_memory": False, "random_resized_crop": True,
}  # fmt: skip
EXPECTED = {
    "search/proxylessnas.yaml + layers/space/mobile.yaml": {
        **PROXYLESS,
        "model.space": (
            "MobileSpace",
            {"stem_stride": 1, "strides": [1, 2, 2, 1, 2, 1], "widths": [24, 40, 80, 96, 192, 320]},
        ),
    },
    "search/proxylessnas_imagenet.yaml": {  # the code of the authors
        "trainer.max_epochs": 160,
        "data": (
            "ImageFolderDataModule",
            {**IMAGENET, "batch_size": 256, "split": {"weights": 0.9609730815, "arch": 0.0390269185}},
        ),
        "model.gradient": "gates",
        "model.paths": "two",
        "model.arch_every": 5,
        "model.label_smoothing": 0.1,
        "model.space": (
            "MobileSpace",
            {
                "stem_channels": 32, "first_channels": 16, "widths": [24, 40, 80, 96, 192, 320],
                "blocks": [4, 4, 4, 4, 4, 1], "strides": [2, 2, 2, 1, 2, 1], "stem_stride": 2, "last_channels": 1280,
                "width": 1.0,
            },
        ),
        "model.optim.level": "bilevel",
        "model.optim.weights": (
            "DartsSGD",
            {"lr": 0.025, "momentum": 0.9, "weight_decay": 4e-5, "nesterov": True},
        ),
        "model.optim.schedule": ("RestartedCosineLR", {"first": 40, "factor": 2.0, "lr_min": 0.0}),
        "model.optim.arch": ("DartsAdam", {"lr": 1e-3, "betas": [0.0, 0.999], "weight_decay": 0.0}),
        "model.optim.clip": 0.0,
        "model.optim.arch_from_epoch": 41,
    },
    "search/proxylessnas_imagenet.yaml + layers/recipe/latency.yaml": {  # the script of the authors
        "trainer.max_epochs": 160,
        "model.optim.regularizers": [
            {
                "class_path": "lit_nas.CostFactor",
                "init_args": {
                    "measure": "latency.json",
                    "reference": 80.0,
                    "scale": 0.2,
                    "strength": {"class_path": "lit_nas.Constant", "init_args": {"value": 0.3}},
                },
            }
        ],
    },
    "retrain/proxylessnas_imagenet.yaml": {
        "trainer.max_epochs": 300,
        "data": ("ImageFolderDataModule", {**IMAGENET, "batch_size": 512, "split": "all"}),
        "model.genotype": "PROXYLESS_MOBILE",
        "model.network": "proxyless_mobile",
        "model.optim.weights": ("DartsSGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-5, "nesterov": True}),
        "model.optim.schedule": ("WarmUpCosineLR", {"first": 5, "lr_min": 0.0}),
        "model.optim.clip": 0.0,
        "model.optim.drop_path": 0.0,
        "model.optim.auxiliary_weight": 0.0,
        "model.optim.label_smoothing": 0.1,
    },
}  # fmt: skip


def test_the_blocks_of_the_paper():
    space = MobileSpace()
    cells, layout = space.cells, space.layout
    assert [position.cell for position in layout] == list(cells) == [f"block_{number}" for number in range(1, 22)]
    assert [position.channels for position in layout] == [24] * 4 + [40] * 4 + [80] * 4 + [96] * 4 + [192] * 4 + [320]
    assert layout[0].channels_in == 16
    assert all(after.channels_in == before.channels for before, after in pairwise(layout))
    assert [number + 1 for number, position in enumerate(layout) if position.stride == 2] == [1, 5, 9, 17]
    sizes = [len(cell.operations) for cell in cells.values()]
    assert (sizes.count(7), sizes.count(6)) == (15, 6)
    for position in layout:
        cell = cells[position.cell]
        assert ("none" in cell.operations) == (position.stride == 1 and position.channels_in == position.channels)
        assert cell.keeps_none == ("none" in cell.operations)
        assert space.cell_at(position) == cell
    assert space.reductions == 5


@pytest.mark.parametrize(
    ("width", "widths", "features"),
    [
        (0.35, [8, 16, 32, 32, 64, 112], 1280),
        (0.5, [16, 24, 40, 48, 96, 160], 1280),
        (1.0, [24, 40, 80, 96, 192, 320], 1280),
        (1.4, [32, 56, 112, 136, 272, 448], 1792),
    ],
)
def test_widths_are_multiples_of_eight(width, widths, features):
    space = MobileSpace(width=width)
    assert list(dict.fromkeys(position.channels for position in space.layout)) == list(dict.fromkeys(widths))
    assert space.features == features
    assert round_channels(12) == 16
    assert round_channels(11) == 16  # 8 would be less than 0.9 of it


def test_blocks_may_have_candidates_of_their_own():
    rows = {"block_1": [["mb_conv_7x7_e6"]], "block_2": [["none", "mb_conv_3x3_e3"]]}
    cells = MobileSpace(candidates=rows).cells
    assert cells["block_1"].names(0) == ("mb_conv_7x7_e6",)
    assert cells["block_2"].names(0) == ("mb_conv_3x3_e3", "none")
    assert cells["block_3"].names(0) == (*MOBILE_OPERATIONS, "none")
    with pytest.raises(ValueError, match=r"space\.candidates names the cells \['block_22'\]"):
        MobileSpace(candidates={"block_22": [["none"]]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [24]}, r"one number for each stage, but have 1, 6 and 6"),
        ({"blocks": [1, 1, 1, 1, 1, 0]}, r"space\.blocks must be at least 1, not \(1, 1, 1, 1, 1, 0\)"),
        ({"blocks": [999, 1, 1, 1, 1, 1]}, r"space\.blocks must be at most 1000 together, not 1004"),
        ({"stem_channels": 0}, r"space\.stem_channels must be at least 1, not 0"),
        ({"stem_stride": 3}, r"space\.strides and space\.stem_stride must be 1 or 2, not .* and 3"),
        ({"width": 0.0}, r"space\.width must be above 0 and at most 10, not 0\.0"),
        ({"operations": ["sep_conv_3x3"]}, r"\['sep_conv_3x3'\], which the mobile space does not have"),
        ({"operations": []}, "needs at least one operation"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MobileSpace(**arguments)


def cell(operation, more=()):
    return CellGenotype((Edge(operation, 0, 1), *more), (1,), 1)


def test_genotypes_are_chains_of_blocks():
    Genotype({"block_1": cell("mb_conv_3x3_e3"), "block_2": cell("none")}, "mobile")
    with pytest.raises(ValueError, match="has the cells block_1, block_2 and so on, but this one has block_2"):
        Genotype({"block_2": cell("none")}, "mobile")
    for wrong in (cell("sep_conv_3x3"), cell("none", [Edge("none", 0, 1)])):
        with pytest.raises(
            ValueError, match=r"cells\.block_1 of a genotype of the space 'mobile' has one input and one"
        ):
            Genotype({"block_1": wrong}, "mobile")
