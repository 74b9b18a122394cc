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

from capture.bracket import propose, spread
from capture.camera import open_camera
from capture.camera.base import Camera, CameraIdentity, CameraSettings, CameraState
from capture.errors import CaptureError, DataError, PlanError
from capture.evidence import Reference
from capture.leds.base import BoardIdentity, LedBoard
from capture.leds.board import open_board
from capture.plan import Plan, Shot
from capture.reading import Recording
from capture.recording import RecordingWriter, Snapshot
from capture.resemblance import direction_pictures
from capture.runner import Devices, Progress, Runner, Summary, kept_entries, recorded_reference
from capture.synchronise import (
    DEFAULT_TIMEOUT_S,
    Mode,
    Synchroniser,
    choose_mode,
    synchroniser,
)
from capture.world import Scene, World, find, publish
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

    return scene_of(part or "field", led_count=config.board.leds, seed=seed)


@dataclass
class Rig:
    """Devices that are open, and how to synchronise them."""

    config: Config
    board: LedBoard
    camera: Camera
    mode: Mode
    sync: Synchroniser
    state: CameraState
    settings: CameraSettings
    config_text: str = ""
    _note: Callable[[str, dict[str, object]], None] | None = None

    @property
    def devices(self) -> Devices:
        address = self.config.camera.address
        seed = find(address).seed if address.startswith("sim://") else None
        return Devices(self.board.identity, self.camera.identity, self.settings, seed)

    def tell(self, event: str, data: dict[str, object]) -> None:
        if self._note is not None:
            self._note(event, data)

    # pictures --------------------------------------------------------------------------------
    def bracket(self, plan: Plan) -> tuple[tuple[float, ...], list[tuple[int, float]]]:
        """Exposures (µs) that this part needs, and the test shots taken to find them."""
        taken: list[tuple[int, float]] = []
        full_scale = 0

        def take(exposure_us: float, led: int) -> Any:
            nonlocal full_scale
            used_us = self.sync.expose(float(round(exposure_us)))
            shot = Shot(0, "light" if led else "dark", led, plan.level, used_us, 0)
            pictures = list(self.sync.take([shot], 1))
            taken.append((led, used_us))
            full_scale = 2 ** pictures[0].frame.bits - 1
            return pictures[0].frame.pixels

        limit_ms = self.board.identity.max_on_ms or 5000
        limits_us = (20.0, min(limit_ms * 1000 * 0.8, 1e6))
        found = propose(
            take, spread(plan.leds), lambda: full_scale, plan.exposures_us[0], limits_us
        )
        return found, taken

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
        beyond = [led for led in plan.leds if led > self.board.identity.led_count]
        if beyond:
            raise PlanError(
                f"the plan asks for LED {beyond[0]}, "
                f"the board has 1 to {self.board.identity.led_count}"
            )
        kept: dict[str, Snapshot] = {"rig.yaml": self.config_text} if self.config_text else {}
        if not resume:
            kept |= self._own_knowledge()
        runner = Runner(
            plan=plan,
            devices=self.devices,
            sync=self.sync,
            folder=folder,
            state=self.state,
            snapshots={**kept, **(snapshots or {})},
            references=references,
            retries=self.config.plan.retries,
            progress=progress,
            test_shots=test_shots,
        )
        if resume:
            runner.writer = RecordingWriter.resume(folder, runner.start())
            self._replay(runner.writer)
        self._note = runner.note
        try:
            with stop_on_interrupt() as interrupted:
                runner.stop = lambda: interrupted() or stop()
                return runner.run()
        finally:
            self._note = None

    def _own_knowledge(self) -> dict[str, Snapshot]:
        """Camera, lights and truth of the virtual rig; of one in a process of its own the truth."""
        scene = virtual_scene(self.config)
        if scene is None:
            truth = truth_beside(self.config)
            return {} if truth is None else {"calibration/truth.npz": truth}
        from rig.virtual_knowledge import knowledge_of

        return knowledge_of(scene)

    def _replay(self, writer: RecordingWriter) -> None:
        """Tell a virtual camera what was taken already, so that its noise goes on from there."""
        address = self.config.camera.address
        if not address.startswith("sim://"):
            return
        from capture.camera.virtual import replay

        shots = [(int(led), float(us), 1.0) for led, us in writer.start.get("test_shots", [])]
        for entry in kept_entries(writer):
            level = float(entry.data.get("level", 1.0))
            shots.append((entry.led, float(entry.data["exposure_us"]), level))
        replay(address, shots)


