"""Use an LED board that speaks a protocol of its own: describe it in a file, then try the file.

Here a thread behind a pseudo-terminal plays the board of ``dialects/my-board.yaml``. With a real
board, leave `imaginary_board` out and name its port:

    python examples/custom_led_dialect.py dialects/my-board.yaml /dev/ttyACM0
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from capture.leds.board import open_board

DIALECT = Path(__file__).parent / "dialects" / "my-board.yaml"
LEDS = 8


@contextlib.contextmanager
def imaginary_board() -> Iterator[str]:
    """A serial port where ``SET 4 255`` lights the fifth LED and ``CLEAR`` puts all out."""
    import tty

    near, far = os.openpty()
    tty.setraw(far)
    over = threading.Event()

    def live() -> None:
        heard = b""
        over.wait(0.2)
        os.write(near, b"HELLO my-board 1.0\r\n")
        while not over.is_set():
            if not select.select([near], [], [], 0.02)[0]:
                continue
            heard += os.read(near, 64)
            while b"\r\n" in heard:
                line, heard = heard.split(b"\r\n", 1)
                print(f"    the board hears  {line.decode()}")
                os.write(near, line + b" OK\r\n")

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        over.set()
        thread.join()
        os.close(near)
        os.close(far)


def light_each(dialect: Path, port: str) -> None:
    """Light one LED after another, and know that the board understood each of them."""
    with open_board(port, dialect=dialect, led_count=LEDS) as board:
        print(f"{board.identity.name} on {port} answers")
        for led in range(1, LEDS + 1):
            board.on(led)
            print(f"LED {led} is on: the board's reply fits this number and no other")
        board.on(1, level=0.25)
        print("LED 1 is on at a quarter of its brightness")
        board.off()
    print(
        "All off. Now enter the file in rig.yaml (board: dialect:) with camera: trigger: software"
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        light_each(Path(sys.argv[1]), sys.argv[2])
    else:
        with imaginary_board() as port:
            light_each(DIALECT, port)
