"""What the proof of pairing says of a picture, and where its limits lie."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from capture.bump import Bump
from capture.evidence import GRID, Evidence, Reference
from capture.pairing import (
    check_clock,
    check_echo,
    check_light,
    check_repeat,
    judge,
    responds,
)
from capture.prediction import direction_pictures, likeness, mixed_by
from capture.resemblance import check_references

BLACK = 0.004
DARK = np.full((GRID, GRID), BLACK, np.float32)
COUNT = 10


def pictures(count: int = COUNT, level: float = 0.2) -> np.ndarray:
    """(count, GRID, GRID) light of LEDs about a rough plate: each brighter on its own side."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[-1 : 1 : GRID * 1j, -1 : 1 : GRID * 1j]
    angle = 2 * np.pi * np.arange(count)[:, None, None] / count
    rough = 0.1 * rng.standard_normal((GRID, GRID)) * np.cos(angle - rng.uniform(0, 6, (16, 16)))
    side = 1 + 0.4 * (np.cos(angle) * x + np.sin(angle) * y) + rough
    return (level * side).astype(np.float32)


def taken(light: np.ndarray, dark: np.ndarray = DARK, repeat: int = 0) -> list[Evidence]:
    """A pass: dark, each LED, the first again (if `repeat`), dark."""
    seen = [Evidence(0, "dark", 0, dark, echo=0)]
    for led, picture in enumerate(light, 1):
        seen.append(Evidence(led, "light", led, dark + picture, echo=led))
    if repeat:
        again = dark + light[repeat - 1]
        seen.append(Evidence(len(seen), "repeat", repeat, again, echo=repeat))
    return [*seen, Evidence(len(seen), "dark", 0, dark, echo=0)]


def recorded(light: np.ndarray) -> Reference:
    flat = np.asarray(light, np.float64).reshape(len(light), -1)
    return Reference(tuple(range(1, len(light) + 1)), flat, "run 7", recorded=True)


# conclusions ----------------------------------------------------------------------------------
def test_a_verdict_names_every_cause_once():
    silent = [replace(frame, echo=None) for frame in taken(pictures())]
    first = {v.index: v for v in judge(silent, (), BLACK)}[1]
    assert first.verdict == "unproven"
    assert first.reason == (
        "the board does not say which LED it lit; "
        "no earlier recording or calibration of this rig to compare with"
    )
    seen = taken(pictures())
    seen[3] = replace(seen[3], echo=5, thumbnail=DARK)
    third = {v.index: v for v in judge(seen, (), BLACK)}[3]
    assert third.verdict == "bad"
    assert third.reason == (
        "asked for LED 3, the board lit 5; LED 3 gave no light (0.0 % of what others give)"
    )
    assert third.to_json()["checks"]["echo"] == ["fail", "asked for LED 3, the board lit 5"]


def test_a_good_picture_tells_by_what_it_is_good():
    light = pictures()
    found = {v.index: v for v in judge(taken(light), [recorded(light)], BLACK)}
    assert (found[2].verdict, found[2].reason) == ("good", "")
    told = found[2].to_json()
    assert told["reason"] == ""
    assert list(told["checks"]) == ["echo", "clock", "light", "reference"]
    assert {state for state, _ in told["checks"].values()} == {"pass"}
    assert list(found[0].checks) == ["echo", "clock", "light"], "a dark frame has no look"


def test_the_board_is_asked_which_led_it_lit():
    light = pictures()
    frames = [replace(f, echo=None if f.index == 2 else f.echo) for f in taken(light)]
    found = check_echo(frames)
    assert (found[1].state, found[2].state) == ("pass", "unknown")
    assert found[1].why == "the board lit LED 1"


# clocks ---------------------------------------------------------------------------------------
def by_the_clock(camera_us: np.ndarray, sequence: int = 1) -> dict[int, tuple[str, str]]:
    frames = [
        Evidence(n, "light", n + 1, DARK, camera_us=c, board_us=1e4 * n, sequence=sequence,
                 slack_us=100)
        for n, c in enumerate(camera_us)
    ]  # fmt: skip
    return {index: (check.state, check.why) for index, check in check_clock(frames).items()}


def test_pictures_taken_one_at_a_time_need_no_clock():
    found = by_the_clock(np.arange(8) * 5e3, sequence=0)
    assert set(found.values()) == {("pass", "one trigger at a time, the LED on throughout")}


