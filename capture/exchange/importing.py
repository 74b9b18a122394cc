"""Making a recording of a capture from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.claim import claim
from capture.errors import DataError, reason_of
from capture.exchange.decoding import Decoding
from capture.exchange.images import code_scale, read_grey
from capture.exchange.preparing import prepared
from capture.exchange.source import Source
from capture.journal import PART
from capture.recording import RecordingWriter, Snapshot


def record(
    source: Source,
    run: Path,
    extra: Mapping[str, Snapshot] | None = None,
) -> Path:
    """Write a recording of what `layouts.find` found; pixels stay as they are.

    Parameters
    ----------
    source : the capture
    run : folder of the new recording; must not exist
    extra : further files for the recording, such as a camera derived from the layout's own

    Raises
    ------
    DataError
        if a picture cannot be read or differs in size or depth, or the recording exists
    """
    source = prepared(source)
    pictures = source.pictures
    scale = code_scale(pictures, source.channel)
    full_scale = source.full_scale or scale.full_scale
    if full_scale > 2**scale.bits:
        raise DataError(
            f"exposure.json: full_scale is {full_scale}, and pictures of {scale.bits} bits hold no "
            f"code above {2**scale.bits - 1}: give the code at which the sensor is full"
        )
    saturation = min(scale.saturation, full_scale)
    exposures = (
        source.exposure
        if isinstance(source.exposure, tuple)
        else (source.exposure or 1.0,) * len(pictures)
    )
    start: dict[str, Any] = {
        "source": {"layout": source.layout, "folder": source.folder.name},
        "bits": scale.bits,
        "full_scale": full_scale,
        "saturation": saturation,
        "radiometric": source.exposure is not None,
        "remarks": list(source.remarks),
    }
    if isinstance(source.channel, Decoding):
        start["decoding"] = source.channel.to_json()
    elif source.channel is not None:
        start["channel"] = source.channel
    if source.unfit:
        start["unfit"] = source.unfit
    files: dict[str, Snapshot] = {**source.files, **(extra or {})}
    dark = None
    if source.dark is not None:
        dark, bits = read_grey(source.dark, source.channel)
        if dark.shape != scale.shape or bits != scale.bits:
            raise DataError(f"{source.dark} differs from the pictures in size or depth")
    unfinished = run.with_name(run.name + PART)
    if unfinished.exists():
        raise DataError(f"{unfinished} is an unfinished recording: give this one another name")
    # It can be made again, and must not look like a run to resume.
    with claim(run) as claimed:
        try:
            done = _written(claimed.work / run.name, start, files, source, dark, exposures)
        except DataError as error:
            if isinstance(error.__cause__, OSError):
                raise DataError(
                    f"{run} cannot be written: {reason_of(error.__cause__)}; nothing was imported, "
                    "make room and import again"
                ) from error
            raise
        return replace(claimed, work=done).publish()


def _written(
    folder: Path,
    start: dict[str, Any],
    files: dict[str, Snapshot],
    source: Source,
    dark: NDArray[np.uint16] | None,
    exposures: tuple[float, ...],
) -> Path:
    with RecordingWriter.create(folder, start, files) as writer:
        index = 0
        if dark is not None:
            for exposure in sorted(set(exposures)):
                writer.append(dark, _entry(index, "dark", 0, exposure, source.dark))
                index += 1
        for led, (path, exposure) in enumerate(zip(source.pictures, exposures, strict=True), 1):
            pixels, _ = read_grey(path, source.channel)
            writer.append(pixels, _entry(index, "light", led, exposure, path))
            index += 1
        return writer.finish(0, "imported")


def _entry(index: int, kind: str, led: int, exposure: float, path: Path | None) -> dict[str, Any]:
    return {
        "index": index,
        "kind": kind,
        "led": led,
        "exposure": exposure,
        "verdict": "good",
        "source": path.name if path else "",
    }
