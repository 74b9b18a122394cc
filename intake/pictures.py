"""Pictures: the size is known before anything is decoded, and pixels are never turned.

Read are PNG, TIFF, JPEG, BMP and PNM. What a file says of its orientation (TIFF tag 274, EXIF) is
for showing it to people: pixel (row, column) here is the one that the camera calibration means.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from intake.errors import InputError
from intake.files import read_bytes
from intake.tiff import read_layout

MAX_SIDE = 2**17
MAX_DECODED = 3 * 2**29  # bytes; 200 megapixels of 16-bit colour
# Deflate packs at most 1032 to 1 (RFC 1951: 258 bytes in two bits), LZW a little more.
MAX_RATIO = 2048
MAX_FILE = 2 * 2**30

_PNG = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_CHANNELS = {0: 1, 2: 3, 3: 4, 4: 4, 6: 4}  # PNG colour type; a palette may come with alpha
_PNM = re.compile(rb"P([2356])\s+(?:#[^\n]*\n\s*)*(\d{1,6})\s+(?:#[^\n]*\n\s*)*(\d{1,6})\s")


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes
    ----------
    pixels : (H, W) or (H, W, 3) blue, green, red; uint8, uint16, or float32 and finite
    alpha : (H, W) share of cover, 0 to 1; None where everything is covered
    """

    pixels: NDArray[Any]
    alpha: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


def read_picture(path: Path) -> Picture:
    """Decode a picture file as it is stored.

    Raises
    ------
    InputError
        if it is no picture, damaged, too large, or holds several pages
    """
    return decode(read_bytes(path, MAX_FILE), str(path))


def decode(data: bytes, source: str) -> Picture:
    """Decode the bytes of a picture file; `source` names it in messages."""
    if not data:
        raise InputError(f"{source} is empty: copy or export the picture again")
    width, height, size, data = _measured(data, source)
    if max(width, height) > MAX_SIDE or size > MAX_DECODED:
        raise InputError(f"{source} says that it is {width}×{height}: too large to be a picture")
    if size > MAX_RATIO * len(data) + 2**16:
        raise InputError(
            f"{source} says that it is {width}×{height}, which its {len(data)} bytes cannot hold"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.shape[:2] != (height, width):
        raise InputError(f"{source} is not a picture or is damaged: export it again as PNG or TIFF")
    pixels = np.asarray(image)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"{source} holds {pixels.dtype} pixels: expected 8 or 16 bit")
    if pixels.dtype == np.float32 and not np.all(np.isfinite(pixels)):
        raise InputError(f"{source} holds pixels that are no numbers")
    alpha = None
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        cover = pixels[..., -1]
        full = 1.0 if pixels.dtype == np.float32 else float(np.iinfo(pixels.dtype).max)
        if cover.min() < full:
            alpha = np.asarray(cover / np.float32(full), dtype=np.float32)
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return Picture(pixels, alpha)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W) what an editor's mask covers.

    Where transparency is used, it decides, as for a part cut out of its picture; else bright is
    inside. A drawing in black and white on a partly transparent ground is bright and covered.
    Half of the brightest value is the limit, so that 0/1, 0/255 and 0/65535 mean the same.

    Raises
    ------
    InputError
        if it cannot be read, or covers nothing
    """
    picture = read_picture(path)
    bright = picture.pixels if picture.pixels.ndim == 2 else picture.pixels.max(axis=2)
    inside = np.asarray(bright > bright.max() / 2)
    if picture.alpha is not None and (picture.alpha < 0.5).any():
        covered = picture.alpha >= 0.5
        inside = covered & inside if _is_drawing(bright[covered]) else covered
    if not inside.any():
        raise InputError(f"the mask {path} covers nothing: paint white what is to be measured")
    return inside


def _is_drawing(values: NDArray[Any]) -> bool:
    """Whether values are nearly all black or white, with some of each."""
    if not values.size:
        return False
    top = float(values.max())
    black, white = float(np.mean(values <= 0.02 * top)), float(np.mean(values >= 0.98 * top))
    return top > 0 and black + white > 0.99 and min(black, white) > 0.005


# sizes ---------------------------------------------------------------------------------------
def _measured(data: bytes, source: str) -> tuple[int, int, int, bytes]:
    """Width, height, decoded bytes as the header says, and the bytes to decode."""
    try:
        if data.startswith(_PNG):
            return _png(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data, source)
        if data.startswith(b"\xff\xd8"):
            return (*_jpeg(data), data)
        if data.startswith(b"BM"):
            width, height, _, bits = struct.unpack("<iiHH", data[18:30])
            return abs(width), abs(height), abs(width * height) * max(1, bits // 8), data
        if match := _PNM.match(data):
            width, height = int(match[2]), int(match[3])
            channels = 3 if match[1] in b"36" else 1
            return width, height, width * height * channels * 2, data
    except (struct.error, IndexError):
        pass
    raise InputError(f"{source} is not a picture or is damaged: export it again as PNG or TIFF")


def _png(data: bytes) -> tuple[int, int, int, bytes]:
    """Of its chunks those are left that make pixels, each as long as it says and unharmed.

    A decoder makes room for what a chunk says of its length; EXIF, text, colour profiles and
    animations are of no use here.
    """
    kept = [_PNG]
    size: tuple[int, int, int] | None = None
    place, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        end = place + 8 + length
        (checksum,) = struct.unpack(">I", data[end : end + 4])
        if kind in _PIXEL_CHUNKS:
            if checksum != zlib.crc32(data[place + 4 : end]):
                raise IndexError
            kept.append(data[place : end + 4])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[place + 8 : place + 18])
            size = width, height, width * height * _CHANNELS.get(colour, 4) * max(1, depth // 8)
        place = end + 4
    if size is None or min(size) < 1:
        raise IndexError
    return (*size, b"".join(kept))


def _jpeg(data: bytes) -> tuple[int, int, int]:
    """From its first frame header (ITU-T T.81, B.2.2)."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise IndexError
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in (0x01, *range(0xD0, 0xD8)):
            place += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, parts = struct.unpack(">HHB", data[place + 5 : place + 10])
            return width, height, width * height * parts
        else:
            place += 2 + int(struct.unpack(">H", data[place + 2 : place + 4])[0])


def _tiff(data: bytes, source: str) -> tuple[int, int, int, bytes]:
    layout = read_layout(io.BytesIO(data), source)
    pages = layout.full_pages
    if len(pages) > 1:
        raise InputError(
            f"{source} holds {len(pages)} pages: save each picture as a file of its own"
        )
    page = pages[0]
    if page is not layout.pages[0]:
        raise InputError(f"{source} begins with a preview: save the picture without one")
    if page.orientation_at is not None:  # so that the decoder has nothing to turn
        upright = struct.pack(layout.order + "H", 1)
        data = data[: page.orientation_at] + upright + data[page.orientation_at + 2 :]
    return page.width, page.height, page.data_bytes, data
