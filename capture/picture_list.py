"""A recording that is nowhere on disk: pictures of files or arrays, read as a recording is.

Radiance and noise come about as they do for a recording that ``rig import`` makes of the same
pictures, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError
from capture.exchange.images import CodeScale, Way, code_scale, read_grey, scale_of
from capture.exchange.preparing import prepared
from capture.exchange.source import Source
from capture.journal import Entry
from capture.reading import Recording

Codes = NDArray[np.uint16]
MOST_KEPT = 2**30  # decoded pixels of 2 bytes; of more, one picture is kept


class PictureList(Recording):
    """Pictures in place of a recording; make one with `of_source`, `of_files` or `of_arrays`.

    Attributes
    ----------
    source : where the pictures were found; None of arrays
    """

    def __init__(
        self,
        start: Mapping[str, Any],
        frames: Sequence[dict[str, Any]],
        pixels: Sequence[Any],
        shape: tuple[int, int],
    ) -> None:
        lines = [{"event": "start", **start}, *({"event": "frame", **f} for f in frames)]
        super().__init__(Path(), [*lines, {"event": "stop", "exit_status": 0, "reason": "read"}])
        self.source: Source | None = None
        self._pixels = tuple(pixels)
        self._shape = shape
        self._kept: dict[int, Codes] = {}

    # made of ---------------------------------------------------------------------------------
    @staticmethod
    def of_source(source: Source) -> PictureList:
        """The pictures of a capture that `capture.exchange.layouts.find` found.

        Raises
        ------
        DataError
            if a picture cannot be read, or differs from the others in size or depth
        """
        source = prepared(source)
        scale = code_scale(source.pictures, source.channel)
        made = PictureList._of(
            scale, list(source.pictures), source.dark, source.exposure, source.full_scale,
            source.channel,
        )  # fmt: skip
        made.source = source
        if source.unfit:
            made.start["unfit"] = source.unfit
        return made

    @staticmethod
    def of_files(
        pictures: Sequence[str | Path],
        *,
        dark: str | Path | None = None,
        exposure: float | Sequence[float] | None = None,
        full_scale: int | None = None,
        channel: Way = None,
    ) -> PictureList:
        """Pictures of files, one per light, LED 1 first.

        Parameters
        ----------
        dark : picture of the black level
        exposure : one relative exposure, or one per picture; None if it is not known
        full_scale : the code that means 1; found from the codes where None
        channel : of colour pictures, or a `capture.Decoding`

        Raises
        ------
        DataError
            if a picture cannot be read, or differs from the others in size or depth
        """
        paths = tuple(Path(p) for p in pictures)
        times = exposure if exposure is None or isinstance(exposure, int | float) else (*exposure,)
        folder = paths[0].parent if paths else Path()
        return PictureList.of_source(
            Source("files", folder, paths, None if dark is None else Path(dark), times,
                   full_scale, channel=channel)
        )  # fmt: skip

    @staticmethod
    def of_arrays(
        pictures: NDArray[Any] | Sequence[NDArray[Any]],
        *,
        dark: NDArray[Any] | None = None,
        exposure: float | Sequence[float] | None = None,
        full_scale: int | None = None,
    ) -> PictureList:
        """Pictures of arrays of linear counts, one per light, LED 1 first.

        Parameters
        ----------
        pictures : (N, H, W) uint8 or uint16
        dark : (H, W) counts without light, of the same type
        exposure, full_scale : as in `of_files`

        Raises
        ------
        DataError
            if they are no such counts
        """
        every = [np.asarray(picture) for picture in pictures]
        for number, codes in enumerate([*every, *([] if dark is None else [np.asarray(dark)])], 1):
            if codes.dtype not in (np.uint8, np.uint16) or codes.ndim != 2:
                raise DataError(
                    f"picture {number} is {codes.shape} of {codes.dtype}: expected (H, W) counts "
                    "of uint8 or uint16"
                )
        scale = scale_of(
            (codes.astype(np.uint16), 8 * codes.dtype.itemsize, f"picture {number}")
            for number, codes in enumerate(every, 1)
        )
        if dark is not None and np.asarray(dark).shape != scale.shape:
            raise DataError(f"the dark picture is {dark.shape}, the pictures are {scale.shape}")
        times = exposure if exposure is None or isinstance(exposure, int | float) else (*exposure,)
        return PictureList._of(scale, every, dark, times, full_scale, None)

    @staticmethod
    def _of(
        scale: CodeScale,
        pictures: Sequence[Any],
        dark: Any,
        exposure: float | tuple[float, ...] | None,
        full_scale: int | None,
        channel: Way,
    ) -> PictureList:
        top = full_scale or scale.full_scale
        times = exposure if isinstance(exposure, tuple) else (exposure or 1.0,) * len(pictures)
        if len(times) != len(pictures):
            raise DataError(f"{len(times)} exposures for {len(pictures)} pictures")
        start = {
            "bits": scale.bits,
            "full_scale": top,
            "saturation": min(scale.saturation, top),
            "radiometric": exposure is not None,
            "source": {"layout": "pictures"},
            "channel": channel,
        }
        frames: list[dict[str, Any]] = []
        pixels: list[Any] = []
        if dark is not None:
            for time in sorted(set(times)):
                frames.append(_frame(len(frames), "dark", 0, time, dark))
                pixels.append(dark)
        for led, (picture, time) in enumerate(zip(pictures, times, strict=True), 1):
            frames.append(_frame(len(frames), "light", led, time, picture))
            pixels.append(picture)
        return PictureList(start, frames, pixels, scale.shape)

    # read as a recording -----------------------------------------------------------------------
    @cached_property
    def shape(self) -> tuple[int, int]:
        """(H, W) of every picture."""
        return self._shape

    def file(self, *names: str) -> Path | None:
        """A file that came with the pictures."""
        if self.source is None:
            return None
        for name in names:
            for place in ("calibration", "snapshot"):
                kept = self.source.files.get(f"{place}/{name}")
                if isinstance(kept, Path):
                    return kept
        return None

    def counts(self, entry: Entry, rows: slice | None = None) -> Codes:
        """(h, W) uint16 counts of one picture, or of a band of its rows."""
        pixels = self._pixels[entry.index]
        if isinstance(pixels, Path):
            pixels = self._kept.get(entry.index)
            if pixels is None:
                pixels = self._decoded(self._pixels[entry.index])
                if self.shape[0] * self.shape[1] * len(self._pixels) > MOST_KEPT:
                    self._kept.clear()
                self._kept[entry.index] = pixels
        return np.asarray(pixels[rows or slice(None)], dtype=np.uint16)

    def _decoded(self, path: Path) -> Codes:
        codes, bits = read_grey(path, self.start["channel"])
        if codes.shape != self.shape or bits != self.start["bits"]:
            raise DataError(f"{path} differs from the pictures in size or depth")
        return codes


def _frame(index: int, kind: str, led: int, exposure: float, picture: Any) -> dict[str, Any]:
    name = picture.name if isinstance(picture, Path) else ""
    return {
        "index": index, "kind": kind, "led": led, "exposure": float(exposure), "verdict": "good",
        "file": name or f"picture_{index}", "sha256": "", "source": name,
    }  # fmt: skip
