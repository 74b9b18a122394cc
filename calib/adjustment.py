"""The adjustment: highlights, outlines, white plate and nominal layout in one least squares.

Unknown are each LED's position, axis and log power, and, shared, the lobe exponent, two terms of
vignetting and the sphere centres. A rig of 100 LEDs has some 600 unknowns: the normal matrix is
assembled from analytic derivatives, block by block, and solved dense.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.least_squares import (
    Linearised,
    Solution,
    covariance_of,
    fading,
    huber,
    levenberg_marquardt,
)
from calib.plate import PlateData, log_pattern, tangents
from calib.reflection import highlights

Array = NDArray[np.float64]
Index = NDArray[np.int64]

LED = 6  # unknowns per LED: position, axis along its two tangents, log power
SHARED = 3  # lobe exponent, two terms of vignetting
PLATE_ROBUST = 6.0
HIGHLIGHT_ROBUST = 3.5
PICTURE_SHARE = 0.5
# Ways in which all LEDs are wrong together that are told: the largest ones.
COMMON = 8


@dataclass(frozen=True, eq=False)
class Highlights:
    """Measured highlights: `light` and `sphere` index the LEDs and the sphere centres.

    Attributes
    ----------
    light, sphere : (n,)
    pixels : (n, 2)
    sigma : (n,) standard error per coordinate, px
    """

    light: Index
    sphere: Index
    pixels: Array
    sigma: Array

    def __len__(self) -> int:
        return len(self.light)

    def select(self, keep: NDArray[np.bool_]) -> Highlights:
        return Highlights(self.light[keep], self.sphere[keep], self.pixels[keep], self.sigma[keep])


def phase_error(pixels: Array, phase: Array) -> tuple[Array, Array]:
    """How far centroids of narrow spots are off, by where in its pixel the spot lies.

    A spot narrower than a pixel moves within it unseen; its centroid is drawn to the pixel's
    centre (Anderson and King 2000, for stars). The error is periodic and odd: two sines.

    Returns
    -------
    shift : like `pixels`
    slope : derivative of the centroid by the place, 1 without phase error
    """
    angle = 2 * np.pi * (pixels - np.round(pixels))
    shift = phase[0] * np.sin(angle) + phase[1] * np.sin(2 * angle)
    slope = 1 + 2 * np.pi * (phase[0] * np.cos(angle) + 2 * phase[1] * np.cos(2 * angle))
    return shift, slope


@dataclass(frozen=True, eq=False)
class Unknowns:
    """A state of the adjustment; shapes (N, 3), (N, 3), (N,), (), (2,), (S, 3)."""

    position_mm: Array
    axis: Array
    log_power: Array
    lobe: float
    vignetting: Array
    centres_mm: Array

    @property
    def size(self) -> int:
        return LED * len(self.position_mm) + SHARED + 3 * len(self.centres_mm)

    def moved(self, change: Array) -> Unknowns:
        """The state moved by an increment of the parameters."""
        count = len(self.position_mm)
        led = change[: LED * count].reshape(count, LED)
        shared = change[LED * count : LED * count + SHARED]
        axis = self.axis + np.einsum("kij,kj->ki", tangents(self.axis), led[:, 3:5])
        return Unknowns(
            self.position_mm + led[:, :3],
            axis / np.linalg.norm(axis, axis=1, keepdims=True),
            self.log_power + led[:, 5],
            self.lobe + float(shared[0]),
            self.vignetting + shared[1:3],
            self.centres_mm + change[LED * count + SHARED :].reshape(-1, 3),
        )


@dataclass(frozen=True, eq=False)
class Prior:
    """Gaussian knowledge of positions: values (N, 3) and inverse covariances (N, 3, 3)."""

    position_mm: Array
    information: Array


@dataclass(frozen=True, eq=False)
class Adjustment:
    """The measurements and what is known beforehand.

    Attributes
    ----------
    camera, radius_mm : of the spheres' pictures
    highlights : measured highlights
    centres_mm, centre_information : (S, 3), (3 S, 3 S) sphere centres from the outlines
    plate : white plate, or None
    nominal : positions known beforehand, or None
    widening_mm : (S, 3) error of the centres, one sigma, if all outlines are too wide alike; where
        it is to be considered, not solved for
    axis, axis_sigma : (N, 3) where the LEDs were mounted to point, rad
    lobe, lobe_sigma : expected exponent
    log_power, power_sigma : (N,) rough log powers, to close the gap without a plate
    texture_sigma : relative, of the plate's reflectance from block to block
    phase : (2,) pixel-phase error of the centroids, see `phase_error`
    """

    camera: Camera
    radius_mm: float
    highlights: Highlights
    centres_mm: Array
    centre_information: Array
    axis: Array
    log_power: Array
    plate: PlateData | None = None
    nominal: Prior | None = None
    widening_mm: Array | None = None
    axis_sigma: float = 0.2
    lobe: float = 1.0
    lobe_sigma: float = 1.0
    vignetting_sigma: float = 0.5
    power_sigma: float = 3.0
    texture_sigma: float = 1e-3
    phase: Array = field(default_factory=lambda: np.zeros(2))

    # residuals -------------------------------------------------------------------------------
    def highlight_residuals(self, state: Unknowns) -> tuple[Array, Array, Array]:
        """Whitened predicted minus measured pixels (n, 2), derivatives by light and centre."""
        seen = self.highlights
        pixels, by_light, by_centre = highlights(
            self.camera,
            state.position_mm[seen.light],
            state.centres_mm[seen.sphere],
            self.radius_mm,
        )
        shift, slope = phase_error(pixels, self.phase)
        scale = 1 / self.highlight_sigma(slope)
        error = (pixels + shift - seen.pixels) * scale
        slope = (slope * scale)[..., None]
        return error, by_light * slope, by_centre * slope

    def highlight_sigma(self, slope: Array) -> Array:
        """(n, 2) standard errors of the centroids at these slopes of the pixel phase.

        Part of the error is the spot's own and is stretched with it, part is the picture's.
        """
        share = np.hypot(PICTURE_SHARE, slope) / np.hypot(PICTURE_SHARE, 1.0)
        return np.asarray(self.highlights.sigma[:, None] * share)

    def plate_residuals(self, state: Unknowns) -> Array:
        """(N, M) predicted minus measured log radiance."""
        assert self.plate is not None
        value, _, _, _ = log_pattern(
            self.plate.points_mm,
            state.position_mm,
            state.axis,
            np.full(len(state.axis), state.lobe),
        )
        q = self.plate.radius2
        shade = state.vignetting[0] * q + state.vignetting[1] * q * q
        return np.asarray(value + state.log_power[:, None] + shade - self.plate.log_radiance)

    def _add_highlights(self, state: Unknowns, H: Array, g: Array) -> float:
        seen = self.highlights
        if not len(seen):
            return 0.0
        error, by_light, by_centre = self.highlight_residuals(state)
        weight, cost = fading(np.sum(error**2, axis=1), HIGHLIGHT_ROBUST)
        J = np.concatenate([by_light, by_centre], axis=2)
        matrix = np.einsum("nki,nkj,n->nij", J, J, weight)
        gradient = np.einsum("nki,nk,n->ni", J, error, weight)
        base = LED * len(state.position_mm) + SHARED
        columns = np.concatenate(
            [
                LED * seen.light[:, None] + np.arange(3),
                base + 3 * seen.sphere[:, None] + np.arange(3),
            ],
            axis=1,
        )
        np.add.at(H, (columns[:, :, None], columns[:, None, :]), matrix)
        np.add.at(g, columns, gradient)
        return 0.5 * float(cost.sum())

    def _add_plate(self, state: Unknowns, H: Array, g: Array) -> float:
        plate = self.plate
        if plate is None:
            return 0.0
        count = len(state.position_mm)
        lobes = np.full(count, state.lobe)
        value, by_position, by_axis, by_lobe = log_pattern(
            plate.points_mm, state.position_mm, state.axis, lobes
        )
        q = plate.radius2
        shade = np.stack([q, q * q], axis=1)
        error = value + state.log_power[:, None] + shade @ state.vignetting - plate.log_radiance
        inverse = np.where(np.isfinite(plate.sigma), 1 / plate.sigma**2, 0.0)
        # The texture common to all lights has to go before outliers are judged.
        total = inverse.sum(axis=0)
        information = 1 / self.texture_sigma**2
        texture = (inverse * error).sum(axis=0) / (total + information)
        weight, cost = huber((error - texture) ** 2 * inverse, PLATE_ROBUST)
        weight = weight * inverse
        own = np.concatenate([by_position, by_axis, np.ones((*error.shape, 1))], axis=2)
        shared = np.concatenate(
            [by_lobe[..., None], np.broadcast_to(shade, (count, *shade.shape))], axis=2
        )
        weighted = own * weight[..., None]
        transposed = weighted.transpose(0, 2, 1)
        shared_weighted = shared * weight[..., None]
        blocks = transposed @ own
        cross = transposed @ shared
        size = LED * count
        rows = np.arange(size).reshape(count, LED)
        H[rows[:, :, None], rows[:, None, :]] += blocks
        H[:size, size : size + SHARED] += cross.reshape(size, SHARED)
        H[size : size + SHARED, :size] += cross.reshape(size, SHARED).T
        flat = shared.reshape(-1, SHARED)
        H[size : size + SHARED, size : size + SHARED] += (
            shared_weighted.reshape(-1, SHARED).T @ flat
        )
        g[:size] += (transposed @ error[..., None]).ravel()
        g[size : size + SHARED] += flat.T @ (weight * error).ravel()
        # Marginalise one factor per block (Schur complement of a diagonal).
        total = weight.sum(axis=0) + information
        B = np.zeros((size + SHARED, len(q)))
        B[:size] = transposed.reshape(size, -1)
        B[size:] = shared_weighted.sum(axis=0).T
        c = (weight * error).sum(axis=0)
        scaled = B / total
        H[: size + SHARED, : size + SHARED] -= scaled @ B.T
        g[: size + SHARED] -= scaled @ c
        return 0.5 * float(cost.sum() + information * np.sum(texture**2))

    def _add_priors(self, state: Unknowns, H: Array, g: Array) -> float:
        count = len(state.position_mm)
        rows = LED * np.arange(count)
        cost = 0.0

        def scalar(place: Index | int, value: Array | float, sigma: float) -> float:
            H[place, place] += 1 / sigma**2
            g[place] += value / sigma**2
            return 0.5 * float(np.sum(np.square(value))) / sigma**2

        off = np.einsum("kij,ki->kj", tangents(state.axis), state.axis - self.axis)
        for j in range(2):
            cost += scalar(rows + 3 + j, off[:, j], self.axis_sigma)
        cost += scalar(rows + 5, state.log_power - self.log_power, self.power_sigma)
        base = LED * count
        cost += scalar(base, state.lobe - self.lobe, self.lobe_sigma)
        for j in range(2):
            cost += scalar(base + 1 + j, float(state.vignetting[j]), self.vignetting_sigma)
        if self.nominal is not None:
            off = state.position_mm - self.nominal.position_mm
            pull = np.einsum("kij,kj->ki", self.nominal.information, off)
            columns = rows[:, None] + np.arange(3)
            H[columns[:, :, None], columns[:, None, :]] += self.nominal.information
            g[columns] += pull
            cost += 0.5 * float(np.sum(off * pull))
        if len(self.centres_mm):
            apart = (state.centres_mm - self.centres_mm).ravel()
            pulled = self.centre_information @ apart
            H[base + SHARED :, base + SHARED :] += self.centre_information
            g[base + SHARED :] += pulled
            cost += 0.5 * float(apart @ pulled)
        return cost

    def linearise(self, state: Unknowns) -> Linearised:
        H = np.zeros((state.size, state.size))
        g = np.zeros(state.size)
        cost = self._add_highlights(state, H, g)
        cost += self._add_plate(state, H, g)
        cost += self._add_priors(state, H, g)
        return Linearised(cost, H, g)

    def solve(self, start: Unknowns, iterations: int = 60) -> Solution[Unknowns]:
        return levenberg_marquardt(
            start,
            self.linearise,
            lambda state, change: state.moved(change),
            iterations=iterations,
            tolerance=1e-9,
        )


def led_covariance(
    adjustment: Adjustment, solution: Solution[Unknowns]
) -> tuple[Array, Array, Array]:
    """Covariances of a solution.

    What is considered but not solved for enters with what it does to the result (Schmidt 1966).

    Returns
    -------
    (N, 6, 6) of position (mm) and axis of each LED
    (COMMON, N, 3) steps of one sigma that their positions make together
    (N,) standard error of the log powers
    """
    full = covariance_of(solution.linearised.matrix)
    state = solution.state
    count = len(state.position_mm)
    if adjustment.widening_mm is not None:
        pull = adjustment.centre_information @ adjustment.widening_mm.ravel()
        considered = full[:, LED * count + SHARED :] @ pull
        full = full + np.outer(considered, considered)
    led = full[: LED * count, : LED * count].reshape(count, LED, count, LED)
    own = led[np.arange(count), :, np.arange(count)]
    turn = np.zeros((count, 6, 5))
    turn[:, :3, :3] = np.eye(3)
    turn[:, 3:, 3:] = tangents(state.axis)
    covariance = turn @ own[:, :5, :5] @ turn.transpose(0, 2, 1)
    positions = led[:, :3, :, :3].reshape(3 * count, 3 * count)
    values, vectors = np.linalg.eigh((positions + positions.T) / 2)
    steps = (vectors[:, -COMMON:] * np.sqrt(np.maximum(values[-COMMON:], 0.0))).T
    return covariance, steps.reshape(-1, count, 3), np.sqrt(own[:, 5, 5])


def with_texture(adjustment: Adjustment, state: Unknowns) -> Adjustment:
    """The adjustment with the plate's texture as large as the residuals show it to be."""
    plate = adjustment.plate
    if plate is None:
        return adjustment
    error = adjustment.plate_residuals(state)
    inverse = np.where(np.isfinite(plate.sigma), 1 / plate.sigma**2, 0.0)
    total = inverse.sum(axis=0)
    used = total > 0
    common = (inverse * error).sum(axis=0)[used] / total[used]
    excess = float(np.var(common) - np.mean(1 / total[used]))
    return replace(adjustment, texture_sigma=float(np.sqrt(max(excess, 1e-10))))


