"""Damage to files: blind to what they hold, and knowing what they hold."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator

_WORDS = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"1e-320", b"4294967296", b"9" * 20,
    b"9" * 5000, b"-0.0", b"1e308", b"0x7f", b"1_0", b"true", b"null", b"", b"[]", b"{}", b"\"x\"",
    b"\xe9", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\r", b"[" * 3000, b"{\"a\":" * 500, b"&a [*a]",
    b"12:30", b"1,5", b"!!int \"\"", b"\xed\xa0\x80", b"- " * 200, b"NaN", b"Infinity", b"..", b"/",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**39, 1e300, -1e300, 1e-300, 0.5, "", "x", "1",
    "\u202e", [], {}, [[]], [1], [1, 2, 3], {"a": 1}, [[1, 2], [3]], "..", "a" * 5000, [0] * 50,
)  # fmt: skip
_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 10**6)


def mutated(data: bytes, rng: Rng, others: list[bytes]) -> bytes:
    """A file with one to four kinds of damage, half of it within what it wraps."""
    for _ in range(int(rng.integers(1, 5))):
        data = _once(data, rng, others)
    return data


def _once(data: bytes, rng: Rng, others: list[bytes]) -> bytes:
    if rng.random() < 0.5:
        for begins, damage in _WRAPPED:
            if data.startswith(begins, 8 if damage is tensors else 0):
                try:
                    return damage(data, rng)
                except Exception:  # it is damaged already, and cannot be taken apart
                    break
    if rng.random() < 0.02:
        return splice(data, rng, others)
    choice = _TEXT if _is_text(data) else _BLIND
    return choice[int(rng.integers(len(choice)))](data, rng)


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:2000]


# blind -----------------------------------------------------------------------------------------
def flip(data: bytes, rng: Rng) -> bytes:
    """Some bits of some bytes."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        if out:
            out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def integer(data: bytes, rng: Rng) -> bytes:
    """A number of a header, mostly near its beginning."""
    out = bytearray(data)
    size = (1, 2, 4, 8)[int(rng.integers(4))]
    value = _INTEGERS[int(rng.integers(len(_INTEGERS)))]
    span = len(out) if rng.random() < 0.3 else min(len(out), 512)
    if span > size:
        place = int(rng.integers(span - size))
        order = "little" if rng.random() < 0.5 else "big"
        out[place : place + size] = (value % 256**size).to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(out)


def truncate(data: bytes, rng: Rng) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def cut(data: bytes, rng: Rng) -> bytes:
    a, b = _span(data, rng)
    return data[:a] + data[b:]


def twice(data: bytes, rng: Rng) -> bytes:
    a, b = _span(data, rng)
    return data[:b] + data[a:b] * int(rng.integers(1, 20)) + data[b:]


def insert(data: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(len(data) + 1))
    return data[:place] + rng.bytes(int(rng.integers(1, 40))) + data[place:]


def splice(data: bytes, rng: Rng, others: list[bytes]) -> bytes:
    other = others[int(rng.integers(len(others)))]
    return data[: int(rng.integers(len(data) + 1))] + other[int(rng.integers(len(other) + 1)) :]


def _span(data: bytes, rng: Rng) -> tuple[int, int]:
    a = int(rng.integers(len(data) + 1))
    return a, min(len(data), a + int(rng.integers(1, 64)))


