"""The method `dpps` on simulated parts of the published kind, with lights that are off by 25 mm.

    python benchmarks/published_kind.py [--count 12] [--first 1000] [--off 25]

Traits of the published data: 128 × 128 px over 100 mm, blobby parts whose relief is about as deep
as the field is wide (median slope 47°), metal, black ground, 8 bits with a mean of some 9, LEDs
of `calib.published` as drawn. The true LEDs lie `--off` mm from there, each in a direction of its
own; the method is given the drawn ones. Prints the mean angle and the height's RMSE (mean removed)
in per cent of the field.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from calib.lights import Lights
from calib.published import published_camera, published_lights
from reconstruct import methods
from reconstruct.dpps import shapes
from reconstruct.optics.interreflection import indirect, upsampled
from reconstruct.optics.material import Material
from reconstruct.optics.render import render
from reconstruct.shapes.base import HeightGrid, Shape
from reconstruct.shapes.sampling import sample
from reconstruct.stack import Stack

SIDE, FIELD_MM, SLOPE_DEG = 128, 100.0, 47.0
MEAN_CODE = 9.0


def part(random: np.random.Generator) -> Shape:
    """A blobby relief of a median slope of some 47° in the middle of the field."""
    n, width = 160, 1.5 * FIELD_MM
    make = shapes.blobs if random.random() < 0.5 else shapes.smooth
    height = make(random, n).astype(float)
    y, x = np.mgrid[0:n, 0:n] / (n - 1) - 0.5
    height *= np.exp(-(((np.hypot(x, y) * width) / (0.55 * FIELD_MM)) ** 4))
    step = width / (n - 1)
    inner = np.hypot(x, y) * width < 0.45 * FIELD_MM
    slope = np.hypot(*np.gradient(height, step))
    typical = max(float(np.median(slope[inner])), 0.45 * float(np.quantile(slope[inner], 0.9)))
    factor = np.tan(np.radians(SLOPE_DEG)) / typical
    factor = min(factor, 1.1 * FIELD_MM / float(np.ptp(height)))
    steepest = float(np.quantile(slope[inner], 0.98))
    height *= min(factor, np.tan(np.radians(75.0)) / steepest)
    return Shape("blobby", HeightGrid(height - height[inner].mean(), step))


def moved(lights: Lights, off_mm: float, random: np.random.Generator) -> Lights:
    way = random.standard_normal((len(lights), 3))
    way *= off_mm / np.linalg.norm(way, axis=1, keepdims=True)
    return replace(lights, position_mm=lights.position_mm + way)


def errors(seed: int, off_mm: float, method: str) -> tuple[float, float]:
    random = np.random.default_rng([seed, 11])
    camera, known = published_camera((SIDE, SIDE), FIELD_MM), published_lights()
    true = sample(part(random), camera, 2)
    alpha = float(random.uniform(0.1, 0.35))
    material = Material.metal(str(random.choice(["Cr", "Al", "Cu", "Ni"])), alpha)
    lights = moved(known, off_mm, random)
    points, normals = true.points_mm, true.normals
    images = render(points, normals, camera, lights, material)
    images += upsampled(indirect(points, normals, camera, lights, material), camera.shape)
    mask = np.hypot(points[..., 0], points[..., 1]) < 0.46 * FIELD_MM
    images = np.where(mask, images, 0.0)
    images *= MEAN_CODE / 255 / images[:, mask].mean()
    codes = np.round(255 * np.clip(images, 0, 1)) / 255
    stack = Stack(known.ids, codes.astype(np.float32), codes >= 1.0, (1 / 255) ** 2 / 12, 1e-5)
    options = methods.Options(height_mm=float(points[mask][:, 2].mean()), mask=mask)
    surface = methods.reconstruct(method, stack, camera, known, options)
    cosine = np.clip(np.sum(surface.normals * normals, axis=-1), -1.0, 1.0)[mask]
    error = (surface.height_mm - points[..., 2])[mask]
    return float(np.nanmean(np.degrees(np.arccos(cosine)))), float(
        100 * np.nanstd(error) / FIELD_MM
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--off", type=float, nargs="*", default=[0.0, 25.0])
    parser.add_argument("--method", default="dpps")
    given = parser.parse_args()
    for off in given.off:
        each = [errors(given.first + k, off, given.method) for k in range(given.count)]
        mean, middle = np.mean(each, axis=0), np.median(each, axis=0)
        print(
            f"{given.method}, {given.count} parts, lights off by {off:g} mm: {mean[0]:.2f}° "
            f"(median {middle[0]:.2f}) and {mean[1]:.2f} % (median {middle[1]:.2f}) of the field",
            flush=True,
        )


if __name__ == "__main__":
    main()