def test_clocks_that_do_not_run_alike_are_told_in_ppm():
    assert by_the_clock(1e4 * 1.003 * np.arange(8))[5] == (
        "fail", "the clocks do not run alike: 3000 ppm",
    )  # fmt: skip
    assert {state for state, _ in by_the_clock(1e4 * 1.0019 * np.arange(8)).values()} == {"pass"}


@pytest.mark.parametrize(("late_us", "state"), [(104, "pass"), (106, "fail"), (-106, "fail")])
def test_an_exposure_may_come_as_late_as_its_light_allows(late_us: float, state: str):
    camera = 1e4 * np.arange(9)
    camera[4] += late_us
    found = by_the_clock(camera)
    assert found[4][0] == state
    assert found[4][1].startswith(f"exposed {late_us:+.0f} µs from the board's clock (drift +0.0")
    assert found[4][1].endswith(", allowed 105") == (state == "fail")
    assert {found[n][0] for n in range(9) if n != 4} == {"pass"}


def test_four_stamps_are_enough_for_a_clock_and_three_are_not():
    assert by_the_clock(1e4 * np.arange(4))[0][0] == "pass"
    assert by_the_clock(1e4 * np.arange(3))[0] == (
        "unknown", "too few time stamps to compare the clocks",
    )  # fmt: skip


# light ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("dark", "change", "expected"),
    [
        (0.5, 0.02, True),  # 4 % of the dark frames' brightness
        (0.5, 0.008, False),  # 1.6 %
        (0.5, -0.02, True),
        (0.04, 0.0, True),  # dark frames that are dark: another check tells a dead LED
    ],
)
def test_leds_that_change_a_bright_picture_by_two_per_cent_are_seen(dark, change, expected):
    frames = taken(np.full((3, GRID, GRID), change), dark=np.full((GRID, GRID), dark))
    assert responds(frames, 0.0) is expected


def test_without_dark_frames_leds_are_taken_to_be_seen():
    assert responds(taken(np.zeros((3, GRID, GRID)), DARK + 0.5)[1:-1], 0.0)


def test_room_light_is_told_by_what_an_led_gives():
    room = np.full((GRID, GRID), BLACK + 0.16, np.float32)
    found = check_light(taken(np.full((4, GRID, GRID), 0.2, np.float32), dark=room), BLACK)
    assert found[2].state == "unknown"
    assert found[2].why == (
        "the dark frames hold 80 % of what an LED gives: room light, or an LED that is always on"
    )
    assert found[0].state == "pass"


def test_a_dark_frame_with_light_spoils_the_pictures_beside_it():
    frames = taken(np.full((4, GRID, GRID), 0.2, np.float32))
    frames[-1] = replace(frames[-1], thumbnail=DARK + np.float32(0.08))
    frames.append(Evidence(6, "light", 5, DARK + np.float32(0.2), echo=5))
    found = check_light(frames, BLACK)
    assert found[5].state == "fail"
    assert found[5].why == "not dark: 40 % of what an LED gives"
    assert [found[n].state for n in (1, 4, 6)] == ["fail"] * 3
    assert found[4].why.startswith("a dark frame beside it is not dark")


def test_leds_that_all_give_nothing_are_one_cause():
    found = check_light(taken(np.full((4, GRID, GRID), 0.0005, np.float32)), BLACK)
    assert {found[n].why for n in range(1, 5)} == {
        f"LED {n} gave no light, nor did most others: LED supply off, lens covered, or exposure "
        "too short"
        for n in range(1, 5)
    }


# the first LED again --------------------------------------------------------------------------
def test_the_first_led_again_is_told_by_brightness_and_looks():
    light = pictures()
    frames = taken(light, repeat=1)
    assert check_repeat(frames)[COUNT + 1].state == "pass"
    without_dark = check_repeat([frame for frame in frames if frame.kind != "dark"])
    assert without_dark[COUNT + 1].why == "LED 1 again: 1.000 times as bright, 0.0 % different"
    frames[-2] = replace(frames[-2], thumbnail=DARK + np.float32(1.4) * light[0])
    drifted = check_repeat(frames)
    assert [drifted[n].state for n in (1, COUNT + 1)] == ["fail", "fail"]
    assert drifted[1].why.startswith("LED 1 again: 1.400 times as bright")
    assert drifted[1].why.endswith("the part moved, or the light drifted")
    frames[-2] = replace(frames[-2], thumbnail=DARK + np.float32(1.2) * light[0])
    assert check_repeat(frames)[COUNT + 1].state == "pass"


