"""The results folder of a reconstruction, written and read back as a `Surface`."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from calib.camera import Camera
from intake.errors import told_as
from intake.trees import read_object
from reconstruct.errors import ReconstructError
from reconstruct.export.maps import read_tiff, write_tiff
from reconstruct.export.mesh import mesh_of, write_mesh
from reconstruct.repeats import Repeats
from reconstruct.surface import Flag, Surface

FORMAT = "rig-result/1"
REPEATS = "repeats.npz"
FARTHEST_MM = 1e9


def write_results(surface: Surface, folder: Path | str, overwrite: bool = False) -> Path:
    """Write the results folder; it appears whole or not at all.

    ``height.tif`` (mm, NaN where there is no surface), ``normals.tif`` (world frame),
    ``uncertainty.tif`` (mm, one sigma), ``normal_uncertainty.tif`` (degrees), ``flags.tif``,
    ``mask.png`` (bright on the part), ``repeats.npz`` (changes by noise alone, where they are
    told), ``surface.ply``, ``camera.json``, ``summary.json``.

    Parameters
    ----------
    folder : to write
    overwrite : replace an earlier result (files of ours only are replaced)

    Raises
    ------
    ReconstructError
        if the folder exists and is not to be replaced
    """
    folder = Path(folder)
    if folder.exists() and not overwrite and any(folder.iterdir()):
        raise ReconstructError(f"{folder} exists already: choose another --out")
    part = folder.with_name(f".{folder.name}.part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        write_tiff(part / "height.tif", surface.height_mm, "height z, mm, world frame")
        write_tiff(part / "normals.tif", surface.normals, "unit normals x y z, world frame")
        write_tiff(part / "uncertainty.tif", surface.sigma_mm, "one sigma of height, mm")
        write_tiff(
            part / "normal_uncertainty.tif",
            surface.normal_sigma_deg,
            "one sigma of the normal, degrees",
        )
        write_tiff(part / "flags.tif", surface.flags.astype(np.uint8), "flags")
        outside = (surface.flags & int(Flag.OUTSIDE)) != 0
        _, mask = cv2.imencode(".png", np.where(outside, 0, 255).astype(np.uint8))
        (part / "mask.png").write_bytes(mask.tobytes())  # cv2 takes only names that are text
        if surface.mask.any():
            write_mesh(part / "surface.ply", mesh_of(surface))
        if surface.repeats is not None:
            told = surface.repeats
            with (part / REPEATS).open("wb") as file:
                np.savez(
                    file, change_mm=told.change_mm, block_px=told.block_px,
                    row_px=told.row_px, column_px=told.column_px,
                )  # fmt: skip
        surface.camera.write(part / "camera.json")
        summary = {"format": FORMAT, **surface.summary, "material": surface.material}
        text = json.dumps(_plain(summary), indent=1, ensure_ascii=False, allow_nan=False)
        (part / "summary.json").write_text(text + "\n", encoding="utf-8")
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(part.iterdir(), key=lambda p: p.name == "summary.json"):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _plain(value: Any) -> Any:
    """JSON-able, with numpy numbers as numbers and what is not finite as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def is_result(folder: Path) -> bool:
    """Whether a folder holds a result."""
    return (folder / "summary.json").is_file() and (folder / "height.tif").is_file()


def read_results(folder: Path | str) -> Surface:
    """Read a results folder back.

    Raises
    ------
    ReconstructError
        if a file is missing, damaged or of another size
    """
    folder = Path(folder)
    if not is_result(folder):
        raise ReconstructError(f"{folder} holds no result: it has no height.tif and summary.json")
    with told_as(ReconstructError):
        summary = read_object(folder / "summary.json")
    material = summary.pop("material", {})
    form = summary.pop("format", None)
    if not isinstance(material, dict):
        raise ReconstructError(f"{folder / 'summary.json'}: the material is no object")
    if form != FORMAT:
        raise ReconstructError(f"{folder} has format '{form}', this program reads {FORMAT}")
    height = _numbers(folder / "height.tif")
    normals = _numbers(folder / "normals.tif")
    camera = Camera.read(folder / "camera.json")
    sigma = _optional(folder / "uncertainty.tif", height)
    normal_sigma = _optional(folder / "normal_uncertainty.tif", height)
    flags = np.zeros(height.shape, np.uint8)
    if (folder / "flags.tif").is_file():
        flags = read_tiff(folder / "flags.tif")
        if flags.dtype != np.uint8:
            raise ReconstructError(f"{folder / 'flags.tif'} holds {flags.dtype}, expected uint8")
    surface = Surface(
        camera,
        height,
        normals,
        sigma,
        normal_sigma,
        flags,
        material,
        summary,
        repeats=_repeats(folder / REPEATS),
    )
    shapes = {height.shape, normals.shape[:2], sigma.shape, normal_sigma.shape, camera.shape}
    if len(shapes | {surface.flags.shape}) != 1 or normals.shape[2:] != (3,):
        raise ReconstructError(f"the maps in {folder} differ in size: {sorted(shapes)}")
    return surface


def _numbers(path: Path) -> np.ndarray[Any, Any]:
    """A map as float32: NaN where there is nothing, and nothing absurd."""
    values = read_tiff(path)
    with np.errstate(invalid="ignore"):
        if np.any(np.abs(values) > FARTHEST_MM):
            raise ReconstructError(f"{path} is damaged: it holds absurd numbers")
    return values.astype(np.float32)


def _repeats(path: Path) -> Repeats | None:
    """Changes between recordings, if the result has them."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as held:
            change = np.asarray(held["change_mm"], np.float32)
            block, row, column = (int(held[n]) for n in ("block_px", "row_px", "column_px"))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ReconstructError(f"{path} is damaged: {error}") from None
    if change.ndim != 3 or not change.size or block < 1 or np.any(np.abs(change) > FARTHEST_MM):
        raise ReconstructError(f"{path} is damaged: it holds no changes of height")
    return Repeats(change, block, row, column)


def _optional(path: Path, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if path.is_file():
        return _numbers(path)
    return np.full(like.shape, np.nan, dtype=np.float32)
