"""What the virtual camera looks at while calibrating: a mirror ball, a white plate, a board.

Each is drawn by formulas (a highlight where the ball mirrors an LED to the camera), so that the
guided routines can be walked through without a rig. Camera and LEDs are those of the virtual rig
that parts are captured on; a calibration only sees pictures.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.board import Board
from calib.camera import Camera
from calib.lights import Lights
from calib.reflection import highlights
from reconstruct.optics.lights import disc_intensity
from rig.simulate import ELECTRONS_PER_US, LED_RADIANCE, LED_RADIUS_MM, dome
from rig.simulate import virtual_camera as rig_camera

Array = NDArray[np.float64]

SIZE = 512  # px, as `rig.simulate.virtual_rig` has it
FULL_SCALE_PER_MS = 400.0  # photo-electrons per pixel and ms that the brightest things give
SPOT_PX, SPOT_REACH_PX = 1.2, 16  # beyond that a spot adds less than rounding
LENS_PX = 0.5  # blur of a board's picture
FINEST_ART = 6  # times 48 pixels for a square of the board's art
REFLECTANCE = 0.8  # of the white plate
# Photo-electrons per µs that the plate gives under an LED of power 1 straight above at 280 mm.
PLATE = (
    ELECTRONS_PER_US * disc_intensity(LED_RADIANCE, LED_RADIUS_MM) * REFLECTANCE / np.pi / 280**2
)


def virtual_camera(size: int | tuple[int, int] = SIZE, seed: int = 0) -> Camera:
    """The virtual rig's camera, the one that also looks at parts; `size` is a side or (H, W)."""
    return rig_camera((size, size) if isinstance(size, int) else size, seed=seed)


def virtual_dome(count: int, seed: int = 0) -> Lights:
    """The virtual rig's LEDs, none quite where it was drawn."""
    return dome(count, seed=seed)[0]


