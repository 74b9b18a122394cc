"""The reflectance obeys what physics demands of it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reconstruct.optics import brdf

NORMAL = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
KINDS = ("ggx", "beckmann")
PERFECT = (1e-4, 1e4)  # an index so extreme that the mirror returns all light


def directions(polar: torch.Tensor, azimuth: torch.Tensor) -> torch.Tensor:
    sine = torch.sin(polar)
    return torch.stack(
        [sine * torch.cos(azimuth), sine * torch.sin(azimuth), torch.cos(polar)], dim=-1
    )


def hemisphere(steps: int = 240) -> tuple[torch.Tensor, torch.Tensor]:
    """Directions over the hemisphere and their solid angles (midpoints in cos and azimuth)."""
    cosine = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    azimuth = (torch.arange(2 * steps, dtype=torch.float64) + 0.5) * math.pi / steps
    polar = torch.arccos(cosine)
    grid = torch.meshgrid(polar, azimuth, indexing="ij")
    return directions(*grid), torch.full(grid[0].shape, math.pi / steps / steps)


def albedo(
    kind: str, alpha: tuple[float, float], view_deg: float, nk: tuple[float, float]
) -> float:
    light, solid = hemisphere()
    view = directions(torch.tensor(math.radians(view_deg)), torch.tensor(0.4))
    tangent = torch.tensor([1.0, 0.3, 0.0], dtype=torch.float64)
    value = brdf.microfacet(NORMAL, light, view.double(), alpha[0], alpha[1], *nk, kind, tangent)
    return float((value * solid).sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [(0.1, 0.1), (0.3, 0.3), (0.6, 0.6), (0.15, 0.5)])
def test_projected_density_of_normals_is_one(kind: str, alpha: tuple[float, float]) -> None:
    half, solid = hemisphere(800)
    tangent = torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64)
    density = brdf.distribution(kind, NORMAL, half, *alpha, tangent)
    assert float((density * half[..., 2] * solid).sum()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha", [(0.1, 0.1), (0.4, 0.4), (0.2, 0.5)])
@pytest.mark.parametrize("view_deg", [0.0, 30.0, 60.0, 75.0])
def test_white_furnace(kind: str, alpha: tuple[float, float], view_deg: float) -> None:
    """A perfect mirror's facets return no more than they get, and at small roughness nearly all
    (what is missing has bounced between facets, which the model leaves out)."""
    returned = albedo(kind, alpha, view_deg, PERFECT)
    assert returned <= 1.0 + 2e-3
    if max(alpha) <= 0.1 and view_deg <= 60.0:
        assert returned > 0.96


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("view_deg", [0.0, 40.0, 70.0])
def test_weak_white_furnace(kind: str, view_deg: float) -> None:
    """The facets a direction sees fill exactly the area it sees (Heitz 2014, eq. 14)."""
    half, solid = hemisphere(800)
    view = directions(torch.tensor(math.radians(view_deg)), torch.tensor(0.7)).double()
    tangent = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    density = brdf.distribution(kind, NORMAL, half, 0.2, 0.4, tangent)
    masking = brdf.smith_g1(kind, NORMAL, view, 0.2, 0.4, tangent)
    seen = (density * masking * (half @ view).clamp_min(0) * solid).sum()
    assert float(seen) == pytest.approx(math.cos(math.radians(view_deg)), rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_metal_returns_its_fresnel_share_of_the_furnace(kind: str) -> None:
    white = albedo(kind, (0.1, 0.1), 20.0, PERFECT)
    copper = albedo(kind, (0.1, 0.1), 20.0, (0.783, 2.741))
    at_20 = float(brdf.conductor_fresnel(torch.tensor(math.cos(math.radians(20.0))), 0.783, 2.741))
    assert copper / white == pytest.approx(at_20, rel=0.01)


@given(
    st.lists(st.floats(0.05, 1.4), min_size=2, max_size=2),
    st.lists(st.floats(0.0, 6.2), min_size=2, max_size=2),
    st.floats(0.05, 0.8),
    st.floats(0.05, 0.8),
    st.sampled_from(KINDS),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_reciprocity(polar, azimuth, alpha_x, alpha_y, kind, correlated) -> None:
    pair = directions(
        torch.tensor(polar, dtype=torch.float64), torch.tensor(azimuth, dtype=torch.float64)
    )
    tangent = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)

    def f(light: torch.Tensor, view: torch.Tensor) -> float:
        value = brdf.microfacet(
            NORMAL, light, view, alpha_x, alpha_y, 2.0, 3.0, kind, tangent, correlated
        )
        return float(value / light[2])

    there, back = f(pair[0], pair[1]), f(pair[1], pair[0])
    assert there >= 0.0
    assert there == pytest.approx(back, rel=1e-6, abs=1e-12)


def test_fresnel_at_normal_and_grazing_incidence() -> None:
    cosine = torch.tensor([1.0, 0.0], dtype=torch.float64)
    n, k = 2.5, 3.5
    head_on = ((n - 1) ** 2 + k**2) / ((n + 1) ** 2 + k**2)
    value = brdf.conductor_fresnel(cosine, n, k)
    assert value.tolist() == pytest.approx([head_on, 1.0], abs=1e-5)


def test_fresnel_against_complex_arithmetic() -> None:
    angle = np.radians(np.linspace(0, 89, 30))
    index = 0.783 + 2.741j
    inside = np.sqrt(index**2 - np.sin(angle) ** 2)
    r_s = (np.cos(angle) - inside) / (np.cos(angle) + inside)
    r_p = (index**2 * np.cos(angle) - inside) / (index**2 * np.cos(angle) + inside)
    expected = 0.5 * (abs(r_s) ** 2 + abs(r_p) ** 2)
    got = brdf.conductor_fresnel(torch.tensor(np.cos(angle)), 0.783, 2.741)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_smooth_lobe_peaks_in_the_mirror_direction(kind: str) -> None:
    light, _ = hemisphere(300)
    view = directions(torch.tensor(math.radians(25.0)), torch.tensor(1.0)).double()
    value = brdf.microfacet(NORMAL, light, view, 0.03, None, 2.0, 3.0, kind)
    best = light.reshape(-1, 3)[value.argmax()]
    mirrored = view * torch.tensor([-1.0, -1.0, 1.0])
    assert float(torch.rad2deg(torch.arccos((best * mirrored).sum()))) < 1.0


def test_brushed_metal_spreads_light_across_the_lay() -> None:
    """A wide alpha along x spreads the highlight along x."""
    view = NORMAL
    tangent = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    tilt = torch.tensor(math.radians(30.0), dtype=torch.float64)
    along = directions(tilt, torch.tensor(0.0, dtype=torch.float64))
    across = directions(tilt, torch.tensor(math.pi / 2, dtype=torch.float64))
    f = [
        float(brdf.microfacet(NORMAL, light, view, 0.4, 0.1, 2.0, 3.0, "ggx", tangent))
        for light in (along, across)
    ]
    assert f[0] > 5 * f[1]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    normal = torch.nn.functional.normalize(
        torch.tensor([0.1, -0.2, 1.0], dtype=torch.float64), dim=0
    ).requires_grad_()
    alpha = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    light = torch.nn.functional.normalize(
        torch.rand(5, 3, generator=generator, dtype=torch.float64) + 0.2, dim=-1
    )

    def f(n: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        unit = torch.nn.functional.normalize(n, dim=0)
        return brdf.microfacet(unit, light, NORMAL, a, None, 2.0, 3.0, kind)

    assert torch.autograd.gradcheck(f, (normal, alpha))
