"""What became of a capture on a virtual rig, held against the truth; and the scene they share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.bump import Bump
from capture.errors import CaptureError
from capture.evidence import Reference
from capture.journal import JOURNAL, entries_of, read_journal
from capture.reading import Recording
from capture.runner import Summary, recorded_reference
from capture.world import Scene

SHAPE = (48, 64)
PART = 3
GAIN = 8.0  # electrons per µs of the scene, so that 1 ms is well exposed


class BrightBump(Bump):
    """The bump under lights strong enough for short exposures."""

    def _shade(self, led: int) -> np.ndarray:
        return np.float32(GAIN) * super()._shade(led)


def bump(leds: int, part: int = PART) -> BrightBump:
    """What the camera of a small rig sees."""
    return BrightBump(SHAPE, leds, seed=part)


@dataclass
class Outcome:
    """How a capture ended: `summary`, or the `error` a user would see."""

    summary: Summary | None
    error: CaptureError | None
    folder: Path
    scene: Scene

    def verdicts(self) -> dict[int, str]:
        lines, _ = read_journal(self.folder / JOURNAL)
        return {index: entry.verdict for index, entry in entries_of(lines).items()}

    def wrongly_good(self) -> list[str]:
        """Pictures recorded as good that do not show their LED alone: must be empty."""
        if not self.folder.exists():
            return []
        recording, wrong = Recording.open(self.folder, unfinished=True), []
        for entry in recording.entries:
            if entry.verdict != "good":
                continue
            time_us = float(entry.data["exposure_us"])
            electrons = self.scene.ambient() * time_us
            if entry.led:
                electrons = electrons + self.scene.irradiance(entry.led) * time_us
            expected = np.minimum(electrons / 12_000, 1) + 0.004
            seen = recording.counts(entry) / recording.full_scale
            if abs(seen - expected).mean() > 0.01 + 0.01 * expected.mean():
                wrong.append(f"{entry.file}: {seen.mean():.3f}, expected {expected.mean():.3f}")
        return wrong

    def words(self) -> str:
        """One line: all good, some retries, or the sentence."""
        if self.error is not None:
            return f"exit {self.error.exit_code}: {self.error}"
        assert self.summary is not None
        counts = ", ".join(f"{n} {v}" for v, n in sorted(self.summary.verdicts.items()))
        return f"{counts}, {self.summary.retries} retries"


def references_to(reference: Path | None) -> Any:
    """How the LEDs look in an earlier recording, as `Rig.capture` wants it."""

    def at(exposure_us: float) -> list[Reference]:
        if reference is None:
            return []
        found = recorded_reference(Recording.open(reference), exposure_us)
        return [] if found is None else [found]

    return at


def left_by(folder: Path) -> Path:
    """The recording that a capture into `folder` has left when it failed."""
    part = folder.with_name(folder.name + ".part")
    return part if part.exists() else folder
