"""A near-mirror cap in five tilts of 15° on the virtual rig, reconstructed and merged.

    python benchmarks/merged_views.py [--size 256] [--keep FOLDER]

Lights true, the mean height of each view given, and how the part lay in each, as `--laid` tells it:
a sphere shows no turns. Prints, over the cap (slopes up to its edge), what one view claims and what
the merged surface claims, with errors; nothing is removed from them but the motion between the
first view and the truth, which is none.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "virtual_rigs"))

from staged_parts import pictures
from tilted_parts import tilted

from reconstruct.merge import merge
from reconstruct.methods import Options, reconstruct
from reconstruct.optics.material import Material
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.sampling import sample
from rig.simulate import part_scene, virtual_rig

TILTS_DEG = ((0, 0), (15, 0), (-15, 0), (0, 15), (0, -15))
EDGE_DEG, RADIUS_MM = 50.0, 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--keep", type=Path, help="folder for the views' surfaces")
    given = parser.parse_args()
    rig = virtual_rig(96, (given.size, given.size), 0)
    cap = shape("sphere_cap", 3, radius_mm=RADIUS_MM, edge_deg=EDGE_DEG)
    lays = [Rotation.from_rotvec(np.radians([x, y, 0])).as_matrix() for x, y in TILTS_DEG]
    starts = [(lays[0] @ lay.T, np.zeros(3)) for lay in lays]
    surfaces = []
    for number, ((x, y), lay) in enumerate(zip(TILTS_DEG, lays, strict=True)):
        kept = given.keep / f"view{number}.pkl" if given.keep else None
        if kept is not None and kept.is_file():
            surfaces.append(pickle.loads(kept.read_bytes()))
            continue
        scene = part_scene(rig, tilted(cap, lay), Material.metal("Cr", 0.08))
        stack = pictures(scene, number)
        mean = float(np.nanmean(scene.points_mm[..., 2]))
        began = time.process_time()
        surface = reconstruct("refine", stack, rig.camera, rig.lights, Options(height_mm=mean))
        error = surface.height_mm - scene.points_mm[..., 2]
        print(
            f"view {number}, tilt {x, y}: {100 * surface.mask.mean():.0f} % claimed, RMSE "
            f"{np.nanstd(error):.4f} mm, {time.process_time() - began:.0f} processor s",
            flush=True,
        )
        surfaces.append(surface)
        if kept is not None:
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(pickle.dumps(surface))
    true = sample(cap, rig.camera, 2)
    on_cap = true.normals[..., 2] > np.cos(np.radians(EDGE_DEG))
    on_cap &= true.points_mm[..., 2] > 1.0
    began = time.process_time()
    found = merge(surfaces, starts=starts)
    took = time.process_time() - began
    for name, surface in (("one view", surfaces[0]), ("merged", found.surface)):
        error = (surface.height_mm - true.points_mm[..., 2])[on_cap & surface.mask]
        sigma = surface.sigma_mm[on_cap & surface.mask]
        shape_error = np.abs(error - error.mean())  # sigma is that of the shape
        within = [100 * float(np.mean(shape_error <= k * sigma)) for k in (1, 2, 3)]
        print(
            f"{name}: {100 * (on_cap & surface.mask).sum() / on_cap.sum():.1f} % of the cap, RMSE "
            f"{np.sqrt(np.mean(error**2)):.4f} mm (mean removed {np.std(error):.4f}), median "
            f"{np.median(np.abs(error)):.4f}; within 1, 2, 3 sigma "
            + ", ".join(f"{share:.0f}" for share in within) + " %"
        )  # fmt: skip
    for (x, y), lay, pose in zip(TILTS_DEG, lays, found.poses, strict=True):
        off = np.degrees(np.linalg.norm(Rotation.from_matrix(pose.R @ lay).as_rotvec()))
        print(f"tilt {x, y}: pose off by {off:.3f}°, {pose.undetermined} motions open")
    print(f"merged in {took:.1f} processor s")


if __name__ == "__main__":
    main()
