"""Pictures, arrays, MAT files and zip members that nobody vetted."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from intake.archives import member_bytes, open_zip
from intake.arrays import read_npy, read_npz
from intake.errors import InputError
from intake.matlab import read_mat
from intake.pictures import read_mask, read_picture

GREY = np.random.default_rng(0).integers(0, 65536, (30, 40), dtype=np.uint16)


@contextlib.contextmanager
def memory_below(bytes_: int) -> Iterator[None]:
    """Fails if more is held at any time within."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < bytes_
    finally:
        tracemalloc.stop()


# pictures ------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".pgm", ".jpg"])
def test_pictures_are_read_as_stored(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    pixels = (GREY >> 8).astype(np.uint8) if suffix in (".bmp", ".jpg") else GREY
    cv2.imwrite(str(path), pixels)
    found = read_picture(path).pixels
    assert found.shape[:2] == pixels.shape
    if suffix != ".jpg":
        assert np.array_equal(found if found.ndim == 2 else found[..., 0], pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colour", [False, True])
def test_the_orientation_of_a_tiff_turns_no_pixel(
    tmp_path: Path, orientation: int, colour: bool
) -> None:
    pixels: Any = np.dstack([GREY >> 8] * 3).astype(np.uint8) if colour else GREY
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric="rgb" if colour else "minisblack",
        extratags=[(274, "H", 1, orientation, True)],
    )
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, pixels)


def test_the_exif_orientation_of_a_photograph_turns_no_pixel(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", (GREY >> 8).astype(np.uint8))
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 274, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    raw = bytes(data)
    with_exif = raw[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + raw[2:]
    (tmp_path / "a.jpg").write_bytes(with_exif)
    assert read_picture(tmp_path / "a.jpg").shape == GREY.shape


def test_a_file_of_several_pages_is_refused_and_a_small_copy_is_not(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "two.tif", np.stack([GREY, GREY]), photometric="minisblack")
    with pytest.raises(InputError, match="holds 2 pages: save each picture as a file of its own"):
        read_picture(tmp_path / "two.tif")
    with tifffile.TiffWriter(tmp_path / "preview.tif") as file:
        file.write(GREY)
        file.write(GREY[::2, ::2], subfiletype=1)
    assert np.array_equal(read_picture(tmp_path / "preview.tif").pixels, GREY)


def test_pages_that_link_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY)
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[first : first + 2])
    place = first + 2 + 12 * count
    data[place : place + 4] = struct.pack("<I", first)
    path.write_bytes(data)
    with pytest.raises(InputError, match="link in a circle"):
        read_picture(path)


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        out += struct.pack(">I", len(data)) + kind + data
        out += struct.pack(">I", zlib.crc32(kind + data))
    return out


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2**31 - 1, 1), (0, 5)])
def test_a_picture_that_cannot_hold_its_size_is_refused_before_it_is_decoded(
    tmp_path: Path, width: int, height: int
) -> None:
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    (tmp_path / "a.png").write_bytes(_png([(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]))
    with (
        memory_below(2**20),
        pytest.raises(InputError, match=r"cannot hold|too large|not a picture"),
    ):
        read_picture(tmp_path / "a.png")


def test_a_png_whose_chunk_says_that_it_is_gigabytes_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), GREY)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IDAT") - 4] = 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match="not a picture or is damaged"):
        read_picture(tmp_path / "a.png")


def _mask(tmp_path: Path, pixels: Any) -> Any:
    cv2.imwrite(str(tmp_path / "mask.png"), pixels)
    return read_mask(tmp_path / "mask.png")