# texts -----------------------------------------------------------------------------------------
def word(data: bytes, rng: Rng) -> bytes:
    """A number or a word becomes another."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[A-Za-z_]+", data))
    if not found:
        return insert(data, rng)
    chosen = found[int(rng.integers(len(found)))]
    return data[: chosen.start()] + _word(rng) + data[chosen.end() :]


def put(data: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(len(data) + 1))
    return data[:place] + _word(rng) + data[place:]


def line(data: bytes, rng: Rng) -> bytes:
    """A line goes, comes twice, or all end in another way."""
    lines = data.split(b"\n")
    k = int(rng.integers(len(lines)))
    kind = int(rng.integers(3))
    if kind == 2:
        return data.replace(b"\n", b"\r")
    lines[k : k + 1] = [] if kind == 0 else [lines[k]] * int(rng.integers(2, 5))
    return b"\n".join(lines)


def tree(data: bytes, rng: Rng) -> bytes:
    """A value, key or item of a JSON text becomes another; of lines of JSON, of one."""
    lines = data.splitlines(keepends=True)
    if len(lines) > 1 and lines[0].rstrip().endswith(b"}"):
        k = int(rng.integers(len(lines)))
        lines[k] = tree(lines[k].strip(), rng) + b"\n"
        return b"".join(lines)
    try:
        root = [json.loads(data)]
    except (ValueError, RecursionError):
        return word(data, rng)
    places: list[tuple[Any, Any]] = [(root, 0)]
    for holder, key in places:
        item = holder[key]
        if isinstance(item, dict):
            places.extend((item, inner) for inner in item)
        elif isinstance(item, list):
            places.extend((item, k) for k in range(min(len(item), 20)))
        if len(places) > 2000:
            break
    holder, key = places[int(rng.integers(len(places)))]
    if rng.random() < 0.2 and holder is not root:
        del holder[key]
    else:
        holder[key] = _VALUES[int(rng.integers(len(_VALUES)))]
    return json.dumps(root[0]).encode()


def _word(rng: Rng) -> bytes:
    return _WORDS[int(rng.integers(len(_WORDS)))]


# what wraps something else ---------------------------------------------------------------------
def png(data: bytes, rng: Rng) -> bytes:
    """Damage within a chunk whose checksum is right."""
    chunks, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    k = int(rng.integers(len(chunks)))
    kind, body = chunks[k]
    if kind == b"IDAT" and rng.random() < 0.5:
        body = zlib.compress(_blind(zlib.decompress(body), rng))
    else:
        body = _blind(body, rng)
    chunks[k] = (kind, body)
    if rng.random() < 0.1:
        chunks.insert(int(rng.integers(len(chunks) + 1)), chunks[int(rng.integers(len(chunks)))])
    out = data[:8]
    for kind, body in chunks:
        out += struct.pack(">I", len(body)) + kind + body
        out += struct.pack(">I", zlib.crc32(kind + body))
    return out


def archive(data: bytes, rng: Rng) -> bytes:
    """Damage within a member whose checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        members = [(m.filename, m.compress_type, zipped.read(m)) for m in zipped.infolist()]
    k = int(rng.integers(len(members)))
    name, method, body = members[k]
    members[k] = (name, method, _once(body, rng, [body]))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for name, method, body in members:
            zipped.writestr(name, body, compress_type=method)
    return out.getvalue()


def matlab(data: bytes, rng: Rng) -> bytes:
    """Damage within a packed matrix."""
    kind, size = struct.unpack_from("<II", data, 128)
    if kind != 15:
        return _blind(data, rng)
    body = _blind(zlib.decompress(data[136 : 136 + size]), rng)
    packed = zlib.compress(body)
    return data[:128] + struct.pack("<II", 15, len(packed)) + packed + data[136 + size :]


def gltf(data: bytes, rng: Rng) -> bytes:
    (length,) = struct.unpack_from("<I", data, 12)
    text = tree(data[20 : 20 + length], rng)
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    total = 20 + len(text) + len(rest)
    head = data[:8] + struct.pack("<II", total, len(text)) + data[16:20]
    return head + text + rest


def tensors(data: bytes, rng: Rng) -> bytes:
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data):
        return _blind(data, rng)
    text = tree(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _blind(data: bytes, rng: Rng) -> bytes:
    return _BLIND[int(rng.integers(len(_BLIND)))](data, rng)


_BLIND: tuple[Callable[[bytes, Rng], bytes], ...] = (
    flip, flip, integer, integer, integer, truncate, cut, twice, insert,
)  # fmt: skip
_TEXT: tuple[Callable[[bytes, Rng], bytes], ...] = (
    word, word, word, tree, tree, put, line, flip, truncate, cut, twice, insert,
)  # fmt: skip
_WRAPPED: tuple[tuple[bytes, Callable[[bytes, Rng], bytes]], ...] = (
    (b"\x89PNG", png), (b"PK\3\4", archive), (b"MATLAB", matlab), (b"glTF", gltf), (b"{", tensors),
)  # fmt: skip
