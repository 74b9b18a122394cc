"""A recording for viewers that move the light: RTI files and projects of Relight.

Each pixel's brightness over the lights' directions is fitted by a few functions: the six of a
polynomial texture map (``.ptm``; Malzbender et al. 2001) or nine hemispherical harmonics (``.rti``;
Gautron et al. 2004). They show a surface, they do not measure it: brightness goes through a display
curve, and every light counts as far away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.errors import ReconstructError
from reconstruct.stack import Stack

ENDINGS = {
    ".rti": "hemispherical harmonics, for RTIViewer and Relight",
    ".ptm": "polynomial texture map, for RTIViewer and Relight",
    ".relight": "project of Relight, with pictures beside it",
}
GAMMA = 2.2
BRIGHTEST = 0.998  # quantile of radiance that becomes white
BAND_ROWS = 32
Array = NDArray[np.float64]


def write_relighting(path: Path, stack: Stack, camera: Camera, lights: Lights) -> Path:
    """Write the kind that the name ends with.

    Parameters
    ----------
    lights : in the order of the pictures

    Raises
    ------
    ReconstructError
        the file exists, or there are fewer lights than functions
    """
    kind = path.suffix.lower()
    if path.exists():
        raise ReconstructError(f"{path} exists already and is kept: name another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    directions = lights.position_mm / np.linalg.norm(lights.position_mm, axis=1, keepdims=True)
    if kind == ".relight":
        return _write_project(path, stack, camera, directions)
    basis = ptm_basis(directions) if kind == ".ptm" else hsh_basis(directions)
    if len(stack) < basis.shape[1]:
        raise ReconstructError(
            f"{path.suffix} needs pictures under at least {basis.shape[1]} lights, got {len(stack)}"
        )
    fit = np.linalg.pinv(basis, rcond=1e-4)
    height, width = stack.shape
    coefficients = np.empty((height, width, basis.shape[1]), np.float32)
    for rows, shown in displayed(stack, camera, lights):
        coefficients[rows] = np.einsum("kn,nhw->hwk", fit, shown)
    low, high = coefficients.min(axis=(0, 1)), coefficients.max(axis=(0, 1))
    scale = np.maximum(high - low, 1e-3)
    if kind == ".ptm":
        _write_ptm(path, coefficients, low, scale)
    else:
        _write_hsh(path, coefficients, low, scale)
    return path


def displayed(
    stack: Stack, camera: Camera, lights: Lights
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Bands of rows, and (N, h, W) brightness 0 … 255 as a screen shows it, all lights alike."""
    centre = camera.points_at_height(0.0).reshape(-1, 3).mean(axis=0)
    away = lights.position_mm - centre
    d2 = np.einsum("kj,kj->k", away, away)
    psi = -np.einsum("kj,kj->k", away, lights.axis) / np.sqrt(d2)
    irradiance = lights.power * np.maximum(psi, 0.05) ** lights.lobe / d2
    factor = (irradiance.mean() / irradiance).astype(np.float32)[:, None, None]
    height = stack.shape[0]
    bands = [slice(r, min(r + BAND_ROWS, height)) for r in range(0, height, BAND_ROWS)]
    tops = [np.quantile(stack.band(rows)[0] * factor, BRIGHTEST) for rows in bands]
    white = max(float(np.max(tops)), 1e-30)
    for rows in bands:
        share = np.clip(stack.band(rows)[0] * factor / white, 0, 1)
        yield rows, (255 * share ** (1 / GAMMA)).astype(np.float32)


def ptm_basis(directions: Array) -> Array:
    """(N, 6) values of u², v², uv, u, v, 1 for unit directions (x, y = u, v)."""
    u, v = directions[:, 0], directions[:, 1]
    return np.column_stack([u * u, v * v, u * v, u, v, np.ones_like(u)])


