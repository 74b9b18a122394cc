"""Errors a user of the calibration can meet."""

from __future__ import annotations


class CalibrationError(Exception):
    """Pictures or files do not suffice for what was asked; the message says what is missing."""

    exit_code = 4


class RequestError(CalibrationError):
    """It cannot be done as it was asked."""

    exit_code = 2


class NoSphereError(CalibrationError):
    """There is no sphere in a picture, or none where one can be."""
