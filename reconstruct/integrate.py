"""Normals to height, for perspective cameras.

With P = e^u (x, y, 1) in the camera frame the normal is along (p, q, −(1 + x p + y q)), where
p = ∂u/∂x and q = ∂u/∂y: the slopes of log-depth follow from the normal alone (Durou et al. 2020,
sec. 2.2), and log-depth follows from them up to one constant, the mean height. Weighted least
squares on pixel corners, solved by conjugate gradients with a cosine-transform preconditioner;
where every pixel weighs the same that preconditioner is the solution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from reconstruct.linear import (
    CosinePreconditioner,
    assemble,
    conjugate_gradients,
    corner_gradient,
    multiply,
)

Array = NDArray[np.float64]


def slopes_of(normals: NDArray, xy: NDArray, rotation: Array) -> tuple[Array, Array]:
    """Slopes (p, q) of log-depth from world normals (H, W, 3); 0 where a normal is missing.

    Parameters
    ----------
    xy : (2, H, W) normalised image coordinates
    rotation : (3, 3) camera to world
    """
    n = np.nan_to_num(np.asarray(normals, np.float64)) @ rotation
    facing = -(n[..., 2] + xy[0] * n[..., 0] + xy[1] * n[..., 1])
    facing = np.where(facing > 0.05, facing, np.inf)  # turned away: no slope
    return n[..., 0] / facing, n[..., 1] / facing


def integrate_slopes(p: Array, q: Array, weight: NDArray, jacobians: NDArray[np.float32]) -> Array:
    """Log-depth at pixel corners (H+1, W+1), mean 0, whose slopes fit (p, q) best.

    Parameters
    ----------
    p, q : (H, W) slopes per normalised image coordinate
    weight : (H, W) weights ≥ 0; 0 leaves a pixel free, to be bridged smoothly
    jacobians : (4, H, W) or (4, 1, 1), from `image_coordinates`
    """
    height, width = p.shape
    base = np.asarray(weight, np.float64)
    base = base / (float(base.mean()) or 1.0)
    sums = np.zeros((9, height, width), np.float32)
    sums[1], sums[2] = base * p, base * q
    sums[6] = sums[8] = base
    right = np.zeros((height + 1, width + 1))
    corner_gradient(sums[:3], jacobians, right)
    stencil = np.empty((5, height + 1, width + 1))
    pixel = float(np.abs(jacobians[0]).mean())
    smooth = 1e-4 * pixel * pixel
    assemble(sums, jacobians, 0.0, smooth, smooth, 1e-6, stencil)
    k_cc = float((jacobians[0] ** 2 + jacobians[2] ** 2).mean())
    k_rr = float((jacobians[1] ** 2 + jacobians[3] ** 2).mean())
    precondition = CosinePreconditioner.of(
        stencil, (k_cc, k_rr), smooth, smooth, 0.0, k_cc + k_rr, workers=1
    )

    def apply(x: Array) -> Array:
        out = np.empty_like(x)
        multiply(stencil, x, out)
        return out

    u = conjugate_gradients(apply, right, precondition, 1e-5, 200)
    return np.asarray(u - u.mean())


def slopes(u: Array, jacobians: NDArray[np.float32]) -> tuple[Array, Array]:
    """Pixel-mean slopes (p, q) of log-depth given at corners."""
    uc = 0.5 * (u[:-1, 1:] - u[:-1, :-1] + u[1:, 1:] - u[1:, :-1])
    ur = 0.5 * (u[1:, :-1] - u[:-1, :-1] + u[1:, 1:] - u[:-1, 1:])
    return jacobians[0] * uc + jacobians[1] * ur, jacobians[2] * uc + jacobians[3] * ur


def pinhole(camera: Camera, columns: NDArray, rows: NDArray) -> tuple[Array, Array]:
    """Normalised coordinates x and y of places in pixels, distortion left out."""
    inverse = np.linalg.inv(camera.K)
    x = inverse[0, 0] * columns + inverse[0, 1] * rows + inverse[0, 2]
    y = inverse[1, 0] * columns + inverse[1, 1] * rows + inverse[1, 2]
    return x, y


def image_coordinates(camera: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normalised coordinates (2, H, W) of pixel centres and the (4, H, W) or (4, 1, 1) Jacobian
    that takes slopes per pixel (column, row) to slopes per normalised coordinate."""
    height, width = camera.shape
    if not np.any(camera.dist):
        xy = np.stack(pinhole(camera, *np.meshgrid(np.arange(width), np.arange(height))))
        pixel_slopes = np.linalg.inv(np.linalg.inv(camera.K)[:2, :2])  # d(c, r)/d(x, y)
        jacobians = pixel_slopes.T.reshape(4, 1, 1)  # dc/dx dr/dx dc/dy dr/dy
        return xy.astype(np.float32), jacobians.astype(np.float32)
    rays = camera.rays() @ camera.R.T
    xy = np.moveaxis(rays[..., :2] / rays[..., 2:], -1, 0)
    dx_dr, dx_dc = np.gradient(xy[0])
    dy_dr, dy_dc = np.gradient(xy[1])
    det = dx_dc * dy_dr - dx_dr * dy_dc
    jacobians = np.stack([dy_dr, -dy_dc, -dx_dr, dx_dc]) / det
    return np.ascontiguousarray(xy, np.float32), np.ascontiguousarray(jacobians, np.float32)


