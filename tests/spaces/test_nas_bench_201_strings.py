"""The strings of the cells of NAS-Bench-201, both ways."""

import pytest

from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype
from lit_nas.spaces.nas_bench_201_strings import (
    CELL_EDGES,
    CELL_OPERATIONS,
    all_architectures,
    format_architecture,
    parse_architecture,
)

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
MIXED = "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"


def test_all_cells_make_a_round_trip():
    strings = all_architectures()
    assert len(set(strings)) == len(strings) == 5**6 == 15_625
    for text in strings:
        genotype = Genotype.from_architecture(text)
        assert genotype.architecture == text
        assert format_architecture(parse_architecture(text)) == text
        assert len(genotype.cells["normal"].inbound(3)) == 3


def test_operations_belong_to_their_edges():
    assert CELL_EDGES == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert parse_architecture(f" {MIXED}\n") == (
        "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "none",
    )  # fmt: skip
    edges = load_genotype(MIXED).cells["normal"].edges
    assert edges[2] == Edge("nor_conv_1x1", 1, 2)
    assert edges[4] == Edge("avg_pool_3x3", 1, 3)


def test_files_and_labels(tmp_path):
    genotype = load_genotype(BEST)
    assert genotype == Genotype.from_architecture(BEST)
    assert (genotype.name, genotype.label, genotype.space) == ("", BEST, "nas_bench_201")
    genotype.save(tmp_path / "cell.json")
    assert load_genotype(tmp_path / "cell.json").architecture == BEST
    shuffled = CellGenotype(genotype.cells["normal"].edges[::-1], (3,), 1)
    assert Genotype({"normal": shuffled}, "nas_bench_201").architecture == BEST
    assert load_genotype("DARTS_V2").architecture is None
    assert load_genotype("DARTS_V2").label == "DARTS_V2"


@pytest.mark.parametrize(
    "text",
    [
        "|", "||", MIXED[:-1], MIXED[1:], MIXED.replace("~2", "~1"), MIXED.replace("~0", ""), MIXED.replace("+", "", 1),
        MIXED.replace("none", "sep_conv_3x3"), f"{MIXED}+|none~0|", "|none~0|+|none~0|none~1|",
        MIXED.replace("|+", "+"),
    ],
)  # fmt: skip
def test_wrong_strings(text):
    with pytest.raises(
        ValueError, match=r"is not a cell of NAS-Bench-201\. Its string .* operations are none, skip_co"
    ):
        Genotype.from_architecture(text)


def test_wrong_operations():
    with pytest.raises(ValueError, match=r"has 6 operations out of none, .* not \['none'\]"):
        format_architecture(["none"])
    with pytest.raises(ValueError, match="'dil_conv_3x3'"):
        format_architecture(["dil_conv_3x3", *CELL_OPERATIONS])


def test_cells_that_are_not_of_the_space():
    edges = load_genotype(MIXED).cells["normal"].edges
    for cell in (
        CellGenotype(edges[:-1], (3,), 1),
        CellGenotype(edges, (1, 2, 3), 1),
        CellGenotype((*edges, edges[-1]), (3,), 1),
    ):
        with pytest.raises(ValueError, match=r"has one cell 'normal' with 1 input, the edges .* and concat \[3\], but"):
            Genotype({"normal": cell}, "nas_bench_201")
    with pytest.raises(ValueError, match=r"'nas_bench_201' needs \['normal'\]"):
        Genotype({"cell": CellGenotype(edges, (3,), 1)}, "nas_bench_201")
    other = CellGenotype((Edge("max_pool_3x3", 0, 1), *edges[1:]), (3,), 1)
    with pytest.raises(ValueError, match=r"\['max_pool_3x3'\], which NAS-Bench-201 does not have"):
        Genotype({"normal": other}, "nas_bench_201")
