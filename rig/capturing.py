"""What ``rig capture`` does: from what was typed to a recording, with progress and signals."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from capture.errors import DataError, PlanError
from capture.faults import NONE, Faults
from capture.journal import JOURNAL, PART, read_journal
from capture.pairing import BLIND
from capture.plan import Plan, format_leds, parse_leds
from capture.runner import Progress, Summary
from intake.errors import InputError, MissingError, told_as
from intake.files import read_text
from intake.trees import parse_json
from rig.config import (
    MAX_CONFIG,
    TEMPLATE,
    Config,
    VirtualSection,
    config_text,
    parse_config,
    read_config,
    read_plan_section,
)
from rig.exits import GOOD, INTERRUPTED, UsageError
from rig.session import (
    Rig,
    identity_of,
    open_rig,
    references_of,
    simulated,
    snapshots_of,
    with_exposures,
)
from rig.stagehand import stagehand_of
from rig.workspace import Workspace

FRAME_OVERHEAD_MS = 10.0  # light, trigger, transfer: for the estimate of a dry run


@dataclass(frozen=True)
class Order:
    """What was typed."""

    part: str
    simulate: bool = False
    size: str | None = None
    faults: Faults = NONE  # of the virtual rig
    plan_file: Path | None = None
    leds: str | None = None
    exposures: str | None = None
    dry_run: bool = False
    resume: bool = False
    seed: int = 0
    workspace: Path | None = None


def run(order: Order) -> int:
    """Carry out an order; returns the exit code, raises errors that carry one."""
    workspace = Workspace.at(order.workspace)
    workspace.part(order.part)  # refuse a bad name before anything else
    config, text = configuration(workspace, order.simulate, order.size)
    if order.resume:
        folder = _unfinished(workspace, order.part)
        plan = _recorded_plan(folder)
        _refuse_other_plan(order, config, plan)
    else:
        folder = workspace.new_run(order.part)
        plan = planned(order, config)
    if order.dry_run:
        print(_described(plan, config, folder, order.exposures == "auto"))
        return GOOD
    workspace.clear_dead(order.part)
    try:
        summary = _taken(order, workspace, config, text, folder, plan)
    except (KeyboardInterrupt, SystemExit):  # the second Ctrl-C, SIGTERM
        left = folder.with_name(folder.name + PART)
        if left.is_dir():
            print(_interrupted(left, order.part), file=sys.stderr)
        raise
    print(_summed_up(summary, order.part))
    if summary.blind and not summary.interrupted:
        raise DataError(f"{BLIND}: switch the camera's test pattern off, or darken the room")
    return INTERRUPTED if summary.interrupted else GOOD


def _taken(
    order: Order, workspace: Workspace, config: Config, text: str, folder: Path, plan: Plan
) -> Summary:
    """Open the devices, take the plan, leave them dark and closed."""
    stagehand = stagehand_of(config)
    if stagehand is not None:
        stagehand.part(order.part)
    with open_rig(
        config, part=order.part, seed=order.seed, config_text=text, faults=order.faults
    ) as rig:
        test_shots: list[tuple[int, float]] = []
        if order.exposures == "auto" and not order.resume:
            exposures_us, test_shots = rig.bracket(plan)
            plan = replace(plan, exposures_us=exposures_us)
            print(f"Exposures: {_in_ms(plan)} ms, from {len(test_shots)} test shots")
        warnings = [*rig.state.warnings, *calibration_warnings(workspace, config, rig)]
        if other := other_size(workspace, rig):
            warnings.append(other)
        for warning in warnings:
            print(f"Note: {warning}", file=sys.stderr)
        with _progress() as progress:
            return rig.capture(
                folder,
                plan,
                resume=order.resume,
                references=references_of(workspace, order.part, rig, plan.leds),
                snapshots=snapshots_of(workspace),
                progress=progress,
                test_shots=test_shots,
            )


def configuration(
    workspace: Workspace, simulate: bool, size: str | None = None
) -> tuple[Config, str]:
    """The workspace's configuration and its text; the default one to simulate without a file.

    `size` is of the virtual rig's pictures, where somebody typed it.
    """
    if size is not None and not simulate:
        raise UsageError("--size goes with --simulate: a camera's size is its own (camera: roi)")
    if simulate and not workspace.config_file.exists():
        config, text = parse_config(TEMPLATE), TEMPLATE
    else:
        config, text = read_config(workspace.config_file), config_text(workspace.config_file)
    if size is not None:
        config = config.model_copy(update={"virtual": VirtualSection(size=size)})
    return (simulated(config) if simulate else config), text


def calibration_warnings(workspace: Workspace, config: Config, rig: Rig) -> list[str]:
    """What to know of the lights in force; raises `CalibrationError` if they are another rig's."""
    from calib.light_files import read_lights
    from calib.validity import check_validity

    path = workspace.calibration / "lights.json"
    if not path.is_file():
        return []
    lights = read_lights(path)
    if not lights.provenance.get("board"):  # came from elsewhere: nothing to compare with
        return []
    return check_validity(
        lights,
        board=identity_of(rig.board.identity),
        camera=identity_of(rig.camera.identity),
        max_age_days=config.calibration.max_age_days,
    )


