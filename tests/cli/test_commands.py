"""The command line as a user meets it."""

import json
import subprocess
import sys
import time

import pytest
import torch
import yaml

from lit_nas.cli import main
from lit_nas.data import SyntheticDataModule
from lit_nas.genotype import load_genotype
from lit_nas.record.recorded_module import load_module

TINY_SEARCH = [
    "--model", "DARTS", "--model.space.init_channels", "2", "--model.space.num_cells", "3", "--model.space.nodes", "2",
    "--data", "SyntheticDataModule", "--data.num_images", "40", "--data.height", "8", "--data.width", "8",
    "--data.batch_size", "4", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1",
    "--trainer.enable_progress_bar", "false", "--trainer.limit_train_batches", "2",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


def folder(path) -> list[str]:
    return ["--trainer.default_root_dir", str(path)]


def test_help_answers_at_once():
    start = time.monotonic()
    answer = subprocess.run([sys.executable, "-m", "lit_nas", "--help"], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 1.0
    for command in ("fit", "validate", "test", "predict", "run", "derive", "describe", "draw"):
        assert command in answer.stdout


def test_import_pulls_in_nothing_heavy():
    heavy = ("wandb", "jsonargparse", "matplotlib", "torch")
    code = f"import sys, lit_nas, lit_nas.cli; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["--version", "describe --help", "draw --help", "derive --help"])
def test_small_commands_and_descriptions_of_spaces_need_no_torch(command):
    code = f"""
import sys
import lit_nas.genotype, lit_nas.spaces
from lit_nas.cli import main
try:
    main({command.split()})
except SystemExit:
    pass
print("torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "False"


HEAVY = ("jsonargparse", "matplotlib", "pytorch_lightning", "sklearn", "torch._dynamo", "torchvision", "wandb")


def imported(command: list[str], modules: tuple[str, ...] = HEAVY) -> str:
    """Which of some modules a command imports, as a fresh process prints them."""
    code = f"""
import sys
from lit_nas.cli import main
sys.stdout.write = lambda text: None
assert main({command}) == 0
print([name for name in {modules} if name in sys.modules], file=sys.stderr)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.strip()


def test_genotype_commands_import_nothing_heavy(tmp_path):
    assert imported(["describe", "DARTS_V2", "--num_cells", "3"]) == "[]"
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path)]) == 0
    checkpoint = str(tmp_path / "checkpoints" / "last.ckpt")
    assert imported(["derive", "--ckpt_path", checkpoint, "-o", str(tmp_path / "derived.json")]) == "[]"
    assert imported(["describe", checkpoint, "--num_cells", "3"]) == "[]"


def test_modules_import_no_tracker_and_no_data_set():
    code = "import sys, lit_nas.methods, lit_nas.data; print([m for m in ('wandb', 'sklearn') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_derive_reads_what_the_search_wrote_and_refuses_the_rest(tmp_path, capsys):
    small = [
        "--model",
        "RetrainModule",
        "--model.num_cells",
        "3",
        "--model.init_channels",
        "4",
        "--data.split",
        "all",
    ]
    assert main(["fit", *TINY_SEARCH[8:], *small, *folder(tmp_path)]) == 0
    checkpoint, target = tmp_path / "checkpoints" / "last.ckpt", str(tmp_path / "derived.json")
    assert main(["derive", "--ckpt_path", str(checkpoint), "-o", str(tmp_path / "retrained.json")]) == 0
    assert load_genotype(tmp_path / "retrained.json").cells == load_genotype("DARTS_V2").cells
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert main(["derive", "--ckpt_path", str(tmp_path / "other.ckpt"), "-o", target]) == 2
    assert "holds no genotype" in capsys.readouterr().err
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 0xFF
    checkpoint.write_bytes(content)
    assert main(["derive", "--ckpt_path", str(checkpoint), "-o", target]) == 2
    assert "cannot be read as a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "derived.json").exists()


def test_help_lists_the_keys_of_the_classes_that_are_named(capsys):
    assert main(["fit", "--model", "DARTS", "--data=CIFAR10DataModule", "--help"]) == 0
    printed = capsys.readouterr().out
    for key in ("--trainer.max_epochs", "--model.order", "--data.root", "--data.split", "--data.batch_size"):
        assert key in printed
    assert "common" not in printed


