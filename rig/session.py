"""An open rig: board and camera as ``rig.yaml`` names them, ready to take recordings.

`open_rig` is what capture, calibration and checks share. `--simulate` only swaps the two
addresses; everything else is the same.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from capture import rig as capture_rig
from capture.camera.base import Camera, CameraIdentity, CameraSettings, CameraState
from capture.errors import CaptureError, DataError
from capture.evidence import UNMEASURED, Reference
from capture.faults import NONE, Faults
from capture.leds.base import BoardIdentity, LedBoard
from capture.plan import Plan
from capture.prediction import direction_pictures
from capture.reading import Recording
from capture.recording import Snapshot
from capture.rig import BoardAddress, OpenRig
from capture.runner import Devices, Progress, Summary, recorded_reference
from capture.synchronise import DEFAULT_TIMEOUT_S, Mode, Synchroniser
from capture.world import Scene, World, find, is_simulated, publish, world_name
from rig.config import Config
from rig.exits import UsageError
from rig.interrupts import stop_on_interrupt
from rig.stagehand import truth_beside
from rig.workspace import Workspace

SIMULATED = "sim://rig"


def simulated(config: Config) -> Config:
    """The same rig with its two addresses swapped for the virtual rig's."""
    board = config.board.model_copy(update={"port": SIMULATED, "dialect": "rig"})
    camera = config.camera.model_copy(update={"producer": SIMULATED, "serial": None})
    return config.model_copy(update={"board": board, "camera": camera})


def default_scene(config: Config, part: str, seed: int) -> Scene:
    """What the virtual camera sees when nobody brings a scene: the part of that name."""
    from rig.simulate import scene_of

    return scene_of(
        part or "field", led_count=config.board.leds, shape_px=config.virtual.shape, seed=seed
    )


@dataclass
class Rig:
    """An open rig (`capture.rig.OpenRig`) and the configuration that names it."""

    config: Config
    opened: OpenRig
    config_text: str = ""

    @property
    def board(self) -> LedBoard:
        return self.opened.board

    @property
    def camera(self) -> Camera:
        return self.opened.camera

    @property
    def mode(self) -> Mode:
        return self.opened.mode

    @property
    def sync(self) -> Synchroniser:
        return self.opened.sync

    @property
    def state(self) -> CameraState:
        return self.opened.state

    @property
    def settings(self) -> CameraSettings:
        return self.opened.settings

    @property
    def devices(self) -> Devices:
        return self.opened.devices

    def bracket(self, plan: Plan) -> tuple[tuple[float, ...], list[tuple[int, float]]]:
        """Exposures (µs) that this part needs, and the test shots taken to find them."""
        return self.opened.bracket(plan)

    def capture(
        self,
        folder: Path,
        plan: Plan,
        *,
        resume: bool = False,
        references: Callable[[float], Sequence[Reference]] = lambda exposure_us: (),
        snapshots: dict[str, Snapshot] | None = None,
        stop: Callable[[], bool] = lambda: False,
        progress: Progress = lambda done, total, what: None,
        test_shots: Sequence[tuple[int, float]] = (),
    ) -> Summary:
        """Take a plan into a recording folder (its final name; see `capture.runner.Runner`).

        Ctrl-C ends it after the current picture: `Summary.interrupted`.
        """
        kept: dict[str, Snapshot] = {"rig.yaml": self.config_text} if self.config_text else {}
        if not resume:
            kept |= self._own_knowledge()
        runner = self.opened.runner(
            folder,
            plan,
            {**kept, **(snapshots or {})},
            resume=resume,
            references=references,
            test_shots=test_shots,
        )
        runner.progress = progress
        with stop_on_interrupt() as interrupted:
            runner.stop = lambda: interrupted() or stop()
            return self.opened.run(runner)

    def _own_knowledge(self) -> dict[str, Snapshot]:
        """Camera, lights and truth of the virtual rig; of one in a process of its own the truth."""
        scene = virtual_scene(self.config)
        if scene is None:
            truth = truth_beside(self.config)
            return {} if truth is None else {"calibration/truth.npz": truth}
        from rig.virtual_knowledge import knowledge_of

        return knowledge_of(scene)


@contextlib.contextmanager
def open_rig(
    config: Config,
    *,
    scene: Scene | None = None,
    part: str = "",
    seed: int = 0,
    config_text: str = "",
    timeout_s: float = DEFAULT_TIMEOUT_S,
    faults: Faults = NONE,
) -> Iterator[Rig]:
    """Open board and camera, configure the camera, and leave both dark and closed.

    Parameters
    ----------
    config : names the devices; addresses that begin with ``sim://`` are the virtual rig's, which
        is made here unless somebody has published it
    scene : what the virtual camera looks at; None: `default_scene`
    part : the virtual rig's part, where no scene is given
    seed : of the virtual rig's noise, and of the default scene
    config_text : kept with each recording as ``rig.yaml``
    timeout_s : how long beyond its exposure a picture may take to come
    faults : what is wrong with a virtual rig that is made here

    Raises
    ------
    DeviceError, PlanError
        if a device cannot be opened or the synchronisation asked for is not possible
    """
    _publish(config, scene, part, seed, faults)
    with capture_rig.open_rig(
        BoardAddress(config.board.port, config.board.baud, config.board.dialect, config.board.leds),
        config.camera.address,
        trigger=config.camera.trigger,
        settings=config.camera_settings("line"),
        settle_us=config.plan.settle_us,
        retries=config.plan.retries,
        timeout_s=timeout_s,
    ) as opened:
        _prepare_scene(config, opened.mode)
        yield Rig(config, opened, config_text)


