"""Errors a user of the reconstruction can meet."""

from __future__ import annotations


class ReconstructError(Exception):
    """The recording, camera or lights do not suffice for what was asked."""

    exit_code = 4


class RequestError(ReconstructError):
    """A form, device or setting was asked for that there is not."""

    exit_code = 2


class Stopped(Exception):
    """The user does not want to wait any longer; raised by `Options.progress`."""
