"""The camera as a pinhole with lens distortion, in a world of millimetres."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibrationError
from calib.matrices import refuse_matrices
from intake.errors import told_as
from intake.pictures import MAX_SIDE
from intake.trees import number_of, numbers, read_json, whole

Array = NDArray[np.float64]

# Of a camera that nobody calibrated, where nothing better is known.
SIMPLE_FOCAL_WIDTHS, SIMPLE_FIELD_MM = 4.0, 100.0


def _distorted(points: Array, dist: Array) -> Array:
    """Apply lens distortion to (n, 2) normalised coordinates (Brown 1966, as OpenCV has it).

    Our own: `cv2.projectPoints` also makes derivatives by every parameter, gigabytes of them for
    a picture of five megapixels.
    """
    k1, k2, p1, p2, k3 = dist
    x, y = points[:, 0], points[:, 1]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.column_stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y),
        ]
    )


def _undistorted(distorted: Array, dist: Array, iterations: int = 40) -> Array:
    """Undo lens distortion by fixed-point iteration on (n, 2) normalised coordinates."""
    x = distorted.copy()
    for _ in range(iterations):
        error = _distorted(x, dist) - distorted
        x -= error
        if np.abs(error).max(initial=0.0) < 1e-13:
            break
    return x


def _turn(vector: Array) -> Array:
    """(3, 3) rotation about a vector by its length, rad (Rodrigues' formula)."""
    x, y, z = vector
    angle = max(float(np.linalg.norm(vector)), 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / angle
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


@dataclass(frozen=True, eq=False)
class Camera:
    """Pinhole camera, OpenCV model: ``x_cam = R x_world + t``, K in pixels, centres at integers.

    Attributes
    ----------
    width, height : image size, px
    K : (3, 3) intrinsics, px
    dist : (5,) distortion k1 k2 p1 p2 k3
    R : (3, 3) rotation world to camera
    t : (3,) translation world to camera, mm
    covariance : (15, 15) of the step that `moved` takes, fx fy cx cy k1 k2 p1 p2 k3 and the pose
        (a small turn of the camera's axes, rad; t), or None
    """

    width: int
    height: int
    K: Array
    dist: Array = field(default_factory=lambda: np.zeros(5))
    R: Array = field(default_factory=lambda: np.diag([1.0, -1.0, -1.0]))
    t: Array = field(default_factory=lambda: np.zeros(3))
    covariance: Array | None = None

    @property
    def centre_mm(self) -> Array:
        """(3,) optical centre in the world frame."""
        return np.asarray(-self.R.T @ self.t)

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    def project(self, points_mm: NDArray[Any]) -> Array:
        """Project world points (..., 3) to pixels (..., 2) as (column, row)."""
        points = np.asarray(points_mm, dtype=np.float64)
        seen = points.reshape(-1, 3) @ self.R.T + self.t
        flat = seen[:, :2] / seen[:, 2:]
        if np.any(self.dist):
            flat = _distorted(flat, self.dist)
        pixels = flat @ self.K[:2, :2].T + self.K[:2, 2]
        return np.asarray(pixels).reshape(*points.shape[:-1], 2)

    def rays(self, pixels: NDArray[Any] | None = None) -> Array:
        """Unit viewing directions in the world frame, from `centre_mm` outwards.

        Parameters
        ----------
        pixels : (..., 2) columns and rows; None for the whole image, giving (H, W, 3)
        """
        if pixels is None:
            columns, rows = np.meshgrid(np.arange(self.width), np.arange(self.height))
            pixels = np.stack([columns, rows], axis=-1)
        pixels = np.asarray(pixels, dtype=np.float64)
        flat = pixels.reshape(-1, 1, 2)
        inverse = np.linalg.inv(self.K)
        distorted = (np.hstack([flat.reshape(-1, 2), np.ones((len(flat), 1))]) @ inverse.T)[:, :2]
        normalised = _undistorted(distorted, self.dist) if np.any(self.dist) else distorted
        directions = np.hstack([normalised, np.ones((len(normalised), 1))]) @ self.R
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.asarray(directions).reshape(*pixels.shape[:-1], 3)

    def points_at_height(
        self, height_mm: NDArray[Any] | float, pixels: NDArray[Any] | None = None
    ) -> Array:
        """(..., 3) where the rays of `pixels` (see `rays`) meet a height z in mm, or one each."""
        rays, centre = self.rays(pixels), self.centre_mm
        distance = (np.asarray(height_mm, dtype=np.float64) - centre[2]) / rays[..., 2]
        return np.asarray(centre + rays * distance[..., None])

    def pixel_mm(self, height_mm: float = 0.0) -> float:
        """Size of a pixel on the plane at a height, mm (image centre)."""
        middle = np.array([[(self.width - 1) / 2, (self.height - 1) / 2]])
        at = self.points_at_height(height_mm, np.vstack([middle, middle + np.array([1.0, 0.0])]))
        return float(np.linalg.norm(at[1] - at[0]))

    def cropped(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera of a window of the image."""
        K = self.K.copy()
        K[0, 2] -= x
        K[1, 2] -= y
        return replace(self, width=width, height=height, K=K)

    def moved(self, step: Array) -> Camera:
        """The camera after a small step (15,) of fx fy cx cy k1 k2 p1 p2 k3, turn (rad) and t.

        The turn is that of what it sees, in its own axes: ``R' = exp([turn]×) R``.
        """
        K = self.K.copy()
        K[0, 0] += step[0]
        K[1, 1] += step[1]
        K[:2, 2] += step[2:4]
        R = _turn(step[9:12]) @ self.R
        return replace(self, K=K, dist=self.dist + step[4:9], R=R, t=self.t + step[12:])

    def _scaled(self, factor: float) -> Array | None:
        """The covariance with pixels so many times larger."""
        if self.covariance is None:
            return None
        scale = np.ones(15)
        scale[:4] = 1 / factor
        return np.asarray(self.covariance * scale[:, None] * scale)

    def binned(self, factor: int) -> Camera:
        """The camera of an image averaged over factor × factor pixels."""
        K = self.K.copy()
        K[:2] /= factor
        K[0, 2] = (self.K[0, 2] + 0.5) / factor - 0.5
        K[1, 2] = (self.K[1, 2] + 0.5) / factor - 0.5
        return replace(
            self, width=self.width // factor, height=self.height // factor, K=K,
            covariance=self._scaled(factor),
        )  # fmt: skip

    def subdivided(self, times: int) -> Camera:
        """The camera of an image with each pixel divided into times × times; undoes `binned`."""
        K = self.K.copy()
        K[:2] *= times
        K[0, 2] = (self.K[0, 2] + 0.5) * times - 0.5
        K[1, 2] = (self.K[1, 2] + 0.5) * times - 0.5
        return replace(
            self, width=self.width * times, height=self.height * times, K=K,
            covariance=self._scaled(1 / times),
        )  # fmt: skip

    @staticmethod
    def straight_down(
        shape: tuple[int, int], field_mm: float | None = None, focal_px: float | None = None
    ) -> Camera:
        """A pinhole over the origin that looks straight down, of little that is known.

        Parameters
        ----------
        shape : (H, W) of its pictures
        field_mm : width of what a picture shows on the stage; 100 mm where only the focal length
            is known, so that heights keep their shape and not their scale
        focal_px : focal length; four widths of the picture where only the field is known

        Raises
        ------
        CalibrationError
            for a width or a focal length that is no number above 0
        """
        for what, value in (("field_mm", field_mm), ("focal_px", focal_px)):
            if value is not None and not 0 < value < 1e6:
                raise CalibrationError(f"{what} is {value:g}: expected a number above 0")
        height, width = shape
        focal = focal_px or SIMPLE_FOCAL_WIDTHS * width
        distance = (field_mm or SIMPLE_FIELD_MM) * focal / width
        K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
        return Camera(width, height, K, t=np.array([0.0, 0.0, distance]))

    # files -----------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "format": "rig-camera/1",
            "width": self.width,
            "height": self.height,
            "K": self.K.tolist(),
            "dist": self.dist.tolist(),
            "R_world_to_camera": self.R.tolist(),
            "t_world_to_camera": self.t.tolist(),
            "units": "mm",
        }
        if self.covariance is not None:
            data["covariance"] = self.covariance.tolist()
        return data

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    @told_as(CalibrationError)
    def from_json(data: Any, source: str = "camera.json") -> Camera:
        """What `to_json` wrote; `source` names it in messages. Raises `CalibrationError`."""
        if not isinstance(data, dict):
            raise CalibrationError(f"{source} holds no camera: expected an object with width, K …")
        if data.get("units", "mm") != "mm":
            raise CalibrationError(f"{source} is in '{data['units']}', expected mm")
        for key in ("width", "height", "K", "R_world_to_camera", "t_world_to_camera"):
            if key not in data:
                raise CalibrationError(f"{source} lacks '{key}'")
        dist = np.zeros(5)
        terms = data.get("dist") or []
        given = numbers(terms, (number_of(terms),), f"{source}: dist")
        if np.any(given[5:]):
            raise CalibrationError(f"{source} has more than five distortion terms")
        dist[: min(5, given.size)] = given[:5]
        K = numbers(data["K"], (3, 3), f"{source}: K")
        R = numbers(data["R_world_to_camera"], (3, 3), f"{source}: R_world_to_camera")
        width = whole(data["width"], f"{source}: width", 1, MAX_SIDE)
        height = whole(data["height"], f"{source}: height", 1, MAX_SIDE)
        refuse_matrices(K, R, width, height, source)
        covariance = data.get("covariance")
        if covariance is not None:
            covariance = numbers(covariance, (15, 15), f"{source}: covariance")
        return Camera(
            width=width,
            height=height,
            K=K,
            dist=dist,
            R=R,
            t=numbers(data["t_world_to_camera"], (3,), f"{source}: t_world_to_camera"),
            covariance=covariance,
        )

    @staticmethod
    @told_as(CalibrationError)
    def read(path: Path) -> Camera:
        """Read a ``camera.json``; raises `CalibrationError` naming what is wrong."""
        return Camera.from_json(read_json(path), str(path))
