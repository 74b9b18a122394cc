"""NumPy files: plain arrays of numbers, whose size the file bears out."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from intake.archives import member_bytes, open_zip
from intake.errors import InputError
from intake.files import read_bytes

MAX_BYTES = 4 * 2**30
MAX_HEADER = 10_000


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a ``.npy`` file, of booleans or real numbers; raises `InputError`."""
    return _parse(read_bytes(path, MAX_BYTES), str(path))


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npz`` file by name, of booleans or real numbers; raises `InputError`."""
    data = read_bytes(path, MAX_BYTES)
    arrays: dict[str, NDArray[Any]] = {}
    left = MAX_BYTES
    with open_zip(io.BytesIO(data), str(path)) as zipped:
        for member in zipped.infolist():
            if not isinstance(member, zipfile.ZipInfo) or not member.filename.endswith(".npy"):
                continue
            content = member_bytes(zipped, member, str(path), left)
            left -= len(content)
            name = member.filename.removesuffix(".npy")
            arrays[name] = _parse(content, f"'{name}' in {path}")
    return arrays


def _parse(data: bytes, source: str) -> NDArray[Any]:
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream, max_header_size=MAX_HEADER)
    except Exception as error:  # the header is Python code to numpy: its parser raises anything
        raise InputError(f"{source} is no NumPy array, or damaged") from error
    if dtype.kind not in "biuf" or dtype.itemsize > 16:
        raise InputError(f"{source} holds '{dtype}': expected numbers")
    if len(shape) > 8 or any(not isinstance(n, int) or n < 0 for n in shape):
        raise InputError(f"{source} has the shape {str(shape)[:60]}")
    count = math.prod(shape)
    here = stream.tell()
    if count * dtype.itemsize > len(data) - here:
        raise InputError(f"{source} is cut short: its {len(data)} bytes are no {shape} numbers")
    flat = np.frombuffer(data, dtype, count, here)
    if dtype.kind == "f":
        missing = np.isnan(flat)
        if np.any(missing):  # a signalling NaN makes NumPy warn wherever it is computed with
            flat = flat.copy()
            flat[missing] = np.nan
    return flat.reshape(shape, order="F" if fortran else "C")
