"""Steep and shiny simulated parts that refinement brings home, by the start that it was given.

Usage: python benchmarks/dpps_starts.py [--rows FILE] [--samples 50] [--size 256] [--finer 2]
                                        [--first 20000]
                                        [--starts halfvector dpps] [--sets 45 45-shiny 55]
                                        [--processes 2] [--weights FILE]
                                        [--device cpu] [--told]

With --told, parts are drawn until of each set as many are told by their pictures: less than a tenth
lies in no picture, and no cliff within a pixel tears them. The others are simulated only.

Every part costs minutes. Each is written to FILE (JSON lines) as soon as it is done, with a digest
of the weights, and not run again; the table of those asked for is printed as Markdown. Parts are of
the test split.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from dpps_tables import STEEP
from rich.progress import track

from calib.camera import Camera
from calib.lights import Lights
from capture import bracket, hdr
from capture.journal import sha256
from reconstruct import methods
from reconstruct.dpps.captured import Captured
from reconstruct.dpps.drawing import Ask, Scene, scene_of
from reconstruct.dpps.weights import SHIPPED
from reconstruct.integrate import height_of, image_coordinates, integrate_normals
from reconstruct.optics.interreflection import Rays, indirect
from reconstruct.optics.material import Material
from reconstruct.optics.render import render
from reconstruct.stack import Stack

SETS = {
    "45": ("slopes 45°, α 0.09-0.4", STEEP),
    "45-shiny": ("slopes 45°, α 0.05-0.09", replace(STEEP, alpha=(0.05, 0.09))),
    "55": ("slopes 55°, α 0.09-0.4", replace(STEEP, slope_deg=(50, 60))),
}
STARTS = ("halfvector", "dpps")
Key = tuple[str, int, int, int]  # set, seed, size and fineness
# A simulated part ends so far within its pictures, and is cut out of one that goes on so far beyond
EDGE_PX, BEYOND_PX = 3, 8
BLACK = 0.1  # share of a part in no picture, from which on its surface is a guess
# Error (share of the field) of the height that the true normals themselves integrate to, from which
# on a part is torn: by cliffs within a pixel, or into pieces, whose levels no normals tell.
TORN = 0.005


@dataclass(frozen=True)
class Job:
    """One part to simulate and refine; `finer` times finer than its pictures of `size` px."""

    name: str
    seed: int
    size: int
    finer: int
    starts: tuple[str, ...]
    weights: Path | None
    device: str
    told: bool

    @property
    def key(self) -> Key:
        return self.name, self.seed, self.size, self.finer

    @property
    def scene(self) -> Scene:
        """The part that the pictures' is cut out of."""
        return scene_of(self.seed, wide(SETS[self.name][1], self.size, self.finer), "test")


def wide(ask: Ask, size: int, finer: int) -> Ask:
    return replace(ask, size=finer * (size + 2 * BEYOND_PX))


def seeds_of(ask: Ask, first: int = 0) -> Iterator[int]:
    """Seeds, from the first on, of parts whose median slope is as asked: not plates with a wall."""
    for seed in itertools.count(first):
        scene = scene_of(seed, ask, "test")
        facing = scene.normals()[scene.inner][scene.mask[scene.inner]][:, 2]
        slope = float(np.degrees(np.arccos(np.median(facing))))
        if ask.slope_deg is None or ask.slope_deg[0] <= slope <= ask.slope_deg[1]:
            yield seed


def simulated(scene: Scene, seed: int, size: int, finer: int) -> Captured:
    """A part under a 96-LED dome by the renderer of `reconstruct.optics`, its lights calibrated.

    Cast shadows, up to three bounces between places of the part, LEDs as discs, and the exposures
    that `rig capture --exposures auto` takes. Drawn and rendered `finer` times finer than
    the pictures, so that a pixel sees an area and not a point. The part is cut to end within the
    pictures: of one that goes on beyond them, walls are lit by what no picture shows.
    """
    rng = np.random.default_rng([9, seed])
    log_depth, normals, mask, *rays = (
        each[scene.inner]
        for each in (scene.log_depth, scene.normals(), scene.mask, *scene.directions())
    )
    n, f, lit = len(mask), 1 / scene.pixel_angle, scene.lights
    camera = Camera(
        n, n, np.array([[f, 0, (n - 1) / 2], [0, f, (n - 1) / 2], [0, 0, 1.0]]),
        t=np.array([0, 0, scene.camera_mm]),
    )  # fmt: skip
    lights = replace(
        Lights.at(lit["position"], lit["power"]), axis=lit["axis"], lobe=lit["lobe"],
        intensity=1.0,
    )  # fmt: skip
    edge = finer * (BEYOND_PX + EDGE_PX)
    mask = np.pad(mask[edge:-edge, edge:-edge], edge)
    depth = np.where(mask, np.exp(log_depth), np.nan)
    points = np.dstack([rays[0] * depth, rays[1] * depth, scene.camera_mm - depth])
    normals = np.where(mask[..., None], normals, np.nan)
    material = Material.metal(
        str(rng.choice(["Cr", "Cu", "Al", "Fe"])), scene.facts["alpha"],
        distribution="beckmann" if scene.beckmann else "ggx",
    )  # fmt: skip
    image = render(points, normals, camera, lights, material, disc_radius_mm=2.0)
    # Fewer rays leave noise that no camera has, and refinement would be judged by it.
    image = image + indirect(
        points, normals, camera, lights, material, grid=n, rays=Rays(128), smooth=0.0
    )
    image, height = pooled(image, finer), pooled(scene.camera_mm - depth, finer)
    normal = np.moveaxis(pooled(np.moveaxis(normals, -1, 0), finer), 0, -1)
    seen_part = pooled(mask.astype(float), finer) > 0.999
    return Captured(
        str(seed), exposed(image, lights.ids, seen_part, np.random.default_rng([10, seed])),
        camera.binned(finer).cropped(BEYOND_PX, BEYOND_PX, size, size), lights, height,
        normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9), seen_part,
    )  # fmt: skip


