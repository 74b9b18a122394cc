"""Make the pictures of the README from a demonstration: ``rig demo``, then

    python examples/make_figures.py rig-demo docs/figures

The screenshots need Chromium; without it they are left as they are.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from capture.reading import Recording
from reconstruct.export.results import read_results
from reconstruct.metrology.accuracy import Truth
from reconstruct.surface import Flag

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
PART = "block-1"
SIDE = 256  # px of a panel
LARGEST_ERROR_MM = 0.03  # end of the error's colours


def panel(image: np.ndarray) -> np.ndarray:
    """A grey or RGB picture in 0 … 1 as a BGR panel."""
    small = cv2.resize(np.nan_to_num(image).astype(np.float32), (SIDE, SIDE), interpolation=3)
    coloured = small if small.ndim == 3 else np.repeat(small[..., None], 3, axis=2)
    return np.rint(255 * np.clip(coloured, 0, 1)).astype(np.uint8)[..., ::-1]


def mapped(values: np.ndarray, low: float, high: float, colours: int) -> np.ndarray:
    """Values as an RGB picture in 0 … 1; white where there are none."""
    scaled = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    picture = cv2.applyColorMap(np.rint(255 * scaled).astype(np.uint8), colours)[..., ::-1] / 255
    return np.where(np.isnan(values)[..., None], 1.0, picture)


def about(mask: np.ndarray, margin: float = 0.18) -> tuple[slice, slice]:
    """A square window about the part, with room for its shadow."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    side = round((1 + 2 * margin) * max(np.ptp(rows), np.ptp(columns)))
    side = min(side, *mask.shape)

    def window(used: np.ndarray, size: int) -> slice:
        first = int(np.clip((used[0] + used[-1] - side) // 2, 0, size - side))
        return slice(first, first + side)

    return window(rows, mask.shape[0]), window(columns, mask.shape[1])


def signed(values: np.ndarray, largest: float) -> np.ndarray:
    """Values as RGB: blue is negative, white zero, red positive."""
    t = np.clip(np.nan_to_num(values) / largest, -1, 1)[..., None]
    blue, red = np.array([0.13, 0.40, 0.67]), np.array([0.70, 0.09, 0.17])
    return 1 + np.abs(t) * (np.where(t < 0, blue, red) - 1)


def captioned(image: np.ndarray, words: str, colours: np.ndarray | None = None) -> np.ndarray:
    """A panel, what it is, and the colours of its scale from low to high."""
    foot = np.full((24, SIDE, 3), 255, np.uint8)
    cv2.putText(foot, words, (0, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (60, 40, 28), 1, cv2.LINE_AA)
    if colours is not None:
        bar = cv2.resize(colours.astype(np.float32), (64, 10))
        foot[7:17, SIDE - 64 :] = np.rint(255 * np.clip(bar, 0, 1))[..., ::-1]
    return np.vstack([panel(image), foot])


def row(panels: list[np.ndarray]) -> np.ndarray:
    gap = np.full((len(panels[0]), 6, 3), 255, np.uint8)
    pieces = [piece for each in panels for piece in (each, gap)]
    return np.hstack(pieces[:-1])


def chain(run: Path, truth: Path, out: Path) -> None:
    """Three captured pictures, then normals, height and the true error of height."""
    recording = Recording.open(run)
    surface = read_results(run / "results" / "01")
    part = about((surface.flags & int(Flag.OUTSIDE)) == 0)
    leds = (8, 40, 90)
    pictures = [recording.linear(led).radiance[part] for led in leds]
    white = max(float(np.quantile(picture, 0.998)) for picture in pictures)
    lit = [
        captioned(
            np.clip(picture / white, 0, 1) ** (1 / 2.2), f"LED {led} of {len(recording.leds)}"
        )
        for led, picture in zip(leds, pictures, strict=True)
    ]
    height, normals = surface.height_mm[part], surface.normals[part]
    error = height - Truth.read(truth).position[part][..., 2]
    low, high = np.nanmin(height), np.nanmax(height)
    ramp = np.linspace(0, 1, 64)[None]
    results = [
        captioned(np.where(np.isnan(normals), 1.0, normals * 0.5 + 0.5), "normals"),
        captioned(
            mapped(height, low, high, cv2.COLORMAP_VIRIDIS),
            f"height, {low:.1f} to {high:.1f} mm",
            mapped(ramp, 0, 1, cv2.COLORMAP_VIRIDIS),
        ),
        captioned(
            signed(error, LARGEST_ERROR_MM),
            f"error, -{LARGEST_ERROR_MM} to {LARGEST_ERROR_MM} mm",
            signed(2 * ramp - 1, 1),
        ),
    ]
    save(out / "chain.png", np.vstack([row(lit), row(results)]))


def save(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def screenshot(address: str, path: Path, size: tuple[int, int], wait: str) -> None:
    """A page as a browser shows it, two thirds of its size."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "page.png"
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
            f"--window-size={size[0]},{size[1]}", f"--user-data-dir={folder}/profile", wait,
            f"--screenshot={raw}", address,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        picture = cv2.imread(str(raw))
    small = cv2.resize(picture, None, fx=2 / 3, fy=2 / 3, interpolation=cv2.INTER_AREA)
    save(path, small)


@contextlib.contextmanager
def live(workspace: Path) -> Iterator[str]:
    """`rig live` on the virtual rig; gives its address."""
    command = [sys.executable, "-m", "rig", "live", "--simulate", "--port", "0"]
    command += ["--workspace", str(workspace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()


def main(workspace: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    run = sorted((workspace / "parts" / PART).iterdir())[0]
    chain(run, workspace / "truth.npz", out)
    if CHROMIUM is None:
        print("no Chromium here: the screenshots stay as they are")
        return
    report = (run / "results" / "01" / "report.html").resolve().as_uri()
    screenshot(report, out / "report.png", (1200, 1560), "--virtual-time-budget=8000")
    with live(workspace) as address:
        screenshot(address, out / "live.png", (1200, 820), "--timeout=5000")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("say where: make_figures.py DEMO-WORKSPACE FIGURES")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
