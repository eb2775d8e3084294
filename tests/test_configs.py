"""Every file under configs/ is run, at a tiny size; a new file is found by itself."""

import itertools
import json
import shlex
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lit_nas.cli import main
from lit_nas.cli.training import TrainingCLI
from lit_nas.genotype import load_genotype
from lit_nas.spaces import Candidates, EdgeCandidates
from tests.support.fake_table import make_table
from tests.support.paper_numbers import all_expected, by_owner, differing
from tests.support.tiny_text import write_texts

ROOT = Path(__file__).parent.parent / "configs"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.yaml"))
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs

SYNTHETIC = ["--data", "SyntheticDataModule", "--data.num_images", "80", "--data.height", "8", "--data.width", "8"]
SYNTHETIC += ["--data.augmentation.cutout", "4"]  # that of CIFAR is larger than these images
TRAINER = ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
AT_ONCE = ["--model.optim.arch_from_epoch", "0"]  # there is but one epoch
CHANNELS = ["--model.space.init_channels", "4"]
SMALL_SEARCH = [*CHANNELS, "--model.space.num_cells", "3", "--model.space.nodes", "2", *AT_ONCE]
SMALL_NAS_BENCH_201 = [*CHANNELS, "--model.space.cells_per_stage", "1", *AT_ONCE]
SMALL_MOBILE = ["--model.space.widths", "[4,4]", "--model.space.blocks", "[2,1]", "--model.space.strides", "[2,1]"]
SMALL_MOBILE += ["--model.space.stem_channels", "4", "--model.space.last_channels", "8", *AT_ONCE]
SMALL_DAGS = ["--model.space.widths", "[2,3]", *AT_ONCE]
SMALL_GDAS = [*CHANNELS, "--model.space.nodes", "2", *AT_ONCE]
SMALL = {
    "DartsSpace": SMALL_SEARCH, "NasBench201Space": SMALL_NAS_BENCH_201, "GDASSpace": SMALL_GDAS, "DagSpace": SMALL_DAGS
}  # fmt: skip
SMALL_RETRAINING = ["--model.init_channels", "4", "--model.num_cells", "3"]
SMALL_DAG_RETRAINING = ["--model.network.init_args.space.init_args.widths", "[2,3]"]
SMALL_BATCH = ["--data.batch_size", "4", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"]


SMALL_TEXT = ["--data.batch_size", "4", "--data.window", "6"]
SMALL_RECURRENT = ["--model.space.width", "6", "--model.space.nodes", "2", *AT_ONCE]

EXPECTED = all_expected()
# what each data layer sets; all else stays as the method has it
DATA = {
    "cifar100": ("CIFAR100DataModule", {"root": "data", "download": True}),
    "digits": ("DigitsDataModule", {"augmentation": {"crop_padding": 1, "flip": False, "cutout": 0}}),
    "fashion_mnist": ("FashionMNISTDataModule", {"root": "data", "download": True}),
    "image_folder": ("ImageFolderDataModule", {"root": "data/images", "size": 32, "split_seed": 0}),
    "svhn": ("SVHNDataModule", {"root": "data", "download": True, "augmentation": {"flip": False}}),
}


def of(folder: str) -> list[str]:
    return [name for name in FILES if name.startswith(f"{folder}/")]


def reads_text(name: str) -> bool:
    """Whether a configuration is for language models."""
    return "TextFolderDataModule" in (ROOT / name).read_text()


def fit(tmp_path, *layers: str, data: list[str] = SYNTHETIC, small: list[str]) -> None:
    configs = [argument for layer in layers for argument in ("-c", str(ROOT / layer))]
    folder = ["--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", *configs, *data, *TRAINER, *small, *SMALL_BATCH, *folder]) == 0


def resolved(*layers: str) -> dict:
    """What a fit of configurations that are laid over each other would run with."""
    files = [argument for layer in layers for argument in ("-c", str(ROOT / layer))]
    cli = TrainingCLI(files, run=False, parse_only=True)
    return yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))


def overlaid(below: dict, above: dict) -> dict:
    """Nested mappings, of which the second one wins."""
    nested = [key for key in below.keys() & above.keys() if isinstance(above[key], dict)]
    return {**below, **above, **{key: overlaid(below[key], above[key]) for key in nested}}


def first_of_each_method() -> list[str]:
    """A configuration of each owner of expectations: its first search, or its first one."""
    return [next(iter(expected)) for expected in by_owner().values()]


