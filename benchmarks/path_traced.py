"""Captures of other kinds of parts from an independent renderer, Mitsuba 3 (development only).

    python benchmarks/path_traced.py PART OUT [--lights CAPTURE] [--spp 64] [--leds 96]

writes an exchange folder with truth like those beside the repository. Mitsuba comes from PyPI and
wants a shared LLVM library. With ``--compare`` nothing is written and our renderer is held against
it instead.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import mitsuba as mi
import numpy as np

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics.interreflection import indirect, upsampled
from reconstruct.optics.material import Lobe, Material
from reconstruct.optics.render import render
from reconstruct.shapes.base import Shape
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.sampling import sample

mi.set_variant("llvm_ad_mono")

LED_RADIUS_MM = 2.0
LED_RADIANCE = 4000.0 * (2.5 / LED_RADIUS_MM) ** 2
BLACK, FULL_WELL, READ_NOISE, BLUR_PX = 0.004, 12000.0, 3.0, 0.6
# Mitsuba's own constants for metals in its monochrome mode: averages over the visible spectrum.
CR, CU, AL = (3.1345, 4.40431), (0.782923, 2.74115), (1.01975, 6.79442)


def dirt(x: Any, y: Any, size_mm: float = 110.0) -> Any:
    """Share of dull dirt, 0 to 1: patches of a random field."""
    field = shape("field", 77, size_mm, correlation_mm=8.0).height(x, y)
    return np.clip(0.5 + (field - 1.2) / 0.6, 0.0, 0.85)


def bowl() -> Shape:
    """A round bowl wholly inside the field: for inter-reflection."""
    return Shape("bowl", lambda x, y: -22.0 * np.exp(-(x**2 + y**2) / (2 * 17.0**2)))


def part(name: str) -> tuple[Shape, Material, dict[str, Any]]:
    """Shape, our material, and Mitsuba's."""

    def conductor(nk: tuple[float, float], distribution: str, au: float, av: float | None = None):
        return {
            "type": "roughconductor",
            "eta": {"type": "uniform", "value": nk[0]},
            "k": {"type": "uniform", "value": nk[1]},
            "distribution": distribution,
            "alpha_u": au,
            "alpha_v": au if av is None else av,
        }

    def ours(nk: tuple[float, float], distribution: Any, au: float, av: float | None = None):
        return Material((Lobe(au, av, *nk, 1.0, distribution),))

    if name == "turned":
        return shape("turned", 3, pitch_mm=5.0), ours(CR, "ggx", 0.12), conductor(CR, "ggx", 0.12)
    if name == "cap":
        made = shape("sphere_cap", 3, radius_mm=120.0, edge_deg=22.0)
        return made, ours(CR, "ggx", 0.08), conductor(CR, "ggx", 0.08)
    if name == "brushed":
        made = shape("field", 12, slope_deg=7.0, correlation_mm=16.0)
        return made, ours(AL, "ggx", 0.10, 0.30), conductor(AL, "ggx", 0.10, 0.30)
    if name == "coin":
        made = shape("coin", 5)
        dull = {"type": "diffuse", "reflectance": {"type": "uniform", "value": 0.25}}
        blend = {"type": "blendbsdf", "a": conductor(CU, "ggx", 0.2), "b": dull}
        clean = Material((Lobe(0.2, None, *CU),))
        return made, clean, blend
    if name == "bowl":
        return bowl(), ours(CU, "ggx", 0.25), conductor(CU, "ggx", 0.25)
    if name == "milled":
        made = shape("milled", 4, feed_mm=6.0)
        return made, ours(AL, "beckmann", 0.18), conductor(AL, "beckmann", 0.18)
    if name == "mixed":
        made = shape("metaballs", 6, relief_mm=14.0)
        return made, ours(CR, "beckmann", 0.2), conductor(CR, "beckmann", 0.2)
    if name == "punched":  # as `stamped`, with walls of five pixels and a shinier metal
        return shape("stamped", 21), ours(CR, "beckmann", 0.15), conductor(CR, "beckmann", 0.15)
    if name == "hilly":  # as `steep`, going on beyond the picture on all sides
        made = shape("field", 31, slope_deg=38.0, correlation_mm=16.0)
        return made, ours(CU, "ggx", 0.2), conductor(CU, "ggx", 0.2)
    if name in ("steep41", "steep43"):  # between `steep` and `hilly`: slopes to 57 and 59°
        seed = int(name.removeprefix("steep"))
        made = shape("field", seed, slope_deg=30.0, correlation_mm=22.0 if seed == 41 else 26.0)
        return made, ours(CU, "ggx", 0.25), conductor(CU, "ggx", 0.25)
    raise SystemExit(f"no part named {name}")


