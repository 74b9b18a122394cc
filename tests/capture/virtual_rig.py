"""A tiny virtual rig for the tests: 8 LEDs, 64×48 pixels, 1 ms; and what its pictures must show."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capture.bump import Bump
from capture.errors import CaptureError
from capture.evidence import Reference
from capture.faults import NONE, Faults
from capture.journal import JOURNAL, entries_of, read_journal
from capture.plan import Plan
from capture.reading import Recording
from capture.runner import Summary, recorded_reference
from capture.world import World, publish, withdraw
from rig.config import Config, parse_config
from rig.session import open_rig

LEDS = 8
SHAPE = (48, 64)
EXPOSURE_US = 1000.0
GAIN = 8.0  # electrons per µs of the scene, so that 1 ms is well exposed
PLAN = Plan(leds=tuple(range(1, LEDS + 1)), exposures_us=(EXPOSURE_US,), settle_us=0)
SHOTS = PLAN.shots()
MODES = ("software", "board-clocked", "camera-clocked")
_names = itertools.count()


class BrightBump(Bump):
    """The bump under lights strong enough for short exposures."""

    def _shade(self, led: int) -> np.ndarray:
        return np.float32(GAIN) * super()._shade(led)


@dataclass
class Outcome:
    """How a capture ended: `summary`, or the `error` a user would see."""

    summary: Summary | None
    error: CaptureError | None
    folder: Path
    world: World

    def verdicts(self) -> dict[int, str]:
        lines, _ = read_journal(self.folder / JOURNAL)
        return {index: entry.verdict for index, entry in entries_of(lines).items()}

    def wrongly_good(self) -> list[str]:
        """Pictures recorded as good that do not show their LED alone: must be empty."""
        recording = Recording.open(self.folder, unfinished=True)
        wrong = []
        for entry in recording.entries:
            if entry.verdict != "good":
                continue
            scene, time_us = self.world.scene, float(entry.data["exposure_us"])
            electrons = scene.ambient() * time_us
            if entry.led:
                electrons = electrons + scene.irradiance(entry.led) * time_us
            expected = np.minimum(electrons / 12_000, 1) + 0.004
            seen = recording.counts(entry) / recording.full_scale
            if abs(seen - expected).mean() > 0.01 + 0.01 * expected.mean():
                wrong.append(f"{entry.file}: {seen.mean():.3f}, expected {expected.mean():.3f}")
        return wrong


def config(name: str, mode: str, retries: int = 2) -> Config:
    return parse_config(
        f"board: {{port: 'sim://{name}', leds: {LEDS}}}\n"
        f"camera: {{producer: 'sim://{name}?readout_us=200', trigger: {mode}, line: Line0, "
        f"strobe_line: Line1, frame_rate_hz: 400}}\n"
        f"plan: {{exposures_ms: [1], settle_us: 0, retries: {retries}}}\n"
    )


def capture(
    folder: Path,
    mode: str = "software",
    faults: Faults = NONE,
    reference: Path | None = None,
    plan: Plan = PLAN,
    seed: int = 1,
    resume: bool = False,
    part: int = 3,
    name: str | None = None,
    retries: int = 2,
    **options: object,
) -> Outcome:
    """Capture `plan` with a fresh virtual rig; errors of the rig are returned, not raised."""
    # One name for all: the camera's serial number is part of what makes a rig the same.
    name = name or "tiny"
    world = World(BrightBump(SHAPE, LEDS, seed=part), seed=seed, faults=faults)
    publish(name, world)

    def references(exposure_us: float) -> list[Reference]:
        if reference is None:
            return []
        found = recorded_reference(Recording.open(reference), exposure_us)
        return [] if found is None else [found]

    try:
        with open_rig(config(name, mode, retries), timeout_s=0.08) as rig:
            summary = rig.capture(
                folder,
                plan,
                references=references,
                resume=resume,
                **options,  # type: ignore[arg-type]
            )
        return Outcome(summary, None, summary.folder, world)
    except CaptureError as error:
        part_folder = folder.with_name(folder.name + ".part")
        return Outcome(None, error, part_folder if part_folder.exists() else folder, world)
    finally:
        withdraw(name)
