"""rig run as an operator or a PLC calls it, on a small virtual rig."""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import signal
import socket
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from calib.light_files import write_lights
from capture.reading import Recording
from capture.verify import verify
from capture.world import Scene
from reconstruct import part
from reconstruct.errors import Stopped
from reconstruct.export.results import is_result, read_results
from rig import measuring, session
from rig.cli import app
from rig.config import TEMPLATE, Config
from rig.simulate import scene_of, virtual_rig
from rig.workspace import Workspace

LEDS, SIZE = 24, 64


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A calibrated workspace of a small virtual rig."""
    small = virtual_rig(LEDS, (SIZE, SIZE))

    def scene(config: Config, part: str, seed: int) -> Scene:
        return scene_of(part or "field", rig=small, bounce=False)

    monkeypatch.setattr(session, "default_scene", scene)
    monkeypatch.setattr(measuring, "default_scene", scene)
    monkeypatch.setattr("capture.world._worlds", {})
    text = TEMPLATE.replace("leds: 96 ", f"leds: {LEDS} ")
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    small.camera.write(calibration / "camera.json")
    write_lights(small.lights, calibration / "lights.json", small.camera)
    scene_of("field-1", rig=small, bounce=False).write_truth(tmp_path / "field-1.npz")
    return tmp_path


def run(bench: Path, *arguments: str | Path) -> Result:
    typed = ["run", "--method", "halfvector", *map(str, arguments), "--workspace", str(bench)]
    return CliRunner().invoke(app, typed)


def verdict_of(result: Result) -> dict:
    return json.loads(result.stdout)


def test_measures_a_part_and_says_where_everything_is(bench):
    result = run(bench, "--part", "field-1", "--json")
    assert result.exit_code == 0
    verdict = verdict_of(result)
    assert verdict["format"] == "rig-verdict/1"
    assert verdict["verdict"] == "measured"
    assert verify(Path(verdict["recording"])).sound
    assert is_result(Path(verdict["result"]))
    assert Path(verdict["report"]).stat().st_size > 10_000
    kept = json.loads((Path(verdict["result"]) / "verdict.json").read_text(encoding="utf-8"))
    places = {"recording": ".", "result": "results/01", "report": "results/01/report.html"}
    assert kept == verdict | places, "a part that is moved keeps its verdict's places"
    assert set(verdict["seconds"]) >= {"capture", "verify", "reconstruct", "total"}


@pytest.mark.parametrize(
    ("tolerance", "code", "word"), [("5", 0, "good"), ("0.0001", 1, "out of tolerance")]
)
def test_the_exit_code_is_the_verdict(bench, tolerance, code, word):
    reference = bench / "field-1.npz"
    result = run(
        bench, "--part", "field-1", "--json", "--reference", reference, "--tolerance", tolerance,
        "--align", "none",
    )  # fmt: skip
    assert result.exit_code == code
    verdict = verdict_of(result)
    assert verdict["verdict"] == word
    assert verdict["exit_code"] == code
    assert verdict["deviation"]["max_mm"] > 0.0001


def test_the_height_of_this_part_is_used(bench):
    verdict = verdict_of(run(bench, "--part", "field-1", "--json", "--height", "7.5"))
    assert verdict["figures"]["mean_height_mm"] == pytest.approx(7.5, abs=0.2)
    assert verdict["verdict"] == "measured"


def test_without_a_reference_a_plane_is_what_the_part_should_be(bench):
    verdict = verdict_of(run(bench, "--part", "field-1", "--json", "--tolerance", "0.01"))
    assert verdict["deviation"]["reference"] == "best plane"
    assert verdict["exit_code"] == 1


def test_enough_points_within_tolerance_are_enough(bench):
    arguments = ["--part", "field-1", "--json", "--tolerance", "0.05"]
    within = 100 * verdict_of(run(bench, *arguments))["deviation"]["within"]
    assert 0 < within < 100
    assert run(bench, *arguments, "--share", f"{within - 1:.3f}").exit_code == 0
    assert run(bench, *arguments, "--share", f"{within + 1:.3f}").exit_code == 1


def test_a_part_of_which_too_little_is_measured_is_never_good(bench, monkeypatch):
    monkeypatch.setattr("rig.measure_part.LEAST_COVERAGE", 1.01)
    result = run(bench, "--part", "field-1", "--json", "--tolerance", "100")
    assert result.exit_code == 4
    assert verdict_of(result)["verdict"] == "not sufficient"


def test_watches_without_opening_the_devices_again(bench, monkeypatch):
    opened = []
    real = measuring.open_rig

    def counting(*arguments: object, **options: object):
        opened.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(measuring, "open_rig", counting)
    names = bench / "names.txt"
    names.write_text("field-1\n\n# a comment\nno/name\ncoin-2\nfield-1\n", encoding="utf-8")
    result = run(bench, "--watch", "--names", names, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["part"] for line in lines] == ["field-1", "no/name", "coin-2", "field-1"]
    assert [line["exit_code"] for line in lines] == [0, 2, 0, 0]
    assert "it contains /" in lines[1]["error"]
    assert result.exit_code == 2
    assert len(opened) == 1
    assert len(Workspace.at(bench).runs("field-1")) == 2
    heights = [line["figures"]["height_range_mm"] for line in lines if "figures" in line]
    assert heights[0] == pytest.approx(heights[2], rel=0.02)
    assert heights[0] != pytest.approx(heights[1], rel=0.02), "the same part was measured twice"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc to look into")
def test_twenty_parts_leave_neither_memory_nor_open_files_behind(bench, monkeypatch):
    """Objects of numpy are counted as well: tracemalloc sees what arrays allocate."""
    seen: list[tuple[int, int]] = []
    measure = measuring.measure_part

    def watched(*arguments: object, **options: object) -> object:
        verdict = measure(*arguments, **options)
        gc.collect()
        seen.append((tracemalloc.get_traced_memory()[0], len(os.listdir("/proc/self/fd"))))
        return verdict

    monkeypatch.setattr(measuring, "measure_part", watched)
    names = bench / "names.txt"
    names.write_text("field-1\ncoin-2\n" * 10, encoding="utf-8")
    tracemalloc.start()
    try:
        result = run(bench, "--watch", "--names", names, "--json", "--leds", "1-6")
    finally:
        tracemalloc.stop()
    assert result.exit_code == 0
    memory, files = zip(*seen, strict=True)
    assert len(seen) == 20
    assert max(files[4:]) <= files[3]
    growth_kb = (np.mean(memory[-4:]) - np.mean(memory[4:8])) / 12 / 1024
    print(f"{growth_kb:.2f} kB a part, {files[-1]} files")
    assert growth_kb < 20, f"{growth_kb:.1f} kB a part"


def test_reads_names_as_they_are_typed(bench, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("field-1\n"))
    result = CliRunner().invoke(
        app,
        ["run", "--watch", "--method", "halfvector", "--workspace", str(bench)],
        input="field-1\n",
    )
    assert result.exit_code == 0
    assert "field-1: measured" in result.stdout


def test_a_device_that_fails_is_opened_again_for_the_next_part(bench, monkeypatch):
    from capture.errors import DeviceError

    opened, real = [], measuring.open_rig

    def counting(*arguments: object, **options: object):
        opened.append(1)
        return real(*arguments, **options)

    measure = measuring.measure_part

    def failing(rig, workspace, part, *rest, **options):
        if part == "field-1":
            raise DeviceError("the board was unplugged")
        return measure(rig, workspace, part, *rest, **options)

    monkeypatch.setattr(measuring, "open_rig", counting)
    monkeypatch.setattr(measuring, "measure_part", failing)
    names = bench / "names.txt"
    names.write_text("field-1\ncoin-2\n", encoding="utf-8")
    result = run(bench, "--watch", "--names", names, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["part"], line["exit_code"]) for line in lines] == [("field-1", 3), ("coin-2", 0)]
    assert len(opened) == 2
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--part A12, or --watch"),
        (["--part", "A", "--watch"], "--part A12, or --watch"),
        (["--part", "a/b"], "it contains /"),
        (["--part", "A", "--names", "x"], "--names goes with --watch"),
        (["--watch", "--names", "nowhere.txt"], "there is no file nowhere.txt"),
        (["--part", "A", "--tolerance", "-1"], "expected a length above 0 mm"),
        (["--part", "A", "--tolerance", "inf"], "expected a length above 0 mm"),
        (["--part", "A", "--tolerance", "1", "--share", "0"], "0 to 100 percent"),
        (["--part", "A", "--reference", "x.stl"], "--tolerance 0.05"),
        (["--part", "A", "--reference", "x.stl", "--tolerance", "1"], "x.stl"),
        (["--part", "A", "--leds", "1-40"], "LED 40"),
        (["--part", "A", "--method", "magic"], "no method 'magic'"),
        (["--part", "A", "--device", "cuda:77"], "cuda:77"),
        (["--part", "A", "--height", "nan"], "--height is nan"),
        (["--part", "A", "--height-sigma", "0"], "--height-sigma is 0"),
    ],
)
def test_mistakes_are_refused_before_anything_is_lit(bench, arguments, sentence):
    result = run(bench, *arguments)
    assert sentence in str(result.exception)
    assert getattr(result.exception, "exit_code", None) in (2, 4)
    assert not (bench / "parts").exists()


def test_asks_for_a_calibration_first(bench):
    (bench / "calibration" / "lights.json").unlink()
    result = run(bench, "--part", "A")
    assert "rig calibrate-lights" in str(result.exception)
    assert not (bench / "parts").exists()


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_workspace_whose_name_is_no_text(bench, tmp_path):
    odd = tmp_path / os.fsdecode(b"b\xe4nch")
    odd.mkdir()
    shutil.copytree(bench / "calibration", odd / "calibration")
    shutil.copyfile(bench / "rig.yaml", odd / "rig.yaml")
    result = run(odd, "--part", "field-1", "--json", "--tolerance", "90")
    assert result.exit_code == 0, result.exception
    verdict = verdict_of(result)
    assert is_result(Path(verdict["result"]))
    assert "b\\udce4nch" in Path(verdict["report"]).read_text(encoding="utf-8")
    assert "store" not in result.stderr


def test_heights_are_right(bench):
    result = run(bench, "--part", "field-1", "--json")
    from reconstruct.export.results import read_results

    surface = read_results(Path(verdict_of(result)["result"]))
    with np.load(bench / "field-1.npz") as truth:
        error = surface.height_mm - truth["position"][..., 2]
    error -= np.nanmean(error)
    assert np.sqrt(np.nanmean(error**2)) < 1.0


def test_the_report_says_the_verdict_first(bench):
    (bench / "plans").mkdir()
    (bench / "plans" / "field.yaml").write_text(
        "format: rig-plan/1\ntype: field\nfeatures:\n"
        "  - {name: even, kind: flatness, region: [-20, -20, 20, 20], upper: 0.001}\n",
        encoding="utf-8",
    )
    result = run(bench, "--part", "field-1", "--type", "field", "--operator", "Ada & Co", "--json")
    assert result.exit_code == 1
    verdict = verdict_of(result)
    page = Path(verdict["report"]).read_text(encoding="utf-8")
    head = page[page.index("<!--verdict-->") : page.index("Maps</h2>")]
    for said in ("OUT OF TOLERANCE", "even", "Ada &amp; Co", "<svg", "ISO 14253-1"):
        assert said in head
    assert str(bench) not in head
    kept = Path(verdict["recording"]) / "snapshot" / "inspection_plan.yaml"
    assert kept.read_text(encoding="utf-8").startswith("format: rig-plan/1")
    listed = CliRunner().invoke(app, ["list", "--json", "--workspace", str(bench)])
    assert json.loads(listed.stdout)[0]["features"][0]["verdict"] == "out of tolerance"


def test_a_plan_brings_its_own_tolerances(bench):
    refused = run(bench, "--part", "field-1", "--type", "field", "--tolerance", "1")
    assert "leave --tolerance out" in str(refused.exception)


def test_simulate_brings_its_own_calibration_and_keeps_the_truth(bench):
    for name in ("lights.json", "camera.json"):
        (bench / "calibration" / name).unlink()
    result = run(bench, "--part", "field-1", "--simulate", "--json")
    assert result.exit_code == 0, result.output
    recording = Recording.open(Path(json.loads(result.stdout.splitlines()[-1])["recording"]))
    assert None not in (recording.camera_path, recording.lights_path, recording.truth_path)
    done = CliRunner().invoke(app, ["evaluate", "field-1", "--workspace", str(bench)])
    assert done.exit_code == 0, done.output
    assert "normals, mean error" in done.output
    assert not (bench / "calibration" / "lights.json").exists(), "a real rig's must not be made up"


def test_ctrl_c_keeps_the_best_surface_without_a_verdict(bench, monkeypatch):
    compute = part.reconstruct

    def interrupted(name, stack, camera, lights, options):
        options.progress("level 1/2", 0.3)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            options.progress("level 2/2", 0.6)
        surface = compute(name, stack, camera, lights, options)
        return replace(surface, summary={**surface.summary, "stopped": True})

    monkeypatch.setattr(part, "reconstruct", interrupted)
    names = bench / "names.txt"
    names.write_text("field-1\nfield-2\n", encoding="utf-8")
    result = run(bench, "--watch", "--names", names, "--tolerance", "5", "--json")
    assert result.exit_code == 130
    assert result.stdout == "", "what was stopped has no verdict"
    (kept,) = bench.glob("parts/*/*/results/*")
    assert str(kept) in result.stderr
    assert read_results(kept).summary["stopped"]
    assert not (kept / "verdict.json").exists()
    assert list(kept.parent.glob(".*")) == []


def test_what_a_killed_run_left_is_cleared_by_the_next(bench):
    """The killed one had its recording; the next one makes another, in another folder."""
    dead = bench / "parts" / "field-1" / "20260101T000000Z" / "results" / ".01.part"
    (dead / "work").mkdir(parents=True)
    owner = {"pid": 2**22 - 3, "host": socket.gethostname(), "started": "1", "boot": "before"}
    (dead / "owner.json").write_text(json.dumps(owner), encoding="utf-8")
    assert run(bench, "--part", "field-1").exit_code == 0
    assert not dead.parent.exists()


def test_the_claim_of_a_killed_capture_goes_before_it_is_resumed(bench):
    """It died between putting its recording into place and giving up its claim."""
    begun = bench / "parts" / "field-1" / "20260101T000000Z.part"
    dead = begun.with_name(f".{begun.name}.part")
    for folder in (begun / "frames", dead):
        folder.mkdir(parents=True)
    Workspace.at(bench).clear_dead("field-1")
    assert list(begun.parent.iterdir()) == [begun]
