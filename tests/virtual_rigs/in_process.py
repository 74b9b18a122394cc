"""A tiny virtual rig in the test's own process, as `--simulate` makes: 8 LEDs, 1 ms."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from outcomes import PART, Outcome, bump, left_by, references_to
from prompt_clock import PromptClock

from capture.errors import CaptureError
from capture.faults import NONE, Faults
from capture.plan import Plan
from capture.world import Clock, World, publish, withdraw
from rig.config import Config, parse_config
from rig.session import open_rig

LEDS = 8
EXPOSURE_US = 1000.0
PLAN = Plan(leds=tuple(range(1, LEDS + 1)), exposures_us=(EXPOSURE_US,), settle_us=0)
SHOTS = PLAN.shots()
MODES = ("software", "board-clocked", "camera-clocked")
_names = itertools.count()


@dataclass
class Ended(Outcome):
    """With the world it happened in."""

    world: World


def config(name: str, mode: str) -> Config:
    return parse_config(
        f"board: {{port: 'sim://{name}', leds: {LEDS}}}\n"
        f"camera: {{producer: 'sim://{name}?readout_us=200', trigger: {mode}, line: Line0, "
        f"strobe_line: Line1, frame_rate_hz: 400}}\n"
        f"plan: {{exposures_ms: [1], settle_us: 0, retries: 2}}\n"
    )


def capture(
    folder: Path,
    mode: str = "software",
    faults: Faults = NONE,
    reference: Path | None = None,
    plan: Plan = PLAN,
    seed: int = 1,
    resume: bool = False,
    part: int = PART,
    name: str | None = None,
    clock: Clock | None = None,
    **options: object,
) -> Ended:
    """Capture `plan` with a fresh virtual rig; errors of the rig are returned, not raised.

    `clock`: default one that nobody has to wait for.
    """
    # One name for all: the camera's serial number is part of what makes a rig the same.
    name = name or "tiny"
    world = World(bump(LEDS, part), clock or PromptClock(), seed=seed, faults=faults)
    publish(name, world)

    try:
        with open_rig(config(name, mode), timeout_s=0.08) as rig:
            summary = rig.capture(
                folder,
                plan,
                references=references_to(reference),
                resume=resume,
                **options,  # type: ignore[arg-type]
            )
        return Ended(summary, None, summary.folder, world.scene, world)
    except CaptureError as error:
        return Ended(None, error, left_by(folder), world.scene, world)
    finally:
        withdraw(name)
