"""Views: a mirror sphere in one place, with the highlights of every light in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calib.blobs import Blob, find_blobs
from calib.camera import Camera
from calib.errors import CalibrationError, NoSphereError
from calib.reflection import reflected_ray
from calib.sphere import Sphere, find_spheres, outline

Array = NDArray[np.float64]

RIM = 0.985
DARK_OUTLINE = 0.75
"""Share of an outline that must show where it is taken from pictures without room light."""
WORKERS = 2


class Pictures(Protocol):
    """One picture per light; `calib.pictures.PictureSet` is one, a recording can be another."""

    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def ambient(self) -> NDArray[np.float32] | None: ...
    def __len__(self) -> int: ...
    def name(self, index: int) -> str: ...
    def read(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]: ...


@dataclass(frozen=True, eq=False)
class SphereView:
    """A sphere in one place and what was seen in it.

    Attributes
    ----------
    name : of the pose, such as ``pose_3`` or ``pose_3 sphere 2``
    sphere : its outline and centre
    blobs : candidates for the highlight of each LED id, the strongest first
    """

    name: str
    sphere: Sphere
    blobs: dict[int, tuple[Blob, ...]]

    def shifted(self, x: float, y: float) -> SphereView:
        """The view with its pixels moved: a crop's put back into the whole picture."""
        moved = {
            k: tuple(replace(b, x=b.x + x, y=b.y + y) for b in blobs)
            for k, blobs in self.blobs.items()
        }
        edges = self.sphere.edges + np.array([x, y])
        return replace(self, sphere=replace(self.sphere, edges=edges), blobs=moved)


