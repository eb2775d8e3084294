"""A chain whose positions differ, from the search to the retraining: nothing of lit-nas has been written for it."""

import copy
import warnings

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.derivation import ArgmaxPerEdge, default_deriver
from lit_nas.engine import Fused, Reference
from lit_nas.genotype import Genotype, load_genotype
from lit_nas.methods import DARTS, EntmaxDARTS
from lit_nas.networks import build_retrain_network, build_search_network, count_weights
from lit_nas.record.recorded_module import load_module
from lit_nas.relaxations import Softmax
from lit_nas.report.describe import describe, format_table
from lit_nas.report.draw import draw_genotype
from lit_nas.retrain import RetrainModule, RetrainOptim
from tests.support.chain import ChainNetwork, ChainSearchNetwork, ChainSpace
from tests.support.tiny import INPUTS, pair

SPACE = ChainSpace()
METHODS = pytest.mark.parametrize("method", [DARTS, EntmaxDARTS])
WITHOUT_HEAD = RetrainOptim(auxiliary_weight=0.0)


def loader(steps: int = 2):
    batches = [{"weights": pair(2 * step), "arch": pair(2 * step + 1)} for step in range(steps)]
    return torch.utils.data.DataLoader(batches, batch_size=None)


def fit(module, folder, epochs=1, callbacks=(), **arguments):
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=bool(callbacks), callbacks=list(callbacks),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        trainer.fit(module, loader(), **arguments)
    return module


def genotype_of(*operations: str) -> Genotype:
    tables = {}
    for cell, operation in zip(SPACE.cells.values(), operations, strict=True):
        tables[cell.name] = torch.zeros(1, len(cell.operations), dtype=torch.float64)
        tables[cell.name][0, cell.operations.index(operation)] = 1.0
    return default_deriver(SPACE)(SPACE, tables)


