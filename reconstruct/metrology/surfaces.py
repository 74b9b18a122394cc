"""Measuring and comparing a `Surface` in one call each."""

from __future__ import annotations

from pathlib import Path

from reconstruct.metrology.compare import Comparison, compare
from reconstruct.metrology.grid import HeightGrid, grid_of
from reconstruct.metrology.measure import Measurement, Recipe, measure
from reconstruct.metrology.reading import read_shape
from reconstruct.surface import Surface

Shape = Surface | HeightGrid | Path | str


def grid(shape: Shape, step_mm: float | None = None) -> HeightGrid:
    """Heights over x and y of a surface, of a file (`reading.read_shape`), or as they are."""
    if isinstance(shape, HeightGrid):
        return shape
    if isinstance(shape, Surface):
        return grid_of(shape, step_mm)
    return read_shape(Path(shape), step_mm)


def measure_surface(
    shape: Shape, recipe: Recipe | None = None, *, step_mm: float | None = None, seed: int = 0
) -> Measurement:
    """Roughness, waviness, steps with their uncertainty (see `measure.measure`)."""
    return measure(grid(shape, step_mm), recipe, seed)


def compare_surfaces(
    measured: Shape,
    reference: Shape,
    *,
    alignment: str = "rigid",
    tolerance_mm: float | None = None,
    step_mm: float | None = None,
) -> Comparison:
    """Align a surface to another and find the deviation of every point (see `compare.compare`)."""
    return compare(grid(measured, step_mm), grid(reference, step_mm), alignment, tolerance_mm)
