"""Machined parts on the stage of three virtual rigs: outlines, levels, sigmas.

    python benchmarks/staged_parts.py OUT.jsonl [--first 1000] [--count 40] [--method refine]
    python benchmarks/staged_parts.py OUT.jsonl --table

Blocks, flanges, brackets and step gauges in turn, walls from 0.2 to 8 mm, 256 × 256 px, 12 bits.
Every second part is of a metal that the fit's model does not hold: two lobes, or a roughness that
varies. Nothing is given but camera and lights, which are true. One line of JSON a part; lines that
are there are not made again. Seeds below 1000 are for finding causes, those above for figures.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reconstruct.methods import Options
from reconstruct.on_stage import find_on_stage, reconstruct_on_stage
from reconstruct.optics.material import Material
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.staged import STAGED
from reconstruct.stack import Stack
from rig.simulate import RenderedScene, VirtualRig, dome, virtual_camera
from rig.staged_scene import StagedScene

SIZE = 256
RIGS = ((96, 280.0), (64, 250.0), (48, 310.0))  # LEDs, radius of the dome in mm


def rig_of(seed: int) -> VirtualRig:
    count, radius = RIGS[seed % 3]
    lights, nominal = dome(count, radius, seed=seed % 3)
    return VirtualRig(virtual_camera((SIZE, SIZE), seed=seed % 3), lights, nominal)


def scene_of(kind: str, seed: int) -> StagedScene:
    random = np.random.default_rng([seed, 7])
    rig = rig_of(seed)
    metal, alpha = str(random.choice(["Cr", "Al", "Ni", "Cu"])), float(random.uniform(0.12, 0.3))
    made = Material.metal(metal, alpha)
    misfit = seed % 4
    if misfit == 1:  # two lobes
        share = float(random.uniform(0.3, 0.5))
        broad = Material.metal(metal, min(2.5 * alpha, 0.5)).lobes[0]
        made = replace(made, lobes=(
            replace(made.lobes[0], weight=1.0 - share), replace(broad, weight=share)
        ))  # fmt: skip
    roughness = None
    if misfit == 3:  # roughness varies by a quarter
        field = shape("field", seed, correlation_mm=10.0)

        def roughness(points: np.ndarray) -> np.ndarray:
            height = field.height(points[..., 0], points[..., 1])
            return np.exp(0.25 * (height - np.mean(height)) / max(float(np.std(height)), 1e-9))

    return StagedScene(rig, STAGED[kind](seed), made, disc_points=3, roughness=roughness)


def pictures(scene: RenderedScene, seed: int) -> Stack:
    """12-bit pictures, the brightest 0.2 % clipped."""
    images = np.stack([scene.irradiance(int(led)) for led in scene.rig.lights.ids])
    images *= 12_000.0 / np.quantile(images, 0.998)
    random = np.random.default_rng(seed)
    seen = random.poisson(np.maximum(images, 0.0)) + random.normal(0, 3.0, images.shape)
    codes = np.round(np.clip(seen / 12_000.0, 0.0, 1.0) * 4095) / 4095
    noise = 9.0 / 12_000**2 + (1 / 4095) ** 2 / 12
    return Stack(scene.rig.lights.ids, codes.astype(np.float32), codes >= 1.0, noise, 1.0 / 12_000)


def measured(kind: str, seed: int, method: str) -> dict[str, Any]:
    scene = scene_of(kind, seed)
    stack = pictures(scene, seed)
    camera, lights = scene.rig.camera, scene.rig.lights
    began = time.process_time()
    out: dict[str, Any] = {"kind": kind, "seed": seed, "iou": 0.0, "levels": []}
    found = find_on_stage(stack, camera, lights)
    if found is None:
        return out
    out["iou"] = float((found.mask & scene.mask).sum() / (found.mask | scene.mask).sum())
    surface = reconstruct_on_stage(method, stack, camera, lights, Options(), found)
    out["seconds"] = time.process_time() - began
    true = scene.points_mm[..., 2]
    good = surface.mask & scene.mask
    error = (surface.height_mm - true)[good]
    sigma = surface.sigma_mm[good]
    out["covered"] = float(good.sum() / scene.mask.sum())
    out["rmse_mm"] = float(np.sqrt(np.mean(error**2)))
    out["within"] = [float(np.mean(np.abs(error) <= k * sigma)) for k in (1, 2, 3)]
    for piece in surface.summary.get("pieces", []):
        c0, r0, c1, r1 = piece["box_px"]
        box = np.zeros(good.shape, bool)
        box[r0 : r1 + 1, c0 : c1 + 1] = True
        near = good & box & (np.abs(surface.height_mm - piece["level_mm"]) < 0.5)
        if near.sum() < 4:
            continue
        level = float(np.median(true[near]))
        out["levels"].append({
            "true_mm": level, "mm": piece["level_mm"], "sigma_mm": piece["sigma_mm"],
            "told_by": piece["told_by"], "pixels": piece["pixels"], "lights": piece["lights"],
            "alike": float(np.mean(np.abs(true[near] - level) < 0.05)),
        })  # fmt: skip
    out["steps"] = surface.summary.get("steps", [])
    return out


def table(lines: list[dict[str, Any]]) -> None:
    levels = [level for line in lines for level in line["levels"]]
    told = [level for level in levels if level["told_by"] == "shadow"]
    print(f"{len(lines)} parts, outline IoU median {np.median([x['iou'] for x in lines]):.4f}, "
          f"least {min(x['iou'] for x in lines):.3f}")  # fmt: skip
    for name, some in (("all levels", levels), ("told by shadow", told)):
        error = np.abs([level["mm"] - level["true_mm"] for level in some])
        sigma = np.array([level["sigma_mm"] for level in some])
        shares = [100 * float(np.mean(error <= k * sigma)) for k in (1, 2, 3)]
        print(f"{name}: {len(some)}, {100 * np.mean(error <= 0.1):.0f} % within 0.1 mm, median "
              f"{np.median(error):.3f} mm; within 1, 2, 3 sigma "
              + ", ".join(f"{share:.0f}" for share in shares) + " %")  # fmt: skip
    done = [line for line in lines if "within" in line]
    shares = 100 * np.mean([line["within"] for line in done], axis=0)
    print("pixels within 1, 2, 3 sigma " + ", ".join(f"{share:.0f}" for share in shares)
          + f" %, RMSE median {np.median([line['rmse_mm'] for line in done]):.3f} mm, covered "
          f"{100 * np.median([line['covered'] for line in done]):.0f} %, processor s "
          f"{np.median([line['seconds'] for line in done]):.0f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--method", default="refine")
    parser.add_argument("--table", action="store_true", help="of what is there")
    given = parser.parse_args()
    lines = []
    if given.out.is_file():
        lines = [json.loads(line) for line in given.out.read_text().splitlines()]
    there = {(line["kind"], line["seed"]) for line in lines}
    kinds = list(STAGED)
    for number in range(0 if given.table else given.count):
        kind, seed = kinds[number % len(kinds)], given.first + number
        if (kind, seed) in there:
            continue
        line = measured(kind, seed, given.method)
        lines.append(line)
        with given.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        told = ", ".join(
            f"{x['true_mm']:.2f} {x['mm'] - x['true_mm']:+.3f} ± {x['sigma_mm']:.3f}"
            + ("" if x["told_by"] == "shadow" else f" ({x['told_by']})")
            for x in line["levels"]
        )
        print(f"{kind}-{seed}: IoU {line['iou']:.3f}; {told}", flush=True)
    if lines:
        table(lines)


if __name__ == "__main__":
    main()
