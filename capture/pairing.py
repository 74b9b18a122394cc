"""The proof that picture k was lit by LED k, as pure functions over what was observed.

Each check passes, fails or cannot tell, and says why. A picture is *bad* as soon as one check
fails. A dark frame is *good* when it is dark. A lit picture is *good* only when its brightness is
that of one LED **and** it looks as LED k should look by an earlier recording or a calibration of
this rig; without such a reference crossed cables cannot be seen, so it is *unproven*.

Pictures are compared as thumbnails, and in two ways. Of the same scene, picture j must resemble
reference j more than any other. Of another scene, the linearity of light helps: where the
reference says ``picture j = Σ w_k · picture k`` over the other LEDs, the same weights hold for any
other scene, up to how diffuse it is; picture j must then be the one that its prediction resembles
most. (Of metals, the fourth root of the light obeys this far better than the light itself.)
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.plan import Kind

GRID = 16  # cells of a thumbnail along each side
State = Literal["pass", "fail", "unknown"]
Judgement = Literal["good", "unproven", "bad"]
Thumbnail = NDArray[np.float32]

# Shares of the light that an LED gives; a stuck or coupled LED adds about 1, a dead one gives 0.
DARK_EXCESS = 0.05
AMBIENT_EXCESS = 0.15
DEAD_BELOW = 0.03
BRIGHT_DARK = 0.05  # of full scale: a dark frame of a test pattern, or of a bright room
NO_RESPONSE = 0.02  # change of the mean by the LEDs, relative to such a dark frame
CLIPPED_ABOVE = 0.9  # of full scale, mean of a cell
SAME_SCENE = 0.08  # median relative residual below which two recordings show the same scene
SAME_PICTURE = 0.15  # largest relative residual of the same picture
SAME_POWER = 1.35  # largest ratio of one LED's brightness to that of the others, by the reference
PREDICTED_MARGIN = 0.7  # how much nearer than any other a prediction must be, of another scene
PREDICTED_PICTURE = 0.05  # residual of the fourth root up to which a prediction is exact
PREDICTED_POWER = 1.2  # largest ratio of brightness to the prediction, of another scene
SAME_LED = 0.05  # residual of the first LED taken again
DRIFT_AT_MOST = 1.3  # ratio of the first LED's brightness at the end
TIMESTAMP_NOISE_US = 5.0


@dataclass(frozen=True)
class Check:
    """One question asked of a picture."""

    state: State
    why: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of one picture.

    Attributes
    ----------
    index, kind, led : of the shot
    thumbnail : (GRID, GRID) float32, mean fraction of full scale per cell
    frame_id : of the camera, None for a picture from before an interruption
    echo : the LED that the board says it lit, None if it said nothing
    camera_us : the camera's clock at the exposure, µs, None if it has none
    board_us : the board's clock when it lit the LED (plus settle time), µs, None outside sequences
    sequence : number of the uploaded sequence it belongs to (0: none); clocks are fitted in each
    slack_us : how much earlier or later the exposure may come without missing light
    """

    index: int
    kind: Kind
    led: int
    thumbnail: Thumbnail
    frame_id: int | None = None
    echo: int | None = None
    camera_us: float | None = None
    board_us: float | None = None
    sequence: int = 0
    slack_us: float = 0.0


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


@dataclass(frozen=True, eq=False)
class Reference:
    """How each LED's light looks: (N, M) pictures of `leds`; `source` says from where.

    `pictures` come from an earlier recording (M = GRID², dark removed, clipped cells NaN) or from
    the light positions of a calibration (`direction_pictures`).
    """

    leds: tuple[int, ...]
    pictures: NDArray[np.float64]
    source: str
    recorded: bool


# thumbnails -----------------------------------------------------------------------------------
def thumbnail(pixels: NDArray[np.uint16], full_scale: int) -> Thumbnail:
    """(GRID, GRID) means of a picture (H, W), as fractions of full scale."""
    small = cv2.resize(pixels, (GRID, GRID), interpolation=cv2.INTER_AREA)
    # Rounded as it is stored, so that a resumed run judges the very same numbers.
    stored = np.rint(small.astype(np.float64) * (65535 / full_scale))
    return np.asarray(stored / 65535, dtype=np.float32)