def exposed(image, ids, mask, rng) -> Stack:
    """Pictures (N, H, W) by a 12-bit sensor of 12,000 electrons, their bracket merged."""
    noise = hdr.NoiseModel(hdr.TYPICAL_FLOOR + 1 / 4095**2 / 12, hdr.TYPICAL_GAIN)
    bright = image.max(0)[mask]
    shortest = bracket.HIGHEST / np.percentile(bright, bracket.BRIGHT_PERCENTILE)
    longest = bracket.LOWEST / max(np.percentile(bright, bracket.DIM_PERCENTILE), 1e-12)
    # in units in which two digits, to which exposures are rounded, change nothing
    exposures = np.array(bracket.bracket(1e3 * shortest, 1e3 * max(shortest, longest))) / 1e3
    signals = []
    for exposure in exposures:
        electrons = image * exposure * 12000
        seen = rng.poisson(electrons) + rng.normal(0, 3, image.shape)
        signals.append((np.rint(np.clip(seen / 12000, -0.01, 1) * 4095) / 4095).astype(np.float32))
    merged = hdr.merge_bracket(
        [s.reshape(len(s), -1) for s in signals], [s.reshape(len(s), -1) >= 1 for s in signals],
        list(exposures), noise,
    )  # fmt: skip
    floor, gain = hdr.merged_noise(noise, list(exposures))
    return Stack(
        ids, merged.radiance.reshape(image.shape), merged.clipped.reshape(image.shape), floor, gain
    )


