"""The template of a plug-in, installed as a user would install it, adds what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.plausible import scene

ROOT = Path(__file__).resolve().parents[2]

USES = """
import sys
from pathlib import Path
import numpy as np
import reconstruct as rc
from capture import open_camera
from capture.camera.base import CameraSettings
from capture.exchange.layouts import find
from capture.leds.dialect import load_dialect
from reconstruct.metrology import HeightGrid
from rig.floor.plans.model import parse_plan

folder, stack, out = map(Path, sys.argv[1:])
surface = rc.reconstruct(folder, method="mean")
assert surface.summary["method"] == "mean"
assert "mean" in rc.available()
rc.export_surface(surface, out / "part.xyz")
assert np.loadtxt(out / "part.xyz").shape == (surface.mask.sum(), 3)
source = find(stack)
assert source.layout == "npy-stack" and len(source.pictures) == 16, source
again = rc.reconstruct(stack, method="lambert")
np.testing.assert_array_equal(
    again.height_mm, rc.reconstruct(folder, method="lambert").height_mm
)
assert load_dialect("example-board").name == "example-board"
with open_camera(f"still://{folder}/led_001.png") as camera:
    camera.configure(CameraSettings())
    camera.arm()
    camera.trigger()
    assert camera.next_frame(1.0).pixels.max() <= 4095
plan = '''
format: rig-plan/1
type: A
features:
  - {name: bow, kind: plugin, plugin: peak_to_valley, settings: {share: 2}, upper: 0.5}
'''
assert parse_plan(plan).plan.features[0].plugin == "peak_to_valley"
from rig.floor.plans.judge import judge_by
judged = judge_by(parse_plan(plan), surface, lambda name, step: None)
row = judged.features[0]
assert 0 < row["value"] < 50, row
print("all of it")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed template, and nothing else."""
    target = tmp_path_factory.mktemp("site")
    copy = tmp_path_factory.mktemp("source") / "plugin"
    import shutil

    shutil.copytree(ROOT / "examples" / "plugin", copy)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
            "--no-build-isolation", "--target", str(target), str(copy),
        ],
        check=True, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    return target


def test_the_template_adds_one_of_each(installed: Path, tmp_path: Path) -> None:
    folder = scene.write(tmp_path / "wavy")
    stack = tmp_path / "stacked"
    stack.mkdir()
    np.save(stack / "stack.npy", scene.codes(True))
    for name in ("lights.lp", "camera.json"):
        (stack / name).write_bytes((folder / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USES, str(folder), str(stack), str(tmp_path)],
        env={"PYTHONPATH": f"{installed}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.stdout.strip().endswith("all of it"), done.stderr[-2000:]


def test_a_plug_in_that_is_not_there_is_said() -> None:
    from intake.errors import InputError
    from intake.plugins import METHODS, load
    from rig.config import ConfigError
    from rig.floor.plans.model import parse_plan

    with pytest.raises(InputError, match=r"no installed package adds 'magic' to rig\.methods"):
        load(METHODS, "magic")
    with pytest.raises(ConfigError, match="no installed package adds the feature 'magic'"):
        parse_plan(
            "format: rig-plan/1\ntype: A\nfeatures:\n"
            "  - {name: x, kind: plugin, plugin: magic, upper: 1}\n"
        )
