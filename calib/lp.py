"""``.lp`` light files with the calibration's error; the format is read in `intake.lp`."""

from __future__ import annotations

from pathlib import Path

from calib.errors import CalibrationError
from intake import lp
from intake.errors import told_as
from intake.lp import LightList, format_lp

__all__ = ["LightList", "format_lp", "parse_lp", "read_lp"]


def parse_lp(text: str, source: str = "the .lp file") -> LightList:
    """What `intake.lp.parse_lp` reads; raises `CalibrationError`."""
    with told_as(CalibrationError):
        return lp.parse_lp(text, source)


def read_lp(path: Path) -> LightList:
    """What `intake.lp.read_lp` reads; raises `CalibrationError`."""
    with told_as(CalibrationError):
        return lp.read_lp(path)
