"""Spheres and highlights found in pictures: drawn ones, path-traced ones and photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.blobs import find_blobs
from calib.camera import Camera
from calib.circles import find_circles
from calib.errors import CalibrationError
from calib.pictures import PictureSet, pose_folders, read_camera
from calib.sphere import Sphere, assumed_camera, find_spheres, fit_sphere, outline
from calib.views import directions_from, measure_views, where_balls_can_be

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
MIRROR = SHARED / "captures" / "mirror"
CAT = SHARED / "photos" / "two_spheres_cat"
needs_captures = pytest.mark.skipif(not MIRROR.exists(), reason="no captures beside the repository")
needs_photos = pytest.mark.skipif(not CAT.exists(), reason="no photographs beside the repository")

WIDE = Camera(
    700, 560, np.array([[620.0, 0, 350], [0, 620, 280], [0, 0, 1.0]]),
    dist=np.array([-0.08, 0.02, 0.0, 0.0, 0.0]), t=np.array([0.0, 0.0, 300.0]),
)  # fmt: skip


def drawn(
    camera: Camera, centres: list[np.ndarray], radius: float, hidden: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Dark balls with bright rings inside on a bright, uneven ground; lower parts hidden."""
    rng = np.random.default_rng(seed)
    height, width = camera.shape
    factor = 6
    y, x = np.mgrid[0:height, 0:width]
    image = 0.55 + 0.15 * x / width - 0.1 * y / height
    for centre in centres:
        for size, value in ((1.0, 0.25), (0.8, 0.6), (0.55, 0.15)):
            ring = outline(camera, centre, size * radius, np.linspace(0, 2 * np.pi, 500))
            fine = np.zeros((height * factor, width * factor), dtype=np.uint8)
            cv2.fillPoly(fine, [np.rint((ring + 0.5) * factor - 0.5).astype(np.int32)], 255)
            cover = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) / 255
            image = image * (1 - cover) + value * cover
        ring = outline(camera, centre, radius, np.linspace(0, 2 * np.pi, 500))
        low, high = ring.min(axis=0), ring.max(axis=0)
        # A stand in front of the lower rim, and a flare across the ball.
        if hidden:
            top = round(high[1] - hidden * (high[1] - low[1]))
            image[top : round(high[1]) + 12, round(low[0]) - 20 : round(high[0]) + 20] = 0.4
        middle = (low + high) / 2
        image[:, round(middle[0]) - 2 : round(middle[0]) + 1] += 0.2
    image = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0, 0.01, image.shape)
    return np.asarray(image, dtype=np.float32)


def test_eccentricity_the_centre_of_the_ellipse_is_not_the_centre_of_the_sphere() -> None:
    centre = np.array([95.0, -70.0, 20.0])
    ring = outline(WIDE, centre, 18.0, np.linspace(0, 2 * np.pi, 720, endpoint=False))
    low, high = ring.min(axis=0), ring.max(axis=0)
    off = np.linalg.norm((low + high) / 2 - WIDE.project(centre))
    assert off > 0.3
    found = find_spheres(drawn(WIDE, [centre], 18.0), WIDE, 18.0)[0]
    # Taking the ellipse's centre for the sphere's would be off by that much in the picture.
    assert np.linalg.norm(WIDE.project(found.centre_mm) - WIDE.project(centre)) < 0.25 * off + 0.05
    assert np.linalg.norm(found.centre_mm - centre) < 4 * np.sqrt(np.trace(found.covariance))


@pytest.mark.parametrize("hidden", [0.0, 0.25])
def test_outline_with_hidden_rim_flare_and_rings_inside(hidden: float) -> None:
    for seed, at in enumerate([(-60.0, 40.0), (20.0, -30.0)]):
        centre = np.array([*at, 18.0])
        image = drawn(WIDE, [centre], 18.0, hidden, seed)
        found = find_spheres(image, WIDE, 18.0)
        assert len(found) == 1
        off = found[0].centre_mm - centre
        towards = (centre - WIDE.centre_mm) / np.linalg.norm(centre - WIDE.centre_mm)
        assert np.linalg.norm(off - (off @ towards) * towards) < 0.12
        assert abs(off @ towards) < 1.5
        sigma = np.sqrt(np.trace(found[0].covariance))
        assert np.linalg.norm(off) < 4 * sigma