def test_version_and_mistakes(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lit-nas 0.")
    assert main(["sarch"]) == 2
    assert "no command 'sarch'" in capsys.readouterr().err
    assert main([]) == 2


def test_describe_prints_the_published_counts(capsys):
    assert main(["describe", "DARTS_V2", "darts_v1", "--format", "json"]) == 0
    second, first = json.loads(capsys.readouterr().out)
    assert second["genotype"] == "DARTS_V2"
    assert second["weights"] == 3_349_342
    assert second["weights_auxiliary"] == 476_426
    assert second["multiply_adds"] == 528_359_040
    assert first["weights"] == 3_169_414
    assert main(["describe", "DARTS_V2", "--network", "imagenet", "--format", "json"]) == 0
    (imagenet,) = json.loads(capsys.readouterr().out)
    assert imagenet["weights"] == 4_718_752
    assert imagenet["multiply_adds"] == 529_911_552
    assert main(["describe", "NASNet", "--num_cells", "4", "--init_channels", "8"]) == 0
    assert "convolutions and linear layers" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["describe", "NoSuchNet"], ["draw", "NoSuchNet", "-o", "x.svg"]])
def test_unknown_genotypes_list_the_published(command, capsys):
    assert main(command) == 2
    assert "AmoebaNet, DARTS_RNN_V1, DARTS_RNN_V2, DARTS_V1, DARTS_V2, DropNAS, ENAS_RNN, " in capsys.readouterr().err


def test_draw_writes_a_picture(tmp_path, capsys):
    assert main(["draw", "AmoebaNet", "-o", str(tmp_path / "cell.png")]) == 0
    assert (tmp_path / "cell.png").read_bytes().startswith(b"\x89PNG")
    assert main(["draw", "AmoebaNet", "-o", str(tmp_path / "cell.gif")]) == 2
    assert "gif" in capsys.readouterr().err


def test_search_derive_validate_test_predict(tmp_path, capsys):
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path)]) == 0
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names >= {
        "alphas.csv",
        "checkpoints",
        "config.yaml",
        "cost.json",
        "genotype.json",
        "genotype.svg",
        "genotypes",
    }
    checkpoint = str(tmp_path / "checkpoints" / "last.ckpt")
    assert main(["derive", "--ckpt_path", checkpoint, "-o", str(tmp_path / "derived.json")]) == 0
    derived, written = (json.loads((tmp_path / name).read_text()) for name in ("derived.json", "genotype.json"))
    assert derived == written
    assert set(derived["meta"]) == {"method", "rule", "seed", "epoch", "commit", "held_out", "validation_accuracy"}
    assert main(["describe", checkpoint, "--num_cells", "3"]) == 0
    for command in ("validate", "test", "predict"):
        assert main([command, *TINY_SEARCH, *folder(tmp_path), "--ckpt_path", checkpoint]) == 0
    assert "test/accuracy" in capsys.readouterr().out


def test_second_run_in_a_folder_is_refused_and_resume_goes_on(tmp_path, capsys):
    run = [*TINY_SEARCH, "--trainer.max_epochs", "2", *folder(tmp_path)]
    assert main(["fit", *run, "--trainer.max_steps", "2"]) == 0  # one epoch
    before = (tmp_path / "alphas.csv").read_text()
    assert main(["fit", *run]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (tmp_path / "alphas.csv").read_text() == before
    last = ["--ckpt_path", str(tmp_path / "checkpoints" / "last.ckpt")]
    assert main(["fit", *run, *last]) == 0
    after = (tmp_path / "alphas.csv").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 2 * len(before.splitlines()) - 1


def test_the_configuration_of_a_run_can_be_run_again(tmp_path):
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path / "first")]) == 0
    assert main(["fit", "-c", str(tmp_path / "first" / "config.yaml"), *folder(tmp_path / "second")]) == 0
    for name in ("alphas.csv", "genotype.json"):
        assert (tmp_path / "first" / name).read_text() == (tmp_path / "second" / name).read_text()


