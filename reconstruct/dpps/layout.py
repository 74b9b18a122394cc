"""The published data layout: folders of 8-bit pictures with .mat maps, and list files.

``data_smallK/obI_J_K_r0/ob_I_J_K_no1.png … no96.png`` with ``depth_objIjJkK.mat`` (key
`position_map`, 128×128, height in field widths) and ``normal_objIjJkK.mat`` (key `normal_map`,
128×128×3, stored as (n + 1) / 2). A line of ``train_set.txt`` or ``test_set.txt`` names the three
prefixes, comma-separated: pictures, depth, normals. Background is 0 in pictures and height, and
(-1, -1, -1) in decoded normals.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

from reconstruct.dpps.dataset import published_pair
from reconstruct.dpps.drawing import Ask
from reconstruct.dpps.samples import Sample, draw
from reconstruct.errors import ReconstructError

LIGHTS = 96


def prefixes(i: int) -> tuple[str, str, str]:
    """Prefixes of pictures, depth and normals of object i, of view 1 and set 1."""
    folder = f"data_small1/ob{i}_1_1_r0"
    return f"{folder}/ob_{i}_1_1_no", f"{folder}/depth_obj{i}j1k1", f"{folder}/normal_obj{i}j1k1"


def write_sample(root: Path, sample: Sample, i: int) -> str:
    """Write one sample drawn with `keep_radiance` under 96 lights; returns its line."""
    grey, target = published_pair(sample)
    if len(grey) != LIGHTS:
        raise ReconstructError(f"the published layout holds {LIGHTS} pictures, not {len(grey)}")
    names = prefixes(i)
    (root / names[0]).parent.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(grey, 1):
        pixels = np.round(255 * image * sample.mask).astype(np.uint8)
        cv2.imwrite(str(root / f"{names[0]}{number}.png"), pixels)
    savemat(root / f"{names[1]}.mat", {"position_map": target[3].astype(np.float64)})
    normals = np.where(sample.mask[..., None], sample.normals, -1.0)
    savemat(root / f"{names[2]}.mat", {"normal_map": (normals.astype(np.float64) + 1) / 2})
    return ",".join(names)


def write_published(
    root: Path, count: int, ask: Ask, split: str = "train", say: Callable[[str], None] = print
) -> None:
    """Write samples 0 … count - 1 of a split and their list; finished samples are kept."""
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        names = prefixes(number + 1)
        if not (root / f"{names[2]}.mat").exists():  # the last file of a sample
            write_sample(root, draw(number, ask, split, keep_radiance=True), number + 1)
            say(f"sample {number + 1} of {count}")
        lines.append(",".join(names))
    name = "train_set.txt" if split == "train" else "test_set.txt"
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