def test_a_pale_ball_in_its_own_soft_shadow() -> None:
    """The strongest edge is the mirrored horizon, the widest the shadow; neither is the outline."""
    for seed, at in enumerate([(-40.0, 30.0), (0.0, 0.0), (50.0, -20.0)]):
        centre = np.array([*at, 18.0])
        columns, rows = np.meshgrid(np.arange(WIDE.width), np.arange(WIDE.height))
        rays = WIDE.rays(np.stack([columns, rows], axis=-1))
        towards = (centre - WIDE.centre_mm) / np.linalg.norm(centre - WIDE.centre_mm)
        sine = np.linalg.norm(np.cross(rays, towards), axis=-1)
        rho = sine / (18.0 / np.linalg.norm(centre - WIDE.centre_mm))
        lit = 0.75 * (1 - 0.75 / (np.maximum(rho, 1) ** 2 + 1) ** 1.5)
        ball = np.where(rho < 0.8, 0.15, 0.47)
        image = cv2.GaussianBlur(np.where(rho < 1, ball, lit), (0, 0), 0.8)
        image = image + np.random.default_rng(seed).normal(0, 0.008, image.shape)
        found = find_spheres(image.astype(np.float32), WIDE, 18.0)
        assert len(found) == 1
        off = found[0].centre_mm - centre
        along = off @ towards
        assert np.linalg.norm(off - along * towards) < 0.1
        widening = np.linalg.norm(found[0].widening_mm)
        assert abs(along) < 3 * np.hypot(np.sqrt(np.trace(found[0].covariance)), widening)


def test_several_spheres_in_one_picture() -> None:
    centres = [np.array([-60.0, -30.0, 18]), np.array([10.0, 45.0, 18]), np.array([70.0, -20, 18])]
    found = find_spheres(drawn(WIDE, centres, 18.0), WIDE, 18.0)
    assert len(found) == 3
    for centre in centres:
        assert min(np.linalg.norm((s.centre_mm - centre)[:2]) for s in found) < 0.3
    with pytest.raises(CalibrationError, match="found 3 of 4"):
        find_spheres(drawn(WIDE, centres, 18.0), WIDE, 18.0, count=4)


def test_no_sphere_where_there_is_none() -> None:
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.normal(0.5, 0.2, WIDE.shape), (0, 0), 3).astype(np.float32)
    with pytest.raises(CalibrationError):
        find_spheres(image, WIDE, 18.0, count=1)
    assert find_circles(np.full((100, 120), 0.5)) == []


@pytest.mark.parametrize("width", [0.8, 1.5, 4.0])
def test_blob_to_sub_pixels(width: float) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:60, 0:70]
    errors = []
    for _ in range(20):
        cx, cy = rng.uniform(25, 45), rng.uniform(25, 35)
        spot = np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / width**2)
        faint = 0.2 * np.exp(-0.5 * ((x - cx + 16) ** 2 + (y - cy - 9) ** 2) / 0.8**2)
        image = spot + faint + rng.normal(0, 0.005, x.shape)
        blob = find_blobs(image, np.ones(x.shape, dtype=bool))[0]
        errors.append((blob.x - cx, blob.y - cy))
        assert blob.sigma < 0.1
    assert np.sqrt(np.mean(np.square(errors))) < 0.04


def test_clipped_core_with_a_starburst() -> None:
    y, x = np.mgrid[0:120, 0:120]
    image = 40 * np.exp(-0.5 * ((x - 61.3) ** 2 + (y - 57.8) ** 2) / 5.0**2)
    ray = np.exp(-0.5 * ((x - 61.3 + 0.15 * (y - 57.8)) / 1.2) ** 2) * (y < 58)
    image = np.clip(image + 3 * ray, 0, 1)
    blob = find_blobs(image, np.ones(x.shape, dtype=bool), image >= 1)[0]
    assert blob.clipped
    assert np.hypot(blob.x - 61.3, blob.y - 57.8) < 1.0
    weight = (image >= 1).astype(float)
    plain = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    assert np.hypot(*(plain - [61.3, 57.8])) > 3  # what a plain centroid would say


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5, 2.0])
def test_there_is_no_blob_in_the_noise_of_counts(noise: float) -> None:
    """With little noise most pixels hold the same count; those next to it are no highlights."""
    rng = np.random.default_rng(2)
    for _ in range(5):
        counts = np.rint(rng.normal(1.2, noise, (120, 120)))
        assert find_blobs(counts / 255, np.ones(counts.shape, dtype=bool)) == []
        y, x = np.mgrid[0:120, 0:120]
        spot = 40 * np.exp(-0.5 * ((x - 50.3) ** 2 + (y - 61.8) ** 2) / 0.8**2)
        found = find_blobs(np.rint(counts + spot) / 255, np.ones(counts.shape, dtype=bool))
        assert len(found) == 1
        assert np.hypot(found[0].x - 50.3, found[0].y - 61.8) < 0.15


def test_a_small_clipped_core_to_sub_pixels() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:60, 0:60]
    errors = []
    for _ in range(20):
        cx, cy = rng.uniform(25, 35, 2)
        distance2 = (x - cx) ** 2 + (y - cy) ** 2
        image = np.clip(
            30 * np.exp(-0.5 * distance2 / 0.8**2) + 0.1 * np.exp(-distance2 / 50), 0, 1
        )
        blob = find_blobs(image, np.ones(x.shape, dtype=bool), image >= 1)[0]
        assert blob.clipped
        errors.append((blob.x - cx, blob.y - cy))
    assert np.sqrt(np.mean(np.square(errors))) < 0.05