def by_hand(network: ChainSearchNetwork, images: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits of the search network, one candidate after the other."""
    x = network.stem(images)
    for cell, kind in zip(network.cells, network.types, strict=True):
        terms = [weight * operation(x) for weight, operation in
                 zip(weights[kind][0], cell.edges[0].operations.values(), strict=True)]  # fmt: skip
        x = sum(terms, x if kind == "block_2" else 0.0)
    return network.classifier(x.mean((2, 3)))


@pytest.mark.parametrize("engine", [Reference(), Fused(), Fused(batch_edges=True), Fused(checkpoint=True)])
def test_engines_compute_the_formula_at_every_position(engine):
    torch.manual_seed(0)
    network = build_search_network(SPACE, INPUTS, engine).double()
    architecture = Architecture(SPACE, Softmax()).double()
    other = copy.deepcopy(network)
    images = pair(0)[0].double()
    mixture = architecture()
    found = network(images, mixture)
    expected = by_hand(other, images, {kind: logits.softmax(-1) for kind, logits in architecture.logits.items()})
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    probe = torch.randn(found.shape, dtype=torch.float64)
    parameters = list(architecture.parameters())
    gradients = [
        torch.autograd.grad((out * probe).sum(), [*parameters, *own.parameters()])
        for out, own in ((found, network), (expected, other))
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)
    for name, value in other.state_dict().items():  # running statistics, too
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-10, atol=1e-12)


def test_positions_have_candidates_channels_strides_and_styles_of_their_own():
    network = build_search_network(SPACE, INPUTS, Reference())
    first, second, third = (cell.edges[0].operations for cell in network.cells)
    assert (list(first), list(third)) == (
        ["skip_connect", "sep_conv_3x3", "tiny_chain_3x3"],
        ["none", "tiny_chain_5x5"],
    )
    images = torch.randn(2, 4, 8, 8)
    assert {operation(images).shape for operation in first.values()} == {(2, 4, 8, 8)}
    assert {operation(images).shape for operation in second.values()} == {(2, 6, 4, 4)}
    assert second["nor_conv_3x3"].conv.bias is not None
    assert not second["nor_conv_3x3"].norm.affine
    assert third["tiny_chain_5x5"][1].affine
    assert {name: tuple(p.shape) for name, p in Architecture(SPACE, Softmax()).logits.items()} == {
        "block_0": (1, 3), "block_1": (1, 4), "block_2": (1, 2),
    }  # fmt: skip


@pytest.mark.parametrize("engine", [Reference(), Fused()])
def test_a_position_without_candidates_has_the_channels_and_the_size_of_its_output(engine):
    network = build_search_network(SPACE, INPUTS, engine)
    cell = network.cells[1]
    empty = CellMixture(torch.ones(1, 4), ((),))
    found = cell(torch.randn(2, 4, 8, 8), empty)
    assert torch.equal(found, torch.zeros(2, 6, 4, 4))


@METHODS
def test_search_derive_draw_describe_and_retrain(method, tmp_path):
    module = fit(method(INPUTS, SPACE), tmp_path)
    genotype = module.derive()
    assert genotype.space == "tiny_chain"
    assert list(genotype.cells) == ["block_0", "block_1", "block_2"]
    genotype.save(tmp_path / "cell.json")
    assert load_genotype(tmp_path / "cell.json") == genotype
    draw_genotype(genotype, tmp_path / "cell.svg")
    drawn = (tmp_path / "cell.svg").read_text()
    assert all(f"<!-- block_{number} cell -->" in drawn for number in range(3))
    retrained = RetrainModule(genotype, INPUTS, optim=WITHOUT_HEAD)
    before = copy.deepcopy(retrained.state_dict())
    fit(retrained, tmp_path)
    moved = {name for name, value in retrained.state_dict().items() if not torch.equal(before[name], value)}
    assert {name.split(".")[1] for name in moved if name.startswith("network.")} >= {"stem", "classifier"}


def test_description_of_a_chain():
    genotype = genotype_of("skip_connect", "nor_conv_3x3", "none")
    found = describe(genotype)
    assert (found["network"], found["init_channels"], found["num_cells"]) == ("tiny_chain", None, None)
    assert [row["output"] for row in found["cells"]] == [[4, 32, 32], [6, 16, 16], [6, 16, 16]]
    assert [row["weights"] for row in found["cells"]] == [0, 4 * 6 * 9 + 2 * 6, 0]
    assert found["weights"] == (3 * 4 * 9 + 2 * 4) + (4 * 6 * 9 + 2 * 6) + (6 * 10 + 10)
    wide = describe(genotype, ChainNetwork(ChainSpace(8)))
    assert wide["network"] == "ChainNetwork"
    assert [row["channels"] for row in wide["cells"]] == [8, 10, 10]
    format_table([found])
    with pytest.raises(ValueError, match=r"has no init_channels: leave out model\.init_channels\. It has: space"):
        describe(genotype, init_channels=4)


def test_the_derivation_keeps_a_block_that_is_left_out():
    genotype = genotype_of("skip_connect", "tiny_chain_3x3", "none")
    assert default_deriver(SPACE) == ArgmaxPerEdge()
    assert [cell.edges[0].operation for cell in genotype.cells.values()] == ["skip_connect", "tiny_chain_3x3", "none"]
    network = build_retrain_network(None, genotype, INPUTS).eval()
    with torch.no_grad():
        x = network.stem(torch.randn(2, 2, 8, 8))
        assert torch.equal(network.cells[0](x), x)
        assert not network.cells[2](torch.randn(2, 6, 4, 4)).any()
    assert count_weights(network.cells[2]) == 0


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@METHODS
def test_a_search_continues_and_is_rebuilt_from_its_checkpoint(method, tmp_path):
    class Stop(ModelCheckpoint):
        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            trainer.should_stop = True

    first = method(INPUTS, SPACE)
    state = copy.deepcopy(first.state_dict())
    checkpoint = Stop(dirpath=tmp_path, save_last=True)
    fit(first, tmp_path, epochs=2, callbacks=[checkpoint])
    second = fit(method(INPUTS, SPACE), tmp_path, epochs=2, ckpt_path=checkpoint.last_model_path)
    whole = method(INPUTS, SPACE)
    whole.load_state_dict(state)
    fit(whole, tmp_path, epochs=2)
    for name, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    with pytest.raises(ValueError, match=r"'tests\.support\.chain\.ChainSpace', which is neither of lit-nas"):
        load_module(checkpoint.last_model_path)
    rebuilt = load_module(checkpoint.last_model_path, trust=("tests",))
    assert rebuilt.architecture.space == SPACE
    assert rebuilt.derive().cells == load_genotype(checkpoint.last_model_path).cells == first.derive().cells


def test_a_retraining_is_rebuilt_with_the_network_that_it_was_given(tmp_path):
    genotype = genotype_of("sep_conv_3x3", "tiny_chain_5x5", "tiny_chain_5x5")
    module = RetrainModule(genotype, INPUTS, ChainNetwork(ChainSpace(6)), optim=WITHOUT_HEAD)
    checkpoint = ModelCheckpoint(dirpath=tmp_path, save_last=True)
    fit(module, tmp_path, callbacks=[checkpoint])
    assert dict(module.hparams)["genotype"] == genotype.to_dict()
    again = load_module(checkpoint.last_model_path, trust=("tests",))
    assert again.genotype == genotype
    for name, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