class CalibrationScene:
    """A stage with a mirror ball on white paper, or with a white plate.

    Attributes
    ----------
    shape, led_count : what `capture.world.Scene` asks for
    """

    def __init__(
        self,
        led_count: int,
        radius_mm: float,
        seed: int = 0,
        size: int | tuple[int, int] = SIZE,
    ) -> None:
        self.camera = virtual_camera(size, seed)
        self.shape = self.camera.shape
        self.led_count = led_count
        self.lights = virtual_dome(led_count, seed)
        self.radius_mm = radius_mm
        self.room_light = False
        self.ball_mm: Array | None = None
        points = self.camera.points_at_height(0.0)
        self._points = np.ascontiguousarray(np.moveaxis(points, -1, 0), dtype=np.float32)
        offset = points - self.camera.centre_mm
        self._rays = offset / np.linalg.norm(offset, axis=-1, keepdims=True)
        self._disc = self._covered()

    def show(self, what: Literal["ball", "plate"], x_mm: float = 0.0, y_mm: float = 0.0) -> None:
        """Put the ball at a place on the stage, or the plate in its stead."""
        self.ball_mm = np.array([x_mm, y_mm, self.radius_mm]) if what == "ball" else None
        self._disc = self._covered()

    def _covered(self) -> NDArray[np.float32]:
        """(H, W) how much of each pixel the ball covers."""
        if self.ball_mm is None:
            return np.zeros(self.shape, dtype=np.float32)
        towards = self.ball_mm - self.camera.centre_mm
        distance = float(np.linalg.norm(towards))
        aside = np.linalg.norm(np.cross(self._rays, towards / distance), axis=-1)
        # Rays that graze the ball lie on a cone; how far a pixel lies beside that, in pixels.
        per_pixel = np.hypot(*np.gradient(aside))
        beside = (aside - self.radius_mm / distance) / np.maximum(per_pixel, 1e-12)
        return np.asarray(np.clip(0.5 - beside, 0.0, 1.0), dtype=np.float32)

    def irradiance(self, led: int) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs."""
        k = led - 1
        lamp, axis = (v[k].astype(np.float32) for v in (self.lights.position_mm, self.lights.axis))
        x, y, z = lamp[:, None, None] - self._points
        squared = x * x + y * y + z * z
        facing = -(x * axis[0] + y * axis[1] + z * axis[2])  # times the distance
        strength = np.float32(PLATE * 280**2 * self.lights.power[k])
        image = np.maximum(strength * facing * z / (squared * squared), 0)
        if self.ball_mm is None:
            return np.asarray(image, dtype=np.float32)
        image = 0.1 * image * (1 - 0.97 * self._disc)
        pixel, _, _ = highlights(
            self.camera, self.lights.position_mm[k : k + 1], self.ball_mm[None], self.radius_mm
        )
        reach = np.array([-SPOT_REACH_PX, SPOT_REACH_PX + 1])
        window = (
            slice(*np.clip(np.rint(at) + reach, 0, size).astype(int))
            for at, size in zip(pixel[0, ::-1], self.shape, strict=True)
        )
        about = tuple(window)
        rows, columns = np.ogrid[about]
        distance2 = (columns - pixel[0, 0]) ** 2 + (rows - pixel[0, 1]) ** 2
        peak = 0.8 * FULL_SCALE_PER_MS / 1000 * self.lights.power[k]
        image[about] += peak * np.exp(-0.5 * distance2 / SPOT_PX**2)
        return np.asarray(image, dtype=np.float32)

    def ambient(self) -> NDArray[np.float32]:
        """(H, W) photo-electrons per µs: paper in room light, dark where the ball lies."""
        if not self.room_light:
            return np.zeros(self.shape, dtype=np.float32)
        paper = 0.5 * FULL_SCALE_PER_MS / 1000
        return np.asarray(paper * (1 - 0.7 * self._disc), dtype=np.float32)


class BoardScene:
    """A board in room light, in another pose each time; the last one flat on the stage."""

    led_count = 4096

    def __init__(
        self, board: Board, views: int, seed: int = 0, size: int | tuple[int, int] = SIZE
    ) -> None:
        self.camera = virtual_camera(size, seed)
        self.shape = self.camera.shape
        self._board = board
        self._views = views
        self._seed = seed
        self._image = np.zeros(self.shape, dtype=np.float32)

    def show(self, number: int) -> None:
        """Put the board into its pose of this number, from 0."""
        from scipy.ndimage import map_coordinates  # takes 0.1 s to load, for boards alone

        rng = np.random.default_rng([self._seed, number])
        last = number == self._views - 1
        turn = 2 * np.pi * number / max(1, self._views - 1)
        lean = 0.0 if last else 0.45
        tilt = np.asarray(
            cv2.Rodrigues(lean * np.array([np.cos(turn), np.sin(turn), rng.normal(0, 0.1)]))[0]
        )
        size = np.array([self._board.columns, self._board.rows]) * self._board.square_mm
        shift = np.zeros(2) if last else 22 * np.array([np.cos(2 * turn), np.sin(2 * turn)])
        # Large boards are held farther away, so that much of them is in view.
        distance = 420 * (1.0 if last else max(1.0, float(size.max()) / 130))
        middle = np.array([*(size / 2), 0.0])
        t = np.array([*(shift * distance / 420), distance])
        if last:  # flat on the stage, seen as the rig's camera sees the stage
            tilt, t = self.camera.R @ np.diag([1.0, -1.0, -1.0]), self.camera.t
        t = t - tilt @ middle
        view = Camera(self.shape[1], self.shape[0], self.camera.K, R=tilt, t=t)
        # The art is finer than the picture, or its own pixels would move the edges.
        finer = 2 * self._board.square_mm / view.pixel_mm()
        per_square = 48 * int(np.clip(np.ceil(finer / 48), 1, FINEST_ART))
        art = self._board.draw(per_square)
        art = cv2.copyMakeBorder(
            art, per_square, per_square, per_square, per_square, cv2.BORDER_CONSTANT, value=255
        )
        where = view.points_at_height(0.0) / self._board.square_mm * per_square + per_square - 0.5
        scale = max(0.6, LENS_PX * per_square * view.pixel_mm() / self._board.square_mm)
        smooth = cv2.GaussianBlur(art.astype(np.float32), (0, 0), scale)
        # `cv2.remap` would round where it looks to 1/32 of the art's pixels, which moves edges.
        seen = map_coordinates(
            smooth, [where[..., 1], where[..., 0]], order=1, mode="constant", cval=60.0
        )
        self._image = (seen * (0.8 * FULL_SCALE_PER_MS / 1000 / 255)).astype(np.float32)

    def irradiance(self, led: int) -> NDArray[np.float32]:
        return np.zeros(self.shape, dtype=np.float32)

    def ambient(self) -> NDArray[np.float32]:
        return self._image
