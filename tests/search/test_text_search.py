"""A search over language models: the verbs know neither images nor labels, only how a batch is cut and counted."""

import copy
import csv
from dataclasses import replace
from functools import partial

import pytest
import torch
import yaml
from pytorch_lightning import Callback, Trainer

from lit_nas.callbacks import LogSettings, WritePredictions
from lit_nas.cli import main
from lit_nas.data import SyntheticDataModule
from lit_nas.methods import DARTS
from lit_nas.record.recorded_module import load_module
from lit_nas.retrain import RetrainModule
from lit_nas.search import SearchOptim
from lit_nas.specs import ImageSpec, TextSpec
from tests.methods.test_contract import changed, snapshot
from tests.support.resume_job import differences, final_state, run, run_ranks
from tests.support.text import ALPHABET, GrammarDataModule, GrammarSpace, LanguageSearch, Window, sentences

CONFIG = {
    "seed_everything": 5,
    "model": {"class_path": "tests.support.text.LanguageSearch"},
    "data": {"class_path": "tests.support.text.GrammarDataModule"},
    "trainer": {
        "accelerator": "cpu", "max_epochs": 3, "limit_train_batches": 4, "log_every_n_steps": 1,
        "enable_progress_bar": False, "enable_model_summary": False, "deterministic": True,
        "callbacks": [{"class_path": "SaveCheckpoints", "init_args": {"every_n_steps": 2}}],
    },
}  # fmt: skip


def search(**optim):
    torch.manual_seed(3)
    return LanguageSearch(TextSpec(len(ALPHABET)), GrammarSpace(), SearchOptim(**optim))


def fit(module, folder, data=None, epochs=2, ckpt_path=None, **arguments):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, use_distributed_sampler=False, **arguments,
    )  # fmt: skip
    trainer.fit(module, GrammarDataModule() if data is None else data, ckpt_path=ckpt_path)
    return trainer


@pytest.mark.slow
def test_it_learns_the_grammar(tmp_path):
    module = search(weights=partial(torch.optim.Adam, lr=0.02))
    before = snapshot(module)
    trainer = fit(module, tmp_path, epochs=25)
    assert trainer.callback_metrics["val/perplexity"] < 6  # of 12 for a model that knows nothing
    assert trainer.callback_metrics["val/perplexity"] == pytest.approx(trainer.callback_metrics["val/loss"].exp())
    assert changed(before, snapshot(module), "architecture.logits")
    assert module.derive().cells["recurrent"].num_nodes == 2


def test_each_step_leaves_the_other_level_bit_equal(tmp_path):
    module, seen = search(), []

    def watch(verb):
        def watched(*arguments, original=getattr(module, verb)):
            before = snapshot(module)
            result = original(*arguments)
            seen.append((verb, before, snapshot(module)))
            return result

        setattr(module, verb, watched)

    watch("step_weights")
    watch("step_arch")
    fit(module, tmp_path, epochs=1)
    assert {verb for verb, _, _ in seen} == {"step_weights", "step_arch"}
    for verb, before, after in seen:
        own, other = ("network.", "architecture.logits")[:: 1 if verb == "step_weights" else -1]
        assert changed(before, after, own)
        assert not changed(before, after, other)


@pytest.mark.parametrize("parts", [2, 3])  # 4 sequences: 2 + 2, and 2 + 2 by chunks of two
def test_parts_of_a_batch_equal_the_batch_in_float64(parts, tmp_path):
    whole = search()
    cut = copy.deepcopy(whole)
    cut.optim = replace(cut.optim, accumulate=parts)
    before = snapshot(whole)
    for module in (whole, cut):
        fit(module, tmp_path, precision="64-true")
    for key, value in snapshot(whole).items():
        torch.testing.assert_close(cut.state_dict()[key], value, rtol=1e-11, atol=1e-13, msg=key)
    assert changed(before, {key: value.to(before[key].dtype) for key, value in snapshot(cut).items()}, "architecture.l")
    for role, state in whole.rank_state().items():
        torch.testing.assert_close(cut.rank_state()[role], state, rtol=1e-11, atol=1e-13)


def test_parts_of_unequal_size_count_by_their_tokens():
    module = search(accumulate=2)
    tokens = torch.arange(15).view(3, 5) % 12
    parts = module.gradients.parts(module.carry("weights", Window(tokens, tokens, True)))
    assert [(len(part.tokens), share) for part, share in parts] == [(2, 2 / 3), (1, 1 / 3)]
    module.cut = lambda batch, parts: [batch, batch]
    with pytest.raises(ValueError, match=r"LanguageSearch\.cut makes parts of the sizes \[15, 15\] out of .* size 15"):
        module.gradients.parts(module.carry("weights", Window(tokens, tokens, True)))


