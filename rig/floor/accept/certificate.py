"""The dated certificate of an acceptance: JSON, HTML and PDF, with its history."""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from capture.claim import claim_first
from rig.floor.accept.artefacts import Artefacts
from rig.floor.accept.errors import Tested, scale_of, stated_mpe
from rig.floor.plans.decide import GOOD as PROVEN
from rig.floor.plans.decide import OUT
from rig.floor.scale import CERTIFICATES
from rig.floor.study.words import COLOURS, Groups, round_values, scatter
from rig.workspace import Workspace

FORMAT = "rig-certificate/1"
COLUMNS = ("artefact", "characteristic", "certified", "measured", "error", "u", "MPE", "verdict")


def certificate_of(
    kept: Artefacts,
    found: list[Tested],
    results: dict[str, Path],
    workspace: Workspace,
    instrument: str,
) -> dict[str, Any]:
    """What a certificate says; `results` are the folders of the artefacts' results."""
    verdicts = {test.verdict for test in found}
    word = OUT if OUT in verdicts else "good" if verdicts <= {PROVEN, "stated"} else "in between"
    kinds: dict[str, str] = {artefact.name: artefact.kind for artefact in kept.artefacts}
    return {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "instrument": instrument,
        "verdict": word,
        "responsible": kept.responsible,
        "environment": kept.environment,
        "mpe": kept.mpe.model_dump(),
        "stated_mpe": stated_mpe(found),
        "tests": [test.to_json() for test in found],
        "scale": scale_of(found, kinds),
        "traceability": [
            {"artefact": artefact.name, "serial": artefact.serial, "kind": artefact.kind,
             **artefact.certificate.model_dump()}
            for artefact in kept.artefacts
        ],
        "calibration": _calibration(workspace),
        "versions": {
            "dpps-rig": version("dpps-rig"), "python": platform.python_version(),
            "numpy": version("numpy"), "system": platform.platform(),
        },
        "checksums": {
            f"{name}: {path.name}": _sha256(path)
            for name, result in results.items()
            for path in (result / "height.tif", result / "summary.json",
                         result.parent.parent / "SHA256SUMS")
            if path.is_file()
        },
    }  # fmt: skip


