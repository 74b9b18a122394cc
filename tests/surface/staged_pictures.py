"""A small virtual rig for parts on its stage, and pictures as a sensor gives them."""

from __future__ import annotations

import numpy as np

from reconstruct.stack import Stack
from rig.simulate import FIELD_MM, RenderedScene, VirtualRig, dome, virtual_camera


def small_rig(field_mm: float = FIELD_MM) -> VirtualRig:
    lights, nominal = dome(48)
    return VirtualRig(virtual_camera((160, 160), field_mm), lights, nominal)


def pictures(scene: RenderedScene) -> Stack:
    lights = scene.rig.lights
    images = np.stack([scene.irradiance(int(led)) for led in lights.ids])
    images *= 12_000.0 / np.quantile(images, 0.998)
    random = np.random.default_rng(1)
    seen = random.poisson(images) + random.normal(0, 3.0, images.shape)
    radiance = (np.minimum(seen, 12_000.0) / 12_000.0).astype(np.float32)
    return Stack(lights.ids, radiance, radiance >= 1.0, 9.0 / 12_000**2, 1.0 / 12_000)
