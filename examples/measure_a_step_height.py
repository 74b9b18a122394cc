"""Capture a step gauge, reconstruct it and read one of its steps along a line.

    python examples/measure_a_step_height.py rig-demo

The workspace is one that is calibrated; ``rig demo`` makes one. The virtual gauge has plateaus of
0, 1, 2, 4, 2.5 and 0.5 mm side by side along x, each 18.3 mm wide, with flanks of up to 25°:
photometric stereo adds up slopes, so it needs flanks that it can see. Of steeper ones (60°, say)
this dome sees no reflection, and the step comes out far too low.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reconstruct.export.results import read_results
from reconstruct.metrology.grid import grid_of
from reconstruct.metrology.measure import Recipe, measure
from reconstruct.optics.material import Material
from reconstruct.shapes.catalogue import shape
from rig.config import read_config
from rig.measure_part import Job, measure_part
from rig.session import open_rig, simulated
from rig.simulate import part_scene, virtual_rig
from rig.workspace import Workspace

STEP_MM = 1.0  # the truth: from the plateau of 1 mm to that of 2 mm, at x = -18.3 mm
LINE_MM = (-33.0, 0.0, -4.0, 0.0)  # across that step: x0, y0, x1, y1


def main(folder: Path) -> float:
    workspace = Workspace.at(folder)
    config = simulated(read_config(workspace.config_file))  # leave `simulated` out on a real rig
    gauge = shape("step_gauge", slope_deg=25.0)
    scene = part_scene(virtual_rig(config.board.leds), gauge, Material.metal("Ni", 0.2))
    with open_rig(config, scene=scene) as rig:
        verdict = measure_part(rig, workspace, "gauge", Job(plan=config.default_plan()))
    print(f"measured in {verdict.seconds['total']:.0f} s: {verdict.report}")
    grid = grid_of(read_results(verdict.result))
    found = measure(grid, Recipe(form="none", line_mm=LINE_MM, step=True))
    step_mm = next(p.value for p in found.parameters if p.name == "h") / 1000
    print(f"step height {step_mm:.4f} mm, truth {STEP_MM:.4f} mm")
    return step_mm


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("rig-demo"))
