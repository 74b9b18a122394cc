"""The head of a report: verdict, features, where they lie, and everything an auditor asks first."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reconstruct.metrology.grid import HeightGrid
from rig.report.maps import Drawn, draw, thinned

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
    facts = [(name, verdict.get(key)) for key, name in FACTS]
    facts += [
        ("inspection plan", _plan(verdict.get("plan") or {})),
        ("calibration in force", _calibration(summary.get("calibration") or {})),
        *(("note", note) for note in verdict.get("notes") or ()),
    ]
    rows = "".join(
        f"<tr><th>{_e(name)}</th><td>{_e(value)}</td></tr>" for name, value in facts if value
    )
    return (
        '<section class="card" id="verdict">'
        f'<p class="verdict" style="background:{colour}">{_e(word.upper())}</p>'
        f"{_features(verdict)}{_tolerance(verdict)}{_map(verdict, deviation, height)}"
        f"<table>{rows}</table></section>"
    )


def _features(verdict: Mapping[str, Any]) -> str:
    features = verdict.get("features") or ()
    if not features:
        return ""
    rows = []
    for number, row in enumerate(features, 1):
        value = "–" if row["value"] is None else f"{row['value']:.5g}"
        sigma = "" if row["sigma"] is None else f"{row['sigma']:.2g}"
        low, high = (("" if row[k] is None else f"{row[k]:.5g}") for k in ("lower", "upper"))
        rows.append(
            f"<tr><td>{number}</td><td>{_e(row['name'])}</td><td>{value}</td><td>{sigma}</td>"
            f"<td>{low} … {high} {_e(row['unit'])}</td>"
            f'<td style="color:{LOOKS.get(row["verdict"], "#3d4a5a")};font-weight:700">'
            f"{_e(row['verdict'])} {_e(row['reason'])}</td></tr>"
        )
    head = "".join(
        f"<th>{name}</th>" for name in ("#", "feature", "value", "σ", "limits", "verdict")
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


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
        z = 1000 * deviation.z_mm
        reach = float(np.nanquantile(np.abs(z), 0.995)) or 1.0
        drawn, name = Drawn(thinned(deviation.with_z(z)), "µm", -reach, reach, True), "Deviation"
    elif height is not None and verdict.get("features"):
        low, high = (float(v) for v in np.nanquantile(height.z_mm, [0.002, 0.998]))
        drawn = Drawn(thinned(height), "mm", low, max(high, low + 1e-3), False)
        name = "Height"
    else:
        return ""
    return f"<h2>{name}</h2>{draw(drawn, verdict.get('features') or ())}"


def _plan(plan: Mapping[str, Any]) -> str:
    if not plan:
        return ""
    rule = plan.get("rule") or {}
    return (
        f"{plan.get('type')} {plan.get('revision')}, content {str(plan.get('hash'))[:12]}, decided "
        f"by ISO 14253-1 at {100 * rule.get('probability', 0.95):g} %"
    )


def _calibration(calibration: Mapping[str, Any]) -> str:
    said = [str(calibration[key]) for key in ("lights", "date") if calibration.get(key)]
    return ", of ".join(said)


def _e(value: Any) -> str:
    return html.escape(str(value))
