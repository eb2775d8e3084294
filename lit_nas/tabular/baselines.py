"""Searches that train nothing: they look validation accuracies up, and the table says how good their find is.

Papers: random search and regularised evolution as in NAS-Bench-201 (Dong, Yang, ICLR 2020,
https://arxiv.org/abs/2001.00326), the latter from Real et al., AAAI 2019, https://arxiv.org/abs/1802.01548; random
sampling as in Yang, Esperanca, Carlucci, ICLR 2020, https://arxiv.org/abs/1912.12522.
Differs from the authors' code (D-X-Y/AutoDL-Projects): the budget is a number of cells, not of seconds of training;
random search tries no cell twice; a mutation takes every edge with equal chance.
"""

from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from statistics import fmean, stdev
from typing import Any

from lit_nas.spaces.nas_bench_201_strings import CELL_OPERATIONS, format_architecture, parse_architecture
from lit_nas.tabular.table import DATASETS, Standing, Table

__all__ = ("BASELINES", "mutate", "random_sampling", "random_search", "regularised_evolution", "run_baseline")

POPULATION, TOURNAMENT = 10, 3
"""Size of the population and number of candidates for a parent, as in the script of NAS-Bench-201."""


def random_sampling(table: Table, dataset: str, budget: int, draw: Random) -> list[str]:
    """Cells drawn blindly: all of them are the result, whose mean is what a cell of this space is worth.

    Args:
        table: The benchmark.
        dataset: Not looked at.
        budget: How many cells are drawn.
        draw: Random numbers.
    """
    return draw.choices(table.architectures, k=budget)


def random_search(table: Table, dataset: str, budget: int, draw: Random) -> list[str]:
    """Of different cells drawn at random the one with the best validation accuracy.

    Args:
        table: The benchmark.
        dataset: Whose validation accuracies are looked at.
        budget: How many cells are drawn.
        draw: Random numbers.
    """
    return [max(draw.sample(table.architectures, budget), key=table.validation[dataset].__getitem__)]


def regularised_evolution(table: Table, dataset: str, budget: int, draw: Random) -> list[str]:
    """Of all cells of an evolution, in which the oldest dies, the one with the best validation accuracy.

    Args:
        table: The benchmark.
        dataset: Whose validation accuracies are looked at.
        budget: How many cells are looked at, the first population included.
        draw: Random numbers.
    """
    fitness = table.validation[dataset].__getitem__
    seen = draw.choices(table.architectures, k=min(POPULATION, budget))
    population = deque(seen, maxlen=POPULATION)
    while len(seen) < budget:
        parent = max(draw.sample(list(population), TOURNAMENT), key=fitness)
        seen.append(mutate(parent, draw))
        population.append(seen[-1])
    return [max(seen, key=fitness)]


def mutate(architecture: str, draw: Random) -> str:
    """The cell with another operation on one edge.

    Args:
        architecture: Its string.
        draw: Random numbers.
    """
    operations = list(parse_architecture(architecture))
    edge = draw.randrange(len(operations))
    operations[edge] = draw.choice([name for name in CELL_OPERATIONS if name != operations[edge]])
    return format_architecture(operations)


Baseline = Callable[[Table, str, int, Random], list[str]]
"""(table, data set, budget, random numbers) -> what is found."""

BASELINES: Mapping[str, Baseline] = {
    "random_sampling": random_sampling,
    "random_search": random_search,
    "regularised_evolution": regularised_evolution,
}


def run_baseline(table: Table, method: str, dataset: str, budget: int, seeds: int) -> dict[str, Any]:
    """Runs a baseline with the seeds 0, 1, ... and looks up what it finds.

    Args:
        table: The benchmark.
        method: A key of `BASELINES`.
        dataset: Whose validation accuracies may be looked at.
        budget: How many cells may be looked at.
        seeds: How many runs.

    Returns:
        Plain data: `method`, `dataset`, `budget`, `seeds`; `found`, a list of architectures a seed; and by data set
        `test_accuracy`, `rank` and `regret` with `mean` and `deviation` (of a sample; None for a single seed) over the
        seeds. Where a seed finds several cells, it counts with their mean.

    Raises:
        ValueError: if method or data set are unknown or a number is out of range.
    """
    if method not in BASELINES:
        raise ValueError(f"There is no baseline '{method}'. Known are: {', '.join(BASELINES)}.")
    if dataset not in DATASETS:
        raise ValueError(f"There is no data set '{dataset}' in the table. Known are: {', '.join(DATASETS)}.")
    if not 1 <= budget <= len(table.architectures):
        raise ValueError(f"The budget must be from 1 to {len(table.architectures):,} cells, not {budget}.")
    if seeds < 1:
        raise ValueError(f"There must be at least 1 seed, not {seeds}.")
    found = [BASELINES[method](table, dataset, budget, Random(seed)) for seed in range(seeds)]
    standings = [[table.look_up(architecture) for architecture in each] for each in found]
    results = {
        name: {
            measure: _spread([fmean(getattr(cell[name], measure) for cell in each) for each in standings])
            for measure in Standing._fields
        }
        for name in DATASETS
    }
    return {"method": method, "dataset": dataset, "budget": budget, "seeds": seeds, "found": found, **results}


def _spread(values: list[float]) -> dict[str, float | None]:
    return {"mean": fmean(values), "deviation": stdev(values) if len(values) > 1 else None}
