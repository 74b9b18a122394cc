"""Pixels as cameras send them, decoded to counts without loss.

Three layouts exist for more than 8 bits (PFNC 2.4, GigE Vision 2.2):

- unpacked: each pixel a little-endian 16-bit word (``Mono10``, ``Mono12``, ``Mono14``, ``Mono16``);
- ``…p``: a stream of bits, the lowest bit of a pixel first (``Mono10p``: 4 pixels in 5 bytes,
  ``Mono12p``: 2 pixels in 3 bytes);
- ``…Packed`` (GigE Vision): 2 pixels in 3 bytes, their high 8 bits in the outer bytes and the low
  bits in the middle one, those of the first pixel at the bottom of its lower nibble, those of the
  second at the bottom of its upper nibble.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError, DeviceError

_FORMAT = re.compile(r"Mono(8|10|12|14|16)(p|Packed)?")
_WITH_LAYOUT = {"p": (10, 12), "Packed": (10, 12)}

FORMATS = (
    "Mono8",
    "Mono10",
    "Mono12",
    "Mono14",
    "Mono16",
    "Mono10p",
    "Mono12p",
    "Mono10Packed",
    "Mono12Packed",
)


def bits_of(pixel_format: str) -> int:
    """Bits per pixel of a monochrome format.

    Raises
    ------
    DeviceError : a colour format, or one that is not known here; the message says what to use.
    """
    match = _FORMAT.fullmatch(pixel_format)
    if match is not None:
        bits, layout = int(match.group(1)), match.group(2)
        if layout is None or bits in _WITH_LAYOUT[layout]:
            return bits
    if pixel_format.startswith("Bayer"):
        raise DeviceError(
            f"the camera delivers the colour mosaic {pixel_format}, whose pixels see different "
            "light: use a monochrome camera, or set a Mono format if it offers one"
        )
    if pixel_format.startswith(("RGB", "BGR", "YUV", "YCbCr", "YCBCR")):
        raise DeviceError(
            f"the camera delivers {pixel_format}, colours it has computed from several pixels: "
            "set a Mono format such as Mono12 if it offers one, or use a monochrome camera"
        )
    raise DeviceError(
        f"the pixel format {pixel_format} cannot be decoded: use one of {', '.join(FORMATS)}"
    )


def stored_bytes(pixel_format: str, count: int) -> int:
    """Bytes that `count` pixels of a format take."""
    bits = bits_of(pixel_format)
    if pixel_format.endswith("p"):
        return -(-count * bits // 8)
    if pixel_format.endswith("Packed"):
        return -(-count * 3 // 2)
    return count if bits == 8 else 2 * count


def decode(
    data: NDArray[np.uint8], pixel_format: str, height: int, width: int
) -> NDArray[np.uint16]:
    """Counts of one picture.

    Parameters
    ----------
    data : uint8, the bytes as the camera sent them; more than needed is ignored (padding).
    pixel_format : one of `FORMATS`.

    Returns
    -------
    (height, width) uint16, a copy, 0 … 2**bits − 1.

    Raises
    ------
    DataError : too few bytes. DeviceError : a format that cannot be decoded.
    """
    count = height * width
    needed = stored_bytes(pixel_format, count)
    if data.size < needed:
        raise DataError(
            f"a picture of {width}×{height} {pixel_format} pixels takes {needed} bytes, "
            f"{data.size} came: the transfer was cut short"
        )
    raw = np.ascontiguousarray(data[:needed])
    bits = bits_of(pixel_format)
    if bits == 8:
        pixels = raw.astype(np.uint16)
    elif pixel_format.endswith("Packed"):
        pixels = _gige_packed(raw, bits)
    elif pixel_format.endswith("p"):
        pixels = _bit_stream_10(raw) if bits == 10 else _bit_stream_12(raw)
    else:
        pixels = raw.view("<u2").astype(np.uint16)
        if bits < 16:
            pixels &= np.uint16((1 << bits) - 1)
    return pixels[:count].reshape(height, width)


def _groups(raw: NDArray[np.uint8], size: int) -> NDArray[np.uint16]:
    """(n, size) uint16: the bytes in groups, the last one filled up with zeros."""
    short = -raw.size % size
    if short:
        raw = np.concatenate([raw, np.zeros(short, np.uint8)])
    return raw.reshape(-1, size).astype(np.uint16)


def _gige_packed(raw: NDArray[np.uint8], bits: int) -> NDArray[np.uint16]:
    group, low = _groups(raw, 3), bits - 8
    pixels = np.empty((len(group), 2), np.uint16)
    mask = np.uint16((1 << low) - 1)
    pixels[:, 0] = group[:, 0] << low | group[:, 1] & mask
    pixels[:, 1] = group[:, 2] << low | group[:, 1] >> 4 & mask
    return pixels.ravel()


def _bit_stream_12(raw: NDArray[np.uint8]) -> NDArray[np.uint16]:
    group = _groups(raw, 3)
    pixels = np.empty((len(group), 2), np.uint16)
    pixels[:, 0] = group[:, 0] | (group[:, 1] & 0x0F) << 8
    pixels[:, 1] = group[:, 1] >> 4 | group[:, 2] << 4
    return pixels.ravel()


def _bit_stream_10(raw: NDArray[np.uint8]) -> NDArray[np.uint16]:
    group = _groups(raw, 5)
    pixels = np.empty((len(group), 4), np.uint16)
    pixels[:, 0] = group[:, 0] | (group[:, 1] & 0x03) << 8
    pixels[:, 1] = group[:, 1] >> 2 | (group[:, 2] & 0x0F) << 6
    pixels[:, 2] = group[:, 2] >> 4 | (group[:, 3] & 0x3F) << 4
    pixels[:, 3] = group[:, 3] >> 6 | group[:, 4] << 2
    return pixels.ravel()
