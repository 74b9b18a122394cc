"""The proof of pairing on parts of metal under the virtual dome, with nothing but a calibration."""

from __future__ import annotations

import numpy as np
import pytest

from capture.evidence import Evidence, Reference, thumbnail
from capture.pairing import judge
from capture.resemblance import direction_pictures
from rig.simulate import scene_of, virtual_rig

RIG = virtual_rig(96, (64, 64), 0)
CALIBRATION = Reference(
    tuple(range(1, 97)),
    direction_pictures(RIG.lights.position_mm, RIG.lights.power),
    "the calibration",
    recorded=False,
)


@pytest.fixture(scope="module", params=["turned-0", "stamped-0", "milled-0"])
def pictures(request: pytest.FixtureRequest) -> np.ndarray:
    """(97, 16, 16) thumbnails: dark, then every LED; 16 ms, without noise."""
    scene = scene_of(request.param, rig=RIG, bounce=False)
    rates = [np.zeros(scene.shape), *(scene.irradiance(led) for led in range(1, 97))]
    counts = [np.clip(rate * 16_000 / 12_000 + 0.004, 0, 1) * 65535 for rate in rates]
    return np.stack([thumbnail(np.rint(c).astype(np.uint16), 65535) for c in counts])


def verdicts(pictures: np.ndarray, wiring: dict[int, int] | None = None) -> list[str]:
    """Of the LEDs 1 to 96."""
    kinds = ["dark", *["light"] * 96]
    frames = [
        Evidence(led, kind, led, pictures[(wiring or {}).get(led, led)], echo=led)  # type: ignore[arg-type]
        for led, kind in enumerate(kinds)
    ]
    return [v.verdict for v in judge(frames, [CALIBRATION], 0.004)[1:]]


def test_nothing_is_unproven_where_nothing_is_wrong(pictures: np.ndarray) -> None:
    assert set(verdicts(pictures)) == {"good"}


@pytest.mark.parametrize("led", [3, 40, 77])
def test_crossed_neighbours_are_never_good(led: int, pictures: np.ndarray) -> None:
    away = RIG.lights.position_mm / np.linalg.norm(RIG.lights.position_mm, axis=1)[:, None]
    second = int(np.argsort(-(away @ away[led - 1]))[1]) + 1
    found = verdicts(pictures, {led: second, second: led})
    assert "good" not in (found[led - 1], found[second - 1])
