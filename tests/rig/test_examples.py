"""The examples run as they stand, on the virtual rig and on captures beside the repository."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CAPTURES = ROOT.parent / "shared" / "captures"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that the README's first command leaves behind."""
    folder = tmp_path_factory.mktemp("demo") / "rig-demo"
    if made := os.environ.get("RIG_DEMO"):  # by the wheel, in .ci/run
        return Path(shutil.copytree(made, folder))
    command = [sys.executable, "-m", "rig", "demo", "--workspace", str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_dialect_of_ones_own():
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "custom_led_dialect.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "LED 8 is on" in done.stdout
    assert "the board hears  SET 7 255" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("All off")


@pytest.mark.slow
def test_a_step_height(demo: Path):
    found = example("measure_a_step_height")
    assert found.main(demo) == pytest.approx(found.STEP_MM, abs=0.02)


@pytest.mark.slow
def test_dents(demo: Path, tmp_path: Path):
    inspect = example("inspect_for_dents")
    found = inspect.main(demo, tmp_path / "dents.png")
    assert (tmp_path / "dents.png").is_file()
    assert len(found) == len(inspect.TRUE_DENTS)
    for dent, (x, y, depth) in zip(found, inspect.TRUE_DENTS, strict=True):
        assert np.hypot(dent.x_mm - x, dent.y_mm - y) < 1.0
        assert dent.depth_mm == pytest.approx(depth, abs=0.012)


@pytest.mark.slow
def test_a_dome_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dome = example("bring_your_own_dome")
    dome.main(tmp_path / "dome")
    assert (tmp_path / "dome" / "calibration" / "lights.json").is_file()
    assert list((tmp_path / "dome" / "parts" / "first").glob("*/results/01/report.html"))


@pytest.mark.slow
def test_training(demo: Path, tmp_path: Path):
    train = example("train_for_your_rig")
    train.main(demo, tmp_path / "training", 0.3)
    assert (tmp_path / "training" / "mine.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.captures
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the repository")
def test_captures_from_elsewhere(tmp_path: Path):
    elsewhere = example("captures_from_elsewhere")
    rows = elsewhere.main(CAPTURES, tmp_path / "work", ["blob", "stamped"])
    blob, stamped = rows
    assert blob["mean_removed"]["rmse_mm"] < 0.02
    assert stamped["mean_removed"]["rmse_mm"] < 0.06
    assert blob["coverage"] > 0.99
    assert "| blob |" in elsewhere.table(rows)


def test_failures_are_drawn(tmp_path: Path) -> None:
    failures = example("failures")
    failures.SIDE = 48
    failures.main(tmp_path / "limits.png")
    assert (tmp_path / "limits.png").stat().st_size > 20_000


@pytest.mark.slow
def test_the_notebook_runs_from_pictures_to_a_compared_surface(tmp_path: Path) -> None:
    """In a kernel of its own, in an empty folder; its figures are no single colour."""
    import base64

    import cv2
    import nbformat
    from nbclient import NotebookClient

    path = EXAMPLES / "from_pictures_to_a_compared_surface.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept without results
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=280, kernel_name="python3", resources=place).execute()
    figures = [
        output["data"]["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(figures) == 3
    for figure in figures:
        data = np.frombuffer(base64.b64decode(figure), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).std() > 20
    assert (tmp_path / "part.stl").is_file()