def _calibration(workspace: Workspace) -> dict[str, str]:
    return {path.name: _sha256(path) for path in sorted(workspace.calibration.glob("*.json"))}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_certificate(certificate: dict[str, Any], workspace: Workspace) -> Path:
    """Write ``certificates/<time>/`` whole: certificate.json, .html and .pdf."""
    stamp = datetime.fromisoformat(certificate["date"]).strftime("%Y%m%dT%H%M%SZ")
    folder = workspace.folder / CERTIFICATES
    past = history(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    names = (folder / (stamp if k == 1 else f"{stamp}-{k}") for k in itertools.count(1))
    with claim_first(names) as made:
        text = json.dumps(certificate, indent=1, ensure_ascii=False)
        (made.work / "certificate.json").write_text(text + "\n", encoding="utf-8")
        page = _page(certificate, [*past, certificate])
        (made.work / "certificate.html").write_text(page, encoding="utf-8")
        (made.work / "certificate.pdf").write_bytes(_pdf(certificate, [*past, certificate]))
        made.publish()
        return made.target


def history(workspace: Workspace) -> list[dict[str, Any]]:
    """Certificates of a workspace, oldest first; unreadable ones are left out."""
    found = []
    for path in sorted((workspace.folder / CERTIFICATES).glob("*/certificate.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, dict) and data.get("format") == FORMAT:
            found.append(data)
    return found


def rows_of(certificate: dict[str, Any]) -> list[tuple[str, ...]]:
    """The tests as texts, mm."""
    return [
        (
            test["artefact"], f"{test['symbol']} {test['name']}", f"{test['certified']:.4f}",
            f"{test['measured']:.4f}", f"{test['error']:+z.4f}", f"{test['sigma']:.4f}",
            "–" if test["mpe"] is None else f"±{test['mpe']:.4f}", test["verdict"],
        )
        for test in certificate["tests"]
    ]  # fmt: skip


def _facts(certificate: dict[str, Any]) -> list[tuple[str, str]]:
    scale = certificate["scale"]
    facts = [
        ("instrument", certificate["instrument"]),
        ("date", certificate["date"]),
        ("responsible", certificate["responsible"] or "–"),
        *((str(name), str(value)) for name, value in certificate["environment"].items()),
        *((f"largest |error| + 2 u, {symbol}", f"{value:.4f} mm")
          for symbol, value in certificate["stated_mpe"].items()),
    ]  # fmt: skip
    if scale["relative_sigma"] is not None:
        facts.append(
            ("scale across the picture",
             f"error {1e6 * scale['relative_error']:+z.0f} ppm, "
             f"u {1e6 * scale['relative_sigma']:.0f} ppm; later lengths carry it")
        )  # fmt: skip
    facts += [
        (f"traceability: {t['artefact']} {t['serial']}",
         f"certificate {t['number']} of {t['laboratory']}, {t['date']}"
         f"{', valid until ' + t['valid_until'] if t['valid_until'] else ''}")
        for t in certificate["traceability"]
    ]  # fmt: skip
    facts += [(f"SHA-256 {name}", digest) for name, digest in certificate["calibration"].items()]
    facts += [(f"SHA-256 {name}", digest) for name, digest in certificate["checksums"].items()]
    return facts + [(name, value) for name, value in certificate["versions"].items()]


TITLE = "Certificate of acceptance"
MANNER = (
    "In the manner of ISO 10360-13 and VDI/VDE 2634-2; decided by ISO 14253-1 at 95 %. "
    "All lengths in mm; u is one sigma."
)


def _page(certificate: dict[str, Any], past: Sequence[dict[str, Any]]) -> str:
    def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
        name = ' class="tests"' if head else ""
        top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        return f"<table{name}>{'<tr>' + top + '</tr>' if top else ''}{body}</table>"

    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{TITLE}</title>'
        "<style>body{font:15px/1.4 system-ui,sans-serif;max-width:960px;margin:20px auto}"
        "table{border-collapse:collapse;width:100%;margin:10px 0}td,th{border-bottom:1px solid "
        "#ccd;text-align:left;padding:4px 8px}td{overflow-wrap:anywhere}svg{width:100%}"
        "table.tests td{overflow-wrap:normal}tr,svg,.kept{break-inside:avoid}"
        "@media print{body{margin:0;font-size:9.5pt}td,th{padding:2pt 4pt}}</style>"
        f"<h1>{TITLE}: {html.escape(certificate['verdict'].upper())}</h1><p>{MANNER}</p>"
        f"{table(rows_of(certificate), COLUMNS)}{_history(past)}"
        f"{table(_facts(certificate))}</html>\n"
    )


def _history(past: Sequence[dict[str, Any]]) -> str:
    """Errors of each characteristic over all certificates."""
    groups = _errors_over(past)
    if not groups:
        return ""
    title = f"<h2>Errors over {len(past)} acceptances</h2>"
    return f'<div class="kept">{title}{scatter(groups, "µm", _dates(past))}</div>'


def _dates(past: Sequence[dict[str, Any]]) -> list[str]:
    """Days of the certificates; of many only the first and the last."""
    days = [str(c["date"])[:10] for c in past]
    shown = range(len(days)) if len(days) <= 6 else (0, len(days) - 1)
    return [day if k in shown else "" for k, day in enumerate(days)]


def _errors_over(past: Sequence[dict[str, Any]]) -> Groups:
    """(characteristic, number of the certificate from 0, error in µm) from two certificates on."""
    if len(past) < 2:
        return []
    names = list(dict.fromkeys(_key(t) for c in past for t in c["tests"]))[:6]
    groups = []
    for name in names:
        pairs = [
            (k, 1000 * t["error"])
            for k, c in enumerate(past)
            for t in c["tests"]
            if _key(t) == name
        ]
        x, y = np.array(pairs, dtype=float).T
        groups.append((name, x, y))
    return groups


def _key(test: dict[str, Any]) -> str:
    return f"{test['artefact']} {test['name']}"


def _chart(past: Sequence[dict[str, Any]]) -> list[Any]:
    """The errors over all certificates as parts of a PDF."""
    from reportlab.graphics.shapes import Circle, Drawing, Line, String
    from reportlab.lib import colors

    groups = _errors_over(past)
    if not groups:
        return []
    every = np.concatenate([y for _, _, y in groups])
    low, high = min(float(every.min()), 0.0), max(float(every.max()), 1e-9)
    across = 320.0 / max(len(past) - 1, 1)
    drawn = Drawing(505, 150)

    def level(value: float) -> float:
        return 20 + 120 * (value - low) / (high - low)

    for value in round_values(low, high):
        drawn.add(Line(45, level(value), 385, level(value), strokeColor=colors.lightgrey))
        drawn.add(String(40, level(value) - 3, f"{value:g}", fontSize=7, textAnchor="end"))
    drawn.add(String(45, 144, "µm", fontSize=7, textAnchor="end"))
    for k, day in enumerate(_dates(past)):
        drawn.add(String(55 + across * k, 5, day, fontSize=7, textAnchor="middle"))
    for number, (name, x, y) in enumerate(groups):
        colour = colors.HexColor(COLOURS[number % len(COLOURS)])
        for place, value in zip(x, y, strict=True):
            drawn.add(Circle(55 + across * place, level(value), 2.5, fillColor=colour,
                             strokeColor=None))  # fmt: skip
        drawn.add(String(395, 130 - 12 * number, name, fontSize=7, fillColor=colour))
    return [drawn]


def _pdf(certificate: dict[str, Any], past: Sequence[dict[str, Any]]) -> bytes:
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

    styles = getSampleStyleSheet()
    small = styles["BodyText"].clone("small", fontSize=8, leading=10, splitLongWords=True)

    def table(rows: Sequence[Sequence[str]], widths: Sequence[float]) -> Any:
        cells = [[Paragraph(html.escape(cell), small) for cell in row] for row in rows]
        made = Table(cells, colWidths=list(widths), repeatRows=1)
        made.setStyle(TableStyle([("LINEBELOW", (0, 0), (-1, -1), 0.3, colors.grey)]))
        return made

    stream = BytesIO()
    document = SimpleDocTemplate(
        stream, pagesize=A4, leftMargin=45, rightMargin=45, topMargin=45, bottomMargin=45,
        title=TITLE, author=certificate["instrument"], invariant=True,
    )  # fmt: skip
    document.build(
        [
            Paragraph(f"{TITLE}: {html.escape(certificate['verdict'].upper())}", styles["Title"]),
            Paragraph(MANNER, styles["BodyText"]),
            Spacer(1, 8),
            table([COLUMNS, *rows_of(certificate)], (80, 105, 55, 55, 52, 45, 55, 58)),
            Spacer(1, 12),
            *_chart(past),
            table([("", ""), *_facts(certificate)], (170, 335)),
        ]
    )
    return stream.getvalue()
