"""`rig virtual-board`: an LED board that is not there, on a port that any program can open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command("virtual-board")(virtual_board)


def virtual_board(
    leds: Annotated[int, typer.Option(help="How many LEDs it has.", min=1, max=4096)] = 96,
    link: Annotated[
        Path | None,
        typer.Option(help="A name for the port that stays: a link, removed again at the end."),
    ] = None,
) -> None:
    """Serve a virtual LED board on a serial port; prints the port, runs until Ctrl-C.

    Any terminal program can talk to it (type ID, ON 3, OFF); docs/led-protocol.md says more.
    SIGUSR1 makes a rising edge on its camera input.

    Example: rig virtual-board --leds 96 --link /tmp/board, then in rig.yaml port: /tmp/board
    """
    import signal
    import threading

    from capture.leds.bench import BenchScene
    from capture.leds.pty_port import PtyPort
    from capture.leds.virtual import board_of
    from capture.world import WallClock, World

    world = World(BenchScene(leds), clock=WallClock())
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda *_: world.pulse_exposure_active(world.clock.now_us()))
    with PtyPort(board_of(world), link=link) as port:
        print(port.name, flush=True)
        threading.Event().wait()
