"""Part and stage apart: which pixels show the matt stage at z = 0, and which the part on it.

The stage is a Lambertian plane: under every light its radiance is one albedo times the irradiance
of a near light on z = 0, or less where the part's shadow falls. Metal is nothing like that: it
flares under a few lights and is dark under the others. One robust test per pixel over all lights
therefore tells them apart; with an `empty` recording of the stage the irradiance is not modelled
but measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.stack import Stack

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

_LIT = 0.12  # relative misfit within which a pixel-light counts as lit stage, beside its noise
_MATT_SHARE = 0.6  # share of the lights that must agree with one albedo before a pixel is matt
_LEAST_STAGE = 0.03  # share of the picture: less is no stage to stand on
_FLARE = 2.2  # times the stage's radiance: brighter under many lights is no stage
_DARK = 0.5  # times the stage's radiance: darker under nearly all lights is neither
_SAMPLED, _SAMPLED_ROWS = 8_000, 32  # pixels that tell whether there is any stage
RIM_PX = 2  # that blur may have lit
SHINES = 6.0  # times the stage's radiance
COVERED = 0.35  # of a pixel, by the part, for it to be one of the part's
_LEAST_PIECE_PX = 24  # smaller specks are dirt on the stage or glints on the part


@dataclass(frozen=True, eq=False)
class Outline:
    """The part in the picture.

    Attributes
    ----------
    mask : (H, W) bool, True on the part
    stage : (H, W) bool, True where the stage is seen, through holes of the part too
    lit : (N, H, W) float32 radiance of the stage without the part's shadow; NaN off a plane that
        the camera sees
    """

    mask: Mask
    stage: Mask
    lit: Map


def _irradiance(points: NDArray[np.float64], lights: Lights) -> Map:
    """(N, h, w) of each light on horizontal places (h, w, 3), up to one common factor."""
    out = np.empty((len(lights), *points.shape[:2]), np.float32)
    planes = np.ascontiguousarray(np.moveaxis(points, -1, 0))
    for k in range(len(lights)):
        x, y, z = lights.position_mm[k][:, None, None] - planes
        axis = lights.axis[k]
        distance = np.sqrt(x * x + y * y + z * z)
        along = np.clip(-(x * axis[0] + y * axis[1] + z * axis[2]) / distance, 0.0, 1.0)
        cosine = np.clip(z / distance, 0.0, 1.0)
        out[k] = lights.power[k] * along ** lights.lobe[k] * cosine / distance**2
    return out


def _quantiles(values: Map, *shares: float) -> list[Map]:
    """(H, W) each: quantiles of (N, H, W) over N."""
    out = [np.empty(values.shape[1:], np.float32) for _ in shares]
    at = [share * (len(values) - 1) for share in shares]
    for row in range(values.shape[1]):  # sorted where they lie side by side
        ordered = np.sort(np.ascontiguousarray(values[:, row].T), axis=1)
        for k, place in zip(out, at, strict=True):
            low, high = ordered[:, int(place)], ordered[:, min(int(place) + 1, len(values) - 1)]
            k[row] = low + (high - low) * np.float32(place % 1.0)
    return out


def shows_no_stage(stack: Stack, camera: Camera, lights: Lights) -> bool:
    """Whether a sample of the pixels holds too little matt ground of one albedo for a stage.

    Cheap, and read from a few rows of the pictures: a part that fills them needs no more. Half of
    what `find_outline` asks for is enough here.
    """
    height, width = stack.shape
    rows = np.unique(np.linspace(0, height - 1, min(height, _SAMPLED_ROWS)).astype(int))
    step = max(1, width * len(rows) // _SAMPLED)
    radiance = np.concatenate(
        [stack.band(slice(int(r), int(r) + 1))[0][:, :, ::step] for r in rows], axis=1
    )
    pixels = np.stack(np.meshgrid(np.arange(0, width, step), rows), axis=-1)
    lit = _irradiance(camera.points_at_height(0.0, pixels), lights)
    if not np.isfinite(lit).all() or not (lit > 0).any():
        return True
    lit = np.maximum(lit, 1e-6 * float(lit.max()))
    noise = stack.noise_floor + stack.noise_gain * np.maximum(radiance, 0.0)
    ratio, sigma = radiance / lit, np.sqrt(noise) / lit
    each, share = _matt(ratio.astype(np.float32), sigma.astype(np.float32))
    return _common_albedo(each, share > _MATT_SHARE, 0.5 * _LEAST_STAGE) is None


def _matt(ratio: Map, sigma: Map) -> tuple[Map, Map]:
    """Each pixel's albedo (median over lights) and the share of lights that agree with it."""
    (albedo,) = _quantiles(ratio, 0.5)
    tolerance = np.minimum(np.maximum(3.0 * sigma, _LIT * albedo), 0.6 * albedo)  # noise is none
    return albedo, (np.abs(ratio - albedo) < tolerance).mean(axis=0, dtype=np.float32)