def other_size(workspace: Workspace, rig: Rig) -> str | None:
    """A sentence where the camera gives pictures of another size than camera.json is of."""
    from calib.camera import Camera

    path = workspace.calibration / "camera.json"
    if not path.is_file():
        return None
    known, state = Camera.read(path), rig.state
    if (known.width, known.height) == (state.width, state.height):
        return None
    return (
        f"{path} is of pictures of {known.width}×{known.height} px, the camera gives "
        f"{state.width}×{state.height}: calibrate it at this size ('rig calibrate-camera'), or set "
        "the size back (camera: roi in rig.yaml; of a virtual rig --size)"
    )


# plans ----------------------------------------------------------------------------------------
def planned(order: Order, config: Config) -> Plan:
    if order.plan_file is not None:
        plan = read_plan(order.plan_file, config)
    else:
        plan = config.default_plan()
    if order.leds is not None:
        plan = replace(plan, leds=parse_leds(order.leds))
    if order.exposures not in (None, "auto"):
        plan = with_exposures(plan, str(order.exposures))
    if max(plan.leds) > config.board.leds:
        raise PlanError(
            f"the plan asks for LED {max(plan.leds)}, but board: leds in rig.yaml is "
            f"{config.board.leds}: name others with --leds, or correct rig.yaml"
        )
    return plan


def read_plan(path: Path, config: Config) -> Plan:
    """A plan file: our JSON, or YAML with the settings of rig.yaml's section ``plan``."""
    try:
        text = read_text(path, MAX_CONFIG)
    except MissingError:
        raise UsageError(
            f"there is no plan file {path}: --plan names a .yaml or .json file that exists"
        ) from None
    except InputError as error:
        raise UsageError(str(error)) from None
    if path.suffix.lower() == ".json":
        with told_as(UsageError):
            data = parse_json(text, str(path))
        try:
            return Plan.from_json(data)
        except PlanError as error:
            raise PlanError(f"{path}: {error}") from None
    section = read_plan_section(text, str(path))
    return config.model_copy(update={"plan": section}).default_plan()


def _unfinished(workspace: Workspace, part: str) -> Path:
    runs = workspace.resumable_runs(part)
    if not runs:
        raise UsageError(f"part {part} has no unfinished run: leave --resume out to begin one")
    return runs[-1]


def _recorded_plan(folder: Path) -> Plan:
    lines, _ = read_journal(folder.with_name(folder.name + PART) / JOURNAL)
    return Plan.from_json(lines[0].get("plan", {}))


def _refuse_other_plan(order: Order, config: Config, recorded: Plan) -> None:
    """A plan that was typed along with --resume must be the recorded one."""
    if order.plan_file is None and order.leds is None and order.exposures in (None, "auto"):
        return
    asked = planned(order, config)
    if order.exposures == "auto" or (order.exposures is None and order.plan_file is None):
        asked = replace(asked, exposures_us=recorded.exposures_us)
    if asked != recorded:
        raise PlanError(
            f"the unfinished run has another plan ({_short(recorded)}) than the one asked for "
            f"({_short(asked)}): leave the plan out to resume, or --resume out to begin anew"
        )


# words ----------------------------------------------------------------------------------------
def _in_ms(plan: Plan) -> str:
    return ",".join(f"{exposure / 1000:g}" for exposure in plan.exposures_us)


def _short(plan: Plan) -> str:
    return f"LEDs {format_leds(plan.leds)}, {_in_ms(plan)} ms"


def _described(plan: Plan, config: Config, folder: Path, auto: bool) -> str:
    shots = plan.shots()
    dark = sum(shot.kind == "dark" for shot in shots)
    seconds = sum(shot.exposure_us for shot in shots) * 1e-6
    seconds += len(shots) * FRAME_OVERHEAD_MS / 1000
    exposures = "found by test shots" if auto else f"{_in_ms(plan)} ms"
    return "\n".join(
        [
            f"Would take {'at least ' * auto}{len(shots)} pictures into {folder}",
            f"  LEDs       {format_leds(plan.leds)} ({len(plan.leds)})",
            f"  exposures  {exposures}",
            f"  dark       {dark} frames" if dark else "  dark       none",
            f"  board      {config.board.port}, camera {config.camera.address}, "
            f"synchronisation {config.camera.trigger}",
            f"  time       about {seconds:.0f} s" if not auto else "  time       open",
            f"  plan       {plan.digest[:12]}",
        ]
    )


def _interrupted(folder: Path, part: str) -> str:
    return (
        f"Interrupted; LEDs are off. {folder} keeps what was taken: "
        f"rig capture --part {part} --resume"
    )


def _summed_up(summary: Summary, part: str) -> str:
    counts = summary.verdicts
    said = ", ".join(f"{counts[v]} {v}" for v in ("good", "unproven", "bad") if counts.get(v))
    if summary.interrupted:
        return _interrupted(summary.folder, part)
    lines = [f"{summary.folder}: {said}"]
    lines += [f"  note: {note}" for note in summary.notes]
    if summary.retries:
        lines.append(f"  {summary.retries} retries, see {JOURNAL}")
    if summary.drift is not None:
        lines.append(f"  first LED at the end: {summary.drift:.3f} times as bright")
    if counts.get("unproven"):
        lines.append(f"  unproven: {summary.reasons[0]}")
    return "\n".join(lines)


# progress -------------------------------------------------------------------------------------
@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar with rate and time left on a terminal; silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total, what: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("capture", total=None)

        def show(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield show
