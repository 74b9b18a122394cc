"""What cannot be right is refused or said by ``rig import`` and ``rig reconstruct`` as typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.light_files import write_lights
from tests.console import typed
from tests.plausible import scene


def black(folder: Path) -> None:
    for path in folder.glob("led_*.png"):
        cv2.imwrite(str(path), np.zeros((scene.SIDE, scene.SIDE), np.uint16))


def one_picture_everywhere(folder: Path) -> None:
    first = (folder / "led_001.png").read_bytes()
    for path in folder.glob("led_*.png"):
        path.write_bytes(first)


def lines(folder: Path) -> list[list[str]]:
    return [row.split() for row in (folder / "lights.lp").read_text().splitlines()[1:]]


def with_lines(folder: Path, rows: list[list[str]]) -> None:
    text = "\n".join([str(len(rows)), *(" ".join(row) for row in rows)])
    (folder / "lights.lp").write_text(text + "\n")


def two_swapped(folder: Path) -> None:
    rows = lines(folder)
    rows[4][0], rows[11][0] = rows[11][0], rows[4][0]
    with_lines(folder, rows)


def shifted(folder: Path) -> None:
    rows = lines(folder)
    names = [row[0] for row in rows]
    with_lines(folder, [[names[k - 3], *row[1:]] for k, row in enumerate(rows)])


def mirrored(folder: Path) -> None:
    with_lines(folder, [[n, str(-float(x)), y, z] for n, x, y, z in lines(folder)])


def mask_of_another_size(folder: Path) -> None:
    cv2.imwrite(str(folder / "mask.png"), np.full((30, 20), 255, np.uint8))


def too_strong(folder: Path) -> None:
    """Lights that were calibrated with an exposure in another unit."""
    right = 0.8 / 0.8 * np.pi * 240.0**2
    write_lights(replace(scene.lights(), intensity=30 * right), folder / "strong.json")
    (folder / "exposure.json").write_text('{"exposure": 1.0}')


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (black, "all 16 pictures are black"),
        (one_picture_everywhere, "are one picture to the last bit"),
        (two_swapped, "that of LED 5 to LED 12"),
        (shifted, "the list of lights fits shifted by"),
        (mirrored, "mirrored left to right"),
        (mask_of_another_size, "20×30"),
        (too_strong, "intensity"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    spoil: Callable[[Path], None],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = scene.write(tmp_path / "in")
    spoil(source)
    monkeypatch.chdir(tmp_path)
    rig = partial(typed, monkeypatch, capsys)
    code, out, err = rig("import", source, "--part", "P")
    if code == 0:
        strong = source / "strong.json"
        lights = ["--lights", strong] if strong.is_file() else []
        code, out, err = rig("reconstruct", "P", *lights)
    assert says in out + err
    assert code == 4, out + err
    assert (out + err).count("rig: ") == 1
    assert not list(tmp_path.glob("parts/P/*/results/*"))


def test_good_pictures_go_through_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = scene.write(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    rig = partial(typed, monkeypatch, capsys)
    assert rig("import", source, "--part", "P")[0] == 0
    code, out, err = rig("reconstruct", "P", "--height", "0")
    assert code == 0, out + err
    assert "note:" not in out + err
    assert "Method lambert: the part looks matt" in out + err