def test_every_folder_is_tested():
    folders = {"quickstart.yaml", "search", "retrain", "job", "sweep", "layers"}
    layers = {"data", "executor", "space", "recipe", "logger", "smoke", "table", "job"}
    assert {name.split("/")[0] for name in FILES} == folders
    assert {name.split("/")[1] for name in of("layers")} == layers
    assert {name.removesuffix(".yaml") for name in of("layers/data")} == {f"layers/data/{data}" for data in DATA}


def test_each_configuration_of_a_paper_is_expected_and_each_expectation_has_its_files():
    assert {key for key in EXPECTED if " + " not in key} == {*of("search"), *of("retrain")}
    named = {layer for key in EXPECTED for layer in key.split(" + ")}
    assert named <= set(FILES)
    assert {*of("layers/space"), *of("layers/recipe")} <= named


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is_for(name):
    lines = (ROOT / name).read_text().splitlines()
    comment = [line for line in lines if line.startswith("#")]
    assert lines[0].startswith("# ")
    assert any(line.rstrip().endswith(".") for line in comment)
    *_, command = (  # the last of several
        line for line in comment if line.startswith(("#   lit-nas ", "#   wandb "))
    )
    assert f"configs/{name}" in command


@pytest.mark.parametrize("key", EXPECTED)
def test_numbers_are_those_of_the_paper(key):
    assert differing(resolved(*key.split(" + ")), EXPECTED[key]) == {}


def combinations():
    """Every data set with the first search, and one with the first configuration of each method; others are slow."""
    first = [key.split(" + ")[0] for key in first_of_each_method()]
    for name in [*of("search"), *of("retrain")]:
        if "imagenet" not in name and not reads_text(name):
            for data in DATA:
                quick = name == first[0] or (name in first and data == "digits")
                yield pytest.param(name, data, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("name", "data"), list(combinations()))
def test_a_data_layer_changes_the_data_and_nothing_else(name, data):
    alone, together = resolved(name), resolved(name, f"layers/data/{data}.yaml")
    below, above = alone.pop("data"), together.pop("data")
    assert together == alone  # the folder too: a layer does not know the method
    assert above["class_path"].rpartition(".")[2] == DATA[data][0]
    wanted = overlaid(below["init_args"], DATA[data][1])
    known = above["init_args"]
    assert known == {**known, **{key: value for key, value in wanted.items() if key in known}}


@pytest.mark.parametrize("name", ["quickstart.yaml", *of("search"), *of("retrain"), *of("job")])
def test_a_run_says_on_what_it_runs(name):
    config = yaml.safe_load((ROOT / name).read_text())
    named = [section for section in (config, config.get("search"), config.get("retrain")) if section]
    sections = [section for section in named if "devices" in section.get("trainer", {})]
    assert sections
    for trainer in (section["trainer"] for section in sections):
        assert trainer["devices"] == 1
        on_a_gpu = trainer.get("accelerator") != "cpu"
        # sizes never change but for those of windows of text, and there are no convolutions
        assert trainer.get("benchmark", False) == (on_a_gpu and not reads_text(name))
        assert not (trainer.get("benchmark") and trainer.get("deterministic"))


def searches():
    for name in of("search"):
        if "imagenet" not in name and not reads_text(name):
            yield pytest.param(name, marks=() if name in first_of_each_method() else pytest.mark.slow)


@pytest.mark.parametrize("name", list(searches()))
def test_search_on_digits(name, tmp_path):
    """Real images, by the one data layer that needs no files."""
    space = yaml.safe_load((ROOT / name).read_text())["model"]["init_args"]["space"]["class_path"]
    fit(tmp_path, name, "layers/data/digits.yaml", data=[], small=SMALL[space])
    assert (tmp_path / "genotype.json").exists()
    assert len(json.loads((tmp_path / "classes.json").read_text())) == 10


@pytest.mark.parametrize("key", [key for key in EXPECTED if "layers/space" in key])
def test_search_of_another_space(key, tmp_path):
    space = key.rpartition("/")[2].removesuffix(".yaml")
    small = {"mobile": SMALL_MOBILE, "dags": SMALL_DAGS, "nas_bench_201": SMALL_NAS_BENCH_201}[space]
    fit(tmp_path, *key.split(" + "), small=small)
    assert load_genotype(tmp_path / "genotype.json").space == space


