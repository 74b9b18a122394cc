"""Studies for people: tables of text, and a page with a plot."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rig.figures import table
from rig.floor.study.msa import GaugeRR, Linearity, Repeatability
from rig.floor.study.stated import Stated

Groups = Sequence[tuple[str, NDArray[Any], NDArray[Any]]]
COLOURS = ("#1d4e89", "#c05a00", "#0a7d32", "#7a2a86", "#a00d1e", "#3d4a5a")


def gauge_rr_table(found: GaugeRR, unit: str, stated: Stated) -> str:
    """A gauge R&R study as text."""
    lines = [f"{'source':<20}{'DF':>5}{'SS':>14}{'MS':>14}{'F':>10}{'p':>9}"]
    for source in found.table:
        f = "" if source.f is None else f"{source.f:.3f}"
        p = "" if source.p is None else f"{source.p:.4f}"
        lines.append(
            f"{source.name:<20}{source.degrees:>5}{source.squares:>14.6g}"
            f"{source.mean_square:>14.6g}{f:>10}{p:>9}"
        )
    lines.append("interaction pooled with the equipment" if found.pooled else "interaction kept")
    share = 100 * found.confidence
    rows = []
    for key, name in (
        ("ev", "repeatability EV"), ("av", "reproducibility AV"), ("interaction", "interaction"),
        ("grr", "gauge R&R"), ("pv", "parts PV"), ("tv", "total TV"),
    ):  # fmt: skip
        said = f"{getattr(found, key):.5g} {unit}  {found.percent[key]:.1f} % of TV"
        if found.percent_of_tolerance:
            said += f", {found.percent_of_tolerance[key]:.1f} % of the tolerance"
        if key in found.intervals:
            interval = found.intervals[key]
            said += f"  ({share:g} %: {interval.low:.5g} … {interval.high:.5g})"
        rows.append((name, said))
    rows.append(("distinct categories", str(int(min(found.ndc, 9999)))))
    rows += stated.rows(found.ev, unit)
    word = (
        "fit"
        if found.percent["grr"] < 10
        else "marginal"
        if found.percent["grr"] <= 30
        else ("not fit")
    )
    rows.append(("the gauge is", f"{word} for this feature (AIAG: below 10 %, to 30 %, above)"))
    return "\n".join([*lines, table(rows)])


def repeatability_table(found: Repeatability, unit: str, stated: Stated) -> str:
    """A type 1 study as text."""
    rows = [
        ("values", str(found.count)),
        ("mean", f"{found.mean:.6g} {unit}"),
        ("scatter, one sigma",
         f"{found.sd.value:.5g} {unit} ({found.sd.low:.5g} … {found.sd.high:.5g})"),
    ]  # fmt: skip
    if found.bias is not None:
        rows.append(("bias", f"{found.bias:+.5g} {unit}, by chance with p = {found.p:.4f}"))
    if found.cg is not None and found.cg_interval is not None:
        low, high = found.cg_interval.low, found.cg_interval.high
        rows.append(("Cg", f"{found.cg:.3f} ({low:.3f} … {high:.3f}); 1.33 is usual"))
    if found.cgk is not None:
        rows.append(("Cgk", f"{found.cgk:.3f}; 1.33 is usual"))
    return table([*rows, *stated.rows(found.sd.value, unit)])


def linearity_table(found: Linearity, unit: str) -> str:
    """A linearity study as text."""
    rows = [
        (f"bias at {reference:g} {unit}", f"{bias:+.5g} {unit}")
        for reference, bias in zip(found.references, found.bias, strict=True)
    ]
    rows += [
        ("bias =", f"{found.slope:.6f} · reference {found.intercept:+z.6f} {unit}"),
        ("t of slope, intercept",
         f"{found.t_slope:.3f}, {found.t_intercept:.3f}; limit {found.t_limit:.3f}"),
        ("R²", f"{100 * found.r_squared:.1f} %"),
        ("linear and unbiased", "yes" if found.acceptable else "no"),
    ]  # fmt: skip
    return table(rows)


def study_page(title: str, text: str, groups: Groups, unit: str, names: Sequence[str] = ()) -> str:
    """A page that opens offline: the figures, and a plot of (name, x, y) groups; see `scatter`."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:16px system-ui,sans-serif;max-width:960px;margin:20px auto}"
        "pre{overflow-x:auto}svg{width:100%;break-inside:avoid}@media print{body{margin:0}"
        "pre{font-size:8.5pt;white-space:pre-wrap;overflow:visible}}</style>"
        f"<h1>{html.escape(title)}</h1>{scatter(groups, unit, names)}"
        f"<pre>{html.escape(text)}</pre></html>\n"
    )


def round_values(low: float, high: float, count: int = 5) -> list[float]:
    """About so many round values from low to high, for an axis."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
    return [
        float(round(k * step, 12))
        for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)
    ]


def scatter(groups: Groups, unit: str, names: Sequence[str] = ()) -> str:
    """SVG of groups of points (name, x, y); `names` are those of x = 0, 1, 2, …"""
    xs = np.concatenate([np.asarray(x, float) for _, x, _ in groups])
    ys = np.concatenate([np.asarray(y, float) for _, _, y in groups])
    x0, x1, y0, y1 = xs.min(), xs.max(), ys.min(), ys.max()
    wide, high = max(x1 - x0, 1e-12), max(y1 - y0, 1e-12)
    drawn = ['<svg viewBox="0 0 800 340" font-family="system-ui" font-size="13">'
             '<rect x="70" y="10" width="600" height="290" fill="none" '
             'stroke="#889"/>']  # fmt: skip
    for value in round_values(y0, y1):
        y = 290 - 270 * (value - y0) / high
        drawn.append(f'<path d="M66 {y:.1f}H670" stroke="#dde"/>')
        drawn.append(f'<text x="62" y="{y + 4:.0f}" text-anchor="end">{value:g}</text>')
    drawn.append(f'<text x="62" y="330" text-anchor="end">{html.escape(unit)}</text>')
    places = range(len(names)) if names else round_values(x0, x1)
    for place in places:
        said = html.escape(names[int(place)]) if names else f"{place:g}"
        x = 80 + 580 * (place - x0) / wide
        drawn.append(f'<text x="{x:.0f}" y="318" text-anchor="middle">{said}</text>')
    for number, (name, xs_here, ys_here) in enumerate(groups):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            (80 + 580 * (a - x0) / wide, 290 - 270 * (b - y0) / high)
            for a, b in zip(xs_here, ys_here, strict=True)
        ]
        drawn += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>' for a, b in points]
        drawn.append(
            f'<text x="684" y="{28 + 20 * number}" fill="{colour}">{html.escape(name)}</text>'
        )
    return "".join([*drawn, "</svg>"])
