import json

import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer

from lit_nas.data import Augmentation, ImageFolderDataModule, SyntheticDataModule
from lit_nas.specs import ImageSpec


class _Recorder(LightningModule):
    """Learns next to nothing and remembers a checksum of all it is given."""

    def __init__(self, save_at=None, path=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.save_at, self.path = save_at, path
        self.trained, self.validated = [], []

    def training_step(self, batch, batch_idx):
        sums = {role: (images.double().sum().item(), labels.tolist()) for role, (images, labels) in batch.items()}
        self.trained.append((self.current_epoch, batch_idx, sums))
        return self.layer(batch["weights"][0].mean().view(1)).sum()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.save_at == (self.current_epoch, batch_idx):
            self.trainer.save_checkpoint(self.path)

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch)

    def test_step(self, batch, batch_idx):
        self.validated.append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def _data(**arguments):
    defaults = {"num_images": 80, "height": 8, "width": 8, "classes": 4, "batch_size": 8}
    return SyntheticDataModule(**{**defaults, **arguments})


def _trainer(tmp_path, **arguments):
    defaults = {
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "num_sanity_val_steps": 0,
    }
    return Trainer(default_root_dir=tmp_path, **{**defaults, **arguments})


def _folder(root, train=24, test=12):
    generator = torch.Generator().manual_seed(0)
    for part, count in (("train", train), ("test", test)):
        for i in range(count):
            path = root / part / ("cat", "dog", "emu")[i % 3] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = torch.randint(0, 256, (10, 12, 3), dtype=torch.uint8, generator=generator)
            Image.fromarray(pixels.numpy()).save(path)
    return root


def _files(tmp_path, workers):
    return ImageFolderDataModule(
        str(_folder(tmp_path / "images")),
        size=8,
        in_memory=False,
        random_resized_crop=True,
        num_workers=workers,
        augmentation=Augmentation(0, cutout=2),
        split={"weights": 0.6, "arch": 0.25},
        batch_size=3,
    )


@pytest.mark.parametrize(
    ("make", "save_at"),
    [
        (lambda path: _data(split={"weights": 0.6, "arch": 0.3}), (0, 2)),
        (lambda path: _data(split={"weights": 0.6, "arch": 0.3}), (1, 4)),
        (lambda path: _data(split={"weights": 0.3, "arch": 0.6}), (1, 0)),
        (lambda path: _data(split="all"), (1, 5)),
        (lambda path: _data(split="all"), (0, 9)),
        (lambda path: _files(path, 0), (1, 2)),
        (lambda path: _files(path, 2), (0, 2)),
    ],
)
def test_a_run_continues_in_the_middle_of_an_epoch_with_the_same_batches(tmp_path, make, save_at):
    checkpoint = tmp_path / "a.ckpt"
    whole = _Recorder(save_at, checkpoint)
    _trainer(tmp_path).fit(whole, datamodule=make(tmp_path))
    resumed = _Recorder()
    torch.rand(7)
    _trainer(tmp_path).fit(resumed, datamodule=make(tmp_path), ckpt_path=checkpoint)
    done = [entry[:2] for entry in whole.trained].index(save_at) + 1
    assert 0 < done < len(whole.trained)
    assert resumed.trained == whole.trained[done:]


def test_an_epoch_is_one_pass_over_the_weights(tmp_path):
    for split, batches in (({"weights": 0.6, "arch": 0.2}, 6), ({"weights": 0.2, "arch": 0.6}, 2), ("all", 10)):
        module = _Recorder()
        _trainer(tmp_path).fit(module, datamodule=_data(split=split))
        assert [entry[:2] for entry in module.trained] == [(e, b) for e in range(2) for b in range(batches)]
        assert {tuple(entry[2]) for entry in module.trained} == {("weights", "arch")[: 1 + (split != "all")]}


def test_training_is_augmented_and_validation_is_not(tmp_path):
    data, module = _data(split={"weights": 0.5, "arch": 0.3, "val": 0.2}), _Recorder()
    _trainer(tmp_path, max_epochs=1, num_sanity_val_steps=-1).fit(module, datamodule=data)
    part = data.parts["val"]
    expected = (data._source.images[part].double() / 255 - 0.5) / 0.25
    images = torch.cat([images for images, _ in module.validated])
    # once in the sanity check and once after the epoch
    torch.testing.assert_close(images.double(), torch.cat([expected, expected]), atol=1e-5, rtol=0)
    assert torch.equal(module.validated[0][1], data._source.labels[part[:8]])
    plain, other = _Recorder(), _Recorder()
    for recorder, augmentation in ((plain, Augmentation(0, False)), (other, Augmentation())):
        same = _data(split={"weights": 0.5, "arch": 0.3, "val": 0.2}, augmentation=augmentation)
        _trainer(tmp_path, max_epochs=1).fit(recorder, datamodule=same)
    labels = [[{role: sums[1] for role, sums in entry[2].items()} for entry in r.trained] for r in (plain, other)]
    assert labels[0] == labels[1]
    assert other.trained == module.trained
    assert all(one[2] != two[2] for one, two in zip(plain.trained, other.trained, strict=True))


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        ({"split": {"weights": 0.5, "arch": 0.3, "val": 0.2}}, "val"),
        ({"split": "half"}, "arch"),
        ({"split": "all", "validate_on_test": True}, "test"),
    ],
)
def test_what_validates(arguments, role):
    data = _data(**arguments)
    data.setup("fit")
    labels = torch.cat([batch.labels for batch in data.val_dataloader()])
    assert torch.equal(labels, data._source.labels[data.parts[role]])


