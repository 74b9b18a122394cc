"""A place that only guessed slopes join to the rest of a part has no height."""

import numpy as np

from reconstruct.refine.claims import islands


def test_what_a_ring_of_guesses_cuts_off_is_an_island() -> None:
    inside = np.ones((20, 20), bool)
    told = inside.copy()
    told[:, 14] = False
    found = islands(told, inside)
    assert found[:, 15:].all()
    assert not found[:, :15].any()


def test_pieces_of_a_part_that_do_not_touch_are_kept() -> None:
    inside = np.ones((20, 20), bool)
    inside[:, 14] = False
    assert not islands(inside.copy(), inside).any()


def test_holes_of_guesses_cut_nothing_off() -> None:
    inside = np.ones((20, 20), bool)
    told = inside.copy()
    told[5:9, 5:9] = False
    assert not islands(told, inside).any()
    assert not islands(np.zeros_like(inside), inside).any()
