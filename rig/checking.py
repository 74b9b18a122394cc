"""What ``rig check`` does: a quick set of pictures held against the calibration in force."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from calib.camera import Camera
from calib.check import Finding, check_ball, check_linearity, check_plate
from calib.from_pictures import ball_radius
from calib.light_files import read_lights
from calib.lights import Lights
from calib.plate import measure_plate
from calib.validity import age_days, check_validity
from calib.views import measure_views
from capture.plan import Plan, Shot
from rig.calibrating import pictures_at
from rig.calibrating_live import Ask, asker, record, showing, take_ambient
from rig.calibration_scene import CalibrationScene
from rig.capturing import configuration
from rig.exits import GOOD, OUT_OF_TOLERANCE, UsageError
from rig.recorded import RecordedPictures
from rig.session import Rig, identity_of, open_rig
from rig.stagehand import Stagehand, stagehand_of
from rig.workspace import Workspace, new_folder

SWEEP = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Exposures of the linearity sweep, relative to the plan's longest."""


@dataclass(frozen=True)
class Order:
    """What was typed for ``rig check``."""

    plate: Path | None = None
    ball: Path | None = None
    diameter_mm: float | None = None
    lights: Path | None = None
    camera: Path | None = None
    workspace: Path | None = None
    simulate: bool = False
    size: str | None = None
    seed: int = 0
    yes: bool = False


def run(order: Order) -> int:
    """Carry out an order, say what was found, and return the exit code."""
    workspace = Workspace.at(order.workspace)
    own = _own(workspace, order) if order.simulate else (None, None)
    lights = own[0] or read_lights(order.lights or _in_force(workspace, "lights.json"))
    camera = own[1] or Camera.read(order.camera or _in_force(workspace, "camera.json"))
    age = age_days(lights)
    if age is not None:
        print(f"Lights calibrated {age:.0f} days ago")
    if order.plate is not None or order.ball is not None:
        findings = _pictures(order, lights, camera)
    else:
        findings = _live(order, workspace, lights, camera)
    for finding in findings:
        print(f"{finding.kind}: {finding.text}")
    if not findings:
        print("Everything is as it was calibrated")
    return OUT_OF_TOLERANCE if findings else GOOD


def _own(workspace: Workspace, order: Order) -> tuple[Lights | None, Camera | None]:
    """The virtual rig's own lights and camera, where the workspace has none."""
    config, _ = configuration(workspace, True, order.size)
    scene = CalibrationScene(config.board.leds, 12.7, order.seed, config.virtual.shape)
    known = workspace.calibration
    no_lights = order.lights is None and not (known / "lights.json").is_file()
    no_camera = order.camera is None and not (known / "camera.json").is_file()
    return scene.lights if no_lights else None, scene.camera if no_camera else None


def _in_force(workspace: Workspace, name: str) -> Path:
    path = workspace.calibration / name
    if not path.is_file():
        command = "calibrate-lights" if name.startswith("lights") else "calibrate-camera"
        raise UsageError(f"there is no {path} to check against: run 'rig {command}' first")
    return path


def _pictures(order: Order, lights: Lights, camera: Camera) -> list[Finding]:
    findings: list[Finding] = []
    ids = [int(k) for k in lights.ids]
    if order.plate is not None:
        findings += check_plate(measure_plate(pictures_at(order.plate, ids), camera), lights)
    if order.ball is not None:
        if order.diameter_mm is None:
            raise UsageError("how big is the ball? --sphere-diameter 25.4")
        radius = ball_radius(order.diameter_mm)
        pictures = pictures_at(order.ball, ids)
        for view in measure_views(pictures, camera, radius, name=order.ball.name):
            findings += check_ball(view, lights, camera, radius)
    print("The camera's linearity is not checked: that takes an exposure sweep at the rig")
    return findings


def _live(order: Order, workspace: Workspace, lights: Lights, camera: Camera) -> list[Finding]:
    config, text = configuration(workspace, order.simulate, order.size)
    radius = None if order.diameter_mm is None else ball_radius(order.diameter_mm)
    scene = None
    if order.simulate:
        shape = config.virtual.shape
        scene = CalibrationScene(config.board.leds, radius or 12.7, order.seed, shape)
    leds = tuple(k for k in map(int, lights.ids) if k <= config.board.leds)
    plan = Plan(**{**vars(config.default_plan()), "leds": leds})
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = new_folder(workspace.calibration / "checks" / stamp)
    stage: CalibrationScene | Stagehand | None = scene or stagehand_of(config)
    if isinstance(stage, Stagehand) and radius is not None:
        stage.radius_mm = radius
    ask = asker(order.yes or stage is not None)
    findings: list[Finding] = []
    with open_rig(config, scene=scene, config_text=text, seed=order.seed) as rig:
        for warning in check_validity(
            lights,
            board=identity_of(rig.board.identity),
            camera=identity_of(rig.camera.identity),
            max_age_days=config.calibration.max_age_days,
        ):
            print(f"Note: {warning}")
        ask("White plate flat on the stage, room light off")
        with showing(stage, "plate", (0.0, 0.0)):
            record(rig, folder / "plate", plan)
            found, worst = _sweep(rig, plan)
        findings += found
        print(f"Linearity over {len(SWEEP)} exposures: within {100 * worst:.2f} %")
        findings += check_plate(measure_plate(RecordedPictures(folder / "plate"), camera), lights)
        if radius is not None:
            findings += _ball(rig, stage, plan, folder, camera, lights, radius, ask)
    return findings


def _ball(
    rig: Rig,
    stage: CalibrationScene | Stagehand | None,
    plan: Plan,
    folder: Path,
    camera: Camera,
    lights: Lights,
    radius: float,
    ask: Ask,
) -> list[Finding]:
    ask("Mirror ball on the middle of the stage, room light on")
    with showing(stage, "ball", (0.0, 0.0), room_light=True):
        take_ambient(rig, folder / "ball-ambient.npy")
    ask("Room light off")
    with showing(stage, "ball", (0.0, 0.0)):
        record(rig, folder / "ball", plan)
    findings: list[Finding] = []
    for view in measure_views(RecordedPictures(folder / "ball"), camera, radius, name="ball"):
        findings += check_ball(view, lights, camera, radius)
    return findings


def _sweep(rig: Rig, plan: Plan) -> tuple[list[Finding], float]:
    """Signal of one LED on the plate over exposures, the black level taken from dark pictures."""
    exposures, signals, errors = [], [], []
    led = plan.leds[len(plan.leds) // 2]
    for factor in SWEEP:
        used = rig.sync.expose(max(plan.exposures_us) * factor)
        shots = [
            Shot(0, "dark", 0, plan.level, used, 0),
            Shot(1, "light", led, plan.level, used, 0),
        ]
        dark, light = (picture.frame for picture in rig.sync.take(shots, 1))
        if np.mean(light.pixels >= 2**light.bits - 1) > 1e-3:
            continue  # a clipped picture says nothing about linearity
        difference = light.pixels.astype(np.float64) - dark.pixels
        exposures.append(used)
        signals.append(float(difference.mean()))
        errors.append(float(difference.std() / np.sqrt(difference.size)) + 0.05)
    if len(exposures) < 3:
        text = "too many pictures of the exposure sweep are clipped to tell whether it is linear"
        return [Finding("linearity", (), text)], float("nan")
    return check_linearity(exposures, signals, errors)
