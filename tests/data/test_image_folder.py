import shutil

import pytest
import torch
from PIL import Image

from lit_nas.data import Augmentation, ImageFolderDataModule
from lit_nas.specs import ImageSpec


def _write(root, part, counts, ending="png"):
    generator = torch.Generator().manual_seed(len(part))
    for name, count in counts.items():
        (root / part / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            # smooth, so that a lossy file is close to it
            coarse = torch.rand(3, 3, 3, generator=generator) * 255
            pixels = torch.nn.functional.interpolate(coarse[None], (20, 24), mode="bilinear")[0].permute(1, 2, 0)
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(root / part / name / f"{i}.{ending}")


@pytest.fixture
def root(tmp_path):
    _write(tmp_path, "train", {"dog": 9, "cat": 6})
    _write(tmp_path, "train", {"cat": 3}, "jpg")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    return tmp_path


def _evaluate(data):
    data.setup("test")
    batches = list(data.test_dataloader())
    return torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])


@pytest.mark.parametrize("part", ["test", "val"])
def test_files_become_images_and_labels(root, part):
    _write(root, part, {"cat": 2, "dog": 1})
    data = ImageFolderDataModule(str(root), size=(10, 12), batch_size=2)
    assert data.spec == ImageSpec(3, 10, 12, 2)
    assert data.classes == ("cat", "dog")
    images, labels = _evaluate(data)
    assert data.sizes == {"weights": 9, "arch": 9, "test": 3}
    assert images.shape == (3, 3, 10, 12)
    assert labels.tolist() == [0, 0, 1]
    assert data._source.labels[:18].bincount().tolist() == [9, 9]


@pytest.mark.parametrize("channels", [1, 3])
def test_memory_and_files_evaluate_the_same_images(root, channels):
    _write(root, "test", {"cat": 3, "dog": 4})
    evaluations = [
        _evaluate(
            ImageFolderDataModule(
                str(root), size=16, channels=channels, in_memory=memory, num_workers=workers, batch_size=3
            )
        )
        for memory, workers in ((True, 4), (False, 0), (False, 2))
    ]
    assert evaluations[0][0].shape == (7, channels, 16, 16)
    for images, labels in evaluations[1:]:
        assert torch.equal(images, evaluations[0][0])
        assert torch.equal(labels, evaluations[0][1])


def test_pixels_survive_when_no_resize_is_needed(root):
    images, _ = _evaluate(ImageFolderDataModule(str(root), size=(20, 24), batch_size=3))
    data = ImageFolderDataModule(str(root), size=(20, 24), batch_size=3)
    source = data.read()
    path = root / "train" / "dog" / "0.png"
    with Image.open(path) as file:
        expected = torch.tensor(list(file.tobytes()), dtype=torch.uint8).view(20, 24, 3).permute(2, 0, 1)
    every = torch.cat([source.images, images])
    assert (every == expected).flatten(1).all(1).any()


def test_without_a_test_folder_a_fraction_is_held_out(root):
    data = ImageFolderDataModule(str(root), size=8, test_fraction=1 / 3, batch_size=2, split="all")
    data.setup("fit")
    assert data.sizes == {"weights": 12, "test": 6}
    again, other = (
        ImageFolderDataModule(str(root), size=8, in_memory=False, seed=seed, split_seed=split_seed).read()
        for seed, split_seed in ((1, 0), (0, 1))
    )
    same = ImageFolderDataModule(str(root), size=8, in_memory=False).read()
    assert again.paths == same.paths
    assert len(set(again.paths)) == 18
    assert set(again.paths[again.train :]) != set(other.paths[other.train :])


def test_constants_follow_the_channels(root):
    assert tuple(ImageFolderDataModule(str(root)).mean) == (0.485, 0.456, 0.406)
    assert tuple(ImageFolderDataModule(str(root), channels=1).std) == (0.5,)
    data = ImageFolderDataModule(str(root), channels=1, mean=[0.25], std=[0.5])
    scale, shift = data._constants(torch.device("cpu"))
    assert (255 * scale + shift).item() == pytest.approx(1.5)
    assert shift.item() == pytest.approx(-0.5)


def test_a_missing_folder_names_what_was_looked_for(tmp_path):
    data = ImageFolderDataModule(str(tmp_path / "nowhere"))
    with pytest.raises(
        FileNotFoundError, match=r"nowhere' has no folder of a class: looked for .*train/CLASS.*test/CL"
    ):
        _ = data.spec


def test_a_class_that_training_lacks_is_refused(root):
    _write(root, "test", {"cat": 1, "emu": 1})
    with pytest.raises(ValueError, match=r"test has the classes \['emu'\].*it has \['cat', 'dog'\]"):
        ImageFolderDataModule(str(root)).setup("fit")


def test_folders_without_images_are_refused(root):
    (root / "test" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"test has 1 folders of classes but no image"):
        ImageFolderDataModule(str(root)).setup("fit")


