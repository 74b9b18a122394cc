"""The virtual board: the firmware's behaviour wired to a world, with everything that can fail."""

from __future__ import annotations

import threading
from collections.abc import Callable

from capture.faults import SerialFault
from capture.leds.firmware import BoardModel, Firmware, FirmwareCore, Pins
from capture.world import World

TRY_US = 50_000  # how long a host needs to find that no board is plugged in
CLOSE_US = 10  # closing the port takes the host a moment
BOUNCES_US = (0, 40, 90, 140, 200)  # when the edges of a bouncing contact come
MISHAP_AFTER_US = 1000  # how long a lighting lasts before the board resets or is unplugged in it


class Unplugged(OSError):
    """The cable is out, or fell out."""


class VirtualBoard:
    """A board on one end of a cable; `write` and `read` are the other end.

    The world carries it on (`due_us`, `act`): it has no thread of its own. Thread-safe.

    Parameters
    ----------
    model : what kind of board it is
    firmware : what runs on it, made anew at each boot
    """

    def __init__(
        self,
        world: World,
        model: BoardModel | None = None,
        firmware: Callable[[BoardModel, Pins, int], FirmwareCore] = Firmware,
    ) -> None:
        self._world = world
        self._boot = firmware
        self.on_output: Callable[[], None] = lambda: None  # there is something to read, or no cable
        self._model = model or BoardModel(led_count=world.scene.led_count)
        self._lock = world.lock
        self._open = False
        self._pending = bytearray()  # on its way to the host
        self.byte_counts = {"to-board": 0, "to-host": 0}  # since the rig was made
        self._edges = 0
        self._wiring = Wiring(world, self)
        self._mishaps: list[tuple[int, str]] = []  # due at, "reset" or "unplug"
        self._pulled: set[int] = set()  # unplug times of the faults that are in `_mishaps`
        self._out_until_us: int | None = None  # the cable is out
        self._fallen_out = False  # the open port has lost its board for good
        self._boots_us = world.clock.now_us() + world.faults.boot_us
        self._firmware: FirmwareCore | None = None
        world.connect_device(self)
        world.connect_exposure_active(self.exposure_active)
        world.settle()

    @property
    def world(self) -> World:
        """The world it shines in."""
        return self._world

    @property
    def counts(self) -> dict[str, int]:
        """How many edges and lightings there were since the rig was made."""
        return {"edge": self._edges, "lighting": self._wiring.lightings}

    # the cable -------------------------------------------------------------------------------
    @property
    def is_out(self) -> bool:
        """The cable is out."""
        with self._lock:
            self._world.settle()
            return self._out_until_us is not None

    def plug_in(self) -> None:
        """The host opens the port; raises `Unplugged` while the cable is out."""
        with self._lock:
            now = self._world.settle()
            out = self._out_until_us is not None
        if out:  # who tries again and again waits for the rig
            self._world.clock.sleep_us(TRY_US)
            raise Unplugged("no such device")
        with self._lock:
            if self._open:
                raise Unplugged("the port is in use")
            self._open, self._fallen_out = True, False
            self._pending.clear()
            if self._world.faults.reset_on_open:
                self._reset(now)

    def hang_up(self) -> None:
        """The host closes the port: lights off."""
        with self._lock:
            now = self._world.settle()
            if self._open and self._firmware is not None:
                self._firmware.closed(self._board_us(now))
                self._firmware.take_output()
            self._open = False
        self._world.clock.sleep_us(CLOSE_US)

    def write(self, data: bytes) -> None:
        """Bytes from the host arrive at the board."""
        with self._lock:
            now = self._world.settle()
            self._require_cable()
            damaged = self._damage(data, "to-board")
            if self._firmware is not None:
                self._firmware.feed(damaged, self._board_us(now))
            self._collect()
            self._world.settle()

    def waiting(self) -> int:
        """How many bytes `read` would give at once."""
        with self._lock:
            self._world.settle()
            self._require_cable()
            return len(self._pending)

    def read(self, size: int, timeout_s: float | None) -> bytes:
        """At most `size` bytes, as soon as there is one, or nothing after the timeout."""
        self._require_cable()
        timeout_us = float("inf") if timeout_s is None else timeout_s * 1e6
        self._world.wait(lambda: bool(self._pending) or not self._usable, timeout_us)
        with self._lock:
            self._require_cable()
            data = bytes(self._pending[:size])
            del self._pending[:size]
            return data

    @property
    def _usable(self) -> bool:
        return self._open and not self._fallen_out

    def _require_cable(self) -> None:
        if not self._usable:
            raise Unplugged("device disconnected")

    def _damage(self, data: bytes, direction: str) -> bytes:
        start = self.byte_counts[direction]
        self.byte_counts[direction] += len(data)
        faults: dict[int, SerialFault] = {
            fault.position: fault
            for fault in self._world.faults.serial
            if fault.direction == direction and start <= fault.position < start + len(data)
        }
        if not faults:
            return data
        out = bytearray()
        for position, byte in enumerate(data, start):
            fault = faults.get(position)
            if fault is None:
                out.append(byte)
            elif fault.kind == "garble":
                out.append(byte ^ fault.mask)
            elif fault.kind == "duplicate":
                out += bytes((byte, byte))
        return bytes(out)

    def _collect(self) -> None:
        if self._firmware is not None:
            data = self._firmware.take_output()
            if data and self._usable:
                self._pending += self._damage(data, "to-host")
                self.on_output()

    # time ------------------------------------------------------------------------------------
    def _board_us(self, world_us: int) -> int:
        faults = self._world.faults
        return faults.clock_offset_us + world_us + round(world_us * faults.clock_drift_ppm * 1e-6)

    def world_us(self, board_us: int) -> int:
        faults = self._world.faults
        return round((board_us - faults.clock_offset_us) / (1 + faults.clock_drift_ppm * 1e-6))

    def due_us(self) -> int | None:
        """The next instant, of the world's clock, at which something happens of itself."""
        for at_us in self._world.faults.unplug_at_us:
            if at_us not in self._pulled:
                self._pulled.add(at_us)
                self._mishaps.append((at_us, "unplug"))
        times = [at_us for at_us, _ in self._mishaps]
        if self._out_until_us is not None:
            times.append(self._out_until_us)
        elif self._firmware is None:
            times.append(self._boots_us)
        elif (deadline := self._firmware.deadline_us()) is not None:
            times.append(self.world_us(deadline))
        return min(times, default=None)

    def act(self, due_us: int) -> None:
        """Do what is due."""
        mishap = next((m for m in self._mishaps if m[0] == due_us), None)
        if mishap is not None:
            self._mishaps.remove(mishap)
            self._unplug(due_us) if mishap[1] == "unplug" else self._reset(due_us)
        elif self._out_until_us is not None:
            self._out_until_us = None
            self._boots_us = due_us + self._world.faults.boot_us
        elif self._firmware is None:
            self._firmware = self._boot(self._model, self._wiring, self._board_us(due_us))
        else:
            # Rounding between the clocks must not leave the deadline one µs in the future.
            self._firmware.advance(max(self._board_us(due_us), self._firmware.deadline_us() or 0))
        self._collect()

    def _reset(self, at_us: int) -> None:
        self._collect()
        self._firmware = None
        self._wiring.dark(self._board_us(at_us))
        self._boots_us = at_us + self._world.faults.boot_us

    def _unplug(self, at_us: int) -> None:
        self._reset(at_us)
        self._wiring.power_off(at_us)
        self._out_until_us = at_us + self._world.faults.unplugged_us
        self._fallen_out = self._open
        self._pending.clear()
        self.on_output()

    # wires -----------------------------------------------------------------------------------
    def exposure_active(self, at_us: int) -> None:
        """A rising edge on the board's input."""
        if self._firmware is None or not self._firmware.awaits_edges:
            return
        for delay_us in self._next_edges():
            self._world.schedule(at_us + delay_us, self._edge)

    def _edge(self, at_us: int) -> None:
        if self._firmware is not None:
            self._firmware.edge(self._board_us(at_us))
            self._collect()

    def pulse(self, board_us: int) -> None:
        """The firmware pulses the line to the camera."""
        for delay_us in self._next_edges():
            self._world.pulse_trigger(self.world_us(board_us) + delay_us)

    def _next_edges(self) -> list[int]:
        """The delays, µs, with which the next edge arrives: none, one, or several."""
        faults = self._world.faults
        number, self._edges = self._edges, self._edges + 1
        if number in faults.lost_edges:
            return []
        delays = list(BOUNCES_US) if number in faults.bouncing_edges else [0]
        if number in faults.doubled_edges:
            delays.append(faults.doubled_edges[number])
        late_us = faults.late_edges.get(number, 0)
        return [late_us + delay for delay in delays]

    def lighting(self, number: int, at_us: int) -> None:
        """Lighting `number` begins; what goes wrong in the middle of it is put on the list."""
        faults = self._world.faults
        if number in faults.reset_at_step:
            self._mishaps.append((at_us + MISHAP_AFTER_US, "reset"))
        if number in faults.unplug_at_step:
            self._mishaps.append((at_us + MISHAP_AFTER_US, "unplug"))


