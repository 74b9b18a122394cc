"""Found against false alarms: dents of 10 to 100 µm on simulated parts.

    python benchmarks/dents_found.py [PARTS]

Each part is 160×160 points over 110 mm with a milled or ground texture of its own; its normals
carry 0.05° of noise, its heights 1 µm that holds together over four points, as a reconstruction
gives them. Every second part has six dents, of depth 10 … 100 µm and 1 to 2.5 mm wide (one sigma).
Prints the share found by depth and the false alarms per part, for several thresholds.
"""

from __future__ import annotations

import sys

import numpy as np

from reconstruct.metrology.grid import HeightGrid
from reconstruct.metrology.measure import correlated_noise
from rig.floor.defects import find_defects

SIZE, STEP_MM = 160, 0.69
DEPTHS_UM = (10, 20, 30, 50, 70, 100)
THRESHOLDS = (4.0, 5.5, 8.0, 12.0)
NEAR_MM = 3.0


def part(number: int) -> tuple[HeightGrid, tuple[np.ndarray, np.ndarray], list[tuple]]:
    """A grid, its slopes, and the true dents (x, y, depth in µm)."""
    rng = np.random.default_rng(number)
    side = STEP_MM * (np.arange(SIZE) - (SIZE - 1) / 2)
    x, y = np.meshgrid(side, side)
    turn = rng.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    z = rng.uniform(0.3e-3, 2e-3) * np.sin(2 * np.pi * along / rng.uniform(2.5, 6))
    z = z + rng.uniform(0.2, 1) * 1e-3 * correlated_noise(z.shape, rng.uniform(3, 8), rng)
    z = z - (x**2 + y**2) / rng.uniform(4000, 40000)
    dents = []
    if number % 2:
        spots = [(i, j) for i in (-30, 0, 30) for j in (-25, 25)]
        for (i, j), depth in zip(spots, rng.permutation(DEPTHS_UM), strict=True):
            at = i + rng.uniform(-6, 6), j + rng.uniform(-6, 6)
            width = rng.uniform(1.0, 2.5)
            away = (x - at[0]) ** 2 + (y - at[1]) ** 2
            z = z - depth / 1000 * np.exp(-away / (2 * width**2))
            dents.append((*at, int(depth)))
    q, p = np.gradient(z, STEP_MM)
    noise = np.radians(0.05)
    slopes = tuple(s + noise * rng.standard_normal(z.shape) for s in (p, q))
    measured = z + 0.001 * correlated_noise(z.shape, 4.0, rng)
    return HeightGrid(measured, STEP_MM, side[0], side[0]), slopes, dents


def main(parts: int) -> None:
    found = {t: dict.fromkeys(DEPTHS_UM, 0) for t in THRESHOLDS}
    alarms = dict.fromkeys(THRESHOLDS, 0)
    total = dict.fromkeys(DEPTHS_UM, 0)
    for number in range(parts):
        grid, slopes, dents = part(number)
        for *_, depth in dents:
            total[depth] += 1
        for threshold in THRESHOLDS:
            seen = find_defects(
                grid, slopes, threshold=threshold, slope_sigma=float(np.radians(0.05))
            )
            hit = set()
            for defect in seen:
                near = [
                    d for d in dents if np.hypot(d[0] - defect.x_mm, d[1] - defect.y_mm) < NEAR_MM
                ]
                hit |= set(near)
                alarms[threshold] += not near
            for *_, depth in hit:
                found[threshold][depth] += 1
    print("| threshold, σ | " + " | ".join(f"{d} µm" for d in DEPTHS_UM) + " | false, a part |")
    print("|---" * (len(DEPTHS_UM) + 2) + "|")
    for threshold in THRESHOLDS:
        shares = [100 * found[threshold][d] / max(total[d], 1) for d in DEPTHS_UM]
        cells = " | ".join(f"{share:.0f} %" for share in shares)
        print(f"| {threshold:g} | {cells} | {alarms[threshold] / parts:.2f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
