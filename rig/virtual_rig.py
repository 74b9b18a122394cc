"""What ``rig virtual-rig`` does: one process that is board, cameras, wires and what they see."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capture.errors import DeviceError
from capture.fault_names import fault_named
from capture.faults import NONE, Faults
from capture.gentl.build import PRODUCER, firmware_file, producer_file
from capture.gentl.features import Model
from capture.gentl.server import VirtualRigServer
from capture.leds.firmware import BoardModel
from capture.leds.pty_port import PtyPort
from capture.leds.virtual import VirtualBoard
from capture.pace import SteppedClock
from capture.world import Scene, WallClock, World
from rig.stagehand import ADDRESS, TRUTH
from rig.virtual_stage import VirtualStage
from rig.workspace import Workspace

FOLDER = "virtual"  # in the workspace
BOARD = "board"  # the link to the pty


@dataclass(frozen=True)
class Options:
    """What was typed.

    part : stays on the stage whatever part a command names; None: the part that it names
    hands_off : nobody lays things on the stage but ``rig virtual-rig place``
    firmware : ``auto`` (compiled if it is there), ``native`` or ``python``
    stepped : time goes on to what is due next, and stands still else
    prepared_bytes : room for pictures that are made once and sent again
    """

    workspace: Path | None = None
    part: str | None = None
    led_count: int = 96
    shape: tuple[int, int] = (512, 512)
    seed: int = 0
    cameras: tuple[Model, ...] = (Model(),)
    faults: Faults = NONE
    hands_off: bool = False
    firmware: str = "auto"
    stepped: bool = False
    prepared_bytes: int = 0
    scene: Scene | None = field(default=None, compare=False)


class VirtualRig:
    """A running virtual rig, as `serve` makes it."""

    def __init__(self, options: Options, folder: Path, say: Callable[[str], None] = print) -> None:
        self.options, self.folder = options, folder
        clock = SteppedClock() if options.stepped else WallClock()
        self.stage = VirtualStage(
            options.shape,
            options.led_count,
            options.seed,
            folder / TRUTH,
            options.part,
            say,
        )
        scene = options.scene or self.stage.scene
        self.world = World(scene, clock, options.seed, options.faults)
        if options.part is not None and options.scene is None:
            self.stage.place(self.world, {"what": "part", "name": options.part})
        model = BoardModel(led_count=options.led_count, serial=f"V{options.seed:04d}")
        self.board, self.firmware = board_of(self.world, options, model)

    def control(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order that came over the socket."""
        what = order.get("do")
        if what == "place":
            if self.options.scene is not None:
                raise DeviceError("this virtual rig was started with a stage that stays")
            return {"stage": self.stage.place(self.world, order)}
        if what == "fault":
            counts = {**self.board.counts, "exposure": self.exposures()}
            self.world.faults = fault_named(str(order["name"]), counts, self.world.faults)
            return {}
        if what == "repair":
            self.world.faults = NONE
            return {}
        if what == "status":
            return self.status()
        raise DeviceError(f"the virtual rig knows no order '{what}'")

    def exposures(self) -> int:
        """How many exposures the first camera has begun."""
        return next(iter(self.server.cameras.values())).device.exposures

    def status(self) -> dict[str, Any]:
        """JSON-able: who is there, what lies on the stage, what shines."""
        log = self.world.log()
        return {
            "stage": self.stage.what,
            "stagehand": not self.options.hands_off and self.options.scene is None,
            "firmware": self.firmware,
            "lit": sorted(lit.led for lit in log if lit.off_us is None),
            "last_light_us": max((lit.off_us or 0 for lit in log), default=0),
            "now_us": self.world.clock.now_us(),
            "making_s": sum(c.making_s for c in self.server.cameras.values()),
            "processor_s": sum(os.times()[:2]),
            "exposures": self.exposures(),
        }

    server: VirtualRigServer


def board_of(world: World, options: Options, model: BoardModel) -> tuple[VirtualBoard, str]:
    """The board with the firmware asked for, and the firmware's name; raises `DeviceError`."""
    if options.stepped:
        # No host is slow on such a clock: there is nothing for the watchdog to watch.
        patient = replace(model, watchdog_us=2**50, max_on_ms=3_600_000)
        return VirtualBoard(world, patient), "python"
    library = firmware_file()
    if options.firmware == "python" or (options.firmware == "auto" and library is None):
        return VirtualBoard(world, model), "python"
    if library is None:
        raise DeviceError(
            "the C++ firmware is not compiled: install a C++ compiler and this program again, "
            "or take --firmware python"
        )
    from capture.leds.native import NativeFirmware, load

    loaded = load(library)
    return VirtualBoard(world, model, lambda m, pins, now: NativeFirmware(loaded, m, pins, now)), (
        "native"
    )


@contextlib.contextmanager
def serve(options: Options, say: Callable[[str], None] = print) -> Iterator[VirtualRig]:
    """Run a virtual rig for a workspace while the context is open.

    Raises
    ------
    DeviceError : the producer is not built, or a virtual rig serves this workspace already.
    """
    built = producer_file()
    if built is None:
        raise DeviceError(NOT_BUILT)
    folder = Workspace.at(options.workspace).folder / FOLDER
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_claimed(folder))
        lay_producer(folder, built)
        runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="rig-virtual-"))
        socket = Path(runtime) / "socket"  # short: a socket's path holds 100 characters
        rig = VirtualRig(options, folder, say)
        rig.server = VirtualRigServer(
            rig.world,
            options.cameras,
            socket,
            rig.control,
            prepared_bytes=options.prepared_bytes,
        )
        stack.enter_context(rig.server)
        stack.enter_context(PtyPort(rig.board, rig.server.moved, folder / BOARD))
        (folder / ADDRESS).write_text(f"{socket}\n", encoding="utf-8")
        stack.callback(_remove, folder / ADDRESS)
        yield rig


NOT_BUILT = (
    f"the GenTL producer {PRODUCER} is not built: it takes Linux or macOS and a C compiler "
    "(Debian and Ubuntu: apt install gcc); then install this program again with pip, or run "
    "'python -m capture.gentl.build'"
)


def lay_producer(folder: Path, built: Path) -> Path:
    """Copy the producer into a folder: each copy finds the world of its own folder."""
    target = folder / PRODUCER
    if not target.is_file() or target.read_bytes() != built.read_bytes():
        half = folder / f".{PRODUCER}.{os.getpid()}"
        shutil.copyfile(built, half)
        half.chmod(0o755)
        half.replace(target)
    return target


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """One virtual rig a workspace: a lock that dies with its process."""
    try:
        import fcntl
    except ImportError:
        raise DeviceError("a virtual rig takes Linux or macOS; --simulate works here too") from None

    with (folder / "lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DeviceError(
                f"a virtual rig serves {folder.parent} already: use that one, or end it first"
            ) from None
        yield


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def run(options: Options) -> None:
    """Serve until a signal ends it, Ctrl-C as a rule; raises `KeyboardInterrupt` then."""
    try:
        with serve(options) as rig:
            cameras = ", ".join(rig.server.cameras)
            print(f"Virtual rig in {rig.folder}: {options.led_count} LEDs, cameras {cameras}")
            print(f"  board    {rig.folder / BOARD} ({rig.firmware} firmware)")
            print(f"  producer {rig.folder / PRODUCER}")
            print(f"  stage    {rig.stage.what}")
            print("Type rig commands in another terminal; Ctrl-C ends this one.", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("The virtual rig has ended.")
        raise
