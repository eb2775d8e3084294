"""Specifications: kinds of data, and what no data can have."""

import pytest

from lit_nas.specs import ImageSpec, Spec, TextSpec


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageSpec(height=0), r"spec\.height must be at least 1, not 0"),
        (lambda: ImageSpec(classes=1), r"spec\.classes is 1, but a network needs at least 2"),
        (lambda: TextSpec(0), r"spec\.vocabulary must be at least 1, not 0"),
        (lambda: TextSpec(1), r"spec\.vocabulary is 1, but a language model needs at least 2"),
    ],
)
def test_numbers_that_no_data_can_have_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_specifications_of_different_kinds_are_never_equal():
    class Other(TextSpec):
        pass

    assert TextSpec(12) == TextSpec(12)
    assert TextSpec(12) not in (TextSpec(13), Other(12), ImageSpec(), Spec())
    assert {kind.samples for kind in (ImageSpec, TextSpec)} == {"images", "token sequences"}
