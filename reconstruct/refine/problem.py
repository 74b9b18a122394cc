"""One level of the fit: pictures, geometry and lights, ready to be evaluated at a surface."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.integrate import height_of, image_coordinates, normals_of, slopes
from reconstruct.linear import corner_gradient
from reconstruct.optics.microfacet import DISTRIBUTIONS
from reconstruct.refine import kernel, pixel
from reconstruct.refine.data import Pictures
from reconstruct.refine.inputs import Finish, Level, Robust

Array = NDArray[np.float64]
Band = tuple[int, int]  # first row, and the one after the last
T = TypeVar("T")

# Traced light is this far off: the tracer's noise, the part beyond the picture, and the surface,
# which moves on while the light is held. Of averaged pixels the model is not better than the floor.
INDIRECT_ERROR, NOISE_FLOOR = 0.2, 0.004
TYPICAL_REFLECTANCE = 0.65
# From more pixels on a problem is large: what takes long for each of them is left out.
LARGE_PIXELS = 1 << 18
# Up to so many pixel-lights, starting threads takes as long as what they would do.
ONE_THREAD = 1 << 19
BANDS, BAND_ROWS = 16, 16  # of rows that threads share out: so many at most, and their least height


@dataclass(frozen=True)
class Material:
    """Global reflectance; radiance is in units of the pictures' reference.

    Attributes
    ----------
    model : "ggx" or "beckmann"
    alpha_x, alpha_y : microfacet widths along and across the marks; of equal ones the kernels give
        what both together change in place of what the first one does, and 0 for the second one
    ks : level of the specular part, F0 in it
    g : Schlick's rise at grazing incidence, (1 − F0) / F0
    kd : diffuse reflectance
    offset : light that no LED accounts for
    brush : kind (0 straight, 1 circles), angle in rad or centre x, y in mm
    anisotropic : the widths are fitted apart; else they are equal, and stay so
    """

    model: str = "ggx"
    alpha_x: float = 0.2
    alpha_y: float = 0.2
    ks: float = 1.0
    g: float = 0.3
    kd: float = 0.0
    offset: float = 0.0
    brush: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    anisotropic: bool = False

    def vector(self) -> Array:
        """The entries of `pixel.MATERIAL`."""
        return np.array(
            [
                np.log(self.alpha_x), np.log(self.alpha_y), np.log(self.ks),
                self.g, self.kd, self.offset,
            ]
        )  # fmt: skip

    def moved(self, step: Array) -> Material:
        """The material after a step of its vector, held within physical bounds."""
        low = np.array([np.log(0.01), np.log(0.01), np.log(1e-8), 0.0, 0.0, -0.02])
        high = np.array([np.log(1.0), np.log(1.0), np.log(1e8), 20.0, 1e6, 0.05])
        bound = np.array([0.5, 0.5, 1.5, 1.0, np.inf, 0.02])
        step = np.clip(step, -bound, bound)
        v = np.clip(self.vector() + step, low, high)
        return replace(
            self, alpha_x=float(np.exp(v[0])), alpha_y=float(np.exp(v[1])),
            ks=float(np.exp(v[2])), g=float(v[3]), kd=float(v[4]), offset=float(v[5]),
        )  # fmt: skip


@dataclass(frozen=True)
class Loss:
    """Robust loss of √-residuals: "huber" or "geman" with its width."""

    kind: str = "huber"
    width: float = 0.02

    def weight(self, residual: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a squared residual weighs in a step."""
        if self.kind == "huber":
            return np.minimum(1, self.width / np.maximum(np.abs(residual), 1e-9))
        return 1 / np.square(1 + np.square(residual / self.width))

    @property
    def code(self) -> int:
        return pixel.HUBER if self.kind == "huber" else pixel.GEMAN_MCCLURE


def finish_of(material: Material) -> Finish:
    """A material as the kernels read it."""
    vector = material.vector().astype(np.float32)
    return Finish(vector, DISTRIBUTIONS[material.model], np.asarray(material.brush, np.float64))


def unseen() -> None:
    """Nobody looks whether to stop."""


@dataclass(eq=False)
class System:
    """What one evaluation gives: loss per pixel, gradient, Gauss-Newton matrix, material."""

    loss: NDArray[np.float32]
    sums: NDArray[np.float32]
    cross: NDArray[np.float32] | None
    material_gradient: Array
    material_matrix: Array
    elsewhere: float = 0.0

    @property
    def cost(self) -> float:
        """The whole loss, and what a step changes of it elsewhere."""
        return float(self.loss.sum(dtype=np.float64)) + self.elsewhere


