"""Recurrent cells and language models against independent slow computations in float64, and their special cases."""

import pytest
import torch
from torch.nn import functional as F

from lit_nas.architecture import Architecture, CellMixture
from lit_nas.edges import PartialChannels
from lit_nas.genotype import CellGenotype, Edge, load_genotype
from lit_nas.language import LanguageDropout, Masks
from lit_nas.networks import LanguageNetwork, RecurrentCell, build_search_network, count_weights
from lit_nas.relaxations import Softmax
from lit_nas.spaces import RecurrentSpace
from lit_nas.specs import ImageSpec, TextSpec

B, T, D, V = 5, 4, 7, 11
NAMES = ("none", "tanh", "relu", "sigmoid", "identity")
FUNCTIONS = {"tanh": torch.tanh, "relu": F.relu, "sigmoid": torch.sigmoid, "identity": lambda x: x}


@pytest.fixture
def search():
    torch.manual_seed(1)
    space = RecurrentSpace(width=D)
    network = build_search_network(space, TextSpec(V), None).double()
    architecture = Architecture(space, Softmax()).double()
    torch.nn.init.normal_(architecture.logits["recurrent"])
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return network, architecture


def inputs(seed=2):
    generator = torch.Generator().manual_seed(seed)
    x, state = (torch.randn(*shape, generator=generator).double() for shape in ((T, B, D), (B, D)))
    masks = LanguageDropout(0.3, 0.2, 0.4, 0.3, 0.4).draw(V, B, torch.zeros(V, D).double(), generator)
    return x, state, masks


def normalised(s):
    return (s - s.mean(0)) / (s.var(0, correction=0) + 1e-5).sqrt()


def first_state(cell, x, state, masks):
    read = torch.cat([x * masks.tokens, state * masks.states], 1) @ cell.entry
    gate, value = read[:, :D].sigmoid(), read[:, D:].tanh()
    return state + gate * (value - state)


def slow_search(cell, logits, x, state, masks, norm=normalised):
    """The formulas of the sheet, one candidate after the other."""
    weights, outputs = logits.softmax(-1), []
    for token in x:
        states, row = [norm(first_state(cell, token, state, masks))], 0
        for node in range(8):
            total = torch.zeros_like(state)
            for source in range(node + 1):
                product = (states[source] * masks.states) @ cell.nodes[node]
                gate, value = product[:, :D].sigmoid(), product[:, D:]
                for column, name in enumerate(NAMES):
                    if name != "none":
                        moved = states[source] + gate * (FUNCTIONS[name](value) - states[source])
                        total = total + weights[row, column] * moved
                row += 1
            states.append(norm(total))
        state = sum(states[1:]) / 8
        outputs.append(state)
    return torch.stack(outputs)


