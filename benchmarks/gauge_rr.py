"""Gauge R&R on the virtual rig: parts that are laid anew, a little elsewhere, before each trial.

    python benchmarks/gauge_rr.py [PARTS] [OPERATORS] [TRIALS] [METHOD] [SIZE]

Runs `rig study gauge-rr` (10 parts, 3 operators, 3 trials, refine, 48 × 48 pixels by 24 lights) on
plates of nickel with a ramp of 1 mm, which differs from part to part by 0.1 mm (one sigma). Each
time a plate lies up to 1 mm and 2° (one sigma) from where it lay, and noise is new. The feature is
the height of the upper side over the lower. Prints the study: %GRR, distinct categories, and the
stated sigma beside the scatter of the trials.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from calib.light_files import write_lights
from capture.world import Scene
from reconstruct.optics.material import Material
from reconstruct.shapes.base import Shape
from rig import measuring, session
from rig.cli import app
from rig.config import TEMPLATE, Config
from rig.simulate import part_scene, virtual_rig

LEDS = 24
PLAN = """format: rig-plan/1
type: plate
datums: {A: [-40, -35, -20, 35]}
features:
  - {name: step, kind: step, region: [20, -35, 40, 35], datum: A, nominal: 1, tolerance: 0.5}
"""


def main(parts: int, operators: int, trials: int, method: str, size: int) -> None:
    small = virtual_rig(LEDS, (size, size))
    rng = np.random.default_rng(20260131)
    heights = 1 + 0.1 * rng.standard_normal(parts)

    def scene(config: Config, part: str, seed: int) -> Scene:
        rise = heights[int(part[1:]) - 1] if part[1:].isdigit() else 1.0
        (dx, dy), turn = rng.normal(0, 1, 2), np.radians(rng.normal(0, 2))

        def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            u = np.cos(turn) * (x - dx) + np.sin(turn) * (y - dy)
            v = np.cos(turn) * (y - dy) - np.sin(turn) * (x - dx)
            return rise / 2 * np.tanh(u / 5) + 0.02 * np.sin(u / 9) * np.cos(v / 11)

        return part_scene(small, Shape(part, height), Material.metal("Ni", 0.2), bounce=False)

    session.default_scene = measuring.default_scene = scene
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        (workspace / "rig.yaml").write_text(
            TEMPLATE.replace("leds: 96 ", f"leds: {LEDS} "), encoding="utf-8"
        )
        calibration = workspace / "calibration"
        calibration.mkdir()
        small.camera.write(calibration / "camera.json")
        lights = replace(small.lights, intensity=None)
        write_lights(lights, calibration / "lights.json", small.camera)
        (workspace / "plans").mkdir()
        (workspace / "plans" / "plate.yaml").write_text(PLAN, encoding="utf-8")
        names = ",".join(f"P{number}" for number in range(1, parts + 1))
        people = ",".join(["Ada", "Grace", "Lise", "Emmy"][:operators])
        app(
            ["study", "gauge-rr", "--type", "plate", "--feature", "step", "--parts", names,
             "--operators", people, "--trials", str(trials), "--method", method, "--simulate",
             "--yes", "--workspace", folder]
        )  # fmt: skip


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:4]] + [10, 3, 3][len(sys.argv[1:4]) :]
    method = sys.argv[4] if len(sys.argv) > 4 else "refine"
    main(*counts, method, int(sys.argv[5]) if len(sys.argv) > 5 else 48)
