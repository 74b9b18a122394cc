"""The certificate of a calibration: its covariance, residuals and held-out errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.adjustment import Adjustment, Highlights, Unknowns, led_covariance, phase_error
from calib.camera import Camera
from calib.least_squares import Solution
from calib.lights import Lights
from calib.photometric import apply_photometry, plate_rms
from calib.reflection import highlights
from calib.views import SphereView

Array = NDArray[np.float64]

OUTLIER = 6.0
# Relative, of powers that only a white plate would tell.
UNKNOWN_POWER_SIGMA = 0.3


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibrated lights and the certificate that goes with them.

    Attributes
    ----------
    lights : with covariance and provenance
    spheres_mm : (S, 3) adjusted sphere centres
    highlights, residuals_px : measurements (indices into `lights` and `views`) and what is left
    used : (n,) highlights that agree with the result
    views, left_out : names of the poses, and of those that do not fit the others
    missing : what is wrong with LEDs that could not be solved, by id
    weak : LEDs solved from so little that their position is doubtful, by id, with the reason
    sigma_px : standard error of a highlight's coordinate, from the residuals
    held_out_px : by pose, RMS error of its highlights predicted without it; None with two poses
    power_sigma, plate_rms : (N,) relative; None without a plate
    vignetting : (2,) or None
    """

    lights: Lights
    spheres_mm: Array
    highlights: Highlights
    residuals_px: Array
    used: NDArray[np.bool_]
    views: tuple[str, ...]
    missing: dict[int, str]
    weak: dict[int, str]
    sigma_px: float
    held_out_px: dict[str, float] | None
    power_sigma: Array | None = None
    plate_rms: Array | None = None
    vignetting: Array | None = None
    camera: Camera | None = None
    radius_mm: float = 0.0
    left_out: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def position_sigma_mm(self) -> Array:
        """(N,) square root of the trace of each position's covariance."""
        marginal = self.lights.position_covariance()
        assert marginal is not None
        return np.asarray(np.sqrt(np.trace(marginal, axis1=1, axis2=2)))


def whitened(adjustment: Adjustment, state: Unknowns) -> Array:
    """(n,) lengths of the highlights' errors in sigmas."""
    error, _, _ = adjustment.highlight_residuals(state)
    return np.asarray(np.linalg.norm(error, axis=1))


def _residuals_px(adjustment: Adjustment, state: Unknowns) -> Array:
    """(n, 2) measured minus predicted pixels, the pixel-phase error taken out."""
    seen = adjustment.highlights
    pixels, _, _ = highlights(
        adjustment.camera,
        state.position_mm[seen.light],
        state.centres_mm[seen.sphere],
        adjustment.radius_mm,
    )
    return np.asarray(seen.pixels - pixels - phase_error(pixels, adjustment.phase)[0])


def _split_common(covariance: Array, steps: Array) -> tuple[Array, Array]:
    """Each light's own covariance and the steps that all make together; the sum is the marginal.

    As much of the steps is taken out as leaves every light a covariance, of position and axis
    together.
    """
    shared = np.einsum("kni,knj->nij", steps, steps)
    cross, axis = covariance[:, :3, 3:], covariance[:, 3:, 3:]
    given_axis = covariance[:, :3, :3] - cross @ np.linalg.pinv(axis, 1e-9, hermitian=True) @ (
        cross.transpose(0, 2, 1)
    )
    root = np.linalg.inv(np.linalg.cholesky(given_axis + 1e-12 * np.eye(3)))
    most = float(np.linalg.eigvalsh(root @ shared @ root.transpose(0, 2, 1)).max())
    share = min(1.0, 0.98 / max(most, 1e-12))
    own = covariance.copy()
    own[:, :3, :3] -= share * shared
    return own, np.sqrt(share) * steps


def _held_out(
    adjustment: Adjustment, state: Unknowns, views: Sequence[SphereView]
) -> dict[str, float] | None:
    if len(views) < 3:
        return None
    result: dict[str, float] = {}
    seen = adjustment.highlights
    for place, view in enumerate(views):
        others = seen.select(seen.sphere != place)
        without = replace(adjustment, highlights=others)
        there = without.solve(state, iterations=6).state
        mine = seen.sphere == place
        enough = np.bincount(others.light, minlength=len(state.position_mm)) >= 2
        mine &= enough[seen.light]
        if not mine.any():
            continue
        centre = np.tile(view.sphere.centre_mm, (int(mine.sum()), 1))
        pixels, _, _ = highlights(
            adjustment.camera, there.position_mm[seen.light[mine]], centre, adjustment.radius_mm
        )
        shift, _ = phase_error(pixels, adjustment.phase)
        error = np.linalg.norm(pixels + shift - seen.pixels[mine], axis=1)
        core = error[error <= 5 * np.median(error) + 1e-9]
        result[view.name] = float(np.sqrt(np.mean(core**2)))
    return result


def certificate(
    solution: Solution[Unknowns],
    adjustment: Adjustment,
    solved: Sequence[int],
    views: Sequence[SphereView],
    missing: dict[int, str],
    reflectance: float | None,
    held_out: bool,
    radius_mm: float,
) -> Calibration:
    """The result of an adjustment of lights `solved`, with what says how good it is."""
    state = solution.state
    covariance, common, power_sigma = led_covariance(adjustment, solution)
    covariance, common = _split_common(covariance, common)
    order = np.argsort(solved)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    lights = Lights(
        ids=np.array(solved, dtype=np.int64),
        position_mm=state.position_mm,
        power=np.ones(len(solved)),
        axis=state.axis,
        lobe=np.full(len(solved), state.lobe if adjustment.plate is not None else 0.0),
        covariance=covariance,
        common_steps=common,
        power_sigma=np.full(len(solved), UNKNOWN_POWER_SIGMA),
    )
    if adjustment.plate is not None:
        lights = apply_photometry(lights, state, adjustment.plate, reflectance)
        lights = replace(lights, power_sigma=power_sigma)
    error = _residuals_px(adjustment, state)
    used = whitened(adjustment, state) < OUTLIER
    seen = adjustment.highlights
    count = np.bincount(seen.light[used], minlength=len(solved))
    weak = {
        led: f"its position rests on {count[i]} pose{'s' if count[i] > 1 else ''}"
        for i, led in enumerate(solved)
        if count[i] < 3
    }
    sigma = float(np.sqrt(np.mean(adjustment.highlights.sigma**2))) if len(seen) else np.nan
    has_plate = adjustment.plate is not None
    return Calibration(
        lights=lights.select(order),
        spheres_mm=state.centres_mm,
        highlights=replace(seen, light=place[seen.light]),
        residuals_px=error,
        used=used,
        views=tuple(view.name for view in views),
        missing=dict(sorted(missing.items())),
        weak=dict(sorted(weak.items())),
        sigma_px=sigma,
        held_out_px=_held_out(adjustment, state, views) if held_out else None,
        power_sigma=power_sigma[order] if has_plate else None,
        plate_rms=plate_rms(adjustment, state)[order] if has_plate else None,
        vignetting=state.vignetting if has_plate else None,
        camera=adjustment.camera,
        radius_mm=radius_mm,
        extra={
            "converged": solution.converged,
            "iterations": solution.iterations,
            "pixel_phase": adjustment.phase.tolist(),
        },
    )