def outline_picture(pictures: Pictures) -> NDArray[np.float32]:
    """The picture to see outlines in: in room light, else the brightest over some lights."""
    ambient = pictures.ambient
    if ambient is not None:
        return ambient
    chosen = range(0, len(pictures), max(1, len(pictures) // 24))
    brightest: NDArray[np.float32] | None = None
    for index in chosen:
        image, _ = pictures.read(index)
        brightest = image if brightest is None else np.maximum(brightest, image)
    assert brightest is not None
    return brightest


def _window(camera: Camera, sphere: Sphere, radius_mm: float) -> tuple[int, int, int, int]:
    ring = outline(camera, sphere.centre_mm, radius_mm, np.linspace(0, 2 * np.pi, 64))
    low = np.maximum(np.floor(ring.min(axis=0)).astype(int) - 3, 0)
    high = np.ceil(ring.max(axis=0)).astype(int) + 4
    return (
        int(low[0]),
        int(low[1]),
        int(min(high[0], camera.width)),
        int(min(high[1], camera.height)),
    )


def _inside(
    camera: Camera, sphere: Sphere, radius_mm: float, window: tuple[int, int, int, int]
) -> NDArray[np.bool_]:
    left, top, right, bottom = window
    columns, rows = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    rays = camera.rays(np.stack([columns, rows], axis=-1))
    towards = sphere.centre_mm - camera.centre_mm
    distance = float(np.linalg.norm(towards))
    sine = np.linalg.norm(np.cross(rays, towards / distance), axis=-1)
    return np.asarray(sine < RIM * radius_mm / distance)


def where_balls_can_be(
    spheres: list[Sphere], camera: Camera, radius_mm: float, name: str, count: int | None
) -> list[Sphere]:
    """The spheres without coins and lids: round things of another size seem to lie elsewhere.

    Left out is what would lie a diameter or more below the stage, or higher than half way up to
    the camera. If that leaves none, or fewer than there ought to be, it is more likely that the
    diameter is wrong. Cameras whose height above the stage is not known are not asked.
    """
    eye = float(camera.centre_mm[2])
    if eye <= 0:
        return spheres
    good = [s for s in spheres if -3 * radius_mm <= s.centre_mm[2] <= eye / 2]
    if len(good) < (count or 1):
        height = next(float(s.centre_mm[2]) for s in spheres if s not in good)
        where = f"{abs(height):.0f} mm {'above' if height > 0 else 'below'} the stage"
        raise NoSphereError(
            f"{name}: a ball of {2 * radius_mm:g} mm would lie {where} to look this big: is its "
            "diameter right, and does camera.json belong to these pictures of a ball?"
        )
    return good


def measure_views(
    pictures: Pictures,
    camera: Camera,
    radius_mm: float,
    *,
    name: str = "pose",
    spheres: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[SphereView]:
    """Find the spheres of a pose, and in each the highlight candidates of every light.

    Parameters
    ----------
    spheres : how many there are, if that is known
    progress : called with the number of pictures done
    """
    picture = outline_picture(pictures)
    try:
        found = find_spheres(picture, camera, radius_mm, count=spheres)
    except NoSphereError as error:
        raise NoSphereError(f"{name}: {error}") from error
    found = where_balls_can_be(found, camera, radius_mm, name, spheres)
    seen = min(sphere.coverage for sphere in found)
    if pictures.ambient is None and seen < DARK_OUTLINE:
        raise NoSphereError(
            f"{name}: there is no picture in room light, and in the dark ones only "
            f"{100 * seen:.0f} % of an outline shows, which may be no ball's: add ambient.png "
            "(LEDs off, room light on) or a mask of the ball, mask.png"
        )
    windows = [_window(camera, sphere, radius_mm) for sphere in found]
    stacks = [
        np.empty((len(pictures), bottom - top, right - left), dtype=np.float32)
        for left, top, right, bottom in windows
    ]
    masks = [np.zeros(stack.shape, dtype=bool) for stack in stacks]

    def read(index: int) -> int:
        image, clipped = pictures.read(index)
        if image.shape != camera.shape:
            raise CalibrationError(
                f"{pictures.name(index)} has {image.shape[1]} × {image.shape[0]} pixels, the "
                f"camera {camera.width} × {camera.height}"
            )
        for (left, top, right, bottom), stack, mask in zip(windows, stacks, masks, strict=True):
            stack[index] = image[top:bottom, left:right]
            mask[index] = clipped[top:bottom, left:right]
        return index

    with ThreadPoolExecutor(WORKERS) as pool:
        for done, _ in enumerate(pool.map(read, range(len(pictures))), start=1):
            if progress is not None:
                progress(done)
    return [
        SphereView(
            name if len(found) == 1 else f"{name} sphere {place}",
            sphere,
            dict(_blobs(pictures, stack, mask, window, _inside(camera, sphere, radius_mm, window))),
        )
        for place, (sphere, window, stack, mask) in enumerate(
            zip(found, windows, stacks, masks, strict=True), start=1
        )
    ]


def _blobs(
    pictures: Pictures,
    stack: NDArray[np.float32],
    mask: NDArray[np.bool_],
    window: tuple[int, int, int, int],
    inside: NDArray[np.bool_],
) -> Iterator[tuple[int, tuple[Blob, ...]]]:
    # What shines in most pictures is another lamp, not the light. The lower median, so that whole
    # counts are left.
    many = len(stack) >= 5
    static = np.quantile(stack, 0.5, axis=0, method="lower") if many else np.float32(0)
    always = mask.mean(axis=0) > 0.5 if many else np.zeros(mask.shape[1:], dtype=bool)
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(
            lambda index: find_blobs(stack[index] - static, inside, mask[index] & ~always),
            range(len(stack)),
        )
        for led, blobs in zip(pictures.ids, results, strict=True):
            yield (
                led,
                tuple(replace(blob, x=blob.x + window[0], y=blob.y + window[1]) for blob in blobs),
            )


def directions_from(
    view: SphereView, camera: Camera, radius_mm: float
) -> dict[int, tuple[Array, Array]]:
    """Point on the sphere and unit direction to each light, by its strongest blob alone."""
    result: dict[int, tuple[Array, Array]] = {}
    for led, blobs in view.blobs.items():
        if not blobs:
            continue
        pixel = np.array([blobs[0].x, blobs[0].y])
        point, direction, _ = reflected_ray(camera, pixel, view.sphere.centre_mm, radius_mm)
        if np.all(np.isfinite(direction)):
            result[led] = (point, direction)
    return result
