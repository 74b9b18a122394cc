"""Several views of one part as one surface: registered, then averaged by their uncertainty.

What one view misses, a wall that faces away or a mirror that shows no highlight there, another
one sees. The height map of the merged surface is that of a chosen view; its mesh holds what the
other views have beyond it as well.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from reconstruct.errors import ReconstructError
from reconstruct.export.mesh import Mesh, mesh_of
from reconstruct.registration import register
from reconstruct.surface import Flag, Surface
from reconstruct.views import Array, Pose, view_of

OUTLIER = 4.0  # sigmas by which a view may miss the others at a pixel
APART_MM = 0.05  # and so far whatever the sigmas say: below it sigmas are no judge
COVERED_PX = 1.5  # a point with the merged surface closer than this adds nothing to it


@dataclass(frozen=True, eq=False)
class Merged:
    """A part seen from several sides.

    Attributes
    ----------
    surface : heights, normals and sigma in the chosen view's picture and frame
    mesh : the same, and what the other views see beyond it
    poses : of each view in the chosen view's frame
    """

    surface: Surface
    mesh: Mesh
    poses: list[Pose]


@njit(cache=True, nogil=True, error_model="numpy")
def _rasterise(pixels, faces, values, nearer, out):
    """Draw triangles (F, 3) with corners at `pixels` (V, 2); the nearest to the camera stays.

    `values` (V, K) are interpolated into `out` (H, W, K), NaN where there is no triangle; `nearer`
    (V,) grows towards the camera.
    """
    height, width, count = out.shape
    front = np.full((height, width), -np.inf)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = pixels[a, 0], pixels[a, 1]
        bx, by = pixels[b, 0], pixels[b, 1]
        cx, cy = pixels[c, 0], pixels[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area >= -1e-12:  # rows run downwards: a face towards the camera turns clockwise
            continue
        first_row = max(0, int(np.ceil(min(ay, by, cy))))
        last_row = min(height - 1, int(np.floor(max(ay, by, cy))))
        first_column = max(0, int(np.ceil(min(ax, bx, cx))))
        last_column = min(width - 1, int(np.floor(max(ax, bx, cx))))
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                u = ((column - ax) * (cy - ay) - (cx - ax) * (row - ay)) / area
                v = ((bx - ax) * (row - ay) - (column - ax) * (by - ay)) / area
                if u < -1e-9 or v < -1e-9 or u + v > 1.0 + 1e-9:
                    continue
                w = 1.0 - u - v
                depth = w * nearer[a] + u * nearer[b] + v * nearer[c]
                if depth > front[row, column]:
                    front[row, column] = depth
                    for k in range(count):
                        out[row, column, k] = w * values[a, k] + u * values[b, k] + v * values[c, k]


def _moved(mesh: Mesh, pose: Pose) -> Mesh:
    assert mesh.normals is not None
    normals = mesh.normals @ pose.R.T
    return replace(
        mesh, vertices_mm=pose.moved(mesh.vertices_mm), normals=normals.astype(np.float32)
    )


def _seen(mesh: Mesh, pose: Pose, chosen: Surface) -> Array:
    """(H, W, 5) height, normal and sigma of height of a moved view in the chosen view's picture."""
    assert mesh.normals is not None
    assert mesh.quality is not None
    camera = chosen.camera
    points, normals = mesh.vertices_mm, mesh.normals.astype(float)
    own = np.where(mesh.quality > 0, mesh.quality, np.nanmedian(mesh.quality))
    up = np.clip(normals[:, 2], 0.1, 1.0)
    sigma = np.hypot(own, pose.sigma_mm(points, normals) / up)
    values = np.column_stack([points[:, 2], normals, sigma])
    away = np.linalg.norm(points - camera.centre_mm, axis=1)
    out = np.full((*camera.shape, 5), np.nan)
    _rasterise(camera.project(points), mesh.faces, values, -away, out)
    return out