def test_shapes_flow_from_the_data(tmp_path):
    arguments = [*TINY_SEARCH, "--data.channels", "1", "--data.height", "12", "--data.classes", "4"]
    assert main(["fit", *arguments, *folder(tmp_path)]) == 0
    content = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    spec = content["lit_nas"]["init_args"]["spec"]
    assert spec.pop("task") == {"class_path": "lit_nas.tasks.Classification", "init_args": {}}
    assert spec == {"channels": 1, "height": 12, "width": 8, "classes": 4}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.space.operations", "[skip_connect,sep_conv_9x9]"], "Unknown operations ['sep_conv_9x9'] in cell"),
        (["--model.space.operations", "[none]"], "no operation"),
        (["--model.order", "3"], "model.order is 3, but must be 1 or 2."),
        (["--model.nonsense", "3"], "model.nonsense is unknown. The keys of DARTS are: space, order, product, optim"),
        (["--model", "Nope"], "model is 'Nope', but there is no such class. The classes of lit-nas for it are: DARTS"),
        (["--data", "Nope"], "for it are: CIFAR100DataModule, CIFAR10DataModule, DigitsDataModule"),
        (["--modle", "DARTS"], "`modle` is unknown (did you mean `model`?)"),
        (["--trainer.gradient_clip_val", "5"], "Set model.optim.clip (now 5.0)"),
        (["--trainer.gradient_clip_algorithm", "norm"], "trainer.gradient_clip_algorithm does not work"),
        (["--trainer.accumulate_grad_batches", "2"], "set model.optim.accumulate (now 1)"),
        (["--data.split", "all"], "without ['arch']. Use `half`"),
        (["--data.split", "thirds"], "one-one-four"),
        (["--data.batch_size", "64"], "data.batch_size is 64"),
        (["--data.height", "6"], "must be multiples of 4"),
        (["--model.optim.weights", "torch.optim.Adam", "--model.order", "2"], "made Adam with 1 group(s)"),
        (["--model.optim.clip", "-1"], "model.optim.clip must not be negative"),
        (["--trainer.max_epochs", "-1"], "trainer.max_epochs >= 1"),
        (["--trainer.max_epochs", "-2"], "trainer.max_epochs is -2, but must be at least -1"),
        (["--trainer.devices", "0"], "trainer.devices is '0', but must be a positive number"),
        (["--trainer.devices", "[0]"], "trainer.devices is [0], but must be a positive number"),
        (["--trainer.accelerator", "tpu"], "(trainer.accelerator is 'tpu')"),
        (["--trainer.accelerator", "foo"], "trainer.accelerator is 'foo', but this machine has no such device"),
        (["--trainer.strategy", "foo"], "trainer.strategy is 'foo'"),
        (["--trainer.max_epoch", "3"], "trainer.max_epoch is unknown (did you mean `max_epochs`?)"),
        (["--trainer.precision", "16-true"], "trainer.precision 16-true does not work for a search"),
        (["--trainer.val_check_interval", "0"], "trainer.val_check_interval is 0, but must be positive"),
        (["--trainer.max_time", "5"], "DD:HH:MM:SS"),
        (
            ["--trainer.callbacks+", "Foo"],
            "trainer.callbacks is 'Foo', but there is no such class. The classes of lit-",
        ),
        (["--trainer.callbacks+", "QueryTable"], "trainer.callbacks.path is missing"),
        (["--trainer", "5"], "trainer is 5, but must be a mapping"),
        (
            ["--model.optim.arch.lrr", "1"],
            "model.optim.arch.lrr is unknown (did you mean `lr`?). The keys of DartsAdam",
        ),
        (
            ["--model.space.foo", "1"],
            "model.space.foo is unknown. The keys of DartsSpace are: init_channels, num_cells",
        ),
        (
            ["--model.space", "Softmax"],
            "lit-nas are: DagSpace, DartsSpace, GDASSpace, MobileSpace, NasBench201Space, Recur",
        ),
        (["--model.space", "torch.nn.Linear"], "model.space is torch.nn.Linear, which is no SearchSpace"),
        (["--model.space.num_cells", "100000"], "space.num_cells must be at most 1000"),
        (
            ["--model.deriver.foo", "3"],
            "set model.deriver to one of ArgmaxPerEdge, EveryChoice, LimitedSkips, TopEdges",
        ),
        (["--model.optim.clip", "nan"], "model.optim.clip is nan, but must be a number"),
        (["--model.optim.clip", ".nan"], "model.optim.clip must not be negative, but is nan"),
        (["--model.optim.weights.lr", "-1"], "model.optim.weights refuses its settings: Invalid learning rate: -1.0"),
        (["--model.optim.arch.betas", "[2,3]"], "model.optim.arch refuses its settings: Invalid beta parameter"),
        (["--data.batch_size", "null"], "data.batch_size is null, but needs a value. Leave it out"),
        (["--model.relaxation", "null"], "model.relaxation is null, but needs a value"),
        (["--model.optim", "null"], "model.optim is null, but needs a value"),
        (["--model.optim.regularizers", "CostTarget"], "model.optim.regularizers is CostTarget, but must be a list"),
        (["--model.optim.arch.betas", "[0.5]"], "model.optim.arch.betas is [0.5], but must be a list of 2 values"),
        (["--model.optim.weights", "torch.optim.LBFGS"], "model.optim.weights is LBFGS"),
        (["--model.optim.schedule", "torch.optim.lr_scheduler.StepLR"], "model.optim.schedule.step_size is missing"),
        (["--model.optim.arch_from_epoch", "1"], "the architecture would never be updated"),
        (["--model.product", "exact"], "only order 2 has such a product"),
        (["--model.spec.classes", "7"], "follows from the data"),
        (["--model.order"], "--model.order needs a value"),
        (["--ckpt_path", ""], "--ckpt_path was given an empty value"),
        (
            ["--data.augmentation.foo", "1"],
            "data.augmentation.foo is unknown. The keys of Augmentation are: crop_padding",
        ),
        (
            ["--data.splt", "half"],
            "data.splt is unknown (did you mean `split`?). The keys of SyntheticDataModule are: num",
        ),
        (["--data.größe", "1"], "data.größe is unknown"),
        (["--seed_everything", "-1"], "seed_everything is -1, but must be a whole number from 0 to 4294967295"),
        (["-c", "absent.yaml"], "There is no configuration 'absent.yaml'"),
        (["order", "2"], "'order' is not understood"),
    ],
)
def test_mistakes_get_one_paragraph_and_leave_the_folder_free(arguments, message, tmp_path, capsys):
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    (error,) = [line for line in lines if line.startswith("lit-nas fit: ")]
    assert message in error
    assert len(error) < 900
    assert not any(word in error for word in ("Namespace(", "Union", "Traceback", "functools"))
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not (tmp_path / "config.yaml").exists()


