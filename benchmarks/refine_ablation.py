"""What each stage of `refine` is worth: captures and simulated parts, one stage off at a time.

Usage: python benchmarks/refine_ablation.py [--parts blob stamped …] [--start halfvector]
                                            [--samples 10] [--first 30000] [--size 128]

Of captures: true lights and powers, axes by the plate, mean height given, 8 px border out. Prints
Markdown: height RMSE in mm with the mean removed, mean angle of normals in degrees, processor
seconds of the fit. Of the simulated parts of `dpps_starts`, so many of each set from the first seed
on: how many end within 1 % of the field, median error, median processor seconds.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from dpps_starts import SETS, Job, seeds_of, simulated, wide
from numpy.typing import NDArray

from reconstruct.dpps.captured import Captured, read_with_plate
from reconstruct.methods import Options, reconstruct
from reconstruct.refine.config import RefineConfig

CAPTURES = Path(__file__).resolve().parents[1].parent / "shared" / "captures"
STAGES = (
    "inter_reflection", "linearised_transport", "late_start", "lay", "material_map", "response",
)  # fmt: skip
BORDER_PX, FINER = 8, 2


def fitted(
    part: Captured, flat: NDArray[np.float32] | None, config: RefineConfig, start: str, border: int
) -> tuple[float, float, float]:
    """Height RMSE in mm, mean angle in degrees within a border in px, and processor seconds."""
    options = Options(
        height_mm=part.mean_height_mm, mask=part.mask, flat=flat, start=start, uncertainty=False,
        refine=config,
    )  # fmt: skip
    clock = time.process_time()
    surface = reconstruct("refine", part.stack, part.camera, part.lights, options)
    seconds = time.process_time() - clock
    inner = np.pad(part.mask[border : len(part.mask) - border, border : -border or None], border)
    degrees, error_mm = replace(part, mask=inner).errors(surface)
    return error_mm, degrees, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=["blob", "stamped", "steep", "brushed"])
    parser.add_argument("--start", default="auto")
    parser.add_argument("--samples", type=int, default=0, help="simulated parts of each set")
    parser.add_argument("--first", type=int, default=30_000, help="seed of theirs")
    parser.add_argument("--size", type=int, default=128, help="of their pictures, px")
    asked = parser.parse_args()
    everything = RefineConfig()
    runs = {"everything": everything, "every stage always": replace(everything, explained=0.0)}
    runs |= {f"without {s.replace('_', ' ')}": replace(everything, **{s: False}) for s in STAGES}
    print("| part | stages | height, mm | normals, ° | processor s |")
    print("|---|---|---|---|---|", flush=True)
    for name in asked.parts:
        part, flat = read_with_plate(CAPTURES / name, CAPTURES / "white")
        for run, config in runs.items():
            height, degrees, spent = fitted(part, flat, config, asked.start, BORDER_PX)
            print(f"| {name} | {run} | {height:.4f} | {degrees:.3f} | {spent:.1f} |", flush=True)
    shares: dict[str, list[float]] = {run: [] for run in runs}
    seconds: dict[str, list[float]] = {run: [] for run in runs}
    for name, (_, ask) in SETS.items():
        seeds = seeds_of(wide(ask, asked.size, FINER), asked.first)
        for seed in itertools.islice(seeds, asked.samples):
            job = Job(name, seed, asked.size, FINER, (), None, "cpu", False)
            part = simulated(job.scene, seed, asked.size, FINER)
            for run, config in runs.items():
                height, _, spent = fitted(part, None, config, asked.start, 0)
                shares[run].append(height / part.field_mm)
                seconds[run].append(spent)
    if asked.samples:
        print("\n| stages | within 1 % | median error, % of the field | median processor s |")
        print("|---|---|---|---|")
        for run, errors in shares.items():
            print(
                f"| {run} | {np.mean(np.array(errors) < 0.01):.0%} of {len(errors)} | "
                f"{100 * np.median(errors):.2f} | {np.median(seconds[run]):.1f} |"
            )


if __name__ == "__main__":
    main()
