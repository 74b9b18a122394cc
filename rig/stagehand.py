"""Whoever lays things on the stage of a virtual rig, when the program asks a person to.

`rig virtual-rig` is a rig like any other, but nobody can reach into it with a hand. Commands that
ask for a ball, a plate, a board or a part tell it, over the socket beside its producer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from capture.errors import DeviceError
from capture.gentl import wire
from capture.gentl.build import PRODUCER
from rig.config import Config

ADDRESS = "rig-virtual.socket"  # the file beside the producer that names the world's socket
TRUTH = "truth.npz"  # beside it, while a part lies on the stage
RENDERING_S = 600.0  # longest time that a part takes to be rendered


def socket_beside(producer: str | None) -> Path | None:
    """The socket of the virtual rig whose producer this is; None if it is another's producer."""
    if not producer or Path(producer).name != PRODUCER:
        return None
    try:
        path = (Path(producer).parent / ADDRESS).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Path(path) if path else None


def is_virtual(config: Config) -> bool:
    """Whether this rig is one that `rig virtual-rig` serves."""
    return Path(config.camera.producer or "").name == PRODUCER


def truth_beside(config: Config) -> Path | None:
    """The truth of the part on a virtual rig's stage, None where there is none to know."""
    path = Path(config.camera.producer or "").parent / TRUTH
    return path if is_virtual(config) and path.is_file() else None


def stagehand_of(config: Config) -> Stagehand | None:
    """The one who lays things on this rig's stage; None where a person has to.

    Raises
    ------
    DeviceError : it is a virtual rig, and it does not run.
    """
    if not is_virtual(config):
        return None
    socket = socket_beside(config.camera.producer)
    if socket is None:
        raise DeviceError(NOT_RUNNING)
    hand = Stagehand(socket)
    return hand if hand.ask({"do": "status"}).get("stagehand") else None


NOT_RUNNING = (
    "the virtual rig of this workspace does not run: start 'rig virtual-rig' in another terminal"
)


class Stagehand:
    """Asks the virtual rig behind a socket; the same calls as `CalibrationScene` has.

    Attributes
    ----------
    radius_mm : of the ball
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.radius_mm = 12.7
        self._shown: dict[str, Any] = {"do": "place", "what": "empty"}
        self._room_light = False

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order; raises `DeviceError` if nobody answers or it is refused."""
        try:
            data = json.dumps(order).encode()
            answer = wire.ask(str(self._socket), wire.CONTROL, data, RENDERING_S)
        except wire.Refused as error:
            raise DeviceError(f"the virtual rig refuses: {error}") from None
        except OSError:
            raise DeviceError(NOT_RUNNING) from None
        said: dict[str, Any] = json.loads(answer) or {}
        return said

    def part(self, name: str) -> None:
        """Lay a part on the stage, unless somebody has chosen one for this virtual rig."""
        self._place({"do": "place", "what": "part", "name": name})

    def show(self, what: Literal["ball", "plate"], x_mm: float = 0.0, y_mm: float = 0.0) -> None:
        """Put the ball at a place on the stage, or the plate in its stead."""
        place = {"x_mm": x_mm, "y_mm": y_mm, "radius_mm": self.radius_mm} if what == "ball" else {}
        self._place({"do": "place", "what": what, **place})

    def board(self, number: int, views: int, **board: Any) -> None:
        """Hold the calibration board into its pose of this number, from 0."""
        order = {"do": "place", "what": "board", "number": number, "views": views}
        self._place({**order, **board})

    def _place(self, order: dict[str, Any]) -> None:
        self._shown = order
        self.ask({**order, "room_light": self._room_light})

    @property
    def room_light(self) -> bool:
        return self._room_light

    @room_light.setter
    def room_light(self, on: bool) -> None:
        if on != self._room_light:
            self._room_light = on
            self.ask({**self._shown, "room_light": on})
