"""Figures and origins in words: rounded to what is known of them, inputs told from results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A figure with its unit and, where known, its one-sigma uncertainty.

    `given` says who put it in; it is no result of the measurement. `significant` digits are shown
    where no sigma says how many.
    """

    name: str
    value: float
    unit: str
    sigma: float | None = None
    given: str = ""
    significant: int = 4

    def __str__(self) -> str:
        return f"{rounded(self.value, self.sigma, self.significant)} {self.unit}"


def rounded(value: float, sigma: float | None = None, significant: int = 4) -> str:
    """A value to the second digit of its sigma (GUM 7.2.6); to so many digits without one."""
    if not math.isfinite(value):
        return "–"
    if sigma is None or not math.isfinite(sigma) or sigma <= 0:
        return _signed(value, _digits(value, significant))
    digits = _digits(sigma, 2)
    return f"{_signed(value, digits)} ± {_signed(sigma, digits)}"


def _digits(value: float, significant: int) -> int:
    """Decimals that show so many significant digits of a value."""
    if value == 0:
        return 0
    size = math.floor(math.log10(abs(value)))
    size = math.floor(math.log10(abs(round(value, significant - 1 - size))))
    return significant - 1 - size


def _signed(value: float, digits: int) -> str:
    text = f"{round(value, digits):.{max(0, digits)}f}"
    return text.replace("-", "−") if float(text) else text.replace("-", "")


def moment(iso: str) -> str:
    """A date and time that people read; the text itself where it is no date."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = when.strftime("%Z") if when.tzinfo else ""
    return f"{when.day} {when:%B %Y, %H:%M} {zone}".strip()


TOLD = {
    "--height": "given with the command",
    "assumed": "assumed: the stage",
    "shadow": "told by the shadow that the part casts",
    "nearness": "told by where the places that show highlights fit the near lights best",
}


def told_by(source: str) -> str:
    """Who said how high the surface lies."""
    return TOLD.get(source, f"given in {source}")


def origin(summary: Mapping[str, Any], size: tuple[int, int]) -> list[str]:
    """Sentences that say where a result came from."""
    height, width = size
    said = []
    part, recording = summary.get("part"), summary.get("recording")
    if part and recording:
        said.append(f"The part is {part}; its pictures are the recording {recording}.")
    used = len(summary.get("leds") or ()) or summary.get("lights")
    method = summary.get("method", "unknown")
    when = f" on {moment(str(summary['date']))}" if summary.get("date") else ""
    version = f", version {summary['version']} of the program" if summary.get("version") else ""
    said.append(
        f"The method {method} made the surface{when} from "
        f"{f'{used} pictures' if used else 'pictures'} of {width} × {height} px{version}."
    )
    told = _part(summary, "height")
    if "mm" in told:
        said.append(
            f"The mean height is {rounded(float(told['mm']), told.get('sigma_mm'))} mm, "
            f"{told_by(str(told.get('from', 'unknown')))}."
        )
    said += _calibration(_part(summary, "calibration"))
    if why := _part(summary, "plausibility").get("why"):
        said.append(f"{str(why)[0].upper()}{str(why)[1:]}.".replace("..", "."))
    if summary.get("mask"):
        said.append(f"The mask {summary['mask']} said which pixels show the part.")
    seconds = _part(summary, "seconds").get("reconstruct")
    if isinstance(seconds, int | float):
        said.append(f"The computation took {seconds:.0f} s on {summary.get('device', 'cpu')}.")
    return said


def _calibration(calibration: Mapping[str, Any]) -> list[str]:
    if not calibration.get("lights"):
        return []
    dated = f" of {moment(str(calibration['date']))}" if calibration.get("date") else ""
    text = f"The lights come from {calibration['lights']}{dated}"
    if calibration.get("plate"):
        text += f", their power and the vignetting from the plate '{calibration['plate']}'"
    return [text + "."]


def _part(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key)
    return found if isinstance(found, Mapping) else {}