def mesh_of(made: Shape, bsdf: dict[str, Any], nodes: int, size_mm: float = 150.0) -> mi.Mesh:
    """Triangles of a part, with the spline's own vertex normals."""
    axis = (np.arange(nodes) / (nodes - 1) - 0.5) * size_mm
    x, y = np.meshgrid(axis, axis)
    z = made.height(x, y)
    h = size_mm / nodes * 0.05
    zx = (made.height(x + h, y) - made.height(x - h, y)) / (2 * h)
    zy = (made.height(x, y + h) - made.height(x, y - h)) / (2 * h)
    normal = np.stack([-zx, -zy, np.ones_like(z)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    corner = np.arange(nodes * nodes).reshape(nodes, nodes)
    a, b, c, d = (
        corner[i : i + nodes - 1, j : j + nodes - 1].ravel() for i in (0, 1) for j in (0, 1)
    )
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)])
    if bsdf["type"] == "blendbsdf":
        weight = dirt(x, y).astype(np.float32)[..., None]
        bitmap = mi.Bitmap(weight)  # rows run along +y here, as v does in the mesh
        bsdf = {**bsdf, "weight": {"type": "bitmap", "bitmap": bitmap, "raw": True}}
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(bsdf)
    mesh = mi.Mesh(
        "part", nodes * nodes, len(faces), props=properties, has_vertex_normals=True,
        has_vertex_texcoords=True,
    )  # fmt: skip
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = np.stack([x, y, z], -1).astype(np.float32).ravel()
    parameters["vertex_normals"] = normal.astype(np.float32).ravel()
    uv = np.stack([x / size_mm + 0.5, y / size_mm + 0.5], -1)
    parameters["vertex_texcoords"] = uv.astype(np.float32).ravel()
    parameters["faces"] = faces.astype(np.uint32).ravel()
    parameters.update()
    return mesh


def path_traced(mesh: mi.Mesh, camera: Camera, lights: Lights, spp: int, depth: int) -> Any:
    """(N, H, W) radiance."""
    height, width = camera.shape
    K = camera.K
    # Mitsuba's camera looks along +z with x to the left: turn ours by half a turn about z.
    to_world = np.eye(4)
    to_world[:3, :3] = camera.R.T @ np.diag([-1.0, -1.0, 1.0])
    to_world[:3, 3] = camera.centre_mm
    sensor = mi.load_dict({
        "type": "perspective",
        "fov": float(np.degrees(2 * np.arctan(width / 2 / K[0, 0]))),
        "fov_axis": "x",
        "principal_point_offset_x": float((K[0, 2] + 0.5) / width - 0.5),
        "principal_point_offset_y": float((K[1, 2] + 0.5) / height - 0.5),
        "near_clip": 10.0,
        "far_clip": 1000.0,
        "to_world": mi.ScalarTransform4f(to_world.tolist()),
        "film": {
            "type": "hdrfilm", "width": width, "height": height, "pixel_format": "luminance",
            "rfilter": {"type": "box"},
        },
        "sampler": {"type": "independent"},
    })  # fmt: skip

    def placed(index: int) -> Any:
        place, axis = lights.position_mm[index], lights.axis[index]
        up = [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0]
        look = mi.ScalarTransform4f().look_at(
            origin=place.tolist(), target=(place + axis).tolist(), up=up
        )
        return look @ mi.ScalarTransform4f().scale(LED_RADIUS_MM)

    disc = {"type": "area", "radiance": {"type": "uniform", "value": LED_RADIANCE}}
    scene = mi.load_dict({
        "type": "scene",
        "integrator": {"type": "path", "max_depth": depth},
        "part": mesh,
        "led": {"type": "disk", "to_world": placed(0), "emitter": disc},
    })  # fmt: skip
    # One scene whose disc moves: a scene for each LED would be compiled anew each time.
    parameters = mi.traverse(scene)
    images = []
    for index in range(len(lights)):
        parameters["led.to_world"] = mi.Transform4f(placed(index).matrix)
        parameters.update()
        image = mi.render(scene, sensor=sensor, spp=spp, seed=index)
        images.append(np.array(image, dtype=np.float32)[..., 0] * lights.power[index])
    return np.stack(images)


