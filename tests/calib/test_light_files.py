"""Light files: ours keeps everything, others' are read as they come, all are read back."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.camera import Camera
from calib.errors import CalibrationError
from calib.foreign import parse_dome, parse_luces
from calib.light_files import format_lights, from_data, read_lights, to_data, write_lights
from calib.lights import Lights
from calib.lp import LightList, format_lp, parse_lp

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def some_lights(count: int = 5) -> Lights:
    rng = np.random.default_rng(1)
    position = rng.normal(size=(count, 3)) * 50 + [0, 0, 250]
    axis = rng.normal(size=(count, 3)) * 0.1 - [0, 0, 1]
    square = rng.normal(size=(count, 6, 6))
    return Lights(
        ids=np.array([2, 3, 5, 7, 11])[:count],
        position_mm=position,
        power=rng.uniform(0.8, 1.2, count),
        axis=axis / np.linalg.norm(axis, axis=1, keepdims=True),
        lobe=rng.uniform(0, 3, count),
        intensity=1234.5,
        covariance=square @ square.transpose(0, 2, 1),
        common_steps=rng.normal(size=(2, count, 3)),
        power_sigma=rng.uniform(0.001, 0.01, count),
        provenance={"date": "2026-01-02", "board": {"serial": "x1"}},
    )


@pytest.mark.parametrize("name", ["lights.json", "lights.yaml"])
def test_our_own_files_keep_everything(tmp_path: Path, name: str) -> None:
    lights = some_lights()
    write_lights(lights, tmp_path / name)
    back = read_lights(tmp_path / name)
    np.testing.assert_array_equal(back.ids, lights.ids)
    kept = (
        "position_mm",
        "power",
        "axis",
        "lobe",
        "covariance",
        "common_steps",
        "power_sigma",
    )
    for key in kept:
        np.testing.assert_allclose(getattr(back, key), getattr(lights, key), rtol=1e-12)
    assert back.intensity == lights.intensity
    assert back.provenance["board"] == {"serial": "x1"}


def test_a_common_shift_of_an_older_file_becomes_steps() -> None:
    data = to_data(some_lights())
    del data["common_steps"]
    shift = np.diag([0.04, 0.01, 0.09])
    lights = from_data({**data, "common_covariance": shift.tolist()})
    assert lights.covariance is not None
    marginal = lights.position_covariance()
    assert marginal is not None
    np.testing.assert_allclose(marginal - lights.covariance[:, :3, :3], [shift] * 5, atol=1e-12)
    some = lights.select(np.array([3, 1])).position_covariance()
    assert some is not None
    np.testing.assert_allclose(some, marginal[[3, 1]])


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "lights.json"
    write_lights(some_lights(), path)
    with pytest.raises(CalibrationError, match="exists"):
        write_lights(some_lights(3), path)
    assert len(read_lights(path)) == 5
    write_lights(some_lights(3), path, overwrite=True)
    assert len(read_lights(path)) == 3


@pytest.mark.parametrize("name", ["lights.lp", "lights.dome", "led_params.txt"])
def test_foreign_files_are_read_back(tmp_path: Path, name: str) -> None:
    lights = some_lights()
    camera = Camera(64, 48, np.diag([80.0, 80.0, 1.0]), t=np.array([0.0, 0.0, 400.0]))
    write_lights(lights, tmp_path / name, camera)
    if name == "lights.lp":
        write_lights(lights, tmp_path / "power.csv")
    back = read_lights(tmp_path / name)
    np.testing.assert_allclose(back.position_mm, lights.position_mm, atol=1e-4)
    ratio = back.power / lights.power
    np.testing.assert_allclose(ratio / ratio[0], 1, rtol=1e-6)
    if name == "led_params.txt":
        np.testing.assert_allclose(back.axis, lights.axis, atol=1e-7)
        np.testing.assert_allclose(back.lobe, lights.lobe, rtol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "2\na.png 1 2 3\nb c.png -4 5.5 6e1\n",
        "a.png 1 2 3\nb c.png -4 5.5 6e1",
        "\ufeff2\r\na.png\t1\t2\t3\r\nb c.png\t-4\t5.5\t60\r\n\r\n",
        "2\na.png 1,0 2,0 3,0\nb c.png -4,0 5,5 60,0\n",
        "a.png,1,2,3\nb c.png, -4, 5.5, 60\n",
        "2\na.png;1;2;3\nb c.png;-4;5,5;60\n",
    ],
)
def test_lp_dialects(text: str) -> None:
    listed = parse_lp(text)
    assert listed.names == ("a.png", "b c.png")
    np.testing.assert_allclose(listed.xyz, [[1, 2, 3], [-4, 5.5, 60]])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no light"),
        ("a 1 2\n", "line 1"),
        ("a 1 2 3\nb x y z\n", "line 2"),
        ("a 0 0 0\n", "light 1"),
    ],
)
def test_lp_mistakes_are_named(text: str, complaint: str) -> None:
    with pytest.raises(CalibrationError, match=complaint):
        parse_lp(text)


names = st.text("abc_-. 0123456789", min_size=1, max_size=12).map(lambda s: "i" + s.strip() + "x")
coordinate = st.floats(-1e4, 1e4).map(lambda v: round(v, 4))


@given(
    st.lists(
        st.tuples(names, coordinate, coordinate, coordinate),
        min_size=1,
        max_size=8,
        unique_by=lambda r: r[0],
    ),
    st.booleans(),
    st.booleans(),
)
def test_lp_round_trip(
    rows: list[tuple[str, float, float, float]], count_line: bool, commas: bool
) -> None:
    rows = [row for row in rows if any(row[1:])] or [("i", 1.0, 2.0, 3.0)]
    listed = LightList(tuple(r[0] for r in rows), np.array([r[1:] for r in rows]))
    text = format_lp(listed, count_line=count_line)
    if commas:
        head, *tail = [text] if not count_line else text.split("\n", 1)
        body = "\n".join(
            " ".join([*line.split(" ")[:-3], *(v.replace(".", ",") for v in line.split(" ")[-3:])])
            for line in (tail[0] if tail else head).splitlines()
        )
        text = f"{head}\n{body}" if tail else body
    back = parse_lp(text)
    assert back.names == listed.names
    np.testing.assert_allclose(back.xyz, listed.xyz, atol=1e-8)


@given(st.text(max_size=200))
def test_any_text_is_lights_or_one_sentence(text: str) -> None:
    for parse in (parse_lp, parse_dome, parse_luces):
        with contextlib.suppress(CalibrationError):
            parse(text)


leaf = st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(-5, 5)
json_values = st.recursive(
    leaf,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "position_mm", "axis", "leds", "format", "x", "positions3d"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values, json_values)
def test_any_json_is_lights_or_one_sentence(led: object, extra: object) -> None:
    data = to_data(some_lights())
    for candidate in (
        extra,
        {**data, "leds": led},
        {**data, "leds": [led]},
        {**data, "intensity": extra},
        {**data, "common_covariance": extra, "common_steps": None, "provenance": led},
        {**data, "common_steps": extra},
    ):
        with contextlib.suppress(CalibrationError):
            from_data(candidate)
    for candidate in (
        extra,
        {"lightConfiguration": "lights3d", "positions3d": led},
        {"directions": [[1, 2, 3]], "ledAdjust": led},
    ):
        with contextlib.suppress(CalibrationError):
            parse_dome(json.dumps(candidate))


def test_absurd_places_are_refused() -> None:
    for place in ([0.0, 0.0, 1.3e154], [float("nan"), 1.0, 2.0]):
        with pytest.raises(CalibrationError, match=r"finite|no number"):
            parse_dome(json.dumps({"lightConfiguration": "lights3d", "positions3d": [place]}))
        data = to_data(some_lights())
        data["leds"][0]["position_mm"] = place
        with pytest.raises(CalibrationError, match=r"finite|no number"):
            from_data(data)


def test_an_axis_may_have_any_length() -> None:
    data = to_data(some_lights())
    data["leds"][0]["axis"] = [0.0, 0.0, -1e200]
    np.testing.assert_array_equal(from_data(data).axis[0], [0.0, 0.0, -1.0])


def test_unit_directions_give_lights_at_infinity(tmp_path: Path) -> None:
    unit = np.array([[0.6, 0.0, 0.8], [0.0, -0.6, 0.8]])
    text = "a.png 0.6 0 0.8\nb.png 0 -0.6 0.8\n"
    (tmp_path / "dirs.lp").write_text(text)
    lights = read_lights(tmp_path / "dirs.lp")
    length = np.linalg.norm(lights.position_mm, axis=1)
    assert length.min() > 1e5
    np.testing.assert_allclose(lights.position_mm / length[:, None], unit, atol=1e-12)
    assert parse_lp(format_lights(lights, ".lp")).are_directions
    assert parse_dome(format_lights(lights, ".dome")).provenance["at_infinity"]


def test_luces_frame_is_turned_to_ours() -> None:
    text = "rows cols f x0 y0 mean\n10 20 500 10.5 5.5 300\n10 20 5 0 0.6 0.8 1 2 3 0.5\n"
    lights, camera = parse_luces(text)
    np.testing.assert_allclose(lights.position_mm[0], [10, -20, 295])
    np.testing.assert_allclose(lights.axis[0], [0, -0.6, -0.8])
    np.testing.assert_allclose(camera.project(np.zeros((1, 3))), [[9.5, 4.5]])
    np.testing.assert_allclose(camera.R @ lights.position_mm[0] + camera.t, [10, 20, 5])


@pytest.mark.skipif(not (SHARED / "captures").exists(), reason="no captures beside the repository")
def test_captures_lp_with_powers() -> None:
    lights = read_lights(SHARED / "captures/blob/lights.lp")
    assert len(lights) == 96
    assert np.ptp(lights.power) > 0.1
