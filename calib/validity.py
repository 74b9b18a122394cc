"""Whether a calibration belongs to this board and camera, and how old it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from calib.errors import CalibrationError
from calib.lights import Lights

_KEYS = {"board": ("name", "serial", "led_count"), "camera": ("vendor", "model", "serial")}


def age_days(lights: Lights, now: datetime | None = None) -> float | None:
    """Age of a calibration in days; None if it does not tell its date."""
    text = lights.provenance.get("date")
    try:
        date = datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    if date is None:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return ((now or datetime.now(UTC)) - date).total_seconds() / 86400


def check_validity(
    lights: Lights,
    *,
    board: Mapping[str, Any] | None = None,
    camera: Mapping[str, Any] | None = None,
    max_age_days: float | None = None,
    now: datetime | None = None,
) -> list[str]:
    """Refuse a calibration of another board or camera; warn about an old one.

    Parameters
    ----------
    board, camera : identities of the devices in use (``name``, ``serial``, ``led_count``;
        ``vendor``, ``model``, ``serial``). Only keys that both sides know and that are not empty
        are compared, since boards without a serial number exist.
    max_age_days : beyond it there is a warning

    Returns
    -------
    warnings, one sentence each

    Raises
    ------
    CalibrationError : naming the device that differs
    """
    warnings: list[str] = []
    for kind, now_used in (("board", board), ("camera", camera)):
        then = lights.provenance.get(kind)
        if not isinstance(now_used, Mapping):
            continue
        if not isinstance(then, Mapping):
            warnings.append(f"the calibration of the lights does not tell for which {kind} it is")
            continue
        for key in _KEYS[kind]:
            old, new = then.get(key), now_used.get(key)
            if old not in (None, "") and new not in (None, "") and old != new:
                raise CalibrationError(
                    f"the lights were calibrated with another {kind}: its {key} was '{old}', "
                    f"now it is '{new}'; calibrate again with 'rig calibrate-lights'"
                )
    age = age_days(lights, now)
    if max_age_days is not None and age is not None and age > max_age_days:
        warnings.append(
            f"the calibration of the lights is {age:.0f} days old (limit {max_age_days:g}): check "
            "it with 'rig check', or calibrate again"
        )
    return warnings
