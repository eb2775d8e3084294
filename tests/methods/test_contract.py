"""What every method must satisfy; a method that is listed in `tiny.TINY` is tested."""

import copy
import json
import warnings
from functools import partial

import pytest
import torch
import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

import lit_nas.methods
from lit_nas.genotype import Genotype
from lit_nas.networks import DagNetwork
from lit_nas.record.recorded_module import load_module
from lit_nas.relaxations import Categorical, CategoricalPairs
from lit_nas.retrain import RetrainModule, RetrainOptim
from lit_nas.search import TextSearchModule
from tests.support.edge_searches import EDGE_SEARCHES
from tests.support.text import LanguageSearch
from tests.support.tiny import DAGS, INPUTS, TINY, pair, with_representatives
from tests.support.tiny import METHODS as LISTED
from tests.support.tiny_text import TEXT_METHODS, windows

SEARCHES = TINY | EDGE_SEARCHES | TEXT_METHODS | {"text": LanguageSearch}
# edges differ little in what a search does with them
_METHODS = [*with_representatives(), *(pytest.param(name, marks=pytest.mark.slow) for name in EDGE_SEARCHES)]
METHODS = pytest.mark.parametrize("name", _METHODS)
ALL_KINDS = pytest.mark.parametrize("name", [*_METHODS, *TEXT_METHODS, "text"])
"""Of data as well: `contract_data` of a search gives other data than images."""


