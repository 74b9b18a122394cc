"""Gathers the runs of a study from the store, and says what is still to be measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rig.exits import UsageError
from rig.floor.store.store import Filter, Store


@dataclass(frozen=True, eq=False)
class Values:
    """A feature over the runs of a study, oldest first.

    Attributes
    ----------
    values, sigmas : (n,) NaN where it was not measured or not stated
    repeatabilities : (n,) what of sigma the next measurement shows; NaN where it was not told
    methods : of reconstruction, that the runs were made with
    """

    parts: tuple[str, ...]
    operators: tuple[str, ...]
    values: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    repeatabilities: NDArray[np.float64]
    methods: tuple[str, ...]
    unit: str
    lower: float | None
    upper: float | None

    @property
    def tolerance(self) -> float | None:
        """Width of the feature's tolerance, if it has both limits."""
        if self.lower is None or self.upper is None:
            return None
        return self.upper - self.lower


def gather(store: Store, part_type: str, feature: str, batch: str = "") -> Values:
    """The runs of a part type (and batch) that have the feature.

    Raises
    ------
    UsageError
        if there are none
    """
    parts, operators, values, sigmas, repeats, methods = [], [], [], [], [], set()
    unit, lower, upper = "", None, None
    for run in store.each(Filter(part_type=part_type, batch=batch)):
        for found in run.features:
            if found.name != feature:
                continue
            parts.append(run.part)
            operators.append(run.operator)
            values.append(np.nan if found.value is None else found.value)
            sigmas.append(np.nan if found.sigma is None else found.sigma)
            repeats.append(np.nan if found.repeatability is None else found.repeatability)
            methods.add(run.method)
            unit, lower, upper = found.unit, found.lower, found.upper
    if not values:
        known = ", ".join(store.feature_names(part_type)) or "none"
        raise UsageError(
            f"no run of type {part_type or '(none)'}{' in batch ' + batch if batch else ''} has a "
            f"feature '{feature}' (it has: {known})"
        )
    return Values(
        tuple(parts[::-1]), tuple(operators[::-1]), np.array(values[::-1]),
        np.array(sigmas[::-1]), np.array(repeats[::-1]), tuple(sorted(methods)),
        unit, lower, upper,
    )  # fmt: skip


def crossed(found: Values) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Parts, operators, and values (parts, operators, trials), cut to the fewest trials.

    Raises
    ------
    UsageError
        naming the cells that are empty
    """
    cells: dict[tuple[str, str], list[float]] = defaultdict(list)
    for part, operator, value in zip(found.parts, found.operators, found.values, strict=True):
        if np.isfinite(value):
            cells[part, operator].append(float(value))
    parts, operators = sorted(set(found.parts)), sorted(set(found.operators))
    missing = [
        f"{part} by {operator or '(nobody named)'}"
        for part in parts
        for operator in operators
        if not cells[part, operator]
    ]
    if missing:
        raise UsageError(
            f"{len(missing)} cells of the study are empty: {', '.join(missing[:5])}"
            f"{' …' if len(missing) > 5 else ''}: measure them with 'rig run --operator'"
        )
    trials = min(len(values) for values in cells.values())
    table = np.array([[cells[p, o][:trials] for o in operators] for p in parts])
    return parts, operators, table


def order_of(
    parts: Sequence[str], operators: Sequence[str], trials: int, seed: int = 0
) -> list[tuple[str, str, int]]:
    """What to measure one after another: in each trial and for each operator, parts at random."""
    rng = np.random.default_rng(seed)
    return [
        (parts[k], operator, trial)
        for trial in range(1, trials + 1)
        for operator in operators
        for k in rng.permutation(len(parts))
    ]
