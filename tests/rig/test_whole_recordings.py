"""A recording as one file, and for viewers that move the light."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from capture import Recording
from capture.verify import verify
from intake.light_tables import read_relight
from reconstruct.export.relighting import displayed, hsh_basis, ptm_basis
from reconstruct.stack import RecordedStack
from tests.console import typed
from tests.plausible import scene


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    folder = scene.write(tmp_path / "wavy")
    monkeypatch.chdir(tmp_path)
    assert typed(monkeypatch, capsys, "import", folder, "--part", "A")[0] == 0
    (found,) = (tmp_path / "parts" / "A").iterdir()
    return found


def test_a_recording_goes_through_one_file_and_comes_back_the_same(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, capsys, "export", "A", "--out", "a.h5")[0] == 0
    with h5py.File("a.h5") as file:  # as programs of that world look for it
        group = file[file.attrs["default"]]
        data = group[group.attrs["default"]]
        assert data.attrs["NX_class"] == "NXdata"
        counts = data[data.attrs["signal"]]
        assert counts.shape == (scene.COUNT, scene.SIDE, scene.SIDE)
        np.testing.assert_array_equal(
            counts[3], Recording.open(run).counts(list(Recording.open(run))[3][0])
        )
    assert typed(monkeypatch, capsys, "import", "a.h5", "--part", "B")[0] == 0
    (back,) = Path("parts/B").iterdir()
    assert verify(back).sound
    one, other = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()}
                  for f in (run, back))  # fmt: skip
    assert one == other
    code, out, err = typed(monkeypatch, capsys, "export", "A", "--out", "a.h5")
    assert (code, "exists already" in out + err) == (4, True)


@pytest.mark.usefixtures("run")
def test_a_full_disk_gets_a_sentence_and_leaves_no_half_of_an_export(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))  # as a disk on which no more fits
    try:
        assert typed(monkeypatch, capsys, "export", "A", "--out", "a.relight")[0] == 4
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    full = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    code, _, err = typed(monkeypatch, capsys, "export", "A", "--out", "a.h5")
    assert (code, "has room for 0.0 MB" in err) == (4, True)
    assert sorted(path.name for path in Path().iterdir()) == ["parts", "wavy"]


@pytest.mark.parametrize("harm", ["cut", "pixel", "name", "other"])
def test_a_file_that_is_not_the_recording_is_refused(
    harm: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, capsys, "export", "A", "--out", "a.h5")
    if harm == "cut":
        raw = Path("a.h5").read_bytes()
        Path("a.h5").write_bytes(raw[: len(raw) // 2])
    elif harm == "other":
        Path("a.h5").write_bytes(b"no file of that kind")
    else:
        with h5py.File("a.h5", "r+") as file:
            if harm == "pixel":
                file["entry/data/counts"][2, 5, 5] += 1
            else:
                file["entry/files"]["..\\..\\evil"] = np.zeros(3, np.uint8)
    code, out, err = typed(monkeypatch, capsys, "import", "a.h5", "--part", "B")
    assert code == 4
    assert (out + err).count("rig: ") == 1
    assert not [p for p in Path("parts").glob("B/*") if not p.name.startswith(".")]
    assert not list(Path().rglob("evil"))


def drawn(path: Path) -> tuple[np.ndarray, int]:
    """(H, W, terms) coefficients of an .rti or .ptm, read as their formats say."""
    raw = path.read_bytes()
    if path.suffix == ".rti":
        *_, head = lines = raw.split(b"\r\n", 4)[:4]
        width, height, _ = map(int, lines[2].split())
        terms = int(head.split()[0])
        at = sum(len(line) + 2 for line in lines)
        scale, bias = np.frombuffer(raw, "<f4", 2 * terms, at).reshape(2, terms)
        codes = np.frombuffer(raw, np.uint8, -1, at + 8 * terms)
        codes = codes.reshape(height, width, 3, terms)[:, :, 0]
        return codes / 255 * scale + bias, terms
    lines = raw.split(b"\n", 6)[:6]
    assert lines[:2] == [b"PTM_1.2", b"PTM_FORMAT_LRGB"]
    width, height = int(lines[2]), int(lines[3])
    scale, bias = (np.array(line.split(), float) for line in lines[4:6])
    at = sum(len(line) + 1 for line in lines)
    codes = np.frombuffer(raw, np.uint8, width * height * 6, at).reshape(height, width, 6)
    return (codes[::-1] - bias) * scale, 6


@pytest.mark.parametrize("ending", ["rti", "ptm"])
def test_a_viewer_draws_the_pictures_again(
    ending: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = typed(monkeypatch, capsys, "export", "A", "--out", f"a.{ending}")
    assert code == 0, out + err
    coefficients, _ = drawn(Path(f"a.{ending}"))
    lights = scene.lights()
    unit = lights.position_mm / np.linalg.norm(lights.position_mm, axis=1, keepdims=True)
    basis = (hsh_basis if ending == "rti" else ptm_basis)(unit)
    shown = np.einsum("hwk,nk->nhw", coefficients, basis)
    stack = RecordedStack(Recording.open(run))
    wanted = np.concatenate([b for _, b in displayed(stack, scene.camera(), lights)], axis=1)
    assert np.abs(shown - wanted).mean() < 4  # of 255
    assert np.corrcoef(shown.ravel(), wanted.ravel())[0, 1] > 0.95


def test_a_project_of_relight_comes_back_as_lights(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = typed(monkeypatch, capsys, "export", "A", "--out", "viewer.relight")
    assert code == 0, out + err
    listed = read_relight(Path("viewer/viewer.relight"))
    position = scene.lights().position_mm
    np.testing.assert_allclose(
        listed.xyz, position / np.linalg.norm(position, axis=1, keepdims=True), atol=1e-4
    )
    code, out, err = typed(monkeypatch, capsys, "import", "viewer", "--part", "C")
    assert code == 0, out + err
    assert "Relight project" in out + err


def test_a_file_on_which_the_library_crashes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damaged by the fuzz suite; reading it in this process is a segmentation fault."""
    monkeypatch.chdir(tmp_path)
    damaged = Path(__file__).parents[1] / "golden" / "crashes_the_library.h5"
    code, _, err = typed(monkeypatch, capsys, "import", damaged, "--part", "A")
    assert code == 4
    assert "is damaged" in err
    assert not list((tmp_path / "parts").rglob("*.part"))
