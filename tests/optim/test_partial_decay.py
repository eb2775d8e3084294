"""Partial decay: what a step has not used does not shrink, in one step and in two."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lit_nas.methods import DARTS, DropNAS
from lit_nas.optim import PartialDecay
from lit_nas.relaxations import GroupedDropout
from lit_nas.schedules import Constant
from lit_nas.search import SearchOptim
from tests.methods.test_contract import fit, snapshot
from tests.support.tiny import INPUTS, NAS_BENCH_201, SPACE, pair


def test_used_weights_shrink_by_the_factor_of_the_paper():
    used, unused = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5))
    start = [each.detach().clone() for each in (used, unused)]
    sgd, decay = torch.optim.SGD([used, unused], lr=0.1), PartialDecay(weights=0.3)
    used.grad = torch.zeros(5)  # a gradient of zero is one
    decay.join([used, unused])
    sgd.step()
    torch.testing.assert_close(used.detach(), start[0] * (1 - 2 * 0.1 * 0.3))
    assert torch.equal(unused.detach(), start[1])
    assert unused.grad is None
    used.grad = torch.full((5,), 7.0)
    decay.replace([used, unused])
    torch.testing.assert_close(used.grad, 2 * 0.3 * used.detach())
    assert unused.grad is None


def search(own_step, clip=0.5, space=SPACE):
    optim = SearchOptim(
        plain_sgd, plain_adam, clip=clip, level="single", decay=PartialDecay(0.05, 0.2, own_step=own_step)
    )  # fmt: skip
    torch.manual_seed(1)
    relaxation = GroupedDropout(Constant(0.4), Constant(0.4), adjust=False, freeze=False)
    return DropNAS(INPUTS, space, relaxation, optim=optim)


class plain_sgd(torch.optim.SGD):  # noqa: N801 - a recipe
    def __init__(self, params, lr=0.1, momentum=0.9):
        super().__init__(params, lr=lr, momentum=momentum)


class plain_adam(torch.optim.Adam):  # noqa: N801 - a recipe
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr=lr, betas=(0.5, 0.999))


def by_hand(module, own_step, steps):
    """The steps of the paper with optimisers of torch, in float32 as the search."""
    arch, weights = list(module.architecture.parameters()), list(module.network.parameters())
    adam, sgd = plain_adam(arch), plain_sgd(weights)
    for step in range(steps):
        module.architecture.clock.set(step, step / steps)
        images, labels = pair(2 * step)
        for each in (*arch, *weights):
            each.grad = None
        with module.architecture.drawing("both"):
            mixture = module.architecture()
            cross_entropy(module.network(images, mixture), labels).backward()
        kept = {name: torch.zeros_like(value) for name, value in module.architecture.logits.items()}
        for kind, cell in zip(module.network.types, mixture, strict=True):
            for row, columns in zip(kept[kind], cell.active, strict=True):
                row[list(columns)] = 1.0
        nn.utils.clip_grad_norm_(weights, 0.5)
        used = [weight for weight in weights if weight.grad is not None]
        assert 0 < len(used) < len(weights)
        if own_step:
            sgd.step()
            adam.step()
            for weight in used:
                weight.grad = 0.1 * weight.detach()
            nn.utils.clip_grad_norm_(weights, 0.5)
            for name, logits in module.architecture.logits.items():
                logits.grad = 0.4 * logits.detach() * kept[name]
        else:
            for weight in used:
                weight.grad += 0.1 * weight.detach()
            for name, logits in module.architecture.logits.items():
                logits.grad += 0.4 * logits.detach() * kept[name]
        sgd.step()
        adam.step()
    return snapshot(module)


@pytest.mark.parametrize("own_step", [False, True])
def test_steps_are_those_of_the_paper(own_step, tmp_path):
    module = search(own_step)
    with torch.no_grad():
        for logits in module.architecture.logits.values():
            logits.normal_()
    module.architecture.clock.start(3, 1)
    expected = by_hand(copy.deepcopy(module).train(), own_step, 3)
    trainer = fit(module, tmp_path, steps=3)
    found = snapshot(module)
    for name, value in expected.items():
        if name.startswith("network.") or "logits" in name:
            torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-5, msg=name)
    assert trainer.global_step == 3


def test_entries_of_parameters_that_a_step_did_not_draw_do_not_decay():
    module = search(False, space=NAS_BENCH_201)
    module.train()
    architecture = module.architecture
    with architecture.drawing("both"):
        (executed,) = architecture.executed()
        active = architecture()[0].active
    assert [tuple(row.nonzero()[:, 0].tolist()) for row in executed] == list(active)
    assert not executed.all()
    (gradient,) = PartialDecay(arch=0.5).of_architecture(list(architecture.parameters()), [executed])
    assert torch.equal(gradient, architecture.logits["normal"].detach() * executed)


def test_where_nothing_is_drawn_all_entries_of_active_candidates_decay():
    module = DARTS(INPUTS, SPACE)
    keep = torch.ones_like(module.architecture.mask("normal"))
    keep[0, :3] = False
    module.architecture.prune("normal", keep)
    normal, reduce = module.architecture.executed()
    assert torch.equal(normal, keep)
    assert reduce.all()


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"model\.optim\.decay\.arch of PartialDecay must be a number of at least 0"):
        PartialDecay(arch=-1.0)
    with pytest.raises(ValueError, match=r"decay\.weights of PartialDecay must be a number of at least 0, not inf"):
        PartialDecay(weights=float("inf"))


def test_the_second_order_is_refused(tmp_path):
    module = DARTS(INPUTS, SPACE, order=2, optim=SearchOptim(decay=PartialDecay()))
    with pytest.raises(ValueError, match=r"model\.optim\.decay does not enter the virtual step of the second order"):
        fit(module, tmp_path)
