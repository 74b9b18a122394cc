"""Parts by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from reconstruct.errors import ReconstructError
from reconstruct.shapes.base import Shape
from reconstruct.shapes.blobby import metaballs, random_field
from reconstruct.shapes.machined import (
    coin,
    ground,
    milled,
    sphere_cap,
    stamped,
    step_gauge,
    turned,
)

SHAPES: dict[str, Callable[..., Shape]] = {
    "field": random_field,
    "metaballs": metaballs,
    "turned": turned,
    "milled": milled,
    "ground": ground,
    "step_gauge": step_gauge,
    "sphere_cap": sphere_cap,
    "stamped": stamped,
    "coin": coin,
}


def shape(name: str, seed: int = 0, size_mm: float = 110.0, **parameters: Any) -> Shape:
    """A part by name.

    Parameters
    ----------
    name : one of `SHAPES`
    seed : of everything random in it
    size_mm : width of the field it fills
    parameters : of that part; see its function

    Raises
    ------
    ReconstructError
        Unknown name; the message names the nearest known one.
    """
    if name not in SHAPES:
        near = difflib.get_close_matches(name, SHAPES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ReconstructError(f"no part named '{name}' (known: {', '.join(SHAPES)}){hint}")
    return SHAPES[name](seed, size_mm, **parameters)
