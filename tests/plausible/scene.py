"""A small part under near lights, written out from the laws of optics: pictures, camera, lights."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.stack import Stack

SIDE, COUNT, FIELD_MM = 48, 16, 80.0


def camera() -> Camera:
    focal = 4.0 * SIDE
    K = np.array([[focal, 0, (SIDE - 1) / 2], [0, focal, (SIDE - 1) / 2], [0, 0, 1]])
    return Camera(SIDE, SIDE, K, t=np.array([0, 0, FIELD_MM * 4.0]))


def lights() -> Lights:
    """LEDs on a spiral of a dome, in no symmetry."""
    k = np.arange(COUNT)
    polar = np.radians(14 + 36 * (k + 0.5) / COUNT)
    round_ = k * 2.4
    unit = [np.sin(polar) * np.cos(round_), np.sin(polar) * np.sin(round_), np.cos(polar)]
    return Lights.at(240.0 * np.stack(unit, axis=1))


def radiance(matt: bool) -> np.ndarray:
    """(N, H, W) of a wavy part, Lambertian or with a lobe about the half vector."""
    cam, lamps = camera(), lights()
    points = cam.points_at_height(0.0)
    x, y = points[..., 0], points[..., 1]
    slope_x = 0.16 * np.cos(x / 9) + 0.1 * np.sin(y / 13 + 1)
    slope_y = 0.1 * x / 13 * np.cos(y / 13 + 1) + 0.12 * np.sin(y / 8)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(x)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    pictures = []
    for place in lamps.position_mm:
        away = place - points
        distance = np.linalg.norm(away, axis=-1, keepdims=True)
        light = away / distance
        half = light - cam.rays()
        half /= np.linalg.norm(half, axis=-1, keepdims=True)
        cosine = np.maximum((normal * light).sum(-1), 0)
        tan2 = 1 / np.maximum((normal * half).sum(-1), 1e-3) ** 2 - 1
        lobe = cosine if matt else np.exp(-tan2 / 0.2**2)
        pictures.append(240.0**2 * lobe / distance[..., 0] ** 2)
    stack = np.array(pictures)
    return np.asarray(0.8 * stack / stack.max())


def codes(matt: bool, seed: int = 1) -> np.ndarray:
    """(N, H, W) 12-bit counts on top of 16 bits, with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    counts = 4095 * radiance(matt)
    noisy = counts + rng.normal(0, 1, counts.shape) * np.sqrt(1 + counts / 3)
    return (np.clip(np.rint(noisy), 0, 4095).astype(np.uint16)) << 4


def stack(matt: bool) -> Stack:
    values = codes(matt).astype(np.float32) / 65520
    return Stack(np.arange(1, COUNT + 1), values, values >= 1, (1 / 4095) ** 2, 1 / (3 * 4095))


def write(folder: Path, matt: bool = True, name: str = "led_{:03d}.png") -> Path:
    """An exchange folder of the part; LED k is named with `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.format(k) for k in range(1, COUNT + 1)]
    for picture, to in zip(codes(matt), names, strict=True):
        cv2.imwrite(str(folder / to), picture)
    rows = [
        " ".join([to, *(f"{v:.4f}" for v in place)])
        for to, place in zip(names, lights().position_mm, strict=True)
    ]
    (folder / "lights.lp").write_text("\n".join([str(COUNT), *rows]) + "\n", encoding="utf-8")
    (folder / "camera.json").write_text(json.dumps(camera().to_json()), encoding="utf-8")
    return folder
