"""Write and read back a recording of 96 five-megapixel frames; print time and peak memory.

Run: ``python benchmarks/recording_memory.py [FOLDER]`` (needs 1.1 GB there). The test
``tests/capture/test_recording_memory.py`` runs it in a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from capture.reading import Recording
from capture.recording import RecordingWriter

SHAPE, LEDS = (2048, 2448), 96


def frame(led: int, rng: np.random.Generator) -> np.ndarray:
    """A 12-bit frame: a broad light spot that moves with the LED, and noise."""
    column = np.linspace(0, 3500, SHAPE[1], dtype=np.float32)
    row = np.abs(np.sin(np.linspace(0, 3, SHAPE[0], dtype=np.float32) + led))[:, None]
    noise = rng.integers(0, 64, SHAPE, dtype=np.uint16)
    return (row * column).astype(np.uint16) + noise if led else noise


def peak_mb() -> float:
    """The most memory this program ever held, MB.

    Not getrusage's ru_maxrss: Linux lets a program begin with the peak of the one that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main(folder: Path) -> dict[str, float]:
    rng = np.random.default_rng(1)
    begin = time.perf_counter()
    with RecordingWriter.create(folder / "run", {"bits": 12}) as writer:
        for index, led in enumerate([0, *range(1, LEDS + 1), 0]):
            kind = "light" if led else "dark"
            entry = {"index": index, "kind": kind, "led": led, "exposure_us": 8000.0}
            writer.append(frame(led, rng), entry)
        run = writer.finish()
    written = time.perf_counter()
    recording = Recording.open(run)
    for led in recording.leds:  # picture by picture
        assert recording.linear(led).radiance.shape == SHAPE
    read = time.perf_counter()
    for top in range(0, SHAPE[0], 64):  # all lights of a band of rows
        radiance, _ = recording.radiance(rows=slice(top, top + 64))
        assert radiance.shape == (LEDS, min(64, SHAPE[0] - top), SHAPE[1])
    return {
        "write_s": round(written - begin, 2),
        "read_pictures_s": round(read - written, 2),
        "read_bands_s": round(time.perf_counter() - read, 2),
        "peak_mb": round(peak_mb(), 1),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        print(json.dumps(main(Path(name))))
