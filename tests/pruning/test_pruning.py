"""What is pruned, and that it stays so."""

import copy
from dataclasses import replace

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import nn

from lit_nas.callbacks import LogAlphas, Prune, SaveCheckpoints, WriteGenotype
from lit_nas.derivation import EmptyCellError
from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS, EntmaxDARTS
from lit_nas.pruning import Pruning
from lit_nas.record.recorded_module import load_module
from lit_nas.relaxations import Entmax
from lit_nas.search import SearchOptim
from lit_nas.spaces import CellSpace
from tests.methods.test_contract import loader, snapshot
from tests.support.tiny import INPUTS, SPACE, TINY, with_representatives

CELL = CellSpace("normal", ("none", "skip_connect", "sep_conv_3x3"), ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3)))


def table(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_zero_weights_go_and_small_ones_stay():
    weights = table([[0.0, 1e-12, 1.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    alive = torch.ones(5, 3, dtype=torch.bool)
    alive[3, 2] = False
    keep = Pruning().keep(CELL, weights, weights, alive)
    assert torch.equal(keep, (weights > 0) & alive)
    keep = Pruning(threshold=0.25).keep(CELL, weights, weights, alive)
    assert torch.equal(keep, (weights > 0.25) & alive)


def test_guard_keeps_the_strongest_connection_of_a_node():
    logits = table([[3.0, 0.0, 1.0], [4.0, 3.9, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [9.0, 0.0, 0.0]])
    weights = torch.nn.functional.one_hot(logits.argmax(-1), 3).double()
    alive = torch.ones(5, 3, dtype=torch.bool)
    assert not Pruning().keep(CELL, weights, logits, alive)[:2, 1:].any()
    keep = Pruning(guard=True).keep(CELL, weights, logits, alive)
    assert keep.tolist() == [
        [True, False, False], [False, True, False],  # node 2: the skip is least behind `none`
        [True, False, False], [False, True, False], [True, False, False],  # node 3 has a connection anyway
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", [{"threshold": 1.0}, {"threshold": -0.1}, {"every": "never"}, {"from_epoch": -1}])
def test_numbers_out_of_range(arguments):
    with pytest.raises(ValueError, match=r"pruning\.(threshold|every|from_epoch)"):
        Pruning(**arguments)


class Watch(Callback):
    """Sets logits before the first step, counts calls of each candidate, and keeps the masks of every step."""

    def __init__(self, logits):
        self.logits, self.masks, self.active = logits, [], []

    def on_train_start(self, trainer, pl_module):
        with torch.no_grad():
            for name, values in self.logits.items():
                pl_module.architecture.logits[name].copy_(values)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.masks.append({name: pl_module.architecture.mask(name).clone() for name in self.logits})

    def on_train_epoch_end(self, trainer, pl_module):
        self.active.append(trainer.callback_metrics["prune/active"].item() if trainer.callback_metrics else None)


def fit(module, callbacks, epochs=3, steps=3, folder=None):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=callbacks, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, loader(steps))
    return trainer


def spread(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = len(SPACE.cells["normal"].edges), len(SPACE.operations)
    return {name: 0.01 * torch.randn(shape, generator=generator) for name in SPACE.cells}


@pytest.mark.parametrize("engine", ["Fused", "Reference"])
@pytest.mark.parametrize("every", ["step", "epoch"])
def test_pruned_candidates_are_never_run_trained_or_revived(every, engine):
    import lit_nas.engine

    module = EntmaxDARTS(INPUTS, SPACE, pruning=Pruning(every=every), engine=getattr(lit_nas.engine, engine)())
    watch = Watch(spread())
    trainer = fit(module, [watch])
    assert trainer.callback_metrics["prune/active"] == module.architecture.count_active()
    total = sum(mask.numel() for mask in watch.masks[0].values())
    assert 0 < module.architecture.count_active() < total
    for before, after in zip(watch.masks, watch.masks[1:], strict=False):
        assert all((after[name] <= before[name]).all() for name in before)  # nothing is revived
    first = next(i for i, masks in enumerate(watch.masks) if not all(m.all() for m in masks.values()))
    assert first == (1 if every == "step" else 3)

    calls = []
    for cell, kind in zip(module.network.cells, module.network.types, strict=True):
        for edge, alive in zip(cell.edges, module.architecture.mask(kind), strict=True):
            for operation, lives in zip(edge.operations.values(), alive, strict=True):
                if not lives:
                    operation.register_forward_hook(lambda *_: calls.append(1))
                    for parameter in operation.parameters():
                        parameter.grad = None
    batch = next(iter(loader(1)))["weights"]
    module.loss(batch).backward()
    assert not calls
    for cell, kind in zip(module.network.cells, module.network.types, strict=True):
        for edge, alive in zip(cell.edges, module.architecture.mask(kind), strict=True):
            for operation, lives in zip(edge.operations.values(), alive, strict=True):
                for parameter in operation.parameters():
                    assert (parameter.grad is not None) or not lives


def test_warm_up_prunes_nothing():
    module = EntmaxDARTS(INPUTS, SPACE, pruning=Pruning(from_epoch=2))
    watch = Watch(spread())
    fit(module, [watch], epochs=3)
    assert all(mask.all() for masks in watch.masks for mask in masks.values())  # nine steps, two of three epochs
    assert not all(module.architecture.mask(name).all() for name in SPACE.cells)


def test_without_pruning_everything_lives():
    module = EntmaxDARTS(INPUTS, SPACE, pruning=None)
    fit(module, [])
    assert all(module.architecture.mask(name).all() for name in SPACE.cells)


def test_any_method_can_prune_by_a_threshold():
    module = DARTS(INPUTS, SPACE)
    logits = {name: 3 * values / 0.01 for name, values in spread().items()}
    fit(module, [Prune(Pruning(threshold=0.05)), Watch(logits)], epochs=1)
    for name, values in logits.items():
        gone = values.softmax(-1) < 0.04  # three small steps do not lift these above the threshold
        assert gone.any()
        assert not module.architecture.mask(name)[gone].any()


def test_a_pruned_network_keeps_less_for_the_backward_pass():
    module = EntmaxDARTS(INPUTS, SPACE)
    held = []

    class Held(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            held.append(trainer.callback_metrics.get("cost/activation_mib"))

    fit(module, [Watch(spread()), Held()], epochs=4)
    values = [value.item() for value in held if value is not None]
    assert values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("name", with_representatives())
def test_measuring_runs_nothing_and_changes_nothing(name):
    plain = TINY[name]()
    plain.pruning = None  # the callback of this test measures
    measured = copy.deepcopy(plain)
    passes = {}
    for module, callbacks in ((plain, []), (measured, [Prune(Pruning(from_epoch=9))])):
        seen = passes[module] = []
        handle = module.network.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        trainer = fit(module, callbacks, epochs=1, steps=2)
        handle.remove()
    assert trainer.callback_metrics["cost/activation_mib"] > 0
    assert len(passes[plain]) == len(passes[measured]) > 0
    assert not measured.network._forward_hooks
    expected = snapshot(plain)
    for key, value in snapshot(measured).items():
        assert torch.equal(value, expected[key]), key


def test_one_living_candidate_per_edge_is_the_derived_cell():
    """The search network with a candidate an edge equals the sum of these candidates, computed by hand."""
    module = EntmaxDARTS(INPUTS, replace(SPACE, operations=("none", "skip_connect", "sep_conv_3x3")), Entmax(3.0))
    architecture = module.architecture
    torch.manual_seed(0)
    for name, cell in architecture.space.cells.items():
        keep = nn.functional.one_hot(torch.tensor([2, 1, 0, 2, 1]), 3).bool()
        assert len(cell.edges) == 5
        architecture.prune(name, keep)
    mixture = dict(zip(module.network.types, architecture(), strict=True))
    genotype = module.derive()
    for name, cell in architecture.space.cells.items():
        assert torch.equal(mixture[name].weights, architecture.mask(name).float())
        found = {(edge.operation, edge.source, edge.target) for edge in genotype.cells[name].edges}
        alive = architecture.mask(name).nonzero().tolist()
        expected = {(cell.operations[o], *cell.edges[e]) for e, o in alive if cell.operations[o] != "none"}
        assert found == expected
    images = torch.randn(2, INPUTS.channels, INPUTS.height, INPUTS.width)
    before = last = module.network.stem(images)
    for cell, kind in zip(module.network.cells, module.network.types, strict=True):
        states = dict(enumerate(cell.inputs(before, last)))
        for edge in genotype.cells[kind].edges:
            index = cell.space.edges.index((edge.source, edge.target))
            value = cell.edges[index].operations[edge.operation](states[edge.source])
            states[edge.target] = states[edge.target] + value if edge.target in states else value
        before, last = last, torch.cat([states[node] for node in genotype.cells[kind].concat], 1)
    expected = module.network.classifier(last.mean((2, 3)))
    torch.testing.assert_close(module(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("level", "order"), [("single", 1), ("alternating", 1), ("bilevel", 1), ("bilevel", 2)])
def test_a_search_that_has_lost_every_operation_goes_on_and_says_so_once(level, order, tmp_path):
    """Both cell types lose everything after the first step; the loss then depends on the classifier alone."""
    module = DARTS(INPUTS, SPACE, order=order, optim=SearchOptim(level=level))
    callbacks = [Prune(Pruning(threshold=0.9, every="step")), LogAlphas(), WriteGenotype(), SaveCheckpoints()]
    trainer = Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=callbacks, default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.warns(
        UserWarning, match="no genotype yet.*Nothing is left of cell 'normal'.*does not come back"
    ) as told:
        trainer.fit(module, loader(3))
    assert len([warning for warning in told if "no genotype yet" in str(warning.message)]) == 1
    assert module.architecture.count_active() == 0
    assert trainer.global_step == 6
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert len((tmp_path / "alphas.csv").read_text().splitlines()) == 1 + 2 * 2 * 5 * 8
    assert not (tmp_path / "genotype.json").exists()
    assert not (tmp_path / "genotypes").exists()

    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(EmptyCellError, match="what has been pruned does not come back"):
        load_module(last).derive()
    with pytest.raises(ValueError, match="a cell of its search had lost every operation"):
        load_genotype(last)


def test_a_cell_of_which_none_is_best_everywhere_may_recover(tmp_path):
    module = EntmaxDARTS(INPUTS, SPACE, pruning=None)
    logits = {name: torch.zeros(5, 8).index_fill(1, torch.tensor([0]), 3.0) for name in SPACE.cells}
    with pytest.warns(UserWarning, match=r"no genotype yet.*Search on, or keep `none` from being chosen"):
        fit(module, [Watch(logits), LogAlphas()], epochs=1, folder=tmp_path)
    for parameter in module.architecture.parameters():
        parameter.data[:, 0] = -3.0
    assert module.derive_or_none() is not None


@pytest.mark.filterwarnings("ignore:There is no genotype yet")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_search_without_operations_resumes_exactly(tmp_path):
    class Stop(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.should_stop = True

    def search(folder, *callbacks, **arguments):
        torch.manual_seed(2)
        trainer = Trainer(
            accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
            callbacks=[Prune(Pruning(threshold=0.9)), SaveCheckpoints(), *callbacks], default_root_dir=folder,
        )  # fmt: skip
        module = DARTS(INPUTS, SPACE)
        trainer.fit(module, loader(2), **arguments)
        return module

    whole = search(tmp_path / "whole")
    search(tmp_path / "part", Stop())
    rest = search(tmp_path / "rest", ckpt_path=tmp_path / "part" / "checkpoints" / "last.ckpt")
    assert rest.architecture.count_active() == 0
    for key, value in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[key], value), key
