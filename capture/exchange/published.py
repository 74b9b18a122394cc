"""The layouts of published data sets: DPPS samples and LUCES objects."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError
from capture.exchange.images import Way, read_grey
from capture.exchange.source import Source, inside, present
from intake.errors import told_as
from intake.matlab import read_mat
from intake.names import natural
from intake.pictures import read_mask

_DPPS_PICTURE = re.compile(r"ob_(\d+)_(\d+)_(\d+)_no(\d+)\.png", re.IGNORECASE)


# DPPS ------------------------------------------------------------------------------------------


def dpps_pictures(folder: Path) -> Iterator[tuple[tuple[int, ...], Path]]:
    """The pictures ``ob_1_2_3_no4.png`` of a folder, each with its four numbers."""
    for path in folder.iterdir():
        if match := _DPPS_PICTURE.fullmatch(path.name):
            yield tuple(int(group) for group in match.groups()), path


def dpps(folder: Path, channel: Way, field_mm: float) -> Source:
    """The sample in a folder that has `dpps_pictures`; raises `DataError`."""
    found = sorted(dpps_pictures(folder))
    objects = {key[:3] for key, _ in found}
    if len(objects) > 1:
        raise DataError(f"{folder} mixes pictures of {len(objects)} DPPS objects: keep one")
    numbers = [key[3] for key, _ in found]
    if numbers != list(range(1, len(numbers) + 1)):
        gap = next(n for n in range(1, len(numbers) + 2) if n not in numbers)
        raise DataError(f"{folder} has {len(numbers)} DPPS pictures, but no{gap} is missing")
    first = next(iter(objects))
    truth = _dpps_truth(folder, first, field_mm)
    files: dict[str, Path | bytes] = {}
    remarks = ["DPPS samples name no exposure: brightness cannot be compared with other captures"]
    if truth is None:
        remarks.append("no depth_*.mat and normal_*.mat beside the pictures: no ground truth")
    else:
        files["calibration/truth.npz"] = truth
        remarks.append(f"its field is taken as {field_mm:g} mm wide (--field-mm)")
    pictures = tuple(inside(folder, path.name) for _, path in found)
    return Source("dpps", folder, pictures, files=files, channel=channel, remarks=tuple(remarks))


def _dpps_truth(folder: Path, key: tuple[int, ...], field_mm: float) -> bytes | None:
    i, j, k = key
    stem = f"obj{i}j{j}k{k}.mat"
    paths = []
    for name in (f"depth_{stem}", f"normal_{stem}"):
        places = [folder, folder.parent, *sorted(p for p in folder.parent.iterdir() if p.is_dir())]
        path = next((p / name for p in places if (p / name).is_file()), None)
        if path is None:
            return None
        paths.append(path)
    with told_as(DataError):
        depth, colour = read_mat(paths[0], "position_map"), read_mat(paths[1], "normal_map")
    if depth.ndim != 2 or colour.shape != (*depth.shape, 3) or not depth.size:
        raise DataError(f"{paths[0]} is {depth.shape} and {paths[1]} is {colour.shape}")
    depth, colour = (np.where(np.abs(m) < 1e6, m, np.nan) for m in (depth, colour))
    normal = 2.0 * colour - 1.0
    height, width = depth.shape
    step = field_mm / width
    x = (np.arange(width) - (width - 1) / 2) * step
    y = ((height - 1) / 2 - np.arange(height)) * step
    position = np.dstack([*np.meshgrid(x, y), depth * field_mm])
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    surface = (normal[..., 2:] > 0) & (np.abs(length - 1) < 0.2)  # background is (−1, −1, −1)
    return _npz(
        position=np.where(surface, position, np.nan),
        normal=np.where(surface, normal / np.maximum(length, 1e-9), np.nan),
    )


# LUCES -----------------------------------------------------------------------------------------


def luces_home(folder: Path) -> Path | None:
    """The folder that holds ``led_params.txt``: the object's own or its ``RAW``."""
    for home in (folder, folder / "RAW"):
        if (home / "led_params.txt").is_file():
            return home
    return None


def luces(folder: Path, channel: Way) -> Source:
    """The object in a folder that has a `luces_home`; raises `DataError`."""
    raw = folder / "RAW" if (folder / "RAW").is_dir() else folder
    numbered = sorted((p for p in raw.glob("*.png") if p.stem.isdecimal()), key=natural)
    if not numbered:
        raise DataError(f"{raw} has no pictures 01.png, 02.png, …")
    numbers = [int(path.stem) for path in numbered]
    if numbers != list(range(1, len(numbers) + 1)):
        gap = next(n for n in range(1, len(numbers) + 2) if n not in numbers)
        raise DataError(f"{raw} has {len(numbers)} pictures, but {gap:02d}.png is missing")
    files: dict[str, Path | bytes] = {}
    for name in ("led_params.txt", "mask.png", "normals.png", "zgt.npz"):
        for home in (folder, raw):
            if (path := present(home, name)) is not None:
                files.setdefault(f"calibration/{name}", path)
    remarks = ["LUCES names no exposure: brightness cannot be compared with other captures"]
    pictures = tuple(inside(raw, path.name) for path in numbered)
    if isinstance(mask := files.get("calibration/mask.png"), Path):
        _refuse_mask(mask, read_grey(pictures[0], channel)[0].shape)
    return Source("luces", folder, pictures, files=files, channel=channel, remarks=tuple(remarks))


def _refuse_mask(path: Path, size: tuple[int, ...]) -> None:
    """Refuse a mask that covers nothing, or belongs to pictures of another size than (H, W)."""
    with told_as(DataError):
        mask = read_mask(path)
    if mask.shape != size:
        raise DataError(
            f"{path} is {mask.shape[1]}×{mask.shape[0]} px, the pictures are {size[1]}×{size[0]} "
            "px: it belongs to other pictures; take it out"
        )


def luces_truth(
    depth: NDArray[np.floating],
    normals_png: Path,
    mask_png: Path | None,
    rays_camera: NDArray[np.float64],
    distance_mm: float,
) -> bytes:
    """``truth.npz`` of a LUCES object, in a world with z towards the camera.

    Parameters
    ----------
    depth : (H, W) mm along the camera's axis
    normals_png : 16-bit colour picture of (n + 1) / 2, x right, y up, z to the camera
    mask_png : where the object is, or None for wherever depth is above 0
    rays_camera : (H, W, 3) viewing directions in the camera's frame with z = 1
    distance_mm : of the world's origin from the camera, along its axis
    """
    colours = [read_grey(normals_png, channel) for channel in ("red", "green", "blue")]
    full = float(2 ** colours[0][1] - 1)
    normal = np.dstack([codes for codes, _ in colours]) / full * 2 - 1
    surface = np.isfinite(depth) & (depth > 0)
    if mask_png is not None:
        surface &= read_grey(mask_png, "green")[0] > 0
    if normal.shape[:2] != depth.shape or rays_camera.shape[:2] != depth.shape:
        raise DataError(
            f"zgt.npz is {depth.shape}, {normals_png.name} {normal.shape[:2]} and the camera "
            f"{rays_camera.shape[:2]}: all must be alike"
        )
    position = rays_camera * depth[..., None] * np.array([1.0, -1.0, -1.0])
    position[..., 2] += distance_mm
    length = np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    keep = surface[..., None]
    return _npz(
        position=np.where(keep, position, np.nan), normal=np.where(keep, normal / length, np.nan)
    )


def _npz(**arrays: NDArray[np.floating]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{k: v.astype(np.float32) for k, v in arrays.items()})  # type: ignore[arg-type]
    return buffer.getvalue()
