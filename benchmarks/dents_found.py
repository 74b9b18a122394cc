"""Found against false alarms: dents of 10 to 100 µm on simulated parts, rendered and reconstructed.

    python benchmarks/dents_found.py [PARTS] [SIZE]

Each part fills the picture: nickel or chromium with a milled or ground texture of its own, 48
lights, SIZE × SIZE pixels over 110 mm, pictures with a sensor's noise, `refine`. Every second part
has six dents, of depth 10 … 100 µm and 1 to 2.5 mm wide (one sigma). Prints the share found by
depth and the false alarms per part, for several thresholds, and what the depths are off.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

import reconstruct as rc
from reconstruct.metrology.grid import grid_of
from reconstruct.metrology.measure import correlated_noise
from reconstruct.optics.material import Material
from reconstruct.shapes.base import HeightGrid, Shape
from rig.floor.defects import find_defects, slope_sigma_of, slopes_on
from rig.simulate import RenderedScene, part_scene, virtual_rig

Array = NDArray[Any]

LEDS = 48
FIELD_MM, TEXTURE_STEP_MM = 120.0, 0.4
DEPTHS_UM = (10, 20, 30, 50, 70, 100)
THRESHOLDS = (4.0, 5.5, 8.0, 12.0)
NEAR_MM = 3.0
FULL_WELL_E, READ_E = 10_500.0, 2.5


def part(number: int, size: int) -> tuple[RenderedScene, list[tuple[float, float, int]]]:
    """A part on the virtual rig, and the true dents (x, y, depth in µm)."""
    rng = np.random.default_rng(number)
    turn = rng.uniform(0, np.pi)
    rise_mm, pitch_mm = rng.uniform(0.3e-3, 2e-3), rng.uniform(2.5, 6)
    cells = int(FIELD_MM / TEXTURE_STEP_MM)
    rough_mm = rng.uniform(0.2, 1) * 1e-3
    ground = HeightGrid(
        rough_mm * correlated_noise((cells, cells), rng.uniform(5, 14), rng), TEXTURE_STEP_MM
    )
    bow_mm = rng.uniform(4000, 40000)
    dents: list[tuple[float, float, int]] = []
    widths = []
    if number % 2:
        spots = [(i, j) for i in (-30, 0, 30) for j in (-25, 25)]
        for (i, j), depth in zip(spots, rng.permutation(DEPTHS_UM), strict=True):
            dents.append((i + rng.uniform(-6, 6), j + rng.uniform(-6, 6), int(depth)))
            widths.append(rng.uniform(1.0, 2.5))

    def height(x: Array, y: Array) -> Array:
        along = x * np.cos(turn) + y * np.sin(turn)
        z = rise_mm * np.sin(2 * np.pi * along / pitch_mm) - (x**2 + y**2) / bow_mm
        z = z + ground(x, y)
        for (at_x, at_y, depth), width in zip(dents, widths, strict=True):
            away = (x - at_x) ** 2 + (y - at_y) ** 2
            z = z - depth / 1000 * np.exp(-away / (2 * width**2))
        return np.asarray(z)

    metal = Material.metal("Ni" if number % 4 < 2 else "Cr", rng.uniform(0.12, 0.3))
    rig = virtual_rig(LEDS, (size, size), seed=number)
    return part_scene(rig, Shape(f"dents-{number}", height), metal, bounce=False), dents


def pictures(scene: RenderedScene, seed: int) -> NDArray[np.uint16]:
    """(N, H, W) counts of 12 bits at an exposure that clips 0.2 % of all values."""
    rng = np.random.default_rng(seed)
    light = np.stack([scene.irradiance(led) for led in range(1, scene.led_count + 1)])
    light *= FULL_WELL_E / np.quantile(light, 0.998)
    electrons = rng.poisson(light) + rng.normal(0, READ_E, light.shape)
    return np.asarray(np.rint(np.clip(electrons / FULL_WELL_E, 0, 1) * 4095), dtype=np.uint16)


def main(parts: int, size: int) -> None:
    found = {t: dict.fromkeys(DEPTHS_UM, 0) for t in THRESHOLDS}
    alarms = dict.fromkeys(THRESHOLDS, 0)
    total = dict.fromkeys(DEPTHS_UM, 0)
    off: list[float] = []
    in_sigma: list[float] = []
    for number in range(parts):
        scene, dents = part(number, size)
        rig = scene.rig
        surface = rc.reconstruct(
            pictures(scene, number), rig.camera, rig.lights, method="refine",
            height_mm=float(np.nanmean(scene.points_mm[..., 2])), height_sigma_mm=0.1,
            mask=np.ones(rig.camera.shape, bool),
        )  # fmt: skip
        grid = grid_of(surface)
        slopes, sigma = slopes_on(grid, surface), slope_sigma_of(surface)
        for *_, depth in dents:
            total[depth] += 1
        for threshold in THRESHOLDS:
            hit = set()
            for defect in find_defects(grid, slopes, threshold=threshold, slope_sigma=sigma):
                near = [
                    d for d in dents if np.hypot(d[0] - defect.x_mm, d[1] - defect.y_mm) < NEAR_MM
                ]
                hit |= set(near)
                alarms[threshold] += not near
                if near and threshold == THRESHOLDS[1]:
                    off.append(defect.depth_um - near[0][2])
                    in_sigma.append(off[-1] / defect.sigma_um)
            for *_, depth in hit:
                found[threshold][depth] += 1
        print(f"{number + 1} parts, false {alarms}", file=sys.stderr, flush=True)
    print("| threshold, σ | " + " | ".join(f"{d} µm" for d in DEPTHS_UM) + " | false, a part |")
    print("|---" * (len(DEPTHS_UM) + 2) + "|")
    for threshold in THRESHOLDS:
        shares = [100 * found[threshold][d] / max(total[d], 1) for d in DEPTHS_UM]
        cells = " | ".join(f"{share:.0f} %" for share in shares)
        print(f"| {threshold:g} | {cells} | {alarms[threshold] / parts:.2f} |")
    if off:
        shares = [100 * np.mean(np.abs(in_sigma) < k) for k in (1, 2, 3)]
        median = np.median(np.abs(off))
        print(f"depths off by {median:.1f} µm in the median, {np.mean(off):.1f} on average")
        print("within one, two, three sigma: " + ", ".join(f"{share:.0f} %" for share in shares))


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:3]] + [100, 160][len(sys.argv[1:3]) :]
    main(*counts)
