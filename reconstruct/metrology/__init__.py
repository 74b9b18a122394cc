"""Measuring a surface, as an engineer reads it off.

- `grid`: heights on a regular grid in x and y
- `form`: planes, spheres, cylinders, polynomials taken away
- `filters`: Gaussian filters with a cut-off (ISO 16610)
- `areal`, `profile`, `dimension`: parameters (ISO 25178-2, ISO 21920-2, ISO 5436-1, ISO 12781-1)
- `measure`: all of that with uncertainty
- `accuracy`: a result against the truth; `compare`: two surfaces against each other
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconstruct.metrology.accuracy import Accuracy, Truth, evaluate
    from reconstruct.metrology.areal import areal_parameters
    from reconstruct.metrology.compare import Comparison
    from reconstruct.metrology.dimension import flatness
    from reconstruct.metrology.form import remove_form
    from reconstruct.metrology.grid import HeightGrid, grid_of
    from reconstruct.metrology.measure import Measurement, Parameter, Recipe
    from reconstruct.metrology.profile import (
        Profile,
        profile_along,
        profile_parameters,
        step_height,
    )
    from reconstruct.metrology.reading import read_shape
    from reconstruct.metrology.surfaces import compare_surfaces, measure_surface

__all__ = [
    "Accuracy",
    "Comparison",
    "HeightGrid",
    "Measurement",
    "Parameter",
    "Profile",
    "Recipe",
    "Truth",
    "areal_parameters",
    "compare_surfaces",
    "evaluate",
    "flatness",
    "grid_of",
    "measure_surface",
    "profile_along",
    "profile_parameters",
    "read_shape",
    "remove_form",
    "step_height",
]

# Loaded when asked for: importing this package costs nothing.
_HOME = {
    "Accuracy": "reconstruct.metrology.accuracy",
    "Comparison": "reconstruct.metrology.compare",
    "HeightGrid": "reconstruct.metrology.grid",
    "Measurement": "reconstruct.metrology.measure",
    "Parameter": "reconstruct.metrology.measure",
    "Profile": "reconstruct.metrology.profile",
    "Recipe": "reconstruct.metrology.measure",
    "Truth": "reconstruct.metrology.accuracy",
    "areal_parameters": "reconstruct.metrology.areal",
    "compare_surfaces": "reconstruct.metrology.surfaces",
    "evaluate": "reconstruct.metrology.accuracy",
    "flatness": "reconstruct.metrology.dimension",
    "grid_of": "reconstruct.metrology.grid",
    "measure_surface": "reconstruct.metrology.surfaces",
    "profile_along": "reconstruct.metrology.profile",
    "profile_parameters": "reconstruct.metrology.profile",
    "read_shape": "reconstruct.metrology.reading",
    "remove_form": "reconstruct.metrology.form",
    "step_height": "reconstruct.metrology.profile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'reconstruct.metrology' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
