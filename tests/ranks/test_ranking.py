"""Ranks of a product of choices against its enumeration."""

import csv
import json
import math
from itertools import product

import pytest
import torch

from lit_nas.cli import main
from lit_nas.ranks import Choices, best_networks, load_choices, rank_table, spread_networks, write_ranks
from lit_nas.spaces import Candidates, EdgeCandidates

NAMES = ("dag1", "dag2_01", "dag3_01_02_12")


def choices(*sizes, seed=0, zero=False):
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randn(size, dtype=torch.float64, generator=generator).softmax(0).tolist() for size in sizes]
    if zero:
        rows[0] = [0.5, 0.0, 0.5]
    names = tuple(tuple(f"c{number}" for number in range(size)) for size in sizes)
    return Choices("dags", tuple(f"row_{i + 1}" for i in range(len(sizes))), names, tuple(map(tuple, rows)))


def left(*rows, space="dags", names=NAMES):
    return Candidates(
        space, {f"row_{i + 1}": (EdgeCandidates(0, 1, names[: len(row)], row),) for i, row in enumerate(rows)}
    )


def enumerated(given):
    """Each network with the product of its probabilities."""
    return {
        choice: math.prod(row[number] for row, number in zip(given.probabilities, choice, strict=True))
        for choice in product(*(range(len(row)) for row in given.names))
    }


@pytest.mark.parametrize("given", [choices(3, 4, 2, 5), choices(1, 6), choices(3, 3, 3, zero=True)])
def test_the_best_networks_are_those_of_the_enumeration(given):
    wanted = enumerated(given)
    assert given.networks == len(wanted)
    found = best_networks(given, len(wanted) + 5)
    assert len(found) == len({each.choice for each in found}) == len(wanted)
    assert sum(each.rank for each in found) == pytest.approx(1.0)
    ranks = [each.rank for each in found]
    assert ranks == sorted(ranks, reverse=True)
    for each in found:
        assert each.rank == pytest.approx(wanted[each.choice], rel=1e-12)
        assert each.log_rank == (pytest.approx(math.log(wanted[each.choice])) if wanted[each.choice] else -math.inf)
    assert found[0].choice == tuple(row.index(max(row)) for row in given.probabilities)
    for count in (1, 3, 7):
        assert best_networks(given, count) == found[:count]


def test_networks_that_are_equally_good_all_appear_once():
    given = Choices("dags", ("a", "b"), (("x", "y"), ("x", "y", "z")), ((0.5, 0.5), (0.25, 0.25, 0.5)))
    assert [each.choice for each in best_networks(given, 6)] == [(0, 2), (1, 2), (0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_product_that_nobody_could_enumerate_is_ranked():
    given = choices(*[7] * 30)
    found = best_networks(given, 200)
    assert given.networks == 7**30
    assert len({each.choice for each in found}) == 200
    assert found[0].log_rank == pytest.approx(sum(math.log(max(row)) for row in given.probabilities))
    spread = spread_networks(given, 5, 0)
    assert len({each.choice for each in spread}) == 5
    assert spread == spread_networks(given, 5, 0)


@pytest.mark.parametrize("count", [1, 4, 7, 24])
def test_a_network_is_drawn_out_of_each_part_of_the_ranks(count):
    given = choices(2, 3, 4)
    order = [each.choice for each in best_networks(given, 24)]
    seen = set()
    for seed in range(20):
        found = [order.index(each.choice) for each in spread_networks(given, count, seed)]
        assert found == sorted(found)
        for part, place in enumerate(found):
            assert part * 24 // count <= place < (part + 1) * 24 // count
        seen.add(tuple(found))
    assert len(seen) > 1 or count == 24


def test_repetitions_are_averaged_whatever_the_order_of_their_candidates():
    first, second = left((0.2, 0.3, 0.5), (1.0,)), left((0.1, 0.9, 0.0), (1.0,))
    found = Choices.of([first, second])
    assert found.probabilities == (pytest.approx((0.15, 0.6, 0.25)), (1.0,))
    turned = Candidates("dags", {**second.cells, "row_1": (EdgeCandidates(0, 1, NAMES[::-1], (0.0, 0.9, 0.1)),)})
    assert Choices.of([first, turned]) == found


def test_a_choice_becomes_the_genotype_of_its_candidates():
    given = Choices.of([left((0.2, 0.3, 0.5), (0.6, 0.4))])
    genotype = given.genotype((2, 1), held_out={"rule": {}})
    assert [cell.edges[0].operation for cell in genotype.cells.values()] == ["dag3_01_02_12", "dag2_01"]
    assert genotype.meta == {"held_out": {"rule": {}}}
    assert given.choice_of(given.candidates_of((2, 1))) == (2, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choices("dags", (), (), ()), "there is none, or one is empty"),
        (lambda: Choices("dags", ("a",), (("x", "y"),), ((0.5, 0.4),)), "the probabilities .*do not sum to 1"),
        (lambda: Choices.of([left((0.2, 0.8)), left((0.2, 0.3, 0.5))]), "average repetitions of the same search only"),
        (lambda: Choices.of([left((1.0,)), left((1.0,), (1.0,))]), "average repetitions of the same search only"),
        (
            lambda: Choices.of([Candidates("darts", {"normal": (EdgeCandidates(0, 2, ("none",), (1.0,)),) * 1
                                                     + (EdgeCandidates(1, 2, ("none",), (1.0,)),)})]),
            "'normal' of the space 'darts' has 2 edges: rank searches of a space such as DagSpace",
        ),
        (lambda: choices(2, 2).choice_of(["c0"]), "one candidate for each of the rows row_1, row_2"),
        (lambda: choices(2, 2).choice_of(["c0", "c5"]), r"The row 'row_2' has no candidate 'c5'. It has: c0, c1"),
        (lambda: best_networks(choices(2), 0), "At least 1 network is ranked, not 0"),
        (lambda: spread_networks(choices(2, 2), 5, 0), "There are 4 networks, so that 5 cannot be spread"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_command_prints_and_writes_the_best_networks(tmp_path, capsys):
    rows = [(0.2, 0.3, 0.5), (0.6, 0.4)], [(0.4, 0.1, 0.5), (0.8, 0.2)]
    for number, each in enumerate(rows):
        (tmp_path / str(number)).mkdir()
        left(*each).save(tmp_path / str(number) / "candidates.json")
    runs = [str(tmp_path / "0"), str(tmp_path / "1" / "candidates.json")]
    for suffix in ("csv", "json"):
        assert main(["ranks", *runs, "-k", "4", "-o", str(tmp_path / f"ranks.{suffix}")]) == 0
    printed = capsys.readouterr().out
    assert "row_1: dag3_01_02_12 0.5000, dag1 0.3000, dag2_01 0.2000\n" in printed
    assert "The best 4 of 6 networks:\n    1  3.5000e-01  dag3_01_02_12  dag1\n" in printed
    wanted = rank_table(load_choices(runs), best_networks(load_choices(runs), 4))
    assert [row["rank"] for row in wanted] == pytest.approx([0.35, 0.21, 0.15, 0.14])
    assert json.loads((tmp_path / "ranks.json").read_text()) == wanted
    with (tmp_path / "ranks.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{key: str(value) for key, value in row.items()} for row in wanted]
    with pytest.raises(ValueError, match=r"written to a \.csv or \.json file"):
        write_ranks(wanted, tmp_path / "ranks.txt")
    assert main(["ranks", str(tmp_path / "nothing")]) == 2
    assert "There is no file of candidates" in capsys.readouterr().err
