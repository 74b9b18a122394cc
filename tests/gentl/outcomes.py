"""What became of a capture through the real drivers, held against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rig_process import RigProcess, scene

from capture.errors import CaptureError
from capture.evidence import Reference
from capture.reading import Recording
from capture.runner import Summary, recorded_reference
from rig.session import open_rig


@dataclass
class Outcome:
    """How a capture ended: `summary`, or the `error` a user would see."""

    summary: Summary | None
    error: CaptureError | None
    folder: Path
    leds: int

    def wrongly_good(self) -> list[str]:
        """Pictures recorded as good that do not show their LED alone: must be empty."""
        if not self.folder.exists():
            return []
        recording = Recording.open(self.folder, unfinished=True)
        world, wrong = scene(self.leds), []
        for entry in recording.entries:
            if entry.verdict != "good":
                continue
            time_us = float(entry.data["exposure_us"])
            electrons = world.ambient() * time_us
            if entry.led:
                electrons = electrons + world.irradiance(entry.led) * time_us
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


def captured(
    process: RigProcess,
    folder: Path,
    mode: str,
    faults: Sequence[str] = (),
    reference: Path | None = None,
    retries: int = 2,
    rate_hz: float = 400.0,
    timeout_s: float = 0.4,
) -> Outcome:
    """One capture of all LEDs through pyserial and harvesters, with faults from now on."""
    process.ask(faults=[])
    config = process.config(mode, retries, rate_hz)
    plan = config.default_plan()

    def references(exposure_us: float) -> list[Reference]:
        if reference is None:
            return []
        found = recorded_reference(Recording.open(reference), exposure_us)
        return [] if found is None else [found]

    try:
        with open_rig(config, timeout_s=timeout_s) as rig:
            process.ask(faults=list(faults))
            summary = rig.capture(folder, plan, references=references)
        return Outcome(summary, None, summary.folder, process.leds)
    except CaptureError as error:
        part = folder.with_name(folder.name + ".part")
        return Outcome(None, error, part if part.exists() else folder, process.leds)
    finally:
        process.ask(faults=[])
