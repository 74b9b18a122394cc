"""Processor seconds and peak memory of whole `rig reconstruct` commands, beside another checkout.

Usage: python benchmarks/reconstruct_speed.py [--baseline DIR/.venv/bin/rig] [--parts blob stamped]
                                              [--sizes 256 512 1024 2448x2048] [--method refine]

Every command runs twice in both checkouts, one after the other, so that compiled kernels come from
the cache; the second run counts. Larger pictures are captures enlarged by a cubic spline, with
fresh sensor noise. Prints Markdown: user and system time of the process and its children.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from calib.camera import Camera

CAPTURES = Path(__file__).resolve().parents[1].parent / "shared" / "captures"
WELL_E, FULL = 12_000.0, 65535.0


@dataclass(frozen=True)
class Spent:
    """What a command took."""

    processor_s: float
    peak_gb: float


def enlarged(source: Path, target: Path, width: int, height: int) -> None:
    """An exchange folder at another size, with the noise of a sensor of 12,000 electrons.

    Enlarged by a whole factor, and cut to the size about the middle.
    """
    target.mkdir(parents=True)
    rng = np.random.default_rng(0)
    camera = Camera.read(source / "camera.json")
    factor = -(-max(width, height) // max(camera.shape))
    x, y = (camera.width * factor - width) // 2, (camera.height * factor - height) // 2
    for path in sorted(source.glob("*.png")):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32)
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        image = image[y : y + height, x : x + width]
        sigma = FULL * np.sqrt(np.maximum(image, 0) / FULL / WELL_E)
        image += rng.standard_normal(image.shape, dtype=np.float32) * sigma
        cv2.imwrite(str(target / path.name), np.clip(image, 0, FULL).astype(np.uint16))
    for name in ("lights.lp", "power.csv", "exposure.json"):
        if (source / name).is_file():
            (target / name).write_bytes((source / name).read_bytes())
    camera.subdivided(factor).cropped(x, y, width, height).write(target / "camera.json")


def mean_height_mm(source: Path) -> float:
    with np.load(source / "truth.npz") as truth:
        return float(np.nanmean(truth["position"][..., 2]))


def run(command: list[str]) -> Spent:
    """Run a command and say what it took."""
    watched = (
        "import resource, subprocess, sys, json\n"
        "code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([code, u.ru_utime + u.ru_stime, u.ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched, *command], capture_output=True, text=True, check=True
    )
    code, seconds, peak = json.loads(done.stdout)
    if code != 0:
        raise SystemExit(f"{' '.join(command)} ended with {code}: {done.stderr[-500:]}")
    return Spent(seconds, peak / (1e9 if sys.platform == "darwin" else 1e6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, help="the rig command of another checkout")
    parser.add_argument("--parts", nargs="*", default=["blob", "stamped", "steep"])
    parser.add_argument("--sizes", nargs="*", default=["256"])
    parser.add_argument("--method", default="refine")
    asked = parser.parse_args()
    ours = Path(sys.executable).with_name("rig")
    print(f"| command | ours, s | GB | {asked.baseline or '–'}, s | GB | ratio |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for part in asked.parts:
            height = f"{mean_height_mm(CAPTURES / part):.6f}"
            for size in asked.sizes:
                workspace = Path(scratch) / f"{part}-{size}"
                workspace.mkdir()
                folder = CAPTURES / part
                if size != "256":
                    folder = Path(scratch) / f"{part}-{size}-pictures"
                    sides = [int(side) for side in size.split("x")]
                    enlarged(CAPTURES / part, folder, sides[0], sides[-1])
                subprocess.run(
                    [ours, "import", folder, "--part", part, "--workspace", workspace],
                    check=True, stdout=subprocess.DEVNULL,
                )  # fmt: skip
                recording = next((workspace / "parts" / part).iterdir())
                spent = []
                for number, rig in enumerate(r for r in (ours, asked.baseline) if r is not None):
                    for turn in range(2):
                        out = Path(scratch) / f"{part}-{size}-{number}-{turn}"
                        spent_now = run(
                            [str(rig), "reconstruct", str(recording), "--height", height,
                             "--method", asked.method, "--out", str(out)]
                        )  # fmt: skip
                    spent.append(spent_now)
                other = spent[1] if len(spent) > 1 else Spent(float("nan"), float("nan"))
                print(
                    f"| {asked.method} {part} {size} px | {spent[0].processor_s:.1f} | "
                    f"{spent[0].peak_gb:.2f} | {other.processor_s:.1f} | {other.peak_gb:.2f} | "
                    f"{other.processor_s / spent[0].processor_s:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