def test_the_mean_of_an_epoch_weighs_windows_by_their_tokens(tmp_path):
    still = partial(torch.optim.SGD, lr=0.0)
    module = search(weights=still, arch=still)
    trainer = fit(module, tmp_path, GrammarDataModule(length=12, window=8), epochs=1)
    text = sentences(1, 48).view(4, 12)  # windows of 8 and 3 tokens
    with torch.no_grad():
        (mixture,) = module.architecture()
        logits, _ = module.network(text[:, :-1], torch.zeros(4, 6), mixture)
        halves = [
            torch.nn.functional.cross_entropy(logits[:, part].flatten(0, 1), text[:, 1:][:, part].flatten())
            + module.smoothness * (logits[:, part][:, 1:] - logits[:, part][:, :-1]).square().mean((0, 2)).sum()
            for part in (slice(0, 8), slice(8, 11))
        ]
    expected = (8 * halves[0] + 3 * halves[1]).item() / 11
    assert trainer.callback_metrics["weights/loss"].item() == pytest.approx(expected, rel=1e-5)
    assert abs(halves[0] - halves[1]) > 1e-2


def test_hidden_states_are_carried_from_window_to_window():
    """Two windows, one after the other, predict what the whole text in one window does."""
    module, text = search().double(), sentences(9, 2 * 21).view(2, 21)
    (mixture,) = module.architecture()
    expected, _ = module.network(text[:, :20], torch.zeros(2, 6).double(), mixture)
    found = []
    for start in (0, 10):
        window = module.carry("val", Window(text[:, start : start + 10], text[:, start + 1 : start + 11], start == 0))
        logits, module._carried["val"] = module.network(window.tokens, window.state, mixture)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, 1), expected)


class Begin(Callback):
    """Keeps the state with which a run begins, and may end it after its first epoch."""

    def __init__(self, stop=False):
        self.state, self.stop = {}, stop

    def on_train_start(self, trainer, pl_module):
        self.state = snapshot(pl_module) | pl_module.rank_state()

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = self.stop


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_state_in_float64_is_not_rounded_when_a_run_continues(tmp_path):
    first, begin = search(), Begin()
    trainer = fit(first, tmp_path, precision="64-true", callbacks=[Begin(stop=True)])
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    fit(search(), tmp_path, precision="64-true", callbacks=[begin], ckpt_path=tmp_path / "x.ckpt")
    expected = snapshot(first) | first.rank_state()
    assert {"weights", "arch", "network.bias", "architecture.logits.recurrent"} <= set(expected)
    for key, value in expected.items():
        if not key.startswith("losses"):  # which are empty between epochs
            assert begin.state[key].dtype == value.dtype, key
            assert torch.equal(begin.state[key], value), key


# -- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "in.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def job(config, folder, *more):
    return ["fit", "-c", str(config), "--trainer.default_root_dir", str(folder), *more]