@contextlib.contextmanager
def open_rig(
    config: Config,
    *,
    scene: Scene | None = None,
    part: str = "",
    seed: int = 0,
    config_text: str = "",
    timeout_s: float = DEFAULT_TIMEOUT_S,
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

    Raises
    ------
    DeviceError, PlanError
        if a device cannot be opened or the synchronisation asked for is not possible
    """
    _publish(config, scene, part, seed)
    with contextlib.ExitStack() as stack:
        board = stack.enter_context(
            open_board(
                config.board.port, config.board.baud, config.board.dialect, config.board.leds
            )
        )
        camera = stack.enter_context(open_camera(config.camera.address))
        mode = choose_mode(
            config.camera.trigger,
            board.identity.capabilities,
            config.camera.line,
            config.camera.strobe_line,
        )
        told: list[Rig] = []

        def note(event: str, data: dict[str, object]) -> None:
            for rig in told:
                rig.tell(event, data)

        sync = synchroniser(
            mode, board, camera, config.plan.settle_us, config.plan.retries, note, timeout_s
        )
        trigger = {"software": "software", "board-clocked": "line", "camera-clocked": "free"}[mode]
        settings = config.camera_settings(trigger)  # type: ignore[arg-type]
        state = sync.configure(settings)
        _prepare_scene(config, mode)
        rig = Rig(config, board, camera, mode, sync, state, settings, config_text)
        told.append(rig)
        yield rig


def virtual_scene(config: Config) -> Scene | None:
    """What the virtual camera of a configuration looks at; None for a real one."""
    if not config.camera.address.startswith("sim://"):
        return None
    try:
        return find(config.camera.address).scene
    except CaptureError:
        return None


def _publish(config: Config, scene: Scene | None, part: str, seed: int) -> None:
    addresses = {config.board.port, config.camera.address}
    for address in sorted(a for a in addresses if a.startswith("sim://")):
        name = address.removeprefix("sim://").split("?")[0].strip("/")
        with contextlib.suppress(CaptureError):
            find(address)
            if scene is None:
                continue
        publish(name, World(scene or default_scene(config, part, seed), seed=seed))


def _prepare_scene(config: Config, mode: Mode) -> None:
    """Render before the clock runs: a real scene is there when its light goes on."""
    if not config.camera.address.startswith("sim://"):
        return
    scene = find(config.camera.address).scene
    for led in range(1, scene.led_count + 1 if mode != "software" else 2):
        scene.irradiance(led)


# references -----------------------------------------------------------------------------------
def references_of(
    workspace: Workspace, part: str, rig: Rig, leds: Sequence[int]
) -> Callable[[float], Sequence[Reference]]:
    """How this rig's LEDs should look: its newest recording (of this part, if there is one) and
    the calibration in force. A recording of fewer LEDs than `leds`, a wiring test say, is none;
    nor is another part that was judged bad: where a good part differs from it, no LED shone."""
    devices = rig.devices
    same = [run for run in reversed(workspace.runs(part)) if _is_of(run, devices, leds)]
    others = (
        run
        for run in reversed(workspace.all_runs())
        if not _judged_bad(run) and _is_of(run, devices, leds)
    )
    newest = same[0] if same else next(others, None)
    calibrated = _calibrated(workspace) or _own_lights(rig.config)

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


def _is_of(run: Path, devices: Devices, leds: Sequence[int]) -> bool:
    """Was this recorded by these very devices, with all of these LEDs?"""
    try:
        recording = Recording.open(run)
    except DataError:
        return False
    if not set(leds) <= {entry.led for entry in recording.entries if entry.kind == "light"}:
        return False
    recorded = recording.start.get("devices")
    now = devices.to_json()
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
    return Reference(leds, pictures, "the calibration", recorded=False)


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
