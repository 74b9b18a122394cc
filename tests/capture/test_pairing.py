"""The proof of pairing as pure functions: what passes, what fails, what nobody can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.bump import Bump
from capture.evidence import Evidence, Reference, pack, thumbnail, unpack
from capture.pairing import check_clock, fit_clock, judge
from capture.prediction import Prediction, direction_pictures
from capture.resemblance import reference_pictures, resemblance

BLACK = 0.004
COUNT = 24


def frames(scene: Bump, wiring: dict[int, int] | None = None, noise: int = 0) -> list[Evidence]:
    """A pass over a scene without a rig: dark, every LED (by its wiring), dark."""
    rng = np.random.default_rng(noise)

    def seen(electrons: np.ndarray) -> np.ndarray:
        noisy = electrons + rng.normal(0, 1, electrons.shape) * np.sqrt(electrons + 9)
        return thumbnail(np.clip(noisy * 4095 / 12_000 + 16, 0, 4095).astype(np.uint16), 4095)

    dark = np.zeros(scene.shape)
    taken = [Evidence(0, "dark", 0, seen(dark), echo=0)]
    for led in range(1, scene.led_count + 1):
        lit = scene.irradiance((wiring or {}).get(led, led)) * 8000
        taken.append(Evidence(led, "light", led, seen(lit), echo=led))
    taken.append(Evidence(len(taken), "dark", 0, seen(dark), echo=0))
    return taken


@pytest.fixture(scope="module")
def scene() -> Bump:
    return Bump((96, 128), COUNT, seed=1)


@pytest.fixture(scope="module")
def reference(scene: Bump) -> Reference:
    leds, pictures = reference_pictures(frames(scene))
    return Reference(leds, pictures, "an earlier recording", recorded=True)


def verdicts(taken: list[Evidence], *references: Reference) -> dict[int, str]:
    return {v.index: v.verdict for v in judge(taken, references, BLACK)}


def test_the_same_scene_is_good_with_a_reference_and_unproven_without(
    scene: Bump, reference: Reference
) -> None:
    again = frames(scene, noise=1)
    assert set(verdicts(again, reference).values()) == {"good"}
    alone = verdicts(again)
    assert {alone[f.index] for f in again if f.kind == "light"} == {"unproven"}
    assert {alone[f.index] for f in again if f.kind == "dark"} == {"good"}


@settings(max_examples=25, deadline=None)
@given(st.integers(1, COUNT), st.integers(1, COUNT - 1), st.sampled_from([1, 5, 6]))
def test_crossed_cables_are_never_good(first: int, step: int, part: int) -> None:
    scene = Bump((96, 128), COUNT, seed=part)
    leds, pictures = reference_pictures(frames(Bump((96, 128), COUNT, seed=1)))
    known = Reference(leds, pictures, "an earlier recording", recorded=True)
    second = (first + step - 1) % COUNT + 1
    found = verdicts(frames(scene, {first: second, second: first}, noise=2), known)
    assert found[first] != "good"
    assert found[second] != "good"
    if part == 1:
        assert (found[first], found[second]) == ("bad", "bad")


def test_a_calibration_serves_as_reference(scene: Bump) -> None:
    known = Reference(
        tuple(range(1, COUNT + 1)),
        direction_pictures(scene.position_mm, scene.power),
        "the calibration",
        recorded=False,
    )
    good = list(verdicts(frames(scene, noise=3), known).values())
    assert good.count("good") > 0.6 * len(good)
    assert "bad" not in good
    crossed = verdicts(frames(scene, {3: 9, 9: 3}, noise=3), known)
    assert "good" not in (crossed[3], crossed[9])


def test_calibrations_that_contradict_each_other_leave_a_picture_unproven(scene: Bump) -> None:
    order = np.arange(COUNT)
    order[[2, 8]] = 8, 2  # the cables were crossed when the older one was made
    now, older = (
        Reference(
            tuple(range(1, COUNT + 1)),
            direction_pictures(scene.position_mm[of], scene.power[of]),
            name,
            recorded=False,
        )
        for of, name in ((np.arange(COUNT), "the calibration"), (order, "an older calibration"))
    )
    taken = frames(scene, noise=3)
    by_both = {v.index: v for v in judge(taken, [now, older], BLACK)}
    assert by_both[3].verdict == "unproven"
    assert by_both[3].checks["reference"].state == "unknown"
    assert by_both[3].reason == "it looks like LED 9 rather than LED 3 by an older calibration"
    alone = {v.index: v for v in judge(taken, [older], BLACK)}
    assert (alone[3].verdict, alone[3].reason) == ("bad", by_both[3].reason)
    assert {v.index: v for v in judge(taken, [now], BLACK)}[3].verdict == "good"


def test_an_led_that_the_reference_lacks_is_unproven(scene: Bump, reference: Reference) -> None:
    fewer = Reference(reference.leds[1:], reference.pictures[1:], "an old run", recorded=True)
    found = verdicts(frames(scene, noise=4), fewer)
    assert found[1] == "unproven"
    assert found[2] == "good"


def test_a_dim_led_is_bad_against_the_reference(scene: Bump, reference: Reference) -> None:
    taken = frames(scene)
    dim = taken[5]
    taken[5] = replace(dim, thumbnail=taken[0].thumbnail + 0.5 * (dim.thumbnail - BLACK))
    assert verdicts(taken, reference)[5] == "bad"


@pytest.mark.parametrize(("share", "state"), [(0.1, "pass"), (0.0, "fail")])
def test_an_led_whose_highlight_misses_the_camera_is_not_dead(
    scene: Bump, share: float, state: str
) -> None:
    """Of a polished part some LEDs show little: a mean of 0.1 % of full scale is light."""
    taken = frames(scene)
    dark, faint = taken[0].thumbnail, taken[5].thumbnail - taken[0].thumbnail
    dim = 0.01 / float(faint.mean())  # a dim part: 1 % of full scale by a typical LED
    taken = [replace(each, thumbnail=dark + dim * (each.thumbnail - dark)) for each in taken]
    taken[5] = replace(taken[5], thumbnail=dark + share * dim * faint)
    found = {v.index: v for v in judge(taken, (), BLACK)}
    assert found[5].checks["light"].state == state


def test_a_test_pattern_that_ignores_the_light_is_unproven(reference: Reference) -> None:
    ramp = np.tile(np.linspace(0.1, 0.9, 16, dtype=np.float32), (16, 1))
    kinds = ["dark", *["light"] * 8, "dark"]
    taken = [
        Evidence(n, kind, n if kind == "light" else 0, np.roll(ramp, n, axis=1), echo=0)  # type: ignore[arg-type]
        for n, kind in enumerate(kinds)
    ]
    taken = [replace(frame, echo=frame.led) for frame in taken]
    assert set(verdicts(taken, reference).values()) == {"unproven"}


def test_an_echo_of_another_led_is_bad(scene: Bump, reference: Reference) -> None:
    taken = frames(scene)
    taken[4] = replace(taken[4], echo=7)
    assert verdicts(taken, reference)[4] == "bad"


# clocks ---------------------------------------------------------------------------------------
def timed(board_us: np.ndarray, camera_us: np.ndarray) -> list[Evidence]:
    blank = np.zeros((16, 16), np.float32)
    return [
        Evidence(n, "light", n + 1, blank, camera_us=c, board_us=b, sequence=1, slack_us=100)
        for n, (b, c) in enumerate(zip(board_us, camera_us, strict=True))
    ]


@given(
    st.floats(-1e9, 1e9),
    st.floats(-300, 300),
    st.integers(0, 39),
    st.floats(200, 15_000),
)
def test_offset_and_drift_are_fitted_and_a_late_edge_stands_out(
    offset_us: float, drift_ppm: float, late: int, delay_us: float
) -> None:
    rng = np.random.default_rng(1)
    board = np.arange(40) * 16_667.0 + rng.integers(0, 8, 40) * 100
    camera = offset_us + board * (1 + drift_ppm * 1e-6)
    camera[late] += delay_us
    drift, residual = fit_clock(board, camera)
    assert drift == pytest.approx(drift_ppm, abs=1.0)
    assert np.argmax(np.abs(residual)) == late
    checks = check_clock(timed(board, camera))
    assert [index for index, check in checks.items() if check.state == "fail"] == [late]


def test_a_shift_by_one_fits_no_clock() -> None:
    rng = np.random.default_rng(2)
    board = np.arange(40) * 16_667.0 + rng.integers(0, 8, 40) * 100
    checks = check_clock(timed(board[:-1], board[1:]))
    assert sum(check.state == "fail" for check in checks.values()) > 20


def test_without_time_stamps_the_clock_tells_nothing() -> None:
    blank = np.zeros((16, 16), np.float32)
    taken = [Evidence(n, "light", n + 1, blank, board_us=n * 1e4, sequence=1) for n in range(8)]
    assert {check.state for check in check_clock(taken).values()} == {"unknown"}


# numbers --------------------------------------------------------------------------------------
@given(st.integers(0, 2**32 - 1))
def test_a_thumbnail_survives_the_journal(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 4096, (50, 70)).astype(np.uint16)
    small = thumbnail(pixels, 4095)
    assert np.array_equal(unpack(pack(small)), small)
    assert abs(small.mean() - pixels.mean() / 4095) < 0.02


def test_resemblance_is_the_least_squares_residual() -> None:
    rng = np.random.default_rng(3)
    pictures, others = rng.random((4, 30)), rng.random((5, 30))
    others[0] = 2.5 * pictures[1]
    residual, scale = resemblance(pictures, others)
    assert residual[1, 0] == pytest.approx(0, abs=1e-6)
    assert scale[1, 0] == pytest.approx(2.5)
    fitted = scale[2, 3] * pictures[2]
    expected = np.linalg.norm(others[3] - fitted) / np.linalg.norm(others[3])
    assert residual[2, 3] == pytest.approx(expected)


def test_each_picture_is_predicted_from_the_others_alone() -> None:
    rng = np.random.default_rng(4)
    mixing = rng.random((10, 3))
    pictures = mixing @ rng.random((3, 40))
    covariance = mixing @ mixing.T + 1e-9 * np.eye(10)
    assert np.allclose(Prediction.of(covariance, pictures).alone(), pictures, atol=1e-3)
    wrong = pictures.copy()
    wrong[[2, 5]] = rng.random((2, 40))
    first, second = Prediction.of(covariance, wrong).pair(2)
    assert np.allclose(first[5], pictures[2], atol=1e-3)
    assert np.allclose(second[5], pictures[5], atol=1e-3)


# light of another LED -------------------------------------------------------------------------
def mixed(taken: list[Evidence], index: int, other: int, share: float) -> list[Evidence]:
    """The pass with a share of another LED's light in one picture."""
    more = share * (taken[other].thumbnail - BLACK)
    taken = list(taken)
    taken[index] = replace(taken[index], thumbnail=taken[index].thumbnail + more)
    return taken


