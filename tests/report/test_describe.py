import json
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from lit_nas.genotype import Genotype, load_genotype
from lit_nas.report.describe import describe, format_table


def text(*descriptions):
    console = Console(file=StringIO(), width=100)
    console.print(format_table(descriptions))
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("network", "weights", "auxiliary", "multiply_adds", "last"),
    [
        ("cifar", 3_349_342, 476_426, 528_359_040, [576, 8, 8]),
        ("imagenet", 4_718_752, 1_260_776, 529_911_552, [768, 7, 7]),
    ],
)
def test_numbers_of_the_paper(network, weights, auxiliary, multiply_adds, last):
    found = describe("darts_v2", network)
    assert (found["genotype"], found["weights"], found["multiply_adds"]) == ("DARTS_V2", weights, multiply_adds)
    assert found["cells"][-1]["output"] == last
    parts = [found["stem"], *found["cells"], found["classifier"]]
    assert sum(part["weights"] for part in parts) == weights
    assert sum(part["multiply_adds"] for part in parts) == multiply_adds
    assert found["weights_auxiliary"] == auxiliary
    assert json.loads(json.dumps(found)) == found


def test_numbers_of_nas_bench_201():
    found = describe("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert (found["network"], found["weights"], found["weights_auxiliary"]) == ("nas_bench_201", 73_306, 0)
    assert found["genotype"] == "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    parts = [found["stem"], *found["cells"], found["classifier"]]
    assert sum(part["weights"] for part in parts) == 73_306
    assert sum(part["multiply_adds"] for part in parts) == found["multiply_adds"]
    assert [row["type"] for row in found["cells"]] == [*["normal"] * 5, "residual"] * 2 + ["normal"] * 5
    assert found["cells"][-1]["output"] == [64, 8, 8]
    small = describe(found["genotype"], "nas_bench_201", init_channels=4, num_cells=3, num_classes=100)
    assert (len(small["cells"]), small["num_classes"], small["cells"][0]["channels"]) == (5, 100, 4)
    assert "1 residual" in text(small)


def test_arguments_change_the_network():
    found = describe(load_genotype("NASNet"), "cifar", init_channels=8, num_cells=4, num_classes=3)
    assert [row["type"] for row in found["cells"]] == ["normal", "reduce", "reduce", "normal"]
    assert [row["channels"] for row in found["cells"]] == [8, 16, 32, 32]
    assert found["cells"][0]["output"] == [40, 32, 32]
    assert found["cells"][1]["output"] == [48, 16, 16]
    assert found["classifier"]["weights"] == 160 * 3 + 3
    assert (found["init_channels"], found["num_cells"], found["num_classes"]) == (8, 4, 3)


def test_a_file_is_named_by_its_path(tmp_path):
    path = tmp_path / "[red]found.json"
    Genotype(load_genotype("DARTS_V1").cells).save(path)
    found = describe(path, init_channels=4, num_cells=3)
    assert found["genotype"] == str(path)
    assert "[red]found.json" in "".join(text(found).split())


def test_table():
    small = describe("DARTS_V2", init_channels=4, num_cells=3)
    assert "2 reduce" in text(small)
    assert f"{small['weights']:,}" in text(small)
    several = text(small, describe("DARTS_V1", init_channels=4, num_cells=3))
    assert "DARTS_V1" in several
    assert "DARTS_V2" in several
    assert "2 reduce" not in several


def test_unknown_network():
    with pytest.raises(ValueError, match=r"no network 'mnist'\. Known are: cifar, imagenet"):
        describe("DARTS_V2", "mnist")


def test_no_heavy_import():
    code = (
        "import sys, lit_nas.report.draw\n"
        "from lit_nas.report.describe import describe, format_table\n"
        "format_table([describe('DARTS_V2', num_cells=3)])\n"
        "print({'pytorch_lightning', 'torchvision', 'torchmetrics', 'matplotlib', 'sklearn', 'wandb', 'torch._dynamo'} "
        "& set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
