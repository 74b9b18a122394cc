"""Gamma-encoded pictures are told from linear ones, and linear ones never called so."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from capture.exchange.encoding import gamma_remark, noise_exponent
from rig.cli import app
from tests.plausible import scene


def written(folder: Path, codes: np.ndarray) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"led_{k:03d}.png" for k in range(len(codes))]
    for path, picture in zip(paths, codes, strict=True):
        cv2.imwrite(str(path), picture)
    return paths


@pytest.mark.parametrize("matt", [False, True])
def test_linear_pictures_are_left_in_peace(matt: bool, tmp_path: Path) -> None:
    linear16 = scene.codes(matt)
    linear8 = np.rint(255 * (linear16 / 65520)).astype(np.uint8)
    assert gamma_remark(written(tmp_path / "linear8", linear8)) is None
    assert gamma_remark(written(tmp_path / "linear16", linear16)) is None


def test_gamma_is_seen() -> None:
    """Of metal; a matt part's places differ too little in level here."""
    share = scene.codes(matt=False) / 65520
    found = noise_exponent(np.rint(255 * share ** (1 / 2.2)), 1 / 12)
    assert found is not None
    assert found < 0.3


def test_gamma_is_told_at_import(tmp_path: Path) -> None:
    source = scene.write(tmp_path / "in", matt=False)
    for path in source.glob("*.png"):
        share = cv2.imread(str(path), -1) / 65520
        cv2.imwrite(str(path), np.rint(255 * share ** (1 / 2.2)).astype(np.uint8))
    done = CliRunner().invoke(
        app, ["import", str(source), "--part", "P", "--workspace", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "note: the pictures look gamma-encoded" in done.output


@pytest.mark.parametrize("rough", [0.003, 0.01, 0.03, 0.1])
def test_relief_under_grazing_light_does_not_make_a_gamma(rough: float) -> None:
    """A blasted matt plate, linear: where it is darker its texture shows more."""
    rng = np.random.default_rng(0)
    slopes = rng.normal(0, rough, (2, 96, 96))
    normal = np.dstack([*slopes, np.ones((96, 96))])
    k = np.arange(24)
    polar, round_ = np.radians(10 + 2 * k), 2.4 * k
    light = [np.sin(polar) * np.cos(round_), np.sin(polar) * np.sin(round_), np.cos(polar)]
    level = 0.8 * np.clip(normal @ np.array(light), 0, None) / (1 + rough**2)
    codes = 255 * rng.poisson(10_000 * level.transpose(2, 0, 1)) / 10_000
    found = noise_exponent(np.minimum(codes, 255), 0.0)
    assert found is None or found > 0.7


def test_a_rough_place_and_a_smooth_one_do_not_make_a_gamma() -> None:
    """Dark rough cloth beside bright smooth metal, linear."""
    rng = np.random.default_rng(0)
    reflectance = np.full((64, 64), 0.9)
    reflectance[:, :32] = 0.25 * rng.uniform(0.8, 1.2, (64, 32))
    level = np.linspace(60, 230, 12)[:, None, None] * reflectance
    noisy = level + rng.normal(0, 1, level.shape) * np.sqrt(level / 40)
    found = noise_exponent(np.rint(noisy), 1 / 12)
    assert found is not None
    assert found > 0.8


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (3, 40), (40, 3)])
def test_pictures_too_small_for_a_block_say_nothing(size: tuple[int, int], tmp_path: Path) -> None:
    assert gamma_remark(written(tmp_path / "tiny", np.full((6, *size), 90, np.uint16))) is None


@pytest.mark.parametrize(("gamma", "said"), [(45_455, True), (100_000, False)])
def test_a_png_that_says_so_is_believed_where_no_noise_tells(
    gamma: int, said: bool, tmp_path: Path
) -> None:
    paths = written(tmp_path / "still", np.full((6, 16, 16), 90, np.uint8))
    assert gamma_remark(paths) is None
    data = paths[0].read_bytes()
    chunk = b"gAMA" + gamma.to_bytes(4, "big")
    whole = (4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    paths[0].write_bytes(data[:33] + whole + data[33:])
    assert (gamma_remark(paths) is not None) is said
