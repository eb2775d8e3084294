"""FaDE: its gradient and its regulariser against formulas, its special cases, its networks, its configuration."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from lit_nas.clock import Moment
from lit_nas.edges import PlainEdges, SharedDagConvs
from lit_nas.engine import Fused, Reference
from lit_nas.methods import DARTS, GDAS, FaDE
from lit_nas.methods.fade import PAPER, TEN
from lit_nas.networks import DagNetwork
from lit_nas.operations import DagCell
from lit_nas.optim import DartsAdam
from lit_nas.regularizers import MaxNorm
from lit_nas.relaxations import GumbelSoftmax, Softmax
from lit_nas.schedules import Constant, Linear
from lit_nas.search import SearchOptim
from lit_nas.spaces import DagSpace
from tests.methods.test_contract import Steps, fit
from tests.support.tiny import DAGS, INPUTS, NAS_BENCH_201, pair

ADAM = {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8}
CONSTANT = {"class_path": "lit_nas.Constant", "init_args": {"value": 10.0}}
EXPECTED = {
    "search/fade.yaml": {  # section 3 of the paper; what it does not print is in the docstring of the method
        "model.space": ("DagSpace", {"widths": [4, 8, 16, 32], "transition_kernel": 5, "vertices": 6}),
        "model.relaxation": (
            "GumbelSoftmax",
            {"temperature": CONSTANT, "hard": True, "initial_deviation": 1.0, "gradient": "all"},
        ),
        "model.optim.weights": ("DartsAdam", {**ADAM, "weight_decay": 1e-4}),
        "model.optim.arch": ("DartsAdam", {**ADAM, "weight_decay": 0.0}),
        "model.optim.schedule": ("ConstantLR", {"factor": 1.0}),
        "model.optim.clip": 10.0,
        "model.optim.clip_by": "value",
        "model.optim.level": "bilevel",
        "data": ("CIFAR10DataModule", {"batch_size": 128, "split": "one-one-four"}),
    },
}
SINGLE = DagSpace(widths=(2, 4), rows=(("dag3_01_02_12",), ("dag4_01_02_13_23",)))


def sampled(module, name):
    """Noise and one-hot sample of a row in the present step, each [O]."""
    architecture = module.architecture
    noise, chosen = architecture._draws.find("operations", architecture.relaxation, name, 0).numbers
    return noise[0], chosen[0]


def by_hand(network, images, leaves):
    """Logits of the network in which every row is the sum of all of its cells, each times its number."""
    x = network.stem(images)
    for row, name in zip(network.cells, network.types, strict=True):
        (edge,), read, terms = row.edges, row.transition(x), 0
        for number, candidate in zip(leaves[name], row.space.operations, strict=True):
            one = torch.ones_like(number)
            cell = edge.operations[candidate](read) if hasattr(edge, "operations") else edge(read, {candidate: one})
            terms = terms + number * cell
        x = terms
    return network.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.parametrize("gradient", ["all", "drawn"])
@pytest.mark.parametrize("edges", [PlainEdges(), SharedDagConvs()], ids=["own", "shared"])
@pytest.mark.parametrize("engine", [Reference(), Fused(), Fused(checkpoint=True)], ids=str)
def test_the_gradient_is_the_straight_through_one(engine, edges, gradient):
    """With S_j the gradient by the weight of cell j: pi_j (S_j - sum of pi S) / 10, S_j = 0 of what is not known."""
    torch.manual_seed(4)
    relaxation = GumbelSoftmax(Constant(10.0), hard=True, initial_deviation=1.0, gradient=gradient)
    module = FaDE(INPUTS, DAGS, relaxation, engine=engine, edges=edges).double()
    images, labels = pair(0)
    images, logits = images.double(), module.architecture.logits
    with module.architecture.drawing("arch"):
        loss = module.loss((images, labels))
        found = torch.autograd.grad(loss, list(logits.values()))
        samples = {name: sampled(module, name) for name in logits}
    leaves = {name: chosen.clone().requires_grad_() for name, (_, chosen) in samples.items()}
    wanted = F.cross_entropy(by_hand(module.network, images, leaves), labels)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-12)
    for gradient_found, (name, leaf) in zip(found, leaves.items(), strict=True):
        (s,) = torch.autograd.grad(wanted, leaf, retain_graph=True)
        noise, chosen = samples[name]
        assert s.count_nonzero() == len(s)  # every cell has something to say
        s = s if gradient == "all" else s * chosen
        p = ((logits[name].detach()[0] + noise) / 10).softmax(-1)
        torch.testing.assert_close(gradient_found[0], p * (s - (p * s).sum()) / 10, rtol=1e-10, atol=1e-14)


def calls_of(module, updates):
    """How many cells a forward and a backward pass compute, and which weights have a gradient."""
    calls = []
    for cell in module.network.modules():
        if isinstance(cell, DagCell):
            cell.register_forward_hook(lambda *_: calls.append(1))
    with module.architecture.drawing(updates):
        module.loss(pair(0)).backward()
    return len(calls)


def test_a_step_of_the_weights_computes_the_sampled_cells_alone():
    module = FaDE(INPUTS, DAGS)
    sizes = [len(row) for row in DAGS.rows]
    assert calls_of(module, "weights") == len(sizes)
    used = [any(p.grad is not None for p in cell.parameters()) for cell in module.network.modules()
            if isinstance(cell, DagCell)]  # fmt: skip
    assert sum(used) == len(sizes)
    assert calls_of(FaDE(INPUTS, DAGS), "arch") == sum(sizes)  # the others in the backward pass
    drawn = GumbelSoftmax(Constant(10.0), hard=True)
    assert calls_of(FaDE(INPUTS, DAGS, drawn), "arch") == len(sizes)


@pytest.mark.parametrize("start", [0.5, -0.5])
def test_the_regulariser_lowers_or_raises_the_sampled_probability(start):
    """Its gradient is c(t) r pi_k (delta_k - pi) / 10 with k the sampled cell, whose probability is the largest."""
    torch.manual_seed(1)
    factors = (0.5, 1.0, 2.0)
    part = MaxNorm(Linear(start, -start), factors, of="sample")
    module = FaDE(INPUTS, DAGS, optim=SearchOptim(regularizers=(part,))).double()
    logits = list(module.architecture.logits.values())
    for epoch, strength in ((0.0, start), (2.5, start / 2), (5.0, 0.0), (10.0, -start)):
        module.architecture.clock.total_steps.fill_(10)
        module.architecture.clock.total_epochs.fill_(10)
        module.architecture.clock.set(int(epoch), epoch)
        module.architecture.clock.step.fill_(epoch)
        assert float(part.strength(module.architecture.clock)) == pytest.approx(strength)
        with module.architecture.drawing("arch"):
            nothing = [torch.zeros_like(value) for value in logits]
            found, values = module.regularisation.add(nothing, None)
            total = 0.0
            for name, row, factor, gradient in zip(module.architecture.logits, logits, factors, found, strict=True):
                noise, chosen = sampled(module, name)
                p = ((row.detach()[0] + noise) / 10).softmax(-1)
                k = int(chosen.argmax())
                assert p[k] == p.max()
                expected = strength * factor * p[k] * (chosen - p) / 10
                torch.testing.assert_close(gradient[0], expected, rtol=1e-10, atol=1e-14)
                total += factor * float(p[k])
            assert float(values["max_norm"]) == pytest.approx(total)


def test_rows_of_one_cell_train_as_the_plain_network(tmp_path):
    """Then nothing is sampled: Adam on the chain of the cells, its gradient clipped entry by entry."""
    torch.manual_seed(0)
    clip = 1e-3
    optim = SearchOptim(PAPER.weights, PAPER.arch, PAPER.schedule, clip=clip, clip_by="value",
                        regularizers=PAPER.regularizers)  # fmt: skip
    module = FaDE(INPUTS, SINGLE, optim=optim)
    before = [value.detach().clone() for value in module.architecture.parameters()]
    plain = DagNetwork(SINGLE).build(module.derive(), INPUTS)
    for own, other in zip(plain.parameters(), module.network.parameters(), strict=True):
        own.data.copy_(other)
    fit(module, tmp_path, epochs=2, steps=3)
    adam, clipped = torch.optim.Adam(plain.parameters(), 1e-3, (0.9, 0.999), 1e-8, 1e-4), 0
    for _ in range(2):
        for step in range(3):
            images, labels = Steps(3)[step]["weights"]
            adam.zero_grad()
            F.cross_entropy(plain(images)[0], labels).backward()
            for value in plain.parameters():
                clipped += int((value.grad.abs() > clip).sum())
                value.grad.clamp_(-clip, clip)
            adam.step()
    assert clipped > 100
    for own, other in zip(plain.parameters(), module.network.parameters(), strict=True):
        torch.testing.assert_close(other, own, rtol=1e-5, atol=1e-7)
    assert all(map(torch.equal, before, module.architecture.parameters()))


def test_with_a_softmax_it_is_darts(tmp_path):
    found = []
    for make in (partial(FaDE, relaxation=Softmax(), optim=SearchOptim()), partial(DARTS, optim=SearchOptim())):
        torch.manual_seed(0)
        module = make(INPUTS, DAGS)
        fit(module, tmp_path, steps=3)
        found.append([*module.network.parameters(), *module.architecture.parameters()])
    assert all(map(torch.equal, *found))


def test_evaluation_has_the_most_probable_cells_and_no_noise():
    torch.manual_seed(0)
    module, (images, _) = FaDE(INPUTS, DAGS), pair(0)
    genotype = module.derive()
    for name, logits in module.architecture.logits.items():
        best = module.architecture.cells[name].operations[int(logits.argmax())]
        assert genotype.cells[name].edges[0].operation == best
    plain = DagNetwork(DAGS).build(genotype, INPUTS)
    plain.stem, plain.classifier = module.network.stem, module.network.classifier
    for row, searched in zip(plain.cells, module.network.cells, strict=True):
        row.transition = searched.transition
        row.cell = searched.edges[0].operations[genotype.cells[searched.space.name].edges[0].operation]
    module.eval()
    plain.eval()
    torch.testing.assert_close(module(images), plain(images)[0])
    assert torch.equal(module(images), module(images))


def test_parameters_begin_standard_normal():
    torch.manual_seed(0)
    values = TEN.initial(torch.ones(300, 300, dtype=torch.bool))
    assert abs(float(values.mean())) < 0.02
    assert abs(float(values.std()) - 1) < 0.02


def test_the_temperature_does_not_change_what_is_drawn():
    torch.manual_seed(2)
    drawn = []
    for temperature in (10.0, 0.1):
        module = FaDE(INPUTS, DAGS, GumbelSoftmax(Constant(temperature), hard=True, gradient="all"))
        for logits in module.architecture.logits.values():
            logits.data = torch.linspace(-1, 1, logits.numel()).view_as(logits)
        module.architecture.seed.fill_(7)
        for step in range(20):
            module.architecture.clock.step.fill_(step)
            module.architecture.forget()
            with module.architecture.drawing("arch"):
                drawn.append((temperature, step, [cell.active for cell in module.architecture()]))
    assert [each[1:] for each in drawn[:20]] == [each[1:] for each in drawn[20:]]
    assert len({str(each[2]) for each in drawn[:20]}) > 3


def test_the_printed_betas_are_possible(tmp_path):
    optim = SearchOptim(partial(DartsAdam, lr=1e-3, betas=(0.1, 1e-3), weight_decay=1e-4), PAPER.arch, PAPER.schedule)
    module = FaDE(INPUTS, DAGS, optim=optim)
    trainer = fit(module, tmp_path)
    assert trainer.optimizers[0].param_groups[0]["betas"] == (0.1, 1e-3)
    assert all(value.isfinite().all() for value in module.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GumbelSoftmax(Constant(1.0), gradient="all"), "soft ones execute all candidates: set hard to true"),
        (lambda: GumbelSoftmax(Constant(1.0), True, gradient="some"), "GumbelSoftmax.gradient must be drawn or all"),
        (
            lambda: GDAS(INPUTS, NAS_BENCH_201, TEN, constant_unselected=True),
            "model.constant_unselected takes operations that are not sampled for a constant",
        ),
        (lambda: MaxNorm(Constant(1.0), of="draw"), "MaxNorm.of must be probability or sample, not 'draw'"),
        (
            lambda: MaxNorm(Constant(1.0), temperature=10.0, of="sample"),
            "MaxNorm.temperature is that of probabilities without noise",
        ),
        (lambda: fit(FaDE(INPUTS, DAGS, Softmax()), None), "MaxNorm.of is sample, but the step has no soft sample"),
        (
            lambda: fit(FaDE(INPUTS, DAGS, GumbelSoftmax(Constant(1.0), hard=True, per_cell=True)), None),
            "take GumbelSoftmax without per_cell, or set MaxNorm.of to probability",
        ),
        (lambda: SearchOptim(clip_by="size"), r"model\.optim\.clip_by must be norm or value, not 'size'"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_soft_samples_are_those_of_the_step():
    relaxation = GumbelSoftmax(Constant(2.0))
    logits, mask, now = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), Moment(0.0, 0.0)
    with pytest.raises(ValueError, match="Softmax draws no soft samples"):
        Softmax().soft_sample(logits, mask, now, None)
    module = FaDE(INPUTS, DAGS, relaxation, SearchOptim())
    with module.architecture.drawing("arch"):
        for cell, found in zip(module.architecture(), module.architecture.soft_samples().values(), strict=True):
            assert torch.equal(cell.weights, found)
