"""What the person who calibrates is told: the certificate in a few lines, and what would help."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calib.advice import next_place, poorly_fixed
from calib.certificate import Calibration

LIMIT_MM = 1.0

Say = Callable[[str], None]


def summary(result: Calibration) -> str:
    """The certificate in a few lines."""
    sigma = result.position_sigma_mm
    worst = int(np.argmax(sigma))
    lines = [
        f"{len(result.lights)} lights solved from {len(result.views)} places of the ball",
        f"  position    {np.median(sigma):.2f} mm (one sigma, median), worst {sigma[worst]:.2f} mm "
        f"(LED {result.lights.ids[worst]})",
        f"  highlights  {result.sigma_px:.3f} px",
    ]
    if result.held_out_px:
        held = float(np.sqrt(np.mean(np.square(list(result.held_out_px.values())))))
        lines.append(f"  held out    {held:.3f} px, each pose predicted by the others")
    if result.power_sigma is not None and result.plate_rms is not None:
        lines.append(
            f"  power       {100 * np.median(result.power_sigma):.2f} % (one sigma, median), plate "
            f"fits to {100 * np.median(result.plate_rms):.2f} %"
        )
    for name in result.left_out:
        lines.append(f"  {name} is left out: no mirror ball, or not where it seems to be")
    for led, reason in result.missing.items():
        lines.append(f"  LED {led} is missing: {reason}")
    if len(result.weak) > 10:
        lines.append(f"  {len(result.weak)} LEDs rest on fewer than 3 places of the ball")
    else:
        lines += [f"  LED {led} is weak: {reason}" for led, reason in result.weak.items()]
    return "\n".join(lines)


def advise(result: Calibration, say: Say, *, always: bool = False) -> None:
    """Which LEDs are poorly fixed, and where the ball would help."""
    poor = poorly_fixed(result, LIMIT_MM)
    if not poor and not always:
        return
    place, after = next_place(result)
    if poor:
        some = ", ".join(f"{led} ({sigma:.1f} mm)" for led, sigma in poor[:5])
        more = f" and {len(poor) - 5} more" if len(poor) > 5 else ""
        say(f"  poorly fixed: LED {some}{more}")
    else:
        say(f"  every LED is fixed to {LIMIT_MM:g} mm")
    say(
        f"  a further place of the ball at x {place[0]:.0f}, y {place[1]:.0f} mm would bring the "
        f"median to {after:.2f} mm"
    )