@pytest.mark.parametrize("name", [name for name in of("search") if reads_text(name)])
def test_search_on_text(name, tmp_path):
    data = ["--data.root", str(write_texts(tmp_path / "text")), *SMALL_TEXT]
    fit(tmp_path / "run", name, data=data, small=SMALL_RECURRENT)
    assert load_genotype(tmp_path / "run" / "genotype.json").space == "recurrent"


@pytest.mark.parametrize("name", [name for name in of("retrain") if reads_text(name)])
def test_retraining_on_text(name, tmp_path):
    data = ["--data.root", str(write_texts(tmp_path / "text")), *SMALL_TEXT]
    fit(tmp_path / "run", name, data=data, small=["--model.width", "6"])
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("name", [name for name in of("retrain") if "imagenet" not in name and not reads_text(name)])
def test_retraining(name, tmp_path):
    fit(tmp_path, name, small=SMALL_RETRAINING)
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_retraining_on_digits(tmp_path):
    fit(tmp_path, "retrain/cifar.yaml", "layers/data/digits.yaml", data=[], small=SMALL_RETRAINING)
    assert len(json.loads((tmp_path / "classes.json").read_text())) == 10


def folder_of_images(folder: Path, images: int = 6) -> list[str]:
    for part in ("train", "val"):
        for label, colour in (("cat", "red"), ("dog", "blue")):
            (folder / part / label).mkdir(parents=True)
            for i in range(images):
                Image.new("RGB", (70, 66), colour).save(folder / part / label / f"{i}.png")
    return ["--data.root", str(folder), "--data.num_workers", "0"]


def test_retraining_on_a_folder_of_images(tmp_path):
    data = [*folder_of_images(tmp_path / "images"), "--data.size", "64"]
    for name in ("imagenet", "imagenet_linear"):
        fit(tmp_path / name, f"retrain/{name}.yaml", data=data, small=SMALL_RETRAINING)
        assert (tmp_path / name / "checkpoints" / "last.ckpt").exists()


def test_search_on_a_folder_of_images(tmp_path):
    data = [*folder_of_images(tmp_path / "images", 80), "--data.size", "32"]
    fit(tmp_path / "run", "search/pc_darts_imagenet.yaml", data=data, small=SMALL_SEARCH)
    parts = json.loads((tmp_path / "run" / "split.json").read_text())["parts"]
    assert {role: len(part) for role, part in parts.items() if role != "test"} == {"weights": 16, "arch": 4}


@pytest.mark.slow
def test_a_mobile_search_and_a_mobile_retraining_on_a_folder_of_images(tmp_path):
    data = [*folder_of_images(tmp_path / "images"), "--data.size", "32"]
    halves = ["--data.split", "half"]
    fit(tmp_path / "run", "search/proxylessnas_imagenet.yaml", data=[*data, *halves], small=SMALL_MOBILE)
    assert load_genotype(tmp_path / "run" / "genotype.json").space == "mobile"
    fit(tmp_path / "retrained", "retrain/proxylessnas_imagenet.yaml", data=data, small=[])
    assert (tmp_path / "retrained" / "checkpoints" / "last.ckpt").exists()


def test_a_folder_of_images_in_place_of_cifar(tmp_path):
    data = [*folder_of_images(tmp_path / "images"), "--data.size", "8"]
    fit(tmp_path / "run", "search/darts.yaml", "layers/data/image_folder.yaml", data=data, small=SMALL_SEARCH)
    parts = json.loads((tmp_path / "run" / "split.json").read_text())["parts"]
    assert sorted(parts["weights"]) != list(range(6))  # files are in the order of classes, halves are not