def test_weights_are_those_of_the_checkpoint(tmp_path, capsys):
    """`last` is resolved for every command, predictions are written, and no command runs untrained weights."""
    data = ["--data.num_images", "200", "--data.batch_size", "20", "--trainer.limit_train_batches", "1.0"]
    run = [*TINY_SEARCH, *data, "--trainer.max_epochs", "2", *folder(tmp_path)]
    for command in ("validate", "test", "predict"):
        assert main([command, *run]) == 2
        assert "needs weights" in capsys.readouterr().err
        assert main([command, *run, "--ckpt_path", "last"]) == 2
        assert "has no checkpoint" in capsys.readouterr().err
    assert main(["fit", *run, "--model.optim.weights.lr", "0.1"]) == 0
    capsys.readouterr()
    for path in ("last", str(tmp_path / "checkpoints" / "last.ckpt")):
        assert main(["test", *run, "--ckpt_path", path]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if "test/accuracy" in line]
    assert len(set(table)) == 1
    accuracy = float(table[0].split("│")[2])
    assert main(["predict", *run, "--ckpt_path", "last"]) == 0
    rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert rows[0] == "file,class,class_index,probability"
    assert rows[1].split(",")[0] == "200"  # the first image behind the training images
    module, images = (
        load_module(tmp_path / "checkpoints" / "last.ckpt").eval(),
        SyntheticDataModule(num_images=200, height=8, width=8, batch_size=20),
    )
    images.setup("test")
    right, total = 0, 0
    for batch in images.test_dataloader():
        batch = images.on_after_batch_transfer(batch, 0)
        predicted = [int(row.split(",")[2]) for row in rows[1 + total : 1 + total + len(batch[1])]]
        assert predicted == module(batch[0]).argmax(-1).tolist()
        right, total = (
            right + sum(p == y for p, y in zip(predicted, batch[1].tolist(), strict=True)),
            total + len(predicted),
        )
    assert total == len(rows) - 1
    assert right / total == pytest.approx(accuracy, abs=1e-4)
    assert main(["test", *run, "--ckpt_path", "best"]) == 2
    (tmp_path / "cut.ckpt").write_bytes(b"PK")
    assert main(["test", *run, "--ckpt_path", str(tmp_path / "cut.ckpt")]) == 2
    assert "truncated" in capsys.readouterr().err


