"""The published data layout: folders of 8-bit pictures with .mat maps, and list files.

``data_smallK/obI_J_K_r0/ob_I_J_K_no1.png … no96.png`` with ``depth_objIjJkK.mat`` (key
`position_map`, 128×128, height in field widths) and ``normal_objIjJkK.mat`` (key `normal_map`,
128×128×3, stored as (n + 1) / 2). A line of ``train_set.txt`` or ``test_set.txt`` names the three
prefixes, comma-separated: pictures, depth, normals. Background is 0 in pictures and height, and
(-1, -1, -1) in decoded normals; reading turns that into a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from intake.errors import told_as
from intake.files import read_text
from intake.matlab import read_mat
from intake.pictures import read_picture
from reconstruct.dpps.dataset import Pair, published_pair
from reconstruct.dpps.drawing import Ask
from reconstruct.dpps.samples import Sample, draw
from reconstruct.errors import ReconstructError

LIGHTS = 96


def prefixes(i: int, j: int, k: int) -> tuple[str, str, str]:
    """Prefixes of pictures, depth and normals of object i, view j, set k."""
    folder = f"data_small{k}/ob{i}_{j}_{k}_r0"
    return (
        f"{folder}/ob_{i}_{j}_{k}_no",
        f"{folder}/depth_obj{i}j{j}k{k}",
        (f"{folder}/normal_obj{i}j{j}k{k}"),
    )


def write_sample(root: Path, sample: Sample, i: int, j: int = 1, k: int = 1) -> str:
    """Write one sample drawn with `keep_radiance` under 96 lights; returns its line."""
    grey, target = published_pair(sample)
    if len(grey) != LIGHTS:
        raise ReconstructError(f"the published layout holds {LIGHTS} pictures, not {len(grey)}")
    names = prefixes(i, j, k)
    (root / names[0]).parent.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(grey, 1):
        pixels = np.round(255 * image * sample.mask).astype(np.uint8)
        cv2.imwrite(str(root / f"{names[0]}{number}.png"), pixels)
    savemat(root / f"{names[1]}.mat", {"position_map": target[3].astype(np.float64)})
    normals = np.where(sample.mask[..., None], sample.normals, -1.0)
    savemat(root / f"{names[2]}.mat", {"normal_map": (normals.astype(np.float64) + 1) / 2})
    return ",".join(names)


def _map(path: Path, key: str) -> NDArray[Any]:
    values = read_mat(path, key)
    if not np.all(np.abs(values) < 1e6):
        raise ReconstructError(f"'{key}' of {path} holds what is no number")
    return values.astype(np.float32)


@told_as(ReconstructError)
def read_lines(path: Path) -> list[tuple[str, str, str]]:
    """The prefixes in a list file; raises `ReconstructError` naming a bad line."""
    out = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        parts = tuple(part.strip() for part in line.split(","))
        if len(parts) != 3:
            raise ReconstructError(f"{path} line {number} has {len(parts)} prefixes; expected 3")
        out.append((parts[0], parts[1], parts[2]))
    return out


@told_as(ReconstructError)
def read_sample(root: Path, names: tuple[str, str, str]) -> Pair:
    """Pictures (96, H, W) in [0, 1] and target (5, H, W): normal, height, mask."""
    images: list[NDArray[Any]] = []
    for number in range(1, LIGHTS + 1):
        path = root / f"{names[0]}{number}.png"
        image = read_picture(path).pixels
        if image.ndim == 3:
            image = image.mean(axis=2)
        if images and image.shape != images[0].shape:
            raise ReconstructError(f"{path} is of another size than the first picture")
        images.append(image / (65535 if image.dtype == np.uint16 else 255))
    normals = 2 * _map(root / f"{names[2]}.mat", "normal_map") - 1
    height = _map(root / f"{names[1]}.mat", "position_map")
    mask: NDArray[np.bool_] = np.asarray((normals > -0.999).any(-1))
    pictures = np.stack(images).astype(np.float32)
    if pictures.shape[1:] != height.shape or normals.shape != (*height.shape, 3):
        raise ReconstructError(f"pictures and maps of {names[0]} differ in size")
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    target = np.concatenate([np.moveaxis(normals, -1, 0), height[None], mask[None]]) * mask
    return pictures.astype(np.float32), target.astype(np.float32)


def write_published(
    root: Path, count: int, ask: Ask, split: str = "train", say: Callable[[str], None] = print
) -> None:
    """Write samples 0 … count - 1 of a split and their list; finished samples are kept."""
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        names = prefixes(number + 1, 1, 1)
        if not (root / f"{names[2]}.mat").exists():  # the last file of a sample
            write_sample(root, draw(number, ask, split, keep_radiance=True), number + 1)
            say(f"sample {number + 1} of {count}")
        lines.append(",".join(names))
    name = "train_set.txt" if split == "train" else "test_set.txt"
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
