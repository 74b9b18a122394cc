"""Measure pictures that were taken elsewhere, with lights calibrated from a ball and a plate.

    python examples/captures_from_elsewhere.py ../shared/captures

The folder holds exchange folders (docs/formats.md): parts with ``truth.npz``, a set ``mirror`` of a
mirror ball in several places and a set ``white`` of a matt plate. Prints one table of true errors.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

BALL_DIAMETER_MM = 25.4
PLATE_REFLECTANCE = 0.8


def rig(*arguments: object) -> str:
    """Run a command of rig as a user would type it; returns what it printed."""
    typed = [str(argument) for argument in arguments]
    print("$ rig", *typed, flush=True)
    command = [sys.executable, "-m", "rig", *typed]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(captures: Path, work: Path, parts: list[str]) -> list[dict]:
    work.mkdir(parents=True, exist_ok=True)
    lights = work / "lights.json"
    rig(
        "calibrate-lights", "--from", captures / "mirror", "--sphere-diameter", BALL_DIAMETER_MM,
        "--plate", captures / "white", "--plate-reflectance", PLATE_REFLECTANCE, "--out", lights,
    )  # fmt: skip
    rows = []
    for part in parts:
        rig("import", captures / part, "--part", part, "--workspace", work)
        # Pictures do not fix the mean height: on a rig a calliper gives it, here the truth does.
        with np.load(captures / part / "truth.npz") as truth:
            height = round(float(np.nanmean(truth["position"][..., 2])), 1)
        rig("reconstruct", part, "--lights", lights, "--height", height, "--workspace", work)
        figures = rig("evaluate", part, "--border", 8, "--json", "--workspace", work)
        rows.append({"part": part, **json.loads(figures)})
    return rows


def table(rows: list[dict]) -> str:
    lines = [
        "| part | normals, mean | normals, median | height RMSE | height MAE | measured |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        height = row["mean_removed"]
        lines.append(
            f"| {row['part']} | {row['normal_mean_deg']:.2f}° | {row['normal_median_deg']:.2f}° | "
            f"{height['rmse_mm']:.3f} mm | {height['mae_mm']:.3f} mm | "
            f"{100 * row['coverage']:.1f} % |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("say where the captures are: captures_from_elsewhere.py FOLDER [WORK [PART …]]")
    folder = Path(sys.argv[1])
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("captures-measured")
    known = sorted(p.parent.name for p in folder.glob("*/truth.npz") if p.parent.name != "white")
    print(table(main(folder, out, sys.argv[3:] or known)))