@pytest.mark.slow
def test_a_killed_run_continues_bit_identically(config, tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run(job(config, whole)) == 0
    assert run(job(config, part), "SIGKILL", 7) == -9  # in an epoch, so that hidden states are carried over
    assert run(job(config, part, "--ckpt_path", "last")) == 0
    assert int((part / "steps.txt").read_text()) == 6
    expected = final_state(whole)
    assert set(expected["checkpoint"]["lit_nas"]["rank_state"][0]) == {"weights", "arch"}
    assert expected["checkpoint"]["lit_nas"]["init_args"]["spec"] == {"vocabulary": 12}
    assert differences(expected, final_state(part)) == []
    with (whole / "metrics.csv").open(newline="") as file:
        assert {"val/perplexity", "weights/loss", "alpha/recurrent/0-1/skip_connect"} <= set(next(csv.reader(file)))
    module = load_module(whole / "checkpoints" / "last.ckpt", trust=["tests"])
    assert module.spec == TextSpec(12)
    assert module.derive().cells == load_module(part / "checkpoints" / "last.ckpt", trust=["tests"]).derive().cells
    assert (whole / "genotype.json").exists()


@pytest.mark.slow
def test_two_processes_equal_one_and_continue_exactly(config, tmp_path):
    ranks = [
        {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "WORLD_SIZE": "2", "NODE_RANK": "0", "LOCAL_RANK": str(rank)}
        for rank in range(2)
    ]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.precision", "64-true"]
    double = ["--data.batch_size", "8", "--data.eval_batch_size", "4", "--trainer.precision", "64-true"]
    whole, part, one = tmp_path / "whole", tmp_path / "part", tmp_path / "one"
    assert together(job(config, whole, *two), ranks) == [0, 0]
    assert run(job(config, one, *double)) == 0
    found, expected = (final_state(folder)["checkpoint"] for folder in (whole, one))
    for key, value in expected["state_dict"].items():
        if not key.startswith(("losses", "val_loss")):  # metrics hold the shard of their rank
            torch.testing.assert_close(found["state_dict"][key], value, rtol=1e-10, atol=1e-12, msg=key)
    for role in ("weights", "arch"):
        states = [rank[role] for rank in found["lit_nas"]["rank_state"]]
        torch.testing.assert_close(torch.cat(states), expected["lit_nas"]["rank_state"][0][role])
        assert not torch.equal(*states)
    assert set(together(job(config, part, *two), ranks, "SIGTERM", 5)) == {143}
    assert together(job(config, part, *two, "--ckpt_path", "last"), ranks) == [0, 0]
    assert differences(final_state(whole), final_state(part)) == []


def together(arguments, ranks, *bomb):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return run_ranks(arguments, [{**rank, "MASTER_PORT": port} for rank in ranks], *bomb)


# -- kinds of data ---------------------------------------------------------------------------------------------------


def test_a_model_is_refused_data_of_another_kind_on_the_command_line(config, tmp_path, capsys):
    for model, data, message in (
        ("DARTS", "tests.support.text.GrammarDataModule", r"TextSpec(vocabulary=12), but DARTS is a model for images"),
        ("RetrainModule", "tests.support.text.GrammarDataModule", "RetrainModule is a model for images"),
        ("tests.support.text.LanguageSearch", "DigitsDataModule", "LanguageSearch is a model for token sequences"),
    ):
        folder = ["--trainer.default_root_dir", str(tmp_path / "run"), "--trainer.max_epochs", "1"]
        assert main(["fit", "--model", model, "--data", data, *folder]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.startswith("lit-nas fit: What ")
        assert said.count("\n") <= 2  # one sentence, and where to read more


def test_a_model_is_refused_data_of_another_kind_in_python(tmp_path):
    with pytest.raises(ValueError, match=r"spec is TextSpec\(vocabulary=5\), but DARTS is a model for images"):
        DARTS(TextSpec(5))
    with pytest.raises(ValueError, match=r"RetrainModule is a model for images, described by ImageSpec"):
        RetrainModule("DARTS_V2", TextSpec(5))
    with pytest.raises(ValueError, match=r"LanguageSearch is a model for token sequences, described by TextSpec"):
        LanguageSearch(ImageSpec())
    with pytest.raises(ValueError, match=r"SyntheticDataModule\.spec is ImageSpec.*a model for token sequences"):
        fit(search(), tmp_path, SyntheticDataModule(num_images=24, batch_size=4))
    with pytest.raises(ValueError, match=r"built for TextSpec\(vocabulary=12\), but GrammarDataModule .*=13\)"):
        fit(search(), tmp_path, GrammarDataModule(vocabulary=13))


def test_the_name_before_is_refused_as_any_unknown_argument():
    with pytest.raises(TypeError, match="unexpected keyword argument 'inputs'"):
        DARTS(inputs=ImageSpec())


def test_a_part_that_is_missing_is_named(tmp_path):
    data = GrammarDataModule()
    data.train_dataloader = lambda: {"weights": data._loader(1, 4, 20)}
    with pytest.raises(ValueError, match=r"LanguageSearch needs the parts \['arch', 'weights'\] and \['arch'\] is"):
        fit(search(), tmp_path, data)


def test_the_size_of_a_step_is_said_in_sequences(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(LanguageSearch, "paper_batch_size", 256)
    with caplog.at_level("INFO", logger="pytorch_lightning.utilities.rank_zero"):
        fit(search(), tmp_path, epochs=1, callbacks=[LogSettings()])
    assert "Token sequences in each step: 4; the learning rates of the paper belong to 256." in caplog.text


def test_more_parts_than_sequences_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be cut into more parts than it has token sequences"):
        fit(search(accumulate=5), tmp_path)


def test_predictions_of_a_language_model_are_not_written_as_classes(tmp_path):
    trainer = Trainer(
        accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[WritePredictions()],
    )  # fmt: skip
    module = search()
    module.predict_step = lambda batch, batch_idx: batch.tokens
    with pytest.raises(ValueError, match="writes the classes of images, but LanguageSearch predicts Tensor"):
        trainer.predict(module, GrammarDataModule().val_dataloader())
