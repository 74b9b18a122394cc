"""Everything that can go wrong on a rig, for the virtual board and the virtual camera to do.

Faults of an LED hold for as long as the rig lives; faults of one event are counted from 0 since
the rig was made and happen once, so that a retake can succeed. Steps count *lightings*: every
``ON`` the board obeyed and every step of a sequence, dark ones included. Edges count rising edges
of the line that clocks: the board's trigger output, or in camera-clocked mode the exposure-active
line. Exposures count every exposure the virtual camera begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["to-board", "to-host"]


@dataclass(frozen=True)
class SerialFault:
    """What happens to byte `position` (from 0, since the rig was made) on its way.

    ``drop``: it vanishes; ``duplicate``: it comes twice; ``garble``: its bits of `mask` flip.
    """

    kind: Literal["drop", "duplicate", "garble"]
    position: int
    direction: Direction = "to-board"
    mask: int = 0x04

    def __post_init__(self) -> None:
        if not 1 <= self.mask <= 255:
            raise ValueError("the mask of a garbled byte lies in 1 to 255")


@dataclass(frozen=True)
class Faults:
    """What is wrong with a virtual rig; the default is nothing.

    Board, lasting
        dead_leds : never shine
        stuck_leds : once lit they stay lit (until the rig ends)
        swapped_leds : pairs wired the wrong way round
        coupled_leds : lighting the first of a pair also lights the second
    Board, once
        late_edges : edge number -> delay, µs, of the board's trigger output (or of its answer to
            the camera's edge)
        lost_edges : edges that never arrive at the other end of the wire
        doubled_edges : edge number -> µs after which the edge comes a second time
        bouncing_edges : edges that come five times within 200 µs (a contact that bounces)
        left_on : lightings whose LED stays on through the next one (a race of two interrupts)
        brown_outs : lighting number -> share of the light that is left (the LED supply sags)
        reset_at_step : the board restarts in the middle of these lightings
        unplug_at_step : the cable falls out in the middle of these lightings
        unplug_at_us : the cable falls out at these times of the world's clock
        unplugged_us : how long it stays out
    Board, always
        boot_us : from power-up or reset to the banner; deaf meanwhile
        reset_on_open : opening the port resets the board, as on most Arduinos
        clock_offset_us, clock_drift_ppm : of the board's clock against the world's
        power_loss_per_s : relative loss of light per second of the world's clock (warming up)
        serial : bytes damaged on the wire
    Camera, once
        lost_frames : exposures whose frame is lost on the way: a gap in the frame ids
        lost_triggers : edges of the trigger line (or software triggers) the camera does not see
        stale_frames : exposures whose frame carries the pixels of the one before
        slow_readouts : exposure number -> µs for which the sensor stays busy: triggers that come
            then are ignored
        lost_packets : exposures of whose frame only the first half arrives: an incomplete buffer,
            which no driver hands on
        camera_restarts : the camera loses power at the end of these exposures
    Camera, always
        camera_drift_ppm : of its clock against the world's, on top of what its make has
    """

    dead_leds: frozenset[int] = frozenset()
    stuck_leds: frozenset[int] = frozenset()
    swapped_leds: tuple[tuple[int, int], ...] = ()
    coupled_leds: tuple[tuple[int, int], ...] = ()
    late_edges: Mapping[int, int] = field(default_factory=dict)
    lost_edges: frozenset[int] = frozenset()
    reset_at_step: frozenset[int] = frozenset()
    unplug_at_step: frozenset[int] = frozenset()
    unplug_at_us: tuple[int, ...] = ()
    unplugged_us: int = 200_000
    boot_us: int = 0
    reset_on_open: bool = False
    clock_offset_us: int = 0
    clock_drift_ppm: float = 0.0
    power_loss_per_s: float = 0.0
    serial: tuple[SerialFault, ...] = ()
    lost_frames: frozenset[int] = frozenset()
    lost_triggers: frozenset[int] = frozenset()
    doubled_edges: Mapping[int, int] = field(default_factory=dict)
    bouncing_edges: frozenset[int] = frozenset()
    left_on: frozenset[int] = frozenset()
    brown_outs: Mapping[int, float] = field(default_factory=dict)
    stale_frames: frozenset[int] = frozenset()
    slow_readouts: Mapping[int, int] = field(default_factory=dict)
    lost_packets: frozenset[int] = frozenset()
    camera_restarts: frozenset[int] = frozenset()
    camera_drift_ppm: float = 0.0


NONE = Faults()