class Steps(torch.utils.data.Dataset):
    """Batches of all roles, the same ones in every run."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index):
        return {"weights": pair(2 * index), "arch": pair(2 * index + 1)}


def loader(steps: int):
    return torch.utils.data.DataLoader(Steps(steps), batch_size=None)


def fit(module, folder, epochs=1, steps=2, callbacks=(), **arguments):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=bool(callbacks), callbacks=list(callbacks),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        data = windows if isinstance(module, TextSearchModule) else getattr(module, "contract_data", loader)
        trainer.fit(module, data(steps), **arguments)
    return trainer


def snapshot(module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(before, after, prefix: str) -> set[str]:
    return {name for name in before if name.startswith(prefix) and not torch.equal(before[name], after[name])}


def test_every_method_is_listed():
    classes = {type(make()).__name__ for make in (LISTED | TEXT_METHODS).values()}
    assert classes == set(lit_nas.methods.__all__)


@ALL_KINDS
def test_a_step_moves_both_levels(name, tmp_path):
    module = SEARCHES[name]()
    before = snapshot(module)
    fit(module, tmp_path, steps=1)
    after = snapshot(module)
    logits = {key for key in before if key.startswith("architecture.logits")}
    assert logits
    assert changed(before, after, "architecture.logits") == logits
    weights = {f"network.{key}" for key, _ in module.network.named_parameters()}
    moved = changed(before, after, "network.") & weights
    assert moved <= weights if module.architecture.skips else moved == weights
    assert moved
    assert all(value.isfinite().all() for value in after.values())


@ALL_KINDS
def test_each_step_leaves_the_other_level_bit_equal(name, tmp_path):
    module = SEARCHES[name]()
    records = []

    def watch(verb):
        original = getattr(module, verb)

        def watched(*args, **kwargs):
            before = snapshot(module)
            result = original(*args, **kwargs)
            records.append((verb, before, snapshot(module)))
            return result

        setattr(module, verb, watched)

    verbs = ["step_weights", "step_samples", "step_arch", "step_arch_unrolled", "step_prior", "step_both"]
    for verb in verbs:
        watch(verb)
    fit(module, tmp_path, steps=2)
    assert {verb for verb, _, _ in records} & {"step_weights", "step_samples", "step_both"}
    for verb, before, after in records:
        if verb == "step_both":
            assert changed(before, after, "network.")
            assert changed(before, after, "architecture.logits")
        elif verb in ("step_weights", "step_samples"):
            assert not changed(before, after, "architecture.")
            assert changed(before, after, "network.")
        else:
            assert not changed(before, after, "network.")  # weights and running statistics alike
            assert changed(before, after, "architecture.logits")
    for parameter in module.parameters():
        assert parameter.requires_grad


@METHODS
def test_running_statistics_are_those_of_a_plain_loop(name, tmp_path):
    """Only the forward passes of the weight steps may leave traces in the statistics."""
    module = SEARCHES[name]()
    plain = copy.deepcopy(module)
    seen = []

    def watch(original):
        def watched(loss, pair, *more):
            state = {key: value.detach().clone() for key, value in module.architecture.state_dict().items()}
            seen.append((state, more[0].tolist() if more else [1.0]))
            return original(loss, pair, *more)

        return watched

    for verb in ("step_weights", "step_samples", "step_both"):
        setattr(module, verb, watch(getattr(module, verb)))
    fit(module, tmp_path, steps=1)
    ((state, shares),) = seen
    plain.architecture.load_state_dict(state)
    plain.network.train()
    images, _ = pair(0)
    for sample in (number for number, share in enumerate(shares) if share):
        with plain.architecture.drawing("both" if module.optim.level == "single" else "weights", sample):
            for part in images.chunk(module.optim.accumulate):
                plain.network(part, plain.architecture())
    expected, found = dict(plain.network.named_buffers()), dict(module.network.named_buffers())
    assert any("running_var" in key for key in expected) == (module.architecture.space.name != "dags")
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


@METHODS
def test_every_architecture_parameter_gets_a_finite_gradient(name):
    module = SEARCHES[name]()
    module.train()
    if isinstance(module.architecture.relaxation, (Categorical, CategoricalPairs)):
        module.loss = partial(loss_by_score, module)
    for step in range(20 if module.architecture.skips else 1):  # until each edge has drawn what has a gradient
        module.architecture.clock.step.fill_(step)
        module.architecture.forget()
        with module.architecture.drawing("both" if module.optim.level == "single" else "arch"):
            module.loss(pair(0)).backward()
    for key, parameter in module.architecture.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert (parameter.grad != 0).any(-1).all(), key  # every edge


def loss_by_score(module, batch):
    """What has the gradient of children that are drawn, but no path from their loss to the architecture."""
    with module.architecture.drawing("arch"):
        return sum(density.sum() for density in module.architecture.log_densities())


@ALL_KINDS
def test_configuration_survives_a_round_trip(name, tmp_path):
    module = SEARCHES[name]()
    text = yaml.safe_dump(dict(module.hparams))
    assert yaml.safe_load(text) == dict(module.hparams)
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    fit(module, tmp_path, callbacks=[checkpoint])
    again = load_module(checkpoint.last_model_path, trust=("tests",))
    assert type(again) is type(module)
    assert dict(again.hparams) == dict(module.hparams)
    for key, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert again.derive().cells == module.derive().cells


@ALL_KINDS
def test_checkpoint_is_plain(name, tmp_path):
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    fit(SEARCHES[name](), tmp_path, callbacks=[checkpoint])
    content = torch.load(checkpoint.last_model_path, weights_only=True)
    json.dumps({key: value for key, value in content["lit_nas"].items() if key != "rank_state"})  # which are tensors
    assert Genotype.from_dict(content["lit_nas"]["genotype"]).cells
    assert content["global_step"] == 2  # weight steps


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@ALL_KINDS
def test_epoch_end_resume_is_bit_identical(name, tmp_path):
    whole = SEARCHES[name]()
    state = copy.deepcopy(whole.state_dict())
    fit(whole, tmp_path / "whole", epochs=2)

    first = SEARCHES[name]()
    first.load_state_dict(state)

    class Stop(ModelCheckpoint):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            trainer.should_stop = True

    checkpoint = Stop(dirpath=tmp_path / "part", save_last=True)
    fit(first, tmp_path / "part", epochs=2, callbacks=[checkpoint])
    second = SEARCHES[name]()
    fit(second, tmp_path / "rest", epochs=2, ckpt_path=checkpoint.last_model_path)
    for key, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[key], value), key


@METHODS
def test_derived_genotype_trains_in_an_evaluation_network(name, tmp_path):
    genotype = SEARCHES[name]().derive()
    optim = RetrainOptim(auxiliary_weight=0.4 if genotype.space == "darts" else 0.0)
    dags = genotype.space == "dags"
    numbers = {"network": DagNetwork(DAGS)} if dags else {"init_channels": 4, "num_cells": 3}
    module = RetrainModule(genotype.to_dict(), INPUTS, optim=optim, **numbers)
    before = snapshot(module)
    fit(module, tmp_path, steps=1)
    assert changed(before, snapshot(module), "network.")


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_checkpoint_of_another_method_is_refused(tmp_path):
    module = TINY["DARTS-first-order"]()
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    fit(module, tmp_path, callbacks=[checkpoint])
    other = RetrainModule("DARTS_V2", INPUTS, init_channels=4, num_cells=3)
    with pytest.raises(ValueError, match="written by DARTS, but the model is RetrainModule"):
        fit(other, tmp_path, ckpt_path=checkpoint.last_model_path)
