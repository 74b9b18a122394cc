"""Lights that do not belong to the pictures are seen from the pictures; good ones never are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calib.lights import Lights
from reconstruct.errors import ReconstructError
from reconstruct.plausible import judge
from reconstruct.stack import Stack
from tests.plausible import scene
from tests.refine import simulated_parts

CAMERA, LIGHTS = scene.camera(), scene.lights()
METAL, MATT = scene.stack(matt=False), scene.stack(matt=True)


def in_order(order: np.ndarray) -> Lights:
    return replace(LIGHTS.select(order), ids=LIGHTS.ids)


def turned(x: list[int], y: list[int]) -> Lights:
    matrix = np.array([[*x, 0], [*y, 0], [0, 0, 1]], float)
    return replace(LIGHTS, position_mm=LIGHTS.position_mm @ matrix.T, axis=LIGHTS.axis @ matrix.T)


def in_camera_frame() -> Lights:
    position = LIGHTS.position_mm @ CAMERA.R.T + CAMERA.t
    return replace(LIGHTS, position_mm=position, axis=LIGHTS.axis @ CAMERA.R.T)


@pytest.mark.parametrize(("stack", "kind"), [(METAL, "metal"), (MATT, "matt")])
def test_good_pictures_are_left_in_peace_and_told_matt_from_metal(stack: Stack, kind: str) -> None:
    found = judge(stack, CAMERA, LIGHTS)
    assert found.notes == ()
    assert found.kind == kind


@pytest.mark.parametrize("number", [0, 1, 3, 6])
def test_the_long_highlights_of_a_ground_part_make_no_other_order_and_no_mirror_of_the_lights(
    number: int,
) -> None:
    part = simulated_parts.part(f"ground-{number}", 48, bounce=False)
    assert judge(simulated_parts.pictures(part), part.rig.camera, part.rig.lights).notes == ()


@pytest.mark.parametrize("stack", [METAL, MATT])
@pytest.mark.parametrize(
    ("lights", "says"),
    [
        (in_order(np.arange(16)[::-1]), "do not belong"),
        (in_order(np.roll(np.arange(16), 1)), "shifted by −1"),
        (in_order(np.roll(np.arange(16), 5)), "shifted by −5"),
        (turned([0, -1], [1, 0]), "turned by 270"),
        (turned([0, 1], [1, 0]), "x and y exchanged"),
        (replace(LIGHTS, position_mm=LIGHTS.position_mm / 10), "in cm"),
        (in_camera_frame(), "from the camera's frame"),
    ],
)
def test_lights_of_another_order_or_frame_are_refused_by_name(
    stack: Stack, lights: Lights, says: str
) -> None:
    with pytest.raises(ReconstructError, match=says):
        judge(stack, CAMERA, lights)


@pytest.mark.parametrize("stack", [METAL, MATT])
@pytest.mark.parametrize("turn", [([-1, 0], [0, 1]), ([1, 0], [0, -1])])
def test_mirrored_lights_are_said_or_refused(
    stack: Stack, turn: tuple[list[int], list[int]]
) -> None:
    try:
        said = " ".join(judge(stack, CAMERA, turned(*turn)).notes)
    except ReconstructError as error:
        said = str(error)
    assert "mirrored" in said


@pytest.mark.parametrize("stack", [METAL, MATT])
def test_negatives_are_refused(stack: Stack) -> None:
    with pytest.raises(ReconstructError, match="seem to be negatives"):
        judge(replace(stack, radiance=1 - stack.radiance), CAMERA, LIGHTS)


def test_two_lamps_exchanged_are_named() -> None:
    order = np.arange(16)
    order[[4, 11]] = order[[11, 4]]
    with pytest.raises(ReconstructError, match="that of LED 5 to LED 12, that of LED 12 to LED 5"):
        judge(MATT, CAMERA, in_order(order))


def test_black_and_copied_pictures_are_refused() -> None:
    nothing = replace(METAL, radiance=np.zeros_like(METAL.radiance))
    with pytest.raises(ReconstructError, match="all 16 pictures are black"):
        judge(nothing, CAMERA, LIGHTS)
    copied = METAL.radiance.copy()
    copied[7] = copied[2]
    with pytest.raises(ReconstructError, match="LED 3 and LED 8 are one picture"):
        judge(replace(METAL, radiance=copied), CAMERA, LIGHTS)


@pytest.mark.parametrize("stack", [METAL, MATT])
def test_dead_leds_and_pictures_clipped_all_over_are_named(stack: Stack) -> None:
    rng = np.random.default_rng(0)
    dead = stack.radiance.copy()
    dead[[5, 9]] = rng.normal(0, 1 / 4095, dead[:2].shape)
    with pytest.raises(ReconstructError, match="the pictures of LED 6, 10 are black"):
        judge(replace(stack, radiance=dead), CAMERA, LIGHTS)
    full, clipped = stack.radiance.copy(), stack.clipped.copy()
    full[[0, 1]], clipped[[0, 1]] = 1.0, True
    with pytest.raises(ReconstructError, match="LED 1, 2 are clipped all over"):
        judge(replace(stack, radiance=full, clipped=clipped), CAMERA, LIGHTS)


def test_one_picture_many_times_is_said() -> None:
    rng = np.random.default_rng(0)
    first = np.repeat(METAL.radiance[:1] + 0.1, 16, axis=0)
    noisy = first + rng.normal(0, 1e-3, first.shape).astype(np.float32)
    found = judge(replace(METAL, radiance=noisy.astype(np.float32)), CAMERA, LIGHTS)
    assert "alike but for their noise" in found.notes[0]


@pytest.mark.parametrize("factor", [30.0, 1 / 30.0])
def test_an_intensity_thirty_times_off_is_refused(factor: float) -> None:
    # Reflectance 0.8 of a white plate: radiance = 0.8 / π × intensity × cos / d².
    right = float(MATT.radiance.max()) / 0.8 * np.pi * 240.0**2 * 1.1
    assert judge(MATT, CAMERA, replace(LIGHTS, intensity=right)).notes == ()
    with pytest.raises(ReconstructError, match="intensity"):
        judge(MATT, CAMERA, replace(LIGHTS, intensity=right * factor))


@pytest.mark.parametrize("led", range(1, 17))
@pytest.mark.parametrize("share", [0.25, 0.4, 0.6])
def test_a_dim_led_on_a_matt_part_is_told_as_dim_and_no_order_is_blamed(
    led: int, share: float
) -> None:
    dim = MATT.radiance.copy()
    dim[led - 1] *= share
    (note,) = judge(replace(MATT, radiance=dim), CAMERA, LIGHTS).notes
    assert note.startswith(f"LED {led} gives {share:.1f}")
    assert "a dim LED?" in note


def test_of_metal_a_dim_led_never_makes_another_order_of_the_lights() -> None:
    for led in range(16):
        dim = METAL.radiance.copy()
        dim[led] *= 0.4
        notes = judge(replace(METAL, radiance=dim), CAMERA, LIGHTS).notes
        assert all(note.startswith(f"LED {led + 1} gives") for note in notes)


@pytest.mark.parametrize("pair", [(0, 5), (2, 7), (12, 13)])
def test_exchanged_lights_are_not_told_as_a_dim_led(pair: tuple[int, int]) -> None:
    order = np.arange(16)
    order[list(pair)] = pair[::-1]
    with pytest.raises(ReconstructError, match="pictures belong to other lights"):
        judge(MATT, CAMERA, in_order(order))


@pytest.mark.parametrize("share", [0.08, 0.2])
def test_room_light_that_the_dark_picture_lacks_is_told_on_a_matt_part(share: float) -> None:
    lit = MATT.radiance + np.float32(share * np.median(MATT.radiance))
    (note,) = judge(replace(MATT, radiance=lit), CAMERA, LIGHTS).notes
    told = int(note.removeprefix("some ").partition(" %")[0]) / 100
    assert told == pytest.approx(share / (1 + share), abs=0.02)
    assert "room light" in note


def test_powers_places_and_directions_that_are_a_little_off_are_no_room_light() -> None:
    rng = np.random.default_rng(3)
    power = rng.uniform(0.85, 1.15, len(LIGHTS))
    moved = LIGHTS.position_mm + rng.normal(0, 4, LIGHTS.position_mm.shape)
    for lights in (
        replace(LIGHTS, power=power),
        replace(LIGHTS, position_mm=moved),
        replace(LIGHTS, position_mm=LIGHTS.position_mm * 1000),
    ):
        assert not any("no LED" in note for note in judge(MATT, CAMERA, lights).notes)
