"""Groups against those of the paper, and average linkage against that of scikit-learn."""

import pytest
import torch
from sklearn.cluster import AgglomerativeClustering

from lit_nas.correlation import Clustering
from lit_nas.spaces import DARTS_OPERATIONS, STACNAS_S1, STACNAS_S3, STACNAS_S4, OperatorGroups


def matrix(names, between, pairs):
    """Correlations: 1 on the diagonal, those of pairs, and for all others what lies between groups."""
    return [
        [
            1.0 if a == b else pairs.get((a, b), pairs.get((b, a), between(row, column)))
            for column, b in enumerate(names)
        ]
        for row, a in enumerate(names)
    ]


FIGURE_1 = {
    ("max_pool_3x3", "avg_pool_3x3"): 0.52,
    ("sep_conv_3x3", "sep_conv_5x5"): 0.38,
    ("dil_conv_3x3", "dil_conv_5x5"): 0.27,
}


@pytest.mark.parametrize("between", [lambda a, b: 0.1, lambda a, b: 0.1 * (-1) ** (a + b), lambda a, b: -0.05])
@pytest.mark.parametrize("how", [Clustering(), Clustering(threshold=0.12), Clustering(count=4)])
def test_the_matrix_of_the_paper_gives_the_groups_of_the_paper(between, how):
    names = DARTS_OPERATIONS[1:]
    found = how.groups(names, matrix(names, between, FIGURE_1))
    assert found == STACNAS_S1
    assert found.groups == STACNAS_S1.groups  # `==` of dataclasses compares the mappings, too
    assert list(found.groups) == ["max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"]
    shuffled = [names[place] for place in (6, 1, 4, 2, 0, 5, 3)]
    again = how.groups(shuffled, matrix(shuffled, between, FIGURE_1))
    assert {frozenset(members) for members in again.groups.values()} == {
        frozenset(members) for members in STACNAS_S1.groups.values()
    }
    assert set(again.groups) - {"avg_pool_3x3"} == set(found.groups) - {"max_pool_3x3"}  # of two 3x3 the first


@pytest.mark.parametrize("groups", [STACNAS_S3, STACNAS_S4])
def test_other_groups_of_the_paper_are_found_with_their_keys(groups):
    names = groups.operations
    alike = {(a, b): 0.4 for members in groups.groups.values() for a in members for b in members if a != b}
    assert Clustering().groups(names, matrix(names, lambda a, b: 0.05, alike)).groups == groups.groups


def test_thresholds_are_of_the_average():
    names = ("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7")
    chain = matrix(names, lambda a, b: 0.0, {names[:2]: 0.8, names[1:]: 0.6})  # the third joins with 0.3 on average

    def keys(threshold):
        return Clustering(threshold).groups(names, chain).keys

    assert keys(0.9) == names
    assert keys(0.31) == ("sep_conv_3x3", "sep_conv_7x7")
    assert keys(0.3) == ("sep_conv_3x3",)
    assert keys(-0.5) == ("sep_conv_3x3",)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_average_linkage(seed):
    names = (*DARTS_OPERATIONS[1:], "sep_conv_7x7", "conv_7x1_1x7")
    features = torch.randn(len(names), 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = torch.corrcoef(features)
    for arguments, limits in (
        ({"threshold": 0.1}, {"n_clusters": None, "distance_threshold": 0.9}),
        ({"count": 4}, {"n_clusters": 4}),
    ):
        labels = AgglomerativeClustering(metric="precomputed", linkage="average", **limits).fit_predict(
            1 - found.numpy()
        )
        expected = {frozenset(n for n, own in zip(names, labels, strict=True) if own == label) for label in labels}
        groups = Clustering(**arguments).groups(names, found.tolist())
        assert {frozenset(members) for members in groups.groups.values()} == expected


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("sep_conv_5x5", "dil_conv_3x3", "sep_conv_3x3"), "dil_conv_3x3"),
        (("sep_conv_7x7", "sep_conv_5x5"), "sep_conv_5x5"),
        (("skip_connect", "max_pool_5x5"), "skip_connect"),
        (("skip_connect", "max_pool_3x3", "avg_pool_3x3"), "max_pool_3x3"),
        (("nor_conv_1x1", "nor_conv_3x3"), "nor_conv_3x3"),
    ],
)
def test_keys_have_a_kernel_of_three_or_else_the_smallest(names, key):
    alike = [[1.0] * len(names)] * len(names)
    assert Clustering().groups(names, alike).groups == {key: names}


def test_what_was_not_correlated_stays_alone():
    names = ("max_pool_3x3", "avg_pool_3x3")
    found = Clustering().groups(names, [[1.0, 0.5], [0.5, 1.0]], alone=("skip_connect",))
    assert found == OperatorGroups({"max_pool_3x3": names, "skip_connect": ("skip_connect",)})
    assert Clustering(count=2).groups(names, [[1.0, 0.5], [0.5, 1.0]]).keys == names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.0}, "clustering.threshold must lie between -1 and 1, not be 1.0"),
        ({"threshold": -1.0}, "clustering.threshold must lie between -1 and 1"),
        ({"threshold": float("nan")}, "clustering.threshold must lie between -1 and 1"),
        ({"count": 0}, "clustering.count must be at least 1, not 0"),
        ({"threshold": 0.3, "count": 2}, "exclude each other"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Clustering(**arguments)


def test_more_groups_than_operations_are_refused():
    with pytest.raises(ValueError, match="only 2 operations are correlated"):
        Clustering(count=3).groups(("max_pool_3x3", "avg_pool_3x3"), [[1.0, 0.5], [0.5, 1.0]])
