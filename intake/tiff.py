"""What a TIFF says of its pages, read without decoding any (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from intake.errors import InputError

MAX_PAGES = 4096
MAX_ENTRIES = 4096
MAX_VALUES = 2**20
MAX_TILE = 1024

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8}  # fmt: skip
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

NEW_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, STRIP_BYTES, PLANAR, FORMAT = 273, 274, 277, 279, 284, 339
TILE_WIDTH, TILE_HEIGHT = 322, 323


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes
    ----------
    width, height, samples : pixels, and channels of each
    bits : of each channel, the largest
    sample_format : 1 unsigned, 2 signed, 3 floating point
    compression : 1 for none
    planar : whether the channels lie apart
    reduced : a smaller copy of another page
    offsets, byte_counts : of the strips in the file; empty where the page is in tiles
    orientation_at : where in the file the word of its orientation stands, or None
    """

    width: int
    height: int
    samples: int
    bits: int
    sample_format: int
    compression: int
    planar: bool
    reduced: bool
    offsets: tuple[int, ...]
    byte_counts: tuple[int, ...]
    orientation_at: int | None

    @property
    def data_bytes(self) -> int:
        """Size of the pixels once decoded."""
        return self.width * self.height * self.samples * max(1, -(-self.bits // 8))

    @property
    def contiguous_at(self) -> int | None:
        """Where its uncompressed pixels begin, if they lie in one piece; else None."""
        if self.compression != 1 or not self.offsets or self.planar:
            return None
        pairs = zip(self.offsets, self.byte_counts, strict=False)
        expected = self.offsets[0]
        for offset, count in pairs:
            if offset != expected:
                return None
            expected = offset + count
        whole = expected - self.offsets[0] >= self.data_bytes
        return self.offsets[0] if whole else None


@dataclass(frozen=True)
class Layout:
    """Pages of a TIFF, in the order of the file, and its byte order (``<`` or ``>``)."""

    order: str
    pages: tuple[Page, ...]

    @property
    def full_pages(self) -> tuple[Page, ...]:
        """Pages that are no smaller copy of another."""
        return tuple(page for page in self.pages if not page.reduced) or self.pages


def read_layout(stream: BinaryIO, source: str) -> Layout:
    """The pages of a TIFF; raises `InputError` where they are damaged or link in a circle."""
    size = stream.seek(0, os.SEEK_END)
    try:
        head = _at(stream, 0, 16)
        order = {b"II": "<", b"MM": ">"}[head[:2]]
        (version,) = struct.unpack(order + "H", head[2:4])
        big = {42: False, 43: True}[version]
        (first,) = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])
        pages = tuple(_pages(stream, order, big, first, size))
    except (KeyError, struct.error, ValueError, OverflowError) as error:
        why = str(error) if isinstance(error, ValueError) else "it is cut short or no TIFF"
        raise InputError(f"{source} is a damaged TIFF: {why}") from None
    if not pages:
        raise InputError(f"{source} is a TIFF without a picture")
    return Layout(order, pages)


def _pages(stream: BinaryIO, order: str, big: bool, first: int, size: int) -> Iterator[Page]:
    seen: set[int] = set()
    offset = first
    while offset:
        if offset in seen or len(seen) >= MAX_PAGES:
            raise ValueError("its pages link in a circle")
        seen.add(offset)
        count_code, entry_size, next_code = ("Q", 20, "Q") if big else ("H", 12, "I")
        count_size = struct.calcsize("=" + count_code)
        (count,) = struct.unpack(order + count_code, _at(stream, offset, count_size))
        if not 0 < count <= MAX_ENTRIES:
            raise ValueError(f"a page has {count} entries")
        table = _at(stream, offset + count_size, count * entry_size)
        tags: dict[int, tuple[int, ...]] = {}
        orientation_at = None
        for k in range(count):
            start = offset + count_size + k * entry_size
            tag, values, place = _entry(
                stream, order, big, table[k * entry_size : (k + 1) * entry_size], start, size
            )
            tags.setdefault(tag, values)
            if tag == ORIENTATION:
                orientation_at = place
        page = _page(tags, orientation_at)
        strips = zip(page.offsets, page.byte_counts, strict=False)
        if any(begin + length > size for begin, length in strips):
            raise ValueError("its pixels lie outside the file")
        yield page
        after = offset + count_size + count * entry_size
        tail = _at(stream, after, struct.calcsize("=" + next_code), short=True)
        offset = struct.unpack(order + next_code, tail)[0] if tail else 0


def _entry(
    stream: BinaryIO, order: str, big: bool, raw: bytes, start: int, size: int
) -> tuple[int, tuple[int, ...], int]:
    """Tag, its whole numbers (none for texts and fractions), and where they stand."""
    tag, kind, number = struct.unpack(order + ("HHQ" if big else "HHI"), raw[: 12 if big else 8])
    code = _CODES.get(kind)
    room = 8 if big else 4
    width = _SIZES.get(kind, 1)
    place = start + (12 if big else 8)
    if number * width > room:
        (place,) = struct.unpack(order + ("Q" if big else "I"), raw[-room:])
    if code is None or number == 0 or tag not in _WANTED:
        return tag, (), place
    if number > MAX_VALUES or place + number * width > size:
        raise ValueError(f"tag {tag} points outside the file")
    data = _at(stream, place, number * width)
    return tag, struct.unpack(f"{order}{number}{code}", data), place


_WANTED = {NEW_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, ORIENTATION,
           SAMPLES, STRIP_BYTES, PLANAR, FORMAT, TILE_WIDTH, TILE_HEIGHT}  # fmt: skip


def _page(tags: dict[int, tuple[int, ...]], orientation_at: int | None) -> Page:
    def one(tag: int, default: int) -> int:
        values = tags.get(tag) or (default,)
        return values[0]

    width, height = one(WIDTH, 0), one(HEIGHT, 0)
    if width < 1 or height < 1:
        raise ValueError("a page has no width or height")
    samples = one(SAMPLES, 1)
    if not 1 <= samples <= 64:
        raise ValueError(f"a pixel has {samples} channels")
    if one(TILE_WIDTH, 0) > width + MAX_TILE or one(TILE_HEIGHT, 0) > height + MAX_TILE:
        raise ValueError("its tiles are larger than the page")
    bits = max(tags.get(BITS) or (1,))
    if not 1 <= bits <= 128:
        raise ValueError(f"a channel has {bits} bits")
    return Page(
        width=width,
        height=height,
        samples=samples,
        bits=bits,
        sample_format=one(FORMAT, 1),
        compression=one(COMPRESSION, 1),
        planar=one(PLANAR, 1) == 2 and samples > 1,
        reduced=bool(one(NEW_SUBFILE, 0) & 1),
        offsets=tags.get(STRIP_OFFSETS, ()),
        byte_counts=tags.get(STRIP_BYTES, ()),
        orientation_at=orientation_at,
    )


def _at(stream: BinaryIO, offset: int, count: int, short: bool = False) -> bytes:
    stream.seek(offset)
    data = stream.read(count)
    if len(data) < count and not (short or offset == 0):
        raise ValueError("it is cut short")
    return data if len(data) == count or offset == 0 else b""