def test_a_test_part_of_no_image_is_refused(root):
    with pytest.raises(ValueError, match=r"18 training images and 0 test images, but needs both"):
        ImageFolderDataModule(str(root), test_fraction=0.01).setup("fit")


def test_a_corrupt_file_is_named(root):
    (root / "train" / "dog" / "4.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ValueError, match=r"dog/4\.png cannot be decoded"):
        ImageFolderDataModule(str(root), size=8).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 2}, r"data\.channels must be 3 \(RGB\) or 1 \(grey\), not 2"),
        ({"test_fraction": 1.0}, r"data\.test_fraction must lie between 0 and 1, not be 1\.0"),
        ({"num_workers": -1}, r"data\.num_workers must be at least 0, not -1"),
        ({"random_resized_crop": True}, r"data\.random_resized_crop needs the files .*data\.in_memory to false"),
        ({"random_resized_crop": True, "in_memory": False}, r"crop_padding is 4\. Set it to 0"),
        ({"mean": [0.5]}, r"data\.mean has 1 numbers, but data\.channels is 3"),
        ({"std": [0.5, 0.0, 0.5]}, r"data\.std is \[0\.5, 0\.0, 0\.5\], but deviations are positive"),
        ({"size": 0}, r"data\.size must be positive, not \(0, 0\)"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageFolderDataModule(str(tmp_path), augmentation=Augmentation(), **arguments)


def test_a_class_without_images_is_named(root):
    (root / "train" / "emu").mkdir()
    (root / "train" / "emu" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"train has no image of the classes \['emu'\].*Add images, or remove"):
        _ = ImageFolderDataModule(str(root)).spec
    (root / "train" / "emu" / "notes.txt").unlink()
    (root / "train" / "emu").rmdir()
    _write(root, "test", {"cat": 1, "dog": 0})
    with pytest.raises(ValueError, match=r"test has no image of the classes \['dog'\]"):
        ImageFolderDataModule(str(root)).setup("fit")


def test_hidden_folders_are_no_classes(root):
    (root / "train" / ".ipynb_checkpoints").mkdir()
    assert ImageFolderDataModule(str(root)).classes == ("cat", "dog")


def test_a_single_class_is_refused(tmp_path):
    _write(tmp_path, "train", {"cat": 3})
    with pytest.raises(ValueError, match=r"train has the single class 'cat', but a network needs at least 2"):
        _ = ImageFolderDataModule(str(tmp_path)).spec


def test_held_out_images_may_not_have_trained_the_search(root):
    def make(**arguments):
        return ImageFolderDataModule(str(root), size=8, batch_size=2, **arguments)

    for other in ({"split_seed": 1}, {"test_fraction": 0.4}):
        with pytest.raises(ValueError, match=r"would test on images that the search trained on"):
            make(split="all", **other).refuse_leak(make().held_out)
    make(split="all").refuse_leak(make().held_out)
    copy = shutil.copytree(root, root.parent / "copy")
    with pytest.raises(ValueError, match=r"would test on images that the search trained on"):
        ImageFolderDataModule(str(copy), split_seed=1).refuse_leak(make().held_out)  # wherever they lie
    next((copy / "train").rglob("*.png")).unlink()
    with pytest.warns(UserWarning, match="are not those of the search .* cannot be told"):
        ImageFolderDataModule(str(copy)).refuse_leak(make().held_out)  # which moves the permutation
    _write(root, "test", {"cat": 2, "dog": 2})  # a test part of its own
    make(split="all", split_seed=1).refuse_leak(make().held_out)


@pytest.mark.parametrize("in_memory", [True, False])
def test_predicted_files_are_those_of_the_batches(root, in_memory):
    _write(root, "test", {"cat": 2, "dog": 3})
    data = ImageFolderDataModule(str(root), size=8, batch_size=2, in_memory=in_memory, num_workers=0)
    data.setup("predict")
    assert data.class_names == ("cat", "dog")
    names = data.predicted_names
    assert names == [
        str(root / "test" / name / f"{i}.png") for name, count in (("cat", 2), ("dog", 3)) for i in range(count)
    ]
    images = torch.cat([batch.images for batch in data.predict_dataloader()])
    assert torch.equal(images, torch.stack([data.reader(name) for name in names]))


def test_a_run_folder_names_the_classes_of_images_elsewhere(root, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    (run / "classes.json").write_text('["cat", "dog"]')
    data = ImageFolderDataModule(str(run), size=8, predict_root=str(root), num_workers=0)
    assert data.spec == ImageSpec(3, 8, 8, 2)
    data.setup("predict")
    assert len(data.predicted_names) == 18
    with pytest.raises(FileNotFoundError, match=r"has no folder train, without which only images"):
        ImageFolderDataModule(str(run), size=8).setup("fit")
    (run / "classes.json").write_text('{"cat": 0}')
    with pytest.raises(ValueError, match=r"classes\.json is not a list of names of classes"):
        _ = ImageFolderDataModule(str(run), size=8).spec
