"""Every pixel layout round-trips without loss, against encoders written bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.camera.pixels import FORMATS, bits_of, decode, stored_bytes
from capture.errors import DataError, DeviceError


def encode(counts: list[int], pixel_format: str) -> bytes:
    """The standard's text, one bit at a time: slow, and independent of the decoder."""
    bits = bits_of(pixel_format)
    if pixel_format.endswith("Packed"):
        out = bytearray()
        low = bits - 8
        for first, second in zip(counts[::2], [*counts[1::2], 0], strict=False):
            middle = first % (1 << low) + 16 * (second % (1 << low))
            out += bytes([first >> low, middle, second >> low])
        return bytes(out[: stored_bytes(pixel_format, len(counts))])
    if pixel_format.endswith("p"):
        stream = sum(count << (k * bits) for k, count in enumerate(counts))
        return stream.to_bytes(-(-len(counts) * bits // 8), "little")
    return b"".join(count.to_bytes(1 if bits == 8 else 2, "little") for count in counts)


@given(st.data())
def test_round_trip(data: st.DataObject) -> None:
    pixel_format = data.draw(st.sampled_from(FORMATS))
    height, width = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 9))
    top = 2 ** bits_of(pixel_format) - 1
    counts = data.draw(
        st.lists(st.integers(0, top), min_size=height * width, max_size=height * width)
    )
    padding = data.draw(st.binary(max_size=5))
    raw = np.frombuffer(encode(counts, pixel_format) + padding, np.uint8)
    assert raw.size - len(padding) == stored_bytes(pixel_format, height * width)
    pixels = decode(raw, pixel_format, height, width)
    assert pixels.dtype == np.uint16
    assert pixels.ravel().tolist() == counts


def test_pixels_are_a_copy() -> None:
    raw = np.arange(6, dtype=np.uint8)
    pixels = decode(raw, "Mono8", 2, 3)
    raw[:] = 0
    assert pixels.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_short_picture_is_refused() -> None:
    with pytest.raises(DataError, match="takes 24 bytes, 23 came"):
        decode(np.zeros(23, np.uint8), "Mono12Packed", 4, 4)


@pytest.mark.parametrize("name", ["BayerRG8", "BayerGR12Packed", "RGB8", "YUV422Packed"])
def test_colour_is_refused_with_advice(name: str) -> None:
    with pytest.raises(DeviceError, match="monochrome"):
        bits_of(name)


@pytest.mark.parametrize("name", ["Mono14p", "Mono8Packed", "Coord3D_C16", ""])
def test_unknown_formats_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="cannot be decoded"):
        bits_of(name)