def test_nothing_validates_a_split_of_weights_alone(tmp_path):
    module = _Recorder()
    _trainer(tmp_path, max_epochs=1).fit(module, datamodule=_data(split="all"))
    assert module.trained
    assert not module.validated


def test_testing_sees_each_test_image_once(tmp_path):
    module, data = _Recorder(), _data(eval_batch_size=7)
    _trainer(tmp_path).test(module, datamodule=data, verbose=False)
    assert sum(len(labels) for _, labels in module.validated) == data.sizes["test"] == 20


def test_inputs_and_roles_are_known_before_the_images():
    data = _data(split="one-one-four")
    assert data.spec == ImageSpec(3, 8, 8, 4)
    assert data.roles == {"weights", "arch", "test"}
    assert data.sizes == {}
    data.setup("fit")
    assert data.sizes == {"weights": 68, "arch": 16, "test": 16}
    assert data.train_dataloader().keys() == {"weights", "arch"}


def test_synthetic_images_can_be_learned_and_stay_the_same():
    sources = [_data(seed=seed, num_images=400).read() for seed in (0, 1)]
    assert torch.equal(sources[0].images, sources[1].images)
    x, y = sources[0].images.float().flatten(1), sources[0].labels
    means = torch.stack([x[:400][y[:400] == label].mean(0) for label in range(4)])
    assert (torch.cdist(x[400:], means).argmin(1) == y[400:]).float().mean() > 0.95


def test_the_split_is_written_beside_the_results(tmp_path):
    data, path = _data(), tmp_path / "split.json"
    _trainer(tmp_path, max_epochs=1).fit(_Recorder(), datamodule=data)
    saved = json.loads(path.read_text())
    assert saved["name"] == "half"
    assert saved["seed"] == 0
    assert saved["parts"] == {role: part.tolist() for role, part in data.parts.items()}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["classes.json", "split.json"]
    before = path.stat().st_mtime_ns, path.stat().st_ino
    _trainer(tmp_path, max_epochs=1).fit(_Recorder(), datamodule=_data())
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    _trainer(tmp_path, max_epochs=1).fit(_Recorder(), datamodule=_data(split_seed=1))
    assert json.loads(path.read_text())["seed"] == 1


def test_a_dry_run_writes_no_split(tmp_path):
    module = _Recorder()
    _trainer(tmp_path, fast_dev_run=True).fit(module, datamodule=_data())
    assert module.trained
    assert list(tmp_path.iterdir()) == []


def test_another_split_cannot_continue_a_checkpoint(tmp_path):
    path = tmp_path / "a.ckpt"
    _trainer(tmp_path).fit(_Recorder((0, 2), path), datamodule=_data())
    state = torch.load(path, weights_only=True)["SyntheticDataModule"]["split"]
    assert state["sizes"] == {"arch": 40, "test": 20, "weights": 40}
    for changed in ({"split_seed": 1}, {"split": "one-one-four"}, {"limit": 60}):
        with pytest.raises(ValueError, match=r"made with another data\.split: .* was .* and is .*start a new run"):
            _trainer(tmp_path).fit(_Recorder(), datamodule=_data(**changed), ckpt_path=path)


def test_limit_takes_fewer_images():
    data = _data(limit=40)
    data.setup("fit")
    assert data.sizes == {"weights": 20, "arch": 20, "test": 20}