def test_the_search_cell_and_its_gradients_are_those_of_the_formulas(search):
    network, architecture = search
    x, state, masks = inputs()
    logits, cell = architecture.logits["recurrent"], network.cell
    assert logits.shape == (36, 5)
    leaves = [logits, cell.entry, *cell.nodes]
    (mixture,) = architecture()
    found, expected = cell(x, state, mixture, masks), slow_search(cell, logits, x, state, masks)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn(T, B, D, generator=torch.Generator().manual_seed(3)).double()
    for value, reference in zip(
        torch.autograd.grad((found * direction).sum(), leaves),
        torch.autograd.grad((expected * direction).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(value, reference, rtol=1e-9, atol=1e-11)
        assert value.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["DARTS_RNN_V1", "DARTS_RNN_V2", "ENAS_RNN"])
def test_a_chosen_cell_is_that_of_the_formulas(name):
    torch.manual_seed(4)
    genotype = load_genotype(name).cells["recurrent"]
    cell = RecurrentCell(genotype, D).double()
    for weight in cell.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    x, state, masks = inputs()
    expected, last = [], state
    for token in x:
        states = [first_state(cell, token, last, masks)]
        for weight, (operation, source, _) in zip(cell.nodes, genotype.edges, strict=True):
            product = (states[source] * masks.states) @ weight
            gate, value = product[:, :D].sigmoid(), FUNCTIONS[operation](product[:, D:])
            states.append(states[source] + gate * (value - states[source]))
        last = sum(states[i] for i in genotype.concat) / len(genotype.concat)
        expected.append(last)
    torch.testing.assert_close(cell(x, state, masks), torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_a_one_hot_architecture_without_batch_norm_is_the_chosen_cell(search):
    network, architecture = search
    genotype, logits = load_genotype("DARTS_RNN_V2").cells["recurrent"], architecture.logits["recurrent"]
    rows = architecture.cells["recurrent"].edges
    with torch.no_grad():
        logits.fill_(-800.0)
        logits[:, 0] = 0.0  # `none` wherever nothing is chosen
        for operation, source, target in genotype.edges:
            logits[rows.index((source, target)), NAMES.index(operation)] = 800.0
    network.cell.norm = torch.nn.Identity()
    chosen = RecurrentCell(genotype, D).double()
    chosen.load_state_dict({k: v for k, v in network.cell.state_dict().items() if not k.startswith("norm")})
    x, state, _ = inputs()
    (mixture,) = architecture.eval()()
    torch.testing.assert_close(network.cell(x, state, mixture), chosen(x, state), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["identity", "sigmoid"])
def test_a_closed_gate_keeps_the_state_and_an_open_one_gives_the_activation(name):
    cell = RecurrentCell(CellGenotype((Edge(name, 0, 1),), (1,), 1), D).double()
    state = torch.rand(B, D).double() + 0.5  # positive, so that a positive weight opens a gate
    x = torch.zeros(1, B, D).double()
    with torch.no_grad():
        cell.entry[:, :D] = -1e4  # closes the gate of state 0
        cell.nodes[0][:, :D] = -1e4
    torch.testing.assert_close(cell(x, state)[0], state)
    with torch.no_grad():
        cell.nodes[0][:, :D] = 1e4
    torch.testing.assert_close(cell(x, state)[0], FUNCTIONS[name](state @ cell.nodes[0][:, D:]))


def test_a_cell_whose_edges_are_all_none_is_zero(search):
    network, architecture = search
    weights = torch.zeros(36, 5).double()
    weights[:, 0] = 1.0
    x, state, masks = inputs()
    mixture = CellMixture(weights, architecture.active("recurrent"))
    assert torch.equal(network.cell(x, state, mixture, masks), torch.zeros(T, B, D).double())


def test_what_is_not_active_contributes_nothing(search):
    network, architecture = search
    x, state, masks = inputs()
    weights = torch.rand(36, 5).double()
    keep = torch.rand(36, 5, generator=torch.Generator().manual_seed(5)) < 0.5
    active = tuple(tuple(row.nonzero().flatten().tolist()) for row in keep)
    found = network.cell(x, state, CellMixture(weights, active), masks)
    expected = network.cell(x, state, CellMixture(weights * keep, architecture.active("recurrent")), masks)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_masks_are_those_of_the_window_at_all_time_steps(search):
    """One window with masks is the same as two halves of it with these masks, one after the other."""
    network, architecture = search
    x, state, masks = inputs()
    (mixture,) = architecture()
    whole = network.cell(x, state, mixture, masks)
    begin = network.cell(x[:2], state, mixture, masks)
    torch.testing.assert_close(whole, torch.cat([begin, network.cell(x[2:], begin[-1], mixture, masks)]))
    assert (whole - network.cell(x, state, mixture)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("width", "vocabulary", "weights"), [(850, 10_000, 22_960_000), (300, 10_000, 4_810_000), (700, 33_278, 33_127_878)]
)
def test_numbers_of_weights(width, vocabulary, weights):
    with torch.device("meta"):
        for name in ("DARTS_RNN_V1", "DARTS_RNN_V2"):
            network = LanguageNetwork(width).build(load_genotype(name), TextSpec(vocabulary))
            assert count_weights(network) == weights
        assert count_weights(build_search_network(RecurrentSpace(width), TextSpec(vocabulary), None)) == weights
    assert weights == vocabulary * width + vocabulary + (2 * width) ** 2 + 8 * width * 2 * width


def test_the_decoder_has_the_weights_of_the_embedding():
    network = LanguageNetwork(D).build(load_genotype("DARTS_RNN_V2"), TextSpec(V)).double()
    assert [name for name, _ in network.named_parameters()][:2] == ["bias", "embedding.weight"]
    tokens, state = torch.full((3, 2), 4), torch.randn(2, D).double()
    before = network(tokens, state)
    with torch.no_grad():
        network.embedding.weight[9] += 1.0  # a word that is not read
    changed = (network(tokens, state).logits - before.logits).abs().amax((0, 1)) > 0
    assert changed.nonzero().flatten().tolist() == [9]
    network(tokens, state).logits[..., 9].sum().backward()
    gradient = network.embedding.weight.grad
    assert gradient[4].abs().max() > 0  # that was read
    assert gradient[9].abs().max() > 0  # that was predicted
    assert not gradient[5].any()


def test_a_language_model_is_its_formula():
    network = LanguageNetwork(D).build(load_genotype("DARTS_RNN_V2"), TextSpec(V)).double()
    torch.nn.init.normal_(network.bias)
    _, state, masks = inputs()
    tokens = torch.randint(V, (T, B), generator=torch.Generator().manual_seed(6))
    output = network(tokens, state, masks)
    x = (masks.words * network.embedding.weight)[tokens] * masks.inputs
    hidden = network.cell(x, state, masks)
    torch.testing.assert_close(output.hidden, hidden)
    torch.testing.assert_close(output.dropped, hidden * masks.outputs)
    torch.testing.assert_close(
        output.logits, (hidden * masks.outputs) @ network.embedding.weight.T + network.bias, rtol=1e-12, atol=1e-12
    )
    assert torch.equal(output.state, output.hidden[-1])
    assert network.embedding.weight.abs().max() <= 0.04
    assert network.cell.entry.abs().max() <= 0.04
    with torch.no_grad():
        torch.testing.assert_close(network(tokens, state).hidden, network(tokens, state, Masks()).hidden)


@pytest.mark.parametrize("tracks", [False, True])
def test_batch_norm_in_evaluation(tracks):
    space = RecurrentSpace(width=D, track_running_stats=tracks)
    network, architecture = build_search_network(space, TextSpec(V), None), Architecture(space, Softmax())
    tokens, state = torch.randint(V, (T, B)), torch.randn(B, D)
    mixture = architecture()
    assert (network.cell.norm.running_mean is not None) == tracks
    trained = network(tokens, state, Masks(), mixture).logits
    evaluated = network.eval()(tokens, state, Masks(), mixture).logits
    assert torch.equal(trained, evaluated) != tracks


@pytest.mark.parametrize("name", ["search", "chosen"])
def test_under_autocast(name):
    space, tokens, state = RecurrentSpace(width=D), torch.randint(V, (T, B)), torch.zeros(B, D)
    if name == "search":
        network, mixture = build_search_network(space, TextSpec(V), None), Architecture(space, Softmax())()
    else:
        network, mixture = LanguageNetwork(D).build(load_genotype("DARTS_RNN_V1"), TextSpec(V)), ()
    masks = LanguageDropout().draw(V, B, network.embedding.weight, torch.Generator().manual_seed(0))
    full = network(tokens, state, masks, mixture).logits
    with torch.autocast("cpu", torch.bfloat16):
        low = network(tokens, state, masks, mixture).logits
    torch.testing.assert_close(low.float(), full, rtol=0.1, atol=0.02)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"model\.edges is PartialChannels, but the weights of a recurrent"):
        build_search_network(RecurrentSpace(width=D), TextSpec(V), None, PartialChannels(2))
    with pytest.raises(ValueError, match=r"RecurrentSpace are built for TextSpec, but the data hand over ImageSpec"):
        build_search_network(RecurrentSpace(width=D), ImageSpec(), None)
    with pytest.raises(ValueError, match=r"needs a genotype of the space 'recurrent' and text, but got .* 'darts'"):
        LanguageNetwork(D).build(load_genotype("DARTS_V2"), TextSpec(V))
    with pytest.raises(ValueError, match=r"model\.width must be at least 1, not 0"):
        LanguageNetwork(0)
