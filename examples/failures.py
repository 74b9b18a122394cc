"""What it looks like when something is wrong: makes docs/figures/limits.png.

Usage: python examples/failures.py [OUT.png]
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import reconstruct as rc
from calib import Camera, Lights

SIDE, COUNT, FIELD_MM = 96, 16, 80.0


def camera() -> Camera:
    return Camera.straight_down((SIDE, SIDE), FIELD_MM)


def lights() -> Lights:
    k = np.arange(COUNT)
    polar, turn = np.radians(14 + 36 * (k + 0.5) / COUNT), k * 2.4
    unit = [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)]
    return Lights.at(240.0 * np.stack(unit, axis=1))


def heights_mm(points: np.ndarray) -> np.ndarray:
    x, y = points[..., 0], points[..., 1]
    return np.asarray(1.5 * np.sin(x / 9) + 1.2 * np.sin(y / 8 + x / 30))


def pictures(moved_px: float = 0.0) -> np.ndarray:
    """(N, H, W) radiance of the wavy matt part; it moves by `moved_px` halfway."""
    points = camera().points_at_height(0.0)
    stack = []
    for k, place in enumerate(lights().position_mm):
        shift = (moved_px if k >= COUNT // 2 else 0.0) * FIELD_MM / SIDE
        at = points - [shift, 0, 0]
        slope_x, slope_y = (
            (heights_mm(at + step) - heights_mm(at - step)) / 2e-3
            for step in (np.array([1e-3, 0, 0]), np.array([0, 1e-3, 0]))
        )
        normal = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)], axis=-1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        away = place - points
        distance = np.linalg.norm(away, axis=-1, keepdims=True)
        cosine = np.maximum((normal * away / distance).sum(-1), 0)
        stack.append(cosine / distance[..., 0] ** 2)
    values = np.array(stack)
    rng = np.random.default_rng(0)
    values = 0.8 * values / values.max()
    return np.clip(values + rng.normal(0, 1e-3, values.shape), 0, 1)


def turned(by_deg: float) -> Lights:
    c, s = np.cos(np.radians(by_deg)), np.sin(np.radians(by_deg))
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    known = lights()
    return replace(known, position_mm=known.position_mm @ tilt.T, axis=known.axis @ tilt.T)


def main(out: Path) -> None:
    logging.getLogger("reconstruct").setLevel(logging.ERROR)
    plain = pictures()
    cases = {
        "nothing is wrong": (plain, lights(), None),
        "4 of 16 lights": (plain, lights(), (1, 2, 3, 4)),
        "a gamma curve of 2.2": (plain ** (1 / 2.2), lights(), None),
        "lights 15° off": (plain, turned(15), None),
        "moved by 2 px halfway": (pictures(2.0), lights(), None),
    }
    truth = heights_mm(camera().points_at_height(0.0))
    figure = Figure(figsize=(13, 5.4), layout="constrained")
    axes = figure.subplots(2, len(cases))
    for column, (title, (stack, lamps, leds)) in enumerate(cases.items()):
        details = {} if leds is None else {"leds": leds}
        surface = rc.reconstruct(
            np.asarray(stack), camera(), lamps, method="lambert", height_mm=0.0, **details
        )
        z = surface.height_mm - np.nanmean(surface.height_mm)
        off = z - (truth - truth.mean())
        rms = float(np.sqrt(np.nanmean(off**2)))
        top, bottom = axes[:, column]
        shown = top.imshow(z, vmin=-3, vmax=3, cmap="viridis")
        wrong = bottom.imshow(off, vmin=-1, vmax=1, cmap="coolwarm")
        top.set_title(title)
        bottom.set_title(f"error {rms:.2f} mm RMS")
        for place in (top, bottom):
            place.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[0], label="height, mm")
    figure.colorbar(wrong, ax=axes[1], label="error, mm")
    figure.savefig(out, dpi=90)
    print(f"Wrote {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/figures/limits.png"))
