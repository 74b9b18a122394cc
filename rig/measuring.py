"""What ``rig run`` does: opens the rig once and measures one part, or one after another."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from capture.errors import DeviceError
from capture.recording import Snapshot
from capture.world import find
from intake.errors import MissingError
from intake.files import read_text
from rig import capturing
from rig.capturing import configuration, planned
from rig.computing import computing_shown
from rig.config import Config
from rig.doctor import check_calibration
from rig.exits import DEVICE, GOOD, UsageError, exit_code, failure
from rig.figures import shape_of
from rig.measure_part import (
    FORMAT,
    Inspect,
    Job,
    Judgement,
    Labels,
    Tolerance,
    Verdict,
    measure_part,
)
from rig.reconstructing import Request, refuse_nonsense
from rig.session import Rig, default_scene, open_rig
from rig.stagehand import stagehand_of
from rig.workspace import Workspace, check_part_name


@dataclass(frozen=True)
class Order:
    """What was typed."""

    part: str | None = None
    watch: bool = False
    names: Path | None = None
    tolerance_mm: float | None = None
    reference: str | None = None
    alignment: str = "rigid"
    share_percent: float = 100.0
    border_mm: float = 0.0
    method: str = "auto"
    device: str = "cpu"
    height_mm: float | None = None
    height_sigma_mm: float | None = None
    leds: str | None = None
    exposures: str | None = None
    simulate: bool = False
    size: str | None = None
    seed: int = 0
    json: bool = False
    workspace: Path | None = None
    labels: Labels = field(default_factory=Labels)
    inspect: Inspect | None = None
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    after: Callable[[Verdict], str | None] = lambda verdict: None  # may come back with a note


def measure(order: Order) -> int:
    """Carry out an order; returns the exit code, raises errors that carry one."""
    if (order.part is None) == (not order.watch):
        raise UsageError("say what to measure: --part A12, or --watch to read names")
    if order.names is not None and not order.watch:
        raise UsageError("--names goes with --watch")
    workspace = Workspace.at(order.workspace)
    if order.part is not None:
        check_part_name(order.part)
    config, text = configuration(workspace, order.simulate, order.size)
    tolerance = _tolerance(order)
    refuse_nonsense(
        Request(
            "",
            method=order.method,
            device=order.device,
            height_mm=order.height_mm,
            height_sigma_mm=order.height_sigma_mm,
        )
    )
    _check_calibration(workspace, config, order.simulate)
    typed = capturing.Order(part=order.part or "", leds=order.leds, exposures=order.exposures)
    job = Job(
        plan=planned(typed, config),
        auto_exposure=order.exposures == "auto",
        tolerance=tolerance,
        method=order.method,
        device=order.device,
        height_mm=order.height_mm,
        height_sigma_mm=order.height_sigma_mm,
        inspect=order.inspect,
        snapshots=order.snapshots,
        labels=replace(order.labels, instrument=config.instrument or workspace.folder.name),
    )
    session = _Session(order, workspace, config, text, job)
    if order.part is not None:
        return session.one(order.part)
    return session.all(_names(order.names))


def _tolerance(order: Order) -> Tolerance | None:
    """What must be kept; a reference that cannot be read is refused before anything is lit."""
    if order.tolerance_mm is None:
        if order.reference is not None:
            raise UsageError("--reference needs the deviation allowed: --tolerance 0.05 (mm)")
        return None
    if not 0 < order.tolerance_mm < float("inf"):
        raise UsageError(f"--tolerance is {order.tolerance_mm:g}: expected a length above 0 mm")
    if not 0 < order.share_percent <= 100:
        raise UsageError(f"--share is {order.share_percent:g}: it lies in 0 to 100 percent")
    if order.reference is not None:
        shape_of(order.reference, order.workspace, None, 0.0)
    return Tolerance(
        order.tolerance_mm,
        order.reference,
        order.alignment,
        order.share_percent / 100,
        order.border_mm,
    )


def _check_calibration(workspace: Workspace, config: Config, simulate: bool) -> None:
    """Refuse to capture what could not be reconstructed; tell of an old calibration."""
    for finding in check_calibration(workspace, config):
        if finding.state == "note" and simulate:
            print(f"Note: {finding.name} is the virtual rig's own, without error", file=sys.stderr)
        elif finding.state == "note":
            raise UsageError(
                f"{workspace.folder} has no calibration/{finding.name}: {finding.advice}"
            )
        elif finding.state == "bad":
            print(f"Note: {finding.name} {finding.message}; {finding.advice}", file=sys.stderr)


def _names(path: Path | None) -> Iterator[str]:
    """Part names, one a line, as they come; empty lines and lines that begin with # are skipped."""
    if path is None:
        if sys.stdin.isatty():
            print("Name of the part under the dome, Enter; Ctrl-D ends.", file=sys.stderr)
        yield from _cleaned(sys.stdin, "standard input")
        return
    try:
        text = read_text(path)
    except MissingError:
        raise MissingError(f"there is no file {path} with part names") from None
    yield from _cleaned(io.StringIO(text), str(path))


