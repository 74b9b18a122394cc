"""What ``rig run`` does with a part: capture, verify, reconstruct, report, verdict.

The devices stay open between parts; nothing of a part is kept in memory once its verdict is given.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from capture.claim import Claim
from capture.errors import DataError
from capture.pairing import BLIND
from capture.plan import Plan
from capture.reading import Recording
from capture.recording import Snapshot
from capture.runner import Progress
from capture.verify import verify
from reconstruct.export.maps import write_tiff
from reconstruct.metrology.compare import compare
from reconstruct.metrology.form import remove_form
from reconstruct.metrology.grid import HeightGrid, grid_of
from reconstruct.surface import Flag, Surface
from rig.exits import DATA, GOOD, OUT_OF_TOLERANCE
from rig.figures import shape_of
from rig.reconstructing import Computing, Request, reconstruction, unseen
from rig.report.result import REPORT
from rig.report.verdict import put_verdict_first
from rig.session import Rig, references_of, snapshots_of
from rig.workspace import Workspace

FORMAT = "rig-verdict/1"
QUICK_LOOK = "dpps"  # judges first, where the method asked for takes longer
SLOW = ("auto", "refine")
QUICK_PIXELS = 100_000  # that it takes: means of blocks of larger pictures
LEAST_COVERAGE = 0.8  # of the part's pixels: fewer cannot vouch for the whole


@dataclass(frozen=True)
class Tolerance:
    """What a part must keep to be good.

    Attributes
    ----------
    limit_mm : deviation allowed from the reference, or from the best plane without one
    reference : results folder, mesh, .x3p, .sdf, or the name of a part measured before
    alignment : as in `rig compare`
    share : of the points that must be within the limit, 0 to 1
    border_mm : left out along the edges
    """

    limit_mm: float
    reference: str | None = None
    alignment: str = "rigid"
    share: float = 1.0
    border_mm: float = 0.0


@dataclass(frozen=True)
class Labels:
    """What is known of a measurement besides its figures; kept with its verdict.

    `instrument` is the rig's name, `certificate` the acceptance in force.
    """

    part_type: str = ""
    operator: str = ""
    batch: str = ""
    instrument: str = ""
    certificate: str = ""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What came of judging a surface.

    Attributes
    ----------
    verdict, exit_code : as in `Verdict`
    deviation : figures of the comparison with a reference, or empty
    features : one mapping for each feature of an inspection plan
    plan : which inspection plan judged: its type, revision and hash
    notes : what the judge wants known
    deviation_map : deviation of each point, mm, or None
    """

    verdict: str
    exit_code: int
    deviation: dict[str, Any] = field(default_factory=dict)
    features: tuple[dict[str, Any], ...] = ()
    plan: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    deviation_map: HeightGrid | None = None


Inspect = Callable[[Surface, Path], Judgement]


@dataclass(frozen=True)
class Verdict:
    """How a part came out; `to_json` is ``verdict.json``.

    Attributes
    ----------
    verdict : "good", "out of tolerance", "in between" (an inspection plan could prove neither),
        "not sufficient" (too little of the part could be measured) or "measured" (no tolerance
        was given)
    deviation : figures of the comparison, mm; empty without a tolerance
    features : of the inspection plan, each with its value, sigma, limits, verdict and place
    plan : which inspection plan judged
    labels : part type, operator and batch
    figures : of the surface
    seconds : wall time of each step
    """

    part: str
    verdict: str
    exit_code: int
    recording: Path
    result: Path
    report: Path
    deviation: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    features: tuple[dict[str, Any], ...] = ()
    plan: dict[str, Any] = field(default_factory=dict)
    labels: Labels = Labels()
    measured_at: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "part": self.part,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "recording": str(self.recording),
            "result": str(self.result),
            "report": str(self.report),
            "deviation": self.deviation,
            "figures": self.figures,
            "notes": list(self.notes),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "features": list(self.features),
            "plan": self.plan,
            **asdict(self.labels),
            "measured_at": self.measured_at,
        }

    def kept(self) -> dict[str, Any]:
        """``verdict.json``: the same with places told from the run's folder, which may move."""
        places = (self.recording, self.result, self.report)
        names = ("recording", "result", "report")
        return self.to_json() | {
            name: place.relative_to(self.recording).as_posix()
            for name, place in zip(names, places, strict=True)
        }

    def __str__(self) -> str:
        text = f"{self.part}: {self.verdict}"
        if self.deviation and not self.features:
            text += (
                f", largest deviation {self.deviation['max_mm']:.4f} mm, "
                f"{100 * self.deviation['within']:.2f} % within "
                f"±{self.deviation['tolerance_mm']:g} mm"
            )
        failed = [f["name"] for f in self.features if f["verdict"] != "good"]
        if failed:
            text += f", not proven good: {', '.join(failed)}"
        return f"{text} ({self.seconds['total']:.1f} s) {self.report}"


