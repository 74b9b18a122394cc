"""A judged feature as a line."""

from __future__ import annotations

from typing import Any

from rig.figures import with_sigma


def measured_in_words(row: dict[str, Any]) -> str:
    """``1.2100 ± 0.0040 mm``; empty where nothing was measured."""
    if row.get("value") is None:
        return ""
    return f"{with_sigma(row['value'], row.get('sigma'))} {row.get('unit', '')}".rstrip()


def feature_line(row: dict[str, Any]) -> str:
    """``1.2100 ± 0.0040 mm (1.15 … 1.25): good``, of a row as verdict.json holds it."""
    text = measured_in_words(row)
    if not text:
        return f"{row['verdict']}: {row.get('reason', '')}"
    limits = limits_in_words(row)
    return f"{text} ({limits}): {row['verdict']}" if limits else f"{text}: {row['verdict']}"


def limits_in_words(row: dict[str, Any]) -> str:
    """``1.15 … 1.25``, ``≤ 0.05`` or ``≥ 3``."""
    lower, upper = row.get("lower"), row.get("upper")
    if lower is None and upper is None:
        return ""
    if lower is None:
        return f"≤ {upper:.6g}"
    return f"≥ {lower:.6g}" if upper is None else f"{lower:.6g} … {upper:.6g}"