def pack(small: Thumbnail) -> str:
    """A thumbnail as text for the journal."""
    stored = np.rint(small.astype(np.float64) * 65535).clip(0, 65535).astype("<u2")
    return base64.b64encode(stored.tobytes()).decode("ascii")


def unpack(text: str) -> Thumbnail:
    """What `pack` wrote; raises `ValueError`."""
    raw = np.frombuffer(base64.b64decode(text, validate=True), dtype="<u2")
    return np.asarray(raw.reshape(GRID, GRID) / 65535, dtype=np.float32)


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
        why = "no LED changes the picture: the camera shows a test pattern, or room light drowns it"
        blind = {frame.index: Check("unknown", why) for frame in frames}
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


def _darkest(frames: Sequence[Evidence]) -> Thumbnail | None:
    darks = [frame.thumbnail for frame in frames if frame.kind == "dark"]
    return np.min(darks, axis=0) if darks else None


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
    darkest = _darkest(frames)
    base = np.full((GRID, GRID), black, np.float32) if darkest is None else darkest
    lit = {f.index: _level(f.thumbnail - base) for f in frames if f.kind != "dark"}
    typical = float(np.median(list(lit.values()))) if lit else 0.0
    floor = 0.002  # of full scale: what noise and dark current may do to a cell
    ambient = _level(base) - black
    found: dict[int, Check] = {}
    for frame in frames:
        if frame.kind != "dark":
            continue
        more = _level(frame.thumbnail - base)
        if more > max(floor, DARK_EXCESS * typical):
            why = f"not dark: {100 * more / max(typical, floor):.0f} % of what an LED gives"
            found[frame.index] = Check("fail", why)
        else:
            found[frame.index] = Check("pass", f"dark to {more:.4f} of full scale")
    bright = [index for index, check in found.items() if check.state == "fail"]
    for frame in frames:
        if frame.kind == "dark":
            continue
        level = lit[frame.index]
        share = level / typical if typical > 0 else 0.0
        nearest = _neighbours(frame.index, [f.index for f in frames if f.kind == "dark"])
        if level < floor or share < DEAD_BELOW:
            why = f"LED {frame.led} gave no light ({100 * share:.1f} % of what others give)"
            found[frame.index] = Check("fail", why)
        elif any(index in bright for index in nearest):
            why = "a dark frame beside it is not dark: another LED was on, or the light changed"
            found[frame.index] = Check("fail", why)
        elif darkest is None:
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
    base = _darkest(frames)
    base = np.zeros((GRID, GRID), np.float32) if base is None else base
    pictures = _masked(np.stack([first.thumbnail, repeat.thumbnail]), base)
    residual, scale = resemblance(pictures[:1], pictures[1:])
    miss, ratio = float(residual[0, 0]), float(scale[0, 0])
    if not np.isfinite(miss):
        why = "too few unclipped cells to compare the first LED with its repetition"
        return {repeat.index: Check("unknown", why)}
    what = f"LED {repeat.led} again: {ratio:.3f} times as bright, {100 * miss:.1f} % different"
    if miss > SAME_LED or not 1 / DRIFT_AT_MOST < ratio < DRIFT_AT_MOST:
        check = Check("fail", f"{what}: the part moved, or the light drifted")
        return {repeat.index: check, first.index: check}
    return {repeat.index: Check("pass", what)}