def with_phase(adjustment: Adjustment, state: Unknowns) -> Adjustment:
    """The adjustment with the pixel-phase error that its residuals show; none if not certain."""
    seen = adjustment.highlights
    pixels, _, _ = highlights(
        adjustment.camera,
        state.position_mm[seen.light],
        state.centres_mm[seen.sphere],
        adjustment.radius_mm,
    )
    count = np.bincount(seen.light, minlength=len(state.position_mm))[seen.light]
    shift, _ = phase_error(pixels, adjustment.phase)
    residual = seen.pixels - pixels - shift
    limit = 4 * 1.4826 * np.median(np.abs(residual)) if len(residual) else 0.0
    keep = (count >= 4) & (np.abs(residual).max(axis=1, initial=0.0) <= limit)
    if np.count_nonzero(keep) < 60:
        return adjustment
    angle = 2 * np.pi * (pixels - np.round(pixels))[keep].ravel()
    A = np.stack([np.sin(angle), np.sin(2 * angle)], axis=1)
    # The solution has taken up the share of the residuals that three unknowns per light can.
    target = residual[keep] / (1 - 1.5 / count[keep])[:, None]
    change = np.linalg.lstsq(A, target.ravel(), rcond=None)[0]
    phase = adjustment.phase + change
    sigma = np.std(residual[keep]) * np.sqrt(2 / len(angle))
    if np.abs(phase[0]) < max(4 * sigma, 0.01):
        phase = np.zeros(2)
    # Steeper than this, two places would share one centroid.
    return replace(adjustment, phase=np.clip(phase, [-0.155, -0.03], [0.155, 0.03]))
