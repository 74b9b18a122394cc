"""The head of a report: verdict, features, where they lie, and everything an auditor asks first."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconstruct.metrology.grid import HeightGrid
from rig.report.maps import deviations, draw, heights
from rig.report.words import moment, rounded

MARK = "<!--verdict-->"
LOOKS = {
    "good": "#0a7d32", "out of tolerance": "#c00d1e", "in between": "#a35c00",
    "not sufficient": "#5b2a86",
}  # fmt: skip
FACTS = (
    ("part_type", "part type"), ("operator", "operator"), ("batch", "batch"),
    ("instrument", "instrument"), ("measured_at", "measured at"), ("certificate", "certificate"),
)  # fmt: skip


def put_verdict_first(
    report: Path,
    verdict: Mapping[str, Any],
    summary: Mapping[str, Any],
    deviation: HeightGrid | None,
    height: HeightGrid | None,
) -> None:
    """Write a verdict to the top of a report that was made without one.

    Parameters
    ----------
    verdict : as ``verdict.json`` holds it
    summary : of the result; its calibration is shown
    deviation : mm, drawn with the features on it; without it the height is
    """
    text = report.read_text(encoding="utf-8")
    if MARK not in text:
        return
    page = text.replace(MARK, MARK + _section(verdict, summary, deviation, height), 1)
    part = report.with_name(report.name + ".part")
    part.write_text(page, encoding="utf-8", errors="backslashreplace")
    os.replace(part, report)


def _section(
    verdict: Mapping[str, Any],
    summary: Mapping[str, Any],
    deviation: HeightGrid | None,
    height: HeightGrid | None,
) -> str:
    word = str(verdict["verdict"])
    colour = LOOKS.get(word, "#3d4a5a")
    facts = [
        (name, moment(str(verdict[key])) if key == "measured_at" else verdict[key])
        for key, name in FACTS
        if verdict.get(key)
    ]
    facts += [
        ("inspection plan", _plan(verdict.get("plan") or {})),
        ("calibration in force", _calibration(summary.get("calibration") or {})),
        *(("note", note) for note in verdict.get("notes") or ()),
    ]
    rows = "".join(
        f'<tr><th scope="row">{_e(name)}</th><td>{_e(value)}</td></tr>'
        for name, value in facts
        if value
    )
    return (
        '<section class="card" id="verdict" aria-label="Verdict">'
        f'<p class="verdict" style="background:{colour}">{_e(word.upper())}</p>'
        f"{_features(verdict)}{_tolerance(verdict)}{_map(verdict, deviation, height)}"
        f'<table id="facts">{rows}</table></section>'
    )


def _features(verdict: Mapping[str, Any]) -> str:
    features = verdict.get("features") or ()
    if not features:
        return ""
    rows = []
    for number, row in enumerate(features, 1):
        value = "–" if row["value"] is None else rounded(row["value"], row["sigma"])
        rows.append(
            f"<tr><td>{number}</td><td>{_e(row['name'])}</td>"
            f'<td class="number">{value} {_e(row["unit"])}</td><td>{_limits(row)}</td>'
            f'<td style="color:{LOOKS.get(row["verdict"], "#3d4a5a")};font-weight:700">'
            f"{_e(row['verdict'])}</td><td>{_e(row['reason'])}</td></tr>"
        )
    head = "".join(
        f'<th scope="col"{" class=number" if name.startswith("value") else ""}>{name}</th>'
        for name in ("#", "feature", "value ± σ", "limits", "verdict", "")
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _limits(row: Mapping[str, Any]) -> str:
    low, high = row["lower"], row["upper"]
    if low is not None and high is not None:
        return f"{low:g} … {high:g} {_e(row['unit'])}"
    if high is not None:
        return f"≤ {high:g} {_e(row['unit'])}"
    return f"≥ {low:g} {_e(row['unit'])}" if low is not None else "none"


def _tolerance(verdict: Mapping[str, Any]) -> str:
    found = verdict.get("deviation") or {}
    if verdict.get("features") or found.get("tolerance_mm") is None:
        return ""
    return (
        f"<p>Largest deviation from {_e(found['reference'])}: {found['max_mm']:.4f} mm; "
        f"{100 * found['within']:.2f} % within ±{found['tolerance_mm']:g} mm.</p>"
    )


def _map(
    verdict: Mapping[str, Any], deviation: HeightGrid | None, height: HeightGrid | None
) -> str:
    if deviation is not None:
        drawn, name = deviations(deviation), "Deviation"
    elif height is not None and verdict.get("features"):
        drawn, name = heights(height), "Height"
    else:
        return ""
    features = verdict.get("features") or ()
    return f'<div class="kept"><h2>{name}</h2>{draw(drawn, features)}</div>'


def _plan(plan: Mapping[str, Any]) -> str:
    if not plan:
        return ""
    rule = plan.get("rule") or {}
    return (
        f"{plan.get('type')} {plan.get('revision')}, content {str(plan.get('hash'))[:12]}, decided "
        f"by ISO 14253-1 at {100 * rule.get('probability', 0.95):g} %"
    )


def _calibration(calibration: Mapping[str, Any]) -> str:
    if not calibration.get("lights"):
        return ""
    said = str(calibration["lights"])
    return f"{said}, of {moment(str(calibration['date']))}" if calibration.get("date") else said


def _e(value: Any) -> str:
    return html.escape(str(value))
