"""Lens blur: the camera sees each picture through a point-spread function, the model does not.

A pixel of a sharp edge or of a fine groove mixes the light of its neighbours; fitted as it is, it
gives flattened slopes. What the blur does to the model's own pictures, D = G∗M − M, is taken from
the captured ones as the surface moves (van Cittert 1931, on the model instead of the data). A few
rounds restore what the lens lets pass; many would raise noise at the finest scale, so few it is.
The blur is a Gaussian with a standard deviation that is fitted along: to first order G∗M changes
by ½∇²M per unit of variance, and Gauss-Newton over (variance, material), each pixel's slopes
eliminated, tells it from the fit's residuals.

M is the light of pixels' middles. Across a narrow wall a shiny part turns by more than its lobe is
wide from one pixel to the next, and what blurs there is what lies between the middles: where much
is left, the part's own light is rendered and blurred on finer pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.refine import kernel
from reconstruct.refine.data import CHANNELS, blurred, take_light
from reconstruct.refine.pixel import N_MATERIAL
from reconstruct.refine.problem import Loss, Material, Problem
from reconstruct.refine.subpixel import excess

Array = NDArray[np.float64]
MAX_SIGMA_PX = 1.5
# `cv2.Laplacian` takes four channels at most and eighteen times as long.
LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
BAND_ROWS = 48
# So many rows in all tell the blur, in bands of so many.
UPDATE_ROWS, UPDATE_BAND = 64, 32


def _laplacian(images: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty_like(images)
    for first in range(0, images.shape[2], CHANNELS):
        part = np.ascontiguousarray(images[..., first : first + CHANNELS])
        filtered = cv2.filter2D(part, -1, LAPLACIAN, borderType=cv2.BORDER_REFLECT_101)
        out[..., first : first + CHANNELS] = filtered.reshape(part.shape)
    return out


def _change(images: NDArray[np.float32], inside: NDArray[np.float32], sigma: float) -> NDArray:
    """What blur does to pictures, as if the part went on beyond the mask as at its border."""
    if inside.all():
        return blurred(images, sigma) - images
    share = np.maximum(blurred(inside[..., None], sigma), 1e-3)
    return np.asarray((blurred(images, sigma) / share - images) * inside[..., None])


class Lens:
    """The blur of one problem's pictures and its removal.

    Attributes
    ----------
    sigma_px : standard deviation of the point-spread function
    captured : codes as captured, from which the blur is taken: a copy, before any is
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.captured = problem.pictures.code
        self.sigma_px = 0.0
        # Beyond the mask nothing is known: there the part goes on as it is.
        self.inside = np.asarray(problem.weight > 0, np.float32)

    def _bands(self, size: int) -> list[tuple[int, int]]:
        height = self.problem.shape[0]
        return [(r, min(r + size, height)) for r in range(0, height, size)]

    def _rendered(
        self, u: Array, material: Material, first: int, last: int, halo: int
    ) -> tuple[NDArray[np.float32], slice, slice]:
        """The model's pictures of some rows and `halo` more on both sides."""
        top, bottom = max(first - halo, 0), min(last + halo, self.problem.shape[0])
        images = self.problem.render_rows(u, material, top, bottom)
        return images, slice(first - top, last - top), slice(top, bottom)

    def _seen(self, images: NDArray[np.float32], times: int) -> NDArray[np.float32]:
        """Pictures on pixels `times` finer through the lens, before they are averaged.

        `sigma_px` was found with the pixel's own extent in it, whose variance is 1/12 px². The
        average adds its share of that, (1 − 1/times²)/12, so here it is left out.
        """
        inside = self.inside.repeat(times, 0).repeat(times, 1)
        variance = max(self.sigma_px**2 - (1 - times**-2) / 12, 0.0)
        return images + _change(images, inside, max(times * variance**0.5, 0.1))

    def sharpen(self, u: Array, material: Material, times: int = 1) -> None:
        """Take from the captured pictures what blur does to the model's.

        With the part's own light on pixels `times` finer.
        """
        pictures = self.problem.pictures
        sigma = self.sigma_px
        between = excess(self.problem, u, material, times, self._seen, False) if times > 1 else None

        def band(rows: tuple[int, int]) -> None:
            first, last = rows
            images, here, around = self._rendered(
                u, material, first, last, int(np.ceil(3.5 * sigma))
            )
            change = _change(images, self.inside[around], sigma)[here]
            if between is not None:
                change += between[first:last]
            take_light(self.captured[first:last], pictures.scale, change, pictures.code[first:last])

        self.problem.mapped(band, self._bands(BAND_ROWS))

    def update(self, u: Array, material: Material, loss: Loss) -> float:
        """A Gauss-Newton step of the blur's variance; what share of the cost it promises to take.

        To first order, beyond what the material alone would take, and of the places that tell it.
        """
        problem = self.problem
        size = N_MATERIAL + 1
        variance = self.sigma_px**2
        level, finish, robust = problem.inputs(material, loss)

        def band(rows: tuple[int, int]) -> Array:
            first, last = rows
            sigma = max(self.sigma_px, 0.3)
            images, here, around = self._rendered(u, material, first, last, 6)
            change = 0.5 * _laplacian(blurred(images, sigma))[here]
            edge = cv2.erode(self.inside[around], np.ones((5, 5)))[here]
            inner = level._replace(weight=_placed(edge, problem.shape, first))
            return kernel.lens_rows(rows, u, inner, finish, robust, np.ascontiguousarray(change))

        every = max(1, problem.shape[0] // UPDATE_ROWS)
        some = self._bands(UPDATE_BAND)[every // 2 :: every]
        total = np.sum(problem.mapped(band, some), axis=0)
        matrix, right = total[: size * size].reshape(size, size), total[size * size : -1]
        if not material.anisotropic:
            keep = [0, 1, 3, 4, 5, 6]  # without the second width, which is the first one
            matrix, right = matrix[np.ix_(keep, keep)], right[keep]
        if matrix[0, 0] <= 0:
            return 0.0
        damped = matrix + np.diag(1e-6 * np.diag(matrix) + 1e-20)
        steps = np.linalg.solve(damped, right)
        without = np.linalg.solve(damped[1:, 1:], right[1:])
        step = float(np.clip(steps[0], -0.3, 0.3))
        self.sigma_px = float(np.clip(variance + step, 0.0, MAX_SIGMA_PX**2)) ** 0.5
        return float(right @ steps - right[1:] @ without) / max(float(total[-1]), 1e-300)


def _placed(rows: NDArray[np.float32], shape: tuple[int, int], first: int) -> NDArray[np.float32]:
    """Some rows of an image that is zero elsewhere."""
    out = np.zeros(shape, np.float32)
    out[first : first + len(rows)] = rows
    return out
