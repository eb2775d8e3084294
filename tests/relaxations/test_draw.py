"""Columns that are executed, and masks of them."""

import torch

from lit_nas.relaxations.draw import active_columns, mask_of


def test_masks_and_columns_are_the_reverse_of_each_other():
    columns = ((0, 2), (), (1,))
    mask = mask_of(columns, 4)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[True, False, True, False], [False] * 4, [False, True, False, False]]
    assert active_columns(mask) == columns
