"""What ``rig demo`` does: the whole chain on the virtual 96-LED dome, with the truth at hand.

Everything goes the way it does with real devices: the virtual camera integrates what the virtual
board lights, calibration and reconstruction see pictures alone, and only the last step looks at
the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calib.camera import Camera
from calib.light_files import read_lights
from capture.world import withdraw
from reconstruct.export.results import read_results
from reconstruct.metrology.accuracy import Truth, evaluate
from rig import calibrating_camera
from rig.calibrating import Order
from rig.calibrating_live import live
from rig.calibration_scene import REFLECTANCE
from rig.computing import computing_shown
from rig.config import TEMPLATE, Config, parse_config
from rig.exits import GOOD, UsageError
from rig.figures import accuracy_table, levels_table, table
from rig.measure_part import Job, Verdict, measure_part
from rig.session import open_rig
from rig.simulate import TOGETHER, RenderedScene, dome, scene_of, virtual_camera
from rig.workspace import Workspace

BALL_MM = 25.4  # diameter
BOARD, SQUARE_MM, VIEWS = "13x9", 8.0, 12
EXPOSURE_MS = 16.0
BORDER_PX = 8
PART = "block-1"  # milled, on the stage, with a pocket, a bore and a boss

Say = Callable[[str], None]


@dataclass
class Demo:
    """One demonstration in a new workspace.

    Attributes
    ----------
    folder : the workspace; made here
    seed : of the virtual rig
    part : see `rig.simulate.named_part`
    poses : places of the mirror ball
    size : of the pictures, as 1024 or 640x480
    """

    folder: Path
    seed: int = 0
    part: str = PART
    poses: int = 4
    size: str = "512"
    say: Say = print
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> int:
        """Calibrate, measure, compare with the truth; returns the exit code."""
        started = time.monotonic()
        workspace, config = self._begin()
        plan = config.default_plan()
        # A real scene need not be drawn: it is while the rig is calibrated.
        artist = ThreadPoolExecutor(1)
        scene = artist.submit(self._scene, config)
        groups = [plan.leds[k : k + TOGETHER] for k in range(0, len(plan.leds), TOGETHER)]
        drawn = [artist.submit(lambda leds: scene.result().draw(leds), leds) for leds in groups]
        try:
            self._step("calibrate", lambda: self._calibrate(workspace))
            wait(drawn)
            verdict = self._step(
                "measure", lambda: self._measure(workspace, config, scene.result())
            )
        finally:
            artist.shutdown(cancel_futures=True)
            withdraw("rig")
        self._compare(workspace, config, verdict)
        self._close(workspace, verdict, time.monotonic() - started)
        return GOOD

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        start = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - start
        return result

    def _begin(self) -> tuple[Workspace, Config]:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise UsageError(
                f"{self.folder} exists and is kept: name another with --workspace, or remove it"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        text = TEMPLATE.replace("exposure_ms: 8.0 ", f"exposure_ms: {EXPOSURE_MS} ")
        text = text.replace("size: 512 ", f"size: {self.size} ")
        workspace = Workspace.at(self.folder)
        workspace.config_file.write_text(text, encoding="utf-8")
        config = parse_config(text)
        self.say(f"A virtual rig of {config.board.leds} LEDs works in {self.folder}")
        return workspace, config

    def _calibrate(self, workspace: Workspace) -> None:
        """Pictures of a board, of a mirror ball in several places and of a white plate."""
        self.say(f"\n1  Calibrate the camera: a board in {VIEWS} positions")
        calibrating_camera.run(
            calibrating_camera.Order(
                source=None,
                target=None,
                board=BOARD,
                square_mm=SQUARE_MM,
                kind="charuco",
                simulate=True,
                views=VIEWS,
                seed=self.seed,
                yes=True,
                workspace=workspace.folder,
            )
        )
        self.say(f"\n2  Calibrate the lights: a mirror ball in {self.poses} places, a white plate")
        live(
            Order(
                source=None,
                diameter_mm=BALL_MM,
                plate_reflectance=REFLECTANCE,
                poses=self.poses,
                simulate=True,
                yes=True,
                seed=self.seed,
                workspace=workspace.folder,
            )
        )

    def _scene(self, config: Config) -> RenderedScene:
        leds, shape = config.board.leds, config.virtual.shape
        return scene_of(self.part, led_count=leds, shape_px=shape, seed=self.seed)

    def _measure(self, workspace: Workspace, config: Config, scene: RenderedScene) -> Verdict:
        """The part as an operator would measure it."""
        self.say(f"\n3  Measure the part '{self.part}': {config.board.leds} pictures, one surface")
        truth = workspace.folder / "truth.npz"
        scene.write_truth(truth)
        with open_rig(config, scene=scene, seed=self.seed) as rig:
            job = Job(plan=config.default_plan(), truth=truth)
            verdict = measure_part(rig, workspace, self.part, job, computing=computing_shown)
        steps = ", ".join(f"{step} {value:.0f} s" for step, value in verdict.seconds.items())
        self.say(f"{verdict.figures['measured_percent']:.1f} % of the part measured ({steps})")
        if levels := read_results(verdict.result).summary.get("pieces"):
            self.say(levels_table(levels))
        return verdict

    def _compare(self, workspace: Workspace, config: Config, verdict: Verdict) -> None:
        """True errors, as only a virtual rig can know them."""
        lights = read_lights(workspace.calibration / "lights.json")
        true, _ = dome(config.board.leds, seed=self.seed)
        true = true.select(lights.ids - 1)
        ratio = lights.power / true.power
        power = 100 * float(np.std(ratio / ratio.mean()))
        self.say("\n4  What the truth says")
        seen = Camera.read(workspace.calibration / "camera.json")
        own = virtual_camera(config.virtual.shape, seed=self.seed)
        # As the cameras see them: the calibrated world begins where the board lay, a little aside.
        found, there = (
            each.position_mm @ camera.R.T + camera.t
            for each, camera in ((lights, seen), (true, own))
        )
        off_mm = np.linalg.norm(found - there, axis=1)
        focal = seen.K[0, 0] / own.K[0, 0] - 1
        rows = [
            ("camera, focal length", f"{100 * focal:+z.3f} %"),
            ("camera, height", f"{seen.centre_mm[2] - own.centre_mm[2]:+z.2f} mm"),
            ("lights, position", f"median {np.median(off_mm):.2f} mm, worst {off_mm.max():.2f} mm"),
            ("lights, power", f"{power:.2f} % RMS"),
        ]
        self.say(table(rows))
        truth = Truth.read(workspace.folder / "truth.npz")
        self.say(accuracy_table(evaluate(read_results(verdict.result), truth, BORDER_PX)))

    def _close(self, workspace: Workspace, verdict: Verdict, total_s: float) -> None:
        """What to open, and what to try."""
        where = self.folder
        self.say(
            f"""
Done in {total_s:.0f} s. Open in a browser:
  {verdict.report}
  {workspace.calibration / "calibration.html"}

Try next:
  rig live --simulate --workspace {where}
  rig run --part coin-7 --simulate --workspace {where}
  rig measure {self.part} --workspace {where}
  rig doctor --workspace {where}
Your own rig: docs/build-a-rig.md, then 'rig init' and the examples."""
        )
