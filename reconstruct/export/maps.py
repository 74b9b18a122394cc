"""Maps as pictures of floats: TIFF and EXR, nothing rounded to 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError


def write_tiff(path: Path, values: NDArray[Any], description: str = "") -> None:
    """Write a (H, W) or (H, W, 3) map as float32 TIFF (uint8 maps stay uint8)."""
    array = np.asarray(values)
    if array.dtype != np.uint8:
        array = array.astype(np.float32, copy=False)
    tifffile.imwrite(
        path,
        np.ascontiguousarray(array),
        photometric="rgb" if array.ndim == 3 else "minisblack",
        planarconfig="contig" if array.ndim == 3 else None,
        description=description or None,
        metadata=None,
        software=None,
    )


def read_tiff(path: Path) -> NDArray[Any]:
    """Read a map; raises `ReconstructError` if it is missing or damaged."""
    try:
        values = np.asarray(tifffile.imread(path))
        if values.size == 0 or values.ndim < 2:
            raise ValueError("it holds no picture")
        return values
    except FileNotFoundError:
        raise ReconstructError(f"there is no file {path}: is its name spelled so?") from None
    except (OSError, ValueError, IndexError, KeyError, tifffile.TiffFileError) as error:
        raise ReconstructError(f"{path} cannot be read as a map: {error}") from error


def write_normals_exr(path: Path, normals: NDArray[Any]) -> None:
    """Write (H, W, 3) normals as an EXR of 32-bit floats; R, G, B are x, y, z."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    values = np.ascontiguousarray(normals, dtype=np.float32)
    channels = {name: np.ascontiguousarray(values[..., k]) for k, name in enumerate("RGB")}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def read_normals_exr(path: Path) -> NDArray[np.float32]:
    """Read (H, W, 3) float32 from an EXR; raises `ReconstructError`."""
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = file.channels()
            return np.stack([channels[name].pixels for name in "RGB"], axis=-1).astype(np.float32)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ReconstructError(f"{path} cannot be read as EXR: {error}") from error