def pooled(images, finer: int):
    """The picture's part of fine images (…, H, W), averaged over its pixels; NaN counts as 0."""
    height, width = (size // finer for size in images.shape[-2:])
    shape = (*images.shape[:-2], height, finer, width, finer)
    mean = np.nan_to_num(images).reshape(shape).mean((-3, -1))
    return mean[..., BEYOND_PX : height - BEYOND_PX, BEYOND_PX : width - BEYOND_PX]


def shown(part: Captured) -> Captured:
    """The part where a picture shows it, above three sigma of the read noise."""
    bright = part.stack.radiance.max(0) >= 3 * np.sqrt(part.stack.noise_floor)
    return replace(part, mask=part.mask & bright)


def torn_error(part: Captured) -> float:
    """Share of the field by which the height misses that the true normals integrate to."""
    normals = np.where(part.mask[..., None], part.normals, np.nan)
    u = integrate_normals(normals, part.camera, part.mean_height_mm, part.mask)
    found = height_of(u, part.camera, image_coordinates(part.camera)[0])
    return float((found - part.height_mm)[part.mask].std() / part.field_mm)


def outcome(job: Job) -> dict[str, Any]:
    """Where refinement of one part ends from each start; heights as shares of the field."""
    scene = job.scene
    part = simulated(scene, job.seed, job.size, job.finer)
    lit = shown(part)
    row: dict[str, Any] = {
        "set": job.name, "seed": job.seed, "size": job.size, "finer": job.finer,
        "beckmann": bool(scene.beckmann), "alpha": float(scene.facts["alpha"]),
        "black": 1 - float(lit.mask.sum() / part.mask.sum()), "torn": torn_error(part),
    }  # fmt: skip
    for start in () if job.told and not told(row) else job.starts:
        options = methods.Options(
            height_mm=part.mean_height_mm, mask=part.mask, start=start, uncertainty=False,
            weights=job.weights, device=job.device,
        )  # fmt: skip
        surface = methods.reconstruct("refine", part.stack, part.camera, part.lights, options)
        degrees, error_mm = part.errors(surface)
        row[start] = {
            "residual": float(surface.summary["residual"]), "normals_deg": degrees,
            "height": error_mm / part.field_mm, "shown": lit.errors(surface)[1] / part.field_mm,
        }  # fmt: skip
    return row


def told(row: dict[str, Any]) -> bool:
    """Whether a part's pictures tell its height."""
    return bool(row["black"] < BLACK and row["torn"] < TORN)


def table(rows: Sequence[dict[str, Any]]) -> None:
    """How many parts of each set end within 1 % and 0.2 % of the field."""
    print(
        "\n| parts | half vector: 1 % / 0.2 % | dpps | lower residual | where shown "
        "| median height, % | median normals, deg | GGX metals | Beckmann metals "
        f"| less than {BLACK:.0%} black | of these, not torn |"
        "\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for name, (title, _) in SETS.items():
        mine = [r for r in rows if r["set"] == name]
        if not mine:
            continue
        best = [
            min((r[start] for start in STARTS if start in r), key=lambda e: e["residual"])
            for r in mine
        ]
        cells = [within([r[start]["height"] for r in mine if start in r]) for start in STARTS]
        cells += [within([e["height"] for e in best]), within([e["shown"] for e in best])]
        cells += [
            f"{np.median([100 * e['height'] for e in best]):.2f}",
            f"{np.median([e['normals_deg'] for e in best]):.2f}",
        ]
        for chosen in (
            [not r["beckmann"] for r in mine], [r["beckmann"] for r in mine],
            [r["black"] < BLACK for r in mine], [told(r) for r in mine],
        ):  # fmt: skip
            home = [e["height"] < 0.01 for e, c in zip(best, chosen, strict=True) if c]
            cells.append(f"{sum(home)} of {len(home)}")
        print(f"| {title} | {' | '.join(cells)} |")


def within(shares: Sequence[float]) -> str:
    """How many shares of the field are below 1 % and 0.2 %."""
    if not shares:
        return "not run"
    return f"{sum(s < 0.01 for s in shares)} / {sum(s < 0.002 for s in shares)} of {len(shares)}"


def read_rows(path: Path) -> dict[Key, dict[str, Any]]:
    """Rows by set, seed, size and fineness; later starts of a part are put to earlier ones."""
    rows: dict[Key, dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        if "dpps" not in row:
            row.pop("weights", None)  # the half vector has none, and an earlier dpps keeps its own
        key = (row["set"], row["seed"], row["size"], row["finer"])
        rows[key] = rows.get(key, {}) | row
    return rows


def done(job: Job, row: dict[str, Any] | None) -> bool:
    """Whether there is nothing left to run of a part."""
    return row is not None and ((job.told and not told(row)) or {*job.starts} <= {*row})


def one_thread() -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=Path("starts.jsonl"))
    parser.add_argument("--samples", type=int, default=50, help="parts of each set")
    parser.add_argument(
        "--first", type=int, default=0, help="seed: 0 to some hundred were tuned on"
    )
    parser.add_argument("--size", type=int, default=256, help="of the pictures, px")
    parser.add_argument("--finer", type=int, default=2, help="than the pictures parts are rendered")
    parser.add_argument("--starts", nargs="+", default=list(STARTS), choices=STARTS)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--told", action="store_true", help="count parts that pictures tell")
    options = parser.parse_args()
    given = (
        options.size, options.finer, tuple(options.starts), options.weights, options.device,
        options.told,
    )  # fmt: skip
    drawn = {
        name: seeds_of(wide(SETS[name][1], options.size, options.finer), options.first)
        for name in options.sets
    }
    jobs: list[Job] = []
    weights = sha256(options.weights or SHIPPED)[:12]
    with multiprocessing.get_context("spawn").Pool(options.processes, one_thread) as pool:
        while True:
            rows = read_rows(options.rows)
            counted = [job for job in jobs if not options.told or told(rows[job.key])]
            more = [
                Job(name, seed, *given)
                for name, seeds in drawn.items()
                for seed in itertools.islice(
                    seeds, options.samples - sum(job.name == name for job in counted)
                )
            ]
            if not more:
                break
            jobs += more
            left = [job for job in more if not done(job, rows.get(job.key))]
            left.sort(key=lambda job: job.seed)  # an unfinished run has as many of each set
            for row in track(pool.imap_unordered(outcome, left), "parts", len(left)):
                with options.rows.open("a") as file:
                    file.write(json.dumps(row | {"weights": weights}) + "\n")
    mine = [rows[job.key] for job in counted]
    table(mine)
    for digest, number in Counter(row["weights"] for row in mine if "weights" in row).items():
        print(f"\n{number} parts from dpps by the weights {digest}")


if __name__ == "__main__":
    main()