def noisy(frames: list[Evidence]) -> list[Evidence]:
    """The noise of a cell of many pixels."""
    rng = np.random.default_rng(8)
    return [
        replace(f, thumbnail=f.thumbnail + rng.normal(0, 3e-5, DARK.shape).astype(np.float32))
        for f in frames
    ]


def test_light_of_another_led_in_the_repetition_is_named():
    bump = Bump((GRID, GRID), 24, seed=1)
    light = np.stack([bump.irradiance(led) * np.float32(2 / 3) for led in range(1, 25)])
    frames = noisy(taken(light, repeat=1))
    assert check_repeat(frames)[25].state == "pass"
    more = frames[-2].thumbnail + np.float32(0.02) * light[4]
    found = check_repeat([*frames[:-2], replace(frames[-2], thumbnail=more), frames[-1]])
    assert set(found) == {25}, "the first picture is not to blame"
    assert found[25].state == "fail"
    told = re.fullmatch(
        r"LED 1 again holds (\d\.\d) % of another LED's light, by its looks LED 5", found[25].why
    )
    assert told is not None, found[25].why
    assert float(told[1]) == pytest.approx(2, abs=0.3)


def test_a_clipped_repetition_is_not_told():
    frames = taken(pictures(), repeat=1)
    frames[-2] = replace(frames[-2], thumbnail=np.full((GRID, GRID), 0.95, np.float32))
    found = check_repeat(frames)[COUNT + 1]
    assert found.state == "unknown"
    assert found.why == "too few unclipped cells to compare the first LED with its repetition"


def test_light_of_an_led_in_a_dark_frame_is_told_in_per_cent():
    bump = Bump((GRID, GRID), 24, seed=1)
    light = np.stack([bump.irradiance(led) * np.float32(2 / 3) for led in range(1, 25)])
    frames = noisy(taken(light))
    more = frames[-1].thumbnail + np.float32(0.008) * light[4]
    found = check_light([*frames[:-1], replace(frames[-1], thumbnail=more)], BLACK)[25]
    assert found.state == "fail"
    told = re.fullmatch(
        r"not dark: it holds (0\.\d) % of an LED's light, by its looks LED 5", found.why
    )
    assert told is not None, found.why
    assert float(told[1]) == pytest.approx(0.8, abs=0.1)


def test_a_repetition_of_a_picture_that_is_missing_is_not_told():
    frames = [frame for frame in taken(pictures(), repeat=1) if frame.index != 1]
    assert check_repeat(frames)[COUNT + 1].state == "unknown"


# the same scene -------------------------------------------------------------------------------
def by(reference: Reference, frames: list[Evidence]) -> dict[int, tuple[str, str]]:
    found = check_references(frames, [reference])
    return {index: (check.state, check.why) for index, check in found.items()}


def test_one_reference_that_fits_is_enough():
    light = pictures()
    fits = recorded(light)
    lacks = Reference((77,), fits.pictures[:1], "run 6", recorded=True)
    frames = taken(light)
    assert by(lacks, frames)[3] == ("unknown", "LED 3 is not in run 6")
    for references in ([lacks, fits], [fits, lacks]):
        assert check_references(frames, references)[3].state == "pass"


def test_a_picture_too_much_of_which_is_clipped_is_not_told():
    light = pictures()
    frames = taken(light)
    frames[4] = replace(frames[4], thumbnail=np.full((GRID, GRID), 0.95, np.float32))
    assert by(recorded(light), frames)[4] == (
        "unknown", "too much of it is clipped to compare it",
    )  # fmt: skip


def test_leds_that_light_a_scene_alike_to_the_bit_may_be_exchanged():
    light = pictures()
    light[6] = light[2]
    found = by(recorded(light), taken(light))
    assert (found[3][0], found[7][0]) == ("pass", "pass")


