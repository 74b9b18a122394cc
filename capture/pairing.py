"""The proof that picture k was lit by LED k, as pure functions over what was observed.

Each check passes, fails or cannot tell, and says why. A picture is *bad* as soon as one check
fails. A dark frame is *good* when it is dark. A lit picture is *good* only when its brightness is
that of one LED **and** it looks as LED k should look by an earlier recording or a calibration of
this rig; without such a reference crossed cables cannot be seen, so it is *unproven*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.evidence import (
    GRID,
    Check,
    Evidence,
    Judgement,
    Reference,
    Thumbnail,
    darkest,
)
from capture.resemblance import check_references, light_of, resemblance
from capture.stray_light import NOTHING, Stray, stray_light

# Shares of the light that an LED gives; a stuck or coupled LED adds about 1, a dead one gives 0.
DARK_EXCESS = 0.01
AMBIENT_EXCESS = 0.15
DEAD_BELOW = 0.01
FAINT = 0.0002  # of full scale, mean of a picture: what the dark level may wander
BRIGHT_DARK = 0.05  # of full scale: a dark frame of a test pattern, or of a bright room
NO_RESPONSE = 0.02  # change of the mean by the LEDs, relative to such a dark frame
SAME_LED = 0.05  # residual of the first LED taken again
DRIFT_AT_MOST = 1.3  # ratio of the first LED's brightness at the end
TIMESTAMP_NOISE_US = 5.0
BLIND = "no LED changes the picture: the camera shows a test pattern, or room light drowns it"


@dataclass(frozen=True)
class Verdict:
    """What was concluded of one picture; `reason` is empty for a good one."""

    index: int
    verdict: Judgement
    reason: str
    checks: Mapping[str, Check] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        checks = {name: [check.state, check.why] for name, check in self.checks.items()}
        return {"reason": self.reason, "checks": checks}


# the checks -----------------------------------------------------------------------------------
def judge(
    frames: Sequence[Evidence], references: Sequence[Reference] = (), black: float = 0.0
) -> list[Verdict]:
    """Judge all pictures of one pass (one exposure).

    Parameters
    ----------
    frames : the newest evidence of each shot
    references : how the LEDs should look; one that fits is enough, one that contradicts as well
    black : black level of the camera, fraction of full scale
    """
    frames = sorted(frames, key=lambda frame: frame.index)
    checks: dict[int, dict[str, Check]] = {frame.index: {} for frame in frames}

    def note(name: str, found: Mapping[int, Check]) -> None:
        for index, check in found.items():
            checks[index][name] = check

    note("echo", check_echo(frames))
    note("clock", check_clock(frames))
    if responds(frames, black):
        note("light", check_light(frames, black))
        note("repeat", check_repeat(frames))
        note("reference", check_references(frames, references))
    else:
        blind = {frame.index: Check("unknown", BLIND) for frame in frames}
        note("light", blind)
        note("reference", blind)
    return [_conclude(frame, checks[frame.index]) for frame in frames]


def _conclude(frame: Evidence, checks: Mapping[str, Check]) -> Verdict:
    failed = [check.why for check in checks.values() if check.state == "fail"]
    if failed:
        return Verdict(frame.index, "bad", "; ".join(failed), checks)
    needed = ["light"] if frame.kind == "dark" else ["echo", "light", "reference"]
    left = [checks[name].why for name in needed if checks[name].state != "pass"]
    if left:
        return Verdict(frame.index, "unproven", "; ".join(dict.fromkeys(left)), checks)
    return Verdict(frame.index, "good", "", checks)


def check_echo(frames: Sequence[Evidence]) -> dict[int, Check]:
    """The board named the LED that was asked for."""
    found = {}
    for frame in frames:
        if frame.echo is None:
            found[frame.index] = Check("unknown", "the board does not say which LED it lit")
        elif frame.echo != frame.led:
            why = f"asked for LED {frame.led}, the board lit {frame.echo}"
            found[frame.index] = Check("fail", why)
        else:
            found[frame.index] = Check("pass", f"the board lit LED {frame.echo}")
    return found


def fit_clock(
    board_us: NDArray[np.float64], camera_us: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Drift (ppm) of the camera's clock against the board's, and each residual (µs).

    A line through the medians of pairwise slopes and intercepts (Theil 1950, Sen 1968): a late
    edge does not pull it.
    """
    order = np.argsort(board_us)
    x, y = board_us[order] - board_us[order[0]], camera_us[order] - camera_us[order[0]]
    half = len(x) // 2
    slope = float(np.median((y[half:] - y[: len(x) - half]) / (x[half:] - x[: len(x) - half])))
    residual = y - slope * x
    residual -= np.median(residual)
    result = np.empty_like(residual)
    result[order] = residual
    return (slope - 1.0) * 1e6, result


