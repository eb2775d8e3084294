"""Searches on a made-up table, whose validation accuracy is a quarter of what a cell is worth."""

from dataclasses import replace
from random import Random
from statistics import fmean, stdev

import pytest

from lit_nas.spaces.nas_bench_201_strings import parse_architecture
from lit_nas.tabular import BASELINES, run_baseline
from lit_nas.tabular.baselines import mutate, random_sampling, random_search, regularised_evolution
from tests.support.fake_table import make_table, worth


class Counting(dict):
    """Accuracies that remember who was looked at."""

    def __init__(self, values):
        super().__init__(values)
        self.seen = []

    def __getitem__(self, key):
        self.seen.append(key)
        return super().__getitem__(key)


@pytest.fixture(scope="module")
def table():
    return make_table()


def test_mutation_changes_one_edge_to_any_other_operation(table):
    draw, start = Random(0), table.architectures[777]
    children = {mutate(start, draw) for _ in range(1000)}
    assert len(children) == 6 * 4
    for child in children:
        pairs = zip(parse_architecture(child), parse_architecture(start), strict=True)
        assert sum(a != b for a, b in pairs) == 1


@pytest.mark.parametrize("budget", [1, 2, 10, 50])
@pytest.mark.parametrize("name", BASELINES)
def test_nobody_looks_at_more_than_the_budget_or_at_the_truth(name, budget, table):
    watched = replace(table, validation={d: Counting(v) for d, v in table.validation.items()})
    object.__setattr__(watched, "test", None)  # looking there would fail
    found = BASELINES[name](watched, "cifar100", budget, Random(0))
    assert len(set(watched.validation["cifar100"].seen)) <= budget
    assert not watched.validation["cifar10"].seen
    assert len(found) == (budget if name == "random_sampling" else 1)


def test_random_search_finds_the_best_of_what_it_draws(table):
    (found,) = random_search(table, "cifar10", len(table.architectures), Random(0))
    assert worth(found) == 72.0
    (found,) = random_search(table, "cifar10", 20, Random(3))
    assert worth(found) == max(map(worth, Random(3).sample(table.architectures, 20)))


def test_evolution_climbs(table):
    """With one edge after the other to improve, 200 cells are more than enough; blind draws are far away."""
    worths = [worth(regularised_evolution(table, "cifar10", 200, Random(seed))[0]) for seed in range(5)]
    assert min(worths) >= 64.0
    assert fmean(map(worth, random_sampling(table, "cifar10", 2000, Random(0)))) == pytest.approx(6 * 5.6, abs=0.5)


def test_results_are_those_of_the_found_cells(table):
    result = run_baseline(table, "random_search", "cifar10", 10, 4)
    assert [len(found) for found in result["found"]] == [1] * 4
    values = [10.0 + worth(found[0]) for found in result["found"]]
    assert result["cifar10"]["test_accuracy"] == {"mean": fmean(values), "deviation": stdev(values)}
    assert result["cifar100"]["test_accuracy"]["mean"] == pytest.approx(fmean(values) - 5)
    assert result["cifar10"]["regret"]["mean"] == pytest.approx(82 - fmean(values))
    ranks = [table.look_up(found[0])["cifar10"].rank for found in result["found"]]
    assert result["cifar10"]["rank"]["mean"] == fmean(ranks)
    assert run_baseline(table, "random_search", "cifar10", 10, 4) == result
    sampled = run_baseline(table, "random_sampling", "cifar10", 30, 1)
    assert sampled["cifar10"]["test_accuracy"] == {
        "mean": pytest.approx(10 + fmean(map(worth, sampled["found"][0]))),
        "deviation": None,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("hill_climbing", "cifar10", 10, 1),
            "no baseline 'hill_climbing'. Known are: random_sampling, random_search, r",
        ),
        (
            ("random_search", "mnist", 10, 1),
            "no data set 'mnist' in the table. Known are: cifar10, cifar100, imagenet16",
        ),
        (("random_search", "cifar10", 0, 1), "must be from 1 to 15,625 cells, not 0"),
        (("random_search", "cifar10", 15_626, 1), "must be from 1 to 15,625 cells, not 15626"),
        (("random_search", "cifar10", 10, 0), "at least 1 seed, not 0"),
    ],
)
def test_wrong_arguments(arguments, message, table):
    with pytest.raises(ValueError, match=message):
        run_baseline(table, *arguments)
