"""``rig benchmark`` reads small sets in the exact layout of the public ones."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from tests.console import typed

SIDE, COUNT = 32, 12


def cap() -> np.ndarray:
    """(H, W, 3) normals of a cap that rises to the middle, y up."""
    y, x = np.mgrid[SIDE / 2 - 0.5 : -SIDE / 2 : -1, -SIDE / 2 + 0.5 : SIDE / 2 : 1] / SIDE
    slopes = np.dstack([0.8 * x, 0.8 * y, np.ones_like(x)])
    return np.asarray(slopes / np.linalg.norm(slopes, axis=-1, keepdims=True))


def diligent_object(home: Path) -> None:
    """A Lambertian object as DiLiGenT keeps it."""
    home.mkdir(parents=True)
    turn = np.arange(COUNT) * 2.4
    tilt = np.radians(15 + 25 * np.arange(COUNT) / COUNT)
    lights = np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)], 1)
    powers = 1 + 0.5 * np.sin(np.arange(3 * COUNT).reshape(COUNT, 3))
    normals = cap()
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[2:-2, 2:-2] = 255
    names = [f"{k:03d}.png" for k in range(1, COUNT + 1)]
    for name, light, power in zip(names, lights, powers, strict=True):
        shade = 0.4 * np.maximum(normals @ light, 0)[..., None] * power
        codes = np.rint(65535 * shade * (mask > 0)[..., None])
        cv2.imwrite(str(home / name), codes.astype(np.uint16)[..., ::-1])
    (home / "filenames.txt").write_text("\n".join(names) + "\n")
    np.savetxt(home / "light_directions.txt", lights)
    np.savetxt(home / "light_intensities.txt", powers)
    cv2.imwrite(str(home / "mask.png"), cv2.merge([mask] * 3))
    savemat(home / "Normal_gt.mat", {"Normal_gt": np.where(mask[..., None] > 0, normals, 0)})


@pytest.mark.parametrize("which", ["diligent", "diligent-pi"])
def test_diligent_as_published(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("ballPNG", "catPNG") if which == "diligent" else ("Flower", "Lion")
    for name in names:
        diligent_object(tmp_path / "pmsData" / name)
    code, out, err = typed(monkeypatch, capsys, "benchmark", which, tmp_path, "--method", "lambert")
    assert code == 0, err
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if "|" in line}
    ours = float(rows[names[0].removesuffix("PNG")].split("|")[2])
    assert ours < 0.5  # ours is exact but for the perspective of a far camera
    assert ("4.10" in rows["ball"]) if which == "diligent" else "paper" not in out
    assert "**mean**" in rows


def test_luces_as_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.rig.test_exchange_commands import luces

    luces(tmp_path / "data" / "Bell")
    papers = tmp_path / "papers.csv"
    papers.write_text("method,object,degrees\nSomebody 2021,Bell,12.25\n")
    code, out, err = typed(
        monkeypatch, capsys, "benchmark", "luces", tmp_path, "--method", "lambert",
        "--papers", papers,
    )  # fmt: skip
    assert code == 0, err
    assert "Somebody 2021, paper" in out
    assert "12.25" in out


def test_dpps_as_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "obj" / "sample"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(1, 97):
        picture = rng.integers(20, 200, (SIDE, SIDE)).astype(np.uint8)
        cv2.imwrite(str(home / f"ob_1_1_1_no{k}.png"), picture)
    savemat(home / "depth_obj1j1k1.mat", {"position_map": np.zeros((SIDE, SIDE))})
    savemat(home / "normal_obj1j1k1.mat", {"normal_map": (cap() + 1) / 2})
    code, out, err = typed(
        monkeypatch, capsys, "benchmark", "dpps", tmp_path, "--method", "lambert", "--json"
    )
    assert code == 0, err
    found = json.loads(out.splitlines()[0])
    assert found["object"] == "sample"
    assert 0 < found["degrees"] < 90


def test_what_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = typed(monkeypatch, capsys, "benchmark", "middlebury", tmp_path)
    assert (code, "choose luces" in err) == (2, True)
    code, _, err = typed(monkeypatch, capsys, "benchmark", "diligent", tmp_path)
    assert (code, "light_directions.txt" in err) == (4, True)
    diligent_object(tmp_path / "ballPNG")
    (tmp_path / "ballPNG" / "003.png").unlink()
    code, _, err = typed(
        monkeypatch, capsys, "benchmark", "diligent", tmp_path, "--method", "lambert"
    )
    assert (code, "003.png" in err) == (4, True)
