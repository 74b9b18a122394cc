"""Tables of the learned start: synthetic parts, captures, time. Prints Markdown.

Usage: python benchmarks/dpps_tables.py [--weights FILE] [--samples 20] [--published CHECKPOINT]
                                       [--only ROWS]

Synthetic parts come from the test split, 128×128. "Half vector" is the mean half vector under
the pictures' intensities, integrated with the same Poisson solver: the best start without learning.
Roughness enters through the width α = 2.5 Ra / ℓ with a correlation length ℓ = 13 µm (Ra/µm)^0.6.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reconstruct import methods
from reconstruct.dpps import fusion, predict
from reconstruct.dpps.captured import Captured, captured_in
from reconstruct.dpps.dataset import PUBLISHED_RIG, published_pair
from reconstruct.dpps.drawing import Ask
from reconstruct.dpps.forward import Network
from reconstruct.dpps.published import PublishedNet, read_published
from reconstruct.dpps.samples import draw
from reconstruct.dpps.view import view_of_sample
from reconstruct.dpps.weights import read_weights
from reconstruct.surface import Surface

STEEP = Ask(
    size=128, rig="dome96", slope_deg=(40, 50), alpha=(0.09, 0.4), zoom=0, shapes="blobby",
    ideal=True, rays=32,
)  # fmt: skip
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
        channels = view.channels(base)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--published", type=Path)
    parser.add_argument(
        "--only", default="",
        choices=("", "synthetic", "captures", "refine", "published", "times"),
    )  # fmt: skip
    options = parser.parse_args()
    weights = read_weights(options.weights)
    model = Network(weights)
    print(f"weights: {weights.facts}\n")
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
    if options.only in ("", "times"):
        times(model, net)


if __name__ == "__main__":
    main()
