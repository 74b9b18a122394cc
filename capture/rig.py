"""An open rig: board and camera, synchronised, ready to take recordings.

>>> with open_rig("/dev/ttyACM0", "producer.cti#1234") as rig:           # doctest: +SKIP
...     recording = rig.take("parts/A12/1", Plan(leds=range(1, 97)))
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from capture.bracket import propose, spread
from capture.camera.address import open_camera
from capture.camera.base import Camera, CameraSettings, CameraState, Trigger
from capture.errors import DeviceError, PlanError
from capture.evidence import Reference
from capture.leds.base import LedBoard
from capture.leds.board import open_board
from capture.plan import Plan, Shot
from capture.reading import Recording
from capture.recording import RecordingWriter, Snapshot
from capture.runner import Devices, Progress, Runner, Summary, kept_entries, recorded_reference
from capture.synchronise import (
    DEFAULT_TIMEOUT_S,
    Mode,
    Synchroniser,
    choose_mode,
    synchroniser,
)
from capture.world import find, is_simulated

LARGEST_EXPOSURE_US = 1e6
_TRIGGERS: dict[Mode, Trigger] = {
    "software": "software",
    "board-clocked": "line",
    "camera-clocked": "free",
}


@dataclass(frozen=True)
class BoardAddress:
    """Where a board is and what it speaks (see `capture.leds.board.open_board`)."""

    port: str
    baud: int | None = None
    dialect: str | Path | None = None
    leds: int | None = None


@dataclass
class OpenRig:
    """Devices that are open, and how to synchronise them.

    Attributes
    ----------
    mode : how a picture meets its light: software, board-clocked or camera-clocked
    state : what the camera took of `settings`
    address : of the camera; one that begins with ``sim://`` is a virtual rig's
    retries : how often a failed picture or sequence is taken again
    """

    board: LedBoard
    camera: Camera
    mode: Mode
    sync: Synchroniser
    state: CameraState
    settings: CameraSettings
    address: str = ""
    retries: int = 2
    _note: Callable[[str, dict[str, object]], None] | None = field(default=None, repr=False)

    @property
    def devices(self) -> Devices:
        seed = find(self.address).seed if self.virtual else None
        return Devices(self.board.identity, self.camera.identity, self.settings, seed)

    @property
    def virtual(self) -> bool:
        return is_simulated(self.address)

    def tell(self, event: str, data: dict[str, object]) -> None:
        """Enter what a device did into the journal of the recording that is being taken."""
        if self._note is not None:
            self._note(event, data)

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
        limits_us = (20.0, min(limit_ms * 1000 * 0.8, LARGEST_EXPOSURE_US))
        found = propose(
            take, spread(plan.leds), lambda: full_scale, plan.exposures_us[0], limits_us
        )
        return found, taken

    def take(
        self,
        folder: Path | str,
        plan: Plan,
        *,
        resume: bool = False,
        like: Recording | None = None,
        progress: Progress = lambda done, total, what: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Recording:
        """Take a plan into a new recording.

        Parameters
        ----------
        folder : of the recording; must not exist, unless an unfinished one is resumed
        like : an earlier recording of this rig, which its LEDs must resemble
        progress : told pictures done, pictures in all, and what was taken
        stop : asked after each picture; True ends the run, which can be resumed

        Raises
        ------
        DeviceError
            a device failed for good, or it was stopped; what is sound is kept and can be resumed
        PlanError, DataError
            the plan asks for what the board has not; the recording cannot be written
        """

        def references(exposure_us: float) -> Sequence[Reference]:
            known = None if like is None else recorded_reference(like, exposure_us)
            return () if known is None else (known,)

        runner = self.runner(Path(folder), plan, {}, resume=resume, references=references)
        runner.progress, runner.stop = progress, stop
        summary = self.run(runner)
        if not summary.finished:
            raise DeviceError(
                f"the recording was stopped: {summary.folder} keeps what was taken (resume=True)"
            )
        return Recording.open(summary.folder)

    def runner(
        self,
        folder: Path,
        plan: Plan,
        snapshots: Mapping[str, Snapshot],
        *,
        resume: bool = False,
        references: Callable[[float], Sequence[Reference]] = lambda exposure_us: (),
        test_shots: Sequence[tuple[int, float]] = (),
    ) -> Runner:
        """What takes a plan into a recording folder (see `capture.runner.Runner`)."""
        beyond = [led for led in plan.leds if led > self.board.identity.led_count]
        if beyond:
            raise PlanError(
                f"the plan asks for LED {beyond[0]}, "
                f"the board has 1 to {self.board.identity.led_count}"
            )
        runner = Runner(
            plan=plan,
            devices=self.devices,
            sync=self.sync,
            folder=folder,
            state=self.state,
            snapshots=snapshots,
            references=references,
            retries=self.retries,
            test_shots=test_shots,
        )
        if resume:
            runner.writer = RecordingWriter.resume(folder, runner.start())
            if self.virtual:
                _replay(runner.writer, self.address)
        return runner

    def run(self, runner: Runner) -> Summary:
        """Take what the runner's recording lacks; notes of the devices go into its journal."""
        self._note = runner.note
        try:
            return runner.run()
        finally:
            self._note = None


def _replay(writer: RecordingWriter, address: str) -> None:
    """Tell a virtual camera what was taken already, so that its noise goes on from there."""
    from capture.camera.virtual import replay

    shots = [(int(led), float(us), 1.0) for led, us in writer.start.get("test_shots", [])]
    for entry in kept_entries(writer):
        level = float(entry.data.get("level", 1.0))
        shots.append((entry.led, float(entry.data["exposure_us"]), level))
    replay(address, shots)


@contextlib.contextmanager
def open_rig(
    board: BoardAddress | str,
    camera: str,
    *,
    trigger: Mode | Literal["auto"] = "auto",
    settings: CameraSettings | None = None,
    settle_us: int = 200,
    retries: int = 2,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Iterator[OpenRig]:
    """Open board and camera, configure the camera, and leave both dark and closed.

    Parameters
    ----------
    board : its port, or port, speed and dialect
    camera : ``producer.cti#serial``; ``sim://name`` for a world that `capture.world.publish` knows
    trigger : how a picture meets its light; auto: the best that board and wiring can do
    settings : asked of the camera; its trigger follows from `trigger`
    settle_us : least wait between an LED going on and the exposure
    retries : how often a failed picture or sequence is taken again
    timeout_s : how long beyond its exposure a picture may take to come

    Raises
    ------
    DeviceError, PlanError
        a device cannot be opened, or the synchronisation asked for is not possible
    """
    at = BoardAddress(board) if isinstance(board, str) else board
    asked = settings or CameraSettings()
    with contextlib.ExitStack() as stack:
        leds = stack.enter_context(open_board(at.port, at.baud, at.dialect, at.leds))
        eye = stack.enter_context(open_camera(camera))
        mode = choose_mode(trigger, leds.identity.capabilities, asked.line, asked.strobe_line)
        told: list[OpenRig] = []

        def note(event: str, data: dict[str, object]) -> None:
            for rig in told:
                rig.tell(event, data)

        sync = synchroniser(mode, leds, eye, settle_us, retries, note, timeout_s)
        line = asked.line if mode == "board-clocked" else None
        asked = replace(asked, trigger=_TRIGGERS[mode], line=line)
        state = sync.configure(asked)
        told.append(OpenRig(leds, eye, mode, sync, state, asked, camera, retries))
        yield told[0]
