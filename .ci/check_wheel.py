"""Holds a wheel to what it must carry: on Linux x86-64 the GenTL producer, and that it answers."""

from __future__ import annotations

import ctypes
import platform
import sys
import tempfile
import zipfile
from pathlib import Path

PRODUCER = "capture/gentl/rig-virtual.cti"
MUST = (
    "rig/template.yaml",
    "rig/floor/pages/templates/operator.html",
    "rig/floor/pages/static/operator.js",
    "rig/floor/store/migrations/versions/v0001_runs_and_features.py",
    "capture/gentl/producer/stream.c",
    "capture/leds/dialects/framed.yaml",
)


def main() -> int:
    wheel = Path(sys.argv[1])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        missing = [name for name in MUST if name not in names]
        if missing:
            print(f"{wheel.name} lacks {', '.join(missing)}")
            return 1
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            print(f"{wheel.name}: sound; the producer is only promised for Linux x86-64")
            return 0
        if PRODUCER not in names or not wheel.name.endswith("linux_x86_64.whl"):
            print(f"{wheel.name} carries no {PRODUCER}, or its name does not say linux_x86_64")
            return 1
        with tempfile.TemporaryDirectory() as folder:
            producer = ctypes.CDLL(archive.extract(PRODUCER, folder))
            size = ctypes.c_size_t(64)
            text = ctypes.create_string_buffer(64)
            status = producer.GCGetInfo(2, None, text, ctypes.byref(size))  # TL_INFO_MODEL
    print(f"{wheel.name}: carries the producer of the '{text.value.decode()}'")
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
