import pytest
import torch

from lit_nas.data.split import SPLITS, Split


def _check_disjoint(parts):
    every = torch.cat(list(parts.values()))
    assert len(every) == len(every.unique())
    return every


@pytest.mark.parametrize(
    ("rule", "sizes"),
    [
        ("half", {"weights": 50, "arch": 51, "test": 20}),
        ("all", {"weights": 101, "test": 20}),
        ("one-one-four", {"test": 20, "arch": 20, "weights": 81}),
        ({"weights": 0.5, "arch": 0.4, "val": 0.1}, {"weights": 50, "arch": 40, "val": 11, "test": 20}),
        ({"weights": 0.5, "arch": 0.2}, {"weights": 50, "arch": 20, "test": 20}),
    ],
)
def test_parts_are_disjoint_and_have_their_sizes(rule, sizes):
    split = Split(rule)
    parts = split.divide(101, 20)
    assert {role: len(part) for role, part in parts.items()} == sizes
    assert split.roles == set(sizes)
    every = _check_disjoint(parts)
    assert every.min() >= 0
    assert every.max() < 121
    if rule != {"weights": 0.5, "arch": 0.2}:
        assert len(every) == 121


def test_fade_pools_training_and_test_files():
    parts = Split("one-one-four").divide(50_000, 10_000)
    assert {role: len(part) for role, part in parts.items()} == {"test": 10_000, "arch": 10_000, "weights": 40_000}
    assert (parts["test"] < 50_000).any()
    assert (parts["weights"] >= 50_000).any()


def test_other_splits_keep_the_test_part_of_the_data_set():
    assert Split("half").divide(30, 7)["test"].tolist() == list(range(30, 37))


def test_seed_decides_and_none_keeps_the_order_of_the_files():
    zero, again, one = (Split("half", seed).divide(1000, 1) for seed in (0, 0, 1))
    assert torch.equal(zero["arch"], again["arch"])
    assert not torch.equal(zero["arch"], one["arch"])
    plain = Split("half", None).divide(10, 1)
    assert plain["weights"].tolist() == [0, 1, 2, 3, 4]
    assert plain["arch"].tolist() == [5, 6, 7, 8, 9]


def test_the_global_generator_has_no_part_in_it():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Split().divide(100, 1)["weights"]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(Split().divide(100, 1)["weights"], first)


def test_limit_keeps_the_first_of_the_permutation():
    full, limited = Split("all").divide(1000, 5), Split("all").divide(1000, 5, 100)
    assert torch.equal(full["weights"][:100], limited["weights"])
    assert len(limited["test"]) == 5


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("thirds", r"data\.split has no name 'thirds'.*all, half, one-one-four.*weights, arch, val"),
        ({"weights": 0.5, "alpha": 0.5}, r"unknown roles \['alpha'\].*weights, arch, val"),
        ({"weights": 0.5, "test": 0.5}, r"'test', but the test part is the data set's own"),
        ({"arch": 0.5}, r"\['arch'\] but no 'weights'"),
        ({}, r"no 'weights'"),
        ({"weights": 0.5, "arch": 0.0}, r"\{'arch': 0\.0\}, but fractions are positive"),
        ({"weights": float("nan")}, r"fractions are positive"),
        ({"weights": 0.7, "arch": 0.4}, r"sum to 1\.1, which is more than 1"),
    ],
)
def test_a_wrong_rule_is_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        Split(rule)


def test_an_empty_part_is_refused():
    with pytest.raises(ValueError, match=r"no image to the roles \['val'\]: 5 images"):
        Split({"weights": 0.8, "val": 0.1}).divide(5, 5)


def test_the_description_tells_splits_apart():
    texts = [
        str(Split(rule, seed).describe(Split(rule, seed).divide(20, 5)))
        for rule, seed in [("half", 0), ("half", 1), ("half", None), ("all", 0), ({"weights": 0.5, "arch": 0.5}, 0)]
    ]
    assert len(set(texts)) == 5
    parts = Split().divide(20, 5)
    swapped = {**parts, "weights": parts["arch"], "arch": parts["weights"]}
    assert Split().describe(parts)["digest"] != Split().describe(swapped)["digest"]


def _sets(parts):
    return {role: set(part.tolist()) for role, part in parts.items()}


@pytest.mark.parametrize("limit", [None, 40])
@pytest.mark.parametrize("seed", [0, 3, None])
@pytest.mark.parametrize(
    "rule", [*sorted(SPLITS), {"weights": 0.5, "arch": 0.3, "val": 0.2}, {"weights": 0.3, "arch": 0.2}]
)
def test_a_retraining_merges_what_trained_and_keeps_what_tests(rule, seed, limit):
    search = _sets(Split(rule, seed).divide(101, 20, limit))
    retraining = Split(rule, seed, merged=True)
    parts = retraining.divide(101, 20, limit)
    _check_disjoint(parts)
    found = _sets(parts)
    assert retraining.roles == set(found) == set(search) - {"arch"}
    assert found["weights"] == search["weights"] | search.get("arch", set())
    assert found["test"] == search["test"]
    assert found.get("val") == search.get("val")
    # images that a limited search left out may train, but none that it trained on may test
    whole = _sets(retraining.divide(101, 20))
    assert not whole["test"] & (search["weights"] | search.get("arch", set()))


@pytest.mark.parametrize("rule", sorted(SPLITS))
def test_a_limit_leaves_the_test_part_as_it_is(rule):
    full, limited = Split(rule).divide(101, 20), Split(rule).divide(101, 20, 30)
    assert torch.equal(full["test"], limited["test"])
    assert sum(len(part) for role, part in limited.items() if role != "test") == 30
