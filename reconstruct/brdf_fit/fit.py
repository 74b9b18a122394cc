"""Fit the reflectance network to a table, and say how well it fits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reconstruct.brdf_fit.network import BrdfNetwork, features
from reconstruct.brdf_fit.tables import Table


@dataclass
class Fit:
    """A fitted network and its error on entries it has not seen."""

    network: BrdfNetwork
    median_error: float
    p90_error: float
    count: int
    highest_albedo: float

    def figures(self) -> dict[str, Any]:
        return {
            "median_relative_error": round(self.median_error, 5),
            "p90_relative_error": round(self.p90_error, 5),
            "held_out_entries": self.count,
            "highest_albedo": round(self.highest_albedo, 4),
        }


def _inputs(table: Table) -> torch.Tensor:
    columns = (
        table.ra_um, table.alpha, np.sin(table.theta_h) ** 2, np.cos(table.theta_d),
        np.cos(table.phi_d) ** 2,
    )  # fmt: skip
    return features(*(torch.from_numpy(np.asarray(c, dtype=np.float32)) for c in columns))


def albedo(
    network: BrdfNetwork, ra_um: float, alpha: float, incidence_deg: float, count: int = 20_000
) -> float:
    """Share of a beam that the network's lobe reflects, by sampling half vectors as Beckmann."""
    rng = np.random.default_rng(0)
    u, phi = rng.random(count), rng.uniform(0, 2 * np.pi, count)
    width = 1.3 * alpha
    tan2 = -(width**2) * np.log1p(-u * 0.99999)
    cos_h = 1 / np.sqrt(1 + tan2)
    sin_h = np.sqrt(1 - cos_h**2)
    h = np.stack([sin_h * np.cos(phi), sin_h * np.sin(phi), cos_h], -1)
    density = np.exp(-tan2 / width**2) / (np.pi * width**2 * cos_h**4) * cos_h
    angle = np.radians(incidence_deg)
    v = np.array([np.sin(angle), 0, np.cos(angle)])
    vh = h @ v
    light = 2 * vh[:, None] * h - v
    good = (vh > 1e-3) & (light[:, 2] > 0)
    th, td = np.arccos(cos_h), np.arccos(np.clip(vh, -1, 1))
    # difference azimuth: γ_i - γ_s = -2 sin θ_h sin θ_d cos φ_d (see theory.cosines)
    spread = 2 * sin_h * np.sqrt(np.maximum(1 - vh**2, 1e-12))
    cos_p = np.clip((v[2] - light[:, 2]) / np.maximum(spread, 1e-9), -1, 1)
    value = network.evaluate(ra_um, alpha, th, td, np.arccos(cos_p))
    weight = value * light[:, 2] * 4 * vh / density
    return float(np.where(good, weight, 0.0).mean())


