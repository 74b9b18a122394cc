"""``rig evaluate``, ``rig compare``, ``rig measure`` and ``rig export`` of results, as typed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from calib.camera import Camera
from reconstruct.export.results import write_results
from reconstruct.surface import Surface
from rig.cli import app, main
from rig.figures import with_sigma


def make(folder: Path, bump_mm: float = 0.0) -> Path:
    """A result: a 30 µm step on a tilted plane, optionally with a bump; and its truth."""
    K = np.array([[977.0, 0, 31.5], [0, 977, 31.5], [0, 0, 1]])
    camera = Camera(64, 64, K, t=np.array([0, 0, 420.0]))
    points = camera.points_at_height(0.0)
    x, y = points[..., 0], points[..., 1]
    z = 0.02 * x + np.where(x > 2, 0.03, 0.0)
    position = camera.points_at_height(z)
    normal = np.broadcast_to([0.0, 0.0, 1.0], position.shape)
    np.savez(folder / "truth.npz", position=position, normal=normal)
    height = (z + bump_mm * np.exp(-(x**2 + y**2) / 8)).astype(np.float32)
    sigma = np.full(z.shape, 1e-3, np.float32)
    surface = Surface(
        camera, height, normal.astype(np.float32), sigma, sigma, np.zeros(z.shape, np.uint8)
    )
    return write_results(surface, folder / "result")


def run(*words: str | Path):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [str(word) for word in words])


def test_evaluate_prints_a_table_and_json(tmp_path: Path) -> None:
    result = make(tmp_path, bump_mm=0.1)
    truth = ["--truth", tmp_path / "truth.npz", "--border", "8"]
    done = run("evaluate", result, *truth)
    assert done.exit_code == 0, done.output
    assert "height, mean removed" in done.output
    assert "8 px" in done.output
    found = json.loads(run("evaluate", result, *truth, "--json").output)
    assert found["format"] == "rig-accuracy/1"
    assert found["absolute"]["max_mm"] == pytest.approx(0.1, abs=2e-3)
    assert found["pixels"] == 48 * 48


def test_tolerance_sets_the_exit_code(tmp_path: Path) -> None:
    result = make(tmp_path, bump_mm=0.1)
    words = ["compare", result, tmp_path / "truth.npz", "--align", "none", "--tolerance"]
    failed = run(*words, "0.05", "--out", tmp_path / "deviation")
    assert failed.exit_code == 1
    assert "FAIL" in failed.output
    assert (tmp_path / "deviation" / "deviation.tif").is_file()
    report = json.loads((tmp_path / "deviation" / "comparison.json").read_text())
    assert report["passed"] is False
    assert report["max_mm"] == pytest.approx(0.1, abs=0.005)
    assert run(*words, "0.2").exit_code == 0
    assert run(*words, "0.05", "--share", "50").exit_code == 0


def test_compare_with_an_exported_mesh(tmp_path: Path) -> None:
    result = make(tmp_path)
    for suffix in (".stl", ".x3p"):
        exported = tmp_path / f"part{suffix}"
        assert run("export", result, "--out", exported).exit_code == 0
        words = ["compare", result, exported, "--tolerance", "0.02", "--border", "1", "--json"]
        done = run(*words)
        assert done.exit_code == 0, done.output
        assert json.loads(done.output)["rms_mm"] < 2e-3


def test_measure_finds_the_step(tmp_path: Path) -> None:
    result = make(tmp_path)
    words = ["measure", result, "--line=-10,0,12,0", "--step", "--draws", "8"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "tilt_deg" in done.output
    found = json.loads(run(*words, "--json").output)
    step = next(p for p in found["parameters"] if p["name"] == "h")
    assert step["value"] == pytest.approx(30, abs=1)
    assert step["sigma"] > 0
    assert step["unit"] == "µm"


def test_of_several_results_the_one_that_run_made_is_meant_and_named(tmp_path: Path) -> None:
    """A newer one, tried by hand, does not take its place."""
    for number, (name, bump_mm) in enumerate([("01", 0.0), ("02", 0.1)], start=1):
        made = make(tmp_path, bump_mm)
        summary = json.loads((made / "summary.json").read_text())
        summary |= {"method": ["refine", "lambert"][number - 1], "date": f"2026-11-0{number}"}
        (made / "summary.json").write_text(json.dumps(summary))
        results = tmp_path / "parts" / "A12" / "20261101T080000Z" / "results"
        results.mkdir(parents=True, exist_ok=True)
        made.rename(results / name)
        copied = -number * 1e6  # the files of a copied workspace do not say which is new
        os.utime(results / name / "summary.json", (copied + 1e9, copied + 1e9))
    words = ["A12", "--workspace", tmp_path]
    evaluate = ["evaluate", *words, "--truth", tmp_path / "truth.npz"]
    newest = run(*evaluate)
    assert "02: lambert, 2026-11-02, made by rig reconstruct" in newest.output
    (results / "01" / "verdict.json").write_text("{}")
    for command in (evaluate, ["measure", *words, "--line=-10,0,12,0"]):
        done = run(*command)
        assert done.exit_code == 0, done.output
        assert "01: refine, 2026-11-01, made by rig run" in done.output


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["measure", "RESULT", "--step"], 2, "needs a line"),
        (["measure", "RESULT", "--line=-9,0,9,0", "--edges", "9"], 2, "give --step as well"),
        (["measure", "RESULT", "--line", "1,2"], 2, "expected 4 numbers"),
        (["measure", "RESULT", "--form", "cone"], 2, "no form"),
        (["measure", "RESULT", "--cutoff", "0.1"], 4, "too short"),
        (["measure", "RESULT", "--cutoff", "inf"], 2, "above 0"),
        (["measure", "RESULT", "--cutoff", "-1"], 2, "above 0"),
        (["measure", "RESULT", "--short", "5", "--cutoff", "3"], 2, "takes away all"),
        (["measure", "RESULT", "--correlation", "nan"], 2, "above 0"),
        (["measure", "RESULT", "--line", "1e9,0,2e9,0"], 4, "far longer than the surface"),
        (["measure", "RESULT", "--draws", "99999999"], 2, "0 to 10000"),
        (["measure", "RESULT", "--border", "-1"], 2, "0 mm or more"),
        (["compare", "RESULT", "TRUTH", "--border", "inf"], 2, "0 mm or more"),
        (["measure", "absent"], 2, "no result"),
        (["compare", "RESULT", "absent.stl"], 4, "there is no"),
        (["compare", "RESULT", "TRUTH", "--align", "best"], 2, "no alignment"),
        (["compare", "RESULT", "TRUTH", "--tolerance", "0"], 2, "above 0"),
        (["compare", "RESULT", "TRUTH", "--tolerance", "inf"], 2, "above 0"),
        (["measure", "TRUTH", "--pitch", "nan"], 2, "above 0"),
        (["list", "--verdict", "god"], 2, "choose good, out of tolerance"),
        (["evaluate", "RESULT"], 2, "--truth"),
        (["evaluate", "RESULT", "--truth", "TRUTH", "--border", "-1"], 2, "0 px or more"),
        (["evaluate", "RESULT", "--truth", "TRUTH", "--border", "99"], 2, "leaves nothing"),
        (["evaluate", "RESULT", "--truth", "TRUTH", "--cutoff", "nan"], 2, "above 0 mm"),
        (["calibrate-lights", "--plate-reflectance", "5"], 2, "above 0, up to 1"),
        (["evaluate", "RESULT", "--truth", "absent.npz"], 4, "there is no"),
        (["export", "RESULT", "--out", "a.doc"], 2, "choose"),
        (["export", "RESULT", "--out", "a.x3p", "--step", "900"], 4, "choose a shorter one"),
        (["verify", "absent"], 2, "no recording"),
    ],
)
def test_mistakes_get_one_sentence(
    tmp_path: Path,
    words: list[str],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = make(tmp_path)
    names = {"RESULT": str(result), "TRUTH": str(tmp_path / "truth.npz")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["rig", *[names.get(word, word) for word in words]])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == code
    assert says in error
    assert error.startswith("rig: ")
    assert len(error.strip().splitlines()) == 1


def test_a_proposed_plan_tells_its_limits_in_words(tmp_path: Path) -> None:
    result = make(tmp_path)
    done = run("plan", "new", "plate", "--from", result, "--workspace", tmp_path)
    assert done.exit_code == 0, done.output
    assert "≤" in done.output
    assert "None" not in done.output


def test_a_typo_in_a_training_configuration(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("outt: x")
    done = run("train", "--config", tmp_path / "train.yaml")
    assert getattr(done.exception, "exit_code", None) == 2
    assert "no key 'outt'; did you mean 'out'?" in str(done.exception)


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (9326.1, 123.4, "9330 ± 120"),
        (722.69, 0.2, "722.69 ± 0.20"),
        (-0.75662, 0.00251, "-0.7566 ± 0.0025"),
        (5.83, 0.0996, "5.83 ± 0.10"),
        (-0.0004, 0.0123, "0.000 ± 0.012"),
        (29.97, 9.96, "30 ± 10"),
        (1.234567, None, "1.2346"),
        (1.234567, 0.0, "1.2346"),
    ],
)
def test_an_uncertainty_has_two_digits_and_its_value_as_many_as_that_leaves(
    value: float, sigma: float | None, text: str
) -> None:
    assert with_sigma(value, sigma) == text
