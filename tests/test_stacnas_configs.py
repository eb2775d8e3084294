"""What the jobs of StacNAS and their layers state: operations of both searches, depths, derivation, groups, numbers."""

import pytest
import yaml

from lit_nas.cli import main
from tests.methods.test_stacnas import EXPECTED
from tests.support.paper_numbers import differing
from tests.test_configs import ROOT, of

MAX, AVG, SKIP, TWO = "max_pool_3x3", "avg_pool_3x3", "skip_connect", "skip_connect_2"
SEP3, SEP5, SEP7 = "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"
DIL3, DIL5 = "dil_conv_3x3", "dil_conv_5x5"
S1 = ([MAX, SKIP, SEP3, DIL3], [MAX, AVG, SKIP, SEP3, SEP5, DIL3, DIL5, TWO])
BY_PROBABILITY = ("TopEdges", {"k": 2, "exclude": ["none"], "by": "probability", "sums_copies": False})
SUMMED = ("TopEdges", {**BY_PROBABILITY[1], "sums_copies": True})
OF_S1 = {MAX: [MAX, AVG], SKIP: [SKIP], SEP3: [SEP3, SEP5], DIL3: [DIL3, DIL5]}

LAYERS = {  # operations of both searches but for `none`, depths, deriver (None: edges by parameters), groups, skips
    "": (S1, (14, 20), None, OF_S1, 2),
    "s2": (
        ([SKIP, SEP3], [SKIP, MAX, "max_pool_5x5", AVG, "avg_pool_5x5", SEP3, SEP5]),
        (14, 20),
        BY_PROBABILITY,
        {SKIP: [SKIP, MAX, "max_pool_5x5", AVG, "avg_pool_5x5"], SEP3: [SEP3, SEP5]},
        1,
    ),
    "s3": (
        ([MAX, SKIP, SEP3, DIL3], [MAX, SKIP, SEP3, SEP5, SEP7, DIL3, DIL5, TWO]),
        (14, 20),
        SUMMED,
        {MAX: [MAX], SKIP: [SKIP], SEP3: [SEP3, SEP5, SEP7], DIL3: [DIL3, DIL5]},
        2,
    ),
    "s4": (
        ([SKIP, SEP3], [SKIP, SEP3, SEP5, DIL3, DIL5, TWO]),
        (14, 20),
        SUMMED,
        {SKIP: [SKIP], SEP3: [SEP3, SEP5, DIL3, DIL5]},
        2,
    ),
    "s5": (([SKIP, SEP3], [SKIP, SEP3]), (14, 20), None, {SKIP: [SKIP], SEP3: [SEP3]}, 1),
    "two_level": (S1, (14, 20), None, OF_S1, 2),
    "no_depth_match": (S1, (8, 8), None, OF_S1, 2),
    "no_groups": ((S1[1][:-1],), (8,), BY_PROBABILITY, None, None),
    # beforehand each operation of S1 is a group of its own, so that both searches have all
    "own_groups": ((S1[1][:-1], S1[1]), (14, 20), SUMMED, None, 2),
    "nas_bench_201": (
        ([AVG, SKIP, "nor_conv_3x3"], [AVG, SKIP, "nor_conv_3x3", "nor_conv_1x1"]),
        (3, 5),
        None,
        {AVG: [AVG], SKIP: [SKIP], "nor_conv_3x3": ["nor_conv_3x3", "nor_conv_1x1"]},
        1,
    ),
}