# against a reference --------------------------------------------------------------------------
def _masked(thumbnails: NDArray[np.floating], base: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, M) light of each picture, dark removed, clipped cells NaN."""
    count = len(thumbnails)
    light = np.asarray(thumbnails - base, dtype=np.float64).reshape(count, -1)
    light[np.asarray(thumbnails).reshape(count, -1) > CLIPPED_ABOVE] = np.nan
    return light


def reference_pictures(frames: Sequence[Evidence]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """LEDs and their (N, M) pictures of one pass, for a `Reference`."""
    lit = [frame for frame in frames if frame.kind == "light"]
    base = _darkest(frames)
    base = np.zeros((GRID, GRID), np.float32) if base is None else base
    pictures = _masked(np.stack([frame.thumbnail for frame in lit]), base)
    return tuple(frame.led for frame in lit), pictures


def direction_pictures(
    position_mm: NDArray[np.float64], power: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, N) rows whose products are the exponential kernel of the LEDs' directions.

    Scaled by the fourth root of the light that each LED sends to the stage. Used as pictures,
    they predict each LED's light by Gaussian-process regression over the directions in which the
    other LEDs lie (Rasmussen and Williams 2006, eq. 2.25).
    """
    direction = position_mm / np.linalg.norm(position_mm, axis=1, keepdims=True)
    chord = np.linalg.norm(direction[:, None] - direction[None], axis=-1)
    kernel = np.exp(-chord) + 1e-9 * np.eye(len(chord))
    strength = power / np.sum(position_mm**2, axis=1)
    return np.asarray(np.linalg.cholesky(kernel) * (strength / strength.mean())[:, None] ** 0.25)


