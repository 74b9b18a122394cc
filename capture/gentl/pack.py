"""Counts as cameras send them: the inverse of `capture.camera.pixels.decode`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capture.camera.pixels import stored_bytes

# Names of the Pixel Format Naming Convention (PFNC 2.4) and their 32-bit codes.
CODES = {
    "Mono8": 0x01080001,
    "Mono10": 0x01100003,
    "Mono10Packed": 0x010C0004,
    "Mono12": 0x01100005,
    "Mono12Packed": 0x010C0006,
    "Mono16": 0x01100007,
    "Mono14": 0x01100025,
    "Mono10p": 0x010A0046,
    "Mono12p": 0x010C0047,
}


def encode(counts: NDArray[np.uint16], pixel_format: str) -> NDArray[np.uint8]:
    """The bytes of a picture.

    Parameters
    ----------
    counts : (H, W) uint16, within the depth of the format.
    pixel_format : a name of `CODES`.

    Returns
    -------
    (`stored_bytes`,) uint8.
    """
    flat = counts.ravel()
    if pixel_format == "Mono8":
        return flat.astype(np.uint8)
    if pixel_format in ("Mono10", "Mono12", "Mono14", "Mono16"):
        return flat.astype("<u2").view(np.uint8)
    per_group = 4 if pixel_format == "Mono10p" else 2
    short = -flat.size % per_group
    if short:
        flat = np.concatenate([flat, np.zeros(short, np.uint16)])
    a = flat.reshape(-1, per_group).astype(np.uint16).T
    if pixel_format == "Mono12p":
        columns = [a[0] & 255, a[0] >> 8 | (a[1] & 15) << 4, a[1] >> 4]
    elif pixel_format == "Mono12Packed":
        columns = [a[0] >> 4, a[0] & 15 | (a[1] & 15) << 4, a[1] >> 4]
    elif pixel_format == "Mono10Packed":
        columns = [a[0] >> 2, a[0] & 3 | (a[1] & 3) << 4, a[1] >> 2]
    elif pixel_format == "Mono10p":
        columns = [
            a[0] & 255,
            a[0] >> 8 | (a[1] & 63) << 2,
            a[1] >> 6 | (a[2] & 15) << 4,
            a[2] >> 4 | (a[3] & 3) << 6,
            a[3] >> 2,
        ]
    else:
        raise ValueError(f"no pixel format {pixel_format}")
    packed = np.stack(columns, axis=1).astype(np.uint8).ravel()
    return packed[: stored_bytes(pixel_format, counts.size)]