def test_retraining_refuses_what_does_not_fit(tmp_path, capsys):
    (tmp_path / "cut.json").write_text('{"format": "lit-nas genotype", "version": 1, "cel')
    arguments = ["--model", "RetrainModule", *TINY_SEARCH[8:], "--data.split", "all", *folder(tmp_path / "run")]
    for genotype, message in ((tmp_path / "cut.json", "cut.json"), ("NoSuchNet", "Published are")):
        assert main(["fit", *arguments, "--model.genotype", str(genotype)]) == 2
        assert message in capsys.readouterr().err
    search = tmp_path / "search"
    assert main(["fit", *TINY_SEARCH, *folder(search)]) == 0
    capsys.readouterr()
    small = ["--model.num_cells", "3", "--model.init_channels", "4"]
    assert main(["fit", *arguments, *small, "--ckpt_path", str(search / "checkpoints" / "last.ckpt")]) == 2
    assert "written by DARTS, but the model is RetrainModule" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: {class_path: DARTS, init_args: {optim: {arch: {class_path: DartsAdam, init_args: {lrr: 1}}}}}",
         "model.optim.arch.lrr is unknown (did you mean `lr`?). The keys of DartsAdam are: lr, betas"),
        ("model: {class_path: DARTS, init_args: {optim: {clp: 1}}}", "The keys of SearchOptim are: weights, arch"),
        ("model: {class_path: DARTS, init_args: {space: {class_path: DartsSpace, init_args: {foo: 1}}}}",
         "model.space.foo is unknown. The keys of DartsSpace are: init_channels"),
        ("model: {class_path: DARTS, init_args: {space: {class_path: Softmax}}}", "lit-nas are: DagSpace, DartsSpace"),
        ("model: {class_path: DARTS, init_args: {spec: {classes: 7}}}", "layer.yaml' sets model.spec"),
        ("model: {class_path: DARTS, init_arg: {order: 1}}", "did you mean `init_args`?"),
        ("data: {class_path: SyntheticDataModule, init_args: {augmentation: {foo: 1}}}", "keys of Augmentation are"),
        ("modle: {class_path: DARTS}", "`modle` is unknown (did you mean `model`?)"),
        ("trainer: {max_epoch: 3}", "trainer.max_epoch is unknown (did you mean `max_epochs`?)"),
        ("trainer: {max_epochs: 3}\ntrainer: {devices: 1}", "layer.yaml' is not YAML: line 2, column 1: the key"),
        ("", "layer.yaml' is empty"),
        ("- model", "but it holds a list"),
    ],
)  # fmt: skip
def test_mistakes_in_a_file_are_named_by_their_key(content, message, tmp_path, capsys):
    (tmp_path / "layer.yaml").write_text(content)
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path), "-c", str(tmp_path / "layer.yaml")]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lit-nas fit: ")]
    assert message in error


def test_no_arguments_say_what_is_missing(capsys):
    assert main(["fit"]) == 2
    assert "Nothing says which model and data to use. Give a configuration (`-c FILE`)" in capsys.readouterr().err
    assert main(["test", "--model", "DARTS"]) == 2
    assert "Nothing says which data to use" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_machine_without_gpu_says_so(command, tmp_path, capsys):
    assert main([command, *TINY_SEARCH, *folder(tmp_path), "--trainer.accelerator", "gpu"]) == 2
    assert "trainer.accelerator is 'gpu', but this machine has no such device" in capsys.readouterr().err


def test_a_genotype_of_an_unknown_space_is_refused(tmp_path, capsys):
    genotype = load_genotype("DARTS_V1").to_dict()
    (tmp_path / "strange.json").write_text(json.dumps({**genotype, "space": "strange"}))
    assert main(["describe", str(tmp_path / "strange.json")]) == 2
    assert "of the space 'strange', for which no network is known. Spaces are: darts, " in capsys.readouterr().err
    assert main(["describe", str(tmp_path / "strange.json"), "--network", "cifar", "--num_cells", "3"]) == 0
    assert main(["describe", "DARTS_V1", "--num_cells", "100000"]) == 2
    assert "num_cells must be at most 1000" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path / "file" / "run")]) == 2
    assert "trainer.default_root_dir is '" in capsys.readouterr().err
    assert main(["draw", "DARTS_V1", "-o", str(tmp_path / "file" / "cell.svg")]) == 2
    assert "Errno" not in capsys.readouterr().err


def test_regularisers_are_appended_one_by_one(capsys):
    words = ["--model.optim.regularizers+=ZeroOne", "--model.optim.regularizers+=Entropy", "--print_config"]
    with pytest.raises(SystemExit) as printed:
        main(["fit", *TINY_SEARCH, *words])
    assert not printed.value.code
    parts = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["optim"]["regularizers"]
    assert [part["class_path"].rpartition(".")[2] for part in parts] == ["ZeroOne", "Entropy"]
