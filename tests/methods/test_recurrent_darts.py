"""Recurrent DARTS: streams, masks, learning rates and the second order within a search."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch.nn import functional as F

from lit_nas.data import TextFolderDataModule
from lit_nas.language import ActivationPenalty, LanguageDropout, StatedWindow
from lit_nas.methods.recurrent_darts import PAPER, RecurrentDARTS
from lit_nas.search import SearchOptim
from lit_nas.spaces import RecurrentSpace
from lit_nas.windows import Window
from tests.support.tiny_text import SPACE, SPEC, WORDS, random_table, search, windows, write_texts

SEARCH = {
    "trainer.max_epochs": 50,
    "seed_everything": 3,
    "data": (
        "TextFolderDataModule",
        {"batch_size": 256, "eval_batch_size": 10, "window": 35, "half_windows": 0.05, "jitter": 0.0},
    ),
    "model.space": ("RecurrentSpace", {"width": 300, "nodes": 8, "track_running_stats": False}),
    "model.optim.level": "bilevel",
    "model.optim.weights": ("SGD", {"lr": 20.0, "weight_decay": 5e-7, "momentum": 0}),
    "model.optim.schedule": ("ConstantLR", {"factor": 1.0}),
    "model.optim.arch": ("DartsAdam", {"lr": 3e-3, "betas": [0.9, 0.999], "weight_decay": 1e-3}),
    "model.optim.clip": 0.25,
    "model.dropout": {"words": 0.0, "inputs": 0.2, "tokens": 0.75, "states": 0.25, "outputs": 0.75},
    "model.penalty": {"ar": 0.0, "tar": 1e-3},
    "model.passes": "shared",
}
RETRAINING = {
    "trainer.max_epochs": 8000,
    "seed_everything": 1267,
    "model.width": 850,
    "data": (
        "TextFolderDataModule",
        {
            "batch_size": 64, "eval_batch_size": 10, "test_batch_size": 1, "window": 35, "half_windows": 0.05,
            "jitter": 5.0, "shortest": 5, "longest": 20,
        },
    ),
    "model.optim.weights": ("AveragedSGD", {"lr": 20.0, "weight_decay": 8e-7}),
    "model.optim.clip": 0.25,
    "model.optim.non_monotone": 5,
    "model.dropout": {"words": 0.1, "inputs": 0.2, "tokens": 0.75, "states": 0.25, "outputs": 0.75},
    "model.penalty": {"ar": 0.0, "tar": 1e-3},
}  # fmt: skip
EXPECTED = {
    "search/darts_rnn.yaml": {**SEARCH, "model.order": 1},
    "search/darts_rnn_second_order.yaml": {**SEARCH, "model.order": 2},
    "retrain/darts_rnn.yaml": RETRAINING,
    "retrain/darts_rnn_wikitext2.yaml": {
        **RETRAINING,
        "model.width": 700,
        "model.optim.weights": ("AveragedSGD", {"lr": 20.0, "weight_decay": 5e-7}),
        "model.dropout": {"words": 0.1, "inputs": 0.2, "tokens": 0.75, "states": 0.15, "outputs": 0.75},
    },
}


def fit(module, folder, data=None, epochs=1, **arguments):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, **arguments,
    )  # fmt: skip
    trainer.fit(module, windows(3) if data is None else data)
    return trainer


def test_defaults_are_those_of_the_paper():
    module = RecurrentDARTS()
    assert module.architecture.logits["recurrent"].shape == (36, 5)
    assert module.architecture.logits["recurrent"].std() < 2e-3
    assert sum(weight.numel() for weight in module.weights) == 4_810_000
    (optimizer,) = (module.optim.weights(module.network.parameters()),)
    assert len(optimizer.param_groups[0]["params"]) == len(module.weights) == 11  # the tied weights once
    assert module.dropout == LanguageDropout(0.0, 0.2, 0.75, 0.25, 0.75)


class Watch(Callback):
    """Notes what each forward pass saw."""

    def __init__(self):
        self.passes = []

    def setup(self, trainer, pl_module, stage):
        original = pl_module._losses

        def watched(part):
            updates = pl_module.architecture.drawn_for[0]
            lr = trainer.optimizers[0].param_groups[0]["lr"]
            masks = pl_module._masks(part) if pl_module.passes == "shared" else None
            self.passes.append((updates, part.role, part.state.clone(), lr, masks))
            return original(part)

        pl_module._losses = watched


def test_streams_masks_and_rates_of_a_second_order_search(tmp_path):
    module, watch = search(order=2), Watch()
    data = TextFolderDataModule(
        str(write_texts(tmp_path / "text")), batch_size=4, eval_batch_size=3, window=6, half_windows=0.5
    )
    trainer = fit(module, tmp_path, data, callbacks=[watch])
    lengths = [round(6 * window.share) for window in data.train_dataloader()["weights"]]
    assert {3, 6} == set(lengths)
    steps = [watch.passes[i : i + 5] for i in range(0, len(watch.passes), 5)]
    assert len(steps) == len(lengths)
    for length, passes in zip(lengths, steps, strict=True):
        kinds = [(updates, role) for updates, role, *_ in passes]
        assert kinds == [("arch", "weights"), ("arch", "arch"), *[("arch", "weights")] * 2, ("weights", "weights")]
        assert {lr for *_, lr, _ in passes} == {20.0 * length / 6}
        masks = [each[-1] for each in passes]
        for kind, (one, two) in enumerate(zip(masks[0], masks[2], strict=True)):
            assert torch.equal(one, two), kind  # of the virtual step and of both displaced passes
            assert torch.equal(one, masks[3][kind])
        for other in (masks[1], masks[4]):  # of the other stream, and of the step of the weights
            assert any(not torch.equal(one, two) for one, two in zip(masks[0], other, strict=True))
        states = [state for _, role, state, *_ in passes if role == "weights"]
        assert all(torch.equal(states[0], state) for state in states)
    firsts = [passes[0][2] for passes in steps]
    assert not firsts[0].any()
    assert all(state.any() for state in firsts[1:])
    assert any(not torch.equal(one, two) for one, two in zip(steps[0][0][-1], steps[1][0][-1], strict=True))
    assert trainer.optimizers[0].param_groups[0]["lr"] == 20.0
    assert set(module.rank_state()) == {"weights", "arch"}
    assert trainer.callback_metrics["val/perplexity"] == pytest.approx(trainer.callback_metrics["val/loss"].exp())
    assert module.derive().meta["validation_perplexity"] == pytest.approx(
        float(trainer.callback_metrics["val/perplexity"])
    )


def test_each_pass_draws_its_own_masks_in_the_way_of_the_authors_code():
    module = search(passes="independent")
    module.train()
    tokens = random_table(0, 5)
    part = StatedWindow(tokens, tokens, torch.zeros(4, 6))
    module.on_train_batch_start = lambda *arguments: module._seen.clear()
    with module.architecture.drawing("arch"):
        first, second = module._masks(part), module._masks(part)
        module._seen.clear()
        module._drawn.clear()
        again = module._masks(part)
        pieces = [module._masks(piece) for piece in part.cut(2)]  # of the second pass
    assert any(not torch.equal(one, two) for one, two in zip(first, second, strict=True))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert pieces[0].states.shape == (2, 6)
    module.eval()
    assert module._masks(part) == (None,) * 5


def test_masks_that_are_handed_over_are_used():
    module, tokens = search(), random_table(0, 5)
    masks = LanguageDropout().draw(WORDS, 4, torch.zeros(1, 6), torch.Generator().manual_seed(0))
    part = StatedWindow(tokens[:-1], tokens[1:], torch.zeros(4, 6), masks=masks)
    mixture = module.architecture()
    output = module.network(part.tokens, part.state, masks, mixture)
    expected = F.cross_entropy(output.logits.flatten(0, 1), part.targets.flatten())
    torch.testing.assert_close(module.language_loss(part), expected)
    penalised = expected + module.penalty(output.hidden, output.dropped)
    torch.testing.assert_close(module.penalised_loss(part), penalised)
    assert penalised > expected


def test_one_step_of_first_order_is_the_formula(tmp_path):
    """Without dropout, in float64: Adam along the loss of the validation text, clipped SGD with penalties."""
    module = search(dropout=LanguageDropout(0, 0, 0, 0, 0)).double()
    plain = copy.deepcopy(module)
    fit(module, tmp_path, windows(1), precision="64-true")
    batch = {role: next(iter(loader)) for role, loader in windows(1).items()}
    arch = PAPER.arch(plain.architecture.parameters())
    mixture, zeros = plain.architecture(), torch.zeros(4, 6).double()

    def output(role):
        return plain.network(batch[role].tokens, zeros, mixture=mixture)

    F.cross_entropy(output("arch").logits.flatten(0, 1), batch["arch"].targets.flatten()).backward()
    arch.step()
    plain.network.zero_grad()
    mixture = plain.architecture()
    found = output("weights")
    loss = F.cross_entropy(found.logits.flatten(0, 1), batch["weights"].targets.flatten())
    loss = loss + 0.1 * found.hidden.square().mean() + 0.1 * (found.hidden[1:] - found.hidden[:-1]).square().mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.network.parameters(), 0.25)
    torch.optim.SGD(plain.network.parameters(), lr=20.0, weight_decay=5e-7).step()
    for name, value in plain.state_dict().items():
        if name.startswith(("network", "architecture.logits")):
            torch.testing.assert_close(module.state_dict()[name], value, rtol=1e-9, atol=1e-12, msg=name)
    torch.testing.assert_close(module.rank_state()["weights"], found.state)


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_equal_the_batch(parts, tmp_path):
    """BatchNorm aside, which normalises parts by themselves; masks and hidden states are those of the whole batch."""
    whole = search(order=2)
    for each in whole.network.modules():
        if hasattr(each, "norm"):
            each.norm = torch.nn.Identity()
    cut = copy.deepcopy(whole)
    cut.optim = replace(cut.optim, accumulate=parts)
    for module in (whole, cut):
        fit(module, tmp_path, precision="64-true")
    for name, value in whole.state_dict().items():
        if name.startswith(("network", "architecture.logits")):
            torch.testing.assert_close(cut.state_dict()[name], value, rtol=1e-7, atol=1e-9, msg=name)
    torch.testing.assert_close(cut.rank_state()["arch"], whole.rank_state()["arch"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("level", ["alternating", "single"])
def test_one_stream_is_enough_at_other_levels(level, tmp_path):
    module = search(optim=replace(PAPER, level=level))
    before = copy.deepcopy(module.state_dict())
    fit(module, tmp_path, {"weights": windows(3)["weights"]})
    assert set(module.rank_state()) == {"weights"}
    assert not torch.equal(
        before["architecture.logits.recurrent"], module.state_dict()["architecture.logits.recurrent"]
    )


def test_perplexity_does_not_depend_on_the_length_of_windows(tmp_path):
    """All but the BatchNorm: hidden states are carried over, and tokens count, not windows."""
    module = search().double()
    module.network.cell.norm = torch.nn.Identity()
    folder, found = str(write_texts(tmp_path / "text")), []
    for window in (5, 7, 10_000):
        data = TextFolderDataModule(folder, test_batch_size=2, window=window)
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, precision="64-true")
        (scores,) = trainer.test(module, data, verbose=False)
        found.append(scores["test/loss"])
    assert found == pytest.approx([found[0]] * 3, rel=1e-9)
    # more words than a batch fills are left out; a tiny untrained network knows nothing
    assert found[0] == pytest.approx(torch.tensor(float(WORDS)).log().item(), abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 3}, r"model\.order must be 1 or 2, not 3"),
        ({"product": "exact"}, r"model\.product is exact, but only order 2"),
        ({"order": 2, "optim": SearchOptim(level="single")}, r"set model\.order to 1"),
        ({"order": 2, "optim": SearchOptim(clip_by="value")}, r"model\.optim\.clip_by is value, but the virtual step"),
        ({"passes": "some"}, r"model\.passes must be shared or independent, not 'some'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        search(**arguments)


def test_what_cannot_work_is_refused_before_a_step(tmp_path):
    data = TextFolderDataModule(str(write_texts(tmp_path / "text")))
    batches = torch.utils.data.DataLoader([(1, 2)])
    adam = replace(PAPER, weights=partial(torch.optim.Adam, lr=0.1))
    with pytest.raises(ValueError, match=r"model\.optim\.graphs replays a pass as it was captured"):
        fit(search(optim=replace(PAPER, graphs=True)), tmp_path)
    with pytest.raises(ValueError, match=r"data\.test_batch_size is 1, but the network of the search normalises"):
        Trainer(accelerator="cpu", logger=False, enable_progress_bar=False).test(search(), data)
    for size, parts in ((1, 1), (4, 4), (5, 2)):  # the last one is cut into 3 + 2
        texts = TextFolderDataModule(str(tmp_path / "text"), size, window=6)
        found = search(optim=replace(PAPER, accumulate=parts))
        if size == 5:
            fit(found, tmp_path, texts, limit_train_batches=1)
            continue
        with pytest.raises(
            ValueError, match=rf"A single sequence is left .*\(or model\.optim\.accumulate, now {parts}"
        ):
            fit(found, tmp_path, texts)
    with pytest.raises(ValueError, match=r"A batch of the part 'weights' is a list of 2"):
        fit(search(), tmp_path, {"weights": batches, "arch": batches})
    with pytest.raises(ValueError, match=r"unrolls one step of torch\.optim\.SGD"):
        fit(search(order=2, optim=adam), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_it_beats_the_frequencies_of_words(order, tmp_path):
    torch.manual_seed(0)
    # all sentences have seven tokens: of stretches that begin with them BatchNorm would take out where in one they are
    text = str(write_texts(tmp_path / "text", 400))
    data = TextFolderDataModule(text, batch_size=17, eval_batch_size=17, window=10)
    assert (len(data.tokens("train")) // 17) % 7
    assert (len(data.tokens("valid")) // 17) % 7
    # the paper's learning rate is for wide networks and large batches
    optim = replace(PAPER, weights=partial(torch.optim.SGD, lr=5.0))
    dropout = LanguageDropout(0, 0, 0.1, 0.1, 0.1)
    module = RecurrentDARTS(data.spec, RecurrentSpace(width=16, nodes=3), order, optim=optim, dropout=dropout)
    trainer = fit(module, tmp_path, data, epochs=6)
    counts = data.tokens("train").bincount(minlength=WORDS).double()
    unigram = -(counts / counts.sum()).log()[data.tokens("valid")].mean()
    assert trainer.callback_metrics["val/loss"] < unigram - 0.5


def test_windows_are_plain():
    window = Window(random_table(0, 2), random_table(1, 2))
    assert not window.first
    assert window.share == 1.0
    assert ActivationPenalty() == ActivationPenalty(0.0, 1e-3)
    assert SPEC.vocabulary == WORDS
    assert SPACE.nodes == 3