def fit(
    table: Table,
    minutes: float = 3.0,
    seed: int = 0,
    say: Callable[[str], None] = print,
    steps: int | None = None,
) -> Fit:
    """Fit to nine tenths of a table (whole roughnesses are held out where it spans several).

    Minimises a robust relative error; the learning rate falls as a cosine over the time given,
    or over a number of steps, which gives the same fit on a slow machine as on a fast one.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    if table.spans_roughness:  # hold out bands of log Ra, so that nothing alike was seen
        held = np.floor(np.log(table.ra_um) * 20).astype(int) % 10 == 0
        if not 0.02 < held.mean() < 0.5:
            held = rng.random(len(table)) < 0.1
    else:
        held = rng.random(len(table)) < 0.1
    x, y = _inputs(table), torch.from_numpy(np.log(table.value).astype(np.float32))
    mask = torch.from_numpy(held)
    x_train, y_train, x_held, y_held = x[~mask], y[~mask], x[mask], y[mask]
    network = BrdfNetwork()
    with torch.no_grad():  # start from the best linear fit: the features are nearly the answer
        ones = torch.cat([x_train, torch.ones(len(x_train), 1)], -1)
        ridge = ones.T @ ones + 1e-3 * len(ones) * torch.eye(ones.shape[1])
        start = torch.linalg.solve(ridge, ones.T @ y_train)
        network.last.weight[0, -x.shape[1] :] = start[:-1]
        network.last.bias[0] = start[-1]
        network.last.weight[0, : -x.shape[1]] *= 0.1
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    begin, step, shown = time.monotonic(), 0, 0.0
    while True:
        elapsed = time.monotonic() - begin
        done = elapsed / (60 * minutes) if steps is None else step / steps
        if done >= 1:
            break
        rate = 1e-2 * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = rate
        pick = torch.from_numpy(rng.integers(0, len(x_train), 4096))
        error = network.log_value(x_train[pick]) - y_train[pick]
        loss = torch.sqrt(error * error + 1e-4).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        step += 1
        if elapsed - shown > 15:
            shown = elapsed
            say(f"step {step}: mean log error {loss.item():.4f}")
    network.eval()
    with torch.no_grad():
        relative = torch.expm1(network.log_value(x_held) - y_held).abs().numpy()
    highest = max(
        albedo(network, ra, alpha, angle)
        for ra, alpha in _materials(table)
        for angle in (0.0, 30.0, 60.0)
    )
    if highest > 1.02:
        say(f"note: the fitted lobe reflects up to {highest:.2f} of the light it receives")
    return Fit(
        network, float(np.median(relative)), float(np.quantile(relative, 0.9)), len(relative),
        highest,
    )  # fmt: skip


def _materials(table: Table) -> list[tuple[float, float]]:
    """A few roughnesses the table is about."""
    if not table.spans_roughness:
        return [(float(table.ra_um[0]), float(table.alpha[0]))]
    return [(ra, alpha) for ra in (0.1, 0.4, 1.6, 6.3) for alpha in (0.06, 0.15, 0.4)]


def as_material(network: BrdfNetwork, ra_um: float, alpha: float, metal: str = "Fe") -> Any:
    """The renderer's `Material` nearest to the network at one roughness: a few Beckmann lobes.

    Lobe weights are a non-negative least-squares fit of relative errors over half and difference
    angles (to 60°). Returns the material and the median relative error of that fit.
    """
    from scipy.optimize import nnls

    from reconstruct.brdf_fit.theory import cosines
    from reconstruct.optics import brdf
    from reconstruct.optics.material import Lobe, Material, complex_index

    n, k = complex_index(metal)
    widths = alpha * np.array([0.6, 0.8, 1.0, 1.25, 1.6, 2.2])
    th, td, pd = np.meshgrid(
        np.arctan(alpha * np.linspace(0.02, 2.2, 14)), np.radians([5, 20, 35, 50]),
        np.radians([10, 50, 90]), indexing="ij",
    )  # fmt: skip
    gamma_i, gamma_s = cosines(th, td, pd)
    want = network.evaluate(ra_um, alpha, th, td, pd).astype(np.float64)
    good = (gamma_i > 0.15) & (gamma_s > 0.15)
    columns = []
    for width in widths:
        tan2 = np.tan(th) ** 2
        d = np.exp(-tan2 / width**2) / (np.pi * width**2 * np.cos(th) ** 4)
        fresnel = brdf.conductor_fresnel(torch.from_numpy(np.cos(td)), n, k).numpy()
        columns.append(fresnel * d / (4 * gamma_i * gamma_s))
    matrix = np.stack([c[good] / want[good] for c in columns], -1)
    weights, _ = nnls(matrix, np.ones(len(matrix)))
    error = float(np.median(np.abs(matrix @ weights - 1)))
    lobes = tuple(
        Lobe(float(w), None, n, k, float(s), "beckmann")
        for w, s in zip(widths, weights, strict=True)
        if s > 1e-3
    )
    return Material(lobes), error
