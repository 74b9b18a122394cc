"""Shares of errors within one, two and three of the stated sigmas, and what sigma is made of.

Usage: python benchmarks/sigma_holds.py [--captures cap turned ...] [--parts field-10 ...]
                                        [--workspace FOLDER] [--size 128]

Captures are path-traced (../shared/captures; true lights, white plate, mean height given, 8 px of
border left out). Their truth is the mean of some 256 random places in each pixel, so that it errs
itself, by 0.018 px of its slope; the shares are told of sigma alone and of both together. Parts are
simulated by seed, with the mean height of the truth. With --workspace, parts are seen and
reconstructed with the camera and lights that were calibrated there by ``rig calibrate-camera
--simulate`` and ``rig calibrate-lights --simulate`` with --seed, and the errors hold the plane of
the stage; its RMSE is told with and without. Prints Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.light_files import read_lights
from reconstruct.dpps.captured import read_with_plate
from reconstruct.methods import Options, reconstruct
from reconstruct.stack import Stack
from reconstruct.surface import Surface
from rig.simulate import RenderedScene, VirtualRig, dome, scene_of, virtual_camera

CAPTURES = Path(__file__).resolve().parents[1].parent / "shared" / "captures"
KINDS = ("cap", "turned", "brushed", "patina", "stamped", "blob", "steep")
PARTS = tuple(f"{k}-10" for k in ("field", "turned", "ground", "sphere_cap", "stamped", "coin"))
WELL_E, READ_E, BORDER_PX = 12_000.0, 3.0, 8
# Standard deviation of the mean of 256 places that are spread evenly over a pixel.
TRUTH_PX = 1 / np.sqrt(12 * 256)


def captured(name: str) -> tuple[Surface, NDArray[np.floating]]:
    """A capture's surface, and its true heights."""
    capture, flat = read_with_plate(CAPTURES / name, CAPTURES / "white")
    options = Options(height_mm=capture.mean_height_mm, flat=flat)
    surface = reconstruct("refine", capture.stack, capture.camera, capture.lights, options)
    return surface, capture.height_mm


def pictures(scene: RenderedScene) -> Stack:
    """Pictures of a 12-bit sensor whose exposure clips 0.2 % of all values."""
    rng = np.random.default_rng(0)
    ids = np.arange(1, scene.led_count + 1)
    electrons = np.nan_to_num(np.stack([scene.irradiance(int(led)) for led in ids]))
    gain = WELL_E / np.quantile(electrons, 0.998)
    seen = rng.poisson(electrons * gain) + rng.normal(0, READ_E, electrons.shape)
    scale = 1 / (gain * scene.electrons_per_us)
    value = np.rint(np.clip(seen / WELL_E, 0, 1) * 4095) / 4095 * WELL_E * scale
    return Stack(
        ids, value.astype(np.float32), seen >= WELL_E, float((READ_E * scale) ** 2), float(scale)
    )


def simulated(
    name: str, size: int, seed: int, workspace: Path | None
) -> tuple[Surface, NDArray[np.floating]]:
    """A simulated part's surface, and its true heights."""
    lights, nominal = dome(96, seed=seed)
    camera = virtual_camera(seed=seed)
    factor = camera.width // size
    scene = scene_of(name, rig=VirtualRig(camera.binned(factor), lights, nominal))
    seen, known = scene.rig.camera, lights
    if workspace is not None:
        seen = Camera.read(workspace / "calibration" / "camera.json").binned(factor)
        known = read_lights(workspace / "calibration" / "lights.json")
    truth = scene.points_mm[..., 2]
    inside = np.isfinite(truth)
    options = Options(
        height_mm=float(truth[inside].mean()), mask=None if inside.all() else inside,
        self_calibrate=known.covariance is not None,
    )  # fmt: skip
    return reconstruct("refine", pictures(scene), seen, known, options), truth


def row(
    name: str, surface: Surface, truth: NDArray[np.floating], truth_px: float = 0.0
) -> tuple[str, list[float]]:
    """A line of the table, and the three shares; `truth_px`: sigma of where the truth was taken."""
    inner = np.zeros(truth.shape, bool)
    inner[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    part = inner & np.isfinite(truth)
    claimed = part & surface.mask
    error = (surface.height_mm - truth)[claimed].astype(np.float64)
    error -= error.mean()
    sigma = surface.sigma_mm[claimed]
    y, x = np.nonzero(claimed)
    plane = np.column_stack([np.ones(len(x)), x, y])
    rest = error - plane @ np.linalg.lstsq(plane, error, rcond=None)[0]
    slope = np.hypot(*np.gradient(truth))[claimed]
    both = np.hypot(sigma, truth_px * np.nan_to_num(slope))
    within, beside = (
        [100 * float(np.mean(np.abs(error) <= k * some)) for k in (1, 2, 3)]
        for some in (sigma, both)
    )
    causes = sorted(surface.summary["variance_mm2"].items(), key=lambda item: -item[1])[:3]
    made_of = ", ".join(f"{cause} {np.sqrt(value):.4f}" for cause, value in causes)
    spent = surface.summary["refine"]["stages"]["uncertainty"]["processor_s"]
    whole = sum(stage["processor_s"] for stage in surface.summary["refine"]["stages"].values())
    return (
        f"| {name} | {100 * claimed.sum() / part.sum():.1f} | {error.std():.4f} | {rest.std():.4f} "
        f"| {np.median(sigma):.4f} | {within[0]:.0f}, {within[1]:.0f}, {within[2]:.0f} "
        f"| {beside[0]:.0f}, {beside[1]:.0f}, {beside[2]:.0f} | {made_of} "
        f"| {spent:.1f} of {whole:.1f} |"
    ), within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captures", nargs="*", default=KINDS)
    parser.add_argument("--parts", nargs="*", default=PARTS)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0, help="of the virtual rig")
    given = parser.parse_args()
    print("| part | claimed % | RMSE mm | plane removed | median σ | within 1, 2, 3 σ % | "
          "with the truth's | largest causes, mm | processor s |\n" + "|---" * 9 + "|")  # fmt: skip
    shares = []
    for name in given.captures:
        line, within = row(f"`{name}`", *captured(name), TRUTH_PX)
        shares.append(within)
        print(line, flush=True)
    for name in given.parts:
        line, within = row(name, *simulated(name, given.size, given.seed, given.workspace))
        shares.append(within)
        print(line, flush=True)
    mean = np.mean(shares, axis=0)
    print(f"\nMean over {len(shares)}: {mean[0]:.0f}, {mean[1]:.0f}, {mean[2]:.0f} %")


if __name__ == "__main__":
    main()
