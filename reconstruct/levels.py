"""Levels told by cast shadows: how far one piece of a part rises over what its shadow falls on.

A point light above an edge at height h casts the edge onto a plane: a receiver's point x lies in
shadow where its ray to the light meets the occluder's region before it rises above h. With the
region's signed distance d there (mm, positive inside), the lit share is Φ(−(d + δ) / s): s holds
the LED's penumbra, the lens and the pixel; δ says how far the true casting edge lies beside the
outline (a chamfer, half a pixel). δ moves every shadow alike, the rise moves each by the tangent
of its light's angle, so that both can be told apart. Each light has its own contrast and its own
offset (light from walls), fitted in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.shadow_kernels import View, edge_gains, explained, pair_reaches, reaches
from reconstruct.small_descent import descended, minimum, within

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]

LEAST_LIGHTS = 4  # that must tell a rise
LEAST_EXPLAINED = 0.35  # of a light's misfit near the edge, for the light to tell
_BAND_MM = 2.5  # on either side of a shadow's edge that tells where the edge is
SECTORS = 8  # of azimuth, left out in turn for the scatter of a rise
# Of a chamfer's width; what is more than three times as wide is no edge of this region.
_CHAMFER_SIGMA_MM = 1.0
RISE, LATERAL, SOFTNESS, CHAMFER = range(4)  # of an edge that is fitted
# How much more than a sharp edge a chamfer must explain to be sure, or else how far towards it the
# rise is taken and its sigma, as shares of what the two differ by (simulated parts, decision 0131).
UNSURE_GAIN, SURE_GAIN = 0.006, 0.016
UNSURE_SHARE, UNSURE_SIGMA = 0.85, 0.3


def signed_distance(region: Mask) -> Map:
    """(H, W) distance to the border of a region in px, positive inside, smoothed over a pixel."""
    kernel = cv2.DIST_MASK_PRECISE
    within = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, kernel)
    beyond = cv2.distanceTransform(np.pad(~region, 1, constant_values=True).astype(np.uint8),
                                   cv2.DIST_L2, kernel)  # fmt: skip
    field = np.where(np.pad(region, 1), within - 0.5, 0.5 - beyond).astype(np.float32)
    return np.ascontiguousarray(cv2.GaussianBlur(field, (0, 0), 0.8)[1:-1, 1:-1])


@dataclass(frozen=True, eq=False)
class Receiver:
    """Places that shadows fall on.

    Attributes
    ----------
    points_mm : (n, 3) world points
    observed : (N, n) radiance over the radiance expected without shadow
    weight : (N, n) inverse variance of `observed`, 0 where it tells nothing
    """

    points_mm: Array
    observed: Map
    weight: Map

    def seen_where(self, clear: Mask) -> Receiver:
        """The same; what is not `clear` (N, n) tells nothing."""
        return Receiver(self.points_mm, self.observed, self.weight * clear)

    def thinned(self, count: int) -> Receiver:
        step = max(1, len(self.points_mm) // count)
        points_mm = np.ascontiguousarray(self.points_mm[::step])  # a kernel for one layout
        return Receiver(points_mm, self.observed[:, ::step], self.weight[:, ::step])


@dataclass(frozen=True)
class Rise:
    """How far an occluder's edge lies above its receiver.

    Attributes
    ----------
    mm, sigma_mm : the rise and its standard error
    chamfer_mm : of that edge
    gain : misfit explained by the shadow, in units of the noise
    lights : how many lights tell it
    edge_seen : the place of the edge that casts the shadow was measured
    """

    mm: float
    sigma_mm: float
    chamfer_mm: float
    gain: float
    lights: int
    edge_seen: bool = False

    @property
    def standard_errors(self) -> float:
        return self.mm / max(self.sigma_mm, 1e-12)


class ShadowFit:
    """The misfit of one occluder's shadows on one receiver as a function of its rise."""

    def __init__(
        self, camera: Camera, lights: Lights, field: Map, receiver: Receiver, base_mm: float,
        upper_seen: bool = False,
    ) -> None:  # fmt: skip
        """`field`: signed distance (px) to the edge that casts the shadow, positive inside."""
        self.camera, self.receiver, self.base_mm = camera, receiver, base_mm
        self.position = np.ascontiguousarray(lights.position_mm)
        self.upper_seen = upper_seen
        K = camera.K
        self.view = View(
            np.column_stack([camera.R, camera.t]),
            np.array([*camera.dist, K[0, 0], K[1, 1], K[0, 1], K[0, 2], K[1, 2]]),
            field,
        )

    def reach(self, rise_mm: float, points_mm: Array) -> Map:
        """(N, n) signed distance in mm of receivers' points in the shadow of an edge that high."""
        out = np.empty((len(self.position), len(points_mm)), np.float32)
        top = self.base_mm + rise_mm
        reaches(points_mm, self.position, top, self.view, self.camera.pixel_mm(top), out)
        return out

    def scan(self, rises: Array, softness_mm: float, count: int = 600) -> Array:
        """Misfit explained per rise and light (R, N), pixels thinned out to `count`."""
        thin = self.receiver.thinned(count)
        each = np.zeros((len(rises), len(self.position)))
        for i, rise in enumerate(rises):
            top = self.base_mm + float(rise)
            explained(
                thin.points_mm, self.position, top, self.view, self.camera.pixel_mm(top),
                thin.observed, thin.weight, softness_mm, each[i],
            )  # fmt: skip
        return each

    def edges(self, rise_mm: float, softness_mm: float, most: int = 60_000) -> Edges | None:
        """The pixel-lights near the edges of shadow that a rise casts; None where there are none.

        A light counts only if its shadow and its lit side both show.
        """
        count = max(300, most // 8)
        thin = self.receiver.thinned(count)
        reach = self.reach(rise_mm, thin.points_mm)
        near = (np.abs(reach) < _BAND_MM + 2.0 * softness_mm) & (thin.weight > 0)
        shadow = (near & (reach > softness_mm)).sum(axis=1)
        lit = (near & (reach < -softness_mm)).sum(axis=1)
        near &= ((shadow > 4) & (lit > 4))[:, None]
        if not near.any():
            return None
        light, at = np.nonzero(near)
        span = min(1.0, 0.4 * rise_mm)
        each = np.empty((4, len(at)), np.float32)
        each[1] = reach[light, at]
        top = self.base_mm + rise_mm
        for k, by, below in ((0, -span, 0.0), (2, span, 0.0), (3, 0.0, 1.0)):
            pair_reaches(
                thin.points_mm, self.position, light, at, top + by, top + by - below, self.view,
                self.camera.pixel_mm(top + by), each[k],
            )  # fmt: skip
        first = np.searchsorted(light, np.arange(len(near) + 1))
        return Edges(
            first, each, span, rise_mm, thin.observed[light, at], thin.weight[light, at],
            self.upper_seen,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Edges:
    """Pixel-lights near an edge of shadow.

    Attributes
    ----------
    first : (N + 1,) where the pixels of each light begin
    reaches : (4, m) mm for an edge at the rise less the span, at it, above it, and at it for a
        border seen 1 mm lower
    upper_seen : the border is that of the upper edge of a chamfer
    """

    first: NDArray[np.int64]
    reaches: Map
    span_mm: float
    rise_mm: float
    observed: Map
    weight: Map
    upper_seen: bool

    def misfit(self) -> Array:
        """(N,) misfit of a constant."""
        count = len(self.first) - 1
        light = np.repeat(np.arange(count), np.diff(self.first))
        w = np.bincount(light, self.weight, count)
        first = np.bincount(light, self.weight * self.observed, count)
        second = np.bincount(light, self.weight * self.observed**2, count)
        return np.asarray(np.maximum(second - first**2 / np.maximum(w, 1e-12), 1e-12))

    def gains(self, rise: float, lateral: float, log_softness: float, chamfer: float) -> Array:
        """(N,) misfit explained."""
        out = np.zeros(len(self.first) - 1)
        edge = np.array([rise - self.rise_mm, abs(chamfer), lateral, np.exp(log_softness)])
        edge_gains(
            self.first, self.reaches, self.span_mm, self.observed, self.weight, self.upper_seen,
            edge, out,
        )  # fmt: skip
        return out


def sectors(position_mm: Array) -> NDArray[np.int64]:
    """(N,) the sector of azimuth that each light (N, 3) stands in, 0 to `SECTORS` - 1."""
    azimuth = np.arctan2(position_mm[:, 1], position_mm[:, 0])
    return np.floor((azimuth + np.pi) / (2 * np.pi) * SECTORS).astype(np.int64) % SECTORS


def _edge_shape(
    cost: Callable[[Array], float], x: Array, step: Array, free: list[int]
) -> tuple[Array, float]:
    """The best edge, and how far its rise depends on the edge's shape, mm (one sigma).

    A sharp edge and one with a chamfer explain nearly the same shadows at rises that differ. Where
    the chamfer explains clearly more it is there; where it does not, the truth lies between.
    `free`: places in x of what is fitted beside the chamfer.
    """
    sharp = descended(cost, np.array([x[0], x[1], x[2], 0.0]), step, free)
    more = [*free, CHAMFER]
    broken = [
        descended(cost, np.array([sharp[0] + 0.5 * c, sharp[1], sharp[2], c]), step, more)
        for c in (0.3, 0.9)
    ]
    best = min(broken, key=cost)
    gain = (cost(sharp) - cost(best)) / max(abs(cost(sharp)), 1e-9)
    sure = float(np.clip((gain - UNSURE_GAIN) / (SURE_GAIN - UNSURE_GAIN), 0.0, 1.0))
    share = 1.0 if cost(best) < cost(sharp) else 0.0
    share *= UNSURE_SHARE + (1.0 - UNSURE_SHARE) * sure
    apart = abs(float(best[0] - sharp[0]))
    return sharp + share * (best - sharp), (UNSURE_SIGMA * (1.0 - 0.7 * sure)) * apart


def measure_rise(
    fit: ShadowFit, rises: Array, softness_mm: float, lateral_sigma_mm: float
) -> Rise | None:
    """The rise that explains the shadows best; None where no shadow tells any.

    Parameters
    ----------
    rises : to begin with; softness_mm : width (one sigma) of the shadow's edge
    lateral_sigma_mm : how far the casting edge may lie beside the region's border; 0: not at all

    Notes
    -----
    The standard error is the scatter over sectors of lights left out in turn (jackknife): it holds
    what the curvature cannot know, such as light from walls and an outline that is off.
    """
    totals = fit.scan(rises, softness_mm).sum(axis=1)
    best = int(totals.argmax())
    if totals[best] <= 0:
        return None
    x = np.array([rises[best], 0.0, np.log(softness_mm), 0.3])
    step = np.array([max(0.03, 0.01 * rises[best]), 0.05, 0.1, 0.1])
    edges: Edges | None = None

    def cost_of(gains: Callable[..., Array], keep: Array) -> Callable[[Array], float]:
        def cost(x: Array) -> float:
            prior = (x[1] / max(lateral_sigma_mm, 1e-9)) ** 2
            prior += ((x[2] - np.log(softness_mm)) / 0.4) ** 2
            prior += (x[3] / _CHAMFER_SIGMA_MM) ** 2
            return float(prior - (gains(*x) * keep).sum())

        return cost

    every, shape_sigma = np.ones(len(fit.position)), 0.0
    free = [RISE, SOFTNESS] if lateral_sigma_mm == 0.0 else [RISE, LATERAL, SOFTNESS]
    for most in (20_000, 60_000):
        edges = fit.edges(float(x[0]), softness_mm, most)
        if edges is None:
            return None
        # Sectors of lights are left out at the same places.
        gains = cache(edges.gains)
        cost = cost_of(gains, every)
        x, shape_sigma = _edge_shape(cost, x, step, free)
        if not 0.05 < x[0] < 1.3 * rises[-1] + 0.2 or abs(x[3]) > 3 * _CHAMFER_SIGMA_MM:
            return None
    assert edges is not None
    tells = gains(*x)
    lights = int(((tells > 12.0) & (tells > LEAST_EXPLAINED * edges.misfit())).sum())
    if lights < LEAST_LIGHTS:
        return None
    sector = sectors(fit.position)
    found, places = [], [*free, CHAMFER]
    for left_out in range(SECTORS):
        keep = (sector != left_out).astype(float)
        if (tells * (1 - keep)).sum() > 1.0:
            left, _ = within(cost_of(gains, keep), x, places)
            found.append(minimum(left, x[places], step[places], rounds=2)[0])
    sigma = 0.5 * float(x[0])
    if len(found) >= 2:
        n = len(found)
        sigma = float(np.sqrt((n - 1) / n * np.square(np.array(found) - np.mean(found)).sum()))
    sigma = float(np.hypot(sigma, shape_sigma))
    return Rise(float(x[0]), sigma, abs(float(x[3])), float(tells.sum()), lights, fit.upper_seen)
