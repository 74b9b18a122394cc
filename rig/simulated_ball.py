"""A mirror ball on white paper under the virtual rig, in closed form.

The reflection of each LED in the ball is found exactly and drawn as a blurred spot that holds the
right amount of light, so that its centre is true to a thousandth of a pixel.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc"

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtr

from reconstruct.optics.lights import disc_points
from rig.simulate import ELECTRONS_PER_US, LED_RADIANCE, LENS_BLUR_PX, VirtualRig

Map = NDArray[np.float32]
_ALBEDO = 0.8
_SUPERSAMPLE = 2


def ball_poses(
    count: int = 6, radius_mm: float = 12.7, reach_mm: float = 32.0, seed: int = 0
) -> NDArray[np.float64]:
    """(count, 3) centres of a ball laid on the stage, spread over it."""
    rng = np.random.default_rng(seed)
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count) + rng.uniform(0, 2 * np.pi)
    r = reach_mm * np.sqrt((np.arange(count) + 0.5) / count) * rng.uniform(0.9, 1.1, count)
    return np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(count, radius_mm)])


def mirror_points(
    centre_mm: NDArray[Any], radius_mm: float, eye_mm: NDArray[Any], lamps_mm: NDArray[Any]
) -> NDArray[np.float64]:
    """(n, 3) points of a sphere where an eye sees lamps (n, 3) mirrored (Alhazen's problem).

    Fixed point of "the normal halves the angle between eye and lamp"; it converges as fast as
    radius over distance is small.
    """
    lamps = np.asarray(lamps_mm, dtype=np.float64)
    normal = np.tile([0.0, 0.0, 1.0], (len(lamps), 1))
    for _ in range(60):
        at = centre_mm + radius_mm * normal
        to_lamp, to_eye = lamps - at, eye_mm - at
        to_lamp /= np.linalg.norm(to_lamp, axis=1, keepdims=True)
        to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True)
        new = to_lamp + to_eye
        new /= np.linalg.norm(new, axis=1, keepdims=True)
        change = np.abs(new - normal).max()
        normal = new
        if change < 1e-13:
            break
    return np.asarray(centre_mm + radius_mm * normal)


class _Lamp(NamedTuple):
    place: NDArray[np.float64]
    axis: NDArray[np.float64]
    lobe: float
    strength: float
    radius: float


class _Ball(NamedTuple):
    centre: NDArray[np.float64]
    radius: float
    mirror: float


@njit(cache=True, nogil=True, fastmath=True)
def _paper_radiance(paper, to_paper, on_ball, lamp, ball, out):
    """Radiance of the paper that each ray ends on, under one LED.

    The paper sees the LED past the ball; its penumbra is a disc's.
    """
    place, axis, lobe, strength, led_radius = lamp
    centre, radius, mirror = ball
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            out[row, column] = 0.0
            if not to_paper[row, column]:
                continue
            x = place[0] - paper[row, column, 0]
            y = place[1] - paper[row, column, 1]
            z = place[2] - paper[row, column, 2]
            d2 = x * x + y * y + z * z
            d = np.sqrt(d2)
            psi = -(x * axis[0] + y * axis[1] + z * axis[2]) / d
            if psi <= 0.0 or z <= 0.0:
                continue
            bx = centre[0] - paper[row, column, 0]
            by = centre[1] - paper[row, column, 1]
            bz = centre[2] - paper[row, column, 2]
            along = (bx * x + by * y + bz * z) / d
            lit = 1.0
            if along > 0.0:
                miss = np.sqrt(max(bx * bx + by * by + bz * bz - along * along, 0.0))
                width = max(led_radius * along / d, 1e-3)
                lit = min(max(0.5 + 0.5 * (miss - radius) / width, 0.0), 1.0)
            light = strength * psi**lobe / d2 * z / d * lit
            out[row, column] = light * mirror if on_ball[row, column] else light


class BallScene:
    """Mirror ball on paper at z = 0.

    Parameters
    ----------
    centre_mm : (3,) the ball's centre; it lies on the paper if its z is the radius
    reflectance : of the ball
    ambient_e : room light on the paper, photo-electrons per µs; with the LEDs off it shows the
        ball's outline
    """

    def __init__(
        self,
        rig: VirtualRig,
        centre_mm: NDArray[Any],
        radius_mm: float = 12.7,
        reflectance: float = 0.66,
        blur_px: float = LENS_BLUR_PX,
        ambient_e: float = 0.05,
        electrons_per_us: float = ELECTRONS_PER_US,
    ) -> None:
        self.rig = rig
        self.centre_mm = np.asarray(centre_mm, dtype=np.float64)
        self.radius_mm = radius_mm
        self.shape = rig.camera.shape
        self.led_count = len(rig.lights)
        self._reflectance = reflectance
        self._blur_px = blur_px
        self._ambient_e = ambient_e
        self._gain = electrons_per_us
        self._geometry()
        self._picture = cache(self._rendered)

    def _geometry(self) -> None:
        """Where each sub-pixel's ray ends on the paper, directly or by way of the ball."""
        fine = self.rig.camera.subdivided(_SUPERSAMPLE)
        rays, eye = fine.rays(), fine.centre_mm
        to_centre = eye - self.centre_mm
        b = rays @ to_centre
        root = b * b - (to_centre @ to_centre - self.radius_mm**2)
        self._on_ball = root > 0
        hit = eye + rays * (-b - np.sqrt(np.maximum(root, 0.0)))[..., None]
        normal = (hit - self.centre_mm) / self.radius_mm
        mirrored = rays - 2 * (rays * normal).sum(-1, keepdims=True) * normal
        origin = np.where(self._on_ball[..., None], hit, eye)
        direction = np.where(self._on_ball[..., None], mirrored, rays)
        self._to_paper = direction[..., 2] < -1e-4
        length = np.where(self._to_paper, -origin[..., 2] / np.minimum(direction[..., 2], -1e-4), 0)
        paper = origin + direction * length[..., None]
        self._to_paper &= np.hypot(paper[..., 0], paper[..., 1]) < 150.0  # a sheet has an end
        self._paper = paper.astype(np.float32)
        self._elevation = direction[..., 2].astype(np.float32)

    def irradiance(self, led: int) -> Map:
        """(H, W) photo-electrons per µs that LED `led` (from 1) at level 1 makes."""
        if not 1 <= led <= self.led_count:
            return np.zeros(self.shape, np.float32)
        return np.asarray(self._picture(led))

    def _rendered(self, led: int) -> Map:
        lights = self.rig.lights
        power = float(lights.power[led - 1]) * float(lights.intensity or 1.0)
        radiance = np.empty(self._to_paper.shape, np.float32)
        _paper_radiance(
            self._paper,
            self._to_paper,
            self._on_ball,
            _Lamp(
                lights.position_mm[led - 1],
                lights.axis[led - 1],
                float(lights.lobe[led - 1]),
                power * _ALBEDO / np.pi,
                self.rig.led_radius_mm,
            ),
            _Ball(self.centre_mm, self.radius_mm, self._reflectance),
            radiance,
        )
        image = self._reduced(radiance)
        if self._blur_px > 0:
            image = cv2.GaussianBlur(image, (0, 0), self._blur_px)
        image = image + self._highlight(led)
        return np.asarray(image * self._gain, dtype=np.float32)

    def _reduced(self, fine: NDArray[Any]) -> Map:
        height, width = self.shape
        blocks = fine.reshape(height, _SUPERSAMPLE, width, _SUPERSAMPLE)
        return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)

    def highlight_px(self, led: int) -> NDArray[np.float64]:
        """(2,) column and row where the camera sees the LED's centre in the ball."""
        camera = self.rig.camera
        lamp = self.rig.lights.position_mm[led - 1 : led]
        at = mirror_points(self.centre_mm, self.radius_mm, camera.centre_mm, lamp)
        return np.asarray(camera.project(at)[0])

    def _highlight(self, led: int, count: int = 19) -> Map:
        """The mirrored LED: spots of the right total light, blurred by lens and pixel."""
        camera, lights = self.rig.camera, self.rig.lights
        place, axis = lights.position_mm[led - 1], lights.axis[led - 1]
        u = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.9 else [0.0, 1.0, 0.0])
        u /= np.linalg.norm(u)
        v = np.cross(axis, u)
        radius = self.rig.led_radius_mm
        spots = disc_points(radius, count)
        step = 0.5 * radius
        probe = np.array([[step, 0], [-step, 0], [0, step], [0, -step]])
        offsets = np.vstack([spots, probe])
        lamps = place + offsets[:, :1] * u + offsets[:, 1:] * v
        at = mirror_points(self.centre_mm, self.radius_mm, camera.centre_mm, lamps)
        pixels = camera.project(at)
        across = (pixels[count] - pixels[count + 1]) / (2 * step)
        along = (pixels[count + 2] - pixels[count + 3]) / (2 * step)
        # A mirror keeps radiance: light = radiance × the area of the image, in pixels.
        area = abs(across[0] * along[1] - across[1] * along[0]) * np.pi * radius**2
        image = np.zeros(self.shape, np.float32)
        strength = self._reflectance * LED_RADIANCE * float(lights.power[led - 1]) * area / count
        sigma = max(self._blur_px, 0.15)
        height, width = self.shape
        margin = int(np.ceil(6 * sigma)) + 1
        for column, row in pixels[:count]:
            left, top = max(int(column) - margin, 0), max(int(row) - margin, 0)
            right, bottom = min(int(column) + margin + 2, width), min(int(row) + margin + 2, height)
            if left >= right or top >= bottom:
                continue
            # Gaussian integrated over the pixels: lens and pixel at once.
            edges = (np.arange(left, right + 1) - 0.5 - column) / sigma
            weight_x = np.diff(ndtr(edges))
            weight_y = np.diff(ndtr((np.arange(top, bottom + 1) - 0.5 - row) / sigma))
            image[top:bottom, left:right] += strength * np.outer(weight_y, weight_x)
        return image

    def ambient(self) -> Map:
        """(H, W) photo-electrons per µs of room light: paper, the ball's soft shadow on it, and
        the dim ceiling in the ball."""
        s2 = ((self._paper[..., :2] - self.centre_mm[:2].astype(np.float32)) ** 2).sum(-1)
        r = self.radius_mm
        # Form factor of a sphere over a plane element: what it hides of an even sky.
        hidden = r**2 * self.centre_mm[2] / (s2 + self.centre_mm[2] ** 2) ** 1.5
        paper = np.clip(1.0 - hidden, 0.0, 1.0) * self._to_paper
        ceiling = 0.25 + 0.2 * np.clip(self._elevation, 0.0, 1.0)
        mirrored = self._reflectance * np.where(self._to_paper, paper, ceiling)
        image = self._reduced(np.where(self._on_ball, mirrored, paper) * self._ambient_e)
        if self._blur_px > 0:
            image = cv2.GaussianBlur(image, (0, 0), self._blur_px)
        return np.asarray(image, dtype=np.float32)


def ball_scenes(
    rig: VirtualRig, count: int = 6, radius_mm: float = 12.7, seed: int = 0
) -> list[BallScene]:
    """The poses of a calibration, one scene each."""
    return [BallScene(rig, centre, radius_mm) for centre in ball_poses(count, radius_mm, seed=seed)]
