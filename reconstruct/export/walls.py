"""A mesh with walls: between the pieces of a part, and from its border down to the stage.

A reconstruction claims no wall that is narrower than a pixel: its mesh is open there. Whoever wants
a closed body, to mill, print or compare volumes, asks for walls; they are drawn, not measured.
Each stands upright halfway between the two pixels that it parts.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from reconstruct.errors import ReconstructError
from reconstruct.export.mesh import Mesh
from reconstruct.nearest import nearest_known
from reconstruct.surface import Flag, Surface

STAGE, UNSEEN = 0, -1


def _pieces(surface: Surface) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """(H, W) label of the piece (0: stage, -1: unseen) and height; edges go to the nearest piece.

    The stage counts where heights are absolute: of a part that was found on it.
    """
    known = surface.mask
    if not known.any():
        raise ReconstructError("the surface has no valid pixel: there is nothing to export")
    _, labels = cv2.connectedComponents(known.astype(np.uint8), connectivity=4)
    height = surface.height_mm.astype(float)
    edge = ~known & ((surface.flags & int(Flag.EDGE)) != 0)
    if edge.any():
        nearest = nearest_known(known)[edge]
        labels[edge] = labels.ravel()[nearest]
        height[edge] = height.ravel()[nearest]
    stage = (surface.flags & int(Flag.OUTSIDE)) != 0
    on_stage = "pieces" in surface.summary
    out = np.where(labels > 0, labels, STAGE if on_stage else UNSEEN).astype(np.int32)
    if on_stage:
        out[(labels == 0) & ~stage] = UNSEEN
    height[out == STAGE] = 0.0
    return out, height


class _Builder:
    """Vertices, made once each, and the faces between them."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float, float]] = []
        self.faces: list[tuple[int, int, int]] = []
        self._number: dict[Hashable, int] = {}

    def vertex(self, key: Hashable, x: float, y: float, z: float) -> int:
        number = self._number.get(key)
        if number is None:
            number = self._number[key] = len(self.points)
            self.points.append((x, y, z))
        return number

    def fan(self, corners: list[int]) -> None:
        for b, c in pairwise(corners[1:]):
            self.faces.append((corners[0], b, c))

    def wall(self, p: tuple[int, int], q: tuple[int, int]) -> None:
        """Between two edges at two heights each; what they share is left out."""
        for face in ((p[0], p[1], q[1]), (p[0], q[1], q[0])):
            if len(set(face)) == 3:
                self.faces.append(face)


def closed_mesh(surface: Surface) -> Mesh:
    """Triangles of a surface with walls; of a part on the stage a closed body that stands on it.

    What was not seen (no signal) stays open.

    Raises
    ------
    ReconstructError
        the surface has no height anywhere
    """
    labels, height = _pieces(surface)
    points = surface.camera.points_at_height(np.where(np.isfinite(height), height, 0.0))
    x, y = points[..., 0], points[..., 1]
    build = _Builder()
    base = "pieces" in surface.summary
    width = labels.shape[1]
    flat_label, flat_z = labels.ravel(), height.ravel()
    flat_x, flat_y = x.ravel(), y.ravel()

    def top(p: int) -> int:
        return build.vertex(("p", p), flat_x[p], flat_y[p], flat_z[p])

    def foot(p: int) -> int:
        return build.vertex(("f", p), flat_x[p], flat_y[p], 0.0)

    def mid(p: int, q: int, ground: bool = False) -> int:
        """Halfway from pixel p to q, at the height of p or on the ground."""
        px, py = 0.5 * (flat_x[p] + flat_x[q]), 0.5 * (flat_y[p] + flat_y[q])
        if ground or flat_label[p] == STAGE:
            return build.vertex(("g", min(p, q), max(p, q)), px, py, 0.0)
        return build.vertex(("m", p, q), px, py, flat_z[p])

    def middle(corners: list[int], run: list[int], ground: bool = False) -> int:
        """The middle of a square, at the mean height of a run of its corners."""
        mx, my = float(flat_x[corners].mean()), float(flat_y[corners].mean())
        if ground or flat_label[run[0]] == STAGE:
            return build.vertex(("gc", corners[0]), mx, my, 0.0)
        return build.vertex(("c", corners[0], run[0]), mx, my, float(flat_z[run].mean()))

    def squares(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(n, 4) corners of squares, counter-clockwise seen from the camera."""
        rows, columns = np.nonzero(chosen)
        a = rows * width + columns
        return np.stack([a, a + width, a + width + 1, a + 1], axis=-1)

    a, b, c, d = labels[:-1, :-1], labels[:-1, 1:], labels[1:, :-1], labels[1:, 1:]
    alike = (a == b) & (a == c) & (a == d)
    for corners in squares(alike & (a > 0)).tolist():
        build.fan([top(p) for p in corners])
        if base:
            build.fan([foot(p) for p in reversed(corners)])
    for corners in squares(~alike & (np.maximum.reduce([a, b, c, d]) > 0)).tolist():
        runs = _runs(corners, flat_label)
        for k, run in enumerate(runs):
            before, after = runs[k - 1][-1], runs[(k + 1) % len(runs)][0]
            label = flat_label[run[0]]
            if label > 0:
                inner = [mid(run[0], before), *(top(p) for p in run), mid(run[-1], after)]
                under = [mid(run[0], before, True), *(foot(p) for p in run),
                         mid(run[-1], after, True)]  # fmt: skip
                if len(runs) > 2:
                    inner.append(middle(corners, run))
                    under.append(middle(corners, run, True))
                build.fan(inner)
                if base:
                    build.fan(under[::-1])
            other = runs[(k + 1) % len(runs)]
            if label == UNSEEN or flat_label[other[0]] == UNSEEN:
                continue
            here = (mid(run[-1], after), mid(after, run[-1]))
            if len(runs) > 2:
                build.wall(here, (middle(corners, run), middle(corners, other)))
            elif k == 0:
                build.wall(here, (mid(run[0], before), mid(before, run[0])))
    return Mesh(np.array(build.points).reshape(-1, 3), np.array(build.faces, np.int64))


def _runs(corners: list[int], labels: NDArray[np.int32]) -> list[list[int]]:
    """Corners of a square in runs of one label each, around it."""
    start = next(k for k in range(4) if labels[corners[k]] != labels[corners[k - 1]])
    runs: list[list[int]] = []
    for k in range(4):
        p = corners[(start + k) % 4]
        if runs and labels[runs[-1][-1]] == labels[p]:
            runs[-1].append(p)
        else:
            runs.append([p])
    return runs