def _common_albedo(albedo: Map, matt: Mask, least: float = _LEAST_STAGE) -> float | None:
    """The albedo that most matt pixels share; None if fewer than a share of all pixels do."""
    values = albedo[matt & (albedo > 0)]
    if values.size < least * albedo.size:
        return None
    logs = np.log(values)
    counts, edges = np.histogram(logs, np.arange(logs.min() - 0.1, logs.max() + 0.15, 0.05))
    mode = int(np.convolve(counts, [1, 1, 1], "same").argmax())
    near = np.abs(logs - 0.5 * (edges[mode] + edges[mode + 1])) < 0.15
    if near.sum() < least * albedo.size:
        return None
    return float(np.exp(np.median(logs[near])))


def _levelled(lit: Map, radiance: Map, sure: Mask) -> Map:
    """The stage's prediction corrected by a quadratic factor per light, seen on sure stage.

    It takes up what lobes, powers and vignetting leave open: the stage is its own flat field.
    """
    height, width = sure.shape
    y, x = np.mgrid[0:height, 0:width]
    x, y = 2.0 * x / width - 1.0, 2.0 * y / height - 1.0
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    rows = np.flatnonzero(sure.ravel())
    rows = rows[:: max(1, rows.size // 6000)]
    base = terms.reshape(-1, 6)[rows]
    out = np.empty_like(lit)
    for k in range(len(lit)):
        seen = radiance[k].ravel()[rows] / lit[k].ravel()[rows]
        weight = np.ones_like(seen)
        for _ in range(6):  # one-sided: shadows lie below, light from the part's walls above
            scaled = base * weight[:, None]
            ridge = 1e-5 * len(rows) * np.eye(6)
            found = np.linalg.solve(scaled.T @ base + ridge, scaled.T @ seen)
            off = seen - base @ found
            spread = 1.5 * np.median(np.abs(off)) + 1e-6
            weight = 1.0 / (1.0 + (off / (2.0 * spread)) ** 2) ** 2
        factor = terms @ found
        out[k] = lit[k] * np.clip(factor, 0.3, 3.0)
    return out


def _without_specks(mask: Mask, least: int) -> Mask:
    """The mask without components, and without holes, of fewer than `least` pixels."""
    out = mask.copy()
    for value in (True, False):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            (out == value).astype(np.uint8), connectivity=4
        )
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] < least:
                out[labels == label] = not value
    return out