def test_masks_mean_what_an_editor_meant(tmp_path: Path) -> None:
    inside = np.zeros((20, 20), bool)
    inside[5:15, 5:15] = True
    for white, kind in ((255, np.uint8), (1, np.uint8), (65535, np.uint16), (255, np.uint16)):
        assert np.array_equal(_mask(tmp_path, (inside * white).astype(kind)), inside)
    shade = np.random.default_rng(1).integers(20, 120, (20, 20))
    cut_out = np.dstack([shade, shade, shade, inside * 255]).astype(np.uint8)
    assert np.array_equal(_mask(tmp_path, cut_out), inside)
    white_on_nothing = np.dstack([inside * 255] * 4).astype(np.uint8)
    assert np.array_equal(_mask(tmp_path, white_on_nothing), inside)
    black_on_nothing = np.dstack([*[inside * 0] * 3, inside * 255]).astype(np.uint8)
    assert np.array_equal(_mask(tmp_path, black_on_nothing), inside)
    opaque = np.dstack([*[inside * 65535] * 3, np.full((20, 20), 65535)]).astype(np.uint16)
    assert np.array_equal(_mask(tmp_path, opaque), inside)
    covered = np.ones((20, 20), bool)
    covered[0] = False
    drawing = np.dstack([*[inside * 255] * 3, covered * 255]).astype(np.uint8)
    assert np.array_equal(_mask(tmp_path, drawing), inside)
    with pytest.raises(InputError, match="covers nothing"):
        _mask(tmp_path, np.zeros((20, 20), np.uint8))


# arrays --------------------------------------------------------------------------------------
def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(GREY))
    assert np.array_equal(read_npy(tmp_path / "a.npy"), GREY)
    np.savez_compressed(tmp_path / "a.npz", a=GREY, b=GREY.astype(np.float32))
    assert np.array_equal(read_npz(tmp_path / "a.npz")["b"], GREY.astype(np.float32))
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="expected numbers"):
        read_npy(tmp_path / "o.npy")
    signalling = np.array([0x7FA00000, 0x3F800000], np.uint32).view(np.float32)
    np.save(tmp_path / "s.npy", signalling)
    values = read_npy(tmp_path / "s.npy").astype(np.float64)  # NumPy would warn of the first
    np.testing.assert_array_equal(values, [np.nan, 1])
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-2])
    with pytest.raises(InputError, match="cut short"):
        read_npy(tmp_path / "a.npy")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header)
    with pytest.raises(InputError, match="no NumPy array"):
        read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_of_mat_files(tmp_path: Path, packed: bool) -> None:
    cube = np.arange(24.0).reshape(2, 3, 4)
    data = {"text": "no", "depth": GREY.astype(float), "cube": cube, "c": 1j * np.ones(3)}
    savemat(tmp_path / "a.mat", data, do_compression=packed)
    assert np.array_equal(read_mat(tmp_path / "a.mat", "depth"), GREY)
    assert np.array_equal(read_mat(tmp_path / "a.mat", "cube"), cube)
    for name in ("c", "text", "none"):
        with pytest.raises(InputError, match=f"has no '{name}' of numbers"):
            read_mat(tmp_path / "a.mat", name)
    whole = (tmp_path / "a.mat").read_bytes()
    for length in (0, 100, 140, len(whole) // 2):
        (tmp_path / "a.mat").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_mat(tmp_path / "a.mat", "cube")


# zip members ---------------------------------------------------------------------------------
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("qqq", "content")
    path.write_bytes(path.read_bytes().replace(b"qqq", b"\0qq"))
    with pytest.raises(InputError, match="has no name"), open_zip(path, "a.zip"):
        pass


@pytest.mark.parametrize("method", METHODS)
def test_zip_members_of_any_method(tmp_path: Path, method: int) -> None:
    content = GREY.tobytes() * 900
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as zipped:
        zipped.writestr("a.bin", content)
        zipped.writestr("empty", "")
    with open_zip(tmp_path / "a.zip", "a.zip") as zipped:
        found = [member_bytes(zipped, member, "a.zip", 2**30) for member in zipped.infolist()]
    assert found == [content, b""]


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_member_larger_than_it_says_is_not_unpacked_further(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as zipped:
        zipped.writestr("a.bin", bytes(64 * 2**20))
    with open_zip(tmp_path / "a.zip", "a.zip") as zipped:
        member = zipped.infolist()[0]
        member.file_size = 1000
        with memory_below(16 * 2**20), pytest.raises(InputError, match="larger than it says"):
            member_bytes(zipped, member, "a.zip", 2**30)
