"""What of the decoding only all pictures of a capture together can tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from capture.errors import DataError
from capture.exchange.decoding import Decoding, unfit
from capture.exchange.images import read_grey
from capture.exchange.source import Source
from intake.errors import told_as
from intake.exr import read_exr


@told_as(DataError)
def prepared(source: Source) -> Source:
    """The source with one scale for all OpenEXR pictures, and why it is unfit, if it is.

    Raises
    ------
    DataError
        if an OpenEXR picture cannot be read
    """
    given = source.channel
    how = given if isinstance(given, Decoding) else Decoding(given)
    suffixes = {path.suffix.lower() for path in source.pictures}
    if ".exr" in suffixes and how.full == 1.0:
        floats = (p for p in source.pictures if p.suffix.lower() == ".exr")
        full = max(float(read_exr(path).pixels.max()) for path in floats)
        if full <= 0:
            raise DataError(f"{source.pictures[0].parent}: all pictures are black")
        how = replace(how, full=full)
    plain = how == Decoding(how.channel) and how.channel != "luminance"
    return replace(
        source,
        channel=given if plain else how,
        unfit=source.unfit or unfit(suffixes, how.curve),
    )


def white_of(plate: Path, curve: str = "") -> tuple[float, float, float]:
    """Red, green and blue of a picture of a white plate: the median of its middle, linear.

    Raises
    ------
    DataError
        it cannot be read, is clipped, or is dark there
    """
    means = []
    for channel in ("red", "green", "blue"):
        codes, bits = read_grey(plate, Decoding(channel, curve))
        height, width = codes.shape
        middle = codes[height // 3 : -(height // 3) or None, width // 3 : -(width // 3) or None]
        value = float(np.median(middle))
        if not 0.02 * 2**bits < value < 0.98 * 2**bits:
            raise DataError(
                f"the middle of the white plate {plate} has {channel} {value:.0f} of {2**bits}: "
                "take it neither dark nor clipped"
            )
        means.append(value)
    red, green, blue = (value / max(means) for value in means)
    return red, green, blue