@dataclass(eq=False)
class Problem:
    """Everything fixed while the surface and material move.

    Attributes
    ----------
    weight : (H, W) float32, 0 outside the mask
    flat : (gh, gw, N) factors on the irradiance, whose cells tile the picture; (1, 1, N) for none
    traced : (gh, gw, N) inter-reflected radiance, one cell per `indirect_step` px, (1, 1, N) for
        none; or (H, W, 3 N + 2): it, its derivatives by the slopes p and q, and the slopes at which
        it holds
    local : (3, H, W) per-pixel ln(ks), kd and ln(α), added to the material's; (3, 1, 1) for none
    mirroring : learned factor on the metal's reflectance, for light between its places
    finer : places that a pixel's side is divided into where that light is traced
    surroundings : of the last surface that light was traced on; see `transport.surroundings`
    hold : (3, H, W) slopes p and q and the weight with which they are held there; see `holding`
    mirrored : (7, H, W) slopes p and q, and the derivatives of the loss of places that mirror a
        place by them: by p, by q, and the matrix pp, pq, qq; see `transport.update_mirrored`
    look : called before each step; it may raise `Stopped`
    """

    camera: Camera
    lights: Lights
    pictures: Pictures
    weight: NDArray[np.float32]
    flat: NDArray[np.float32]
    traced: NDArray[np.float32] = field(init=False)
    indirect_step: float = 1.0
    local: NDArray[np.float32] = field(init=False)
    mirroring: float = 1.0
    finer: int = 1
    surroundings: object = None
    hold: Array | None = None
    mirrored: Array | None = None
    threads: int = 0
    look: Callable[[], None] = unseen

    def __post_init__(self) -> None:
        self.xy, self.jacobians = image_coordinates(self.camera)
        self.traced = np.zeros((1, 1, len(self.pictures)), np.float32)
        self.local = np.zeros((3, 1, 1), np.float32)
        self.threads = self.threads or os.cpu_count() or 1

    @property
    def table(self) -> NDArray[np.float32]:
        """(8, N) the lights as the kernels read them.

        Strength is in units that make kd a reflectance if the lights' intensity is known, else
        relative to 1e5 mm², a working distance squared.
        """
        lights = self.lights
        intensity = lights.intensity / self.pictures.reference if lights.intensity else 1e5
        strength = intensity * lights.power
        return np.ascontiguousarray(
            np.column_stack([lights.position_mm, lights.axis, strength, lights.lobe]).T, np.float32
        )

    @property
    def indirect(self) -> NDArray[np.float32]:
        """(gh, gw, N) inter-reflected radiance alone."""
        return self.traced[..., : len(self.pictures)]

    @property
    def shape(self) -> tuple[int, int]:
        return self.pictures.shape

    @property
    def large(self) -> bool:
        """Whether there are too many pixels for what takes long for each of them."""
        return self.weight.size > LARGE_PIXELS

    @property
    def doubt(self) -> float:
        """See `pixel.pixel_rows`."""
        return INDIRECT_ERROR / (2 * max(self.pictures.noise, NOISE_FLOOR))

    @property
    def count(self) -> float:
        """Pixel-lights that count."""
        return float(self.weight.sum(dtype=np.float64)) * len(self.pictures)

    def level(self) -> Level:
        """What the kernels read."""
        pictures, camera = self.pictures, self.camera
        return Level(
            self.xy, self.jacobians, np.ascontiguousarray(camera.R.T), camera.centre_mm, self.table,
            self.flat, self.traced, float(self.indirect_step), pictures.code,
            float(pictures.scale), float(pictures.epsilon), self.weight, float(self.doubt),
            self.local,
        )  # fmt: skip

    def of_lights(self, lights: NDArray[np.intp]) -> Level:
        """What the kernels read of some lights alone."""
        level, count = self.level(), len(self.pictures)
        traced = lights
        if self.traced.shape[-1] > count:  # with its derivatives, and the slopes at which it holds
            rest = [3 * count, 3 * count + 1]
            traced = np.concatenate([lights, count + lights, 2 * count + lights, rest])
        return level._replace(
            lights=level.lights.take(lights, -1), flat=level.flat.take(lights, -1),
            traced=level.traced.take(traced, -1), code=level.code.take(lights, -1),
        )  # fmt: skip

    def inputs(self, material: Material, loss: Loss) -> tuple[Level, Finish, Robust]:
        """What the kernels read to fit a material."""
        return self.level(), finish_of(material), Robust(loss.code, loss.width)

    def mapped(self, run: Callable[[Band], T], bands: Sequence[Band]) -> list[T]:
        """What a function gives for bands of rows, by threads where these are worth starting."""
        if self.threads == 1 or self.weight.size * len(self.pictures) <= ONE_THREAD:
            return [run(band) for band in bands]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(run, bands))

    def bands(self) -> list[Band]:
        """Bands of rows: the same however many threads there are, so that sums are too."""
        height = self.shape[0]
        pieces = int(np.clip(height // BAND_ROWS, 1, BANDS))
        edges = np.linspace(0, height, pieces + 1).astype(int)
        return [(int(a), int(b)) for a, b in pairwise(edges) if b > a]

    def evaluate(
        self, u: Array, material: Material, loss: Loss, with_material: bool = True
    ) -> System:
        """Loss, gradient and Gauss-Newton products at log-depth `u` (H+1, W+1)."""
        height, width = self.shape
        k = pixel.N_MATERIAL
        sums = np.empty((pixel.N_SUMS, height, width), np.float32)
        shape = (3, k, height, width) if with_material else (3, k, 1, 1)
        cross = np.empty(shape, np.float32)
        per_pixel = np.empty((height, width), np.float32)
        given = self.inputs(material, loss)

        def rows(band: Band) -> Array:
            return kernel.system_rows(band, u, *given, sums, cross, per_pixel, with_material)

        total = np.sum(self.mapped(rows, self.bands()), axis=0)
        gradient, matrix = total[:k], total[k:].reshape(k, k)
        if self.hold is not None:
            weight = self.hold[2]
            off = np.stack(slopes(u, self.jacobians)) - self.hold[:2]
            per_pixel += weight * np.square(off).sum(axis=0)
            sums[1:3] += weight * off
            sums[[6, 8]] += weight
        elsewhere = 0.0
        if self.mirrored is not None:
            p, q = np.stack(slopes(u, self.jacobians)) - self.mirrored[:2]
            by_p, by_q, pp, pq, qq = self.mirrored[2:]
            more_p, more_q = pp * p + pq * q, pq * p + qq * q
            elsewhere = float((p * (2 * by_p + more_p) + q * (2 * by_q + more_q)).sum())
            sums[1] += by_p + more_p
            sums[2] += by_q + more_q
            sums[6:9] += self.mirrored[4:]
        return System(
            per_pixel, sums, cross if with_material else None, gradient, matrix, elsewhere
        )

    @contextmanager
    def holding(self, u: Array, weight: float) -> Iterator[None]:
        """Hold the slopes of a surface with a weight.

        A share of that which pictures give on average is hardly felt by what they show well; what
        they do not show stays where it is.
        """
        self.hold = np.stack([*slopes(u, self.jacobians), weight * self.weight])
        try:
            yield
        finally:
            self.hold = None

    @contextmanager
    def counting(self, where: NDArray[np.bool_]) -> Iterator[None]:
        """Only some pixels of the problem count meanwhile, told for each, or (H, 1) for rows."""
        whole, self.weight = self.weight, self.weight * where
        try:
            yield
        finally:
            self.weight = whole

    @contextmanager
    def sampled(self, side: int) -> Iterator[None]:
        """Only about side × side pixels of the problem count meanwhile."""
        step = max(1, max(self.shape) // side)
        thin = np.zeros(self.shape, bool)
        thin[step // 2 :: step, step // 2 :: step] = True
        if not self.weight[thin].any():
            thin[:] = True
        with self.counting(thin):
            yield

    def render_rows(
        self, u: Array, material: Material, first: int, last: int
    ) -> NDArray[np.float32]:
        """(last − first, W, N) radiance of the model, in units of the pictures' reference."""
        out = np.empty((last - first, self.shape[1], len(self.pictures)), np.float32)
        kernel.render_rows((first, last), u, self.level(), finish_of(material), out)
        return out

    def own_light(self, u: Array, material: Material, step: int = 1) -> NDArray[np.float32]:
        """(h, w, N) the same of every so many-th pixel, without what comes by other places."""
        some, count = slice(step // 2, None, step), len(self.pictures)
        weight = np.zeros_like(self.weight)
        weight[some, some] = self.weight[some, some]
        none = np.zeros((1, 1, count), np.float32)
        level = self.level()._replace(weight=weight, traced=none)
        finish = finish_of(material)
        own = np.empty((*weight[some, some].shape, count), np.float32)
        row = np.empty((1, self.shape[1], count), np.float32)
        for out, r in zip(own, range(self.shape[0])[some], strict=True):
            kernel.render_rows((r, r + 1), u, level, finish, row)
            out[:] = row[0, some]
        return own

    def gradient(self, sums: NDArray[np.float32]) -> Array:
        """(H+1, W+1) Aᵀ applied to per-pixel triples (3, H, W)."""
        height, width = self.shape
        out = np.zeros((height + 1, width + 1))
        corner_gradient(np.ascontiguousarray(sums[:3]), self.jacobians, out)
        return out

    def height_mm(self, u: Array) -> Array:
        """(H, W) world z of each pixel's point."""
        return height_of(u, self.camera, self.xy)

    def normals(self, u: Array) -> Array:
        """(H, W, 3) unit normals in the world frame."""
        return normals_of(u, self.camera, self.xy, self.jacobians)
