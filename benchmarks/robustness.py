"""Two commands at once, and kill -9 at random moments: what is left, and does it go on?

    python benchmarks/robustness.py pairs --count 40
    python benchmarks/robustness.py kills --count 100

Every command runs as a process of its own, forked from one that has loaded the program, on a
virtual rig of 12 LEDs and 64 × 64 pixels. After a kill the command is typed again (a capture with
--resume where a run was begun). What must hold is in `faults`: nothing that a reader can see is
half or mixed, recordings are those of an undisturbed run to the bit, nothing hidden is left over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calib.light_files import read_lights, write_lights
from capture.verify import verify
from capture.world import Scene
from reconstruct.export.results import read_results
from rig import cli, measuring, session
from rig.config import TEMPLATE, Config
from rig.simulate import scene_of, virtual_rig

LEDS, SIZE, PART = 12, 64, "field-1"
MODES = ("software", "board-clocked", "camera-clocked")
SMALL = virtual_rig(LEDS, (SIZE, SIZE))


def small_scene(config: Config, part: str, seed: int) -> Scene:
    return scene_of(part or "field", rig=SMALL, bounce=False)


def start(workspace: Path, typed: str) -> int:
    """A process that carries out a command in a workspace; its number."""
    number = os.fork()
    if number:
        return number
    os.chdir(workspace)
    said = os.open(workspace.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        code = cli._answered(typed.split())
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def end(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def does(workspace: Path, typed: str) -> int:
    return end(start(workspace, typed))


# workspaces ---------------------------------------------------------------------------------------
def make_workspace(folder: Path, mode: str) -> None:
    """A calibrated rig that synchronises in this way."""
    text = TEMPLATE.replace("leds: 96 ", f"leds: {LEDS} ")
    for name, value in (("trigger", mode), ("line", "Line0"), ("strobe_line", "Line1")):
        lines = text.splitlines()
        place = next(n for n, line in enumerate(lines) if line.startswith(f"  {name}:"))
        lines[place] = f"  {name}: {value}"
        text = "\n".join(lines) + "\n"
    calibration = folder / "calibration"
    calibration.mkdir(parents=True)
    (folder / "rig.yaml").write_text(text, encoding="utf-8")
    SMALL.camera.write(calibration / "camera.json")
    write_lights(SMALL.lights, calibration / "lights.json", SMALL.camera)


def make_sphere(base: Path, data: Path) -> None:
    """Pictures of a ball in three places and of a plate, as calibrate-lights takes them."""
    workspace = base / "first"
    shutil.copytree(data / "rig-software", workspace)
    shutil.rmtree(workspace / "calibration")
    assert does(workspace, "calibrate-lights --simulate --yes --poses 3 --workspace .") == 0
    (session_folder,) = (workspace / "calibration" / "sessions").iterdir()
    shutil.copytree(session_folder, data / "ball")
    (data / "ball" / "plate").rename(data / "plate")
    shutil.copyfile(workspace / "calibration" / "camera.json", data / "camera.json")
    shutil.rmtree(workspace)


@dataclass(frozen=True)
class Job:
    """A command that writes.

    Attributes
    ----------
    typed : and, for a pair, what is typed at the same time
    again : what is typed after a kill, from what the workspace then holds
    """

    name: str
    typed: str
    beside: str
    mode: str = "software"
    recorded: bool = False  # it needs a recording to begin with
    again: Callable[[Path], str] | None = None


def resumed(workspace: Path) -> str:
    part = workspace / "parts" / PART
    whole = [path for path in part.glob("2*") if not path.name.endswith(".part")]
    if whole:
        return f"verify {PART}"
    begun = list(part.glob("2*.part"))
    return f"capture --part {PART} --simulate" + " --resume" * bool(begun)


def jobs(data: Path) -> Iterator[Job]:
    for mode in MODES:
        capture = f"capture --part {PART} --simulate"
        yield Job(f"capture, {mode}", capture, capture, mode, again=resumed)
    imported = f"import {data / 'exchange'} --part {PART}"
    yield Job("import", imported, imported)
    reconstruct = f"reconstruct {PART} --method lambert --height"
    yield Job("reconstruct", f"{reconstruct} 2", f"{reconstruct} 30", recorded=True)
    lights = (
        f"calibrate-lights --from {data / 'ball'} --plate {data / 'plate'} --sphere-diameter 25.4 "
        f"--camera {data / 'camera.json'} --workspace . --replace"
    )
    yield Job("calibrate-lights", lights, lights)
    run = f"run --part {PART} --simulate --method lambert --json"
    yield Job("run", run, run)
    export = f"export {PART} --out exchange"
    yield Job("export", export, export, recorded=True)


# what must hold -----------------------------------------------------------------------------------
def frames(run: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((run / "frames").iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def faults(workspace: Path, expected: dict[str, str], job: Job) -> list[str]:
    """What is half, mixed or left over in a workspace."""
    found: list[str] = []
    for run in workspace.glob("parts/*/*"):
        if run.name.startswith(".") or run.name.endswith(".part"):
            found.append(f"left over: {run.name}")
        elif not verify(run).sound:
            found.append(f"not sound: {run}")
        elif job.name in expected and frames(run) != expected[job.name]:
            found.append("another recording than undisturbed")
    for result in workspace.glob("parts/*/*/results/*"):
        if result.name.startswith("."):
            found.append(f"left over: {result.name}")
            continue
        surface = read_results(result)
        height = surface.summary["height"]["mm"]
        if abs(np.nanmean(surface.height_mm) - height) > 1.5:
            found.append(f"mixed: {height} beside {np.nanmean(surface.height_mm):.1f}")
        if not (result / "report.html").is_file():
            found.append("a result without a report")
        if job.name == "run" and not (result / "verdict.json").is_file():
            found.append("a result without a verdict")
    lights = workspace / "calibration" / "lights.json"
    if len(read_lights(lights)) != LEDS:
        found.append("not all lights")
    if job.name == "calibrate-lights":
        date = read_lights(lights).provenance.get("date", "")
        report = workspace / "calibration" / "calibration.html"
        if date and not report.is_file():
            found.append("lights without their report")
    found += [f"left over: {p.name}" for p in (workspace / "calibration").glob(".*")]
    found += [f"left over: {p.name}" for p in workspace.glob(".*.part")]
    return found


# the two forms ------------------------------------------------------------------------------------
def fresh(base: Path, job: Job, data: Path) -> Path:
    workspace = base / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(data / f"rig-{job.mode}", workspace)
    if job.recorded:
        shutil.copytree(data / "recorded", workspace / "parts")
    return workspace


def in_time(count: int, minutes: float) -> Iterator[int]:
    end_s = time.monotonic() + 60 * minutes
    for number in range(count):
        if time.monotonic() > end_s:
            return
        yield number


def pairs(
    base: Path, data: Path, job: Job, count: int, minutes: float, expected: dict[str, str]
) -> dict[str, Any]:
    ends: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for _ in in_time(count, minutes):
        workspace = fresh(base, job, data)
        both = [start(workspace, job.typed), start(workspace, job.beside)]
        codes = sorted(end(number) for number in both)
        ends[str(codes)] += 1
        if codes[0] != 0 or not set(codes) <= {0, 2, 4}:
            wrong[f"ended with {codes}"] += 1
        wrong.update(faults(workspace, expected, job))
    return {"ends": dict(ends), "wrong": dict(wrong)}


def kills(
    base: Path, data: Path, job: Job, count: int, minutes: float, expected: dict[str, str]
) -> dict[str, Any]:
    workspace = fresh(base, job, data)
    began = time.monotonic()
    assert does(workspace, job.typed) == 0
    whole_s = time.monotonic() - began
    moments = random.Random(count)
    ends: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for _ in in_time(20 * count, minutes):
        if ends.total() - ends["too late"] >= count:
            break
        workspace = fresh(base, job, data)
        began = time.monotonic()
        number = start(workspace, job.typed)
        time.sleep(moments.uniform(0, 1.1 * whole_s))
        os.kill(number, signal.SIGKILL)
        killed = end(number) == -signal.SIGKILL
        if not killed:  # the first of all was slow: it loaded what later ones find loaded
            whole_s = min(whole_s, time.monotonic() - began)
        again = job.again(workspace) if job.again is not None else job.typed
        if job.name == "export" and (workspace / "exchange").exists():
            again = f"verify {PART}"
        code = does(workspace, again)
        ends[
            ("killed" if killed else "too late") + (", resumed" if "--resume" in again else "")
        ] += 1
        if code != 0:
            wrong[f"again ended with {code}: {again}"] += 1
        if killed and job.name == "run":  # what the killed one had captured can be resumed
            for part in workspace.glob(f"parts/{PART}/2*.part"):
                if does(workspace, f"capture --part {PART} --simulate --resume") != 0:
                    wrong[f"cannot resume {part.name}"] += 1
        wrong.update(faults(workspace, expected, job))
    return {"seconds": round(whole_s, 2), "ends": dict(ends), "wrong": dict(wrong)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("form", choices=("pairs", "kills"))
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=1e9, help="for each job, at most")
    parser.add_argument("--only", default="", help="jobs whose name contains this")
    asked = parser.parse_args()
    session.default_scene = measuring.default_scene = small_scene
    failed = False
    with tempfile.TemporaryDirectory() as name:
        base, data = Path(name), Path(name) / "data"
        for mode in MODES:
            make_workspace(data / f"rig-{mode}", mode)
        expected = prepare(base, data)
        make_sphere(base, data)
        for job in jobs(data):
            if asked.only not in job.name:
                continue
            form = pairs if asked.form == "pairs" else kills
            found = form(base, data, job, asked.count, asked.minutes, expected)
            done = sum(found["ends"].values())
            print(json.dumps({asked.form: done, "job": job.name, **found}), flush=True)
            failed |= bool(found["wrong"])
        if failed:
            print((base / "said").read_text(errors="replace")[-4000:], file=sys.stderr)
    raise SystemExit(failed)


def prepare(base: Path, data: Path) -> dict[str, str]:
    """One recording and one exchange folder to begin with; frames of undisturbed runs by job."""
    expected = {}
    for mode in MODES:
        workspace = base / "first"
        shutil.copytree(data / f"rig-{mode}", workspace)
        assert does(workspace, f"capture --part {PART} --simulate") == 0
        (run,) = (workspace / "parts" / PART).iterdir()
        expected[f"capture, {mode}"] = frames(run)
        if mode == "software":
            shutil.copytree(workspace / "parts", data / "recorded")
            assert does(workspace, f"export {PART} --out {data / 'exchange'}") == 0
        shutil.rmtree(workspace)
    expected["run"] = expected["capture, software"]
    return expected


if __name__ == "__main__":
    main()