def printed(capsys, *layers):
    files = [word for layer in layers for word in ("-c", str(ROOT / layer))]
    assert main(["run", *files, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def space(stage):
    return stage["model"]["init_args"]["space"]["init_args"]


def test_every_layer_has_its_row():
    files = [f"layers/job/stacnas_{name}.yaml" for name in LAYERS if name]
    assert sorted(files) == [name for name in of("layers/job") if "stacnas" in name]


@pytest.mark.parametrize("name", LAYERS)
def test_searches_have_the_operations_depths_and_derivation_of_their_layer(name, capsys):
    operations, depths, deriver, groups, skips = LAYERS[name]
    config = printed(capsys, "job/stacnas.yaml", *([f"layers/job/stacnas_{name}.yaml"] if name else []))
    stages = [stage for key, stage in config.items() if key.startswith("stage")]
    given = [space(stage)["operations"] for stage in stages]
    given = [[*S1[1][:-1], "none"] if each == "S1" else each for each in given]
    assert given == [[*names, "none"] for names in operations]
    depth = "cells_per_stage" if name == "nas_bench_201" else "num_cells"
    assert tuple(space(stage)[depth] for stage in stages) == depths
    for key, stage in config.items():
        if key.startswith("stage") or key == "supernet":
            found = stage["model"]["init_args"]["deriver"]
            found = found and (found["class_path"].rpartition(".")[2], found["init_args"])
            assert found == deriver
    arguments = config["job"]["init_args"]
    rule = arguments if name == "own_groups" else arguments["hands_over"].get("init_args", {})
    assert (rule.get("groups"), rule.get("skips")) == (groups, skips)
    if name == "own_groups":
        assert (space(config["supernet"])["num_cells"], space(config["supernet"])["operations"]) == (14, "S1")
        assert (arguments["images"], arguments["clustering"]) == (10_000, {"threshold": 0.25, "count": None})


SEARCH = {key: EXPECTED["search/stacnas.yaml"][key] for key in EXPECTED["search/stacnas.yaml"] if "optim" in key}


def test_the_job_on_imagenet(capsys):
    config = printed(capsys, "job/stacnas_imagenet.yaml")
    for name, cells, operations in (("stage1", 11, S1[0]), ("stage2", 14, S1[1])):
        wanted = {"init_channels": 22, "num_cells": cells, "stem": "imagenet", "operations": [*operations, "none"]}
        assert (
            differing(config[name], {**SEARCH, "model.space": ("DartsSpace", wanted), "trainer.max_epochs": 80}) == {}
        )
        assert differing(config[name], {"data": ("ImageFolderDataModule", {"size": 224, "batch_size": 64})}) == {}
    retraining = {
        "trainer.max_epochs": 250,
        "data": ("ImageFolderDataModule", {"size": 224, "batch_size": 128}),
        "model.network": ("ImageNetNetwork", {"pool_norm": True}),
        "model.init_channels": 48,
        "model.num_cells": 14,
        "model.optim.weights": ("DartsSGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 3e-5}),
        "model.optim.schedule": ("EpochDecayLR", {"gamma": 0.97}),
        "model.optim.label_smoothing": 0.1,
        "model.optim.auxiliary_weight": 0.4,
        "model.optim.drop_path": 0.0,
    }
    assert differing(config["retrain"], retraining) == {}
    rule = config["job"]["init_args"]["hands_over"]["init_args"]
    assert rule == {"groups": OF_S1, "skips": 2}


def test_the_job_of_depth_match(capsys):
    config = printed(capsys, "job/stacnas_depth_match.yaml")
    arguments = config["job"]["init_args"]
    sizes = [[32, 17], [16, 14], [10, 11], [16, 5], [16, 17], [16, 20]]  # appendix C
    assert (arguments["candidates"], arguments["propose_count"], arguments["tolerance"]) == (sizes, 3, 0.1)
    assert (arguments["genotype"], arguments["estimator"]) == ("DARTS_V2", {"draws": 10, "batches": 4, "seed": 0})
    for channels, cells in sizes:
        stage = config[f"search_{channels}x{cells}"]
        wanted = {"init_channels": channels, "num_cells": cells, "operations": [*S1[0], "none"]}
        assert differing(stage, {**SEARCH, "model.space": ("DartsSpace", wanted), "trainer.max_epochs": 100}) == {}
    retraining = {key: value for key, value in EXPECTED["retrain/stacnas.yaml"].items() if key != "model.genotype"}
    assert differing(config["target"], {**retraining, "trainer.max_epochs": 100}) == {}