def read_rig(folder: Path) -> tuple[Camera, Lights]:
    """Camera, lights and powers of an exchange folder."""
    rows = [line.split()[-3:] for line in (folder / "lights.lp").read_text().splitlines()[1:]]
    power = np.loadtxt(folder / "power.csv")
    lights = Lights.at(np.array(rows, dtype=float), power, lobe=1.0)
    return Camera.read(folder / "camera.json"), replace(lights, intensity=4000 * 2.5**2 * np.pi)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--lights", type=Path, required=True, help="a capture of the rig to take")
    parser.add_argument("--spp", type=int, default=64)
    parser.add_argument("--leds", type=int, default=96)
    parser.add_argument("--nodes", type=int, default=601)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--compare", action="store_true")
    given = parser.parse_args()
    camera, lights = read_rig(given.lights)
    made, material, bsdf = part(given.part)
    mesh = mesh_of(made, bsdf, given.nodes)
    part_lights = lights.select(np.arange(0, 96, max(1, 96 // given.leds))[: given.leds])
    started = time.process_time(), time.perf_counter()
    radiance = path_traced(mesh, camera, part_lights, given.spp, given.depth)
    used = time.process_time() - started[0], time.perf_counter() - started[1]
    work = radiance.size
    print(f"{given.part}: Mitsuba {work / 1e6:.1f} M pixel-lights at {given.spp} spp in "
          f"{used[0]:.1f} s of CPU, {used[1]:.1f} s, {work / used[1] / 1e6:.2f} M/s")  # fmt: skip
    seen = sample(made, camera, 4)
    if given.compare:
        if given.part == "coin":
            share = dirt(seen.points_mm[..., 0], seen.points_mm[..., 1])
            material = material.mixed(Material.lambertian(0.25), share)
        points, normals = seen.points_mm, seen.normals
        render(points, normals, camera, part_lights, material)
        started = time.process_time(), time.perf_counter()
        mine = render(points, normals, camera, part_lights, material)
        used = time.process_time() - started[0], time.perf_counter() - started[1]
        print(f"ours: {used[0]:.3f} s of CPU, {used[1]:.3f} s wall, {work / used[1] / 1e6:.1f} M/s")
        bounced = upsampled(indirect(points, normals, camera, part_lights, material), camera.shape)
        for name, model in (("direct", mine), ("with indirect", mine + bounced)):
            good = radiance > 0.02 * np.percentile(radiance, 99.9)
            ratio = model[good] / radiance[good]
            rest = (radiance - mine)[np.isfinite(radiance)]
            print(f"{name}: median relative difference {np.median(abs(ratio - 1)):.4f}, "
                  f"median ratio {np.median(ratio):.4f}, rms rest "
                  f"{np.sqrt(np.mean((radiance - model) ** 2)):.5f}")  # fmt: skip
        power = float((bounced**2).sum())
        if power > 0:
            slope = float((rest * bounced.ravel()).sum()) / power
            print(f"path-traced rest over ours, least squares: {slope:.3f}")
        return
    if given.out is None:
        raise SystemExit("give a folder to write to")
    given.out.mkdir(parents=True, exist_ok=False)
    rng = np.random.default_rng(zlib.crc32(given.part.encode()))
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), BLUR_PX) for image in radiance])
    exposure = (1 - BLACK) / float(np.percentile(blurred, 99.8))

    def developed(image: Any) -> Any:
        electrons = rng.poisson(np.clip(image * exposure, 0, 4) * FULL_WELL)
        signal = electrons + rng.normal(0, READ_NOISE, image.shape) + BLACK * FULL_WELL
        digits = np.clip(np.round(signal / FULL_WELL * 4095), 0, 4095).astype(np.uint16)
        return digits << 4

    for number, image in enumerate(blurred, 1):
        cv2.imwrite(str(given.out / f"led_{number:03d}.png"), developed(image))
    cv2.imwrite(str(given.out / "dark.png"), developed(np.zeros(camera.shape)))
    for name in ("lights.lp", "lights_nominal.lp", "power.csv", "camera.json"):
        shutil.copyfile(given.lights / name, given.out / name)
    (given.out / "exposure.json").write_text(json.dumps({"exposure": exposure}) + "\n")
    true = seen.masked()
    np.savez_compressed(given.out / "truth.npz", position=true.points_mm, normal=true.normals)
    lobes = [{"alpha": lobe.alpha, "across": lobe.alpha_across, "n": lobe.n, "k": lobe.k,
              "distribution": lobe.distribution} for lobe in material.lobes]  # fmt: skip
    about = {"part": given.part, "parameters": made.parameters, "lobes": lobes, "spp": given.spp}
    (given.out / "about.json").write_text(json.dumps(about, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