class Wiring:
    """From the firmware's pins to what really shines: here LEDs are dead, stuck or swapped."""

    def __init__(self, world: World, board: VirtualBoard) -> None:
        self._world = world
        self._board = board
        self._lightings = 0
        self._shining: set[int] = set()
        self._left_on: dict[int, int] = {}  # LED -> the lighting it should have gone off with

    @property
    def lightings(self) -> int:
        """How many there were."""
        return self._lightings

    def light(self, led: int, permille: int, at_us: int) -> None:
        at = self._board.world_us(at_us)
        number, self._lightings = self._lightings, self._lightings + 1
        faults = self._world.faults
        swap = {a: b for pair in faults.swapped_leds for a, b in (pair, pair[::-1])}
        wanted = [led, *(second for first, second in faults.coupled_leds if first == led)]
        level = permille / 1000 * max(0.0, 1 - faults.power_loss_per_s * at * 1e-6)
        level *= faults.brown_outs.get(number, 1.0)
        for lamp in (swap.get(one, one) for one in wanted):
            if lamp and lamp not in self._shining and lamp not in faults.dead_leds and level:
                self._world.light(lamp, level, at)
                self._shining.add(lamp)
                if number in faults.left_on:
                    self._left_on[lamp] = number
        self._board.lighting(number, at)

    def dark(self, at_us: int) -> None:
        # An LED that a race left on goes off with the lighting after its own.
        left_on = {led for led, number in self._left_on.items() if number + 2 > self._lightings}
        for lamp in self._shining - self._world.faults.stuck_leds - left_on:
            self._left_on.pop(lamp, None)
            self._world.dark(lamp, self._board.world_us(at_us))
            self._shining.remove(lamp)

    def power_off(self, at_us: int) -> None:
        """No current at all, stuck or not. `at_us` is of the world's clock."""
        self._world.dark(at_us=at_us)
        self._shining.clear()
        self._left_on.clear()

    def trigger(self, at_us: int) -> None:
        self._board.pulse(at_us)


_making = threading.Lock()


def board_of(world: World) -> VirtualBoard:
    """The one virtual board of a world, made when first asked for."""
    with _making:
        if not isinstance(world.board, VirtualBoard):
            world.board = VirtualBoard(world)
        return world.board
