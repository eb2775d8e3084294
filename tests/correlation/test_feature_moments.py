"""Streaming moments against formulas that see all samples at once, in float64."""

import pytest
import torch

from lit_nas.correlation import FeatureMoments, feature_moments


def maps(samples=23, count=4, shape=(3, 5, 2), seed=0, offset=0.0):
    """Outputs of operations that have something in common, each [samples, ...]."""
    source = torch.Generator().manual_seed(seed)
    shared, *own = torch.randn(count + 1, samples, *shape, generator=source, dtype=torch.float64)
    level = offset * torch.randn(count, *shape, generator=source, dtype=torch.float64)
    return [number * shared + each + at for number, (each, at) in enumerate(zip(own, level, strict=True))]


def streamed(features, sizes, definition="features"):
    moments = FeatureMoments(len(features))
    for parts in zip(*(each.split(sizes) for each in features), strict=True):
        moments.update(parts)
    assert moments.samples == len(features[0])
    return moments.correlation(definition)


def two_pass(features, definition="features"):
    """Mean first, then products, pair by pair."""
    flat = [each.flatten(1) for each in features]
    centred = [each - (each.mean(0) if definition == "features" else each.mean()) for each in flat]
    return torch.tensor(
        [[float((a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()) for b in centred] for a in centred],
        dtype=torch.float64,
    )


def sample_by_sample(features):
    """The recurrence of the authors' code: the mean of b is that before the sample, the mean of a that behind it."""
    flat = [each.flatten(1) for each in features]
    count, means = len(flat), [torch.zeros_like(each[0]) for each in flat]
    products = torch.zeros(count, count, dtype=torch.float64)
    for number in range(len(flat[0])):
        before = [each[number] - mean for each, mean in zip(flat, means, strict=True)]
        means = [mean + change / (number + 1) for mean, change in zip(means, before, strict=True)]
        behind = [each[number] - mean for each, mean in zip(flat, means, strict=True)]
        products += torch.tensor([[float(b @ a) for b in before] for a in behind], dtype=torch.float64)
    deviations = products.diagonal().sqrt()
    return products / deviations / deviations.unsqueeze(1)


@pytest.mark.parametrize("definition", ["features", "maps"])
@pytest.mark.parametrize("sizes", [[23], [7, 7, 9], [1] * 23, [20, 3]], ids=str)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_streaming_is_the_two_pass_formula(definition, sizes, offset):
    features = maps(offset=offset)
    found, constant = streamed(features, sizes, definition)
    # numbers of 1e6 have lost six of sixteen digits before anything is computed
    torch.testing.assert_close(found, two_pass(features, definition), atol=1e-8 if offset else 1e-13, rtol=0)
    assert not constant.any()
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(4, dtype=torch.float64))


def test_both_definitions_differ():
    features = maps(offset=3.0)
    assert not torch.allclose(two_pass(features), two_pass(features, "maps"), atol=0.05)


def test_it_is_the_recurrence_of_the_authors_code():
    features = maps()
    torch.testing.assert_close(streamed(features, [9, 14])[0], sample_by_sample(features), atol=1e-13, rtol=0)


@pytest.mark.parametrize("chunk", [1, 200, 10**9])
def test_how_many_numbers_are_centred_at_a_time_changes_nothing(chunk, monkeypatch):
    monkeypatch.setattr(feature_moments, "CHUNK", chunk)
    features = maps(offset=1.0)
    torch.testing.assert_close(streamed(features, [16, 7])[0], two_pass(features), atol=1e-13, rtol=0)


def test_layout_in_memory_changes_nothing():
    features = maps()
    last = [each.contiguous(memory_format=torch.channels_last) for each in features]
    mixed = [last[0], *features[1:]]
    expected = streamed(features, [23])[0]
    assert torch.equal(streamed(last, [23])[0], expected)
    assert torch.equal(streamed(mixed, [23])[0], expected)
    torch.testing.assert_close(streamed([each.flatten(1) for each in features], [23])[0], expected, atol=1e-13, rtol=0)


def test_single_precision_is_summed_in_double_precision():
    features = [each.float() for each in maps(samples=500, offset=100.0)]
    found, _ = streamed(features, [64] * 7 + [52])
    torch.testing.assert_close(found, two_pass([each.double() for each in features]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("definition", ["features", "maps"])
def test_scale_counts_for_nothing_and_sign_does(definition):
    features = maps()
    expected, _ = streamed(features, [23], definition)
    scaled, _ = streamed([features[0], 1e-6 * features[1], 1e6 * features[2], -3 * features[3]], [23], definition)
    signs = torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(scaled, expected * signs * signs.unsqueeze(1), atol=1e-12, rtol=0)


def test_equal_features_have_one_and_independent_ones_nearly_zero():
    source = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 2000, 30, generator=source)
    found, _ = streamed([first, first.clone(), second, -first], [100] * 20)
    assert float(found[0, 1]) == pytest.approx(1.0, abs=1e-12)
    assert float(found[0, 3]) == pytest.approx(-1.0, abs=1e-12)
    assert abs(float(found[0, 2])) < 5 / (2000 * 30) ** 0.5  # five deviations


def test_what_does_not_vary_is_told():
    features = maps(count=2)
    pattern = features[0][:1].expand_as(features[0])  # differs between features, not between samples
    found, constant = streamed(
        [features[1], torch.zeros_like(features[0]), torch.full_like(features[0], 0.1), pattern], [9, 14]
    )
    assert constant.tolist() == [False, True, True, True]
    assert float(found[0, 0]) == 1.0
    assert found[1:].isnan().all()
    assert found[:, 1:].isnan().all()
    found, constant = streamed([features[1], torch.full_like(features[0], 0.1), pattern], [9, 14], "maps")
    assert constant.tolist() == [False, True, False]
    torch.testing.assert_close(found[::2, ::2], two_pass([features[1], pattern], "maps"), atol=1e-13, rtol=0)
    # far from zero, but not constant
    shifted, constant = streamed([features[1] + 1e8, features[0] + 1e8], [9, 14])
    assert not constant.any()
    assert shifted.isfinite().all()


def test_memory_does_not_grow_with_samples():
    def held(samples):
        moments = FeatureMoments(4)
        for part in range(samples // 5):
            moments.update(maps(5, seed=part))
        return sum(value.numel() for value in vars(moments).values() if torch.is_tensor(value))

    assert held(5) == held(50) == 4 * 30 + 4 * 4


def test_what_cannot_be_correlated_is_refused():
    moments = FeatureMoments(2)
    with pytest.raises(ValueError, match="no correlation without a sample"):
        moments.correlation()
    with pytest.raises(ValueError, match="Maps of 2 operations of one shape are needed"):
        moments.update(maps(count=3))
    with pytest.raises(ValueError, match="Maps of 2 operations of one shape are needed"):
        moments.update([torch.zeros(3, 4), torch.zeros(3, 5)])
    with pytest.raises(ValueError, match="must be one of features, maps, not 'pixels'"):
        moments.correlation("pixels")
    moments.update([torch.tensor([[1.0], [float("nan")]]), torch.tensor([[1.0], [2.0]])])
    with pytest.raises(ValueError, match="are not finite"):
        moments.correlation()
