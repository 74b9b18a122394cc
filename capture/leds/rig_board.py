"""The driver of a board that speaks the rig's own protocol."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from capture.errors import DeviceError, DeviceTimeout
from capture.leds import messages as msg
from capture.leds.base import BoardIdentity, BoardStatus, Step, StepReport
from capture.leds.conversation import Conversation, Garbled
from capture.leds.lights_off import forget, remember, shielded
from capture.leds.link import Link, LinkLost, OtherBoard

ATTEMPTS = 4  # of an exchange that failed by a damaged or lost line
KEEP_ALIVE_S = 0.12  # the watchdog trips at 500 ms
BOOT_S = 4.0  # longest boot after the port is opened: Arduino boot loaders take 1 to 2 s

R = TypeVar("R")


class RigBoard:
    """An LED board that speaks the protocol of ``docs/led-protocol.md``.

    Every exchange has a deadline made of the bytes' time on the wire, the work asked for and a
    fixed allowance; a damaged or missing answer is repeated after resynchronising, except ``RUN``.
    While an LED is lit or a sequence armed, a thread keeps the board's watchdog content. The
    methods may be called from any thread, one at a time.
    """

    identity: BoardIdentity

    def __init__(self, port: str, baud: int = 115200, led_count: int | None = None) -> None:
        self._talk = Conversation(Link(port, baud))
        self._link = self._talk.link
        self._led_count = led_count
        self._lock = threading.RLock()
        self._lit = 0
        self._armed: tuple[Step, ...] | None = None
        self._running = False
        self._camera_clocked = False
        self._steps: tuple[Step, ...] = ()
        self._stored = False  # the board still holds `_steps`
        self._wanted = False  # opened and not yet closed
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None

    # opening and closing ---------------------------------------------------------------------
    def __enter__(self) -> RigBoard:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the port and shake hands; does nothing if it is open."""
        with self._lock:
            if self._link.is_open:
                return
            self._connect()
            self._wanted = True
            remember(self)
            self._stop.clear()
            self._keeper = threading.Thread(target=self._keep_alive, daemon=True, name="led-board")
            self._keeper.start()

    def close(self) -> None:
        """Lights off, CRC optional again, port closed; never raises. May be called twice."""
        with shielded():
            with self._lock:
                self._stop.set()
                self._wanted = False
                if self._link.is_open:
                    with contextlib.suppress(DeviceError):
                        self._exchange(msg.Off(), msg.Off)
                        if self._talk.crc:
                            self._exchange(msg.UseCrc(False), msg.UseCrc)
                    self._link.close()
                self._forget()
                forget(self)
            if self._keeper is not None and self._keeper is not threading.current_thread():
                self._keeper.join()

    def _forget(self) -> None:
        """The board knows nothing of us any more."""
        self._stored = False
        self._at_rest()
        self._talk.restart()

    def _at_rest(self) -> None:
        """Nothing is lit or armed, and what the board said of it is history."""
        self._lit, self._armed, self._running = 0, None, False
        self._talk.forget_events()

    def _connect(self) -> None:
        """Open the port and identify the board. Its banner is not needed: it may be up already."""
        self._link.open()
        try:
            self._shake_hands()
        except BaseException:
            self._link.close()
            raise

    def _shake_hands(self) -> None:
        self._forget()
        end = time.monotonic() + BOOT_S
        while True:
            try:
                answer = self._talk.ask(msg.Identify(), msg.Identity)
                break
            except Garbled:
                if time.monotonic() > end:
                    raise DeviceTimeout(
                        f"nothing on {self._link.port} speaks the LED protocol at "
                        f"{self._link.baud} baud: check port, baud rate and dialect in rig.yaml"
                    ) from None
                self._link.write(b"\n")
        identity = BoardIdentity(
            answer.name,
            answer.firmware,
            answer.serial,
            answer.leds,
            frozenset(answer.caps),
            answer.max_on_ms,
        )
        if self._led_count is not None and self._led_count > answer.leds:
            raise DeviceError(
                f"the board {answer.name} has {answer.leds} LEDs, but {self._led_count} are asked "
                "for: correct board: leds in rig.yaml"
            )
        known = getattr(self, "identity", None)
        if known is not None and known != identity:
            raise OtherBoard(
                f"another board answers on {self._link.port}: {answer.name} {answer.serial}, "
                f"it was {known.name} {known.serial}"
            )
        self.identity = identity
        self._exchange(msg.Off(), msg.Off)
        if "crc" in answer.caps:
            self._exchange(msg.UseCrc(True), msg.UseCrc)
            self._talk.crc = True
        self._at_rest()
        self._talk.restarted = False

    # LedBoard --------------------------------------------------------------------------------
    def on(self, led: int, level: float = 1.0) -> None:
        self._check_led(led)
        command = msg.On(led, _permille(level))
        with self._lock:
            self._ready()
            self._exchange(command, msg.On)  # an echo of another LED is no answer
            self._judge_last_light()
            self._lit = led

    def off(self) -> None:
        with self._lock:
            self._ready()
            self._exchange(msg.Off(), msg.Off)
            self._judge_last_light()

    def _judge_last_light(self) -> None:
        """After an exchange: had the LED before it gone dark of itself, its picture is void."""
        lit, why, by_itself = self._lit, self._talk.went_dark, self._talk.by_itself
        self._at_rest()
        if lit and by_itself:
            self._exchange(msg.Off(), msg.Off)
            raise DeviceError(f"LED {lit} did not stay lit: {why}; take that picture again")

    def upload(self, steps: Sequence[Step]) -> None:
        self._need("sequence")
        for step in steps:
            if step.led:
                self._check_led(step.led)
            _permille(step.level)
        if not steps:
            raise DeviceError("a sequence of no steps was asked for: give at least one")
        with self._lock:
            self._ready()
            self._steps = tuple(steps)
            self._send_steps()

    def _send_steps(self) -> None:
        self._stored = False
        self._exchange(msg.BeginSequence(len(self._steps)), msg.BeginSequence)
        for index, step in enumerate(self._steps):
            permille = _permille(step.level)
            command = msg.SequenceStep(index, step.led, permille, step.settle_us, step.exposure_us)
            self._exchange(command, msg.SequenceStep)
        self._stored = True

    def arm(self, camera_clocked: bool = False, period_us: int = 0) -> None:
        if camera_clocked:
            self._need("camera-clocked")
        with self._lock:
            self._ready()
            if not self._steps:
                raise DeviceError("no sequence to arm: upload one first")
            if not self._stored:  # the board was away and has forgotten it
                self._send_steps()
            self._exchange(msg.Arm(camera_clocked, period_us), msg.Arm)
            self._at_rest()
            self._armed, self._running = self._steps, camera_clocked
            self._camera_clocked = camera_clocked

    def run(self) -> None:
        with self._lock:
            if self._armed is None or self._camera_clocked:
                raise DeviceError("no board-clocked sequence is armed: arm one first")
            self._running = True
            try:
                self._talk.ask(msg.Run(), msg.Run)
            except (Garbled, DeviceError) as error:
                self._recover()
                raise DeviceError(f"the board did not start the sequence ({error})") from error

    def reports(self, timeout_s: float) -> Iterator[StepReport]:
        """Yield one report a step, in order, and end after the last one and the board's DONE.

        Raises
        ------
        DeviceTimeout
            no report for `timeout_s`
        DeviceError
            the board stopped, restarted, skipped a step or was unplugged; a skip voids the run
        """
        steps = self._armed
        if steps is None:
            raise DeviceError("no sequence is armed: arm one first")
        for index, step in enumerate(steps):
            event = self._next_event(timeout_s)
            if not isinstance(event, msg.Report):
                raise self._void(f"step {index} was due, '{msg.format_message(event)}' came")
            if (event.index, event.led) != (index, step.led):
                raise self._void(
                    f"step {index} with LED {step.led} was due, "
                    f"the board reports step {event.index} with LED {event.led}"
                )
            yield StepReport(event.index, event.led, event.on_us, event.off_us)
        event = self._next_event(timeout_s)
        if event != msg.Done(len(steps)):
            raise self._void(f"the end was due, '{msg.format_message(event)}' came")
        with self._lock:
            self._at_rest()

    def abort(self) -> None:
        with self._lock:
            self._ready()
            self._exchange(msg.Abort(), msg.Abort)
            self._at_rest()

    def status(self) -> BoardStatus:
        with self._lock:
            self._ready()
            status = self._exchange(msg.AskStatus(), msg.Status)
            return BoardStatus(status.faults, status.temp, status.watchdog, status.lit)

    def clock(self) -> tuple[int, float, float]:
        """The board's clock, µs, and `time.monotonic` before and after it was read."""
        with self._lock:
            self._ready()
            for _ in range(ATTEMPTS):
                before = time.monotonic()
                try:
                    pong = self._talk.ping()
                except Garbled:
                    continue
                return pong.clock_us, before, time.monotonic()
            raise self._silent()

    # sequence events -------------------------------------------------------------------------
    def _next_event(self, timeout_s: float) -> msg.Report | msg.Done | msg.Stopped | msg.Ready:
        end = time.monotonic() + timeout_s
        while True:
            with self._lock:
                if self._talk.events:
                    return self._talk.events.popleft()
                if self._talk.damaged:
                    raise self._void("a damaged line came")
                try:
                    self._talk.set_aside(wait=True)
                    # On a busy computer the thread may not get the lock between two waits.
                    self._speak_if_due()
                except LinkLost:
                    self._at_rest()
                    raise
                if self._talk.events or self._talk.damaged:
                    continue
            if time.monotonic() > end:
                with self._lock:
                    self._recover()
                raise DeviceTimeout(f"no step report from the LED board for {timeout_s:g} s")

    def _void(self, why: str) -> DeviceError:
        with self._lock:
            self._recover()
        return DeviceError(f"the sequence is void: {why}")

    def _recover(self) -> None:
        """Dark and disarmed, if the board can still be reached."""
        self._running = True  # no reconnecting in the middle of a sequence
        with contextlib.suppress(DeviceError):
            self._exchange(msg.Abort(), msg.Abort)
        self._at_rest()

    # exchanges -------------------------------------------------------------------------------
    def _ready(self) -> None:
        """Before a command: learn what happened since the last one, reconnect if unplugged."""
        if not self._wanted:
            raise DeviceError("the LED board is not open")
        if self._link.is_open:
            with contextlib.suppress(LinkLost):
                self._talk.set_aside()
        lit, why = self._lit, self._talk.went_dark
        if not self._link.is_open:
            why = "unplugged"
        if lit and why:
            self._at_rest()
            raise DeviceError(f"LED {lit} did not stay lit: {why}; take that picture again")
        if not self._link.is_open:
            self._at_rest()
            self._link.reconnect(self._connect)
        elif self._talk.restarted:
            self._shake_hands()

    def _exchange(self, command: msg.Command, kind: type[R]) -> R:
        """Ask until answered, resynchronising between attempts; raises `DeviceError`."""
        problem = ""
        for attempt in range(ATTEMPTS):
            between_frames = self._lit == 0 and not self._running
            try:
                if attempt:
                    self._talk.resynchronise()
                return self._talk.ask(command, kind)
            except Garbled as error:
                problem = str(error)
            except LinkLost:
                self._at_rest()
                if not (between_frames and self._wanted) or attempt:
                    raise
                self._link.reconnect(self._connect)
        self._talk.restarted = True
        raise self._silent(problem)

    def _silent(self, problem: str = "no answer") -> DeviceTimeout:
        return DeviceTimeout(
            f"the LED board on {self._link.port} did not answer after {ATTEMPTS} attempts "
            f"({problem}): check cable, baud rate and power"
        )

    def _keep_alive(self) -> None:
        """Speak often enough that the watchdog stays quiet while light is wanted."""
        while not self._stop.wait(KEEP_ALIVE_S / 3):
            with self._lock:
                self._speak_if_due()

    def _speak_if_due(self) -> None:
        wanted = self._lit or self._armed is not None
        if wanted and self._link.is_open and time.monotonic() > self._talk.told + KEEP_ALIVE_S:
            # What is wrong with the board, the next command will meet and tell.
            with contextlib.suppress(Garbled, DeviceError):
                self._talk.ping()

    def _check_led(self, led: int) -> None:
        if not 1 <= led <= self.identity.led_count:
            raise DeviceError(
                f"LED {led} was asked for, the board has 1 to {self.identity.led_count}"
            )

    def _need(self, capability: str) -> None:
        if capability not in self.identity.capabilities:
            raise DeviceError(
                f"the board {self.identity.name} cannot do '{capability}': "
                "use camera: trigger: software in rig.yaml"
            )


def _permille(level: float) -> int:
    if not 0 <= level <= 1:
        raise DeviceError(f"LED level {level:g} was asked for: it lies in 0 to 1")
    return round(level * 1000)
