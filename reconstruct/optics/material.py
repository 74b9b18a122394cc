"""What a surface is made of: microfacet lobes over a Lambertian part."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError

Map = NDArray[np.float32]
Value = float | NDArray[Any]
Distribution = Literal["ggx", "beckmann"]
Tangents = NDArray[Any] | Callable[[NDArray[Any]], NDArray[Any]]

WHITE_UM = (0.45, 0.53, 0.63)  # a white LED and a camera without filter


@cache
def _metal_table() -> dict[str, list[dict[str, Any]]]:
    text = files("reconstruct.optics").joinpath("data/metal_nk.csv").read_text(encoding="utf-8")
    table: dict[str, list[dict[str, Any]]] = {}
    for row in csv.DictReader(text.splitlines()):
        entry = {"source": row["source"]} | {key: float(row[key]) for key in ("um", "n", "k")}
        table.setdefault(row["metal"], []).append(entry)
    return table


def complex_index(metal: str, wavelength_um: float | None = None) -> tuple[float, float]:
    """(n, k) of a metal (CC0 tables of refractiveindex.info), by the newest measurement listed.

    Parameters
    ----------
    metal : symbol, for example ``Cu``
    wavelength_um : linear between the tabulated 0.45, 0.53, 0.63 and 0.85 µm; None averages the
        visible three, as white light does

    Raises
    ------
    ReconstructError
        Unknown metal, or a wavelength outside the table.
    """
    table = _metal_table()
    if metal not in table:
        known = ", ".join(sorted(table))
        raise ReconstructError(f"no optical constants for metal '{metal}' (known: {known})")
    newest = list(dict.fromkeys(row["source"] for row in table[metal]))[-1]
    rows = sorted((r["um"], r["n"], r["k"]) for r in table[metal] if r["source"] == newest)
    um, n, k = np.array(rows).T
    wanted = np.array(WHITE_UM if wavelength_um is None else (wavelength_um,))
    if wanted.min() < um[0] or wanted.max() > um[-1]:
        raise ReconstructError(
            f"optical constants of {metal} are known from {um[0]} to {um[-1]} µm, "
            f"not at {wavelength_um} µm"
        )
    return float(np.interp(wanted, um, n).mean()), float(np.interp(wanted, um, k).mean())


def index_of_reflectance(reflectance: float) -> tuple[float, float]:
    """An (n, k) with a reflectance (0..1) at normal incidence, and the middle of all edge tints.

    Gulbrandsen 2014, eqs. 1 and 2.
    """
    r = float(np.clip(reflectance, 1e-4, 0.999))
    lowest, highest = (1 - r) / (1 + r), (1 + np.sqrt(r)) / (1 - np.sqrt(r))
    n = 0.5 * (lowest + highest)
    k2 = (r * (n + 1) ** 2 - (n - 1) ** 2) / (1 - r)
    return float(n), float(np.sqrt(max(k2, 0.0)))


@dataclass(frozen=True, eq=False)
class Lobe:
    """One microfacet lobe.

    Attributes
    ----------
    alpha : microfacet width along the tangent (Walter 2007), a number or an (H, W) map
    alpha_across : width across the tangent; None for an isotropic lobe
    n, k : complex index
    weight : factor on the lobe, a number or an (H, W) map
    """

    alpha: Value = 0.2
    alpha_across: Value | None = None
    n: float = 3.1345
    k: float = 4.4043
    weight: Value = 1.0
    distribution: Distribution = "ggx"

    @property
    def anisotropic(self) -> bool:
        return self.alpha_across is not None

    @property
    def across(self) -> Value:
        """Width across the tangent."""
        return self.alpha if self.alpha_across is None else self.alpha_across


@dataclass(frozen=True, eq=False)
class Material:
    """A sum of lobes and a Lambertian part.

    Attributes
    ----------
    lobes : microfacet lobes, any number
    diffuse : albedo of the Lambertian part (f_r = diffuse / π), a number or an (H, W) map
    tangents : direction of `Lobe.alpha` in the world frame: (3,), (H, W, 3), or a function of the
        points (H, W, 3) that returns it; needed by anisotropic lobes only
    """

    lobes: tuple[Lobe, ...] = (Lobe(),)
    diffuse: Value = 0.0
    tangents: Tangents | None = None

    @staticmethod
    def metal(
        metal: str = "Cr",
        alpha: Value = 0.2,
        alpha_across: Value | None = None,
        distribution: Distribution = "ggx",
        diffuse: Value = 0.0,
        weight: Value = 1.0,
        tangents: Tangents | None = None,
        wavelength_um: float | None = None,
    ) -> Material:
        """A clean metal from the table of optical constants."""
        n, k = complex_index(metal, wavelength_um)
        lobe = Lobe(alpha, alpha_across, n, k, weight, distribution)
        return Material((lobe,), diffuse, tangents)

    @staticmethod
    def lambertian(albedo: Value) -> Material:
        return Material((), albedo)

    def mixed(self, other: Material, share: Value) -> Material:
        """This material where `share` is 0, the other where it is 1, a blend between."""
        rest = 1.0 - np.asarray(share)
        mine = tuple(replace(lobe, weight=lobe.weight * rest) for lobe in self.lobes)
        theirs = tuple(
            replace(lobe, weight=lobe.weight * np.asarray(share)) for lobe in other.lobes
        )
        diffuse = self.diffuse * rest + other.diffuse * np.asarray(share)
        tangents = self.tangents if self.tangents is not None else other.tangents
        return Material(mine + theirs, diffuse, tangents)

    def tangent_map(self, points_mm: NDArray[Any]) -> Map:
        """(H, W, 3) tangents at the points; x where none are given."""
        given = self.tangents
        if given is None:
            given = np.array([1.0, 0.0, 0.0])
        value = given(points_mm) if callable(given) else given
        return np.broadcast_to(np.asarray(value, dtype=np.float32), points_mm.shape)


def circular_lay(
    centre_mm: tuple[float, float] = (0.0, 0.0),
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Tangents of a turned surface: around an axis parallel to z through `centre_mm`."""

    def tangents(points_mm: NDArray[Any]) -> NDArray[Any]:
        x, y = points_mm[..., 0] - centre_mm[0], points_mm[..., 1] - centre_mm[1]
        r = np.maximum(np.hypot(x, y), 1e-9)
        return np.stack([-y / r, x / r, np.zeros_like(x)], axis=-1)

    return tangents