@pytest.mark.parametrize("index", [2, 7, 13, 24])
def test_one_per_cent_of_the_led_before_is_seen(
    index: int, scene: Bump, reference: Reference
) -> None:
    again = mixed(frames(scene, noise=5), index, index - 1, 0.01)
    found = {v.index: v for v in judge(again, [reference], BLACK)}
    assert found[index].verdict == "bad"
    assert "% of another LED's light" in found[index].reason
    assert {v.verdict for k, v in found.items() if k != index} == {"good"}


def test_one_per_cent_of_an_led_in_a_dark_frame_is_seen(scene: Bump, reference: Reference) -> None:
    taken = mixed(frames(scene, noise=6), COUNT + 1, 5, 0.01)
    found = {v.index: v for v in judge(taken, [reference], BLACK)}
    assert found[COUNT + 1].verdict == "bad"
    assert "LED" in found[COUNT + 1].reason


def test_sound_passes_are_not_called_mixed(scene: Bump, reference: Reference) -> None:
    for noise in range(10, 30):
        assert set(verdicts(frames(scene, noise=noise), reference).values()) == {"good"}


def test_a_part_laid_down_again_is_not_called_mixed(scene: Bump, reference: Reference) -> None:
    moved = [
        replace(f, thumbnail=f.thumbnail if f.kind == "dark" else shifted(f.thumbnail))
        for f in frames(scene, noise=7)
    ]
    assert "bad" not in verdicts(moved, reference).values()


def shifted(picture: np.ndarray) -> np.ndarray:
    """A tenth of a cell to the right."""
    return np.asarray(0.9 * picture + 0.1 * np.roll(picture, 1, axis=1), dtype=np.float32)
