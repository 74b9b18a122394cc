"""One measurement at a time: a queue, the thread that owns the devices, and what it tells."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capture.errors import DeviceError
from rig import measuring, session
from rig.capturing import Order as CaptureOrder
from rig.capturing import planned
from rig.config import Config, config_text
from rig.doctor import check_calibration
from rig.exits import DEVICE, UNFORESEEN, UsageError, failure
from rig.floor.plans.judge import check_references, inspector
from rig.floor.plans.model import read_plan
from rig.floor.scale import certificate_in_force, scale_sigma
from rig.floor.store.remember import remember
from rig.floor.store.store import name_of_rig
from rig.live.keep import keep_exposure
from rig.live.station import Station, Wish, software_triggered
from rig.measure_part import Job, Labels, Verdict, measure_part
from rig.session import Rig
from rig.workspace import Workspace, check_part_name

IDLE_S = 120.0  # then the devices are closed, so that other programs find them free
LEASE_S = 6.0  # how long the live picture goes on after the last page asked for it
KEPT = 20  # finished tickets that the page still shows


@dataclass(frozen=True)
class Ticket:
    """One measurement asked for.

    Attributes
    ----------
    state : waiting, capturing, reconstructing, done, failed or stopped
    taken, pictures : of the capture
    verdict : as printed by ``rig run --json``; empty before it is there
    preview : verdict of a quick look, while the measurement is still reconstructed
    error : a sentence, with the exit code beside it
    """

    number: int
    part: str
    labels: Labels
    state: str = "waiting"
    taken: int = 0
    pictures: int = 0
    verdict: dict[str, Any] = field(default_factory=dict)
    preview: str = ""
    error: str = ""
    code: int | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number, "part": self.part, "part_type": self.labels.part_type,
            "operator": self.labels.operator, "batch": self.labels.batch, "state": self.state,
            "taken": self.taken, "pictures": self.pictures, "verdict": self.verdict,
            "preview": self.preview,
            "error": self.error, "exit_code": self.code, "note": self.note,
        }  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What the worker measures with.

    Attributes
    ----------
    text : of ``rig.yaml``, kept with each recording
    """

    workspace: Workspace
    config: Config
    text: str
    method: str = "refine"
    device: str = "cpu"
    seed: int = 0