def check_clock(frames: Sequence[Evidence]) -> dict[int, Check]:
    """The camera exposed when the board says the LED shone, to within the slack."""
    found: dict[int, Check] = {}
    for sequence in {frame.sequence for frame in frames}:
        members = [frame for frame in frames if frame.sequence == sequence]
        timed = [f for f in members if f.camera_us is not None and f.board_us is not None]
        for frame in members:
            if sequence == 0:
                why = "one trigger at a time, the LED on throughout"
                found[frame.index] = Check("pass", why)
            else:
                found[frame.index] = Check("unknown", "too few time stamps to compare the clocks")
        if sequence == 0 or len(timed) < 4:
            continue
        drift, residuals = fit_clock(
            np.array([f.board_us for f in timed], dtype=np.float64),
            np.array([f.camera_us for f in timed], dtype=np.float64),
        )
        for frame, residual in zip(timed, residuals, strict=True):
            allowed = frame.slack_us + TIMESTAMP_NOISE_US
            what = f"exposed {residual:+.0f} µs from the board's clock (drift {drift:+.1f} ppm)"
            if abs(drift) > 2000:
                found[frame.index] = Check("fail", f"the clocks do not run alike: {drift:.0f} ppm")
            elif abs(residual) > allowed:
                found[frame.index] = Check("fail", f"{what}, allowed {allowed:.0f}")
            else:
                found[frame.index] = Check("pass", what)
    return found