@dataclass(frozen=True)
class Job:
    """How every part is measured."""

    plan: Plan
    auto_exposure: bool = False
    tolerance: Tolerance | None = None
    method: str = "auto"
    device: str = "cpu"
    height_mm: float | None = None  # of the surface's mean; None: as rig.yaml has it
    height_sigma_mm: float | None = None
    truth: Path | None = None  # truth.npz of a part that is known, kept with its recording
    inspect: Inspect | None = None  # judges instead of the tolerance
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)  # kept with the recording
    labels: Labels = Labels()


class _Timer:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start

    def total(self) -> dict[str, float]:
        return {**self.seconds, "total": time.monotonic() - self._start}


def measure_part(
    rig: Rig,
    workspace: Workspace,
    part: str,
    job: Job,
    say: Callable[[str], None] = lambda line: None,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda done, total, what: None,
    computing: Callable[[], AbstractContextManager[Computing]] = lambda: nullcontext(unseen),
    preview: Callable[[Judgement], None] | None = None,
) -> Verdict:
    """Measure the part that lies under the dome now.

    Parameters
    ----------
    say : told which step begins
    stop : asked after each picture and between the steps of the computation; True interrupts
    progress : told each picture
    computing : opened while the surface is computed; what it gives is told each step, and where
        that raises `Stopped` the best surface so far is kept, without a verdict
    preview : told what a quick look makes of the part, before the method asked for has ended

    Raises
    ------
    KeyboardInterrupt
        at Ctrl-C; what was captured can be resumed, and a surface that was there is kept
    DeviceError, DataError, ReconstructError
        saying which step failed; what was written before it is kept
    """
    workspace.clear_dead(part)
    folder = workspace.new_run(part)
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    timer = _Timer()
    notes: list[str] = []
    known: dict[str, Snapshot] = {"calibration/truth.npz": job.truth} if job.truth else {}
    with timer.step("capture"):
        say(f"{part}: capturing")
        plan = job.plan
        test_shots: list[tuple[int, float]] = []
        if job.auto_exposure:
            exposures_us, test_shots = rig.bracket(plan)
            plan = replace(plan, exposures_us=exposures_us)
        taken = rig.capture(
            folder,
            plan,
            references=references_of(workspace, part, rig, plan.leds),
            snapshots=snapshots_of(workspace) | known | dict(job.snapshots),
            stop=stop,
            progress=progress,
            test_shots=test_shots,
        )
        if taken.interrupted:
            raise KeyboardInterrupt
        if taken.blind:
            raise DataError(f"{BLIND}: switch the camera's test pattern off, or darken the room")
        notes += taken.notes
        if taken.verdicts.get("unproven"):
            notes.append(f"{taken.verdicts['unproven']} pictures unproven: {taken.reasons[0]}")
    with timer.step("verify"):
        checked = verify(folder)
        if not checked.sound:
            raise DataError(f"{folder} is not sound: {checked.problems[0]}")
    request = Request(
        str(folder),
        method=job.method,
        device=job.device,
        height_mm=job.height_mm,
        height_sigma_mm=job.height_sigma_mm,
        workspace=workspace.folder,
    )

    def heard(line: str) -> None:
        if stop():
            raise KeyboardInterrupt
        _note(notes, line)

    if preview is not None and job.method in SLOW:
        with timer.step("preview"):
            looked = _quick_look(request, job, workspace, stop)
        if looked is not None:
            preview(looked)
    with contextlib.ExitStack() as stack:
        say(f"{part}: reconstructing")
        with timer.step("reconstruct"), computing() as told:

            def step(stage: str, share: float) -> None:
                if stop():
                    raise KeyboardInterrupt
                told(stage, share)

            surface, claimed = stack.enter_context(reconstruction(request, heard, step))
        if surface.summary.get("stopped"):
            say(f"{part}: stopped; the best surface until then is {claimed.publish()}")
            raise KeyboardInterrupt
        with timer.step("judge"), _kept(claimed):
            found = _judged(surface, claimed.work, job, workspace)
        verdict = Verdict(
            part,
            found.verdict,
            found.exit_code,
            folder,
            claimed.target,
            claimed.target / REPORT,
            found.deviation,
            figures_of(surface),
            (*notes, *found.notes),
            timer.total(),
            found.features,
            found.plan,
            job.labels,
            measured_at,
        )
        keep_verdict(verdict, claimed.work, found.deviation_map)
        height = grid_of(surface) if found.features and found.deviation_map is None else None
        put_verdict_first(
            claimed.work / REPORT, verdict.kept(), surface.summary, found.deviation_map, height
        )
    return verdict


def _judged(surface: Surface, result: Path, job: Job, workspace: Workspace) -> Judgement:
    if job.inspect is not None:
        return job.inspect(surface, result)
    return judge(surface, result, job.tolerance, workspace)


