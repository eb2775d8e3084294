"""Recurrent cells with highway gates, searched or chosen.

Paper: Liu, Simonyan, Yang, ICLR 2019, https://arxiv.org/abs/1806.09055, section 3.1.2 and appendix A; cells as in ENAS
(Pham et al., ICML 2018, https://arxiv.org/abs/1802.03268). With m_x and m_h of `Masks`, sigma the logistic function:

    (c, h) = split([x * m_x, h' * m_h] W0),  s_0 = h' + sigma(c) * (tanh(h) - h')
    (c, h) = split((s_j * m_h) W_i),         u_jk = s_j + sigma(c) * (act_k(h) - s_j)

In the search s_i is the sum of p_jk u_jk over all earlier states j and all activations k, `none` left out, though it
has its share of the softmax; s_0 and each s_i are normalised by one BatchNorm without affine parameters. A chosen cell
has one j and one k for each node, and no BatchNorm. The output is the mean of the nodes.

Differs from the authors' code (quark0/darts, rnn/model_search.py): the BatchNorm normalises by the batch in evaluation,
too, unless `RecurrentSpace.track_running_stats` is set: its running statistics are those of nine places in one. What
the token contributes to state 0 is computed for all time steps of a window at once.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from lit_nas.architecture import CellMixture
from lit_nas.genotype import CellGenotype
from lit_nas.language import Masks
from lit_nas.operations import ACTIVATIONS, BatchNorm
from lit_nas.spaces import CellSpace

__all__ = ("RecurrentCell", "RecurrentSearchCell")

Mixing = tuple[Tensor, tuple[str, ...]]
INITIAL = 0.04
"""Weights begin uniformly between minus and plus this."""


class _Cell(nn.Module):
    """Weights of a cell and its first state.

    Args:
        width: d.
        nodes: Number of nodes.
    """

    def __init__(self, width: int, nodes: int) -> None:
        super().__init__()
        self.width = width
        self.entry = nn.Parameter(torch.empty(2 * width, 2 * width).uniform_(-INITIAL, INITIAL))  # W0
        self.nodes = nn.ParameterList(
            nn.Parameter(torch.empty(width, 2 * width).uniform_(-INITIAL, INITIAL)) for _ in range(nodes)
        )  # W_1, W_2, ...

    def _read(self, x: Tensor, masks: Masks) -> Sequence[Tensor]:
        """What the tokens contribute to state 0 at each time step, T times [B, 2d]."""
        if masks.tokens is not None:
            x = x * masks.tokens
        return (x @ self.entry[: self.width]).unbind(0)

    def _first(self, read: Tensor, last: Tensor, mask: Tensor | None) -> Tensor:
        """State 0, [B, d]."""
        masked = last if mask is None else last * mask
        product = torch.addmm(read, masked, self.entry[self.width :]).to(last.dtype)  # of autocast
        gate, value = product.chunk(2, -1)
        return torch.lerp(last, value.tanh(), gate.sigmoid())


class RecurrentSearchCell(_Cell):
    """The cell of the search network. The weights W_i of a node serve all states that it reads and all activations.

    Args:
        space: Its DAG.
        width: d.
        track_running_stats: Whether the BatchNorm keeps running statistics.
    """

    def __init__(self, space: CellSpace, width: int, track_running_stats: bool = False) -> None:
        super().__init__(width, len(space.targets))
        self.space = space
        self.norm = BatchNorm(width, affine=False)
        if not track_running_stats:
            self.norm.untrack()
        self._offsets = tuple(accumulate(range(len(space.targets))))  # row of the edge from state 0 to each node

    def forward(self, x: Tensor, state: Tensor, mixture: CellMixture, masks: Masks = Masks()) -> Tensor:
        """Embedded tokens [T, B, d], hidden state [B, d] -> hidden states [T, B, d].

        Args:
            x: What the tokens are embedded as.
            state: With which the window begins.
            mixture: Of the candidates.
            masks: Of the window.
        """
        mix, outputs = [self._mixing(node, mixture) for node in range(len(self.nodes))], []
        for read in self._read(x, masks):
            state = self._step(self._first(read, state, masks.states), mix, masks.states)
            outputs.append(state)
        return torch.stack(outputs)

    def _step(self, first: Tensor, mix: Sequence[Mixing], mask: Tensor | None) -> Tensor:
        """State 0 before its BatchNorm, [B, d] -> mean of the nodes."""
        states = self._normalise(first).unsqueeze(0)
        masked = states if mask is None else states * mask
        for matrix, (weights, names) in zip(self.nodes, mix, strict=True):
            product = (masked @ matrix).to(states.dtype)  # of autocast
            node = self._normalise(self._node(states, product, weights, names)).unsqueeze(0)
            states = torch.cat([states, node])
            masked = states if mask is None else torch.cat([masked, node * mask])
        return states[1:].mean(0)

    def _mixing(self, node: int, mixture: CellMixture) -> Mixing:
        """Weights [K, i] of the K activations that a node has, for the i states that it reads, and their names."""
        rows = slice(self._offsets[node], self._offsets[node] + node + 1)
        weights, active = mixture.weights[rows], mixture.active[rows]
        columns: dict[str, Tensor] = {}
        for column, name in enumerate(self.space.operations):
            reads = [column in row for row in active]
            if name == "none" or not any(reads):
                continue
            weight = weights[:, column]
            if not all(reads):  # what is left out contributes nothing, whatever its weight
                weight = weight.masked_fill(~torch.tensor(reads, device=weight.device), 0.0)
            columns[name] = weight
        return torch.stack([*columns.values()]) if columns else weights[:0].T, tuple(columns)

    @staticmethod
    def _node(states: Tensor, product: Tensor, weights: Tensor, names: Sequence[str]) -> Tensor:
        """A node before its BatchNorm, [B, d]: all activations of all states that it reads at once.

        The sum of p_jk (s_j + c (act_k - s_j)) over k is P_j s_j + c (A_j - P_j s_j), with P_j the sum of p_jk and A_j
        that of p_jk act_k.

        Args:
            states: s_j, [i, B, d].
            product: Of the masked states and the weights of the node, [i, B, 2d].
            weights: p_jk, [K, i].
            names: Of the K activations.
        """
        if not names:
            return torch.zeros_like(states[0])
        gate, value = product.chunk(2, -1)
        columns = weights[:, :, None, None]
        mixed = columns[0] * ACTIVATIONS[names[0]](value)
        for column, name in zip(columns[1:], names[1:], strict=True):
            mixed = torch.addcmul(mixed, column, ACTIVATIONS[name](value))
        return torch.lerp(columns.sum(0) * states, mixed, gate.sigmoid()).sum(0)

    def _normalise(self, state: Tensor) -> Tensor:
        return self.norm(state[:, :, None, None])[:, :, 0, 0]


class RecurrentCell(_Cell):
    """A chosen cell. Nodes that read the same state are computed in one product.

    Args:
        cell: Its nodes, one edge each.
        width: d.
    """

    def __init__(self, cell: CellGenotype, width: int) -> None:
        super().__init__(width, len(cell.edges))
        self.cell = cell
        sources = sorted({edge.source for edge in cell.edges})
        self._readers = {source: [e.target - 1 for e in cell.edges if e.source == source] for source in sources}

    def forward(self, x: Tensor, state: Tensor, masks: Masks = Masks()) -> Tensor:
        """Embedded tokens [T, B, d], hidden state [B, d] -> hidden states [T, B, d].

        Args:
            x: What the tokens are embedded as.
            state: With which the window begins.
            masks: Of the window.
        """
        mask, nodes = masks.states, list(self.nodes)
        # gates of all nodes that read a state, and behind them their values
        joined = {
            source: torch.cat([nodes[i][:, half] for half in self._halves for i in readers], 1)
            for source, readers in self._readers.items()
        }
        outputs = []
        for read in self._read(x, masks):
            states: dict[int, Tensor] = {0: self._first(read, state, mask)}
            for source in self._readers:  # in order, so that what is read is there
                self._advance(states, source, joined[source], mask)
            state = torch.stack([states[index] for index in self.cell.concat]).mean(0)
            outputs.append(state)
        return torch.stack(outputs)

    @property
    def _halves(self) -> tuple[slice, slice]:
        return slice(0, self.width), slice(self.width, None)

    def _advance(self, states: dict[int, Tensor], source: int, weights: Tensor, mask: Tensor | None) -> None:
        """Adds all nodes that read a state."""
        state, readers = states[source], self._readers[source]
        product = (state if mask is None else state * mask) @ weights
        gates, values = product.to(state.dtype).chunk(2, -1)
        pairs = zip(readers, gates.sigmoid().chunk(len(readers), -1), values.chunk(len(readers), -1), strict=True)
        for node, gate, value in pairs:
            states[node + 1] = torch.lerp(state, ACTIVATIONS[self.cell.edges[node].operation](value), gate)