def virtual_scene(config: Config) -> Scene | None:
    """What the virtual camera of a configuration looks at; None for a real one."""
    if not config.camera.simulated:
        return None
    try:
        return find(config.camera.address).scene
    except CaptureError:
        return None


def _publish(config: Config, scene: Scene | None, part: str, seed: int, faults: Faults) -> None:
    addresses = {config.board.port, config.camera.address}
    for address in sorted(a for a in addresses if is_simulated(a)):
        with contextlib.suppress(CaptureError):
            find(address)
            if scene is None:
                continue
        world = World(scene or default_scene(config, part, seed), seed=seed, faults=faults)
        publish(world_name(address), world)


def _prepare_scene(config: Config, mode: Mode) -> None:
    """Render before the clock runs: a real scene is there when its light goes on."""
    if not config.camera.simulated:
        return
    scene = find(config.camera.address).scene
    for led in range(1, scene.led_count + 1 if mode != "software" else 2):
        scene.irradiance(led)


# references -----------------------------------------------------------------------------------
def references_of(
    workspace: Workspace, part: str, rig: Rig, leds: Sequence[int]
) -> Callable[[float], Sequence[Reference]]:
    """How this rig's LEDs should look: the newest recording of this part, and the calibration in
    force. Another part is asked only where no calibration is: it knows less of the LEDs. A
    recording of fewer LEDs than `leds`, a wiring test say, is none, nor is one of pictures of
    another size; nor is another part that was judged bad: where a good part differs from it, no LED
    shone."""
    calibrated = _calibrated(workspace) or _own_lights(rig.config)
    same = (run for run in reversed(workspace.runs(part)) if _is_of(run, rig, leds))
    newest = next(same, None)
    if newest is None and calibrated is None:
        others = (run for run in reversed(workspace.all_runs()) if not _judged_bad(run))
        newest = next((run for run in others if _is_of(run, rig, leds)), None)

    def at(exposure_us: float) -> Sequence[Reference]:
        recorded = None
        if newest is not None:
            recorded = recorded_reference(Recording.open(newest), exposure_us)
        return [reference for reference in (recorded, calibrated) if reference is not None]

    return at


def _judged_bad(run: Path) -> bool:
    """Was the newest result of a run out of tolerance, or too little to judge?"""
    verdicts = sorted(run.glob("results/*/verdict.json"))
    try:
        said = json.loads(verdicts[-1].read_text(encoding="utf-8"))["verdict"] if verdicts else ""
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return said in ("out of tolerance", "not sufficient")


def _is_of(run: Path, rig: Rig, leds: Sequence[int]) -> bool:
    """Was this recorded by these very devices, with all of these LEDs, in pictures of this size?"""
    try:
        recording = Recording.open(run)
        if recording.shape != (rig.state.height, rig.state.width):
            return False
    except DataError:
        return False
    if not set(leds) <= {entry.led for entry in recording.entries if entry.kind == "light"}:
        return False
    recorded = recording.start.get("devices")
    now = rig.devices.to_json()
    if not isinstance(recorded, dict):
        return False
    board, camera = recorded.get("board"), recorded.get("camera")
    if not isinstance(board, dict) or not isinstance(camera, dict):
        return False
    return (
        all(board.get(key) == now["board"][key] for key in ("name", "serial", "led_count"))
        and all(camera.get(key) == now["camera"][key] for key in ("vendor", "model", "serial"))
        and recorded.get("virtual_seed") == now.get("virtual_seed")
    )


def _own_lights(config: Config) -> Reference | None:
    scene = virtual_scene(config)
    if scene is None:
        return None
    from rig.virtual_knowledge import reference_of

    return reference_of(scene)


def _calibrated(workspace: Workspace) -> Reference | None:
    from calib.light_files import read_lights

    path = workspace.calibration / "lights.json"
    if not path.is_file():
        return None
    lights = read_lights(path)
    if len(lights) < 6:
        return None
    pictures = direction_pictures(lights.position_mm, lights.power)
    leds = tuple(int(led) for led in lights.ids)
    gain = 0.0 if np.ptp(lights.power) > 0 else UNMEASURED
    return Reference(leds, pictures, "the calibration", recorded=False, gain=gain)


def snapshots_of(workspace: Workspace) -> dict[str, Snapshot]:
    """The calibration in force, to be kept with a recording."""
    if not workspace.calibration.is_dir():
        return {}
    return {
        f"calibration/{path.name}": path
        for path in sorted(workspace.calibration.iterdir())
        if path.is_file() and path.suffix in (".json", ".yaml", ".lp", ".csv", ".dome", ".txt")
    }


def identity_of(identity: BoardIdentity | CameraIdentity) -> dict[str, Any]:
    """A device's identity as JSON knows it."""
    data = asdict(identity)
    return {k: sorted(v) if isinstance(v, frozenset) else v for k, v in data.items()}


def with_exposures(plan: Plan, text: str) -> Plan:
    """The plan with exposures as typed, ``2,8,32`` in ms; raises `UsageError`."""
    try:
        exposures_us = tuple(float(part) * 1000 for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--exposures {text} is no list of milliseconds: write 2,8,32 or auto"
        ) from None
    return replace(plan, exposures_us=exposures_us)