def _quick_look(
    request: Request, job: Job, workspace: Workspace, stop: Callable[[], bool]
) -> Judgement | None:
    """What the network alone makes of a recording; None if it can make nothing of it."""

    def heard(line: str) -> None:
        if stop():
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory(prefix="rig-preview-") as folder:
        pixels = float(np.prod(Recording.open(Path(request.name)).shape))
        quick = replace(
            request,
            method=QUICK_LOOK,
            out=Path(folder) / "preview",
            binned=int(np.ceil(np.sqrt(pixels / QUICK_PIXELS))),
        )
        try:
            with reconstruction(quick, heard) as (surface, claimed):
                return _judged(surface, claimed.work, job, workspace)
        except Exception:  # the measurement itself says what is wrong
            return None


@contextlib.contextmanager
def _kept(claimed: Claim) -> Iterator[None]:
    """A surface is complete without a verdict: it is kept where it cannot be judged."""
    try:
        yield
    except Exception:
        claimed.publish()
        raise


def keep_verdict(verdict: Verdict, folder: Path, deviation_map: HeightGrid | None = None) -> None:
    """Write ``verdict.json`` and ``deviation.tif`` into the folder where a result is made."""
    if deviation_map is not None:
        name = "deviation.tif"
        write_tiff(folder / name, deviation_map.z_mm[::-1], "deviation, mm, y downwards")
    text = json.dumps(verdict.kept(), indent=1)
    (folder / "verdict.json").write_text(text + "\n", encoding="utf-8")


def judge(
    surface: Surface, result: Path, tolerance: Tolerance | None, workspace: Workspace
) -> Judgement:
    """Judge a measured surface by one tolerance."""
    # Edges are no surface that could be measured: they count neither for nor against.
    part = (surface.flags & int(Flag.OUTSIDE | Flag.EDGE)) == 0
    covered = float(surface.mask.sum() / max(part.sum(), 1))
    if tolerance is None:
        return Judgement("measured", GOOD)
    if covered < LEAST_COVERAGE:
        return Judgement("not sufficient", DATA)
    grid = shape_of(str(result), workspace.folder, None, tolerance.border_mm)
    if tolerance.reference is None:
        values = remove_form(grid, "plane").residual
        deviation, where = _deviation(values, "best plane", tolerance), values
    else:
        reference = shape_of(tolerance.reference, workspace.folder, None, 0.0, grid.step_mm)
        found = compare(grid, reference, tolerance.alignment, tolerance.limit_mm)
        deviation = {"reference": tolerance.reference, **found.to_json()}
        deviation.pop("format")
        where = found.deviation
    deviation |= {"share": tolerance.share, "covered": covered, "grid": grid_to_json(where)}
    if deviation["within"] >= tolerance.share - 1e-12:
        return Judgement("good", GOOD, deviation, deviation_map=where)
    return Judgement("out of tolerance", OUT_OF_TOLERANCE, deviation, deviation_map=where)


def grid_to_json(grid: HeightGrid) -> dict[str, float]:
    """Where the points of ``deviation.tif`` lie: its lower left corner and their distance, mm."""
    return {"x0_mm": grid.x0_mm, "y0_mm": grid.y0_mm, "step_mm": grid.step_mm}


def _deviation(values: HeightGrid, reference: str, tolerance: Tolerance) -> dict[str, Any]:
    """Figures of deviations that are known already, named as `rig compare` names them."""
    z = values.z_mm[values.mask]
    size = np.abs(z)
    return {
        "reference": reference,
        "mean_mm": float(z.mean()),
        "rms_mm": float(np.sqrt(np.mean(z**2))),
        "p95_mm": float(np.quantile(size, 0.95)),
        "max_mm": float(size.max()),
        "tolerance_mm": tolerance.limit_mm,
        "within": float(np.mean(size <= tolerance.limit_mm)),
        "points": int(z.size),
    }


def figures_of(surface: Surface) -> dict[str, float]:
    """How much of the part is measured, its heights in mm and how sure they are."""
    mask = surface.mask
    part = (surface.flags & int(Flag.OUTSIDE)) == 0
    figures = {"measured_percent": 100 * float(mask.sum() / max(part.sum(), 1))}
    if mask.any():
        figures["mean_height_mm"] = float(surface.height_mm[mask].mean())
        figures["height_range_mm"] = float(np.ptp(surface.height_mm[mask]))
        sigma = surface.sigma_mm[mask]
        if np.isfinite(sigma).any():
            figures["sigma_median_mm"] = float(np.nanmedian(sigma))
    return figures


def _note(notes: list[str], line: str) -> None:
    """Keep what the reconstruction wants known; its progress is not for the verdict."""
    if line.startswith("note: "):
        notes.append(line.removeprefix("note: "))
