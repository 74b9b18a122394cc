"""Tables of the learned start: synthetic parts, captures, time. Prints Markdown.

Usage: python benchmarks/dpps_tables.py [--weights FILE] [--samples 20] [--published CHECKPOINT]
                                       [--only ROWS] [--size 64]

Synthetic parts come from the test split, 128×128. "Half vector" is the mean half vector under
the pictures' intensities, integrated with the same Poisson solver: the best start without learning.
Roughness enters through the width α = 2.5 Ra / ℓ with a correlation length ℓ = 13 µm (Ra/µm)^0.6.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from calib.camera import Camera
from calib.lights import Lights
from capture import bracket, hdr
from reconstruct import methods
from reconstruct.dpps import fusion, predict
from reconstruct.dpps.captured import Captured, captured_in
from reconstruct.dpps.dataset import PUBLISHED_RIG, published_pair
from reconstruct.dpps.drawing import Ask, scene_of
from reconstruct.dpps.network import ready
from reconstruct.dpps.published import PublishedNet, read_published
from reconstruct.dpps.samples import draw
from reconstruct.dpps.view import view_of_sample
from reconstruct.dpps.weights import read_weights
from reconstruct.integrate import height_of, image_coordinates, integrate_normals
from reconstruct.optics.interreflection import indirect
from reconstruct.optics.material import Material
from reconstruct.optics.render import render
from reconstruct.stack import Stack
from reconstruct.surface import Surface

STEEP = Ask(
    size=128, rig="dome96", slope_deg=(40, 50), alpha=(0.09, 0.4), zoom=0, shapes="blobby",
    ideal=True, rays=32,
)  # fmt: skip
# A simulated part is drawn so much finer than its pictures, ends so far within them, and is cut out
# of one that goes on so far beyond.
FINER, EDGE_PX, BEYOND_PX = 4, 3, 8
BLACK = 0.1  # share of a part in no picture, from which on its surface is a guess
# Error (share of the field) of the height that the true normals themselves integrate to, from which
# on a part is torn: by cliffs within a pixel, or into pieces, whose levels no normals tell.
TORN = 0.005
CAPTURES = Path(__file__).resolve().parents[1].parent / "shared" / "captures"


def alpha_of_ra(ra_um: float) -> float:
    return 2.5 * ra_um / (13 * ra_um**0.6)


def scores(log_depth, normals, sample) -> tuple[float, float]:
    """Mean angle in degrees and height RMSE (mean removed) in per cent of the field width."""
    mask = sample.mask
    cosine = np.clip((normals * sample.normals).sum(-1), -1, 1)
    error = (np.exp(sample.log_depth) - np.exp(log_depth))[mask]
    rms = (error - error.mean()).std()
    return float(np.degrees(np.arccos(cosine))[mask].mean()), float(100 * rms / sample.field_mm)


def half_vector(view, base):
    """Log depth and normals without learning: the intensity-weighted half vector."""
    a = view.channels(base)[15:17].astype(np.float64) / 3
    square = (a * a).sum(0)
    normals = np.stack([2 * a[0], 2 * a[1], 1 - square], -1) / (1 + square)[..., None]
    slope = fusion.slopes_of(normals, view.rays)
    pixel = np.stack([slope[..., 0], -slope[..., 1]], -1) * view.pixel_angle
    log_depth = fusion.fuse(pixel, base, view.mask, 1e-6)
    return log_depth, normals


def row(name: str, ask: Ask, count: int, model) -> dict[str, float]:
    ours, plain = [], []
    for seed in range(count):
        if ask.preset_camera:  # the rig from a seed of its own leaves the part the same
            ask = replace(ask, rig_seed=1000 + seed)
        sample = draw(seed, ask, "test", keep_radiance=True)
        view = view_of_sample(sample)
        base = sample.base_log_depth.astype(np.float64)
        log_depth, _ = predict.predict_view(model, view, base)
        ours.append(scores(log_depth, view.normals(log_depth), sample))
        log_depth, normals = half_vector(view, base)
        plain.append(scores(log_depth, normals, sample))
    a, b, m = np.mean(ours, 0), np.mean(plain, 0), np.median(ours, 0)
    print(
        f"| {name} | {a[0]:.2f} ({m[0]:.2f}) | {a[1]:.2f} ({m[1]:.2f}) | {b[0]:.2f} | {b[1]:.2f} |",
        flush=True,
    )
    return {"normals_deg": a[0], "height_pct": a[1]}


def published_row(name: str, ask: Ask, count: int, net: PublishedNet) -> None:
    result = []
    for seed in range(count):
        if ask.rig == PUBLISHED_RIG.rig:  # the one rig that it was trained for
            ask = replace(ask, rig_seed=PUBLISHED_RIG.rig_seed)
        sample = draw(seed, ask, "test", True)
        x, _ = published_pair(sample)
        with torch.no_grad():
            normals, height = net(torch.from_numpy(x)[None])
        n = torch.nn.functional.normalize(normals[0], dim=0).numpy().transpose(1, 2, 0)
        depth = sample.centre_mm - height[0, 0].numpy() * sample.field_mm
        result.append(scores(np.log(np.maximum(depth, 1)), n, sample))
    a, m = np.mean(result, 0), np.median(result, 0)
    print(f"| {name} | {a[0]:.2f} ({m[0]:.2f}) | {a[1]:.2f} ({m[1]:.2f}) |", flush=True)


def half_vector_surface(capture: Captured) -> Surface:
    return methods.reconstruct(
        "halfvector", capture.stack, capture.camera, capture.lights,
        methods.Options(height_mm=capture.mean_height_mm, mask=capture.mask),
    )  # fmt: skip


def captures(model) -> None:
    print("\n| capture | dpps normals, deg | height, mm | half vector | height, mm |")
    print("|---|---|---|---|---|")
    for capture in captured_in(CAPTURES):
        ours = capture.errors(capture.predicted(model))
        plain = capture.errors(half_vector_surface(capture))
        print(
            f"| {capture.name} | {ours[0]:.2f} | {ours[1]:.3f} | {plain[0]:.2f} | {plain[1]:.3f} |",
            flush=True,
        )


def refined(weights: Path | None) -> None:
    """The captures refined from either start."""
    print("\n| capture | start | normals, deg | height, mm | residual | processor s |")
    print("|---|---|---|---|---|---|")
    for capture in captured_in(CAPTURES):
        for start in ("halfvector", "dpps"):
            options = methods.Options(
                height_mm=capture.mean_height_mm, mask=capture.mask, start=start,
                uncertainty=False, weights=weights,
            )  # fmt: skip
            clock = time.process_time()
            surface = methods.reconstruct(
                "refine", capture.stack, capture.camera, capture.lights, options
            )
            seconds = time.process_time() - clock
            error = capture.errors(surface)
            print(
                f"| {capture.name} | {start} | {error[0]:.3f} | {error[1]:.4f} | "
                f"{surface.summary['residual']:.5f} | {seconds:.0f} |",
                flush=True,
            )


def times(model, net: PublishedNet) -> None:
    """Processor seconds, the lowest of several, whole method against bare published network."""
    print("\n| what | processor s |\n|---|---|")
    for size in (128, 256):
        sample = draw(0, replace(STEEP, size=size), "test", keep_radiance=True)
        view = view_of_sample(sample)
        base = sample.base_log_depth.astype(np.float64)
        channels = torch.from_numpy(view.channels(base))[None]
        tasks = {
            "any-rig, pictures to surface": lambda v=view, b=base: predict.predict_view(
                model, v, b
            ),
            "any-rig, network alone, one pass": lambda c=channels: model(c),
        }
        if size == 128:
            x = torch.from_numpy(published_pair(sample)[0])[None]
            tasks["published network alone"] = lambda x=x: net(x)
        for name, task in tasks.items():
            best = np.inf
            with torch.no_grad():
                for _ in range(5):
                    start = time.process_time()
                    task()
                    best = min(best, time.process_time() - start)
            print(f"| {name}, 96×{size}×{size} | {best:.3f} |", flush=True)


def seeds_of(ask: Ask) -> Iterator[int]:
    """Seeds of the parts whose median slope is in the range asked for: not plates with a wall."""
    for seed in itertools.count():
        scene = scene_of(seed, ask, "test")
        facing = scene.normals()[scene.inner][scene.mask[scene.inner]][:, 2]
        slope = float(np.degrees(np.arccos(np.median(facing))))
        if ask.slope_deg is None or ask.slope_deg[0] <= slope <= ask.slope_deg[1]:
            yield seed


def simulated(seed: int, ask: Ask) -> Captured:
    """A part under a 96-LED dome by the renderer of `reconstruct.optics`, its lights calibrated.

    Cast shadows, up to three bounces between places of the part, LEDs as discs, and the exposures
    that `rig capture --exposures auto` takes. Drawn and rendered four times finer than
    the pictures, so that a pixel sees an area and not a point. The part is cut to end within the
    pictures: of one that goes on beyond them, walls are lit by what no picture shows.
    """
    scene = scene_of(seed, replace(ask, size=FINER * (ask.size + 2 * BEYOND_PX)), "test")
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
    edge = FINER * (BEYOND_PX + EDGE_PX)
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
        points, normals, camera, lights, material, grid=n, samples=128, smooth=0.0
    )
    image, height = pooled(image), pooled(scene.camera_mm - depth)
    normal = np.moveaxis(pooled(np.moveaxis(normals, -1, 0)), 0, -1)
    seen_part = pooled(mask.astype(float)) > 0.999
    return Captured(
        str(seed), exposed(image, lights.ids, seen_part, np.random.default_rng([10, seed])),
        camera.binned(FINER).cropped(BEYOND_PX, BEYOND_PX, ask.size, ask.size), lights, height,
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


def pooled(images):
    """The picture's part of fine images (…, H, W), averaged over its pixels; NaN counts as 0."""
    height, width = (size // FINER for size in images.shape[-2:])
    shape = (*images.shape[:-2], height, FINER, width, FINER)
    mean = np.nan_to_num(images).reshape(shape).mean((-3, -1))
    return mean[..., BEYOND_PX : height - BEYOND_PX, BEYOND_PX : width - BEYOND_PX]


def shown(part: Captured) -> Captured:
    """The part where a picture shows it, above three sigma of the read noise."""
    bright = part.stack.radiance.max(0) >= 3 * np.sqrt(part.stack.noise_floor)
    return replace(part, mask=part.mask & bright)


def black_share(part: Captured) -> float:
    """Share of the part that no picture shows."""
    return 1 - float(shown(part).mask.sum() / part.mask.sum())


def torn_error(part: Captured) -> float:
    """Share of the field by which the height misses that the true normals integrate to."""
    normals = np.where(part.mask[..., None], part.normals, np.nan)
    u = integrate_normals(normals, part.camera, part.mean_height_mm, part.mask)
    found = height_of(u, part.camera, image_coordinates(part.camera)[0])
    return float((found - part.height_mm)[part.mask].std() / part.field_mm)


def starts(count: int, weights: Path | None, size: int) -> None:
    """Share of parts that refinement brings within 1 % and 0.2 % of the field, by start."""
    steep = replace(STEEP, size=size)
    sets = {
        "slopes 45°, α 0.09-0.4": steep,
        "slopes 45°, α 0.05-0.09": replace(steep, alpha=(0.05, 0.09)),
        "slopes 55°, α 0.09-0.4": replace(steep, slope_deg=(50, 60)),
    }
    print(
        "\n| parts | half vector: 1 % / 0.2 % | dpps | lower residual | where shown "
        "| of GGX metals | of Beckmann metals "
        f"| of parts less than {BLACK:.0%} black | of these, not torn |"
        "\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, ask in sets.items():
        ends: dict[str, list[float]] = {"halfvector": [], "dpps": [], "best": [], "shown": []}
        seen, whole, beckmann = [], [], []
        wide = replace(ask, size=FINER * (ask.size + 2 * BEYOND_PX))
        for seed in itertools.islice(seeds_of(wide), count):
            part = simulated(seed, ask)
            lit = shown(part)
            found: dict[str, tuple[float, float, float]] = {}
            for start in ("halfvector", "dpps"):
                options = methods.Options(
                    height_mm=part.mean_height_mm, mask=part.mask, start=start,
                    uncertainty=False, weights=weights,
                )  # fmt: skip
                surface = methods.reconstruct(
                    "refine", part.stack, part.camera, part.lights, options
                )
                share, of_lit = (each.errors(surface)[1] / part.field_mm for each in (part, lit))
                found[start] = (float(surface.summary["residual"]), share, of_lit)
                ends[start].append(share)
            _, share, of_lit = min(found.values())
            ends["best"].append(share)
            ends["shown"].append(of_lit)
            beckmann.append(scene_of(seed, wide, "test").beckmann)
            seen.append(black_share(part) < BLACK)
            whole.append(seen[-1] and torn_error(part) < TORN)
        cells = [
            f"{(np.array(e) < 0.01).sum()} / {(np.array(e) < 0.002).sum()}" for e in ends.values()
        ]
        for chosen in (np.invert(beckmann), beckmann, seen, whole):
            cells.append(f"{(np.array(ends['best'])[chosen] < 0.01).sum()} of {sum(chosen)}")
        print(f"| {name}, of {count} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--published", type=Path)
    parser.add_argument("--size", type=int, default=64, help="of the parts of --only starts")
    parser.add_argument(
        "--only", default="",
        choices=("", "synthetic", "captures", "refine", "published", "starts", "times"),
    )  # fmt: skip
    options = parser.parse_args()
    model, facts = read_weights(options.weights)
    model = ready(model)
    print(f"weights: {facts}\n")
    gentle = replace(STEEP, slope_deg=(5, 15))
    rows = {
        "steep, slopes 40-50°": STEEP,
        "gentle, slopes 5-15°": gentle,
        "steep, as trained (dirt, all α, calibration errors)": replace(
            STEEP, alpha=None, ideal=False, rays=None
        ),
        **{f"Ra {ra} µm": replace(STEEP, alpha=(alpha_of_ra(ra),) * 2)
           for ra in (0.1, 0.4, 1.6, 6.3)},
        **{f"gentle, Ra {ra} µm": replace(gentle, alpha=(alpha_of_ra(ra),) * 2)
           for ra in (0.1, 0.4, 1.6, 6.3)},
        **{f"{n} lights": replace(STEEP, lights=n) for n in (48, 24, 12)},
        **{f"gentle, {n} lights": replace(gentle, lights=n) for n in (48, 24, 12)},
        **{f"held-out layout: {rig}, 96 lights, any camera": replace(STEEP, rig=rig, lights=96)
           for rig in ("panel", "spiral")},
        **{f"the same parts: {rig}": replace(STEEP, rig=rig, lights=96, preset_camera=True)
           for rig in ("dome96", "panel", "spiral")},
    }  # fmt: skip
    if not options.only or options.only == "synthetic":
        print("| part | normals, deg: mean (median) | height, % of field | half vector | height |")
        print("|---|---|---|---|---|")
        for name, ask in rows.items():
            row(name, ask, options.samples, model)
    if CAPTURES.is_dir() and options.only in ("", "captures"):
        captures(model)
    if CAPTURES.is_dir() and options.only in ("", "refine"):
        refined(options.weights)
    net = read_published(options.published) if options.published else PublishedNet().eval()
    if options.published and options.only in ("", "published"):
        print("\n| published network | normals, deg | height, % of field |\n|---|---|---|")
        for name, ask in rows.items():
            if ask.lights in (None, 96):  # it takes 96 pictures
                published_row(name, ask, options.samples, net)
    if options.only in ("", "starts"):
        starts(options.samples, options.weights, options.size)
    if options.only in ("", "times"):
        times(model, net)


if __name__ == "__main__":
    main()