def test_a_ball_that_fills_a_large_picture() -> None:
    """The edge filter widens with the ball; it must fit into the band that is searched last."""
    K = np.array([[4000.0, 0, 900], [0, 4000, 850], [0, 0, 1]])
    camera = Camera(1800, 1700, K, t=np.array([0.0, 0.0, 300.0]))
    centre = np.array([1.0, -2.0, 50.0])
    columns, rows = np.meshgrid(np.arange(1800), np.arange(1700))
    rays = camera.rays(np.stack([columns, rows], axis=-1))
    towards = centre - camera.centre_mm
    distance = float(np.linalg.norm(towards))
    sine = np.linalg.norm(np.cross(rays, towards / distance), axis=-1)
    image = np.where(sine < 50.0 / distance, 0.2, 0.7).astype(np.float32)
    start = centre + np.array([0.3, 0.2, 0.5])
    found = fit_sphere(cv2.GaussianBlur(image, (0, 0), 1.0), camera, 50.0, start, 20.0)
    assert np.linalg.norm(found.centre_mm - centre) < 0.1


@needs_captures
def test_path_traced_balls() -> None:
    """Each of the six outlines, with its centre's error as large as it claims."""
    import json

    camera = read_camera(MIRROR)
    assert camera is not None
    truth = np.array(json.loads((MIRROR / "truth_spheres.json").read_text())["centres"])
    for pose, centre in zip(pose_folders(MIRROR), truth, strict=True):
        ambient = PictureSet.open(pose).ambient
        assert ambient is not None
        found = find_spheres(ambient, camera, 12.7)
        assert len(found) == 1
        off = found[0].centre_mm - centre
        assert np.linalg.norm(off[:2]) < 0.03
        assert abs(off[2]) < 0.4
        assert off @ np.linalg.inv(found[0].covariance) @ off < 11.3


@pytest.mark.parametrize(
    ("factor", "says"), [(1.0, ""), (1.05, ""), (1.6, "below the stage"), (0.4, "above the stage")]
)
def test_a_wrong_diameter_puts_the_ball_where_no_ball_can_be(factor: float, says: str) -> None:
    """The same outline, a diameter wrong by a factor: the ball moves along the line of sight."""
    eye, true = WIDE.centre_mm, np.array([10.0, -5.0, 12.7])
    centre = eye + factor * (true - eye)
    sphere = Sphere(centre, np.eye(3), np.zeros((0, 2)), 0.0, 1.0)
    if not says:
        assert where_balls_can_be([sphere], WIDE, factor * 12.7, "pose_1", None) == [sphere]
        return
    with pytest.raises(CalibrationError, match=f"pose_1: a ball of .* {says}"):
        where_balls_can_be([sphere], WIDE, factor * 12.7, "pose_1", None)


def test_a_coin_is_no_ball() -> None:
    """Beside the ball lies what is round but smaller: as a ball it would lie below the stage."""
    eye = WIDE.centre_mm
    ball, coin = (
        Sphere(np.array(place), np.eye(3), np.zeros((0, 2)), 0.0, 1.0)
        for place in ([10.0, -5.0, 12.7], [30.0, 25.0, -60.0])
    )
    assert eye[2] > 0
    assert where_balls_can_be([coin, ball], WIDE, 12.7, "pose_1", None) == [ball]
    with pytest.raises(CalibrationError, match="below the stage"):
        where_balls_can_be([coin, ball], WIDE, 12.7, "pose_1", 2)


@needs_photos
@pytest.mark.parametrize("probe", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_photographed_spheres(probe: int) -> None:
    """Outline without hints and directions, against hand-fitted circles and another program."""
    folder = CAT / f"LightProbe-{probe}"
    pictures = PictureSet.open(folder)
    ambient = pictures.ambient
    assert ambient is not None
    camera = assumed_camera(ambient.shape)
    views = measure_views(pictures, camera, 1.0)
    assert len(views) == 1
    x, y, r = np.loadtxt(folder / "circle_data.txt")
    hand = np.array([x - 1, ambient.shape[0] - y])
    ring = outline(
        camera, views[0].sphere.centre_mm, 1.0, np.linspace(0, 2 * np.pi, 720, endpoint=False)
    )
    assert np.linalg.norm(ring.mean(axis=0) - hand) < 2
    assert abs(np.mean(np.linalg.norm(ring - ring.mean(axis=0), axis=1)) - r) < 2
    directions = directions_from(views[0], camera, 1.0)
    reference = np.loadtxt(folder / "light_directions.txt").T
    off = np.degrees(
        [np.arccos(np.clip(directions[k + 1][1] @ reference[k], -1, 1)) for k in range(12)]
    )
    assert np.median(off) < 1.0
    assert off.max() < 2.5
