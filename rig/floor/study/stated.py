"""What the gauge states of its own uncertainty, beside the scatter that a study observed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rig.floor.study.table import Values


@dataclass(frozen=True)
class Stated:
    """Uncertainty that runs state of a feature, in its unit.

    Attributes
    ----------
    sigma : all of it, median over the runs; what a decision takes (ISO 14253-1)
    repeatability : the part that the next measurement shows, root mean square over the runs, as
        EV is one; None if a run does not tell it apart
    methods : of reconstruction
    """

    sigma: float | None
    repeatability: float | None
    methods: tuple[str, ...] = ()

    def over(self, scatter: float) -> float | None:
        """Stated repeatability over the observed scatter."""
        if self.repeatability is None or not scatter > 0:
            return None
        return self.repeatability / scatter

    def to_json(self, scatter: float) -> dict[str, Any]:
        return {**asdict(self), "repeatability_over_observed": self.over(scatter)}

    def rows(self, scatter: float, unit: str) -> list[tuple[str, str]]:
        """Lines of a table."""
        rows = []
        ratio = self.over(scatter)
        if ratio is not None:
            said = f"{self.repeatability:.5g} {unit}, {ratio:.2f} of the observed scatter"
            rows.append(("stated repeatability", said))
        elif self.sigma is not None:
            rows.append((
                "stated repeatability",
                f"not told apart by {', '.join(self.methods) or 'the method'}: only a study with "
                "refine compares what is stated with what is observed",
            ))  # fmt: skip
        if self.sigma is not None:
            said = f"{self.sigma:.5g} {unit}, with what all trials have in common"
            rows.append(("stated sigma, whole", said))
        return rows


def stated_by(found: Values) -> Stated:
    """What the runs of a study state."""
    told = found.repeatabilities[np.isfinite(found.values)]
    known = found.sigmas[np.isfinite(found.sigmas)]
    return Stated(
        float(np.median(known)) if known.size else None,
        float(np.sqrt(np.mean(np.square(told)))) if told.size and np.isfinite(told).all() else None,
        found.methods,
    )
