"""The reflectance obeys what physics demands of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import vectorize
from numpy.typing import NDArray

from reconstruct.optics.microfacet import (
    BECKMANN,
    GGX,
    conductor_fresnel,
    slope_density,
    smith_g1,
)

Vectors = tuple[NDArray, NDArray, NDArray]
KINDS = (GGX, BECKMANN)
PERFECT = (1e-4, 1e4)  # an index so extreme that the mirror returns all light
UP = (np.float32(0), np.float32(0), np.float32(1))  # the surface's normal


@vectorize
def density(kind, x, y, z, ax, ay):
    """D of a half vector over the plane z, the wider or narrower lobe along x."""
    return slope_density(kind, (x * x / (ax * ax) + y * y / (ay * ay)) / (z * z), z * z) / (ax * ay)


@vectorize
def masking(kind, x, y, z, ax, ay):
    return smith_g1(kind, z, ax * ax * x * x + ay * ay * y * y)


@vectorize
def fresnel(cosine, n, k):
    return conductor_fresnel(cosine, n, k)


def microfacet(
    kind: int, light: Vectors, view: Vectors, alpha: tuple[float, float], nk: tuple[float, float]
) -> NDArray:
    """f_r · n·l, in float32 as the kernels have it."""
    widths = np.float32(alpha)
    half = [a + b for a, b in zip(light, view, strict=True)]
    length = np.sqrt(sum(a * a for a in half))
    masked = masking(kind, *light, *widths) * masking(kind, *view, *widths)
    return (
        density(kind, *(a / length for a in half), *widths)
        * masked * fresnel(length / np.float32(2), *np.float32(nk)) / (4 * view[2])
    )  # fmt: skip


def directions(polar: NDArray | float, azimuth: NDArray | float) -> Vectors:
    x, y, z = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)
    return np.float32(x), np.float32(y), np.float32(z)


def hemisphere(steps: int = 240) -> tuple[Vectors, float]:
    """Directions over the hemisphere and their solid angle (midpoints in cosine and azimuth)."""
    cosine = (np.arange(steps) + 0.5) / steps
    azimuth = (np.arange(2 * steps) + 0.5) * np.pi / steps
    return directions(*np.meshgrid(np.arccos(cosine), azimuth)), np.pi / steps / steps


def albedo(
    kind: int, alpha: tuple[float, float], view_deg: float, nk: tuple[float, float]
) -> float:
    light, solid = hemisphere()
    view = directions(np.radians(view_deg), 0.1)
    return float(microfacet(kind, light, view, alpha, nk).sum(dtype=float) * solid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [(0.1, 0.1), (0.3, 0.3), (0.6, 0.6), (0.15, 0.5)])
def test_projected_density_of_normals_is_one(kind: int, alpha: tuple[float, float]) -> None:
    half, solid = hemisphere(800)
    seen = density(kind, *half, *np.float32(alpha)) * half[2]
    assert seen.sum(dtype=float) * solid == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [(0.1, 0.1), (0.4, 0.4), (0.2, 0.5)])
@pytest.mark.parametrize("view_deg", [0.0, 30.0, 60.0, 75.0])
def test_white_furnace(kind: int, alpha: tuple[float, float], view_deg: float) -> None:
    """A perfect mirror's facets return no more than they get, and at small roughness nearly all
    (what is missing has bounced between facets, which the model leaves out)."""
    returned = albedo(kind, alpha, view_deg, PERFECT)
    assert returned <= 1.0 + 2e-3
    if max(alpha) <= 0.1 and view_deg <= 60.0:
        assert returned > 0.96


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view_deg", [0.0, 40.0, 70.0])
def test_weak_white_furnace(kind: int, view_deg: float) -> None:
    """The facets a direction sees fill exactly the area it sees (Heitz 2014, eq. 14)."""
    half, solid = hemisphere(800)
    view = directions(np.radians(view_deg), 0.7)
    widths = np.float32((0.2, 0.4))
    facing = np.maximum(sum(a * b for a, b in zip(half, view, strict=True)), 0)
    seen = density(kind, *half, *widths) * masking(kind, *view, *widths) * facing
    assert seen.sum(dtype=float) * solid == pytest.approx(np.cos(np.radians(view_deg)), rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_metal_returns_its_fresnel_share_of_the_furnace(kind: int) -> None:
    white = albedo(kind, (0.1, 0.1), 20.0, PERFECT)
    copper = albedo(kind, (0.1, 0.1), 20.0, (0.783, 2.741))
    at_20 = float(fresnel(np.cos(np.radians(20.0)), 0.783, 2.741))
    assert copper / white == pytest.approx(at_20, rel=0.01)


@given(
    st.lists(st.floats(0.05, 1.4), min_size=2, max_size=2),
    st.lists(st.floats(0.0, 6.2), min_size=2, max_size=2),
    st.floats(0.05, 0.8),
    st.floats(0.05, 0.8),
    st.sampled_from(KINDS),
)
@settings(max_examples=60, deadline=None)
def test_reciprocity(polar, azimuth, alpha_x, alpha_y, kind) -> None:
    one, other = (directions(p, a) for p, a in zip(polar, azimuth, strict=True))

    def f(light: Vectors, view: Vectors) -> float:
        return float(microfacet(kind, light, view, (alpha_x, alpha_y), (2.0, 3.0)) / light[2])

    there, back = f(one, other), f(other, one)
    assert there >= 0.0
    assert there == pytest.approx(back, rel=1e-5, abs=1e-12)


def test_fresnel_at_normal_and_grazing_incidence() -> None:
    n, k = 2.5, 3.5
    head_on = ((n - 1) ** 2 + k**2) / ((n + 1) ** 2 + k**2)
    value = fresnel(np.float32([1.0, 0.0]), np.float32(n), np.float32(k))
    assert value.tolist() == pytest.approx([head_on, 1.0], abs=1e-5)


def test_fresnel_against_complex_arithmetic() -> None:
    angle = np.radians(np.linspace(0, 89, 30))
    index = 0.783 + 2.741j
    inside = np.sqrt(index**2 - np.sin(angle) ** 2)
    r_s = (np.cos(angle) - inside) / (np.cos(angle) + inside)
    r_p = (index**2 * np.cos(angle) - inside) / (index**2 * np.cos(angle) + inside)
    expected = 0.5 * (abs(r_s) ** 2 + abs(r_p) ** 2)
    np.testing.assert_allclose(fresnel(np.cos(angle), 0.783, 2.741), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_smooth_lobe_peaks_in_the_mirror_direction(kind: int) -> None:
    light, _ = hemisphere(300)
    view = directions(np.radians(25.0), 1.0)
    best = microfacet(kind, light, view, (0.03, 0.03), (2.0, 3.0)).argmax()
    x, y, z = (each.ravel()[best] for each in light)
    assert np.degrees(np.arccos(-x * view[0] - y * view[1] + z * view[2])) < 1.0


def test_brushed_metal_spreads_light_across_the_lay() -> None:
    """A wide alpha along x spreads the highlight along x."""
    along, across = (
        float(microfacet(GGX, directions(np.radians(30.0), azimuth), UP, (0.4, 0.1), (2.0, 3.0)))
        for azimuth in (0.0, np.pi / 2)
    )
    assert along > 5 * across
