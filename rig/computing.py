"""What somebody who waits for a reconstruction sees, and what Ctrl-C leaves of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconstruct.errors import Stopped
from rig.interrupts import stop_on_interrupt

Computing = Callable[[str, float], None]
EVERY_S = 5.0  # between lines where no terminal shows a bar
TELLING = 0.05  # share of the work from which on the time tells what is left
ASKED = b"Stopping at the next step; the best surface so far is kept. Ctrl-C again drops it.\n"


class TimeLeft:
    """The share of the work done, which never falls, and the seconds that are left of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start_s = clock()
        self.share = 0.0

    def told(self, stage: str, share: float) -> str:
        """One line about a stage that begins when that share, 0 to 1, is done."""
        self.share = max(self.share, min(share, 1.0))
        line = f"{stage}, {100 * self.share:.0f} %"
        if self.share < TELLING:
            return line
        spent_s = self._clock() - self._start_s
        return f"{line}, about {_span(spent_s * (1 / self.share - 1))} left"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@contextmanager
def computing_shown() -> Iterator[Computing]:
    """A bar with the time left on a terminal, a line every few seconds elsewhere; on stderr.

    The first Ctrl-C after `refine` has begun raises `Stopped` at its next step, the second one
    interrupts at once; before that, and in methods that tell of no steps, so does the first.
    """
    begun = False
    with _shown() as show, stop_on_interrupt(ASKED, lambda: begun) as asked:
        raised = False

        def step(stage: str, share: float) -> None:
            nonlocal begun, raised
            begun = True
            show(stage, share)
            if asked() and not raised:
                raised = True
                raise Stopped

        yield step


@contextmanager
def _shown() -> Iterator[Computing]:
    left = TimeLeft()
    if not sys.stderr.isatty():
        yield every(EVERY_S, left, lambda line: print(line, file=sys.stderr, flush=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reconstructing", total=1.0)

        def show(stage: str, share: float) -> None:
            line = left.told(stage, share)
            bar.update(task, completed=left.share, description=line)

        yield show


def every(
    period_s: float,
    left: TimeLeft,
    write: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Computing:
    """Write a line about the steps, at most one in a period; none about what ends within one."""
    last_s = clock()

    def show(stage: str, share: float) -> None:
        nonlocal last_s
        line = left.told(stage, share)
        if clock() - last_s >= period_s:
            last_s = clock()
            write(f"reconstructing: {line}")

    return show