@pytest.mark.parametrize(
    ("split", "count", "images"),
    [("half", 80, "training images"), ("one-one-four", 84, "images that are not tested on")],
)
def test_limit_cannot_be_more_than_there_is(split, count, images):
    all_ = _data(split=split, limit=count)
    all_.setup("fit")
    data = _data(split=split, limit=count + 1)
    with pytest.raises(ValueError, match=rf"data\.limit is {count + 1}, but .* only {count} {images}\. Leave"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size must be at least 1, not 0"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size must be at least 1, not 0"),
        ({"limit": 0}, r"data\.limit must be at least 1, not 0"),
        ({"num_images": 0}, r"data\.num_images must be at least 1, not 0"),
        ({"split": "halves"}, r"data\.split has no name 'halves'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        _data(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validate_on_test": True}, r"data\.validate_on_test is true, but data\.split has the roles \['arch'\]"),
        ({"augmentation": Augmentation(cutout=9)}, r"data\.augmentation\.cutout is 9, which is larger .* 8 x 8 pixels"),
        ({"augmentation": Augmentation(8)}, r"data\.augmentation\.crop_padding is 8, which can move .* out of sight"),
        ({"num_images": 3}, r"SyntheticDataModule has 4 classes, but no training image of \['3'\]"),
    ],
)
def test_what_the_images_contradict_is_refused_before_training(arguments, message):
    with pytest.raises(ValueError, match=message):
        _data(**arguments).setup("fit")


def test_labels_outside_of_the_classes_are_refused():
    data = _data()
    data._source.labels[5] = 4
    with pytest.raises(ValueError, match=r"labels from 0 to 4, but 4 classes, whose labels are 0 to 3"):
        data.setup("fit")


def test_a_batch_larger_than_a_part_is_refused_before_training(tmp_path):
    module = _Recorder()
    with pytest.raises(ValueError, match=r"data\.batch_size is 64 but the part 'weights' has 40 images"):
        _trainer(tmp_path).fit(module, datamodule=_data(batch_size=64))
    assert not module.trained


def test_auto_augment_of_grey_images_is_refused_before_training():
    with pytest.raises(ValueError, match=r"needs 3 channels, but the images have 1"):
        _data(channels=1, augmentation=Augmentation(auto_augment=True)).setup("fit")


def test_overfit_batches_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"trainer\.overfit_batches does not work .* data\.limit"):
        _trainer(tmp_path, overfit_batches=2).fit(_Recorder(), datamodule=_data())


def test_loaders_need_setup():
    with pytest.raises(RuntimeError, match=r"Call setup\('fit'\)"):
        _data().train_dataloader()


class _Retraining(_Recorder):
    merges_roles = True


def _roles(tmp_path, module, data):
    _trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(module, datamodule=data)
    return {role: set(part) for role, part in json.loads((tmp_path / "split.json").read_text())["parts"].items()}


@pytest.mark.parametrize("limit", [None, 60])
@pytest.mark.parametrize("split", ["half", "one-one-four", "all", {"weights": 0.5, "arch": 0.3, "val": 0.2}])
def test_a_module_that_merges_roles_gets_the_search_data_as_one_part(tmp_path, split, limit):
    search = _roles(tmp_path, _Recorder(), _data(split=split, limit=limit))
    data = _data(split=split, limit=limit)
    retrained = _roles(tmp_path, _Retraining(), data)
    assert retrained["weights"] == search["weights"] | search.get("arch", set())
    assert retrained["test"] == search["test"]
    assert retrained.get("val") == search.get("val")
    # the same data serve a search again
    assert _roles(tmp_path, _Recorder(), data) == search


def test_merged_parts_validate_on_the_test_part_if_asked_to(tmp_path):
    module = _Retraining()
    _trainer(tmp_path, max_epochs=1).fit(module, datamodule=_data(split="half", validate_on_test=True))
    assert sum(len(labels) for _, labels in module.validated) == 20


@pytest.mark.parametrize(
    ("search", "retraining", "refused"),
    [
        ({"split": "one-one-four"}, {"split": "one-one-four"}, False),
        ({"split": "one-one-four", "limit": 60}, {"split": "one-one-four"}, False),
        ({"split": "half"}, {"split": "all", "split_seed": 5}, False),
        ({"split": "one-one-four"}, {"split": "all"}, True),
        ({"split": "half"}, {"split": "one-one-four"}, True),
        ({"split": "one-one-four"}, {"split": "one-one-four", "split_seed": 1}, True),
    ],
)
def test_a_retraining_that_tests_on_what_the_search_trained_on_is_refused(search, retraining, refused):
    searched, retrained = _data(**search), _data(**retraining)
    searched.setup("fit")
    retrained.setup("fit")
    trained = torch.cat([searched.parts[role] for role in ("weights", "arch")]).tolist()
    assert bool(set(trained) & set(retrained.parts["test"].tolist())) == refused
    if not refused:
        retrained.refuse_leak(searched.held_out)
        return
    with pytest.raises(ValueError, match=r"would test on images that the search trained on: its test part is .* Give"):
        retrained.refuse_leak(searched.held_out)


