"""Three ways to take a list of shots so that each picture meets its light.

*software*: LED on, echo, trigger, picture, off, one at a time. *board-clocked*: the board runs an
uploaded sequence and pulses the camera's trigger line. *camera-clocked*: the camera runs freely
and its exposure-active line steps the board.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from capture.camera.base import Camera, CameraSettings, CameraState, Frame
from capture.camera.features import SETTINGS
from capture.errors import DeviceError, DeviceTimeout, PlanError
from capture.leds.base import LedBoard, Step, StepReport
from capture.plan import Shot

Mode = Literal["software", "board-clocked", "camera-clocked"]

MARGIN_US = 120  # an LED stays on this long after the exposure, for latencies and late edges
SLACK_US = 100.0  # how late an edge may be within that margin
SETTLE_STEP_US = 100  # settle times differ by multiples of this, so that no shift goes unnoticed
DEFAULT_TIMEOUT_S = 1.0  # on top of the exposure

Note = Callable[[str, dict[str, object]], None]


class SequenceVoid(DeviceError):
    """A sequence failed as a whole: none of its pictures can be trusted."""


@dataclass(frozen=True, eq=False)
class Taken:
    """One picture and what the devices said about it. See `pairing.Evidence` for the fields."""

    shot: Shot
    frame: Frame
    echo: int | None
    board_us: float | None = None
    sequence: int = 0
    slack_us: float = 0.0


class Synchroniser(Protocol):
    """Takes shots. Made by `synchroniser`; `configure` comes once, `expose` before each pass."""

    mode: Mode

    def configure(self, settings: CameraSettings) -> CameraState: ...
    def expose(self, exposure_us: float) -> float:
        """Set the exposure of the next shots; returns what the camera took."""

    def take(self, shots: Sequence[Shot], sequence: int) -> Iterator[Taken]:
        """Take shots of one exposure; `sequence` numbers an uploaded sequence (from 1).

        Raises `SequenceVoid` if the sequence as a whole failed, `DeviceError` if a device did for
        good. Closing the iterator darkens the LEDs.
        """


def choose_mode(
    wanted: str, capabilities: frozenset[str], line: str | None, strobe_line: str | None
) -> Mode:
    """The way to synchronise; ``auto`` takes the fastest that the devices and wires allow.

    Raises
    ------
    PlanError
        if the way asked for is not possible, with what is missing
    """
    lacks: dict[Mode, str] = {"board-clocked": "", "camera-clocked": "", "software": ""}
    if line is None:
        lacks["board-clocked"] = "camera: line names no trigger input, such as Line0"
    elif "sequence" not in capabilities:
        lacks["board-clocked"] = "the board runs no sequences"
    if strobe_line is None:
        lacks["camera-clocked"] = "camera: strobe_line names no output, such as Line1"
    elif "camera-clocked" not in capabilities:
        lacks["camera-clocked"] = "the board does not follow a camera's edges"
    for mode, lack in lacks.items():
        if wanted == "auto" and not lack:
            return mode
        if wanted == mode:
            if lack:
                raise PlanError(f"{mode} capture is not possible: {lack}; try trigger: software")
            return mode
    raise PlanError(f"'{wanted}' is no way to synchronise: name auto, {', '.join(lacks)}")


def synchroniser(
    mode: Mode,
    board: LedBoard,
    camera: Camera,
    settle_us: int,
    retries: int,
    note: Note,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Synchroniser:
    """The synchroniser of a mode; `note` is told about each retry."""
    if mode == "software":
        return SoftwareSync(board, camera, settle_us, retries, note, timeout_s)
    clocked = BoardClocked if mode == "board-clocked" else CameraClocked
    return clocked(board, camera, settle_us, timeout_s)


class SoftwareSync:
    """The host leads. A shot that fails is taken again on the spot, after a fresh start."""

    mode: Mode = "software"

    def __init__(
        self,
        board: LedBoard,
        camera: Camera,
        settle_us: int,
        retries: int,
        note: Note,
        timeout_s: float,
    ) -> None:
        self._board, self._camera = board, camera
        self._settle_us = settle_us
        self._retries, self._note = retries, note
        self._timeout_s = timeout_s
        self._exposure_us = 0.0
        self._last_id: int | None = None
        # Our protocol always names the LED; other boards say whether theirs does.
        self._names_led = bool({"echo", "sequence"} & board.identity.capabilities)

    def configure(self, settings: CameraSettings) -> CameraState:
        return self._camera.configure(replace(settings, trigger="software"))

    def expose(self, exposure_us: float) -> float:
        if exposure_us != self._exposure_us:  # some armed cameras apply it a frame late
            self._camera.disarm()
            self._last_id = None  # it counts its frames from 0 when it is armed again
        self._exposure_us = self._camera.set_exposure(exposure_us)
        return self._exposure_us

    def take(self, shots: Sequence[Shot], sequence: int = 0) -> Iterator[Taken]:
        self._board.off()
        self._camera.arm()
        done: Taken | None = None
        try:
            for shot in shots:
                frame: Frame | None = None
                for attempt in range(self._retries + 1):
                    try:
                        self._light_and_trigger(shot)
                        if done is not None:  # the caller works while the camera exposes
                            ready, done = done, None
                            yield ready
                        frame = self._fetch(shot)
                        break
                    except DeviceError as error:
                        if attempt == self._retries:
                            raise DeviceError(
                                f"no picture of {shot.name} after {attempt + 1} attempts: {error}"
                            ) from error
                        cause = {"index": shot.index, "led": shot.led, "reason": str(error)}
                        self._note("retry", cause)
                        self._start_afresh(attempt)
                assert frame is not None
                done = Taken(shot, frame, shot.led if self._names_led else None)
            if done is not None:
                yield done
        except BaseException:
            _leave(self._board, self._camera)
            self._last_id = None
            raise
        # The camera stays armed: without a trigger it takes nothing, and stopping may take long.

    def _light_and_trigger(self, shot: Shot) -> None:
        if shot.led:
            self._board.on(shot.led, shot.level)
            if self._settle_us:
                time.sleep(self._settle_us * 1e-6)
        self._camera.trigger()

    def _fetch(self, shot: Shot) -> Frame:
        frame = self._camera.next_frame(self._exposure_us * 1e-6 + self._timeout_s)
        if shot.led:
            self._board.off()  # raises if the board went dark before
        expected = None if self._last_id is None else self._last_id + 1
        if expected is not None and frame.frame_id != expected:
            raise DeviceError(
                f"frame {expected} was due, the camera delivered frame {frame.frame_id}"
            )
        told_us = frame.exposure_us
        if told_us is not None and abs(told_us - self._exposure_us) > 0.05 * self._exposure_us:
            raise DeviceError(
                f"{self._exposure_us:g} µs were set, the camera exposed for {told_us:g} µs"
            )
        self._last_id = frame.frame_id
        return frame

    def _start_afresh(self, attempt: int) -> None:
        """Nothing lit, nothing on its way: a late frame must not pass for the next one.

        Some cameras never see the first trigger after they were armed: from the second time on
        one is spent on nothing.
        """
        self._camera.disarm()
        with contextlib.suppress(DeviceError):  # `on` will tell, after it has reconnected
            self._board.off()
        self._camera.arm()
        self._last_id = None
        if attempt:
            with contextlib.suppress(DeviceTimeout):
                self._camera.trigger()
                self._camera.next_frame(self._exposure_us * 1e-6 + self._timeout_s)


class _Clocked:
    """What the two clocked ways share: upload, collect, compare counts and frame ids."""

    mode: Mode

    def __init__(self, board: LedBoard, camera: Camera, settle_us: int, timeout_s: float) -> None:
        self._board, self._camera = board, camera
        self._settle_us = settle_us
        self._timeout_s = timeout_s
        self._exposure_us = 0.0
        self._period_us = 0
        self._fastest = True  # the period is the shortest that the camera allows

    def configure(self, settings: CameraSettings) -> CameraState:
        trigger: Literal["line", "free"] = "line" if self.mode == "board-clocked" else "free"
        state = self._camera.configure(replace(settings, trigger=trigger))
        self._fastest = settings.frame_rate_hz is None
        rate = settings.frame_rate_hz or _frame_rate(state)
        self._period_us = round(1e6 / rate) if rate else 0
        return state

    def expose(self, exposure_us: float) -> float:
        self._camera.disarm()
        self._exposure_us = self._camera.set_exposure(exposure_us)
        return self._exposure_us

    def take(self, shots: Sequence[Shot], sequence: int) -> Iterator[Taken]:
        steps = self._steps(shots)
        limit_ms = self._board.identity.max_on_ms
        longest_us = max(step.settle_us + step.exposure_us for step in steps)
        if limit_ms is not None and longest_us > limit_ms * 1000:
            raise PlanError(
                f"an exposure of {self._exposure_us / 1000:g} ms keeps an LED on for longer than "
                f"the {limit_ms} ms that the board allows: shorten it"
            )
        try:
            yield from self._collect(shots, steps, sequence)
        except SequenceVoid:
            raise
        except DeviceError as error:
            raise SequenceVoid(str(error)) from error
        finally:
            _leave(self._board, self._camera)

    def _collect(
        self, shots: Sequence[Shot], steps: Sequence[Step], sequence: int
    ) -> Iterator[Taken]:
        timeout_s = max(self._exposure_us, self._period_us) * 1e-6 + self._timeout_s
        self._board.off()
        self._board.upload(steps)
        self._start()
        reports = self._board.reports(timeout_s)
        last_id: int | None = None
        for number, (shot, step) in enumerate(zip(shots, steps, strict=True)):
            frame = self._camera.next_frame(timeout_s)
            report = next(reports)
            if (report.index, report.led) != (number, shot.led):
                raise SequenceVoid(
                    f"step {number} with LED {shot.led} was due, the board reports "
                    f"step {report.index} with LED {report.led}"
                )
            if last_id is not None and frame.frame_id != last_id + 1:
                raise SequenceVoid(
                    f"frame {last_id + 1} was due, the camera delivered frame {frame.frame_id}"
                )
            last_id = frame.frame_id
            board_us = self._lit_since(report, step)
            yield Taken(shot, frame, report.led, board_us, sequence, self._slack_us())
        for _ in reports:  # raises unless the board is done
            raise SequenceVoid("the board reports more steps than it was given")
        self._nothing_more()

    def _steps(self, shots: Sequence[Shot]) -> list[Step]:
        raise NotImplementedError

    def _start(self) -> None:
        raise NotImplementedError

    def _lit_since(self, report: StepReport, step: Step) -> float:
        raise NotImplementedError

    def _slack_us(self) -> float:
        raise NotImplementedError

    def _nothing_more(self) -> None:
        raise NotImplementedError


class BoardClocked(_Clocked):
    """The board leads: it pulses the camera's trigger line once a step.

    Settle times differ from step to step, so that the intervals between pictures say which step
    is which: a shift by one between lights and pictures cannot fit both clocks.
    """

    mode: Mode = "board-clocked"

    def _steps(self, shots: Sequence[Shot]) -> list[Step]:
        exposure_us = round(self._exposure_us) + MARGIN_US
        return [
            Step(shot.led, shot.level, self._settle_us + _dither(number), exposure_us)
            for number, shot in enumerate(shots)
        ]

    def _start(self) -> None:
        self._camera.arm()
        # The period runs from light to light; dithered settle times shorten some of the intervals,
        # which the camera's own fastest rate does not allow.
        shorter_us = _dither(0, worst=True) if self._fastest else 0
        self._board.arm(period_us=self._period_us + shorter_us)
        self._board.run()

    def _lit_since(self, report: StepReport, step: Step) -> float:
        return float(report.on_us + step.settle_us)

    def _slack_us(self) -> float:
        return SLACK_US

    def _nothing_more(self) -> None:
        try:
            extra = self._camera.next_frame(0.02)
        except DeviceTimeout:
            return
        raise SequenceVoid(f"the camera took a picture too many (frame {extra.frame_id})")


class CameraClocked(_Clocked):
    """The camera leads: the edge of its exposure-active line lights the next LED."""

    mode: Mode = "camera-clocked"

    def _steps(self, shots: Sequence[Shot]) -> list[Step]:
        exposure_us = round(self._exposure_us) + MARGIN_US
        return [Step(shot.led, shot.level, 0, exposure_us) for shot in shots]

    def _start(self) -> None:
        self._board.arm(camera_clocked=True)
        self._camera.arm()

    def _lit_since(self, report: StepReport, step: Step) -> float:
        return float(report.on_us)

    def _slack_us(self) -> float:
        return 0.004 * self._exposure_us  # light of the LED before that a late answer lets in

    def _nothing_more(self) -> None:
        """The camera runs on; there is always one more."""


def _dither(number: int, worst: bool = False) -> int:
    """A settle time added to step `number`, µs; no shift of the pattern resembles itself."""
    pattern = (0, 5, 2, 7, 1, 4, 6, 3, 0, 2, 5, 1, 7, 3, 6, 4, 2)  # 17 long, no short period
    return SETTLE_STEP_US * (max(pattern) if worst else pattern[number % len(pattern)])


def _frame_rate(state: CameraState) -> float | None:
    """The fastest rate the camera itself names, Hz."""
    for name in SETTINGS["frame_rate_limit"].names:
        rate = state.nodes.get(name)
        if isinstance(rate, int | float) and rate > 0:
            return float(rate)
    return None


def _leave(board: LedBoard, camera: Camera) -> None:
    """Dark and disarmed, whatever happened."""
    with contextlib.suppress(DeviceError):
        board.abort()
    with contextlib.suppress(DeviceError):
        board.off()
    with contextlib.suppress(DeviceError):
        camera.disarm()
