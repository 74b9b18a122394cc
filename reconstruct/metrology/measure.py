"""Parameters of a surface, each with its uncertainty.

The uncertainty of a height map reaches the parameters by Monte Carlo (JCGM 101:2008): fields of
error with the stated one-sigma and correlation are added to the heights, the whole chain of form,
filters and parameters runs again, and the spread is the standard uncertainty. The mean shift is
the share that noise itself has in a parameter (noise makes any surface rougher); it is added in
square rather than subtracted, since the stated sigma is itself an estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from reconstruct.errors import RequestError
from reconstruct.metrology.areal import UNITS, areal_parameters
from reconstruct.metrology.dimension import flatness
from reconstruct.metrology.filters import high_pass, low_pass
from reconstruct.metrology.form import Form, remove_form
from reconstruct.metrology.grid import HeightGrid
from reconstruct.metrology.profile import (
    edges_of_step,
    profile_along,
    profile_parameters,
    step_height,
)

MOST_DRAWS = 10_000  # minutes of a map of 512 × 512; the sigma is then known to 1 %

Line = tuple[float, float, float, float]


@dataclass(frozen=True)
class Parameter:
    """One figure: `value` in `unit` with standard uncertainty `sigma` (None: unknown)."""

    name: str
    value: float
    unit: str
    sigma: float | None = None


@dataclass(frozen=True)
class Recipe:
    """What is to be measured, and how; it goes into the report with the figures.

    Attributes
    ----------
    form : taken away first (see `form.remove_form`)
    cutoff_mm : L-filter: what is longer is waviness and is taken away; None keeps it
    short_mm : S-filter: what is shorter is noise and is taken away; None keeps it
    line_mm : x0, y0, x1, y1 of a profile, or None
    step : measure a step height along the line
    edges_mm : its one or two edges along the line; None finds them
    correlation_mm : distance at which errors of height are correlated by 1/e; None: estimated from
        the surface (see `correlation_length`)
    draws : of the Monte Carlo; 0 leaves the uncertainties out
    """

    form: str = "plane"
    cutoff_mm: float | None = None
    short_mm: float | None = None
    line_mm: Line | None = None
    step: bool = False
    edges_mm: tuple[float, ...] | None = None
    correlation_mm: float | None = None
    draws: int = 32


@dataclass(frozen=True, eq=False)
class Measurement:
    """Figures, how they were made, the form found, and the surface they describe."""

    parameters: tuple[Parameter, ...]
    recipe: Recipe
    form: Form
    surface: HeightGrid
    correlation_mm: float | None = None  # that of the uncertainties
    edges_mm: tuple[float, ...] | None = None  # of the step, along the line

    def to_json(self) -> dict[str, Any]:
        return {
            "format": "rig-measurement/1",
            "recipe": asdict(self.recipe),
            "form": {"kind": self.form.kind, **self.form.parameters},
            "step_mm": self.surface.step_mm,
            "points": int(np.count_nonzero(self.surface.mask)),
            "correlation_mm": self.correlation_mm,
            "edges_mm": None if self.edges_mm is None else list(self.edges_mm),
            "parameters": [asdict(parameter) for parameter in self.parameters],
        }


def scale_limited(grid: HeightGrid, recipe: Recipe) -> tuple[Form, HeightGrid]:
    """The surface without form and between the cut-offs (F-operation, S- and L-filter)."""
    form = remove_form(grid, recipe.form)
    z = form.residual.z_mm
    if recipe.short_mm is not None:
        z = low_pass(z, recipe.short_mm, grid.step_mm)
    if recipe.cutoff_mm is not None:
        z = high_pass(z, recipe.cutoff_mm, grid.step_mm)
    return form, grid.with_z(z)


def measure(grid: HeightGrid, recipe: Recipe | None = None, seed: int = 0) -> Measurement:
    """Measure a surface as the recipe says.

    Areal parameters and, with a line, profile parameters and the step height come from the
    surface without its form; flatness from the surface as it is.

    Raises
    ------
    RequestError
        if the recipe cannot be meant: lengths below 0, an S-filter longer than the cut-off
    ReconstructError
        if a form, cut-off or line does not fit the surface
    """
    recipe = recipe or Recipe()
    _refuse_senseless(recipe)
    edges = recipe.edges_mm
    if recipe.step and recipe.line_mm is not None and edges is None:
        edges = edges_of_step(profile_along(grid, recipe.line_mm[:2], recipe.line_mm[2:]))

    def figures(z: HeightGrid) -> dict[str, float]:
        form, surface = scale_limited(z, recipe)
        found = areal_parameters(surface.z_mm, z.step_mm)
        found.update(flatness(z))
        if recipe.line_mm is not None:
            start, end = recipe.line_mm[:2], recipe.line_mm[2:]
            cut = profile_along(form.residual, start, end)
            found.update(profile_parameters(cut, recipe.cutoff_mm, recipe.short_mm))
            if recipe.step and edges is not None:
                # Without the form: a plane through both levels would eat some of the step.
                found["h"] = 1e3 * step_height(profile_along(z, start, end), edges)
        return found

    values = figures(grid)
    form, surface = scale_limited(grid, recipe)
    length_mm = recipe.correlation_mm
    if length_mm is None:
        length_mm = correlation_length(form.residual)
    sigmas = _monte_carlo(grid, recipe.draws, length_mm, figures, values, seed)
    parameters = tuple(
        Parameter(name, value, UNITS.get(name, "µm"), sigmas.get(name))
        for name, value in values.items()
    )
    told = length_mm if sigmas else None
    return Measurement(parameters, recipe, form, surface, told, edges if recipe.step else None)


def _refuse_senseless(recipe: Recipe) -> None:
    lengths = {
        "a cut-off": recipe.cutoff_mm,
        "an S-filter": recipe.short_mm,
        "a correlation length": recipe.correlation_mm,
    }
    for what, length in lengths.items():
        if length is not None and not 0 < length < np.inf:
            raise RequestError(f"{what} of {length:g} mm: expected a length above 0 mm")
    short, cutoff = recipe.short_mm, recipe.cutoff_mm
    if short is not None and cutoff is not None and short >= cutoff:
        raise RequestError(
            f"the S-filter of {short:g} mm takes away all below the cut-off of {cutoff:g} mm: ask "
            "for a shorter one"
        )
    if not 0 <= recipe.draws <= MOST_DRAWS:
        raise RequestError(f"{recipe.draws} draws: expected 0 to {MOST_DRAWS}")


def correlation_length(residual: HeightGrid) -> float:
    """Distance, mm, at which heights without their form are correlated by 1/e.

    Errors of a surface that was integrated from slopes are as long as the slopes that they come
    from: those of the surface's own features. So the autocorrelation of the surface, which can be
    seen, stands for that of its errors, which cannot. At least 4 grid steps, at most a quarter of
    the surface.
    """
    seen = residual.mask
    z = np.where(seen, residual.z_mm - residual.z_mm[seen].mean(), 0.0) if seen.any() else None
    rows, columns = residual.z_mm.shape
    longest = max(4, min(rows, columns) // 4)
    if z is None or not np.any(z):
        return 4 * residual.step_mm
    shape = (fft.next_fast_len(rows + longest), fft.next_fast_len(columns + longest))

    def correlated(field: NDArray[np.float64]) -> NDArray[np.float64]:
        spectrum = np.abs(fft.rfft2(field, shape)) ** 2
        return np.asarray(fft.irfft2(spectrum, shape))

    pairs = np.maximum(correlated(seen.astype(float)), 0.5)
    correlation = correlated(z) / pairs
    along = np.minimum(correlation[0, :longest], correlation[:longest, 0]) / correlation[0, 0]
    below = np.flatnonzero(along < np.exp(-1))
    steps = int(below[0]) if below.size else longest
    return float(np.clip(steps, 4, longest) * residual.step_mm)


def _monte_carlo(
    grid: HeightGrid,
    draws: int,
    length_mm: float,
    figures: Callable[[HeightGrid], dict[str, float]],
    values: dict[str, float],
    seed: int,
) -> dict[str, float]:
    if grid.sigma_mm is None or draws < 2:
        return {}
    sigma = np.where(np.isfinite(grid.sigma_mm), grid.sigma_mm, 0.0)
    steps = length_mm / grid.step_mm
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(draws):
        found = figures(grid.with_z(grid.z_mm + sigma * correlated_noise(sigma.shape, steps, rng)))
        for name in drawn:
            drawn[name].append(found[name])
    out = {}
    for name, series in drawn.items():
        shift = float(np.mean(series)) - values[name]
        out[name] = float(np.sqrt(np.var(series, ddof=1) + shift**2))
    return out


def correlated_noise(
    shape: Sequence[int], length: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Gaussian noise of unit variance whose correlation falls to 1/e at `length` points.

    White noise smoothed by a Gaussian of width s is correlated as ``exp(−d² / (4 s²))``.
    """
    white = rng.standard_normal(tuple(shape))
    width = length / 2
    if width < 0.3:
        return white
    spectrum = ndimage.fourier_gaussian(fft.rfft2(white), width, n=white.shape[1])
    smooth = fft.irfft2(spectrum, white.shape)
    reach = [2 * np.pi * fft.fftfreq(n) for n in white.shape]
    gain = np.exp(-0.5 * width**2 * (reach[0][:, None] ** 2 + reach[1][None] ** 2))
    return np.asarray(smooth / np.sqrt(np.mean(gain**2)))
