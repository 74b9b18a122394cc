"""Errors a user of the rig can meet; each message is one sentence: asked, came, what to do."""

from __future__ import annotations


class CaptureError(Exception):
    """Base of everything that can go wrong while capturing."""

    exit_code = 4


class DeviceError(CaptureError):
    """A board or camera is missing, silent or faulty."""

    exit_code = 3


class DeviceTimeout(DeviceError):
    """A device did not answer, or no frame came, before its deadline."""


class DataError(CaptureError):
    """A file or recording is missing, damaged or not what it claims to be."""

    exit_code = 4


class PlanError(CaptureError):
    """A plan, part name or configuration asks for something impossible."""

    exit_code = 2


def reason_of(error: BaseException) -> str:
    """Why it failed, without the number that the system gives it: ``No space left on device``."""
    return getattr(error, "strerror", None) or str(error)