def _level(picture: NDArray[np.floating]) -> float:
    """How bright a picture is: mean of its brighter half, which highlights hardly move."""
    values = np.sort(picture, axis=None)
    return float(np.mean(values[values.size // 2 :]))


def responds(frames: Sequence[Evidence], black: float) -> bool:
    """Whether lit pictures differ from dark ones; False only where the dark ones are bright."""
    dark = [float(frame.thumbnail.mean()) for frame in frames if frame.kind == "dark"]
    lit = [float(frame.thumbnail.mean()) for frame in frames if frame.kind != "dark"]
    if not dark or not lit or np.median(dark) - black < BRIGHT_DARK:
        return True
    change = abs(float(np.median(lit) - np.median(dark)))
    return change > NO_RESPONSE * (float(np.median(dark)) - black)


def check_light(frames: Sequence[Evidence], black: float) -> dict[int, Check]:
    """Dark frames are dark, and lit ones are not; both measured by what an LED gives."""
    dim = darkest(frames)
    base = np.full((GRID, GRID), black, np.float32) if dim is None else dim
    lit = {f.index: _level(f.thumbnail - base) for f in frames if f.kind != "dark"}
    typical = float(np.median(list(lit.values()))) if lit else 0.0
    floor = 0.002  # of full scale: what noise and dark current may do to a cell
    ambient = _level(base) - black
    found: dict[int, Check] = {}
    dark = [frame for frame in frames if frame.kind == "dark"]
    strays = dict(zip((f.index for f in dark), _strays(frames, dark, base), strict=True))
    leds = [frame.led for frame in frames if frame.kind == "light"]
    for frame in dark:
        stray = strays[frame.index]
        more = _level(frame.thumbnail - base)
        if more > max(floor, DARK_EXCESS * typical):
            why = f"not dark: {100 * more / max(typical, floor):.0f} % of what an LED gives"
            found[frame.index] = Check("fail", why)
        elif stray.certain:
            why = f"not dark: it holds {100 * stray.share:.1f} % of an LED's light"
            found[frame.index] = Check("fail", f"{why}, by its looks LED {leds[stray.candidate]}")
        else:
            found[frame.index] = Check("pass", f"dark to {more:.4f} of full scale")
    bright = [index for index, check in found.items() if check.state == "fail"]
    for frame in frames:
        if frame.kind == "dark":
            continue
        level = lit[frame.index]
        share = level / typical if typical > 0 else 0.0
        nearest = _neighbours(frame.index, [f.index for f in frames if f.kind == "dark"])
        if typical < floor:
            why = (
                f"LED {frame.led} gave no light, nor did most others: LED supply off, lens "
                "covered, or exposure too short"
            )
            found[frame.index] = Check("fail", why)
        elif level < FAINT or share < DEAD_BELOW:
            why = f"LED {frame.led} gave no light ({100 * share:.1f} % of what others give)"
            found[frame.index] = Check("fail", why)
        elif any(index in bright for index in nearest):
            why = "a dark frame beside it is not dark: another LED was on, or the light changed"
            found[frame.index] = Check("fail", why)
        elif dim is None:
            found[frame.index] = Check("unknown", "no dark frame shows that nothing else shone")
        elif ambient > max(floor, AMBIENT_EXCESS * typical):
            why = (
                f"the dark frames hold {100 * ambient / typical:.0f} % of what an LED gives: "
                "room light, or an LED that is always on"
            )
            found[frame.index] = Check("unknown", why)
        else:
            found[frame.index] = Check("pass", f"{level:.4f} of full scale above dark")
    return found


def _strays(frames: Sequence[Evidence], asked: Sequence[Evidence], base: Thumbnail) -> list[Stray]:
    """Light of other LEDs in dark frames or repetitions, by the pictures of this very pass."""
    lights = [frame for frame in frames if frame.kind == "light"]
    if not lights or not asked:
        return [NOTHING] * len(asked)
    candidates = light_of(np.stack([frame.thumbnail for frame in lights]), base)
    pictures = light_of(np.stack([frame.thumbnail for frame in asked]), base)
    place = {frame.led: n for n, frame in enumerate(lights)}
    known = [place.get(frame.led, -1) for frame in asked]
    own = None if asked[0].kind == "dark" else candidates[known]
    return stray_light(pictures, own, candidates, known)


def _neighbours(index: int, darks: Sequence[int]) -> list[int]:
    before = [dark for dark in darks if dark < index]
    after = [dark for dark in darks if dark > index]
    return [*before[-1:], *after[:1]]


def check_repeat(frames: Sequence[Evidence]) -> dict[int, Check]:
    """The first LED looks alike at the end: nothing moved, little drifted."""
    repeat = next((frame for frame in frames if frame.kind == "repeat"), None)
    if repeat is None:
        return {}
    first = next((f for f in frames if f.kind == "light" and f.led == repeat.led), None)
    if first is None:
        return {repeat.index: Check("unknown", "the first LED's picture is missing")}
    base = darkest(frames)
    base = np.zeros((GRID, GRID), np.float32) if base is None else base
    pictures = light_of(np.stack([first.thumbnail, repeat.thumbnail]), base)
    residual, scale = resemblance(pictures[:1], pictures[1:])
    miss, ratio = float(residual[0, 0]), float(scale[0, 0])
    if not np.isfinite(miss):
        why = "too few unclipped cells to compare the first LED with its repetition"
        return {repeat.index: Check("unknown", why)}
    stray = _strays(frames, [repeat], base)[0]
    if stray.certain:
        others = [f.led for f in frames if f.kind == "light"]
        why = f"LED {repeat.led} again holds {100 * stray.share:.1f} % of another LED's light"
        check = Check("fail", f"{why}, by its looks LED {others[stray.candidate]}")
        return {repeat.index: check}
    what = f"LED {repeat.led} again: {ratio:.3f} times as bright, {100 * miss:.1f} % different"
    if miss > SAME_LED or not 1 / DRIFT_AT_MOST < ratio < DRIFT_AT_MOST:
        check = Check("fail", f"{what}: the part moved, or the light drifted")
        return {repeat.index: check, first.index: check}
    return {repeat.index: Check("pass", what)}
