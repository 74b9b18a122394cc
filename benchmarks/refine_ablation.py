"""What each stage of `refine` is worth: the captures with one stage off at a time.

Usage: python benchmarks/refine_ablation.py [--parts blob stamped …] [--start halfvector]

True lights and powers, mean height given, 8 px border out. Prints Markdown: height RMSE in mm with
the mean removed, mean angle of normals in degrees, processor seconds of the fit.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from reconstruct.dpps.captured import read_captured
from reconstruct.methods import Options, reconstruct
from reconstruct.refine.config import RefineConfig

CAPTURES = Path(__file__).resolve().parents[1].parent / "shared" / "captures"
STAGES = (
    "inter_reflection", "linearised_transport", "restarts", "late_start", "lay", "material_map",
    "response",
)  # fmt: skip
INNER = np.s_[8:-8, 8:-8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=["blob", "stamped", "steep", "brushed"])
    parser.add_argument("--start", default="auto")
    asked = parser.parse_args()
    everything = RefineConfig()
    runs = {"everything": everything, "every stage always": replace(everything, explained=0.0)}
    runs |= {f"without {s.replace('_', ' ')}": replace(everything, **{s: False}) for s in STAGES}
    print("| part | stages | height, mm | normals, ° | processor s |")
    print("|---|---|---|---|---|", flush=True)
    for part in asked.parts:
        capture = read_captured(CAPTURES / part)
        for name, config in runs.items():
            options = Options(
                height_mm=capture.mean_height_mm, mask=capture.mask, start=asked.start,
                uncertainty=False, refine=config,
            )  # fmt: skip
            clock = time.process_time()
            surface = reconstruct("refine", capture.stack, capture.camera, capture.lights, options)
            seconds = time.process_time() - clock
            seen = (capture.mask & np.isfinite(surface.height_mm))[INNER]
            gap = (surface.height_mm - capture.height_mm)[INNER][seen]
            cosine = np.clip((surface.normals * capture.normals).sum(-1)[INNER][seen], -1, 1)
            angle = np.degrees(np.arccos(cosine)).mean()
            print(
                f"| {part} | {name} | {gap.std():.4f} | {angle:.3f} | {seconds:.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
