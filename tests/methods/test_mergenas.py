"""MergeNAS: where it is DARTS, what it holds in memory and refuses, and the numbers of its configurations."""

import pytest
import torch

from lit_nas.architecture import Architecture
from lit_nas.derivation import ArgmaxPerEdge, TopEdges
from lit_nas.edges import MergedConvolutions, PlainEdges
from lit_nas.engine import Fused
from lit_nas.held_memory import held_for_backward
from lit_nas.methods import DARTS, MergeNAS
from lit_nas.networks import build_search_network
from lit_nas.optim import frozen
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace, NasBench201Space
from lit_nas.specs import ImageSpec
from tests.methods.test_contract import fit
from tests.methods.test_dropnas import Doubled
from tests.support.paper_numbers import DARTS_SEARCH
from tests.support.tiny import INPUTS, NAS_BENCH_201

KIND = {"blocks": 1, "fold": False, "rescale": True, "recompute": False}
MERGED = {**DARTS_SEARCH, "model.edges": ("MergedConvolutions", KIND)}
ALL_MERGED = {**MERGED, "model.edges": ("MergedConvolutions", {**KIND, "fold": True})}
EXPECTED = {
    "search/mergenas.yaml": MERGED,
    "search/mergenas_all_merged.yaml": ALL_MERGED,
    "search/mergenas_all_merged.yaml + layers/space/nas_bench_201.yaml": {
        **ALL_MERGED,
        "model.space": ("NasBench201Space", {"init_channels": 16, "cells_per_stage": 5, "track_running_stats": False}),
    },
}


@pytest.mark.parametrize("name", ["dil_conv_3x3", "dil_conv_5x5"])
def test_with_one_convolution_on_each_edge_it_is_darts_step_by_step(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.methods.test_contract.loader", lambda steps: torch.utils.data.DataLoader(
        Doubled(steps), batch_size=None
    ))  # fmt: skip
    space = DartsSpace(2, 3, 2, ("none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", name))
    plain, module = DARTS(INPUTS, space).double(), MergeNAS(INPUTS, space).double()
    module.network.load_state_dict(plain.network.state_dict(), strict=False)
    module.architecture.load_state_dict(plain.architecture.state_dict())

    def pairs():
        """Kernels that stand for each other, that of the window cut out."""
        for ours, theirs in zip(module.network.cells, plain.network.cells, strict=True):
            for edge, other in zip(ours.edges, theirs.edges, strict=True):
                (block,), (stage,) = edge.merged["depthwise"], other.operations[name]
                yield block.kernel[:, :, ::2, ::2], stage.depthwise.weight
                yield block.pointwise, stage.pointwise.weight
                yield block.norm.running_mean, stage.norm.running_mean
                yield block.norm.running_var, stage.norm.running_var

    with torch.no_grad():
        for ours, theirs in pairs():
            ours.copy_(theirs)
        for cell in module.network.cells:
            for edge in cell.edges:  # pixels that no window has would count in the norm of no gradient, but decay
                (block,) = edge.merged["depthwise"]
                block.kernel *= (block.masks.sum(0) > 0).double()
    start = [theirs.detach().clone() for _, theirs in pairs()]
    for each, folder in ((plain, "plain"), (module, "merged")):
        fit(each, tmp_path / folder, epochs=2, steps=2)
    for (ours, theirs), before in zip(pairs(), start, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
        assert not torch.equal(theirs, before)
    found = module.state_dict()
    for key, value in plain.state_dict().items():
        if key in found:
            torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-10, msg=key)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("level", ["weights", "arch"])
def test_it_holds_less_than_half_of_what_darts_does(fold, level):
    assert held(DartsSpace(8, 4, 3), MergedConvolutions(fold=fold), level) < 0.45


@pytest.mark.parametrize("level", ["weights", "arch"])
def test_in_the_space_of_nas_bench_201_it_does_so_where_convolutions_are_computed_again(level):
    space = NasBench201Space(8, 2)
    kept, again = (held(space, MergedConvolutions(fold=True, recompute=each), level) for each in (False, True))
    assert again < 0.45 < kept < 0.7


def held(space, edges, level):
    """What a step of a level holds for its backward pass, in parts of what it does with plain edges."""
    found = []
    for kind in (PlainEdges(), edges):
        network = build_search_network(space, ImageSpec(3, 16, 16, 10), Fused(), kind)
        architecture, images = Architecture(space, Softmax()), torch.randn(16, 3, 16, 16)
        with frozen((architecture if level == "weights" else network).parameters()):
            found.append(held_for_backward(lambda: network(images, architecture()).sum()))
    return found[1] / found[0]


def test_rules_of_the_spaces():
    assert MergeNAS(INPUTS).deriver == TopEdges()
    assert MergeNAS(INPUTS, NAS_BENCH_201).deriver == ArgmaxPerEdge()


def test_what_a_space_has_no_use_for_is_refused():
    with pytest.raises(ValueError, match=r"edges\.blocks 2 of MergedConvolutions stands for .* 'nas_bench_201' does"):
        MergeNAS(INPUTS, NAS_BENCH_201, MergedConvolutions(blocks=2))
    with pytest.raises(ValueError, match=r"but the space 'darts' has none of them: avg_pool_3x3, none"):
        MergeNAS(INPUTS, DartsSpace(operations=("none", "avg_pool_3x3")))
    both = DartsSpace(2, 3, 2, ("skip_connect", "sep_conv_3x3", "nor_conv_3x3"))
    with pytest.raises(ValueError, match="has convolutions of two kinds: sep_conv_3x3, nor_conv_3x3"):
        MergeNAS(INPUTS, both, MergedConvolutions(fold=True))
    MergeNAS(INPUTS, both)
