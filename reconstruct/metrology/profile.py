"""A profile along a line and its parameters (ISO 21920-2), and step heights (ISO 5436-1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconstruct.errors import ReconstructError
from reconstruct.metrology.filters import high_pass, low_pass
from reconstruct.metrology.grid import Array, HeightGrid

SECTIONS = 5
LONGEST = 10  # of a line, in half circumferences of the surface


@dataclass(frozen=True, eq=False)
class Profile:
    """Heights along a line: `s_mm` (n,) from its start, evenly spaced; `z_mm` (n,), NaN gaps."""

    s_mm: Array
    z_mm: Array

    @property
    def step_mm(self) -> float:
        return float(self.s_mm[1] - self.s_mm[0])


def profile_along(grid: HeightGrid, start_mm: Sequence[float], end_mm: Sequence[float]) -> Profile:
    """Cut a grid along a line from (x, y) to (x, y), sampled at the grid's step (cubic).

    Raises
    ------
    ReconstructError
        if the line is shorter than eight steps, far longer than the surface, or misses it
    """
    start, end = np.asarray(start_mm, dtype=np.float64), np.asarray(end_mm, dtype=np.float64)
    length = float(np.linalg.norm(end - start))
    count = int(np.floor(length / grid.step_mm)) + 1
    if count < 9:
        raise ReconstructError(
            f"a line of {length:.3g} mm is too short for points {grid.step_mm:.3g} mm apart"
        )
    x, y = grid.x_mm, grid.y_mm
    spans = f"the surface, which spans x {x[0]:.1f} … {x[-1]:.1f} mm, y {y[0]:.1f} … {y[-1]:.1f} mm"
    if count > LONGEST * (len(x) + len(y)):
        raise ReconstructError(f"a line of {length:.3g} mm is far longer than {spans}")
    s = grid.step_mm * np.arange(count, dtype=np.float64)
    place = start + s[:, None] * (end - start) / length
    z = grid.at(place[:, 0], place[:, 1], order=3)
    if np.count_nonzero(np.isfinite(z)) < 9:
        raise ReconstructError(f"the line misses {spans}")
    return Profile(s, z)


def levelled(profile: Profile) -> Profile:
    """The profile without its least-squares line."""
    good = np.isfinite(profile.z_mm)
    middle = profile.s_mm[good].mean()
    slope, height = np.polyfit(profile.s_mm[good] - middle, profile.z_mm[good], 1)
    return Profile(profile.s_mm, profile.z_mm - slope * (profile.s_mm - middle) - height)


def profile_parameters(
    profile: Profile, cutoff_mm: float | None = None, short_mm: float | None = None
) -> dict[str, float]:
    """Ra, Rq, Rz and Rt in µm of the roughness profile, or Pa, Pq, Pz, Pt without a cut-off.

    The line is levelled, then filtered (ISO 16610-21): below `cutoff_mm` is roughness; noise below
    `short_mm` is taken away first. Half a cut-off at either end, where the filter has run in, is
    left out. Rz is the mean over the section lengths of highest peak plus deepest valley
    (ISO 21920-2:2021, 3.2): sections of one cut-off each, or a fifth of the line.

    Raises
    ------
    ReconstructError
        if the line is shorter than two cut-offs
    """
    step = profile.step_mm
    z = levelled(profile).z_mm
    letter = "P"
    section = profile.s_mm[-1] / SECTIONS
    if short_mm is not None:
        z = low_pass(z, short_mm, step)
    if cutoff_mm is not None:
        if profile.s_mm[-1] < 2 * cutoff_mm:
            raise ReconstructError(
                f"a line of {profile.s_mm[-1]:.3g} mm is too short for a cut-off of "
                f"{cutoff_mm:g} mm: it needs twice that"
            )
        z = high_pass(z, cutoff_mm, step)
        edge = int(np.ceil(cutoff_mm / 2 / step))
        z = z[edge : len(z) - edge]
        section, letter = cutoff_mm, "R"
    good = np.isfinite(z)
    if np.count_nonzero(good) < 9:
        raise ReconstructError("too few measured points on the line")
    heights = z - z[good].mean()
    number = max(1, int((len(z) - 1) * step / section + 1e-6))
    parts = [part for part in np.array_split(heights, number) if np.isfinite(part).any()]
    return {
        f"{letter}a": 1e3 * float(np.nanmean(np.abs(heights))),
        f"{letter}q": 1e3 * float(np.sqrt(np.nanmean(heights**2))),
        f"{letter}z": 1e3 * float(np.mean([np.nanmax(p) - np.nanmin(p) for p in parts])),
        f"{letter}t": 1e3 * float(np.nanmax(heights) - np.nanmin(heights)),
    }


# steps -----------------------------------------------------------------------------------------


def find_edges(profile: Profile) -> tuple[float, ...]:
    """Places (mm along the line) of all edges, in order; empty where there is none.

    An edge is a peak of the slope that stands out of the slopes of the whole line (six times their
    spread, from the median) and is at least a third as steep as the steepest.
    """
    return tuple(place for place, _ in _edges(profile))


def edges_of_step(profile: Profile) -> tuple[float, ...]:
    """The one edge of a step or the two of a groove or ridge.

    Raises
    ------
    ReconstructError
        if the line crosses none, more than two, or two that go the same way
    """
    found = _edges(profile)
    places = ", ".join(f"{place:.2f}" for place, _ in found)
    if not found:
        raise ReconstructError(
            "the line crosses no edge that stands out: lay it across the step, or name the edge "
            "with --edges"
        )
    if len(found) > 2:
        raise ReconstructError(
            f"the line crosses {len(found)} edges (at {places} mm along it), a step has one and a "
            "groove two: choose a shorter line, or name the edges with --edges"
        )
    if len(found) == 2 and found[0][1] * found[1][1] > 0:
        raise ReconstructError(
            f"the line crosses two steps that go the same way (at {places} mm along it): choose a "
            "line over one of them, or name its edge with --edges"
        )
    return tuple(place for place, _ in found)


def _edges(profile: Profile) -> list[tuple[float, float]]:
    """Place and slope of each edge."""
    good = np.isfinite(profile.z_mm)
    z = np.interp(profile.s_mm, profile.s_mm[good], profile.z_mm[good])
    smooth_mm = max(4 * profile.step_mm, profile.s_mm[-1] / 50)
    z = low_pass(z, smooth_mm, profile.step_mm)
    slope = np.gradient(z, profile.step_mm)
    # Beyond the surface's ends the line was filled up, and the filter has run in.
    ends = np.flatnonzero(good)[[0, -1]] + int(np.ceil(smooth_mm / profile.step_mm)) * np.array(
        [1, -1]
    )
    inside = np.zeros(len(slope), bool)
    inside[ends[0] : ends[1] + 1] = True
    if not inside.any():
        return []
    slope = np.where(inside, slope - np.median(slope[inside]), 0.0)
    size = np.abs(slope)
    spread = 1.4826 * float(np.median(size[inside]))
    steepest = float(size.max())
    least = max(6 * spread, steepest / 3, 1e-9)
    found: list[tuple[float, float]] = []
    guard = max(3, len(slope) // 24)
    left = size.copy()
    while (top := int(np.argmax(left))) >= 0 and left[top] >= least:
        found.append((float(profile.s_mm[top]), float(slope[top])))
        # All of the same slope around it is this edge, with a guard on either side.
        low, high = top, top
        while low > 0 and size[low - 1] >= 0.2 * size[top] and slope[low - 1] * slope[top] > 0:
            low -= 1
        while (
            high < len(size) - 1
            and size[high + 1] >= 0.2 * size[top]
            and slope[high + 1] * slope[top] > 0
        ):
            high += 1
        same = np.zeros(len(left), bool)
        same[max(0, low - guard) : high + guard + 1] = True
        left[same & (slope * slope[top] > 0)] = 0
        left[low : high + 1] = 0
    return sorted(found)


def step_height(profile: Profile, edges_mm: Sequence[float]) -> float:
    """Height of a step in mm; positive if it goes up along the line (one edge) or stands out.

    With two edges a distance W apart, a groove or ridge (ISO 5436-1:2000, 7.2, type A1): three
    times W is looked at; of the outer levels W/3 next to each edge is left out, of the middle only
    its middle third is used. With one edge the two levels on either side are used, a sixth of the
    shorter side next to the edge left out. Two parallel lines are fitted,
    ``z = a s + b ± h/2``.

    Raises
    ------
    ReconstructError
        if a level has fewer than three measured points, or there are not one or two edges
    """
    s, z = profile.s_mm, profile.z_mm
    if len(edges_mm) == 2:
        left, right = sorted(edges_mm)
        width = right - left
        middle = (left + right) / 2
        up = np.abs(s - middle) <= width / 6
        outer = np.abs(s - middle)
        down = (outer >= width * (0.5 + 1 / 3)) & (outer <= 1.5 * width)
    elif len(edges_mm) == 1:
        reach = min(edges_mm[0] - s[0], s[-1] - edges_mm[0])
        down = (s <= edges_mm[0] - reach / 6) & (s >= edges_mm[0] - reach)
        up = (s >= edges_mm[0] + reach / 6) & (s <= edges_mm[0] + reach)
    else:
        raise ReconstructError("a step has one edge, a groove or ridge two")
    good = np.isfinite(z)
    up, down = up & good, down & good
    if min(np.count_nonzero(up), np.count_nonzero(down)) < 3:
        raise ReconstructError(
            "a level of the step has fewer than three measured points: choose a longer line"
        )
    use = up | down
    sign = np.where(up[use], 0.5, -0.5)
    design = np.column_stack([s[use] - s[use].mean(), np.ones(use.sum()), sign])
    return float(np.linalg.lstsq(design, z[use], rcond=None)[0][2])
