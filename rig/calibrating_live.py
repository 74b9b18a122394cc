"""``rig calibrate-lights`` at the rig: a guided walk of the mirror ball over the stage."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from calib.advice import ball_places, next_place
from calib.camera import Camera
from calib.certificate import Calibration
from calib.errors import CalibrationError
from calib.from_pictures import ball_radius
from calib.light_files import read_lights
from calib.plate import measure_plate
from calib.solve import solve_lights
from calib.views import SphereView, measure_views
from capture.claim import Claim, claim
from capture.plan import Plan, Shot, parse_leds
from rig.calibrating import Order, find_camera, keep, target
from rig.calibration_scene import CalibrationScene
from rig.calibration_summary import advise, summary
from rig.capturing import configuration
from rig.exits import UsageError
from rig.recorded import RecordedPictures
from rig.session import Rig, identity_of, open_rig
from rig.stagehand import Stagehand, stagehand_of
from rig.workspace import Workspace, new_folder

Ask = Callable[[str], None]


def live(order: Order) -> int:
    """Capture the ball in several places (and the plate), solving as we go; the exit code."""
    workspace = Workspace.at(order.workspace)
    order = replace(order, workspace=workspace.folder)
    diameter = order.diameter_mm
    if diameter is None:
        if not order.simulate:
            raise UsageError("how big is the ball? --sphere-diameter 25.4")
        diameter = 25.4
    ball_radius(diameter)  # refuse nonsense before anything is made
    if order.plate is not None:
        raise UsageError("--plate goes with --from; at the rig the plate is asked for")
    with claim(target(order), replacing=order.replace) as out:
        return _walked(order, workspace, diameter, out)


def _walked(order: Order, workspace: Workspace, diameter: float, out: Claim) -> int:
    radius = ball_radius(diameter)
    config, text = configuration(workspace, order.simulate, order.size)
    plan = config.default_plan()
    if order.leds is not None:
        plan = replace(plan, leds=parse_leds(order.leds))
    scene = None
    if order.simulate:
        scene = CalibrationScene(config.board.leds, radius, order.seed, config.virtual.shape)
    camera = find_camera(order, workspace.calibration)
    if camera is None and scene is not None:
        camera = scene.camera
        with claim(workspace.calibration / "camera.json") as beside:
            camera.write(beside.file)
            beside.publish_files()
    if camera is None:
        raise UsageError("the camera is not calibrated yet: run 'rig calibrate-camera' first")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    session = new_folder(workspace.calibration / "sessions" / stamp)
    stage: CalibrationScene | Stagehand | None = scene or stagehand_of(config)
    if isinstance(stage, Stagehand):
        stage.radius_mm = radius
    ask = asker(order.yes or stage is not None)
    with open_rig(config, scene=scene, config_text=text, seed=order.seed) as rig:
        views, result = _walk(rig, stage, plan, camera, radius, order, session, ask)
        ask("White plate flat on the stage, room light off")
        with showing(stage, "plate", (0.0, 0.0)):
            record(rig, session / "plate", plan)
        plate = measure_plate(
            RecordedPictures(session / "plate"), camera, height_mm=order.plate_height_mm
        )
        devices = {
            "board": identity_of(rig.board.identity),
            "camera": identity_of(rig.camera.identity),
        }
    result = solve_lights(
        views,
        camera,
        radius,
        list(plan.leds),
        plate=plate,
        reflectance=order.plate_reflectance,
        nominal=read_lights(order.nominal) if order.nominal is not None else None,
        nominal_sigma_mm=order.nominal_sigma_mm,
    )
    provenance: dict[str, Any] = {
        **devices,
        "session": str(session.relative_to(workspace.folder)),
        "plan": plan.digest,
        "sphere_diameter_mm": diameter,
        "simulated": order.simulate,
    }
    return keep(result, out, order, provenance, views, plate, print)


def asker(silent: bool) -> Ask:
    def ask(what: str) -> None:
        if silent:
            print(what)
            return
        print(f"{what}; then Enter", flush=True)
        if not sys.stdin.readline():
            raise UsageError("nobody answers: give --yes to go on without waiting")

    return ask


@contextmanager
def showing(
    stage: CalibrationScene | Stagehand | None,
    what: Any,
    at: tuple[float, float],
    room_light: bool = False,
) -> Iterator[None]:
    """The virtual stage with the ball or the plate on it; nothing to do at a real one."""
    if stage is not None:
        stage.show(what, *at)
        stage.room_light = room_light
    yield
    if stage is not None:
        stage.room_light = False


def _walk(
    rig: Rig,
    stage: CalibrationScene | Stagehand | None,
    plan: Plan,
    camera: Camera,
    radius: float,
    order: Order,
    session: Path,
    ask: Ask,
) -> tuple[list[SphereView], Calibration]:
    """Pose after pose; a place without a ball in view is asked for again."""
    views: list[SphereView] = []
    result: Calibration | None = None
    attempt = 0
    misses = 0
    while len(views) < order.poses:
        attempt += 1
        place = _place(camera, radius, len(views), result)
        at = (float(place[0]), float(place[1]))
        name = f"pose_{attempt}"
        where = f"x {at[0]:.0f}, y {at[1]:.0f} mm"
        ask(f"Place {len(views) + 1} of {order.poses}: ball at about {where}, room light on")
        with showing(stage, "ball", at, room_light=True):
            take_ambient(rig, session / f"{name}-ambient.npy")
        ask("Room light off")
        with showing(stage, "ball", at):
            record(rig, session / name, plan)
        try:
            found = measure_views(
                RecordedPictures(session / name), camera, radius, name=name, spheres=order.spheres
            )
        except CalibrationError as error:
            misses += 1
            if misses > 3 or stage is not None:
                raise
            print(f"{error} Once more.")
            continue
        views += found
        seen = max(sum(bool(b) for b in view.blobs.values()) for view in found)
        print(f"{name}: {seen} of {len(plan.leds)} lights in the ball")
        if len(views) >= 2:
            result = solve_lights(views, camera, radius, list(plan.leds), held_out=False)
            print(summary(result))
            if len(views) < order.poses:
                advise(result, print, always=True)
    assert result is not None
    return views, result


def _place(
    camera: Camera, radius: float, number: int, result: Calibration | None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Two opposite corners first, then wherever most is to be learnt."""
    if result is None:
        places = ball_places(camera, radius)
        corner = places[0] if number == 0 else places[-1]
        return np.asarray(corner * np.array([0.8, 0.8, 1.0]))
    return np.asarray(next_place(result)[0])


def record(rig: Rig, folder: Path, plan: Plan) -> None:
    """Take a plan; Ctrl-C ends the command after the current picture."""
    if rig.capture(folder, plan).interrupted:
        raise KeyboardInterrupt


def take_ambient(rig: Rig, path: Path) -> None:
    exposure = rig.sync.expose(rig.config.camera.exposure_ms * 1000)
    shot = Shot(0, "dark", 0, 1.0, exposure, 0)
    frame = next(iter(rig.sync.take([shot], 1))).frame
    full = float(2**frame.bits - 1)
    with path.open("xb") as file:
        np.save(file, (frame.pixels / full).astype(np.float32))