def resemblance(
    pictures: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relative residual and best scale of each of (N, M) pictures to each of (K, M) others.

    ``others[k] ≈ scale[n, k] · pictures[n]``; the residual is 0 for the same picture and 1 for an
    unrelated one; NaN cells are left out, and NaN comes back where nearly nothing is left.
    """
    seen_p, seen_o = np.isfinite(pictures), np.isfinite(others)
    p, o = np.where(seen_p, pictures, 0.0), np.where(seen_o, others, 0.0)
    cross = p @ o.T
    square_p, square_o = (p**2) @ seen_o.T.astype(float), seen_p.astype(float) @ (o**2).T
    shared = seen_p.astype(float) @ seen_o.T.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = cross / square_p
        residual = np.sqrt(np.maximum(0.0, 1.0 - cross * scale / square_o))
    residual[shared < 0.25 * pictures.shape[1]] = np.nan
    return residual, scale


def check_references(
    frames: Sequence[Evidence], references: Sequence[Reference]
) -> dict[int, Check]:
    """Each picture looks as its LED should, by an earlier recording or a calibration."""
    why = "no earlier recording or calibration of this rig to compare with"
    found = {frame.index: Check("unknown", why) for frame in frames if frame.kind != "dark"}
    rank = {"unknown": 0, "pass": 1, "fail": 2}
    for number, reference in enumerate(references):
        for index, check in check_reference(frames, reference).items():
            if number == 0 or rank[check.state] > rank[found[index].state]:
                found[index] = check
    return found


def check_reference(frames: Sequence[Evidence], reference: Reference) -> dict[int, Check]:
    """Each picture looks as its LED should, by one reference."""
    lit = [frame for frame in frames if frame.kind != "dark"]
    base = _darkest(frames)
    base = np.zeros((GRID, GRID), np.float32) if base is None else base
    known = {led: place for place, led in enumerate(reference.leds)}
    found = {
        frame.index: Check("unknown", f"LED {frame.led} is not in {reference.source}")
        for frame in lit
        if frame.led not in known
    }
    lit = [frame for frame in lit if frame.led in known]
    if not lit:
        return found
    pictures = _masked(np.stack([frame.thumbnail for frame in lit]), base)
    places = np.array([known[frame.led] for frame in lit])
    if reference.recorded and reference.pictures.shape[1] == pictures.shape[1]:
        residual, scale = resemblance(reference.pictures, pictures)
        own = residual[places, np.arange(len(lit))]
        seen = own[np.isfinite(own)]
        if seen.size and np.median(seen) < SAME_SCENE:
            return found | _same_scene(lit, places, residual, scale, reference)
    return found | _other_scene(lit, places, pictures, reference)


def _same_scene(
    lit: Sequence[Evidence],
    places: NDArray[np.int64],
    residual: NDArray[np.float64],
    scale: NDArray[np.float64],
    reference: Reference,
) -> dict[int, Check]:
    found = {}
    columns = np.arange(len(lit))
    own, power = residual[places, columns], scale[places, columns]
    power = power / np.nanmedian(power)
    for n, frame in enumerate(lit):
        if not np.isfinite(own[n]):
            found[frame.index] = Check("unknown", "too much of it is clipped to compare it")
            continue
        best = int(np.nanargmin(residual[:, n]))
        if best != places[n] and residual[best, n] < 0.5 * own[n]:
            why = f"it is the picture of LED {reference.leds[best]} in {reference.source}"
            found[frame.index] = Check("fail", why)
        elif own[n] > SAME_PICTURE:
            why = f"it differs by {100 * own[n]:.0f} % from LED {frame.led} in {reference.source}"
            found[frame.index] = Check("fail", f"{why}: another LED shone as well")
        elif not 1 / SAME_POWER < power[n] < SAME_POWER:
            why = f"it is {power[n]:.2f} times as bright as in {reference.source}"
            found[frame.index] = Check("fail", f"{why}: a dim LED, or two at once")
        elif best != places[n]:
            why = f"LEDs {frame.led} and {reference.leds[best]} look too much alike to tell"
            found[frame.index] = Check("unknown", why)
        else:
            what = f"like LED {frame.led} in {reference.source} to {100 * own[n]:.1f} %"
            found[frame.index] = Check("pass", what)
    return found


def compressed(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourth root of the light, clipped cells filled: highlights of metal no longer rule.

    On rendered chromium, aluminium and copper this raised the share of LEDs that are nearest to
    their own prediction from 0.1 to 0.6 up to 0.85 to 1.
    """
    filled = np.where(np.isfinite(pictures), pictures, CLIPPED_ABOVE)
    return np.asarray(np.maximum(filled, 1e-4) ** 0.25)


def transfer_weights(pictures: NDArray[np.float64], ridge: float = 3e-3) -> NDArray[np.float64]:
    """(N, N) weights, zero diagonal, that make each picture out of the others.

    Ridge regression; `ridge` is relative to the mean energy of a picture.
    """
    gram = pictures @ pictures.T
    gram += ridge * float(np.mean(np.diag(gram))) * np.eye(len(gram))
    # Leave-one-out by the inverse of the whole: w_jk = -G⁻¹_jk / G⁻¹_jj (Sundararajan 2001).
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)[:, None]
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def _other_scene(
    lit: Sequence[Evidence],
    places: NDArray[np.int64],
    pictures: NDArray[np.float64],
    reference: Reference,
) -> dict[int, Check]:
    """Predict each picture from the others of its own scene; it must fit its own prediction."""
    first: dict[int, int] = {}
    for n, place in enumerate(places):
        first.setdefault(int(place), n)
    rows = list(first.values())
    if len(rows) < 6:
        why = f"too few LEDs to compare another scene with {reference.source}"
        return {frame.index: Check("unknown", why) for frame in lit}
    shown = compressed(pictures)
    known = reference.pictures[list(first)]
    weights = transfer_weights(compressed(known) if reference.recorded else known)
    predicted = weights @ shown[rows]
    residual, scale = resemblance(predicted, shown)
    found = {}
    row_of = {place: row for row, place in enumerate(first)}
    own = np.array([residual[row_of[int(place)], n] for n, place in enumerate(places)])
    typical = float(np.median(own))
    for n, frame in enumerate(lit):
        row = row_of[int(places[n])]
        best = int(np.argmin(residual[:, n]))
        others = np.delete(residual[:, n], row)
        what = f"{100 * own[n]:.0f} % from what {reference.source} predicts for LED {frame.led}"
        bright = scale[row, n] ** 4
        if best != row and residual[best, n] < 0.5 * own[n] and own[n] > 2 * typical:
            led = reference.leds[list(first)[best]]
            found[frame.index] = Check("fail", f"{what}, closer to LED {led}")
        elif own[n] > PREDICTED_MARGIN * float(np.min(others)):
            found[frame.index] = Check("unknown", f"{what}: its neighbours look too much alike")
        elif own[n] > max(2.5 * typical, PREDICTED_PICTURE) or typical > 0.15:
            found[frame.index] = Check("unknown", f"{what}: not enough to tell")
        elif not 1 / PREDICTED_POWER < bright < PREDICTED_POWER:
            found[frame.index] = Check("unknown", f"{what}, but {bright:.2f} times as bright")
        else:
            found[frame.index] = Check("pass", what)
    return found
