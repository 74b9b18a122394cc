"""The simple scene: a bump that is brighter on the side its LED is on."""

from __future__ import annotations

import numpy as np
import pytest

from capture.camera.scene import BumpScene
from capture.world import Scene


def test_bump_is_lit_from_its_led() -> None:
    scene: Scene = BumpScene((64, 80), led_count=12)
    led = int(np.argmax(scene.lights_mm[:, 0])) + 1  # type: ignore[attr-defined]
    image = scene.irradiance(led)
    assert image.shape == scene.shape == (64, 80)
    assert image.dtype == np.float32
    assert np.all(image >= 0)
    # x runs right in the image: the right flank of the bump faces an LED on the right.
    assert image[28:36, 48:56].mean() > image[28:36, 24:32].mean()
    up = int(np.argmax(scene.lights_mm[:, 1])) + 1  # type: ignore[attr-defined]
    above, below = scene.irradiance(up)[16:24, 36:44], scene.irradiance(up)[40:48, 36:44]
    assert above.mean() > below.mean(), "y runs up in the image"
    assert scene.irradiance(led) is image, "a picture is worked out once"


def test_every_led_gives_another_picture() -> None:
    scene = BumpScene((32, 32), led_count=8)
    means = [scene.irradiance(led) for led in range(1, 9)]
    for a in range(8):
        for b in range(a):
            assert np.abs(means[a] - means[b]).max() > 0.02
    with pytest.raises(ValueError, match="1 to 8"):
        scene.irradiance(9)