@pytest.mark.parametrize("name", of("layers/logger"))
def test_logger(name, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    small = SMALL_SEARCH
    if "mlflow" in name:
        pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes seconds to be made
        small = [*small, "--trainer.logger.init_args.tracking_uri", "file:runs/mlruns"]
    fit(tmp_path / "run", "search/darts.yaml", name, small=small)
    if "wandb" in name:
        import wandb

        wandb.finish()
    assert list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("layer", "target"),
    [
        ("search", ["search/darts.yaml"]),
        ("search", ["search/darts.yaml", "layers/space/nas_bench_201.yaml"]),
        ("search", ["search/fade.yaml"]),
        ("retrain", ["retrain/cifar.yaml"]),
        ("retrain", ["retrain/nas_bench_201.yaml"]),
    ],
)
def test_smoke_layer(layer, target, tmp_path):
    spaces = {"search/fade.yaml": "DagSpace", "layers/space/nas_bench_201.yaml": "NasBench201Space"}
    space = spaces.get(target[-1], "DartsSpace")
    narrow = {
        "DartsSpace": ["--model.space.nodes", "2", "--model.space.init_channels", "4", "--model.space.num_cells", "3"],
        "NasBench201Space": ["--model.space.init_channels", "4", "--model.space.cells_per_stage", "1"],
        "DagSpace": [],
    }
    fit(tmp_path, *target, f"layers/smoke/{layer}.yaml", small=narrow[space] if layer == "search" else [])
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    if layer == "search":  # it keeps the space
        assert written["model"]["init_args"]["space"]["class_path"].rpartition(".")[2] == space
    assert written["data"]["init_args"]["limit"] == 64


