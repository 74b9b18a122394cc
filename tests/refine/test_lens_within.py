"""The lens's blur where a shiny surface turns by more than its lobe from pixel to pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from simulated_parts import at_the_truth, errors, part, pictures, rig_of

from reconstruct.methods import Options, reconstruct
from reconstruct.refine import refinement
from reconstruct.refine.lens import Lens
from reconstruct.refine.problem import Material
from reconstruct.refine.pyramid import subdivided
from reconstruct.refine.subpixel import averaged
from reconstruct.refine.transport import update_shadows
from reconstruct.stack import Stack

BLUR_PX = 0.6


def blurred_pictures(name: str, size: int, times: int, alpha: float) -> Stack:
    """Pictures of a part through a lens, whose pixels average `times` × `times` finer ones."""
    fine = pictures(part(name, size * times, alpha=alpha))

    def seen(images: np.ndarray) -> np.ndarray:
        """(N, size, size) of (N, H, W)."""
        through = [cv2.GaussianBlur(image, (0, 0), BLUR_PX * times) for image in images]
        blocks = np.stack(through).reshape(len(images), size, times, size, times)
        return np.asarray(blocks.mean(axis=(2, 4)), np.float32)

    return Stack(
        fine.ids, seen(fine.radiance), seen(fine.clipped.astype(np.float32)) > 0.02,
        fine.noise_floor / times**2, fine.noise_gain / times**2,
    )  # fmt: skip


def test_what_lies_between_the_middles_of_pixels_blurs_too() -> None:
    """The model's own pictures, blurred on pixels a quarter as large, come back unblurred."""
    _, problem, u = at_the_truth(48)
    shiny = Material("ggx", 0.05, 0.05, ks=0.02)
    update_shadows(problem, u)
    fine, within = subdivided(problem, u, 4)
    update_shadows(fine, within)
    images = fine.render_rows(within, shiny, 0, fine.shape[0])
    through = [cv2.GaussianBlur(each, (0, 0), 4 * BLUR_PX) for each in np.moveaxis(images, -1, 0)]
    pictures, model = problem.pictures, problem.render_rows(u, shiny, 0, problem.shape[0])
    root = np.sqrt(averaged(np.stack(through, axis=-1), 4) + pictures.epsilon)
    pictures.code[:] = np.rint(root / pictures.scale).astype(np.uint16) << 2
    lens = Lens(problem, (BLUR_PX**2 + 1 / 12) ** 0.5)  # a pixel's side blurs as well

    def left(times: int) -> float:
        lens.sharpen(u, shiny, times)
        off = pictures.root() - np.sqrt(np.maximum(model, 0) + pictures.epsilon)
        return float(np.sqrt((off[6:-6, 6:-6] ** 2).mean()))

    assert left(2) < 0.6 * left(1)  # 0.007 and 0.014 of the root of radiance


def test_plateaus_beyond_narrow_walls_have_their_height(monkeypatch: pytest.MonkeyPatch) -> None:
    size, times = 160, 2
    stack, scene = blurred_pictures("stamped-3", size, times, 0.12), part("stamped-3", size)
    options = Options(
        height_mm=float(scene.points_mm[..., 2].mean()), start="halfvector", uncertainty=False
    )

    def found() -> float:
        surface = reconstruct("refine", stack, rig_of(size).camera, rig_of(size).lights, options)
        return float(errors(surface, scene)[0].std())

    within = found()
    monkeypatch.setattr(refinement, "WITHIN_ROUNDS", 0)
    assert within < 0.65 * found()  # 0.056 and 0.112 mm