class Worker:
    """Owns board and camera in one thread; pages talk to it through a lock."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._changed = threading.Condition()
        self._version = 0
        self._queue: deque[tuple[Ticket, Job]] = deque()
        self._current: Ticket | None = None
        self._finished: deque[Ticket] = deque(maxlen=KEPT)
        self._number = 0
        self._stop = threading.Event()
        self._closing = False
        self._live_until = 0.0
        self._live_fault = ""
        self._live_error: Exception | None = None
        self._station: Station | None = None
        self._devices = contextlib.ExitStack()
        self._rig: Rig | None = None
        self._shown: str | None = None
        self._listeners: list[Callable[[Ticket], None]] = []
        self._thread = threading.Thread(target=self._run, name="rig-floor", daemon=True)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._closing = True
            self._stop.set()
            self._changed.notify_all()
        self._thread.join(timeout=30)

    def listen(self, listener: Callable[[Ticket], None]) -> None:
        """Have a function told each ticket whenever it changes, in the worker's thread."""
        self._listeners.append(listener)

    # asked by pages --------------------------------------------------------------------------
    def submit(self, part: str, labels: Labels) -> Ticket:
        """Queue a measurement.

        Raises
        ------
        UsageError, PlanError, ReconstructError
            if the name, the plan or the calibration is none that can be measured with
        """
        check_part_name(part)
        job = self._job(part, labels)
        with self._changed:
            self._number += 1
            ticket = Ticket(self._number, part, labels)
            self._queue.append((ticket, job))
            self._tell(ticket)
        return ticket

    def cancel(self, number: int) -> bool:
        """Take a waiting ticket out of the queue; False if it does not wait."""
        with self._changed:
            for item in self._queue:
                if item[0].number == number:
                    self._queue.remove(item)
                    self._tell(replace(item[0], state="stopped"))
                    return True
        return False

    def stop(self) -> bool:
        """Stop what is measured now; the lights go off. False if nothing is."""
        with self._changed:
            if self._current is None:
                return False
            self._stop.set()
            self._version += 1
            self._changed.notify_all()
            return True

    def state(self) -> dict[str, Any]:
        """JSON-able: what is measured, what waits, what came of the last ones (newest first)."""
        with self._changed:
            return {
                "version": self._version,
                "current": None if self._current is None else self._current.to_json(),
                "stopping": self._stop.is_set() and self._current is not None,
                "queue": [ticket.to_json() for ticket, _ in self._queue],
                "finished": [ticket.to_json() for ticket in reversed(self._finished)],
                "live": self._station is not None,
            }

    def wait(self, seen: int, timeout_s: float) -> int:
        """The state's version, once it is another than the one seen or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen or self._closing, timeout_s)
            return self._version

    @property
    def closing(self) -> bool:
        return self._closing

    def live(self) -> Station | None:
        """The live station, for the next seconds; None while it starts or the rig measures."""
        with self._changed:
            self._live_until = max(self._live_until, time.monotonic() + LEASE_S)
            self._changed.notify_all()
            return self._station

    def keep_exposure(self, exposure_us: float) -> str:
        """Make an exposure that of ``rig.yaml`` and of what is measured from now on.

        Raises
        ------
        UsageError
            there is no ``rig.yaml``, or it cannot be used
        """
        path = self.bench.workspace.config_file
        said = keep_exposure(path, exposure_us)
        camera = self.bench.config.camera.model_copy(update={"exposure_ms": exposure_us / 1000})
        config = self.bench.config.model_copy(update={"camera": camera})
        self.bench = replace(self.bench, config=config, text=config_text(path))
        return said

    def hold_live(self) -> None:
        """Begin the live picture and keep it; raises what kept the devices from opening."""
        with self._changed:
            self._live_until = math.inf
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._station is not None or self._live_error)
            if self._live_error is not None:
                raise self._live_error

    @property
    def live_fault(self) -> str:
        """Why there is no live picture."""
        if self._current is not None:
            return "the rig measures a part: the picture comes back after it"
        return self._live_fault

    # the thread ------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while not self._closing:
                with self._changed:
                    woken = self._changed.wait_for(self._wanted, timeout=IDLE_S)
                    item = self._queue.popleft() if self._queue else None
                    if item is not None:
                        self._stop.clear()
                        self._current = item[0]
                        self._version += 1
                if item is not None:
                    self._measure(*item)
                elif self._closing or not woken:
                    self._close_devices()
                else:
                    self._show_live()
        finally:
            self._close_devices()

    def _wanted(self) -> bool:
        return bool(self._queue) or self._closing or time.monotonic() < self._live_until

    def _measure(self, ticket: Ticket, job: Job) -> None:
        try:
            rig = self._opened(ticket.part)
            self._lay(ticket.part, job)

            def say(line: str) -> None:
                word = line.rpartition(": ")[2]
                if word in ("capturing", "reconstructing"):
                    self._update(state=word)

            verdict = measure_part(
                rig,
                self.bench.workspace,
                ticket.part,
                job,
                say,
                stop=self._stop.is_set,
                progress=lambda done, total, what: self._update(taken=done, pictures=total),
                preview=lambda found: self._update(preview=found.verdict),
            )
        except KeyboardInterrupt:
            self._dark()
            self._end(state="stopped", error="stopped; the lights are off", code=130)
        except Exception as error:
            code, said = failure(error, self.bench.workspace.folder)
            if code in (DEVICE, UNFORESEEN):  # nobody knows what state the devices are in
                self._close_devices()
            self._end(state="failed", error=said, code=code)
        else:
            self._remember(verdict)

    def _remember(self, verdict: Verdict) -> None:
        note = remember(self.bench.workspace, verdict.result) or ""
        self._end(state="done", verdict=verdict.to_json(), code=verdict.exit_code, note=note)

    def _job(self, part: str, labels: Labels) -> Job:
        workspace, config = self.bench.workspace, self.bench.config
        for finding in check_calibration(workspace, config):
            if finding.state == "note" and not config.camera.simulated:
                raise UsageError(f"there is no calibration/{finding.name}: {finding.advice}")
        labels = replace(
            labels,
            instrument=name_of_rig(config, workspace),
            certificate=certificate_in_force(workspace),
        )
        job = Job(
            plan=planned(CaptureOrder(part=part), config),
            method=self.bench.method,
            device=self.bench.device,
            labels=labels,
        )
        if not labels.part_type:
            return job
        kept = read_plan(workspace, labels.part_type)
        check_references(kept, workspace)
        return replace(
            job,
            inspect=inspector(kept, workspace, scale_sigma(workspace)),
            snapshots={"inspection_plan.yaml": kept.text},
        )

    # devices ---------------------------------------------------------------------------------
    def _opened(self, part: str) -> Rig:
        if self._rig is None:
            self._rig = self._devices.enter_context(
                session.open_rig(
                    self.bench.config,
                    part=part,
                    seed=self.bench.seed,
                    config_text=self.bench.text,
                )
            )
            self._shown = None
        return self._rig

    def _lay(self, part: str, job: Job) -> None:
        """Lay the part under the virtual rig, as an operator would under a real one."""
        measuring.lay_part(
            self.bench.config, part, self.bench.seed, job.plan.leds, again=part != self._shown
        )
        self._shown = part

    def _dark(self) -> None:
        if self._rig is not None:
            try:
                self._rig.board.off()
            except DeviceError:
                self._close_devices()

    def _close_devices(self) -> None:
        self._rig, self._shown = None, None
        with contextlib.suppress(DeviceError, OSError):
            self._devices.close()

    def _show_live(self) -> None:
        """Take live pictures until nobody looks any more or a part is to be measured."""
        self._close_devices()
        config = software_triggered(self.bench.config)
        try:
            with session.open_rig(
                config, part="live", seed=self.bench.seed, config_text=self.bench.text
            ) as rig:
                exposure_us = rig.state.exposure_us or config.camera.exposure_ms * 1000
                wish = Wish(exposure_us=exposure_us)
                asked = config.camera.pixel_format
                with Station(rig.board, rig.camera, wish, rig.state, asked, _warn) as station:
                    with self._changed:
                        self._station, self._live_fault = station, ""
                        self._version += 1
                        self._changed.notify_all()
                    try:
                        self._until_nobody_looks()
                    finally:
                        with self._changed:
                            self._station = None
                            self._version += 1
                            self._changed.notify_all()
        except Exception as error:
            _, said = failure(error, self.bench.workspace.folder)
            with self._changed:
                self._live_fault, self._live_error = said, error
                self._live_until = 0.0
                self._changed.notify_all()

    def _until_nobody_looks(self) -> None:
        with self._changed:
            while not self._queue and not self._closing:
                left = self._live_until - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(min(left, LEASE_S))

    # telling ---------------------------------------------------------------------------------
    def _update(self, **changes: Any) -> None:
        with self._changed:
            if self._current is not None:
                self._current = replace(self._current, **changes)
                self._tell(self._current)

    def _end(self, **changes: Any) -> None:
        with self._changed:
            assert self._current is not None
            done = replace(self._current, **changes)
            self._current = None
            self._finished.append(done)
            self._tell(done)

    def _tell(self, ticket: Ticket) -> None:
        self._version += 1
        self._changed.notify_all()
        for listener in self._listeners:
            listener(ticket)


def _warn(line: str) -> None:
    print(f"Note: {line}", file=sys.stderr, flush=True)


def newest_frame(workspace: Workspace, part: str) -> Path | None:
    """The picture that was taken last of a part that is being captured."""
    try:
        frames = sorted(workspace.part(part).glob("*.part/frames/*.tif"))
    except FileNotFoundError:  # the recording was renamed this moment
        return None
    return frames[-1] if frames else None