def _lit_floors(part: Mask, high: Map) -> Mask:
    """Stage in holes of the part that the walls light up: brighter than stage, dimmer than metal.

    About what is seen as hole already, as far as its hull reaches.
    """
    floors = np.zeros_like(part)
    if not part.any():
        return floors
    metal = np.sqrt(np.median(high[part]))  # halfway, in logarithms, from the stage to the part
    dim = part & (high < max(metal, _FLARE))
    for _ in range(3):
        rest = (~part | floors).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=4)
        before = floors.copy()
        for label in range(1, count):
            x, y, w, h, _ = stats[label]
            inside = x > 0 and y > 0 and x + w < part.shape[1] and y + h < part.shape[0]
            if not inside:
                continue
            points = np.argwhere(labels == label)[:, ::-1].astype(np.int32)
            hull = np.zeros(part.shape, np.uint8)
            cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
            hull = cv2.dilate(hull, np.ones((5, 5), np.uint8))
            # One pixel wide, it is the rim that mixes metal and hole.
            seen = np.where(dim & (hull > 0), np.uint8(1), np.uint8(0))
            floors |= cv2.morphologyEx(seen, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
        if (floors == before).all():
            break
    return floors


def _covered(part: Mask, radiance: Map, lit: Map) -> Mask:
    """The part without the rim that only the lens's blur of bright metal lit.

    A pixel's light over the stage's, as a share of the brightest beside it, is the share that the
    part covers, under lights that make its edge shine. Layer by layer from outside: behind a dark
    chamfer, which shines little itself, nothing is looked at.
    """
    out = part.copy()
    for _ in range(RIM_PX):
        inner = cv2.erode(out.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
        rows, columns = np.nonzero(out & (inner == 0))
        share = np.full((len(radiance), len(rows)), np.nan, np.float32)
        for k, image in enumerate(radiance):
            own = np.where(out, image, 0.0).astype(np.float32)
            most = cv2.dilate(own, np.ones((3, 3), np.uint8))[rows, columns]
            stage = lit[k, rows, columns]
            shines = most > SHINES * stage
            share[k, shines] = ((image[rows, columns] - stage) / (most - stage))[shines]
        told = np.isfinite(share).sum(axis=0) >= 3
        high = np.nanquantile(share[:, told], 0.9, axis=0)
        out[rows[told], columns[told]] = high > COVERED
    return out


def find_outline(
    stack: Stack, camera: Camera, lights: Lights, empty: Map | None = None
) -> Outline | None:
    """Find the part on the stage.

    Parameters
    ----------
    stack : pictures of the part
    camera, lights : calibrated; lights in the order of the stack
    empty : (N, H, W) radiance of the stage alone in the same order, exposures divided out

    Returns
    -------
    None where no stage is seen (the part fills the picture) or where there is nothing but stage.
    """
    radiance = stack.radiance
    pixels = radiance[0].size
    if empty is not None:
        lit = np.maximum(empty, 1e-9).astype(np.float32)
    else:
        lit = _irradiance(camera.points_at_height(0.0), lights)
    if not np.isfinite(lit).all() or not (lit > 0).any():
        return None
    lit = np.maximum(lit, 1e-6 * float(lit.max()))

    variance = stack.noise_floor + stack.noise_gain * np.maximum(radiance, 0.0)
    noise: Map = np.asarray(np.sqrt(variance), dtype=np.float32)
    ratio = radiance / lit
    if empty is None:
        each, share = _matt(ratio, noise / lit)
        albedo = _common_albedo(each, share > _MATT_SHARE)
        if albedo is None:
            return None
        sure = (share > _MATT_SHARE) & (np.abs(each / albedo - 1.0) < 0.15)
        lit *= albedo
        if sure.sum() > 0.1 * pixels:
            lit = _levelled(lit, radiance, sure)
        ratio = radiance / lit
    spread = noise / lit
    agrees = (np.abs(ratio - 1.0) < np.maximum(3.0 * spread, _LIT)).mean(axis=0)
    (high,) = _quantiles(ratio - spread, 0.95)
    flares = high > _FLARE
    dark = (_quantiles(ratio, 0.9)[0] < _DARK) & (agrees < 0.2)
    stage = ~flares & ~dark
    if stage.sum() < _LEAST_STAGE * pixels or (stage & (agrees > 0.3)).sum() < 0.5 * stage.sum():
        return None
    part = _without_specks(flares, _LEAST_PIECE_PX)
    # Dark regions: holes where the part encloses them, flanks of a mirror where it does not.
    count, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
    for label in range(1, count):
        region = labels == label
        ring = cv2.dilate(region.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~region
        if region.sum() >= _LEAST_PIECE_PX and 0.1 < part[ring].mean() < 0.9:
            part |= region
    part = _without_specks(part, _LEAST_PIECE_PX)
    part &= ~_lit_floors(part, high)
    part = _without_specks(_covered(part, radiance, lit), _LEAST_PIECE_PX)
    if not part.any() or part.mean() > 1.0 - _LEAST_STAGE:
        return None
    return Outline(part, stage & ~part, lit.astype(np.float32))
