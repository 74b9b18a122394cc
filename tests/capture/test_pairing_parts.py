"""The proof of pairing on parts of metal under the virtual dome, with nothing but a calibration."""

from __future__ import annotations

import numpy as np
import pytest

from capture.evidence import UNMEASURED, Evidence, Reference, thumbnail
from capture.pairing import Verdict, judge
from capture.prediction import direction_pictures
from reconstruct.optics.material import Material
from reconstruct.shapes.base import Shape
from reconstruct.shapes.catalogue import shape
from rig.simulate import part_scene, scene_of, virtual_rig

RIG = virtual_rig(96, (64, 64), 0)
CALIBRATION = Reference(
    tuple(range(1, 97)),
    direction_pictures(RIG.lights.position_mm, RIG.lights.power),
    "the calibration",
    recorded=False,
)


@pytest.fixture(scope="module", params=["turned-0", "stamped-0", "milled-0", "block-0", "ground-0"])
def pictures(request: pytest.FixtureRequest) -> np.ndarray:
    """(97, 16, 16) thumbnails: dark, then every LED; 16 ms, without noise."""
    scene = scene_of(request.param, rig=RIG, bounce=False)
    rates = [np.zeros(scene.shape, np.float32), *(scene.irradiance(led) for led in range(1, 97))]
    counts = [np.clip(rate * 16_000 / 12_000 + 0.004, 0, 1) * 65535 for rate in rates]
    return np.stack([thumbnail(np.rint(c).astype(np.uint16), 65535) for c in counts])


def judged(
    pictures: np.ndarray,
    wiring: dict[int, int] | None = None,
    reference: Reference = CALIBRATION,
) -> list[Verdict]:
    """Of all LEDs, in their order."""
    kinds = ["dark", *["light"] * (len(pictures) - 1)]
    frames = [
        Evidence(led, kind, led, pictures[(wiring or {}).get(led, led)], echo=led)  # type: ignore[arg-type]
        for led, kind in enumerate(kinds)
    ]
    return judge(frames, [reference], 0.004)[1:]


def verdicts(*given: object) -> list[str]:
    return [found.verdict for found in judged(*given)]  # type: ignore[arg-type]


def test_nothing_is_unproven_where_nothing_is_wrong(pictures: np.ndarray) -> None:
    assert set(verdicts(pictures)) == {"good"}


@pytest.mark.parametrize("led", [3, 40, 77])
def test_crossed_neighbours_are_never_good(led: int, pictures: np.ndarray) -> None:
    away = RIG.lights.position_mm / np.linalg.norm(RIG.lights.position_mm, axis=1)[:, None]
    second = int(np.argsort(-(away @ away[led - 1]))[1]) + 1
    found = verdicts(pictures, {led: second, second: led})
    assert "good" not in (found[led - 1], found[second - 1])


@pytest.mark.parametrize("led", [4, 41, 78])
def test_the_picture_before_taken_twice_is_never_good(led: int, pictures: np.ndarray) -> None:
    assert verdicts(pictures, {led: led - 1})[led - 1] != "good"


def test_pictures_all_late_by_one_are_hardly_ever_good(pictures: np.ndarray) -> None:
    """A shift of a dome wound as a spiral turns it nearly into itself: it was good in half."""
    late = {led: (led - 2) % 96 + 1 for led in range(1, 97)}
    assert verdicts(pictures, late).count("good") < 15


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_an_led_of_another_brightness_is_not_good(share: float, pictures: np.ndarray) -> None:
    changed = pictures.copy()
    changed[50] = pictures[0] + np.float32(share) * (pictures[50] - pictures[0])
    found = judged(changed)
    assert found[49].verdict != "good"
    assert found[49].checks["reference"].state in ("unknown", "fail")
    assert [each.verdict for each in found].count("good") >= 94


def test_powers_that_nobody_measured_leave_few_pictures_unproven(pictures: np.ndarray) -> None:
    """A drawing of the dome: LEDs within 3 mm, all of one power, though they differ by 15 %.

    (Of the flat ground plate, which shows most LEDs nearly nothing, a fifth stays unproven.)
    """
    drawn = direction_pictures(RIG.nominal_mm, np.ones(96))
    known = Reference(CALIBRATION.leds, drawn, "the drawing", recorded=False, gain=UNMEASURED)
    found = verdicts(pictures, None, known)
    assert found.count("good") >= 75
    assert "bad" not in found


def ramp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of a flat plate with a ramp of 1 mm, mm."""
    return np.asarray(np.tanh(x / 5) / 2 + 0.02 * np.sin(x / 9) * np.cos(y / 11))


@pytest.mark.parametrize("part", ["ramp", "block-5"])
def test_of_24_leds_a_first_capture_is_proven_and_crossed_neighbours_are_not(part: str) -> None:
    """Half of the plate was "unproven … 1.43 times as bright as its neighbours tell"."""
    rig = virtual_rig(24, (64, 64), 0)
    nickel = Material.metal("Ni", 0.2)
    scene = (
        part_scene(rig, Shape(part, ramp), nickel, bounce=False)
        if part == "ramp"
        else scene_of(part, rig=rig, bounce=False)
    )
    rates = [np.zeros(scene.shape, np.float32), *(scene.irradiance(led) for led in range(1, 25))]
    counts = [np.clip(rate * 16_000 / 12_000 + 0.004, 0, 1) * 65535 for rate in rates]
    pictures = np.stack([thumbnail(np.rint(c).astype(np.uint16), 65535) for c in counts])
    known = Reference(
        tuple(range(1, 25)),
        direction_pictures(rig.lights.position_mm, rig.lights.power),
        "the calibration",
        recorded=False,
    )
    assert verdicts(pictures, None, known) == ["good"] * 24
    away = rig.lights.position_mm / np.linalg.norm(rig.lights.position_mm, axis=1)[:, None]
    for led in (3, 12, 20):
        second = int(np.argsort(-(away @ away[led - 1]))[1]) + 1
        found = verdicts(pictures, {led: second, second: led}, known)
        assert "good" not in (found[led - 1], found[second - 1])
    dim = pictures.copy()
    dim[10] = pictures[0] + np.float32(0.5) * (pictures[10] - pictures[0])
    told = judged(dim, None, known)[9].checks["reference"]
    assert told.state == "unknown"
    if part == "ramp":
        assert told.why.endswith("0.40 times as bright as its neighbours tell: a dim LED")


@pytest.mark.parametrize("led", [3, 9, 48])
@pytest.mark.parametrize("part", ["stamped", "sphere_cap"])
def test_one_dim_led_on_a_matt_part_is_told_as_dim_and_the_others_stay_good(
    part: str, led: int
) -> None:
    """Its LED and up to 90 others "look too much alike", as if the order were in doubt."""
    scene = part_scene(RIG, shape(part), Material.lambertian(0.6), bounce=False)
    rates = [np.zeros(scene.shape, np.float32), *(scene.irradiance(led) for led in range(1, 97))]
    most = 0.7 / np.max(rates)
    pictures = np.stack([thumbnail(np.rint(65535 * (r * most + 0.004)), 65535) for r in rates])
    pictures[led] = pictures[0] + np.float32(0.4) * (pictures[led] - pictures[0])
    found = judged(pictures)
    assert [each.index for each in found if each.verdict != "good"] == [led]
    assert found[led - 1].reason.endswith("times as bright as its neighbours tell: a dim LED")
