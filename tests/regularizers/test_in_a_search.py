"""Regularisers in the steps of a search: their gradient, and nothing but their gradient, moves the architecture."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch.func import functional_call

from lit_nas.architecture import Architecture
from lit_nas.methods import DARTS
from lit_nas.optim import frozen_statistics
from lit_nas.record.recorded_module import load_module
from lit_nas.regularizers import CostFactor, Entropy, ExpectedCost, MaxNorm, ResourceCost, ZeroOne
from lit_nas.relaxations import Sigmoid
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim, gradients, lifecycle
from tests.methods.test_contract import changed, loader, snapshot
from tests.search.test_cuda_graphs import Eager
from tests.search.test_search_module import FrozenNorms, double_loss, fit, float16
from tests.support.edge_searches import EDGE_SEARCHES
from tests.support.tiny import INPUTS, PARTS, SPACE, TINY, VARIANTS, pair
from tests.test_waits import made, run

SEARCHES = TINY | EDGE_SEARCHES
QUICK = ("DARTS-first-order", "DARTS-second-order-exact", "EntmaxDARTS", "GDAS", "weighted edges")


def each(names, quick=QUICK):
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


METHODS = pytest.mark.parametrize("name", each(TINY, ("DARTS-first-order", "EntmaxDARTS")))
ADDED = tuple(part for part in PARTS if not part.takes_loss)
SHARED = tuple(part for part in PARTS if not {"measure", "measures"} & set(vars(part)))
"""Those that fit candidates which share a kernel and have no cost."""


def double(name, **optim):
    """A method in float64, whose architecture moves by its gradient itself."""
    module = SEARCHES[name]().double()
    module.optim = replace(module.optim, arch=partial(torch.optim.SGD, lr=1.0), **optim)
    module.loss = partial(double_loss, module)
    return module


def regularised(module, loss):
    """The loss with all parts, made anew."""
    total, view = loss, module.regularisation._view()
    for part in module.optim.regularizers:
        total = part(total, part.value(view), part.strength(view.clock))
    return total


def first_order(module):
    level = "both" if module.optim.level == "single" else "arch"
    with frozen_statistics(module.norms), module.architecture.drawing(level):
        return module.loss(pair(1 if module.optim.level == "bilevel" else 0))


def second_order(module):
    """The validation loss after a whole step of SGD, which autograd sees through: lr 0.025, weight decay 3e-4."""
    names, weights = zip(*module.network.named_parameters(), strict=True)
    with frozen_statistics(module.norms), module.architecture.drawing("arch"):
        gradient = torch.autograd.grad(
            module.loss(pair(0)), weights, create_graph=True, allow_unused=True, materialize_grads=True
        )
        moved = {n: w - 0.025 * (g + 3e-4 * w) for n, w, g in zip(names, weights, gradient, strict=True)}
        images, labels = pair(1)
        scores = functional_call(module.network, moved, (images.double(), module.architecture()))
    return torch.nn.functional.cross_entropy(scores, labels)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # where weights take no step
@pytest.mark.parametrize(
    "name", each(name for name, make in SEARCHES.items() if getattr(make(), "order", 1) == 1 or "exact" in name)
)
def test_a_step_descends_along_the_gradient_of_the_whole_loss(name):
    """Against autograd through everything at once, for every part and every way of stepping."""
    parts = SHARED if name == "merged kernels" else PARTS
    module = double(name, regularizers=parts)
    architecture, level = module.architecture, "both" if module.optim.level == "single" else "arch"
    if getattr(module, "order", 1) == 1:  # so that the order of both levels does not matter
        module.optim = replace(module.optim, weights=partial(torch.optim.SGD, lr=0.0))
    loss = (first_order if getattr(module, "order", 1) == 1 else second_order)(module)
    logits = list(architecture.parameters())
    with architecture.drawing(level):  # regularisers see what the step expects, and what it draws has the last word
        gradient = torch.autograd.grad(regularised(module, loss), logits)
        expected = [p.detach() - g for p, g in zip(logits, gradient, strict=True)]
        for number, cell in enumerate(architecture.logits):
            if architecture.relaxation.settles:
                before, mask, draw = logits[number].detach(), architecture.mask(cell), architecture._drawn(cell)
                expected[number] = architecture.relaxation.settled(before, expected[number], mask, draw)
    fit(module, steps=1)
    for found, each in zip(logits, expected, strict=True):
        torch.testing.assert_close(found.detach(), each, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "name",
    each((name for name, make in TINY.items() if make().order == 2 and "exact" not in name), ("DARTS-second-order",)),
)
def test_the_second_order_by_differences_has_the_same_terms(name):
    plain, other = double(name), double(name, regularizers=ADDED)
    other.load_state_dict(plain.state_dict())
    terms = regularised(other, torch.zeros((), dtype=torch.float64))
    gradient = torch.autograd.grad(terms, list(other.architecture.parameters()))
    for module in (plain, other):
        fit(module, steps=1)
    both = zip(plain.architecture.parameters(), other.architecture.parameters(), gradient, strict=True)
    for without, found, own in both:
        torch.testing.assert_close(found.detach(), without.detach() - own, rtol=1e-10, atol=1e-12)


@METHODS
def test_weights_do_not_see_them(name):
    """In the first step of the weights the architecture is that of the start, or has been put back to it."""
    plain, other = double(name), double(name, regularizers=PARTS)
    other.load_state_dict(plain.state_dict())
    for module in (plain, other):
        if module.optim.level != "single":
            module.apply_arch_gradient = lambda *arguments, **named: None
        fit(module, steps=1)
    moved = changed(snapshot(plain), snapshot(other), "")
    assert not {key for key in moved if key.startswith("network.")}
    assert bool(moved) == (plain.optim.level == "single")


@METHODS
def test_without_strength_nothing_changes(name):
    plain, other = TINY[name](), TINY[name]()
    other.load_state_dict(plain.state_dict())
    other.optim = replace(other.optim, regularizers=tuple(replace(part, strength=Constant(0.0)) for part in ADDED))
    fit(plain, steps=1)
    fit(other, steps=1)
    assert not changed(snapshot(plain), snapshot(other), "")


def test_no_regulariser_returns_the_gradient_itself():
    module, gradient = TINY["DARTS-first-order"](), [torch.ones(2), torch.ones(3)]
    assert module.regularisation.add(gradient, None) == (gradient, {})


@pytest.mark.parametrize("name", each(["DARTS-first-order", "EntmaxDARTS", "DARTS-second-order"], QUICK[:1]))
def test_they_enter_once_a_step_however_it_is_cut(name):
    whole, cut = double(name, regularizers=PARTS), double(name, regularizers=PARTS, accumulate=3)
    cut.load_state_dict(whole.state_dict())
    for module in (whole, cut):
        fit(module, steps=1, callbacks=[FrozenNorms()])
    for key, value in snapshot(whole).items():
        torch.testing.assert_close(snapshot(cut)[key], value, rtol=1e-5, atol=1e-7, msg=key)


@pytest.mark.parametrize("level", each(["bilevel", "alternating", "single"], ("bilevel",)))
def test_the_scale_of_float16_does_not_reach_them(level):
    steps = []
    for parts in ((), ADDED):
        torch.manual_seed(0)
        optim = SearchOptim(arch=partial(torch.optim.SGD, lr=1.0), level=level, regularizers=parts)
        module = DARTS(INPUTS, SPACE, optim=optim)
        start = snapshot(module)
        view = module.regularisation._view()
        expected = torch.autograd.grad(
            sum(part.value(view) * part.strength(view.clock) for part in ADDED), list(module.architecture.parameters())
        )
        fit(module, steps=1, plugins=float16(2.0**10))
        steps.append([snapshot(module)[key] - start[key] for key in start if "logits" in key])
    for without, with_them, gradient in zip(*steps, expected, strict=True):
        torch.testing.assert_close(with_them - without, -gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["DARTS-first-order", "EntmaxDARTS"])
def test_replayed_gradients_are_regularised_all_the_same(name, monkeypatch):
    monkeypatch.setattr(gradients, "CapturedGradient", Eager)
    monkeypatch.setattr(lifecycle, "check_graphs", lambda module: None)
    plain, graphs = TINY[name](), TINY[name]()
    graphs.load_state_dict(plain.state_dict())
    for module in (plain, graphs):
        module.optim = replace(module.optim, regularizers=PARTS, graphs=module is graphs)
        fit(module, steps=2)
    assert not changed(snapshot(plain), snapshot(graphs), "")


@pytest.mark.parametrize("name", each(["DARTS-first-order", "DARTS-second-order", "EntmaxDARTS"], QUICK[:1]))
def test_steps_wait_for_nothing(name, tmp_path):
    factors = MaxNorm(Constant(1.0), tuple(map(float, range(10))))
    assert run(made(name, regularizers=(*PARTS, factors, ExpectedCost(reference=5.0))), tmp_path) == []


def test_they_are_logged_at_the_usual_rate_and_after_each_epoch(tmp_path):
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=CSVLogger(tmp_path, "", ""), log_every_n_steps=2,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(DARTS(INPUTS, SPACE, optim=SearchOptim(regularizers=[ZeroOne(), ZeroOne(form="absolute")])), loader(4))
    header, *rows = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    for name in ("arch/zero_one", "arch/zero_one_2"):
        found = [(row[header.index(name)], row[header.index("step")]) for row in rows if row[header.index(name)]]
        assert [step for _, step in found] == ["1", "3", "4"]  # every second step, and the end of the epoch
    first = next(row[header.index("arch/zero_one_2")] for row in rows if row[header.index("arch/zero_one_2")])
    assert float(first) == pytest.approx(-0.375, abs=1e-3)  # of eight equal candidates


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # weights take no step
def test_a_factor_needs_a_loss():
    class Own(DARTS):
        def training_step(self, batch, batch_idx):
            self.apply_arch_gradient([torch.zeros_like(p) for p in self.architecture.parameters()])

    fit(Own(INPUTS, SPACE, optim=SearchOptim(regularizers=[ZeroOne()])), steps=1)
    with pytest.raises(ValueError, match="CostFactor multiplies the loss of the architecture, but Own computes"):
        fit(Own(INPUTS, SPACE, optim=SearchOptim(regularizers=[CostFactor()])), steps=1)


def test_what_does_not_fit_the_space_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match=r"MaxNorm\.factors has the length 2"):
        fit(DARTS(INPUTS, SPACE, optim=SearchOptim(regularizers=[MaxNorm(Constant(1.0), (1.0, 2.0))])), steps=1)


def test_candidates_that_do_not_compete_have_no_entropy():
    module = DARTS(INPUTS, SPACE, optim=SearchOptim(regularizers=[Entropy(Constant(1.0))]))
    module.architecture = Architecture(SPACE, Sigmoid())
    with pytest.raises(ValueError, match=r"Entropy compares candidates that compete.* under Sigmoid do not sum to 1"):
        fit(module, steps=1)


def test_merged_candidates_have_no_expected_cost():
    module = EDGE_SEARCHES["merged kernels"]()
    module.optim = replace(module.optim, regularizers=(ResourceCost(estimator="expected"),))
    with pytest.raises(ValueError, match="share their weights, so that none has a cost of its own"):
        fit(module, steps=1)


def test_a_candidate_costs_as_much_as_its_edge_weighs():
    """What derivation compares is what costs are counted by; equal edges stand for the reference."""
    module = double("weighted edges")
    architecture = module.architecture
    architecture.prune("normal", torch.arange(40).view(5, 8) % 40 < 32)  # an edge without candidates
    for level in (architecture.logits, architecture.edge_logits):
        for logits in level.values():
            logits.data.normal_()
    view = module.regularisation._view()
    table, shares = view.costs("parameters"), architecture.importance()
    expected = table.fixed + sum(float((shares[name] * cost).sum()) for name, cost in table.by_type.items())
    assert float(ExpectedCost(reference=10.0).value(view).detach()) == pytest.approx(expected / 10 - 1, rel=1e-9)
    gradient = torch.autograd.grad(ExpectedCost().value(view), list(architecture.edge_logits.values()))
    assert all((each != 0).any() for each in gradient)
    for level in (architecture.logits, architecture.edge_logits):
        for logits in level.values():
            logits.data.zero_()
    assert float(ExpectedCost().value(module.regularisation._view()).detach()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("given", [ZeroOne(), [ZeroOne], ["ZeroOne"], "ZeroOne", [Constant(1.0)]])
def test_only_regularisers_are_taken(given):
    with pytest.raises(ValueError, match=r"model\.optim\.regularizers must be a list of regularisers"):
        SearchOptim(regularizers=given)


@pytest.mark.parametrize("name", each(VARIANTS, ("smoothed",)))
def test_they_are_in_the_record(name, tmp_path):
    module, checkpoint = VARIANTS[name](), ModelCheckpoint(dirpath=tmp_path, save_last=True)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[checkpoint],
    )  # fmt: skip
    trainer.fit(module, loader(1))
    again = load_module(checkpoint.last_model_path)
    assert again.hparams == module.hparams
    assert again.optim.regularizers == module.optim.regularizers == VARIANTS[name]().optim.regularizers
    assert again.optim.perturbation == module.optim.perturbation


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize(
    ("optim", "message"),
    [
        (SearchOptim(regularizers=(ZeroOne(Constant(5.0)),)), r"model\.optim\.regularizers\.0\.strength\.value"),
        (SearchOptim(), r"model\.optim\.regularizers"),
    ],
)
def test_a_run_continues_with_the_same_ones(optim, message, tmp_path):
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    arguments = {
        "accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False,
    }  # fmt: skip
    first = DARTS(INPUTS, SPACE, optim=SearchOptim(regularizers=(ZeroOne(),)))
    Trainer(**arguments, callbacks=[checkpoint]).fit(first, loader(1))
    with pytest.raises(ValueError, match=message):
        Trainer(**arguments, enable_checkpointing=False).fit(
            DARTS(INPUTS, SPACE, optim=optim), loader(1), ckpt_path=checkpoint.last_model_path
        )
