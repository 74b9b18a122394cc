"""Find dents in a surface that should be smooth, and write them as a list and a picture.

    python examples/inspect_for_dents.py rig-demo dents.png

The workspace is one that is calibrated; ``rig demo`` makes one. A dent is what a smooth form does
not explain: the form (a polynomial) is taken away, and what lies deeper than the threshold is
counted, patch by patch. The virtual part is a gently curved sheet with four dents of 40 to 120 µm.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from reconstruct.export.results import read_results
from reconstruct.metrology.form import remove_form
from reconstruct.metrology.grid import grid_of
from reconstruct.optics.material import Material
from reconstruct.shapes.base import Shape
from rig.config import read_config
from rig.measure_part import Job, measure_part
from rig.session import open_rig, simulated
from rig.simulate import part_scene, virtual_rig
from rig.workspace import Workspace

THRESHOLD_MM = 0.02  # deeper is a dent
SMALLEST_MM2 = 2.0
TRUE_DENTS = ((-30.0, 20.0, 0.12), (12.0, 25.0, 0.08), (25.0, -15.0, 0.06), (-10.0, -28.0, 0.04))


@dataclass(frozen=True)
class Dent:
    x_mm: float
    y_mm: float
    depth_mm: float
    area_mm2: float


def sheet(dents: tuple[tuple[float, float, float], ...]) -> Shape:
    """A sheet curved over 1.5 m with round dents (x, y, depth in mm) 4 mm wide (one sigma)."""

    def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        z = -(x**2) / 3000.0
        for at_x, at_y, depth in dents:
            z = z - depth * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 4.0**2))
        return z

    return Shape("sheet", height)


def find_dents(result: Path, picture: Path | None = None) -> list[Dent]:
    """Patches of a result that lie below its smooth form, the deepest first."""
    grid = grid_of(read_results(result))
    rest = remove_form(grid, "poly4").residual
    below = np.nan_to_num(np.nanmedian(rest.z_mm) - rest.z_mm)
    labels, count = ndimage.label(below > THRESHOLD_MM)
    found = []
    for label in range(1, count + 1):
        rows, columns = np.nonzero(labels == label)
        area = len(rows) * grid.step_mm**2
        if area < SMALLEST_MM2:
            continue
        deepest = int(np.argmax(below[rows, columns]))
        row, column = rows[deepest], columns[deepest]
        depth = float(below[row, column])
        found.append(Dent(float(grid.x_mm[column]), float(grid.y_mm[row]), depth, area))
    if picture is not None:
        grey = np.clip(128 - 128 * below / 0.1, 0, 255)  # black: 0.1 mm deep
        cv2.imwrite(str(picture), grey[::-1].astype(np.uint8))
    return sorted(found, key=lambda dent: -dent.depth_mm)


def main(folder: Path, picture: Path) -> list[Dent]:
    workspace = Workspace.at(folder)
    config = simulated(read_config(workspace.config_file))  # leave `simulated` out on a real rig
    scene = part_scene(virtual_rig(config.board.leds), sheet(TRUE_DENTS), Material.metal("Al", 0.2))
    plan = replace(config.default_plan(), exposures_us=(8000.0,))
    with open_rig(config, scene=scene) as rig:
        verdict = measure_part(rig, workspace, "sheet", Job(plan=plan))
    dents = find_dents(verdict.result, picture)
    for dent in dents:
        print(
            f"dent at x {dent.x_mm:6.1f}, y {dent.y_mm:6.1f} mm: {1000 * dent.depth_mm:5.0f} µm "
            f"deep, {dent.area_mm2:5.1f} mm²"
        )
    print(f"{len(dents)} dents, picture in {picture}")
    return dents


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("rig-demo"),
        Path(sys.argv[2]) if len(sys.argv) > 2 else Path("dents.png"),
    )
