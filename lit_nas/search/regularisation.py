"""Regularisers and the gradient of the architecture: what a search adds to it, and what it logs of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lit_nas.derivation import EmptyCellError
from lit_nas.genotype import Genotype
from lit_nas.networks.candidate_costs import CostTable
from lit_nas.networks.derived_costs import NetworkCosts, derived_costs
from lit_nas.networks.latency import find_costs
from lit_nas.networks.registry import default_retrain_network, find_retrain_network
from lit_nas.precision import widest_float
from lit_nas.regularizers import ArchitectureView, CostedNetwork, Regularizer
from lit_nas.search.found_genotype import discrete_cells, rule_of

if TYPE_CHECKING:
    from lit_nas.search.search_parts import SearchParts

__all__ = ("Regularisation",)


class Regularisation:
    """Adds the regularisers of a search to the gradient of its architecture.

    They depend on the architecture alone, so the chain rule needs only the gradient and the value of the loss on data:
    both may come in parts, from other processes, from a CUDA graph or after a virtual step.

    Args:
        module: Whose settings, architecture and network they are.
    """

    def __init__(self, module: SearchParts) -> None:
        self._module = module
        self._tables: dict[str, CostTable] = {}
        self._networks: dict[tuple[str, str], NetworkCosts] = {}

    def prepare(self) -> None:
        """Makes ready what steps would wait for.

        Raises:
            ValueError: if a regulariser does not fit the architecture or the network, or there is no table of a cost.
        """
        self._tables.clear()
        self._networks.clear()
        for measure in self._module.measures:
            self.table(measure)
        for part in self._module.optim.regularizers:
            part.check(self._module.architecture)
        if self._module.optim.regularizers:
            with torch.no_grad():
                view = self._view()
                for part in self._module.optim.regularizers:
                    part.check_start(view)

    def add(self, gradient: list[Tensor], loss: Tensor | None) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The gradient of the loss with all regularisers.

        Args:
            gradient: Of the loss on data by the parameters of the architecture, its mean over all processes.
            loss: That loss of this process; None where a method has none.

        Returns:
            The gradient, and the value of each regulariser by its name.

        Raises:
            ValueError: if a regulariser needs a loss and there is none.
        """
        module, parts = self._module, self._module.optim.regularizers
        if not parts:
            return gradient, {}
        parameters, factor = list(module.architecture.parameters()), any(part.takes_loss for part in parts)
        if factor and loss is None:
            name = next(type(part).__name__ for part in parts if part.takes_loss)
            raise ValueError(
                f"{name} multiplies the loss of the architecture, but {type(module).__name__} computes a gradient "
                "without one. Choose a regulariser that adds to it, such as ExpectedCost."
            )
        if factor and loss is not None:
            (leaf,) = module.gradients.mean_over_ranks([loss.detach().clone()])
        else:
            leaf = parameters[0].new_zeros(())
        with torch.enable_grad(), torch.autocast(module.device.type, enabled=False):
            leaf = leaf.requires_grad_()
            total, view = leaf, self._view()
            values: dict[str, Tensor] = {}
            for part in parts:
                value = part.value(view)
                values[_name(part, values)] = value.detach()
                total = part(total, value, part.strength(view.clock))
            outer, *own = torch.autograd.grad(total, [leaf, *parameters], allow_unused=True, materialize_grads=True)
        if factor:
            gradient = [outer * each for each in gradient]
        return [each + new for each, new in zip(gradient, own, strict=True)], values

    def table(self, measure: str) -> CostTable:
        """What the candidates of the search cost, on its device; looked up once.

        Args:
            measure: What is counted, or the path of a table of latencies.
        """
        module = self._module
        if measure not in self._tables:
            table = find_costs(module.network, module.architecture.space, module.spec, measure)
            self._tables[measure] = table.to(module.device, widest_float(module.device))
        return self._tables[measure]

    def network_costs(self, measure: str, costed: CostedNetwork) -> NetworkCosts:
        """What each choice of the search costs in a network, with a table on its device; counted once.

        Args:
            measure: What is counted, or the path of a table of latencies.
            costed: In which network.
        """
        module, key = self._module, (measure, repr(costed))  # a network need not have a hash
        if key not in self._networks:
            space = module.architecture.space
            if costed.network == "search":
                self._networks[key] = NetworkCosts.of_search(self.table(measure), space)
            else:
                name = costed.network
                network = default_retrain_network(space.name) if name is None else find_retrain_network(name, None)
                network = network.with_numbers(init_channels=costed.init_channels, num_cells=costed.num_cells)
                costs = derived_costs(space, module.spec, network, measure)
                self._networks[key] = costs.to(module.device, widest_float(module.device))
        return self._networks[key]

    def _derived(self) -> Genotype | None:
        try:
            return discrete_cells(self._module)
        except EmptyCellError:
            return None

    def _view(self) -> ArchitectureView:
        architecture = self._module.architecture
        rule = rule_of(self._module)
        masks = {name: architecture.mask(name) for name in architecture.space.cells}
        return ArchitectureView(
            architecture.space,
            dict(architecture.logits.items()),
            architecture.expected(),
            masks,
            architecture.clock,
            self.table,
            architecture.expected_edges(),
            architecture.rivals(),
            architecture,
            architecture.log_densities,
            architecture.soft_samples,
            self.network_costs,
            self._derived,
            getattr(rule, "k", None),
            tuple(getattr(rule, "exclude", ())),
        )


def _name(part: Regularizer, taken: dict[str, Tensor]) -> str:
    """`zero_one` of ZeroOne; `zero_one_2` of a second one."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(part).__name__).lower()
    if name not in taken:
        return name
    return next(f"{name}_{count}" for count in range(2, len(taken) + 2) if f"{name}_{count}" not in taken)
