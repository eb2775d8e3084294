"""The command line as a user meets it."""

import json
import subprocess
import sys
import time

import pytest
import torch

from lit_nas.cli import main
from lit_nas.data import SyntheticDataModule
from lit_nas.module import load_module

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


def test_genotype_commands_import_no_lightning():
    code = (
        "import sys; from lit_nas.cli import main; main(['describe', 'DARTS_V2', '--num_cells', '3']); "
        "sys.exit(any(m in sys.modules for m in ('wandb', 'jsonargparse', 'matplotlib', 'pytorch_lightning')))"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


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
    assert "AmoebaNet, DARTS_V1, DARTS_V2, NASNet" in capsys.readouterr().err


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
    assert set(derived["meta"]) == {"method", "rule", "seed", "epoch", "commit", "validation_accuracy"}
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
    inputs = content["lit_nas"]["init_args"]["inputs"]
    assert inputs == {"channels": 1, "height": 12, "width": 8, "classes": 4}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.space.operations", "[skip_connect,sep_conv_9x9]"], "Unknown operations ['sep_conv_9x9'] in cell"),
        (["--model.space.operations", "[none]"], "no operation"),
        (["--model.order", "3"], "Literal[1, 2]"),
        (
            ["--model.nonsense", "3"],
            "'nonsense' is not accepted by lit_nas.methods.DARTS, but these are: inputs, space, order",
        ),
        (["--model", "Nope"], "The classes of lit-nas are: EvaluationModule, DARTS"),
        (["--data", "Nope"], "The classes of lit-nas are: CIFAR10DataModule, CIFAR100DataModule, DigitsDataModule"),
        (["--modle", "DARTS"], "modle"),
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
    run = [*TINY_SEARCH, *data, "--trainer.max_epochs", "6", *folder(tmp_path)]
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
    assert rows[0] == "image,class"
    module, images = (
        load_module(tmp_path / "checkpoints" / "last.ckpt").eval(),
        SyntheticDataModule(num_images=200, height=8, width=8, batch_size=20),
    )
    images.setup("test")
    right, total = 0, 0
    for batch in images.test_dataloader():
        batch = images.on_after_batch_transfer(batch, 0)
        predicted = [int(row.split(",")[1]) for row in rows[1 + total : 1 + total + len(batch[1])]]
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
    arguments = ["--model", "EvaluationModule", *TINY_SEARCH[8:], "--data.split", "all", *folder(tmp_path / "run")]
    for genotype, message in ((tmp_path / "cut.json", "cut.json"), ("NoSuchNet", "Published are")):
        assert main(["fit", *arguments, "--model.genotype", str(genotype)]) == 2
        assert message in capsys.readouterr().err
    search = tmp_path / "search"
    assert main(["fit", *TINY_SEARCH, *folder(search)]) == 0
    capsys.readouterr()
    small = ["--model.num_cells", "3", "--model.init_channels", "4"]
    assert main(["fit", *arguments, *small, "--ckpt_path", str(search / "checkpoints" / "last.ckpt")]) == 2
    assert "written by DARTS, but the model is EvaluationModule" in capsys.readouterr().err
