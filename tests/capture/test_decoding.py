"""Pictures of other kinds: JPEG and curves, colour, OpenEXR, raw; each becomes linear light."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile

import reconstruct as rc
from capture import DataError, Decoding, PictureList, PlanError, Recording
from capture.exchange.images import read_grey
from capture.exchange.preparing import white_of
from rig.imports import import_capture
from tests.plausible import scene


def light() -> np.ndarray:
    return np.linspace(0.05, 0.9, 40 * 30).reshape(30, 40)


@pytest.mark.parametrize("curve", ["srgb", "2.2", "linear"])
def test_a_stated_curve_is_undone(curve: str, tmp_path: Path) -> None:
    share = light()
    if curve == "srgb":
        share = np.where(share <= 0.0031308, share * 12.92, 1.055 * share ** (1 / 2.4) - 0.055)
    elif curve == "2.2":
        share = share ** (1 / 2.2)
    for name, top, kind in (("a.png", 65535, np.uint16), ("b.png", 255, np.uint8)):
        cv2.imwrite(str(tmp_path / name), np.rint(share * top).astype(kind))
        codes, bits = read_grey(tmp_path / name, Decoding(curve=curve))
        full = 2**bits - 1
        np.testing.assert_allclose(codes / full, light(), atol=2.5 / 255 if top == 255 else 1e-4)
    with pytest.raises(PlanError, match="no curve 'magic'"):
        Decoding(curve="magic")


def test_luminance_is_balanced_by_a_white_plate_and_clips_with_any_channel(tmp_path: Path) -> None:
    tint = np.array([0.5, 0.9, 0.7])  # blue, green, red, of the lights
    cv2.imwrite(
        str(tmp_path / "plate.png"), np.rint(np.ones((30, 30, 3)) * tint * 60000).astype(np.uint16)
    )
    picture = np.rint(light()[..., None] * tint * 65535).astype(np.uint16)
    picture[3, 4] = [100, 65535, 200]
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    way = Decoding("luminance", white=white_of(tmp_path / "plate.png"))
    codes, bits = read_grey(tmp_path / "a.png", way)
    assert bits == 16
    assert codes[3, 4] == 65535
    ratio = np.delete((codes / (light() * 65535)).ravel(), 3 * 40 + 4)
    assert np.ptp(ratio) < 1e-3  # grey under any tint
    cv2.imwrite(str(tmp_path / "over.png"), np.full((30, 30, 3), 255, np.uint8))
    with pytest.raises(DataError, match="neither dark nor clipped"):
        white_of(tmp_path / "over.png")


def exr(path: Path, values: np.ndarray) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    channels = (
        {"Y": values.astype(np.float32)}
        if values.ndim == 2
        else {
            name: np.ascontiguousarray(values[..., k], np.float32) for k, name in enumerate("RGB")
        }
    )
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


def test_openexr_pictures_share_one_scale(tmp_path: Path) -> None:
    folder = scene.write(tmp_path / "wavy")
    radiance = scene.codes(True) / 65520 * 7.5
    for number, picture in enumerate(radiance, start=1):
        (folder / f"led_{number:03d}.png").unlink()
        exr(folder / f"led_{number:03d}.exr", picture)
    text = (folder / "lights.lp").read_text().replace(".png", ".exr")
    (folder / "lights.lp").write_text(text)
    surface = rc.reconstruct(folder, method="lambert")
    given = rc.reconstruct(scene.stack(True), scene.camera(), scene.lights(), method="lambert")
    np.testing.assert_allclose(surface.normals, given.normals, atol=2e-3)
    assert "unfit_for_metrology" not in surface.summary
    done, recording, _ = import_capture(folder, tmp_path / "run")
    np.testing.assert_array_equal(
        recording.radiance()[0], np.asarray(PictureList.of_source(_source(folder)))
    )
    (folder / "led_003.exr").write_bytes((folder / "led_003.exr").read_bytes()[:200])
    with pytest.raises(DataError, match=r"led_003\.exr is damaged"):
        rc.read_pictures(folder)
    assert Recording.open(done).start["decoding"]["full"] == pytest.approx(radiance.max(), rel=1e-6)


def _source(folder: Path):  # type: ignore[no-untyped-def]
    from capture.exchange.layouts import find

    return find(folder)


def test_jpeg_is_marked_unfit_for_metrology(tmp_path: Path) -> None:
    folder = scene.write(tmp_path / "wavy")
    for picture in sorted(folder.glob("led_*.png")):
        share = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED) / 65520
        curve = np.where(share <= 0.0031308, share * 12.92, 1.055 * share ** (1 / 2.4) - 0.055)
        cv2.imwrite(str(picture.with_suffix(".jpg")), np.rint(255 * curve).astype(np.uint8))
        picture.unlink()
    text = (folder / "lights.lp").read_text().replace(".png", ".jpg")
    (folder / "lights.lp").write_text(text)
    surface = rc.reconstruct(folder, method="lambert")
    assert "JPEG" in surface.summary["unfit_for_metrology"]
    _, recording, remarks = import_capture(folder, tmp_path / "run")
    assert any("unfit for metrology" in remark for remark in remarks)
    assert "JPEG" in recording.unfit


def dng(path: Path, red: int, green: int, blue: int) -> None:
    """A raw picture as a camera writes it, 512 counts of black level."""
    mosaic = np.full((64, 96), 512, np.uint16)
    mosaic[0::2, 0::2] += red
    mosaic[0::2, 1::2] += green
    mosaic[1::2, 0::2] += green
    mosaic[1::2, 1::2] += blue
    one = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    tags = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), True), (50708, "s", 0, "test", True),
        (33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50714, "H", 1, 512, True), (50717, "I", 1, 65535, True),
        (50721, "2i", 9, one, True), (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (271, "s", 0, "maker", True), (272, "s", 0, "model", True),
    ]  # fmt: skip
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=tags, metadata=None)


def test_raw_pictures_are_linear_without_their_black_level(tmp_path: Path) -> None:
    dng(tmp_path / "a.dng", 8000, 16000, 4000)
    for channel, counts in (("red", 8000), ("green", 16000), ("blue", 4000)):
        codes, bits = read_grey(tmp_path / "a.dng", channel)  # type: ignore[arg-type]
        assert bits == 16
        assert codes[20, 20] == pytest.approx(counts / (65535 - 512) * 65535, rel=1e-3)
    (tmp_path / "b.dng").write_bytes(b"no raw picture")
    with pytest.raises(DataError, match="cannot be read as a raw picture"):
        read_grey(tmp_path / "b.dng", "green")


def test_raw_beside_jpeg_counts_once(tmp_path: Path) -> None:
    from capture.exchange.layouts import find

    for number in range(1, 5):
        dng(tmp_path / f"DSC_{number}.dng", 1000 * number, 2000, 3000)
    assert len(find(tmp_path, "green").pictures) == 4
    for number in range(1, 5):
        cv2.imwrite(str(tmp_path / f"DSC_{number}.jpg"), np.full((64, 96), 10 * number, np.uint8))
    assert {path.suffix for path in find(tmp_path).pictures} == {".jpg"}
