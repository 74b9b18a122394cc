"""An importer and an exporter."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from capture.exchange.source import Source
from reconstruct.surface import Surface


def find_stack(folder: Path) -> Source | None:
    """``stack.npy``, (N, H, W) uint16, with ``lights.lp``: unpacked beside it, once.

    None means: this is another layout, let the next importer look.
    """
    stack = folder / "stack.npy"
    if not stack.is_file():
        return None
    pictures = folder / "unpacked"
    pictures.mkdir(exist_ok=True)
    paths = []
    for led, picture in enumerate(np.load(stack, mmap_mode="r"), start=1):
        paths.append(pictures / f"led_{led:03d}.png")
        if not paths[-1].is_file():
            cv2.imwrite(str(paths[-1]), np.asarray(picture))
    files = {f"calibration/{name}": folder / name for name in ("lights.lp", "camera.json")}
    known = {name: path for name, path in files.items() if path.is_file()}
    return Source("npy-stack", folder, tuple(paths), files=known)


def write_xyz(surface: Surface, path: Path) -> None:
    """One point per line: x y z in mm."""
    np.savetxt(path, surface.points_mm()[surface.mask], fmt="%.6f")
