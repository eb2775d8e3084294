"""Dropout after skip connections: its formula, its masks, and what they depend on."""

from dataclasses import replace

import pytest
import torch
import yaml
from pytorch_lightning import Callback

from lit_nas.architecture import Architecture
from lit_nas.callbacks import SkipDropout
from lit_nas.cli import main
from lit_nas.edges import AuxiliarySkip, Edge, EdgeKind, MergedConvolutions, PartialChannels
from lit_nas.engine import Fused, Reference
from lit_nas.methods import DARTS
from lit_nas.networks import build_search_network
from lit_nas.relaxations import Softmax
from lit_nas.schedules import Constant, Exponential, Linear
from lit_nas.search import DroppedSkip, SearchOptim, drop_skips, restore_skips
from tests.methods.test_contract import fit
from tests.support.edge_searches import EdgeSearch
from tests.support.resume_job import write_config
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, TINY, pair

HALF = Constant(0.5)


def at(architecture, step, epoch=0.0):
    architecture.clock.start(100, 10)
    architecture.clock.set(step, epoch)
    return architecture


@pytest.fixture
def architecture():
    return at(Architecture(SPACE, Softmax()), 3)


def test_elements_are_dropped_and_the_others_scaled(architecture):
    skip = DroppedSkip(Constant(0.3), architecture, 0)
    x = torch.rand(8, 16, 16, 16, dtype=torch.float64) + 1
    out = skip(x)
    mask = skip.mask(x, 0.7)
    assert torch.equal(mask, out != 0)
    torch.testing.assert_close(out, torch.where(mask, x / 0.7, 0.0))
    assert float(mask.double().mean()) == pytest.approx(0.7, abs=0.01)  # 8 standard deviations
    assert float(out.mean() / x.mean()) == pytest.approx(1.0, abs=0.02)
    assert skip.eval()(x) is x
    assert DroppedSkip(Constant(0.0), architecture, 0)(x) is x
    assert not list(skip.state_dict())
    assert not list(skip.parameters())


def test_a_mask_follows_from_seed_step_level_sample_and_place(architecture):
    x = torch.ones(2, 4, 8, 8)
    first = DroppedSkip(HALF, architecture, 0).mask(x, 0.5)
    assert torch.equal(first, DroppedSkip(HALF, architecture, 0).mask(x, 0.5))
    seen = [first, DroppedSkip(HALF, architecture, 1).mask(x, 0.5)]
    for level, sample in (("arch", 0), ("both", 0), ("weights", 1)):
        with architecture.drawing(level, sample):
            seen.append(DroppedSkip(HALF, architecture, 0).mask(x, 0.5))
    with architecture.drawing("weights"):
        assert torch.equal(first, DroppedSkip(HALF, architecture, 0).mask(x, 0.5))
    at(architecture, 4)
    seen.append(DroppedSkip(HALF, architecture, 0).mask(x, 0.5))
    at(architecture, 3).seed.add_(1)
    architecture.forget()
    seen.append(DroppedSkip(HALF, architecture, 0).mask(x, 0.5))
    for number, mask in enumerate(seen):
        assert not any(torch.equal(mask, other) for other in seen[number + 1 :])
    wide = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(seen[-1], DroppedSkip(HALF, architecture, 0).mask(wide, 0.5))  # whatever its layout


def test_the_rate_is_that_of_the_time(architecture):
    skip = DroppedSkip(Linear(0.8, 0.0, "epoch"), architecture, 0)
    assert skip.rate == 0.8
    at(architecture, 55, 5.5)
    assert skip.rate == pytest.approx(0.4)
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), but is 1\.5"):
        DroppedSkip(Constant(1.5), architecture, 0)(torch.ones(1, 1, 2, 2))


def gradients(engine, space=SPACE):
    torch.manual_seed(0)
    module = DARTS(INPUTS, space, engine=engine).double()
    at(module.architecture, 7)
    drop_skips(module.network, module.architecture, HALF)
    with module.architecture.drawing("arch"):
        loss = module.loss((pair(0)[0].double(), pair(0)[1]))
        loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("space", [SPACE, NAS_BENCH_201], ids=["darts", "nas_bench_201"])
