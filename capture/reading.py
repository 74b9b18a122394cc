"""Reading a recording: counts, linear radiance and noise, a band of rows at a time.

Nothing is held but one dark frame per exposure and what is asked for, so that 96 pictures of five
megapixels are read in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from capture.errors import DataError, reason_of
from capture.hdr import (
    TYPICAL_FLOOR,
    TYPICAL_GAIN,
    Fraction,
    LinearImage,
    NoiseModel,
    clipped_sigma,
    combine_darks,
    merge_bracket,
    merged_noise,
    spatial_gain,
    temporal_floor,
    temporal_gain,
)
from capture.journal import CALIBRATION, JOURNAL, PART, SNAPSHOT, Entry, entries_of, read_journal
from intake.errors import told_as
from intake.files import open_file
from intake.tiff import Page, read_layout

_CHUNK = 256  # rows merged at once
_LIGHT_FILES = ("lights.json", "lights.lp", "lights.dome", "lights.csv", "led_params.txt")


def alike(exposure: float, other: float) -> bool:
    """Whether two exposures are the same but for what a camera rounds."""
    return bool(abs(exposure - other) <= 0.02 * other)


class Recording:
    """A recording on disk, read lazily. Make one with `Recording.open`.

    Attributes
    ----------
    folder : where it lies
    start : the start line of the journal: plan, devices, bits, full_scale, saturation, …
    entries : the frames in the order of the plan, those judged bad left out
    exit_status : of the run; None if it ended without a word
    """

    def __init__(self, folder: Path, lines: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.start = lines[0]
        self.lines = lines
        stops = [line for line in lines if line["event"] == "stop"]
        last = lines[-1]["event"] == "stop"
        self.exit_status: int | None = stops[-1].get("exit_status") if stops and last else None
        self.stop_reason: str = str(stops[-1].get("reason", "")) if stops and last else ""
        self.entries: tuple[Entry, ...] = tuple(
            entry for entry in entries_of(lines).values() if entry.verdict != "bad"
        )
        self._files: dict[str, tuple[str, int]] = {}
        self._darks: dict[float, Fraction | None] = {}
        self._dark_of: dict[float, Fraction | None] = {}  # of each exposure of a picture

    @staticmethod
    def open(folder: Path, unfinished: bool = False) -> Recording:
        """Open a recording; checksums are not verified here (see `capture.verify`).

        Parameters
        ----------
        folder : the recording
        unfinished : accept one that was never finished

        Raises
        ------
        DataError
            if it is not there, unfinished, damaged or has no light in it
        """
        folder = Path(folder)
        part = folder.with_name(folder.name + PART)
        if not folder.exists() and part.is_dir():
            if not unfinished:
                raise DataError(f"{folder} is not finished: continue it with --resume")
            folder = part
        if not folder.is_dir():
            raise DataError(f"there is no recording at {folder}")
        lines, _ = read_journal(folder / JOURNAL)
        recording = Recording(folder, lines)
        if recording.exit_status != 0 and not unfinished:
            if folder.name.endswith(PART):
                raise DataError(f"{folder} is not finished: continue it with --resume")
            raise DataError(
                f"{folder / JOURNAL} ends before its time: restore it from a copy, or capture again"
            )
        if not recording.leds and not unfinished:
            raise DataError(f"{folder} holds no picture lit by an LED")
        return recording

    # what is in it ---------------------------------------------------------------------------
    @cached_property
    def leds(self) -> tuple[int, ...]:
        """LED numbers in the order of the plan, each once."""
        return tuple(dict.fromkeys(e.led for e in self.entries if e.kind == "light"))

    @property
    def imported(self) -> bool:
        """Whether it was made of pictures from elsewhere, whose LEDs are counted from 1."""
        return "source" in self.start

    @cached_property
    def picture_names(self) -> dict[int, str]:
        """Name of each LED's picture: where it came from, or ``led_007.png`` as exports call it."""
        names = {led: f"led_{led:03d}.png" for led in self.leds}
        if self.imported:
            for entry in self.entries:
                if entry.kind == "light" and entry.data.get("source"):
                    names[entry.led] = str(entry.data["source"])
        return names

    @cached_property
    def _lit(self) -> dict[int, list[Entry]]:
        """The frames of each LED, in the order of the plan."""
        frames: dict[int, list[Entry]] = {}
        for entry in self.entries:
            if entry.kind == "light":
                frames.setdefault(entry.led, []).append(entry)
        return frames

    def _frames(self, led: int) -> list[Entry]:
        if led not in self._lit:
            raise DataError(f"{self.folder} has no picture of LED {led}")
        return self._lit[led]

    @cached_property
    def exposures(self) -> tuple[float, ...]:
        """The bracket, ascending: ms times gain, or relative (see `Entry.exposure`).

        A camera that reports a slightly other exposure for each frame makes no bracket: what
        differs by less than two percent counts as one.
        """
        groups: list[list[float]] = []
        for exposure in sorted(e.exposure for e in self.entries if e.kind == "light"):
            if groups and alike(exposure, groups[-1][0]):
                groups[-1].append(exposure)
            else:
                groups.append([exposure])
        return tuple(float(np.median(group)) for group in groups)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(H, W) of every frame."""
        if not self.entries:
            raise DataError(f"{self.folder} holds no picture")
        page, _ = self._page(self.entries[0])
        return page.height, page.width

    @cached_property
    def full_scale(self) -> int:
        """Counts that are radiance × exposure = 1."""
        return self._counts_in_start("full_scale", 65535)

    @cached_property
    def saturation(self) -> int:
        """Counts from which a pixel is clipped."""
        return self._counts_in_start("saturation", self.full_scale)

    def _counts_in_start(self, key: str, default: int) -> int:
        value = self.start.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 65535:
            raise DataError(f"{self.folder / JOURNAL}: {key} is {value!r}, expected counts")
        return value

    @property
    def radiometric(self) -> bool:
        """Whether radiance can be compared between recordings (exposures are known)."""
        return bool(self.start.get("radiometric", True))

    @property
    def unfit(self) -> str:
        """Why the pictures are unfit for metrology; empty if they are not."""
        said = self.start.get("unfit", "")
        return said if isinstance(said, str) else ""

    # files that came with it -----------------------------------------------------------------
    def file(self, *names: str) -> Path | None:
        """The first of these files in ``calibration/`` or ``snapshot/`` that exists."""
        for name in names:
            for place in (CALIBRATION, SNAPSHOT):
                path = self.folder / place / name
                if path.exists():
                    return path
        return None

    @property
    def camera_path(self) -> Path | None:
        return self.file("camera.json")

    @property
    def lights_path(self) -> Path | None:
        """Solved lights (``lights.json``) before imported ones (``lights.lp``, …)."""
        return self.file(*_LIGHT_FILES)

    @property
    def power_path(self) -> Path | None:
        return self.file("power.csv")

    @property
    def truth_path(self) -> Path | None:
        return self.file("truth.npz")

    @property
    def mask_path(self) -> Path | None:
        return self.file("mask.png")

    # counts ----------------------------------------------------------------------------------
    def counts(self, entry: Entry, rows: slice | None = None) -> NDArray[np.uint16]:
        """(h, W) uint16 counts of one frame, or of a band of its rows, read from disk."""
        height, width = self.shape
        first, last, step = (rows or slice(None)).indices(height)
        if step != 1:
            raise ValueError("rows must follow one another")
        try:
            path, offset = self._placed(entry)
            # Not a memory map: mapped pages of 96 frames would count as this process's memory.
            band = np.fromfile(
                path,
                dtype="<u2",
                count=max(0, last - first) * width,
                offset=offset + first * width * 2,
            )
        except FileNotFoundError:
            raise DataError(f"{self.folder / entry.file} is missing") from None
        except OSError as error:
            reason = reason_of(error)
            raise DataError(f"{self.folder / entry.file} cannot be read: {reason}") from error
        if band.size != max(0, last - first) * width:
            raise DataError(f"{path} is damaged: it is too short")
        return band.reshape(-1, width)

    def _placed(self, entry: Entry) -> tuple[str, int]:
        """The file of a frame, and where in it the pixels begin."""
        if entry.file not in self._files:
            page, order = self._page(entry)
            begin = page.contiguous_at
            plain = (page.bits, page.samples, page.sample_format, order) == (16, 1, 1, "<")
            if begin is None or not plain or (page.height, page.width) != self.shape:
                raise DataError(
                    f"{self.folder / entry.file} is {page.height}×{page.width} of {page.bits} "
                    f"bits, expected an uncompressed 16-bit frame of {self.shape}"
                )
            self._files[entry.file] = str(self.folder / entry.file), begin
        return self._files[entry.file]

    def _page(self, entry: Entry) -> tuple[Page, str]:
        """What the header of a frame's file says, and its byte order."""
        path = self.folder / entry.file
        if not path.exists():
            raise DataError(f"{path} is missing")
        with told_as(DataError), open_file(path) as stream:
            layout = read_layout(stream, str(path))
        page = layout.pages[0]
        if page.contiguous_at is None:
            raise DataError(f"{path} is damaged: its pixels do not lie in one uncompressed piece")
        return page, layout.order

    def _signal(self, entry: Entry, rows: slice | None) -> tuple[Fraction, NDArray[np.bool_]]:
        counts = self.counts(entry, rows)
        signal = counts.astype(np.float32) / np.float32(self.full_scale)
        dark = self.dark(entry.exposure)
        if dark is not None:
            signal -= dark[rows or slice(None)]
        else:
            signal -= np.float32(self.start.get("black_level", 0.0) / self.full_scale)
        return signal, counts >= self.saturation

    # radiance --------------------------------------------------------------------------------
    def dark(self, exposure: float) -> Fraction | None:
        """(H, W) dark frame, fraction of full scale, of this exposure or the nearest; or None."""
        if exposure not in self._dark_of:
            self._dark_of[exposure] = self._nearest_dark(exposure)
        return self._dark_of[exposure]

    def _nearest_dark(self, exposure: float) -> Fraction | None:
        darks = [e for e in self.entries if e.kind == "dark"]
        if not darks:
            return None
        nearest = min((e.exposure for e in darks), key=lambda x: (abs(np.log(x / exposure)), x))
        nearest = min(e.exposure for e in darks if alike(e.exposure, nearest))
        if nearest not in self._darks:
            frames = [
                self.counts(e).astype(np.float32) / np.float32(self.full_scale)
                for e in darks
                if alike(e.exposure, nearest)
            ]
            self._darks[nearest] = combine_darks(frames)
        return self._darks[nearest]

    def linear(self, led: int, rows: slice | None = None) -> LinearImage:
        """One LED's picture as linear radiance, its bracket merged by inverse variance.

        Parameters
        ----------
        led : LED from 1
        rows : a band of rows; None for all

        Raises
        ------
        DataError
            if the LED was not captured or a frame is damaged
        """
        frames = self._frames(led)
        first, last, _ = (rows or slice(None)).indices(self.shape[0])
        parts: list[LinearImage] = []
        for begin in range(first, max(last, first + 1), _CHUNK):
            band = slice(begin, min(begin + _CHUNK, last))
            pairs = [self._signal(entry, band) for entry in frames]
            parts.append(
                merge_bracket(
                    [signal for signal, _ in pairs],
                    [clip for _, clip in pairs],
                    [entry.exposure for entry in frames],
                    self.noise,
                )
            )
        if len(parts) == 1:
            return parts[0]
        return LinearImage(
            np.concatenate([p.radiance for p in parts]),
            np.concatenate([p.clipped for p in parts]),
            np.concatenate([p.sigma for p in parts]),
        )

    def radiance(
        self, leds: Sequence[int] | None = None, rows: slice | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(N, h, W) radiance and clip mask of several LEDs (all: in the order of `leds`)."""
        chosen = self.leds if leds is None else tuple(leds)
        first, last, _ = (rows or slice(None)).indices(self.shape[0])
        size = (len(chosen), max(0, last - first), self.shape[1])
        radiance, clipped = np.empty(size, np.float32), np.empty(size, np.bool_)
        for place, led in enumerate(chosen):
            frames = self._frames(led)
            if len(frames) == 1:  # as `linear`, without its sigma
                signal, clipped[place] = self._signal(frames[0], rows)
                np.divide(signal, np.float32(frames[0].exposure), out=radiance[place])
                continue
            image = self.linear(led, rows)
            radiance[place], clipped[place] = image.radiance, image.clipped
        return radiance, clipped

    def __len__(self) -> int:
        """Number of LEDs."""
        return len(self.leds)

    def __iter__(self) -> Iterator[tuple[Entry, NDArray[np.uint16]]]:
        """Each frame in the order of the plan, dark ones too: what it is, and its counts."""
        for entry in self.entries:
            yield entry, self.counts(entry)

    def __bool__(self) -> bool:
        return True

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """(N, H, W) radiance, for `numpy.asarray`."""
        return np.asarray(self.radiance()[0], dtype=dtype)

    # noise -----------------------------------------------------------------------------------
    @cached_property
    def noise(self) -> NoiseModel:
        """Noise of one frame, in fractions of full scale: given, measured, or assumed."""
        given = self.start.get("noise")
        if isinstance(given, dict) and "floor" in given and "gain" in given:
            return NoiseModel(float(given["floor"]), float(given["gain"]), "given")
        lights = [e for e in self.entries if e.kind == "light"]
        if not lights:
            raise DataError(f"{self.folder} holds no picture lit by an LED")
        exposure = max(self.exposures)
        step = self._code_step(lights[: min(4, len(lights))])
        quantisation = (step / self.full_scale) ** 2 / 12
        bands = self._bands()
        floor, gain, source = TYPICAL_FLOOR, None, "assumed"
        darks = [e for e in self.entries if e.kind == "dark"]
        if darks:
            longest = max(e.exposure for e in darks)
            frames = [self._sample(e, bands) for e in darks if alike(e.exposure, longest)]
            floor = temporal_floor(frames) if len(frames) > 1 else clipped_sigma(frames[0]) ** 2
            source = "frames"
        floor = max(floor, quantisation)
        for again in (e for e in self.entries if e.kind == "repeat"):
            twin = [e for e in lights if e.led == again.led and alike(e.exposure, again.exposure)]
            if twin and gain is None:
                gain = temporal_gain(
                    self._lit_sample(twin[0], bands), self._lit_sample(again, bands), floor
                )
        if gain is None:
            some = [e for e in lights if alike(e.exposure, exposure)]
            some = some[:: max(1, len(some) // 12)]
            gain = spatial_gain([self._lit_sample(e, bands) for e in some], floor)
            source = "images" if gain is not None else "assumed"
        # Texture can pass for noise: no sensor of use here has a full well below 1,000 electrons.
        return NoiseModel(floor, float(np.clip(gain or TYPICAL_GAIN, 1e-6, 1e-3)), source)

    def radiance_noise(self) -> tuple[float, float]:
        """(floor, gain) of radiance: ``variance = floor + gain · radiance``."""
        if not self.exposures:
            raise DataError(f"{self.folder} holds no picture lit by an LED")
        return merged_noise(self.noise, self.exposures)

    def _bands(self) -> list[slice]:
        """Rows that stand for the picture: all of a small one, spread bands of a large one."""
        height, width = self.shape
        if height * width <= 2**19:
            return [slice(0, height)]
        starts = np.linspace(0, height - 32, max(2, 2**19 // (32 * width))).astype(int)
        return [slice(int(a), int(a) + 32) for a in starts]

    def _sample(self, entry: Entry, bands: list[slice]) -> Fraction:
        parts = [self.counts(entry, band) for band in bands]
        return np.concatenate(parts).astype(np.float32) / np.float32(self.full_scale)

    def _lit_sample(self, entry: Entry, bands: list[slice]) -> Fraction:
        parts = []
        for band in bands:
            signal, clipped = self._signal(entry, band)
            parts.append(np.where(clipped, np.float32(np.nan), signal))
        return np.concatenate(parts)

    def _code_step(self, entries: Sequence[Entry]) -> int:
        """Smallest step between codes: 16 for 12-bit counts on top of 16 bits."""
        used = 0
        for entry in entries:
            used |= int(np.bitwise_or.reduce(self.counts(entry, slice(0, 512)), axis=None))
        return used & -used if used else 1