def test_other_images_are_named_where_a_leak_cannot_be_told():
    searched = _data(split="one-one-four", num_images=90)
    with pytest.warns(UserWarning, match="images are not those of the search"):
        _data(split="all").refuse_leak(searched.held_out)
    _data(split="all").refuse_leak(_data(split="half", num_images=90).held_out)  # test parts of their own
    _data(split="one-one-four").refuse_leak({"images": {"class": "CIFAR10DataModule"}, "rule": {}})


def test_classes_are_written_and_kept_in_checkpoints(tmp_path):
    path = tmp_path / "a.ckpt"
    _trainer(tmp_path).fit(_Recorder((0, 2), path), datamodule=_data())
    assert json.loads((tmp_path / "classes.json").read_text()) == ["0", "1", "2", "3"]
    state = torch.load(path, weights_only=True)["SyntheticDataModule"]
    assert state["classes"] == ["0", "1", "2", "3"]
    data = _data()
    data.setup("fit")
    data.load_state_dict(state)
    with pytest.raises(ValueError, match=r"made with the classes \['a', .*\], but the data have \['0', '1', "):
        data.load_state_dict({**state, "classes": ["a", "1", "2", "3"]})


def test_images_without_labels_are_listed_and_decoded_to_the_size_of_the_data(tmp_path):
    images = _folder(tmp_path / "new", train=4, test=0)
    (images / ".cache").mkdir()
    (images / ".cache" / "x.png").write_bytes(b"no image")
    data = _data(predict_root=str(images), batch_size=3)
    data.setup("predict")
    assert "_source" not in data.__dict__  # no labelled image is read
    assert data.predicted_names == sorted(str(path) for path in images.rglob("*.png") if ".cache" not in path.parts)
    batches = list(data.predict_dataloader())
    assert [tuple(batch.images.shape) for batch in batches] == [(3, 3, 8, 8), (1, 3, 8, 8)]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [-1] * 4
    data.setup("test")
    assert len(data.test_dataloader()) == 7
    plain = _data()
    plain.setup("predict")
    assert plain.predicted_names == [str(i) for i in range(80, 100)]


def test_a_folder_without_images_to_predict_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data\.predict_root '.*nowhere' is no folder"):
        _data(predict_root=str(tmp_path / "nowhere")).setup("predict")
    with pytest.raises(ValueError, match=r"data\.predict_root .* has no image: looked in it and below .*\.png"):
        _data(predict_root=str(tmp_path)).setup("predict")


def _looked_at(data, count):
    data.setup("fit")
    return torch.cat(list(data.training_images(count, torch.device("cpu"))))


def test_images_to_look_at_are_those_of_training_as_they_are(tmp_path):
    data = _data(split={"weights": 0.5, "arch": 0.25, "val": 0.25}, augmentation=Augmentation(crop_padding=2))
    found = _looked_at(data, 60)
    source = data.read()
    raw = source.images[torch.cat([data.parts["weights"], data.parts["arch"]])].double() / 255
    expected = (raw - 0.5) / 0.25
    torch.testing.assert_close(
        found.double().flatten(1).sum(1).sort().values, expected.flatten(1).sum(1).sort().values, atol=1e-3, rtol=0
    )
    assert torch.equal(_looked_at(_data(split=data.split.fractions), 60), found)  # augmentation counts for nothing
    assert torch.equal(_looked_at(_data(split=data.split.fractions, eval_batch_size=7), 20), found[:20])
    assert not torch.equal(_looked_at(_data(split=data.split.fractions, seed=1), 60), found)
    sizes = [len(batch) for batch in data.training_images(20, torch.device("cpu"))]
    assert sizes == [8, 8, 4]
    with pytest.raises(ValueError, match="leaves 60 to the parts that are trained on"):
        data.training_images(61, torch.device("cpu"))


def test_images_to_look_at_are_not_sorted_by_class(tmp_path):
    data = _data(num_images=800, split="all", split_seed=None)
    source = data.read()
    order = source.labels[: source.train].argsort()
    source.images[: source.train], source.labels[: source.train] = source.images[order], source.labels[order]
    data.read = lambda: source
    found = _looked_at(data, 200)
    keys = {
        image.numpy().tobytes(): int(label) for image, label in zip(_raw(source.images), source.labels, strict=True)
    }
    counts = torch.tensor([keys[image.numpy().tobytes()] for image in found]).bincount(minlength=4)
    assert counts.min() > 25  # a quarter of 200 is 50


def _raw(images):
    """As the loader hands them on, without order."""
    from lit_nas.data.augment import normalise

    scale, shift = 1 / (255 * 0.25), -0.5 / 0.25
    return normalise(images, torch.full((3, 1, 1), scale), torch.full((3, 1, 1), shift))


def test_images_to_look_at_need_data():
    with pytest.raises(RuntimeError, match="The data are not read yet"):
        _data().training_images(3, torch.device("cpu"))
