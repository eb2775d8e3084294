"""What is written and said of correlations."""

import pytest

from lit_nas.correlation import Correlations, EdgeCorrelation
from lit_nas.report.correlation import draw_correlation, format_correlation, write_correlation
from lit_nas.spaces import OperatorGroups, load_operator_groups

NAMES = ("max_pool_3x3", "skip_connect", "sep_conv_3x3")
GROUPS = OperatorGroups({"max_pool_3x3": NAMES[:2], "sep_conv_3x3": NAMES[2:]})
NAN = float("nan")


@pytest.fixture
def found():
    whole = EdgeCorrelation(0, "normal", 0, 2, NAMES, ((1.0, 0.5, -0.001), (0.5, 1.0, 0.1), (-0.001, 0.1, 1.0)))
    part = ((1.0, 0.7, NAN), (0.7, 1.0, NAN), (NAN, NAN, NAN))
    return Correlations((whole, EdgeCorrelation(1, "reduce", 2, 5, NAMES, part, NAMES[2:])), NAMES, 10_000, "features")


def test_the_matrix_and_its_groups_are_said(found):
    assert format_correlation(found, GROUPS).splitlines() == [
        "Correlation of outputs (features centred), mean over 2 edges and 10000 images:",
        "  max_pool_3x3          1.00",
        "  skip_connect          0.60         1.00",
        "  sep_conv_3x3          0.00         0.10         1.00",
        "                max_pool_3x3 skip_connect sep_conv_3x3",
        "Groups, each behind its key operator:",
        "  max_pool_3x3: skip_connect",
        "  sep_conv_3x3",
        "Constant on the edge 2 -> 5 of cell 1 (reduce), which is left out of their means: sep_conv_3x3.",
    ]


@pytest.mark.parametrize("picture", ["svg", "png", None])
def test_all_files_are_written(found, picture, tmp_path):
    folder = tmp_path / "new" / "found"
    write_correlation(found, GROUPS, folder, picture)
    files = ["correlation.csv", *([f"correlation.{picture}"] if picture else []), "groups.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    assert load_operator_groups(folder / "groups.json") == GROUPS
    assert (folder / "correlation.csv").read_text() == found.csv()


def test_equal_matrices_have_equal_pictures(found, tmp_path):
    for name in ("one.svg", "two.svg"):
        draw_correlation(found, tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.svg", "two.svg"))
    assert one == two
    assert one.startswith(b"<?xml")
    swapped = Correlations(found.edges, NAMES[::-1], 10_000, "features")
    draw_correlation(swapped, tmp_path / "two.svg")
    assert (tmp_path / "two.svg").read_bytes() != one