def _fused(layers: NDArray[Any]) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Heights, normals, sigma and number of views of layers (V, H, W, 5)."""
    z, sigma = layers[..., 0], layers[..., 4]
    there = np.isfinite(z) & np.isfinite(sigma)
    weight = np.where(there, 1.0 / np.maximum(sigma, 1e-6) ** 2, 0.0)
    for _ in range(3):
        total = np.maximum(weight.sum(axis=0), 1e-30)
        # The most trusted value about which most agree: a median of few would favour neither.
        votes = np.stack([
            np.where(
                there,
                np.exp(-0.5 * ((z - each) / np.hypot(sigma, APART_MM)) ** 2), 0.0,
            ).sum(axis=0) for each in z
        ])  # fmt: skip
        best = np.argmax(np.where(there, votes - 0.01 * np.minimum(sigma, 10.0), -1.0), axis=0)
        centre = np.take_along_axis(z, best[None], axis=0)[0]
        off = np.abs(z - centre)
        agrees = off <= np.maximum(OUTLIER * sigma, APART_MM)
        weight = np.where(there & agrees, 1.0 / np.maximum(sigma, 1e-6) ** 2, 0.0)
    total = weight.sum(axis=0)
    count = (weight > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        height = np.where(count > 0, np.nansum(weight * np.where(there, z, 0), 0) / total, np.nan)
        misfit = np.nansum(weight * np.where(there, (z - height) ** 2, 0.0), axis=0)
        worse = np.sqrt(np.maximum(misfit / np.maximum(count - 1, 1), 1.0))
        out_sigma = np.where(count > 0, worse / np.sqrt(total), np.nan)
        normal = np.nansum(weight[..., None] * np.where(there[..., None], layers[..., 1:4], 0), 0)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return height, normal, out_sigma, count


def _joined(first: Mesh, others: Sequence[Mesh], spacing_mm: float) -> Mesh:
    """The first mesh and what of the others lies away from what is there already."""
    parts = [first]
    for mesh in others:
        tree = cKDTree(np.concatenate([part.vertices_mm for part in parts]))
        distance, _ = tree.query(mesh.vertices_mm, distance_upper_bound=COVERED_PX * spacing_mm)
        new = ~np.isfinite(distance)
        faces = mesh.faces[new[mesh.faces].any(axis=1)]
        used = np.unique(faces)
        if not len(used):
            continue
        number = np.full(len(mesh.vertices_mm), -1, np.int64)
        number[used] = np.arange(len(used))
        assert mesh.normals is not None
        assert mesh.quality is not None
        parts.append(Mesh(
            mesh.vertices_mm[used], number[faces], mesh.normals[used], mesh.quality[used]
        ))  # fmt: skip
    starts = np.cumsum([0, *(len(part.vertices_mm) for part in parts[:-1])])
    return Mesh(
        np.concatenate([part.vertices_mm for part in parts]),
        np.concatenate([part.faces + at for part, at in zip(parts, starts, strict=True)]),
        np.concatenate([part.normals for part in parts if part.normals is not None]),
        np.concatenate([part.quality for part in parts if part.quality is not None]),
    )


def merge(
    surfaces: Sequence[Surface],
    chosen: int = 0,
    starts: Sequence[tuple[Array, Array] | None] | None = None,
) -> Merged:
    """Register views of one part and fuse them in the picture of a chosen one.

    Parameters
    ----------
    surfaces : one of each recording, of one part in one rig or in several
    chosen : the view (from 0) whose picture and frame the result has
    starts : see `reconstruct.registration.register`; in the order of `surfaces`, each taking the
        view's points to those of the chosen one

    Raises
    ------
    ReconstructError
        fewer than two views, or views that have hardly anything in common
    """
    if len(surfaces) < 2:
        raise ReconstructError("merging wants two views of a part, or more")
    order = [chosen, *(k for k in range(len(surfaces)) if k != chosen)]
    known = None if starts is None else [starts[k] for k in order]
    found = register([view_of(surfaces[k]) for k in order], known)
    reference = surfaces[chosen]
    meshes = [_moved(mesh_of(surfaces[k]), pose) for k, pose in zip(order, found, strict=True)]
    layers = np.stack(
        [_seen(mesh, pose, reference) for mesh, pose in zip(meshes, found, strict=True)]
    )
    # The chosen view needs no drawing: its pixels are its points.
    layers[0, ..., 0] = reference.height_mm
    layers[0, ..., 1:4] = reference.normals
    layers[0, ..., 4] = reference.sigma_mm
    height, normal, sigma, count = _fused(layers)
    flags = reference.flags.copy()
    flags[np.isfinite(height)] = 0
    degrees = np.where(
        np.isfinite(reference.normal_sigma_deg), reference.normal_sigma_deg,
        np.nanmedian(reference.normal_sigma_deg) if reference.mask.any() else np.nan,
    )  # fmt: skip
    poses: list[Pose] = [found[order.index(k)] for k in range(len(surfaces))]
    surface = replace(
        reference, height_mm=height.astype(np.float32), normals=normal.astype(np.float32),
        sigma_mm=sigma.astype(np.float32), residuals=(), repeats=None, flags=flags,
        normal_sigma_deg=np.where(np.isfinite(height), degrees, np.nan).astype(np.float32),
        summary={
            "method": "merge",
            "views": [_to_json(pose) for pose in poses],
            "chosen": chosen + 1,
            "seen_by": {str(n): int((count == n).sum()) for n in range(1, len(surfaces) + 1)},
        },
    )  # fmt: skip
    outside = (flags & int(Flag.OUTSIDE)) != 0
    if not np.isfinite(height[~outside]).any():
        raise ReconstructError("no view has a height in the picture of the chosen one")
    spacing = reference.camera.pixel_mm(float(np.nanmedian(height)))
    return Merged(surface, _joined(mesh_of(surface), meshes[1:], spacing), poses)


def _to_json(pose: Pose) -> dict[str, Any]:
    sigma = np.sqrt(np.maximum(np.diag(pose.covariance), 0.0))
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = pose.R, pose.t
    tilt, turn = pose.tilt_and_turn_deg
    return {
        "transform": transform.tolist(), "tilt_deg": tilt, "turn_deg": turn,
        "sigma_deg": np.degrees(sigma[:3]).tolist(), "sigma_mm": sigma[3:].tolist(),
        "overlap": pose.overlap, "rms_mm": pose.rms_mm, "undetermined": pose.undetermined,
    }  # fmt: skip
