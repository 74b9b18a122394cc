"""The loop: takes a plan's pictures, proves their pairing, takes again what failed.

Every picture is on disk, unproven, as soon as it is taken. When a pass (one exposure) is complete
its pictures are judged together (`capture.pairing`); the bad ones are taken again, at most
`retries` times, and the verdicts are written. A recording with a bad picture is never finished: it
stays resumable until the cause is repaired.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from capture.camera.base import CameraIdentity, CameraSettings, CameraState, Frame
from capture.errors import DeviceError, PlanError
from capture.evidence import Evidence, Judgement, Reference, pack, thumbnail, unpack
from capture.journal import Entry
from capture.leds.base import BoardIdentity
from capture.pairing import BLIND, Verdict, judge
from capture.plan import Plan, Shot
from capture.reading import Recording
from capture.recording import RecordingWriter, Snapshot
from capture.resemblance import reference_pictures
from capture.synchronise import SequenceVoid, Synchroniser, Taken

_LOG = logging.getLogger(__name__)
NOT_JUDGED = "not judged yet"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Devices:
    """Who took a recording; what `--resume` compares. Each seed is a virtual rig of its own."""

    board: BoardIdentity
    camera: CameraIdentity
    settings: CameraSettings
    virtual_seed: int | None = None  # None: real devices

    def to_json(self) -> dict[str, Any]:
        board = asdict(self.board) | {"capabilities": sorted(self.board.capabilities)}
        camera = {
            "vendor": self.camera.vendor,
            "model": self.camera.model,
            "serial": self.camera.serial,
            "pixel_format": self.settings.pixel_format,
            "gain_db": self.settings.gain_db,
            "roi": None if self.settings.roi is None else list(self.settings.roi),
        }
        seed = {} if self.virtual_seed is None else {"virtual_seed": self.virtual_seed}
        return {"board": board, "camera": camera} | seed


@dataclass(frozen=True)
class Summary:
    """How a run ended."""

    folder: Path
    finished: bool
    interrupted: bool
    verdicts: Mapping[str, int]
    reasons: tuple[str, ...]  # why pictures are not good, the most frequent first
    retries: int
    drift: float | None = None  # brightness of the first LED at the end over the start
    blind: bool = False  # no LED changed any picture: a test pattern, or a bright room
    notes: tuple[str, ...] = ()  # what the camera did otherwise than it was asked


@dataclass
class Runner:
    """Takes one recording.

    Attributes
    ----------
    plan, devices : identify the recording
    sync : takes the shots
    folder : where the finished recording will lie
    snapshots : files to keep with it
    state : what the camera took, as configured
    references : how the LEDs should look at an exposure (µs), as far as that is known
    retries : how often a failed picture or sequence is taken again
    writer : of a resumed recording; None to begin a new one with the first picture
    stop : asked after each picture; True ends the run, resumable
    progress : told pictures done, pictures in all, and what was taken
    test_shots : (LED, exposure in µs) pictures taken before the plan, for the record
    """

    plan: Plan
    devices: Devices
    sync: Synchroniser
    folder: Path
    state: CameraState
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    references: Callable[[float], Sequence[Reference]] = lambda exposure_us: ()
    retries: int = 2
    writer: RecordingWriter | None = None
    stop: Callable[[], bool] = lambda: False
    progress: Progress = lambda done, total, what: None
    test_shots: Sequence[tuple[int, float]] = ()

    def __post_init__(self) -> None:
        self._evidence: dict[int, Evidence] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._total = len(self.plan.shots())
        self._sequence = 0
        self._retaken = 0
        self._full_scale = 1
        self._shape: tuple[int, ...] = ()
        self._black = 0.0
        self._interrupted = False

    # the run ---------------------------------------------------------------------------------
    def run(self) -> Summary:
        """Take what is missing; returns how it ended.

        Raises
        ------
        DeviceError
            if a device failed for good, or pictures stay bad after all retries; what is sound is
            kept and can be resumed
        DataError
            if the recording cannot be written
        """
        try:
            if self.writer is not None:
                self._read_back(self.writer)
            for shots in self.plan.passes():
                self._pass(shots)
                if self._interrupted:
                    break
            return self._end()
        except BaseException as error:
            if self.writer is not None:
                self.writer.__exit__(type(error), error, error.__traceback__)
            raise

    def note(self, event: str, data: Mapping[str, object]) -> None:
        """For the journal, once there is one, and for the log."""
        _LOG.info("%s %s", event, dict(data))
        self._retaken += event == "retry"
        if self.writer is not None:
            self.writer.note(event, data)

    def _end(self) -> Summary:
        assert self.writer is not None
        counts = Counter(verdict.verdict for verdict in self._verdicts.values())
        reasons = Counter(v.reason for v in self._verdicts.values() if v.verdict != "good")
        bad = [v for v in self._verdicts.values() if v.verdict == "bad"]
        if self._interrupted:
            folder = self.writer.finish(130, "interrupted")
        elif bad:
            folder = self.writer.finish(DeviceError.exit_code, _bad_in_words(bad, self.plan))
        else:
            folder = self.writer.finish(0, "complete")
        summary = Summary(
            folder=folder,
            finished=not self._interrupted and not bad,
            interrupted=self._interrupted,
            verdicts={str(verdict): number for verdict, number in counts.items()},
            reasons=tuple(reason for reason, _ in reasons.most_common()),
            retries=self._retaken,
            drift=self._drift(),
            blind=bool(self._verdicts) and all(v.reason == BLIND for v in self._verdicts.values()),
            notes=self._notes(),
        )
        if bad and not self._interrupted:
            raise DeviceError(
                f"{_bad_in_words(bad, self.plan)}; repair the cause and continue with --resume "
                "(what is sound is kept), or leave the LED out of the plan"
            )
        return summary

    def _notes(self) -> tuple[str, ...]:
        assert self.writer is not None
        asked = self.devices.settings.pixel_format
        given = self.writer.start.get("delivered_format")
        if given in (None, asked):
            return ()
        return (f"{asked} was asked for, the camera delivered {given}",)

    def _drift(self) -> float | None:
        for shots in self.plan.passes():
            repeat = next((s for s in shots if s.kind == "repeat"), None)
            first = next((s for s in shots if s.kind == "light"), None)
            if repeat and first and {repeat.index, first.index} <= set(self._evidence):
                start = float(self._evidence[first.index].thumbnail.mean()) - self._black
                end = float(self._evidence[repeat.index].thumbnail.mean()) - self._black
                return end / start if start > 0 else None
        return None

    # one exposure ----------------------------------------------------------------------------
    def _pass(self, shots: Sequence[Shot]) -> None:
        missing = [shot for shot in shots if shot.index not in self._evidence]
        if not missing and all(shot.index in self._verdicts for shot in shots):
            return
        references = self.references(shots[0].exposure_us)
        for attempt in range(self.retries + 1):
            if missing:
                self._take(missing, attempt)
            if self._interrupted:
                return
            frames = [self._evidence[shot.index] for shot in shots]
            verdicts = judge(frames, references, self._black)
            for verdict in verdicts:
                self._write(verdict)
            bad = {v.index: v.reason for v in verdicts if v.verdict == "bad"}
            missing = [shot for shot in shots if shot.index in bad]
            if not missing or attempt == self.retries:
                return
            for index, reason in bad.items():
                self.note("retry", {"index": index, "reason": reason})

    def _take(self, shots: Sequence[Shot], attempt: int) -> None:
        """Take these shots of one exposure; a void sequence is taken again as a whole."""
        asked_us = shots[0].exposure_us
        taken_us = self.sync.expose(asked_us)
        if abs(taken_us - asked_us) > 0.05 * asked_us:
            raise PlanError(
                f"an exposure of {asked_us / 1000:g} ms was asked for, the camera takes "
                f"{taken_us / 1000:g} ms: plan one that it can take"
            )
        for again in range(self.retries + 1):
            self._sequence += 1
            fresh: list[int] = []
            stream = self.sync.take(shots, self._sequence)
            try:
                for taken in stream:
                    self._keep(taken, taken_us, attempt + again)
                    fresh.append(taken.shot.index)
                    if self.stop():
                        self._interrupted = True
                        return
                return
            except SequenceVoid as error:
                self._void(fresh, str(error))
                if again == self.retries:
                    raise DeviceError(f"no sequence succeeded in {again + 1}: {error}") from error
            finally:
                stream.close()  # type: ignore[attr-defined]

    def _void(self, indices: Sequence[int], reason: str) -> None:
        for index in indices:
            self._evidence.pop(index, None)
            if self.writer is not None:
                self.writer.judge(index, "bad", {"reason": f"void sequence: {reason}"})
        self.note("retry", {"reason": reason, "void": list(indices)})

    def _keep(self, taken: Taken, exposure_us: float, attempt: int) -> None:
        """Write one picture, unproven, and remember its evidence."""
        frame, shot = taken.frame, taken.shot
        if self.writer is None:
            self._begin(frame)
        assert self.writer is not None
        if 2**frame.bits - 1 != self._full_scale:
            raise DeviceError(
                f"the camera changed from {self._full_scale} to {2**frame.bits - 1} counts "
                "of full scale: set its pixel format in rig.yaml to one that it keeps"
            )
        self._shape = self._shape or frame.pixels.shape
        if frame.pixels.shape != self._shape:
            was, now = (f"{s[1]}×{s[0]}" for s in (self._shape, frame.pixels.shape))
            raise DeviceError(
                f"the camera sends {now} pixels, the pictures of this recording have {was}: set it "
                "as it was (camera: roi, virtual: size), or start a new recording"
            )
        evidence = Evidence(
            index=shot.index,
            kind=shot.kind,
            led=shot.led,
            thumbnail=thumbnail(frame.pixels, self._full_scale),
            frame_id=frame.frame_id,
            echo=taken.echo,
            camera_us=None if frame.timestamp_ns is None else frame.timestamp_ns / 1000,
            board_us=taken.board_us,
            sequence=taken.sequence,
            slack_us=taken.slack_us,
        )
        self._evidence[shot.index] = evidence
        self._verdicts.pop(shot.index, None)
        self.writer.append(frame.pixels, _entry(evidence, shot, frame, exposure_us, attempt))
        self.progress(len(self._evidence), self._total, shot.name)

    def _begin(self, frame: Frame) -> None:
        """Now that a picture has shown how many counts it has."""
        full_scale = 2**frame.bits - 1
        self._take_scale(full_scale)
        start = self.start() | {
            "bits": frame.bits,
            "full_scale": full_scale,
            "saturation": full_scale,
            "delivered_format": frame.pixel_format,
            "synchronisation": self.sync.mode,
            "warnings": list(self.state.warnings),
            "test_shots": [list(shot) for shot in self.test_shots],
        }
        nodes = json.loads(json.dumps(dict(self.state.nodes), default=str))
        kept: dict[str, Snapshot] = {"plan.json": self.plan.to_json(), "camera_nodes.json": nodes}
        self.writer = RecordingWriter.create(self.folder, start, {**kept, **self.snapshots})

    def start(self) -> dict[str, Any]:
        """What identifies the recording."""
        return {"plan": self.plan.to_json(), "devices": self.devices.to_json()}

    def _take_scale(self, full_scale: int) -> None:
        self._full_scale = full_scale
        black = self.state.black_level
        # Some cameras state it in units of their own; more than a tenth is none of ours.
        self._black = black / full_scale if black and black < 0.1 * full_scale else 0.0

    def _write(self, verdict: Verdict) -> None:
        known = self._verdicts.get(verdict.index)
        self._verdicts[verdict.index] = verdict
        assert self.writer is not None
        if known != verdict:
            self.writer.judge(verdict.index, verdict.verdict, verdict.to_json())

    # resuming --------------------------------------------------------------------------------
    def _read_back(self, writer: RecordingWriter) -> None:
        self._take_scale(int(writer.start["full_scale"]))
        for entry in kept_entries(writer):
            index = entry.index
            self._shape = self._shape or tifffile.imread(writer.folder / entry.file).shape
            self._evidence[index] = evidence_of(entry)
            self._sequence = max(self._sequence, int(entry.data.get("sequence", 0)))
            if entry.data.get("reason") != NOT_JUDGED:
                verdict: Judgement = "good" if entry.verdict == "good" else "unproven"
                reason = str(entry.data.get("reason", ""))
                self._verdicts[index] = Verdict(index, verdict, reason)
        self.progress(len(self._evidence), self._total, "resumed")


def kept_entries(writer: RecordingWriter) -> list[Entry]:
    """Pictures of a resumed recording that need not be taken again."""
    return [
        entry
        for entry in writer.completed.values()
        # Of a sequence that nobody saw the end of, nothing is kept.
        if entry.data.get("reason") != NOT_JUDGED or int(entry.data.get("sequence", 0)) == 0
    ]


def _entry(
    evidence: Evidence, shot: Shot, frame: Frame, exposure_us: float, attempt: int
) -> dict[str, Any]:
    """The line of the journal for a picture that was just taken."""
    full_scale = 2**frame.bits - 1
    return {
        "index": shot.index,
        "kind": shot.kind,
        "led": shot.led,
        "level": shot.level,
        "exposure_us": exposure_us if frame.exposure_us is None else frame.exposure_us,
        "gain_db": frame.gain_db,
        "verdict": "unproven",
        "reason": NOT_JUDGED,
        "attempt": attempt,
        "frame_id": frame.frame_id,
        "timestamp_ns": frame.timestamp_ns,
        "echo": evidence.echo,
        "board_us": evidence.board_us,
        "sequence": evidence.sequence,
        "slack_us": evidence.slack_us,
        "clipped_share": float(np.count_nonzero(frame.pixels >= full_scale) / frame.pixels.size),
        "thumbnail": pack(evidence.thumbnail),
    }


def evidence_of(entry: Entry) -> Evidence:
    """The evidence that a recorded picture carries; raises `PlanError` if it has none."""
    data = entry.data
    try:
        stamp = data.get("timestamp_ns")
        return Evidence(
            index=entry.index,
            kind=entry.kind,  # type: ignore[arg-type]
            led=entry.led,
            thumbnail=unpack(str(data["thumbnail"])),
            frame_id=data.get("frame_id"),
            echo=data.get("echo"),
            camera_us=None if stamp is None else stamp / 1000,
            board_us=data.get("board_us"),
            sequence=int(data.get("sequence", 0)),
            slack_us=float(data.get("slack_us", 0.0)),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise PlanError(f"frame {entry.index} carries no evidence to judge: {error!r}") from error


def recorded_reference(recording: Recording, exposure_us: float) -> Reference | None:
    """How LEDs looked in an earlier recording, at the exposure nearest to this one.

    None if it carries no evidence (an imported one), or fewer than two LEDs.
    """
    try:
        frames = [evidence_of(entry) for entry in recording.entries]
    except PlanError:
        return None
    times = {entry.index: float(entry.data["exposure_us"]) for entry in recording.entries}
    lit = [frame for frame in frames if frame.kind == "light"]
    if not lit:
        return None
    nearest = min({times[frame.index] for frame in lit}, key=lambda t: abs(np.log(t / exposure_us)))
    chosen = [frame for frame in frames if times[frame.index] == nearest]
    leds, pictures = reference_pictures(chosen)
    if len(leds) < 2:
        return None
    name = f"recording {recording.folder.parent.name}/{recording.folder.name}"
    return Reference(leds, pictures, name, recorded=True)


def _bad_in_words(bad: Sequence[Verdict], plan: Plan) -> str:
    shots = {shot.index: shot for shot in plan.shots()}
    said = [f"{shots[verdict.index].name}: {verdict.reason}" for verdict in bad[:3]]
    more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
    number = "1 picture is" if len(bad) == 1 else f"{len(bad)} pictures are"
    return f"{number} not what the plan asks for: {'; '.join(said)}{more}"