def test_leds_that_look_nearly_alike_are_not_told_apart():
    """Noise makes one picture look more like the other's: nobody knows which LED it was."""
    light = pictures()
    light[6] = light[2] + np.where(np.arange(GRID) % 2, 1e-3, -1e-3).astype(np.float32)
    seen = light.copy()
    seen[2] = 0.4 * light[2] + 0.6 * light[6]
    assert by(recorded(light), taken(seen))[3] == (
        "unknown", "LEDs 3 and 7 look too much alike to tell",
    )  # fmt: skip


def test_a_crossed_cable_is_named_by_whose_picture_it_is():
    light = pictures()
    crossed = light[[0, 4, 2, 3, 1, *range(5, COUNT)]]
    found = by(recorded(light), taken(crossed))
    assert found[2] == ("fail", "it is the picture of LED 5 in run 7")
    assert found[5] == ("fail", "it is the picture of LED 2 in run 7")
    assert found[1][0] == "pass"
    assert found[1][1].startswith("like LED 1 in run 7 to 0.0 %")


def test_noise_of_a_dim_picture_is_no_light_of_another_led():
    """Of a polished part some LEDs show 0.1 % of full scale: noise is a quarter of that."""
    light = pictures()
    light[4] *= 0.005
    seen = light.copy()
    rng = np.random.default_rng(2)
    seen[4] += rng.normal(0, 2.5e-4, seen[4].shape).astype(np.float32)
    assert by(recorded(light), taken(seen))[5][0] == "pass"
    seen[4] += rng.normal(0, 1e-3, seen[4].shape).astype(np.float32)
    state, why = by(recorded(light), taken(seen))[5]
    assert state == "fail"
    assert why.endswith("from LED 5 in run 7: another LED shone as well")


def test_a_dim_led_is_told_by_how_bright_it_is():
    light = pictures()
    seen = light.copy()
    seen[3] *= 0.5
    assert by(recorded(light), taken(seen))[4] == (
        "fail", "it is 0.50 times as bright as in run 7: a dim LED, or two at once",
    )  # fmt: skip


# another scene --------------------------------------------------------------------------------
def dome(count: int) -> Reference:
    """A calibration: LEDs in a ring, 60° from the axis."""
    angle = 2 * np.pi * np.arange(count) / count
    place = 280 * np.column_stack([0.87 * np.cos(angle), 0.87 * np.sin(angle), 0 * angle + 0.5])
    ids = tuple(range(1, count + 1))
    known = direction_pictures(place, np.ones(count))
    return Reference(ids, known, "the calibration", recorded=False)


def test_six_leds_predict_each_other_and_five_do_not():
    few = "too few LEDs to compare another scene with the calibration"
    assert by(dome(5), taken(pictures(5)))[2] == ("unknown", few)
    assert by(dome(6), taken(pictures(6)))[2][1] != few


def test_likeness_is_the_cosine_where_brightness_is_free():
    """Of the inverse covariance: noise of each cell, and one direction for the brightness."""
    rng = np.random.default_rng(1)
    first, second, seen = rng.uniform(0.3, 0.7, (3, 4, 12))
    seen = 0.02 * (seen - 0.5)
    variance = rng.uniform(1e-4, 1e-3, (4, 12))
    gain = 0.05
    expected = []
    for a, b, s, v in zip(first, second, seen, variance, strict=True):
        both, told = 0.5 * (a + b), a - b
        inverse = np.linalg.inv(np.diag(v) + 2 * gain**2 * np.outer(both, both))
        length = np.sqrt((s @ inverse @ s) * (told @ inverse @ told))
        expected.append(s @ inverse @ told / length)
    np.testing.assert_allclose(likeness(first, second, seen, variance, gain), expected, rtol=1e-6)
    like = likeness(first, second, 1e-3 * (second - first), variance, gain)
    np.testing.assert_allclose(like, -1, rtol=1e-6)
    np.testing.assert_array_equal(likeness(first, second, 0 * seen, variance, gain), 0)


def test_a_misfit_is_another_leds_light_or_it_is_not():
    rng = np.random.default_rng(3)
    own, weight = rng.uniform(0.1, 1, 60), rng.uniform(0.5, 2, 60)
    others = rng.uniform(0, 1, (5, 60))
    assert mixed_by(1.3 * own + 0.2 * others[3], own, others, weight) == pytest.approx(1)
    assert mixed_by(own - 0.2 * others[3], own, others, weight) < 0.5, "light is not taken away"
    assert mixed_by(own + rng.normal(0, 0.1, 60), own, others, weight) < 0.3
