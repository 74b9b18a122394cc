"""Errors a user of the reconstruction can meet."""

from __future__ import annotations


class ReconstructError(Exception):
    """The recording, camera or lights do not suffice for what was asked."""

    exit_code = 4
