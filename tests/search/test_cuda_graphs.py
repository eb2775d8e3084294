"""Gradients from CUDA graphs: what is refused, when a graph is captured anew, and (on a GPU) that nothing changes."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from pytorch_lightning import Callback, Trainer

from lit_nas.engine import Fused
from lit_nas.methods import DARTS
from lit_nas.search import SearchOptim, gradients, lifecycle
from lit_nas.search.cuda_graphs import CapturedGradient
from tests.methods.test_contract import loader, snapshot
from tests.support.tiny import INPUTS, SPACE, TINY, with_representatives

FIRST_ORDER = pytest.mark.parametrize("name", [name for name, make in TINY.items() if make().order == 1])


class Eager:
    """Stands for a captured gradient: computes what a replay would."""

    captures = 0
    pool = None

    def __init__(self, loss, pair, parameters, state, pool):
        type(self).captures += 1
        self.loss, self.parameters = loss, parameters
        self.moving = [parameter.requires_grad for parameter in parameters]
        assert all(self.moving)

    def __call__(self, pair):
        value = self.loss(pair)
        return list(torch.autograd.grad(value, self.parameters, allow_unused=True)), value.detach()


class Prune(Callback):
    """Takes the first operation of the first edge out before a batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 2:
            cell = next(iter(pl_module.architecture.space.cells))
            keep = torch.ones_like(pl_module.architecture.mask(cell))
            keep[0, pl_module.architecture.active(cell)[0][1]] = False
            pl_module.architecture.prune(cell, keep)


def fit(module, callbacks=(), accelerator="cpu", **arguments):
    trainer = Trainer(
        accelerator=accelerator, devices=1, max_epochs=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, callbacks=list(callbacks), **arguments,
    )  # fmt: skip
    trainer.fit(module, loader(4))


def with_graphs(module):
    module.optim = replace(module.optim, graphs=True)
    return module


@FIRST_ORDER
def test_replayed_gradients_take_the_same_steps(name, monkeypatch):
    monkeypatch.setattr(gradients, "CapturedGradient", Eager)
    monkeypatch.setattr(lifecycle, "check_graphs", lambda module: None)
    monkeypatch.setattr(Eager, "captures", 0)
    plain, graphs = TINY[name](), with_graphs(TINY[name]())
    graphs.load_state_dict(plain.state_dict())
    fit(plain, [Prune()])
    fit(graphs, [Prune()])
    before = snapshot(plain)
    for key, value in snapshot(graphs).items():
        # what adds gradients up may do it in another order
        torch.testing.assert_close(value, before[key], rtol=1e-6, atol=1e-7, msg=key)
    levels = len(graphs.gradients._captured)
    assert Eager.captures >= 2 * levels  # at the start, and after pruning
    if not plain.leaves_weights_unused:  # the method itself prunes nothing
        assert Eager.captures == 2 * levels


@pytest.fixture
def captures(monkeypatch):
    """Stands for CUDA: what each capture was asked for, in order."""
    asked, handles = [], iter(range(100))

    @contextmanager
    def graph(graph, **arguments):
        asked.append(arguments)
        yield

    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(lifecycle, "check_graphs", lambda module: None)
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())
    for name, value in {
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None), "Stream": lambda: stream, "graph": graph,
        "current_device": lambda: 0, "current_stream": lambda: stream, "graph_pool_handle": lambda: next(handles),
        "stream": lambda stream: nullcontext(),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    return asked


def test_graphs_that_exist_together_share_a_pool(captures):
    fit(with_graphs(DARTS(INPUTS, SPACE)), [Prune()])
    # both levels at the start and after pruning: one of them always exists while the other is captured anew
    assert captures == [{"pool": 0, "capture_error_mode": "thread_local"}] * 4


def test_the_pool_of_a_graph_that_is_gone_is_not_used_again(captures):
    fit(with_graphs(DARTS(INPUTS, SPACE, optim=SearchOptim(level="single"))), [Prune()])
    assert [asked["pool"] for asked in captures] == [0, 1]


def test_graphs_and_recomputation_exclude_each_other():
    assert not Fused().recomputes
    with pytest.raises(ValueError, match=r"graphs needs model\.engine\.checkpoint false.*random"):
        fit(with_graphs(DARTS(INPUTS, SPACE, engine=Fused(checkpoint=True))))


@pytest.mark.parametrize("name", with_representatives())
def test_graphs_are_refused_where_they_cannot_be_right(name):
    # what draws, or cuts its batches, is refused on a GPU as well
    with pytest.raises(ValueError, match=r"graphs needs a GPU, but runs on cpu|graphs needs .*draw|accumulate at 1"):
        fit(with_graphs(TINY[name]()))


def test_graphs_and_parts_of_batches_exclude_each_other():
    with pytest.raises(ValueError, match="accumulate at 1"):
        SearchOptim(graphs=True, accumulate=2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@FIRST_ORDER
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_graphs_equal_eager_steps_on_a_gpu(name, precision):
    if getattr(TINY[name](), "skip_dropout", None) is not None:
        pytest.skip("graphs are refused where masks are drawn")
    plain, graphs = TINY[name](), with_graphs(TINY[name]())
    graphs.load_state_dict(plain.state_dict())
    fit(plain, [Prune()], "cuda", precision=precision)
    fit(graphs, [Prune()], "cuda", precision=precision)
    before = snapshot(plain)
    for key, value in snapshot(graphs).items():
        torch.testing.assert_close(value, before[key], rtol=1e-4, atol=1e-6, msg=key)


class Nested(NamedTuple):
    """A batch that is no pair: tensors at several depths, and a number of the host."""

    tokens: torch.Tensor
    more: list
    number: int


def nested(value, number=3, size=4):
    return Nested(torch.full((size,), value), [{"state": torch.full((2, size), value)}, "text"], number)


def test_a_graph_reads_every_tensor_of_a_batch_of_any_kind(captures):
    seen, weight = [], torch.nn.Parameter(torch.ones(4))

    def loss(batch):
        seen.append(batch)
        return (weight * batch.tokens * batch.more[0]["state"]).sum() * batch.number

    given, new = nested(2.0), nested(5.0)
    graph = CapturedGradient(loss, given, [weight], [])
    (gradient,), value = graph(new)  # nothing is replayed here: these are those of the capture
    assert torch.equal(gradient, torch.full((4,), 24.0))
    assert float(value) == 96.0
    static = seen[-1]
    assert torch.equal(static.tokens, new.tokens)
    assert torch.equal(static.more[0]["state"], new.more[0]["state"])
    assert static.more[1:] == ["text"]
    assert static.number == 3
    assert torch.equal(given.tokens, nested(2.0).tokens)  # the batch of the capture is the caller's


def test_a_graph_is_captured_anew_where_more_than_values_change(monkeypatch):
    monkeypatch.setattr(gradients, "CapturedGradient", Eager)
    monkeypatch.setattr(Eager, "captures", 0)
    module, weight = with_graphs(DARTS(INPUTS, SPACE)), torch.nn.Parameter(torch.ones(4))
    counts = []
    for batch in (nested(1.0), nested(2.0), nested(2.0, number=4), nested(2.0, number=4), nested(2.0, 4, size=1)):
        module.gradients.take("arch", lambda part: (weight * part.tokens).sum(), batch, [weight], None)
        counts.append(Eager.captures)
    assert counts == [1, 1, 2, 2, 3]