def test_all_engines_compute_the_same_with_the_same_masks(space):
    value, expected = gradients(Reference(), space)
    for engine in (Fused(), Fused(checkpoint=True), Fused(batch_edges=True), Fused(layout="contiguous")):
        found, grads = gradients(engine, space)
        assert found == pytest.approx(value, abs=1e-10)
        for name, gradient in expected.items():
            torch.testing.assert_close(grads[name], gradient, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("edges", [PartialChannels(2), AuxiliarySkip(), MergedConvolutions()], ids=str)
def test_it_goes_with_other_kinds_of_edges(edges, tmp_path):
    module = EdgeSearch(INPUTS, SPACE, edges)
    names = list(module.state_dict())
    seen = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(sum(isinstance(part, DroppedSkip) for part in pl_module.network.modules()))
            assert list(pl_module.state_dict()) == names

    fit(module, tmp_path, callbacks=[SkipDropout(HALF), Watch()])
    assert seen == [7, 7]  # the normal cell has five edges of stride 1, each of the two reduction cells one
    assert not [part for part in module.network.modules() if isinstance(part, DroppedSkip)]


def test_the_network_is_left_as_it_was_also_by_an_exception(tmp_path):
    class Bomb(Callback):
        def on_train_batch_end(self, *arguments):
            raise RuntimeError("bomb")

    module = DARTS(INPUTS, SPACE)
    with pytest.raises(RuntimeError, match="bomb"):
        fit(module, tmp_path, callbacks=[SkipDropout(HALF), Bomb()])
    assert not [part for part in module.network.modules() if isinstance(part, DroppedSkip)]
    before = drop_skips(module.network, module.architecture, HALF)
    inner = drop_skips(module.network, module.architecture, None)
    assert all(isinstance(part, DroppedSkip) for part in inner)
    assert not [part for part in module.network.modules() if isinstance(part, DroppedSkip)]
    restore_skips(module.network, before)
    assert [type(part) for part in before] == [torch.nn.Identity] * len(before)


class SharedEdge(Edge):
    """An edge whose skip connection is no module."""

    def terms(self, x, weights, beside=None):
        yield x * sum(weights.values())


class SharedEdges(EdgeKind):
    def make(self, plan):
        return SharedEdge()


def test_what_cannot_be_dropped_is_refused(tmp_path):
    network = build_search_network(NAS_BENCH_201, INPUTS, Fused(), SharedEdges())
    with pytest.raises(ValueError, match=r"cells\.0\.edges\.0' \(SharedEdge\) computes them in another way"):
        drop_skips(network, Architecture(NAS_BENCH_201, Softmax()), HALF)
    with pytest.raises(
        ValueError, match=r"SkipDropout must be in \[0, 1\), but Exponential.* makes 1\.2 of it in epoch 1"
    ):
        fit(DARTS(INPUTS, SPACE), tmp_path / "rate", epochs=2, callbacks=[SkipDropout(Exponential(0.6, 2.0))])
    module = TINY["PDARTS"]()
    module.optim = replace(module.optim, graphs=True)
    with pytest.raises(ValueError, match="needs no dropout after skip connections, whose masks are drawn"):
        fit(module, tmp_path / "graphs")


def test_any_method_takes_it_from_a_configuration(tmp_path):
    config = write_config("DARTS-first-order", tmp_path / "in.yaml")
    content = yaml.safe_load(config.read_text())
    rate = {"class_path": "lit_nas.Linear", "init_args": {"start": 0.6, "end": 0.0}}
    content["trainer"]["callbacks"] = [{"class_path": "SkipDropout", "init_args": {"rate": rate}}]
    config.write_text(yaml.safe_dump(content))
    short = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    assert main(["fit", "-c", str(config), *short, "--trainer.default_root_dir", str(tmp_path)]) == 0
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    recorded = checkpoint["lit_nas"]["run"]["trainer"]["callbacks"]["SkipDropout"]["rate"]
    assert recorded["init_args"]["start"] == 0.6
    assert "skip_dropout/rate" in (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")


def test_accumulated_parts_and_both_levels_train(tmp_path):
    for optim in (SearchOptim(accumulate=2), SearchOptim(level="single")):
        module = DARTS(INPUTS, SPACE, optim=optim)
        fit(module, tmp_path / optim.level, callbacks=[SkipDropout(HALF)])
        assert all(value.isfinite().all() for value in module.state_dict().values())


def test_every_copy_of_a_skip_connection_is_hindered(architecture):
    names = ("none", "skip_connect", "skip_connect_2", "skip_connect_3", "sep_conv_3x3")
    space = replace(SPACE, operations=names)
    network = build_search_network(space, INPUTS, Reference())
    before = drop_skips(network, at(Architecture(space, Softmax()), 3), HALF)
    dropped = [part for part in network.modules() if isinstance(part, DroppedSkip)]
    edges = sum(
        cell.stride(index) == 1
        for cell in (module.space for module in network.cells)
        for index in range(len(cell.edges))
    )
    assert len(dropped) == len(before) == 3 * edges
    assert {skip.place for skip in dropped} == set(range(3 * edges))
    restore_skips(network, before)
    assert not any(isinstance(part, DroppedSkip) for part in network.modules())
