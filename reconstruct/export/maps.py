"""Maps as pictures of floats: TIFF and EXR, nothing rounded to 8 bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from intake.errors import told_as
from intake.files import read_bytes
from intake.pictures import MAX_RATIO, MAX_SIDE
from intake.tiff import read_layout
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


@told_as(ReconstructError)
def read_tiff(path: Path) -> NDArray[Any]:
    """Read a map of one page, (H, W) or (H, W, channels).

    Raises
    ------
    ReconstructError
        if it is missing, damaged, larger than its bytes can hold, or holds several pages
    """
    data = read_bytes(path)
    layout = read_layout(io.BytesIO(data), str(path))
    page = layout.pages[0]
    if len(layout.full_pages) > 1:
        raise ReconstructError(
            f"{path} holds {len(layout.full_pages)} pages: save the map as a file of its own"
        )
    if max(page.width, page.height) > MAX_SIDE or page.data_bytes > MAX_RATIO * len(data) + 2**16:
        raise ReconstructError(
            f"{path} says that it is {page.width}×{page.height}, which its {len(data)} bytes "
            "cannot hold"
        )
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            values = np.asarray(file.pages[0].asarray())
    except Exception as error:  # tifffile raises whatever a damaged page leads it to
        said = " ".join(str(error).split())[:200]
        raise ReconstructError(f"{path} cannot be read as a map: {said}") from error
    if values.shape[:2] != (page.height, page.width) or values.dtype.kind not in "biuf":
        raise ReconstructError(f"{path} cannot be read as a map: it holds {values.dtype}")
    return values


def write_normals_exr(path: Path, normals: NDArray[Any]) -> None:
    """Write (H, W, 3) normals as an EXR of 32-bit floats; R, G, B are x, y, z."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    values = np.ascontiguousarray(normals, dtype=np.float32)
    channels = {name: np.ascontiguousarray(values[..., k]) for k, name in enumerate("RGB")}
    try:
        with OpenEXR.File(header, channels) as file:
            file.write(str(path))
    except RuntimeError as error:
        raise ReconstructError(f"the EXR cannot be written: {error}") from None