@pytest.mark.parametrize("name", of("layers/table"))
def test_table(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_table().save("data/nas_bench_201.csv")
    layers = ["search/darts.yaml", "layers/space/nas_bench_201.yaml", name]
    fit(tmp_path / "run", *layers, small=SMALL_NAS_BENCH_201)
    assert len((tmp_path / "run" / "table.csv").read_text().splitlines()) == 4


# what makes a job smaller than the arguments of its sections do
SMALLER = {
    "layers/job/stacnas_own_groups.yaml": ["--job.images", "20"],
    "job/stacnas_depth_match.yaml": [
        "--job.candidates", "[[4, 3], [2, 3]]", "--job.propose_count", "1",
        "--job.estimator", '{"draws": 1, "batches": 2}'
    ],
    "job/fade_outer_search.yaml": ["--job.rows", "2", "--job.iterations", "2"],
    "job/fade_outer_search_digits.yaml": ["--job.iterations", "1"],
    "job/fade_ranks.yaml": ["--job.repeats", "[0, 1]", "--job.count", "2"],
    "job/fade_ranks_digits.yaml": ["--job.repeats", "[0]", "--job.count", "3"],
}  # fmt: skip


def run_job(tmp_path, *layers: str, data: list[str] = SYNTHETIC) -> None:
    """Goes through a job at a tiny size, with the files that it takes from others."""
    configs = [yaml.safe_load((ROOT / name).read_text()) for name in layers]
    job = {key: value for config in configs for key, value in config.get("job", {}).get("init_args", {}).items()}
    (tmp_path / "configs").symlink_to(ROOT)  # a job may name files of its own
    (tmp_path / "here.yaml").write_text("executor: InThisProcess")
    if "table" in job:
        make_table().save("data/nas_bench_201.csv")
    if len(layers) == 1 and "alpha_correlation" in layers[0]:
        _leave_a_search(Path(job["genotype"]), *map(Path, job["candidates"]))
    arguments = ["-c", "here.yaml", "--folder", str(tmp_path / "job")]
    arguments += ["--job.seeds", "[0]"] if "seeds" in job else []
    arguments += [word for name in layers for word in SMALLER.get(name, [])]
    for stage in ("search", "retrain"):
        sections = [config[stage] for config in configs if stage in config]
        if not sections:
            continue
        of_bench, of_dags = (name in yaml.safe_dump(sections) for name in ("NasBench201", "DagSpace"))
        if stage == "retrain":
            small = SMALL_DAG_RETRAINING if of_dags else SMALL_RETRAINING
        else:
            small = SMALL_NAS_BENCH_201 if of_bench else SMALL_DAGS if of_dags else SMALL_SEARCH
        if of_text := any(map(reads_text, layers)):
            small = ["--model.width", "6"] if stage == "retrain" else SMALL_RECURRENT
        for argument in [*data, *TRAINER, *small, *(SMALL_TEXT if of_text else SMALL_BATCH)]:
            arguments.append(f"--{stage}.{argument[2:]}" if argument.startswith("--") else argument)
    files = [argument for name in layers for argument in ("-c", str(ROOT / name))]
    assert main(["run", *files, *arguments]) == 0
    assert (tmp_path / "job" / "results.json").exists()


def _leave_a_search(genotype: Path, *stages: Path) -> None:
    """What a job finds of a search by groups that came before it."""
    for candidates, names in zip(
        stages, (("skip_connect", "sep_conv_3x3"), ("sep_conv_3x3", "sep_conv_5x5")), strict=True
    ):
        candidates.parent.mkdir(parents=True)
        edge = EdgeCandidates(0, 2, (*names, "none"), (0.3, 0.4, 0.3))
        Candidates("darts", {"normal": (edge,)}).save(candidates)
    load_genotype("DARTS_V2").save(genotype)


QUICK_JOBS = "quickstart.yaml", "job/language_model.yaml"


@pytest.mark.parametrize(
    "name", [*QUICK_JOBS, *(pytest.param(job, marks=pytest.mark.slow) for job in of("job") if job not in QUICK_JOBS)]
)
def test_job(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    limit = [*SYNTHETIC, "--data.limit", "40"]
    if reads_text(name):
        limit = ["--data.root", str(write_texts(tmp_path / "text"))]
    if name == "job/stacnas_imagenet.yaml":  # whose network halves images five times
        limit += ["--data.height", "64", "--data.width", "64"]
    run_job(tmp_path, name, data=[] if name == "quickstart.yaml" else limit)


@pytest.mark.slow
@pytest.mark.parametrize("layer", of("layers/job"))
def test_layer_of_a_job(layer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_job(tmp_path, "job/stacnas.yaml", layer, data=[*SYNTHETIC, "--data.limit", "40"])


@pytest.mark.parametrize("name", ["job/stacnas.yaml", *(f"job/stacnas.yaml + {layer}" for layer in of("layers/job"))])
def test_a_job_has_the_numbers_of_its_search_and_its_retraining(name, capsys):
    """Stages of StacNAS are those of its configurations of single fits, but for what the job and its layers say."""
    files = [argument for layer in name.split(" + ") for argument in ("-c", str(ROOT / layer))]
    assert main(["run", *files, "--print_config"]) == 0
    stages = yaml.safe_load(capsys.readouterr().out)
    free = {"model.space", "model.deriver", "data", *(["model.optim.level"] if "two_level" in name else [])}
    for stage in (key for key in stages if key.startswith("stage")):
        wanted = {key: value for key, value in EXPECTED["search/stacnas.yaml"].items() if key not in free}
        assert differing(stages[stage], wanted) == {}
        assert stages[stage]["data"]["init_args"]["split"] == ("half" if "two_level" in name else "all")
    if "nas_bench_201" not in name:
        wanted = {key: value for key, value in EXPECTED["retrain/stacnas.yaml"].items() if key != "model.genotype"}
        assert differing(stages["retrain"], wanted) == {}
        sizes = [stages[stage]["model"]["init_args"]["space"]["init_args"] for stage in stages if "stage" in stage]
        depths = [8] if "no_groups" in name else [8, 8] if "no_depth" in name else [14, 20]
        assert [(size["init_channels"], size["num_cells"]) for size in sizes] == [(16, depth) for depth in depths]


@pytest.mark.parametrize("name", of("layers/executor"))
def test_executor(name, tmp_path, capsys):
    words = ["--seeds", "0,1", "--folder", str(tmp_path), "--print_config"]
    assert main(["sweep", "-c", str(ROOT / "search/darts.yaml"), "-c", str(ROOT / name), *words]) == 0
    assert set(yaml.safe_load(capsys.readouterr().out)) >= {"job", "seed_0_fit", "seed_1_fit"}


@pytest.mark.parametrize("name", of("sweep"))
def test_sweep_of_weights_and_biases(name, tmp_path):
    """Every combination of values is one that the command takes."""
    sweep = yaml.safe_load((ROOT / name).read_text())
    script = sweep["command"][sweep["command"].index("-c") + 1]
    words = shlex.split(script.replace("$WANDB_RUN_ID", "run").replace('"$@"', ""))
    assert words[:3] == ["exec", "lit-nas", "fit"]
    values = {key: parameter["values"] for key, parameter in sweep["parameters"].items()}
    for choice in itertools.product(*values.values()):
        arguments = [f"--{key}={value}" for key, value in zip(values, choice, strict=True)]
        cli = TrainingCLI([*[word.replace("configs", str(ROOT), 1) for word in words[3:]], *arguments], run=False,
                          parse_only=True)  # fmt: skip
        written = yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))
        assert written["seed_everything"] == choice[0]
        assert written["model"]["init_args"]["optim"]["arch"]["init_args"]["lr"] == choice[1]
        assert written["trainer"]["default_root_dir"] == "runs/sweep/run"
        assert written["trainer"]["logger"]["init_args"]["offline"] is False
