"""Members of zip files, unpacked a piece at a time against a bound.

`zipfile` bounds only what deflate may give for a piece of input; a bzip2 or LZMA member of a few
kilobytes can become gigabytes in one read. So the packed bytes are read here and unpacked by
decompressors that are told how much they may give.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from intake.errors import InputError

PIECE = 2**20
MAX_MEMBERS = 100_000
MAX_DICTIONARY = 2**26


@contextlib.contextmanager
def open_zip(file: Path | BinaryIO, source: str) -> Iterator[zipfile.ZipFile]:
    """An opened zip file; what its reader raises becomes `InputError`."""
    damage = (zipfile.BadZipFile, zipfile.LargeZipFile, struct.error, NotImplementedError)
    try:
        zipped = zipfile.ZipFile(file)
    except (*damage, UnicodeDecodeError, EOFError, ValueError, OverflowError) as error:
        raise InputError(f"{source} is not a sound zip file: {error}") from error
    with zipped:
        if len(zipped.infolist()) > MAX_MEMBERS:
            raise InputError(f"{source} holds {len(zipped.infolist())} files: refused")
        if not all(zipped.namelist()):
            raise InputError(f"{source} is not a sound zip file: a file in it has no name")
        yield zipped


def member_bytes(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, source: str, most: int) -> bytes:
    """The contents of a member of at most `most` bytes; raises `InputError`."""
    if member.file_size > most:
        raise InputError(f"{source}: '{member.filename}' is too large")
    return b"".join(member_pieces(zipped, member, source))


def member_pieces(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, source: str) -> Iterator[bytes]:
    """The contents of a member, at most a megabyte at a time and no more than it says.

    Raises
    ------
    InputError
        if it is damaged, encrypted, larger than it says, or packed in another way than stored,
        deflate, bzip2 or LZMA
    """
    name = f"{source}: '{member.filename}'"
    if member.flag_bits & 0x1:
        raise InputError(f"{name} is encrypted: unpack it first")
    left, checksum = member.file_size, 0
    try:
        for piece in _unpacked(zipped, member, name):
            left -= len(piece)
            if left < 0:
                raise InputError(f"{name} is larger than it says")
            checksum = zlib.crc32(piece, checksum)
            yield piece
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, struct.error) as error:
        raise InputError(f"{name} is damaged: {error}") from error
    if left or checksum != member.CRC:
        raise InputError(f"{name} is damaged: its checksum differs")


def _unpacked(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    packed = _packed(zipped, member)
    if member.compress_type == zipfile.ZIP_STORED:
        yield from packed
        return
    if member.compress_type == zipfile.ZIP_DEFLATED:
        inflate = zlib.decompressobj(-15)
        for data in packed:
            while data:
                yield inflate.decompress(data, PIECE)
                data = inflate.unconsumed_tail
        yield inflate.flush()
        return
    if member.compress_type == zipfile.ZIP_BZIP2:
        decompressor: Any = bz2.BZ2Decompressor()
    elif member.compress_type == zipfile.ZIP_LZMA:
        head = next(packed, b"")
        size = struct.unpack("<H", head[2:4])[0]
        decompressor = _lzma(head[4 : 4 + size], name)
        packed = _after(head[4 + size :], packed)
    else:
        raise InputError(f"{name} is packed in a way that is not read here: pack it again as zip")
    for data in packed:
        while not decompressor.eof:
            piece = decompressor.decompress(data, PIECE)
            yield piece
            data = b""
            if decompressor.needs_input or not piece:
                break


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _lzma(properties: bytes, name: str) -> lzma.LZMADecompressor:
    """Of the properties that precede an LZMA member (APPNOTE 5.8.8)."""
    if len(properties) != 5:
        raise InputError(f"{name} is damaged: its LZMA properties are cut short")
    code, dictionary = struct.unpack("<BI", properties)
    if dictionary > MAX_DICTIONARY or code >= 225:
        raise InputError(f"{name} asks for an LZMA dictionary of {dictionary / 2**20:.0f} MB")
    filters = [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": max(dictionary, 4096),
            "lc": code % 9,
            "lp": code // 9 % 5,
            "pb": code // 45,
        }
    ]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


def _packed(zipped: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of a member as they lie in the file."""
    file = zipped.fp
    assert file is not None
    file.seek(member.header_offset)
    head = file.read(30)
    if len(head) < 30 or head[:4] != b"PK\3\4":
        raise ValueError("it is not where the directory says")
    names = sum(struct.unpack("<HH", head[26:30]))
    place, left = member.header_offset + 30 + names, member.compress_size
    while left > 0:
        file.seek(place)
        piece = file.read(min(PIECE // 4, left))
        if not piece:
            raise ValueError("it is cut short")
        place, left = place + len(piece), left - len(piece)
        yield piece
