"""What `lit-nas predict` writes."""

import csv
import json

import pytest
import torch
from PIL import Image

from lit_nas.cli import main
from lit_nas.data import ImageFolderDataModule
from lit_nas.record.recorded_module import load_module

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


def _images(root, *names):
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(i))
        Image.fromarray(pixels.numpy()).save(path)


def _rows(run):
    with (run / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_classes_and_probabilities_are_written(tmp_path, capsys):
    root, new, run = tmp_path / "images", tmp_path / "new", tmp_path / "run"
    _images(root, *(f"train/{name}/{i}.png" for name in ("cat", "dog, old") for i in range(4)))
    _images(root, "test/cat/a.png", "test/dog, old/b.png", "test/dog, old/c.png")
    _images(new, "x.png", "below/y.jpg", "z.webp")
    data = ["--data", "ImageFolderDataModule", "--data.size", "8", "--data.batch_size", "2", "--data.num_workers", "0"]
    data += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    model = ["--model", "RetrainModule", "--model.init_channels", "2", "--model.num_cells", "3"]
    arguments = [*model, *data, "--trainer.default_root_dir", str(run)]
    assert main(["fit", *arguments, "--data.root", str(root), "--trainer.max_epochs", "1"]) == 0
    assert json.loads((run / "classes.json").read_text()) == ["cat", "dog, old"]
    predict = ["predict", *arguments, "--ckpt_path", "last", "--data.root"]

    assert main([*predict, str(root)]) == 0
    names = ("cat/a.png", "dog, old/b.png", "dog, old/c.png")
    assert [row["file"] for row in _rows(run)] == [str(root / "test" / name) for name in names]

    module = load_module(run / "checkpoints" / "last.ckpt").eval()
    for where in (root, run):  # the run folder names the classes where the training images are not at hand
        (run / "predictions.csv").unlink()
        assert main([*predict, str(where), "--data.predict_root", str(new)]) == 0
        rows = _rows(run)
        assert [row["file"] for row in rows] == sorted(str(path) for path in new.rglob("*.*"))
        source = ImageFolderDataModule(str(root), size=8)
        scale, shift = source._constants(torch.device("cpu"))
        images = torch.stack([source.reader(row["file"]) for row in rows])
        found = module(images * scale + shift).softmax(-1).max(-1)
        assert [int(row["class_index"]) for row in rows] == found.indices.tolist()
        assert [row["class"] for row in rows] == [("cat", "dog, old")[label] for label in found.indices.tolist()]
        assert [float(row["probability"]) for row in rows] == pytest.approx(found.values.tolist(), abs=1e-5)

    capsys.readouterr()
    assert main([*predict, str(root), "--data.predict_root", str(tmp_path / "nowhere")]) == 2
    assert "data.predict_root" in capsys.readouterr().err
    (run / "classes.json").write_text('["dog, old", "cat"]')
    assert main([*predict, str(run), "--data.predict_root", str(new)]) == 2
    assert "labels would change their meaning" in capsys.readouterr().err