def _cleaned(file: TextIO, source: str) -> Iterator[str]:
    """A name is what stands on the line: whether it can be one, `check_part_name` says."""
    try:
        for line in iter(file.readline, ""):
            name = line.rstrip("\r\n")
            if name.strip() and not name.startswith("#"):
                yield name
    except UnicodeDecodeError:
        raise UsageError(f"{source} is no UTF-8 text: save it as UTF-8") from None


@dataclass
class _Session:
    """The rig, opened for the first part and kept open."""

    order: Order
    workspace: Workspace
    config: Config
    text: str
    job: Job
    shown: str | None = None  # the part under the virtual rig

    def one(self, part: str) -> int:
        with self._rig(part) as rig:
            self._show(part)
            return self._measure(rig, part)

    def all(self, names: Iterator[str]) -> int:
        """Measure part after part. Devices are opened again only after one of them failed."""
        worst = GOOD
        waiting = next(names, None)
        while waiting is not None:
            try:
                with self._rig(waiting) as rig:
                    while waiting is not None:
                        part, waiting = waiting, None
                        try:
                            self._show(part)
                            worst = max(worst, self._measure(rig, part))
                        except Exception as error:
                            if exit_code(error) in (None, DEVICE):
                                raise  # nobody knows what state the devices are in
                            worst = max(worst, self._failed(part, error))
                        waiting = next(names, None)
            except UsageError:
                raise  # the list of names is at fault, not a part
            except Exception as error:
                worst = max(worst, self._failed(waiting or part, error))
                waiting = next(names, None)
        return worst

    @contextmanager
    def _rig(self, part: str) -> Iterator[Rig]:
        try:
            find(self.config.camera.address)
        except DeviceError:
            if self.config.camera.simulated:
                self.shown = part  # a virtual rig that is made now begins with this part
        with open_rig(self.config, part=part, seed=self.order.seed, config_text=self.text) as rig:
            if other := capturing.other_size(self.workspace, rig):
                raise UsageError(other)
            yield rig

    def _show(self, part: str) -> None:
        check_part_name(part)
        again = part != self.shown
        if lay_part(self.config, part, self.order.seed, self.job.plan.leds, again=again):
            self.shown = part

    def _measure(self, rig: Rig, part: str) -> int:
        def looked(found: Judgement) -> None:
            print(
                f"{part}: {found.verdict} at a quick look; the verdict follows",
                file=sys.stderr,
                flush=True,
            )

        verdict = measure_part(
            rig,
            self.workspace,
            part,
            self.job,
            self._progress,
            computing=computing_shown,
            preview=looked,
        )
        if self.order.json:
            print(json.dumps(verdict.to_json()), flush=True)
        else:
            print(verdict, flush=True)
            for note in verdict.notes:
                print(f"  note: {note}", flush=True)
        told = self.order.after(verdict)
        if told:
            print(f"note: {told}", file=sys.stderr, flush=True)
        return verdict.exit_code

    def _failed(self, part: str, error: Exception) -> int:
        """Tell of a part that could not be measured; the exit code it stands for."""
        code, sentence = failure(error, self.workspace.folder)
        if self.order.json:
            line = {"format": FORMAT, "part": part, "verdict": "failed", "exit_code": code}
            print(json.dumps(line | {"error": sentence}), flush=True)
        print(f"rig: {part}: {sentence}", file=sys.stderr, flush=True)
        return code

    def _progress(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def lay_part(config: Config, part: str, seed: int, leds: Sequence[int], *, again: bool) -> bool:
    """Lay a part under a virtual rig, as an operator would under a real one.

    Parameters
    ----------
    leds : whose pictures are rendered now, before the light goes on
    again : False if this part lies there already

    Returns
    -------
    False if the rig is a real one: somebody else lays the part
    """
    if not config.camera.simulated:
        stagehand = stagehand_of(config)
        if stagehand is not None and again:
            stagehand.part(part)
        return stagehand is not None
    world = find(config.camera.address)
    if again:
        world.scene = default_scene(config, part, seed)
    for led in leds:
        world.scene.irradiance(led)
    return True
