"""The numba kernel and the torch kernel are one set of formulas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_parts import part, pictures

from reconstruct.errors import ReconstructError
from reconstruct.integrate import integrate_normals, slopes
from reconstruct.methods import Options, device_named, reconstruct
from reconstruct.refine.batched import Batched
from reconstruct.refine.data import encode
from reconstruct.refine.dirt import local_equations
from reconstruct.refine.lens import Lens
from reconstruct.refine.pixel import SHADOW_BIT
from reconstruct.refine.problem import Loss, Material, Problem, kernel_on
from reconstruct.refine.search import best_normals
from reconstruct.refine.solve import State, gauss_newton

SHINY = Material("ggx", 0.15, 0.15, ks=0.6, g=0.4, kd=0.05, offset=1e-3)
BRUSHED = replace(SHINY, alpha_x=0.1, alpha_y=0.3, brush=(0.0, 0.6, 0.0, 0.0), anisotropic=True)
TURNED = replace(BRUSHED, model="beckmann", brush=(1.0, 0.0, 5.0, -4.0))


def problem(size: int = 24, lights: int = 40) -> tuple[Problem, np.ndarray]:
    """Pictures with shadows, clipping, a mask, lobes, a flat field and places of their own."""
    rng = np.random.default_rng(0)
    scene = part("field", size, lights)
    stack = pictures(scene)
    stack.clipped[3, 4:8] = True
    weight = np.ones((size, size), np.float32)
    weight[:3, :5] = 0.0
    flat = rng.uniform(0.9, 1.1, (5, 5, lights)).astype(np.float32)
    made = Problem(
        scene.rig.camera, scene.rig.lights, encode(stack), weight, flat, size / 5, threads=1
    )
    made.pictures.code |= (rng.random(made.pictures.code.shape) < 0.1) * np.uint16(SHADOW_BIT)
    made.traced = rng.uniform(0, 0.02, (6, 6, lights)).astype(np.float32)
    made.indirect_step = size / 6
    made.local = np.zeros((2, size, size), np.float32)
    made.local[:, 10:14] = rng.uniform(-0.2, 0.0, (2, 4, size))
    made.local[1] *= 0.1
    u = integrate_normals(scene.normals, scene.rig.camera, float(scene.points_mm[..., 2].mean()))
    return made, u + 1e-4 * rng.standard_normal(u.shape)


def close(a: np.ndarray, b: np.ndarray, relative: float = 2e-3) -> None:
    """Equal to a small part of the largest value."""
    assert np.isfinite(b).all()
    np.testing.assert_allclose(a, b, rtol=relative, atol=relative * float(np.abs(a).max()))


def layers(maps: np.ndarray) -> np.ndarray:
    """Maps of any number of leading axes as one stack of images."""
    return maps.reshape(-1, *maps.shape[-2:])


@pytest.mark.parametrize("material", [SHINY, replace(SHINY, model="beckmann"), BRUSHED, TURNED])
@pytest.mark.parametrize("loss", [Loss("huber", 0.02), Loss("geman", 0.05)])
def test_numba_and_torch_agree(material: Material, loss: Loss) -> None:
    fit, u = problem()
    fit.lights = replace(fit.lights, lobe=np.linspace(0.5, 2.0, len(fit.lights)))
    systems, images, terms, sizes = [], [], [], []
    for kernel in (kernel_on("cpu"), Batched("cpu")):
        fit.kernel = kernel
        systems.append(fit.evaluate(u, material, loss))
        images.append(fit.render_rows(u, material, 2, 11))
        terms.append(local_equations(fit, u, material, loss))
        lens = Lens(fit, 0.4)
        sizes.append(lens.update(u, material, loss))
    first, second = systems
    for name in ("loss", "material_gradient", "material_matrix"):
        close(getattr(first, name), getattr(second, name))
    for name in ("sums", "cross"):
        one, other = getattr(first, name), getattr(second, name)
        for a, b in zip(layers(one), layers(other), strict=True):
            close(a, b)
    close(*images)
    for a, b in zip(terms[0][0], terms[1][0], strict=True):
        close(a, b)
    assert sizes[0] == pytest.approx(sizes[1], abs=1e-3)


def by_slopes(fit: Problem, u: np.ndarray) -> np.ndarray:
    """Traced light with derivatives, some of it so that it would fall below zero."""
    rng = np.random.default_rng(5)
    shape, n = fit.shape, len(fit.pictures)
    p, q = slopes(u, fit.jacobians)
    traced = np.zeros((*shape, 3 * n + 2), np.float32)
    traced[..., :n] = rng.uniform(0, 0.02, (*shape, n))
    traced[..., n : 3 * n] = rng.normal(0, 0.05, (*shape, 2 * n))
    traced[..., 3 * n] = p + rng.normal(0, 0.1, shape)
    traced[..., 3 * n + 1] = q + rng.normal(0, 0.1, shape)
    return traced


@pytest.mark.parametrize("material", [SHINY, TURNED])
def test_both_take_light_between_places_by_slopes(material: Material) -> None:
    fit, u = problem()
    fit.traced = by_slopes(fit, u)
    loss = Loss("huber", 0.02)
    systems = []
    for kernel in (kernel_on("cpu"), Batched("cpu")):
        fit.kernel = kernel
        systems.append(fit.evaluate(u, material, loss))
    close(systems[0].loss, systems[1].loss)
    for a, b in zip(layers(systems[0].sums), layers(systems[1].sums), strict=True):
        close(a, b)


def test_the_gradient_holds_light_between_places() -> None:
    fit, u = problem()
    fit.local = np.zeros((2, 1, 1), np.float32)
    fit.traced = by_slopes(fit, u)
    n = len(fit.pictures)
    fit.traced[..., :n] += 0.1  # away from zero, where it has a kink
    fit.pictures = replace(fit.pictures, noise=1e3)  # weights move with that light otherwise
    p, q = slopes(u, fit.jacobians)
    fit.traced[..., 3 * n], fit.traced[..., 3 * n + 1] = p, q
    loss = Loss("geman", 0.5)
    step = 3e-3 * np.random.default_rng(6).standard_normal(u.shape) * fit.camera.pixel_mm(0.0) / 420
    ahead, behind = (fit.evaluate(u + sign * step, SHINY, loss).cost for sign in (1, -1))
    slope = float(np.vdot(2 * fit.gradient(fit.evaluate(u, SHINY, loss).sums), step))
    trusted = (ahead - behind) / 2
    assert slope == pytest.approx(trusted, rel=0.05)


def test_both_find_the_same_normals() -> None:
    fit, u = problem(size=16, lights=24)
    wanted = np.zeros(fit.shape, bool)
    wanted[4:9, 2:10] = True
    ends = []
    for kernel in (kernel_on("cpu"), Batched("cpu")):
        fit.kernel = kernel
        ends.append(best_normals(fit, u, SHINY, Loss("huber", 0.02), wanted))
    normals, least = ends[0]
    assert np.isinf(least[~wanted]).all()
    np.testing.assert_allclose(ends[1][1][wanted], least[wanted], rtol=0.02)
    cosine = (normals * ends[1][0]).sum(0)[wanted]
    assert np.median(np.degrees(np.arccos(np.clip(cosine, -1, 1)))) < 0.1


def test_steps_of_both_lead_to_the_same_surface() -> None:
    ends = []
    for kernel in (kernel_on("cpu"), Batched("cpu")):
        fit, u = problem()
        fit.kernel = kernel
        ends.append(gauss_newton(fit, State(u, SHINY), Loss("huber", 0.02), 0.0, rounds=3))
    assert ends[1].cost == pytest.approx(ends[0].cost, rel=1e-3)
    heights = [fit.height_mm(end.u) for end in ends]
    assert np.abs(heights[0] - heights[1]).max() < 0.005


def test_a_device_is_there_or_refused() -> None:
    assert device_named("cpu") == "cpu"
    assert device_named("auto") in ("cpu", "cuda")
    with pytest.raises(ReconstructError, match="abacus"):
        device_named("abacus")


def test_a_gpu_takes_all_rows_at_once() -> None:
    fit, u = problem()
    systems = []
    for device in ("cpu", "cpu:0"):  # the latter's kernel is torch's
        fit.device, fit.threads = device, 3
        fit.kernel = kernel_on(device)
        systems.append(fit.evaluate(u, SHINY, Loss("huber", 0.02)))
    assert fit.bands() == [(0, fit.shape[0])]
    close(systems[0].loss, systems[1].loss)


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Tensors as small as a test's are done before a second thread has begun."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("one_torch_thread")
def test_a_part_is_refined_alike_by_torch() -> None:
    scene = part("field-3", 24, 24)
    ends = []
    for device in ("cpu", "cpu:0"):
        options = Options(
            height_mm=float(scene.points_mm[..., 2].mean()), start="halfvector",
            uncertainty=False, device=device,
        )  # fmt: skip
        ends.append(
            reconstruct("refine", pictures(scene), scene.rig.camera, scene.rig.lights, options)
        )
    residuals = [float(end.summary["residual"]) for end in ends]
    assert residuals[1] == pytest.approx(residuals[0], rel=0.05)
    assert np.abs(ends[0].height_mm - ends[1].height_mm).mean() < 0.02
