"""The driver of boards that speak another line protocol than ours. Host-timed only."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from capture.errors import DeviceError, DeviceTimeout
from capture.leds.base import BoardIdentity, BoardStatus, Step, StepReport
from capture.leds.dialect import Dialect, DialectError, Exchange, fill, fill_pattern
from capture.leds.lights_off import forget, remember, shielded
from capture.leds.link import Link, LinkLost
from capture.leds.supervisor import Supervisor

ATTEMPTS = 3
QUIET_S = 0.03  # a line this long silent holds no more of an old answer
LONGEST_REPLY = 256

Done = Callable[[str, float], bool]  # of the text so far and the seconds of quiet since


class DialectBoard:
    """An LED board described by a `Dialect`; it has the capability ``echo`` if it names the LED.

    A board without echo is taken at its word, which proves nothing; the pictures must.
    """

    identity: BoardIdentity

    def __init__(
        self, port: str, dialect: Dialect, led_count: int | None, baud: int | None = None
    ) -> None:
        if led_count is None:
            raise DialectError(
                f"dialect {dialect.name} does not tell how many LEDs the board has: "
                "give board: leds in rig.yaml"
            )
        dialect.led_word(led_count)
        self._dialect = dialect
        self._link = Link(port, baud or dialect.baud)
        self._count = led_count
        self._lock = threading.RLock()
        self._lit = 0
        self._level = 1.0
        self._wanted = False
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None
        self._supervisor = Supervisor()
        echo = {"echo"} if "{led}" in (dialect.turn_on.reply or "") else set()
        self.identity = BoardIdentity(dialect.name, "unknown", port, led_count, frozenset(echo))

    # opening and closing ---------------------------------------------------------------------
    def __enter__(self) -> DialectBoard:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the port, wait for the banner, lights off; does nothing if it is open."""
        with self._lock:
            if self._link.is_open:
                return
            self._connect()
            self._wanted = True
            remember(self)
            if self._dialect.keep_alive_s is not None:
                self._stop.clear()
                self._keeper = threading.Thread(target=self._keep_alive, daemon=True)
                self._keeper.start()

    def close(self) -> None:
        """Lights off, port closed; never raises."""
        with shielded():
            with self._lock:
                self._wanted = False
                self._stop.set()
                if self._link.is_open:
                    with contextlib.suppress(DeviceError):
                        self._darken()
                    self._link.close()
                self._supervisor.dismiss()
                forget(self)
            if self._keeper is not None and self._keeper is not threading.current_thread():
                self._keeper.join()

    def _connect(self) -> None:
        self._link.open()
        self._supervisor.dismiss()  # of the port as it was before
        if not self._dialect.has_watchdog:
            self._supervisor.watch(self._link.handle, self._off_lines())
        try:
            boot = self._dialect.boot
            if boot.all_off_first and self._dialect.all_off:
                self._send(self._dialect.all_off, {})
            banner = self._await(boot.banner, boot.wait_s) if boot.banner else None
            if boot.banner is None:
                self._read_until(lambda text, quiet: False, boot.wait_s)
            self._lit = 0
            try:
                self._darken()
            except DeviceTimeout as error:
                heard = "its banner came" if banner else "no banner came either"
                raise DeviceTimeout(
                    f"nothing on {self._link.port} speaks dialect {self._dialect.name} at "
                    f"{self._link.baud} baud ({heard}; {error})"
                ) from error
        except BaseException:
            self._link.close()
            self._supervisor.dismiss()
            raise

    def _off_lines(self) -> list[bytes]:
        """What puts every LED out, for whoever cannot ask."""
        dialect = self._dialect
        if dialect.all_off is not None:
            sent = [fill(dialect.all_off.send, {"count": str(self._count)})]
        else:
            assert dialect.turn_off is not None
            every = range(1, self._count + 1)
            sent = [fill(dialect.turn_off.send, self._words(led)) for led in every]
        return [(line + dialect.line_ending).encode("latin-1") for line in sent]

    # LedBoard --------------------------------------------------------------------------------
    def on(self, led: int, level: float = 1.0) -> None:
        if not 1 <= led <= self._count:
            raise DeviceError(f"LED {led} was asked for, the board has 1 to {self._count}")
        if not 0 <= level <= 1 or (self._dialect.level_max is None and level != 1):
            raise DeviceError(
                f"LED level {level:g} was asked for: dialect {self._dialect.name} "
                + ("knows 0 to 1" if self._dialect.level_max else "knows full brightness only")
            )
        with self._lock:
            self._ready()
            if self._dialect.one_at_a_time and self._lit:
                self._put_out(self._lit)
            self._lit, self._level = 0, level
            self._light(led, level)
            self._lit = led

    def off(self) -> None:
        with self._lock:
            self._ready()
            self._darken()

    def abort(self) -> None:
        self.off()

    def upload(self, steps: Sequence[Step]) -> None:
        raise self._cannot()

    def arm(self, camera_clocked: bool = False, period_us: int = 0) -> None:
        raise self._cannot()

    def run(self) -> None:
        raise self._cannot()

    def reports(self, timeout_s: float) -> Iterator[StepReport]:
        raise self._cannot()

    def status(self) -> BoardStatus:
        """What the driver knows: the board itself cannot be asked."""
        return BoardStatus((), None, 0, self._lit)

    def _cannot(self) -> DeviceError:
        return DeviceError(
            f"boards of dialect {self._dialect.name} run no sequences: "
            "use camera: trigger: software in rig.yaml"
        )

    # talk ------------------------------------------------------------------------------------
    def _words(self, led: int, level: float = 1.0) -> dict[str, str]:
        scaled = round(level * (self._dialect.level_max or 1))
        return {
            "led": self._dialect.led_word(led),
            "level": str(scaled),
            "count": str(self._count),
        }

    def _light(self, led: int, level: float) -> None:
        self._exchange(self._dialect.turn_on, self._words(led, level))

    def _put_out(self, led: int) -> None:
        if self._dialect.turn_off is not None:
            self._exchange(self._dialect.turn_off, self._words(led))

    def _darken(self) -> None:
        if self._dialect.all_off is not None:
            self._exchange(self._dialect.all_off, {"count": str(self._count)})
        else:
            for led in [self._lit] if self._lit else range(1, self._count + 1):
                self._put_out(led)
        self._lit = 0

    def _ready(self) -> None:
        if not self._wanted:
            raise DeviceError("the LED board is not open")
        if self._link.is_open:
            return
        self._supervisor.dismiss()  # it holds a port that has gone
        lit, self._lit = self._lit, 0
        if lit:
            raise DeviceError(f"LED {lit} did not stay lit: unplugged; take that picture again")
        self._link.reconnect(self._connect)

    def _exchange(self, part: Exchange, words: dict[str, str]) -> None:
        between_frames = self._lit == 0 and self._wanted
        try:
            self._repeat(part, words)
        except LinkLost:
            self._supervisor.dismiss()
            self._lit = 0
            if not between_frames:
                raise
            self._link.reconnect(self._connect)
            self._repeat(part, words)

    def _repeat(self, part: Exchange, words: dict[str, str]) -> None:
        """Send and await the answer; once more from a quiet line if it does not come."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._read_until(lambda text, quiet: quiet >= QUIET_S, 1.0)
            sent = self._send(part, words)
            if part.reply is None:
                time.sleep(self._link.wire_time_s(len(sent)) + self._dialect.settle_s)
                return
            if self._await(fill_pattern(part.reply, words), self._dialect.reply_within_s):
                if self._dialect.settle_s:
                    time.sleep(self._dialect.settle_s)
                return
        raise DeviceTimeout(
            f"the LED board on {self._link.port} did not answer {sent!r} as dialect "
            f"{self._dialect.name} says, {ATTEMPTS} times; it said {self._said[-60:]!r}"
        )

    def _send(self, part: Exchange, words: dict[str, str]) -> bytes:
        self._link.read(wait=False)  # what is left of earlier answers
        line = (fill(part.send, words) + self._dialect.line_ending).encode("latin-1")
        self._link.write(line)
        self._sent = time.monotonic()
        return line

    def _await(self, pattern: str, work_s: float) -> str | None:
        """What fits the pattern, or None in time; raises `DeviceError` if the board objects."""
        wanted = re.compile(pattern)
        error = re.compile(self._dialect.error) if self._dialect.error else None

        def done(text: str, quiet: float) -> bool:
            # A fit at the very end may still grow (12 from 1): then a moment of quiet decides.
            fit = wanted.search(text)
            if error is not None and fit is None and error.search(text):
                return True
            return fit is not None and (fit.end() < len(text) or text[-1:] == "\n" or quiet > 0)

        self._said = self._read_until(done, work_s + self._link.wire_time_s(LONGEST_REPLY))
        fit = wanted.search(self._said)
        return fit[0] if fit else None

    _said = ""
    _sent = 0.0

    def _read_until(self, done: Done, timeout_s: float) -> str:
        text, heard = "", time.monotonic()
        end = heard + timeout_s
        while time.monotonic() < end:
            data = self._link.read()
            text += data.decode("latin-1")
            if data:
                heard = time.monotonic()
            if done(text, 0.0 if data else time.monotonic() - heard):
                break
        return text

    def _keep_alive(self) -> None:
        """Repeat the last command often enough for boards that darken when the host is silent."""
        period_s = self._dialect.keep_alive_s or 1.0
        while not self._stop.wait(period_s / 3):
            with self._lock:
                due = time.monotonic() > self._sent + period_s * 2 / 3
                if self._lit and due and self._link.is_open:
                    with contextlib.suppress(DeviceError):
                        self._light(self._lit, self._level)