def centre_values(u: Array) -> Array:
    """(H, W) mean of each pixel's four corners."""
    return np.asarray(0.25 * (u[:-1, :-1] + u[1:, :-1] + u[:-1, 1:] + u[1:, 1:]))


def height_of(u: Array, camera: Camera, xy: NDArray) -> Array:
    """(H, W) world z of each pixel's point, from log-depth at corners."""
    z_row = camera.R.T[2]
    ray_z = z_row[0] * xy[0] + z_row[1] * xy[1] + z_row[2]
    return np.asarray(camera.centre_mm[2] + np.exp(centre_values(u)) * ray_z)


def pixel_heights(corners: Array, inside: NDArray[np.bool_]) -> Array:
    """(H, W) heights of pixels, from the means of their corners; the mean of all stays.

    Corners lie further out than the rest of a pixel. With slopes that are means over pixels, the
    mean of a pixel's corners exceeds its own by ∇²h/12 along an axis and by ∇²h/24 along a diagonal
    (`slopes` takes the mean of two edges), and by ∇²h/16 on the mean over all directions.
    """
    bend = np.zeros_like(corners)
    for axis in (0, 1):
        second, rows = np.moveaxis(bend, axis, 0), np.moveaxis(corners, axis, 0)
        known = np.moveaxis(inside, axis, 0)
        known = known[:-2] & known[1:-1] & known[2:]
        second[1:-1] += np.where(known, np.diff(rows, 2, axis=0), 0.0)
    bend[~inside] = 0.0
    return np.asarray(corners - (bend - bend[inside].mean()) / 16)


def normals_at(p: Array, q: Array, camera: Camera, xy: NDArray) -> Array:
    """(H, W, 3) unit normals in the world frame, from slopes of log-depth."""
    m = np.stack([p, q, -(1.0 + xy[0] * p + xy[1] * q)], axis=-1)
    m /= np.linalg.norm(m, axis=-1, keepdims=True)
    return np.asarray(m @ camera.R)


def normals_of(u: Array, camera: Camera, xy: NDArray, jacobians: NDArray) -> Array:
    """(H, W, 3) unit normals in the world frame, from log-depth at corners."""
    return normals_at(*slopes(u, jacobians), camera, xy)


def log_depth_at(height_mm: float, camera: Camera) -> Array:
    """(H+1, W+1) log-depth at pixel corners of the plane z = height."""
    rows, columns = np.mgrid[0 : camera.height + 1, 0 : camera.width + 1] - 0.5
    x, y = pinhole(camera, columns, rows)
    z_row = camera.R.T[2]
    ray_z = z_row[0] * x + z_row[1] * y + z_row[2]
    return np.asarray(np.log((height_mm - camera.centre_mm[2]) / ray_z))


def at_mean_height(
    u: Array, height_mm: float, camera: Camera, xy: NDArray, mask: NDArray[np.bool_] | None
) -> Array:
    """Shift log-depth so that the mean height of the visible surface is the one given."""
    z = height_of(u, camera, xy)
    mean = float(z[mask].mean()) if mask is not None else float(z.mean())
    above = camera.centre_mm[2]
    return np.asarray(u + np.log((above - height_mm) / (above - mean)))


def integrate_normals(
    normals: NDArray,
    camera: Camera,
    height_mm: float,
    mask: NDArray[np.bool_] | None = None,
    weight: NDArray | None = None,
) -> Array:
    """Log-depth at pixel corners (H+1, W+1) from world normals and the mean height.

    Parameters
    ----------
    normals : (H, W, 3) unit normals, world frame; NaN where unknown
    height_mm : mean height of the visible surface
    mask : (H, W) bool, the surface; None for the whole image
    weight : (H, W) trust in each normal; None for 1
    """
    xy, jacobians = image_coordinates(camera)
    p, q = slopes_of(normals, xy, camera.R.T)
    trust = np.isfinite(normals).all(axis=-1).astype(np.float64)
    if weight is not None:
        trust = trust * weight
    if mask is not None:
        trust = trust * mask
    u = integrate_slopes(p, q, trust, jacobians)
    return at_mean_height(u + np.log(camera.centre_mm[2]), height_mm, camera, xy, mask)
