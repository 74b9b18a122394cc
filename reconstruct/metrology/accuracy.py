"""How far a result is from the truth, pixel by pixel."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intake.arrays import read_npz
from intake.errors import InputError, MissingError
from reconstruct.errors import ReconstructError, RequestError
from reconstruct.metrology.filters import low_pass
from reconstruct.surface import Surface

FARTHEST_MM = 1e7


@dataclass(frozen=True, eq=False)
class Truth:
    """The true surface over the captured image.

    Attributes
    ----------
    position : (H, W, 3) mm, world frame, NaN where there is no surface
    normal : (H, W, 3) unit vectors, or None
    mask : (H, W) bool, the part where the truth holds the stage too, or None
    """

    position: NDArray[np.float64]
    normal: NDArray[np.float64] | None
    mask: NDArray[np.bool_] | None = None

    @staticmethod
    def read(path: Path) -> Truth:
        """Read ``truth.npz``; raises `ReconstructError` if it is not one."""
        try:
            data = read_npz(path)
        except MissingError:
            raise ReconstructError(
                f"there is no file {path} with the truth: is its name spelled so?"
            ) from None
        except InputError as error:
            raise ReconstructError(f"{error}: expected the .npz file of a truth") from error
        if "position" not in data:
            raise ReconstructError(f"{path} has no 'position': expected (H, W, 3) in mm")
        position = np.asarray(data["position"], dtype=np.float64)
        normal = np.asarray(data["normal"], np.float64) if "normal" in data else None
        if position.ndim != 3 or position.shape[2] != 3:
            raise ReconstructError(f"{path}: 'position' is {position.shape}, expected (H, W, 3)")
        if normal is not None and normal.shape != position.shape:
            raise ReconstructError(f"{path}: 'normal' is {normal.shape}, not {position.shape}")
        with np.errstate(invalid="ignore"):
            if np.any(np.abs(position) > FARTHEST_MM):
                raise ReconstructError(f"{path}: 'position' holds {FARTHEST_MM:g} mm and more")
            if normal is not None and np.any(np.abs(normal) > 1.1):
                raise ReconstructError(f"{path}: 'normal' holds vectors longer than 1")
        mask = np.asarray(data["mask"]) if "mask" in data else None
        if mask is not None and mask.shape != position.shape[:2]:
            raise ReconstructError(f"{path}: 'mask' is {mask.shape}, not {position.shape[:2]}")
        return Truth(position, normal, None if mask is None else mask > 0)


@dataclass(frozen=True)
class HeightError:
    """Error of height after fitting out an offset (`mean`), a plane, or nothing (`absolute`)."""

    rmse_mm: float
    mae_mm: float
    max_mm: float


@dataclass(frozen=True)
class Accuracy:
    """What `evaluate` found; `to_json` for files.

    Attributes
    ----------
    pixels : compared; `coverage` is their share of the true surface within the border
    normal_mean_deg, normal_median_deg, normal_95_deg : angular error, None without true normals
    mean_removed, plane_removed, absolute : height errors
    offset_mm : mean error of height (what `mean_removed` took away)
    form_rmse_mm, texture_rmse_mm : of the error with its mean removed, split at `cutoff_mm`;
        None if no cut-off was asked for
    within_one_sigma : share of errors within the stated uncertainty, or None
    within_of : which errors those are: with their ``mean removed``, or ``absolute`` of a part on
        the stage
    sigma_median_mm : median of the stated uncertainty, or None
    border_px : pixels left out along the image's edges
    """

    pixels: int
    coverage: float
    normal_mean_deg: float | None
    normal_median_deg: float | None
    normal_95_deg: float | None
    mean_removed: HeightError
    plane_removed: HeightError
    absolute: HeightError
    offset_mm: float
    form_rmse_mm: float | None
    texture_rmse_mm: float | None
    cutoff_mm: float | None
    within_one_sigma: float | None
    within_of: Literal["mean removed", "absolute"]
    sigma_median_mm: float | None
    border_px: int

    def to_json(self) -> dict[str, Any]:
        return {"format": "rig-accuracy/1", **asdict(self)}


def evaluate(
    surface: Surface,
    truth: Truth,
    border_px: int = 0,
    cutoff_mm: float | None = 8.0,
    mask: NDArray[np.bool_] | None = None,
) -> Accuracy:
    """Compare a result with the truth over the pixels where both have a surface.

    The height error of a pixel is its z minus the true z. For the split into form and texture the
    error map is filtered by a Gaussian (ISO 16610-61) with this cut-off; the pixels are taken as
    evenly spaced at their mean distance, which under perspective holds to a few percent.

    Parameters
    ----------
    border_px : pixels to leave out along the image's edges
    cutoff_mm : between form and texture; None leaves the split out
    mask : (H, W) further restriction

    Raises
    ------
    ReconstructError
        if sizes differ, nothing can be compared, or the cut-off is below two pixels
    RequestError
        if border or cut-off are none
    """
    shape = surface.height_mm.shape
    if truth.position.shape[:2] != shape:
        raise ReconstructError(
            f"the result is {shape[1]}×{shape[0]} pixels, the truth "
            f"{truth.position.shape[1]}×{truth.position.shape[0]}: they belong to other captures"
        )
    if border_px < 0:
        raise RequestError(f"a border of {border_px} px: expected 0 px or more")
    if 2 * border_px >= min(shape):
        raise RequestError(f"a border of {border_px} px leaves nothing of {shape}")
    inside = np.zeros(shape, dtype=bool)
    inside[border_px : shape[0] - border_px, border_px : shape[1] - border_px] = True
    if mask is not None:
        inside &= mask
    true_z = truth.position[..., 2]
    if truth.mask is not None:
        inside &= truth.mask
    there = np.isfinite(true_z) & inside
    valid = there & surface.mask
    count = int(np.count_nonzero(valid))
    if count < 3:
        raise ReconstructError("result and truth have no valid pixel in common")
    error = np.where(valid, surface.height_mm.astype(np.float64) - true_z, np.nan)
    offset = float(np.nanmean(error))
    centred = error - offset
    form = texture = None
    if cutoff_mm is not None:
        smooth = low_pass(centred, cutoff_mm, _pitch(truth.position))
        form, texture = _rms(smooth), _rms(centred - smooth)
    angles = np.empty(0)
    if truth.normal is not None:
        angles = angle_deg(surface.normals[valid], truth.normal[valid])
        angles = angles[np.isfinite(angles)]
    known_angles = bool(angles.size)
    sigma = surface.sigma_mm[valid]
    known = np.isfinite(sigma) & (sigma > 0)
    within = None
    # The heights of a part on the stage are absolute, and so is their uncertainty.
    absolute = "pieces" in surface.summary
    if known.any():
        claimed = error if absolute else centred
        within = float(np.mean(np.abs(claimed[valid][known]) <= sigma[known]))
    return Accuracy(
        pixels=count,
        coverage=count / int(np.count_nonzero(there)),
        normal_mean_deg=float(angles.mean()) if known_angles else None,
        normal_median_deg=float(np.median(angles)) if known_angles else None,
        normal_95_deg=float(np.quantile(angles, 0.95)) if known_angles else None,
        mean_removed=_height_error(centred),
        plane_removed=_height_error(_without_plane(error, truth.position)),
        absolute=_height_error(error),
        offset_mm=offset,
        form_rmse_mm=form,
        texture_rmse_mm=texture,
        cutoff_mm=cutoff_mm,
        within_one_sigma=within,
        within_of="absolute" if absolute else "mean removed",
        sigma_median_mm=float(np.median(sigma[known])) if known.any() else None,
        border_px=border_px,
    )


def angle_deg(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Angle between vectors (…, 3), degrees; exact for small angles as well (Kahan 2006)."""
    a = np.asarray(a, dtype=np.float64)
    b = np.asarray(b, dtype=np.float64)
    a = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    half = np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))
    return np.asarray(np.degrees(2 * half))


def _pitch(position: NDArray[np.float64]) -> float:
    """Mean distance of neighbouring pixels' points in x and y, mm."""
    across = np.nanmedian(np.hypot(*np.moveaxis(np.diff(position[..., :2], axis=1), -1, 0)))
    down = np.nanmedian(np.hypot(*np.moveaxis(np.diff(position[..., :2], axis=0), -1, 0)))
    return float(np.sqrt(across * down))


def _without_plane(error: NDArray[np.float64], position: NDArray[np.float64]) -> NDArray[Any]:
    valid = np.isfinite(error)
    x, y = position[..., 0][valid], position[..., 1][valid]
    design = np.column_stack([x - x.mean(), y - y.mean(), np.ones_like(x)])
    fit, *_ = np.linalg.lstsq(design, error[valid], rcond=None)
    out = error.copy()
    out[valid] -= design @ fit
    return out


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.nanmean(np.square(values))))


def _height_error(error: NDArray[Any]) -> HeightError:
    size = np.abs(error)
    return HeightError(_rms(error), float(np.nanmean(size)), float(np.nanmax(size)))
