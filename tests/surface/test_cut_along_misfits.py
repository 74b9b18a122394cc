"""Pieces cut where no smooth surface explains the pictures, and made one again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reconstruct.pieces import Pieces, cut_along_misfits, rejoined, without_mixed

Mask = NDArray[np.bool_]

SIDE = 80
ROWS, COLUMNS = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
FROM_MIDDLE = np.hypot(ROWS, COLUMNS)
TURN = np.arctan2(ROWS, COLUMNS)
RING = np.abs(FROM_MIDDLE - 18.0) < 1.6
WHOLE = np.maximum(np.abs(ROWS), np.abs(COLUMNS)) < 36


def one_piece() -> Pieces:
    labels = WHOLE.astype(np.int32)
    return Pieces(labels, labels, 1)


def misfit(bands: list[tuple[Mask, float]], typical: float = 1.0) -> NDArray[np.float32]:
    """What a fit leaves: so many times the typical misfit in bands, nothing known off the part."""
    random = np.random.default_rng(3)
    out = typical * random.normal(1.0, 0.1, (SIDE, SIDE))
    for where, times in bands:
        out[where] *= times
    return np.where(WHOLE, out, np.nan).astype(np.float32)


@pytest.mark.parametrize("typical", [1.0, 5.0])
def test_closed_ring_of_misfit_parts_a_piece_in_two(typical: float) -> None:
    cut = cut_along_misfits(one_piece(), misfit([(RING, 4.0)], typical))
    assert cut.count == 2
    assert (cut.labels[WHOLE & (FROM_MIDDLE > 22)] == 1).all()
    assert (cut.labels[FROM_MIDDLE < 14] == 2).all()
    assert not cut.labels[RING].any()  # the wall is of no piece
    assert not cut.labels[~WHOLE].any()
    assert (cut.nearest[WHOLE] > 0).all()
    assert (cut.nearest[FROM_MIDDLE < 17] == 2).all()


@pytest.mark.parametrize("open_px", [9.0, 20.0])
def test_open_arc_cuts_nothing(open_px: float) -> None:
    arc = RING & (18.0 * np.abs(TURN) > open_px / 2)
    cut = cut_along_misfits(one_piece(), misfit([(arc, 4.0)]))
    np.testing.assert_array_equal(cut.labels, one_piece().labels)
    assert cut.count == 1


def test_speck_and_arc_stay_with_the_piece_that_a_ring_parts() -> None:
    speck = np.hypot(ROWS - 4, COLUMNS + 3) < 3.0
    beside = (np.abs(FROM_MIDDLE - 28.0) < 1.6) & (np.abs(TURN) < 1.0)
    cut = cut_along_misfits(one_piece(), misfit([(RING, 4.0), (speck, 6.0), (beside, 4.0)]))
    assert cut.count == 2
    assert (cut.labels[speck] == 2).all()
    assert (cut.labels[beside] == 1).all()


def test_ring_that_is_faint_all_round_cuts_nothing() -> None:
    cut = cut_along_misfits(one_piece(), misfit([(RING, 1.75)]))
    assert cut.count == 1
    np.testing.assert_array_equal(cut.labels, one_piece().labels)


def test_ring_about_too_little_cuts_nothing() -> None:
    small = np.abs(FROM_MIDDLE - 7.5) < 1.6
    assert cut_along_misfits(one_piece(), misfit([(small, 4.0)])).count == 1


def test_only_the_piece_that_the_band_goes_through_is_cut() -> None:
    left = np.where(COLUMNS < 0, 2, 1)
    labels = np.where(WHOLE, left, 0).astype(np.int32)
    ring = np.abs(np.hypot(ROWS, COLUMNS - 18) - 10.0) < 1.6
    cut = cut_along_misfits(Pieces(labels, labels, 2), misfit([(ring, 4.0)]))
    assert cut.count == 3
    np.testing.assert_array_equal(cut.labels == 2, labels == 2)
    assert (cut.labels[np.hypot(ROWS, COLUMNS - 18) < 6.5] == 3).all()


@pytest.mark.parametrize("typical", [1.0, 5.0])
def test_pixels_of_a_rim_that_mix_two_grounds_are_of_no_piece(typical: float) -> None:
    rim = WHOLE & (np.maximum(np.abs(ROWS), np.abs(COLUMNS)) > 35)
    mixed, warm, inner = rim & (ROWS < -35), rim & (ROWS > 35), WHOLE & (FROM_MIDDLE < 5)
    left = misfit([(mixed, 10.0), (warm, 2.0), (inner, 10.0)], typical)
    kept = without_mixed(one_piece(), left)
    np.testing.assert_array_equal(kept.labels == 1, WHOLE & ~mixed)
    assert kept.count == 1


def three_rings() -> tuple[Pieces, Pieces]:
    """One piece, and what two rings of misfit make of it: outside 1, middle 2 or 3."""
    inner = np.abs(FROM_MIDDLE - 13.0) < 1.6
    outer = np.abs(FROM_MIDDLE - 26.0) < 1.6
    cut = cut_along_misfits(one_piece(), misfit([(inner, 4.0), (outer, 4.0)]))
    assert cut.count == 3
    return cut, one_piece()


def part_at(pieces: Pieces, from_middle: float) -> int:
    column = round((SIDE - 1) / 2 + from_middle)
    return int(pieces.labels[SIDE // 2, column])


def test_parts_alike_become_one_piece_again() -> None:
    cut, whole = three_rings()
    outside, between, middle = (part_at(cut, at) for at in (32.0, 19.5, 5.0))
    one = rejoined(cut, whole, lambda a, b: {a, b} == {outside, between})
    assert one.count == 2
    assert part_at(one, 32.0) == part_at(one, 19.5) != part_at(one, 5.0)
    # What lies between them is theirs too; what lies between pieces is an edge.
    assert (one.labels[np.abs(FROM_MIDDLE - 26.0) < 1.0] == part_at(one, 32.0)).all()
    assert not one.labels[np.abs(FROM_MIDDLE - 13.0) < 1.0].any()
    assert part_at(one, 5.0) in (1, 2)
    assert set(np.unique(one.nearest[WHOLE])) == {1, 2}
    assert middle in (1, 2, 3)


def test_parts_that_do_not_touch_become_one_too() -> None:
    """A pocket's floor on either side of a rib."""
    cut, whole = three_rings()
    apart = {part_at(cut, 32.0), part_at(cut, 5.0)}
    one = rejoined(cut, whole, lambda a, b: {a, b} == apart)
    assert one.count == 2
    assert part_at(one, 32.0) == part_at(one, 5.0) != part_at(one, 19.5)


def test_all_parts_alike_are_the_piece_there_was() -> None:
    cut, whole = three_rings()
    one = rejoined(cut, whole, lambda a, b: True)
    assert one.count == 1
    np.testing.assert_array_equal(one.labels, whole.labels)
    np.testing.assert_array_equal(one.nearest, whole.nearest)


def test_parts_that_differ_stay() -> None:
    cut, whole = three_rings()
    one = rejoined(cut, whole, lambda a, b: False)
    assert one.count == 3
    np.testing.assert_array_equal(one.labels, cut.labels)


def test_parts_of_two_pieces_are_never_asked_about() -> None:
    labels = np.where(WHOLE, np.where(COLUMNS < 0, 2, 1), 0).astype(np.int32)
    whole = Pieces(labels, labels, 2)
    ring = np.abs(np.hypot(ROWS, COLUMNS - 18) - 10.0) < 1.6
    cut = cut_along_misfits(whole, misfit([(ring, 4.0)]))
    asked: list[set[int]] = []

    def alike(a: int, b: int) -> bool:
        asked.append({a, b})
        return True

    one = rejoined(cut, whole, alike)
    assert asked == [{1, 3}]
    assert one.count == 2
    np.testing.assert_array_equal(one.labels, labels)
