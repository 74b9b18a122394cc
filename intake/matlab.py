"""Arrays out of MAT files of MATLAB 5 to 7 (MathWorks, MAT-File Format, 2021).

Only real numeric arrays are read; everything else is passed over. A reader in Python of the few
bytes that describe one cannot crash on a damaged file, as compiled readers of the whole format do.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intake.errors import InputError
from intake.files import read_bytes

MAX_BYTES = 2**30
MAX_RATIO = 1040

_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
            13: "u8"}  # fmt: skip
_NUMERIC_CLASSES = range(6, 16)  # double, single, and whole numbers of 8 to 64 bits


def read_mat(path: Path, name: str) -> NDArray[np.float64]:
    """The array of that name.

    Raises
    ------
    InputError
        if the file is no MAT file of these versions, is damaged, or has no such array of numbers
    """
    data = read_bytes(path, MAX_BYTES)
    if len(data) < 128:
        raise InputError(f"{path} is no MAT file, or is cut short")
    if data.startswith(b"\x89HDF") or data.startswith(b"MATLAB 7.3"):
        raise InputError(f"{path} is a MATLAB 7.3 file: save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise InputError(f"{path} is no MAT file of version 5 to 7: save it with -v7")
    met: list[str] = []
    try:
        for kind, content in _elements(data, 128, order):
            inner = [(kind, content)]
            if kind == _COMPRESSED:
                inner = list(_elements(_inflated(content), 0, order))
            for element, body in inner:
                if element == _MATRIX:
                    called, array = _matrix(body, order, name)
                    met.append(called)
                    if array is not None:
                        return array
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    there = ", ".join(filter(None, met[:8])) or "nothing"
    raise InputError(f"{path} has no '{name}' of numbers (it holds {there})")


def _elements(data: bytes, start: int, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and contents of the elements one after another (section "Data Element Format")."""
    place = start
    while place + 8 <= len(data):
        (word,) = struct.unpack_from(order + "I", data, place)
        if word >> 16:  # small: size and type share a word, the contents follow at once
            kind, size, begin, step = word & 0xFFFF, word >> 16, place + 4, 8
            if size > 4:
                raise ValueError("a small element is too long")
        else:
            kind, size = struct.unpack_from(order + "II", data, place)
            begin = place + 8
            step = 8 + size + (-size % 8 if kind != _COMPRESSED else 0)
        if begin + size > len(data):
            raise ValueError("an element is cut short")
        yield kind, data[begin : begin + size]
        place += step


def _inflated(content: bytes) -> bytes:
    inflate = zlib.decompressobj()
    most = min(MAX_BYTES, MAX_RATIO * len(content) + 1024)
    data = inflate.decompress(content, most)
    if inflate.unconsumed_tail:
        raise ValueError("an element unpacks to far more than it is")
    if not inflate.eof:
        raise ValueError("a packed element is cut short")
    return data


def _matrix(body: bytes, order: str, name: str) -> tuple[str, NDArray[np.float64] | None]:
    """The name of a matrix and, if it is the one and of real numbers, the array."""
    parts = _elements(body, 0, order)
    _, flags = next(parts, (0, b""))
    _, sizes = next(parts, (0, b""))
    _, called = next(parts, (0, b""))
    text = called.decode("latin-1")
    if text != name or len(flags) < 8 or len(sizes) % 4:
        return text, None
    (word,) = struct.unpack_from(order + "I", flags)
    is_complex = bool(word >> 8 & 0x08)
    if word & 0xFF not in _NUMERIC_CLASSES or is_complex:
        return text, None
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if not 2 <= len(shape) <= 8 or min(shape) < 0:
        raise ValueError(f"'{name}' has the shape {shape}")
    kind, raw = next(parts, (0, b""))
    code = _NUMBERS.get(kind)
    if code is None:
        raise ValueError(f"'{name}' holds no numbers")
    dtype = np.dtype(order + code)
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"'{name}' holds {len(raw)} bytes, which are no {shape} numbers")
    flat = np.frombuffer(raw, dtype)
    return text, np.asarray(flat.reshape(shape, order="F"), dtype=np.float64)