def hsh_basis(directions: Array) -> Array:
    """(N, 9) hemispherical harmonics to the second order for unit directions."""
    c = np.clip(directions[:, 2], 0, 1)
    phi = np.arctan2(directions[:, 1], directions[:, 0])
    s = np.sqrt(np.maximum(c - c * c, 0))
    pi = np.pi
    return np.column_stack(
        [
            np.full_like(c, 1 / np.sqrt(2 * pi)),
            np.sqrt(6 / pi) * np.cos(phi) * s,
            np.sqrt(3 / (2 * pi)) * (2 * c - 1),
            np.sqrt(6 / pi) * np.sin(phi) * s,
            np.sqrt(30 / pi) * np.cos(2 * phi) * (c * c - c),
            np.sqrt(30 / pi) * np.cos(phi) * (2 * c - 1) * s,
            np.sqrt(5 / (2 * pi)) * (1 - 6 * c + 6 * c * c),
            np.sqrt(30 / pi) * np.sin(phi) * (2 * c - 1) * s,
            np.sqrt(30 / pi) * np.sin(2 * phi) * (c * c - c),
        ]
    )


def _codes(coefficients: NDArray[np.float32], low: Array, scale: Array) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip((coefficients - low) / scale, 0, 1) * 255), dtype=np.uint8)


def _write_hsh(path: Path, coefficients: NDArray[np.float32], low: Array, scale: Array) -> None:
    """Universal RTI: value = byte / 255 · scale + bias; per pixel red, green, blue × terms."""
    height, width, terms = coefficients.shape
    head = f"#HSH1.2\r\n3\r\n{width} {height} 3\r\n{terms} 2 1\r\n".encode()
    codes = _codes(coefficients, low, scale)
    grey = np.repeat(codes[:, :, None, :], 3, axis=2)
    path.write_bytes(
        head + scale.astype("<f4").tobytes() + low.astype("<f4").tobytes() + grey.tobytes()
    )


def _write_ptm(path: Path, coefficients: NDArray[np.float32], low: Array, scale: Array) -> None:
    """LRGB: value = (byte − bias) · scale, the lowest row first; then the colour, here white."""
    height, width, _ = coefficients.shape
    step = scale / 255
    bias = np.rint(-low / step)
    codes = np.rint(np.clip(coefficients / step + bias, 0, 255)).astype(np.uint8)
    numbers = " ".join(f"{v:.6f}" for v in step) + "\n" + " ".join(f"{int(v)}" for v in bias)
    head = f"PTM_1.2\nPTM_FORMAT_LRGB\n{width}\n{height}\n{numbers}\n".encode()
    path.write_bytes(head + codes[::-1].tobytes() + b"\xff" * (3 * width * height))


def _write_project(path: Path, stack: Stack, camera: Camera, directions: Array) -> Path:
    """Pictures as JPEG in a folder beside the project; their lights are in it."""
    folder = path.with_suffix("")
    if folder.exists():
        raise ReconstructError(f"{folder} exists already and is kept: name another --out")
    height, width = stack.shape
    part = folder.with_name(f".part-{folder.name}")
    part.mkdir()
    try:
        project = {
            "version": 1, "folder": folder.name, "width": width, "height": height,
            "pixelSize": camera.pixel_mm(),
            "images": _write_pictures(part, stack, camera, directions),
            "spheres": [], "measures": [],
        }  # fmt: skip
        # Relight looks for pictures beside its project.
        (part / path.name).write_text(json.dumps(project, indent=1) + "\n", encoding="utf-8")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / path.name


def _write_pictures(
    folder: Path, stack: Stack, camera: Camera, directions: Array
) -> list[dict[str, Any]]:
    """What a Relight project says of the pictures, which are in the folder then."""
    plain = Lights.at(directions * 1e6)
    pictures = np.empty((len(stack), *stack.shape), np.uint8)
    for rows, shown in displayed(stack, camera, plain):
        pictures[:, rows] = np.rint(shown)
    images: list[dict[str, Any]] = []
    for led, picture, direction in zip(stack.ids, pictures, directions, strict=True):
        name = f"led_{int(led):03d}.jpg"
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
        (folder / name).write_bytes(data.tobytes())
        images.append({
            "filename": name, "visible": True, "direction": [float(v) for v in direction],
        })  # fmt: skip
    return images
