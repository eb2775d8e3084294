"""Groups that a search leaves at its end, and that it is the same search without them."""

import pytest
import torch
from pytorch_lightning import Trainer

from lit_nas.callbacks import CorrelateOperators, WriteGenotype, default_callbacks
from lit_nas.correlation import Clustering, OperatorCorrelation
from lit_nas.data import SyntheticDataModule
from lit_nas.spaces import load_operator_groups
from tests.support.tiny import INPUTS, TINY

FILES = ("correlation.csv", "correlation.svg", "groups.json")
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about tiny runs


def data(**arguments):
    shape = {"channels": INPUTS.channels, "height": INPUTS.height, "width": INPUTS.width, "classes": INPUTS.classes}
    return SyntheticDataModule(num_images=24, batch_size=6, **shape, **arguments)


def fit(folder, *callbacks, name="DARTS-first-order", path=None, images=None, **arguments):
    torch.manual_seed(0)
    module = TINY[name]()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), num_sanity_val_steps=0, **arguments,
    )  # fmt: skip
    trainer.fit(module, datamodule=images or data(), ckpt_path=path)
    return module


class Watch(WriteGenotype):
    """Notes which files are there when the genotype, which tells that a stage is finished, is written."""

    def on_fit_end(self, trainer, pl_module):
        self.there = [(self.folder / name).exists() for name in FILES]


def test_a_search_leaves_its_groups_before_its_genotype(tmp_path, capsys):
    watch = Watch()
    watch.folder = tmp_path
    module = fit(tmp_path, watch, CorrelateOperators(24, clustering=Clustering(count=2)))
    assert watch.there == [True] * 3
    groups = load_operator_groups(tmp_path / "groups.json")
    assert len(groups.keys) == 2
    assert capsys.readouterr().out.count("Groups, each behind its key operator") == 1
    images = data()
    images.setup("fit")
    batches = images.training_images(24, torch.device("cpu"))
    found = OperatorCorrelation().measure(module.network, module.architecture, batches, 24)
    assert (tmp_path / "correlation.csv").read_text() == found.csv()


def test_the_search_is_the_same_without(tmp_path):
    one = fit(tmp_path / "one", CorrelateOperators(10, picture=None)).state_dict()
    two = fit(tmp_path / "two").state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not (tmp_path / "one" / "correlation.svg").exists()
    assert not (tmp_path / "two" / "groups.json").exists()


def test_a_search_that_was_finished_but_for_this_writes_it(tmp_path):
    module = TINY["DARTS-first-order"]()
    fit(tmp_path, *default_callbacks(module), CorrelateOperators(10, picture=None))
    first = (tmp_path / "groups.json").read_bytes()
    (tmp_path / "groups.json").unlink()
    last = tmp_path / "checkpoints" / "last.ckpt"
    fit(tmp_path, *default_callbacks(module), CorrelateOperators(10, picture=None), path=last)
    assert (tmp_path / "groups.json").read_bytes() == first


def test_a_trial_leaves_nothing(tmp_path):
    fit(tmp_path, CorrelateOperators(10), fast_dev_run=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "callback", "images", "message"),
    [
        ("MergeNAS", CorrelateOperators(10), None, "share a kernel"),
        ("DARTS-first-order", CorrelateOperators(25), None, "25 training images were asked for"),
        ("DARTS-first-order", CorrelateOperators(9, clustering=Clustering(count=8)), None, "only 7 operations are"),
    ],
)
def test_what_cannot_be_correlated_is_refused_before_the_first_step(name, callback, images, message, tmp_path):
    class Never(WriteGenotype):
        def on_train_batch_start(self, *arguments):
            raise AssertionError

    with pytest.raises(ValueError, match=message):
        fit(tmp_path, callback, Never(), name=name, images=images)


def test_data_of_ones_own_need_images_to_look_at(tmp_path):
    images = data()
    images.training_images = None
    with pytest.raises(ValueError, match="which data for images have and SyntheticDataModule does not"):
        fit(tmp_path, CorrelateOperators(10), images=images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 1}, "CorrelateOperators.images must be at least 2, not 1"),
        ({"picture": "pdf"}, "CorrelateOperators.picture must be svg, png or null, not 'pdf'"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CorrelateOperators(**arguments)
