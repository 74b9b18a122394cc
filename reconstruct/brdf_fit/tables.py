"""Tables of reflectance: from the theory, from CSV, from MERL files."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intake.errors import told_as
from intake.files import read_bytes, read_text
from reconstruct.brdf_fit import theory
from reconstruct.errors import ReconstructError

Array = NDArray[np.float64]
RA_RANGE_UM = (0.05, 6.3)
ALPHA_RANGE = (0.04, 0.5)
FLOOR = 1e-4  # entries below this share of their material's peak are left out
MAX_TABLE = 2**28
_MERL = (90, 90, 180)


@dataclass(frozen=True)
class Table:
    """Reflectance entries.

    Attributes
    ----------
    name : where it came from
    ra_um, alpha : (N,) roughness and microfacet width; one value each for one material
    theta_h, theta_d, phi_d : (N,) radians
    value : (N,) BRDF, 1/sr
    spans_roughness : whether Ra and α vary
    """

    name: str
    ra_um: Array
    alpha: Array
    theta_h: Array
    theta_d: Array
    phi_d: Array
    value: Array
    spans_roughness: bool

    def __len__(self) -> int:
        return len(self.value)

    def part(self, index: NDArray[np.generic]) -> Table:
        columns = ("ra_um", "alpha", "theta_h", "theta_d", "phi_d", "value")
        return replace(self, **{name: getattr(self, name)[index] for name in columns})


def from_theory(metal: str = "Fe", count: int = 300_000, seed: int = 0) -> Table:
    """Entries of the wave-optics theory over Ra 0.05–6.3 µm and α 0.04–0.5.

    The correlation length follows from Ra and α and is kept at one wavelength or more. Half
    angles are drawn where the lobe is; entries below 1e-4 of their peak are left out.
    """
    from reconstruct.optics.material import complex_index

    n, k = complex_index(metal, theory.WAVELENGTH_UM)
    rng = np.random.default_rng(seed)
    draw = int(1.6 * count)
    ra = np.exp(rng.uniform(np.log(RA_RANGE_UM[0]), np.log(RA_RANGE_UM[1]), draw))
    alpha = np.exp(rng.uniform(np.log(ALPHA_RANGE[0]), np.log(ALPHA_RANGE[1]), draw))
    length = np.maximum(theory.correlation_of(ra, alpha), theory.WAVELENGTH_UM)
    alpha = theory.alpha_of(ra, length)
    # near-specular surfaces scatter as wide as their correlation length says
    width = np.maximum(alpha, theory.WAVELENGTH_UM / (np.pi * length))
    th = np.arctan(np.minimum(3.2 * width, 20) * np.sqrt(rng.random(draw)))
    td = np.arccos(1 - rng.random(draw) * (1 - np.cos(np.radians(80))))
    pd = rng.uniform(0, np.pi, draw)
    value = theory.reflectance(ra, length, th, td, pd, n, k)
    peak = theory.reflectance(ra, length, np.zeros(draw), td, pd, n, k)
    low = np.minimum(*theory.cosines(th, td, pd))
    good = np.flatnonzero((value > FLOOR * peak) & (low > np.cos(np.radians(85))))[:count]
    table = Table(f"generalised Harvey-Shack, {metal}", ra, alpha, th, td, pd, value, True)
    return table.part(good)


def _one_material(name: str, th: Array, td: Array, pd: Array, value: Array) -> Table:
    """A table of one material; its width α is where the lobe has fallen to 1/e."""
    low = np.minimum(*theory.cosines(th, td, pd))
    good = np.isfinite(value) & (value > 0) & (low > np.cos(np.radians(85)))
    if good.sum() < 50:
        raise ReconstructError(f"{name} has {int(good.sum())} usable entries; a fit needs 50")
    th, td, pd, value = (np.asarray(v[good], dtype=np.float64) for v in (th, td, pd, value))
    order = np.argsort(th)
    bins = np.array_split(order, min(60, len(order) // 10))
    centre = np.array([np.median(th[b]) for b in bins])
    level = np.array([np.median(value[b]) for b in bins])
    below = np.flatnonzero(level < level.max() / np.e)
    below = below[below > int(np.argmax(level))]
    alpha = float(np.tan(centre[below[0]])) if below.size else 0.5
    keep = value > FLOOR * level.max()
    ones = np.ones(int(keep.sum()))
    return Table(
        name, ones * 0.4, ones * np.clip(alpha, 0.003, 1.0), th[keep], td[keep], pd[keep],
        value[keep], False,
    )  # fmt: skip


def _read_csv(path: Path) -> Table:
    """Columns theta_h, theta_d, phi_d in degrees and reflectance in 1/sr; ra_um optional."""
    needed = ("theta_h", "theta_d", "phi_d", "reflectance")
    rows: list[list[float]] = []
    reader = csv.DictReader(read_text(path, MAX_TABLE).splitlines())
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        missing = [name for name in needed if name not in names]
        if missing:
            raise ReconstructError(
                f"{path} has no column '{missing[0]}'; expected {', '.join(needed)} "
                "(angles in degrees, reflectance in 1/sr) and optionally ra_um with correlation_um"
            )
        reader.fieldnames = names
        more = [name for name in ("ra_um", "correlation_um") if name in names]
        for row in reader:
            try:
                rows.append([float(row[name]) for name in (*needed, *more)])
            except (TypeError, ValueError) as error:
                raise ReconstructError(f"{path} line {reader.line_num}: not a number") from error
    except csv.Error as error:
        raise ReconstructError(f"{path} line {reader.line_num}: {error}") from error
    data = np.array(rows, dtype=np.float64).reshape(-1, len(needed) + len(more))
    data = data[(np.abs(data) < 1e12).all(axis=1)]
    th, td, pd = np.radians(data[:, :3]).T
    if len(more) == 2 and len(np.unique(data[:, 4])) > 1:
        alpha = theory.alpha_of(data[:, 4], data[:, 5])
        good = np.flatnonzero(np.isfinite(data).all(1) & (data[:, 3] > 0) & (data[:, 4] > 0))
        if len(good) < 50:
            raise ReconstructError(f"{path} has {len(good)} usable entries; a fit needs 50")
        return Table(path.name, data[:, 4], alpha, th, td, pd, data[:, 3], True).part(good)
    return _one_material(path.name, th, td, pd, data[:, 3])


def _read_merl(path: Path) -> Table:
    """A MERL file: green channel of 90 × 90 × 180 half and difference angles (Matusik 2003)."""
    raw = read_bytes(path, MAX_TABLE)
    dims = np.frombuffer(raw[:12], dtype="<i4") if len(raw) >= 12 else np.zeros(3)
    if tuple(dims) != _MERL:
        raise ReconstructError(
            f"{path} is no MERL file: its header says {tuple(map(int, dims))}, not {_MERL}"
        )
    cells = int(np.prod(_MERL))
    data = np.frombuffer(raw[12 : 12 + (len(raw) - 12) // 8 * 8], dtype="<f8")
    if data.size != 3 * cells:
        raise ReconstructError(f"{path} is cut short: {data.size} values instead of {3 * cells}")
    value = data[cells : 2 * cells].reshape(_MERL) * (1.15 / 1500)
    half, difference, turn = (np.arange(size) + 0.5 for size in _MERL)
    th, td, pd = np.meshgrid(
        (half / 90) ** 2 * np.pi / 2, difference / 90 * np.pi / 2, turn / 180 * np.pi, indexing="ij"
    )
    keep = np.random.default_rng(0).permutation(cells)[:300_000]
    return _one_material(path.name, *(v.ravel()[keep] for v in (th, td, pd, value)))


@told_as(ReconstructError)
def read(path: Path) -> Table:
    """A table from a file: `.csv`, or MERL's `.binary`."""
    return _read_merl(path) if path.suffix.lower() == ".binary" else _read_csv(path)
