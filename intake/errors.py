"""The one error of this room."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class InputError(Exception):
    """A file is missing, damaged, too large or not what it claims to be."""

    exit_code = 4


class MissingError(InputError):
    """There is no such file."""


@contextlib.contextmanager
def told_as(kind: type[Exception]) -> Iterator[None]:
    """Raise what this room finds as an error of the caller's; also a decorator."""
    try:
        yield
    except InputError as error:
        raise kind(str(error)) from error
