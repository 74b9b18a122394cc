"""Builds the producer (and the C++ firmware as a library) with the C compiler of this machine.

``python -m capture.gentl.build`` builds both beside this file; ``pip install`` does the same where
there is a compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PRODUCER = "rig-virtual.cti"
FIRMWARE = "rig-firmware.so"
_C_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden")
_CXX_FLAGS = ("-std=c++11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-DRIG_MAX_STEPS=4096")


def c_compiler() -> str | None:
    """The C compiler: $CC, cc, gcc or clang; None if there is none, or no POSIX system."""
    return _first(os.environ.get("CC"), "cc", "gcc", "clang")


def cxx_compiler() -> str | None:
    """The C++ compiler: $CXX, c++, g++ or clang++; None if there is none."""
    return _first(os.environ.get("CXX"), "c++", "g++", "clang++")


def _first(*names: str | None) -> str | None:
    if os.name != "posix":
        return None  # sockets, shared memory and ptys are POSIX's here
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


def build_producer(folder: Path, *extra: str) -> Path:
    """Compile the producer into a folder; raises `OSError` or `CalledProcessError`."""
    compiler = c_compiler()
    if compiler is None:
        raise FileNotFoundError("there is no C compiler")
    target = folder / PRODUCER
    sources = sorted(map(str, (HERE / "producer").glob("*.c")))
    libraries = ["-pthread"] if sys.platform == "darwin" else ["-pthread", "-ldl"]
    _compile([compiler, *_C_FLAGS, *extra, *sources, *libraries], target)
    return target


def firmware_sources() -> Path | None:
    """The folder of the reference firmware, in a checkout; an installed package has none."""
    folder = HERE.parents[1] / "examples" / "firmware"
    return folder if (folder / "rig_led_board" / "led_protocol.cpp").is_file() else None


def build_firmware(folder: Path) -> Path:
    """Compile the firmware's core as a library; raises `OSError` or `CalledProcessError`."""
    compiler, sources = cxx_compiler(), firmware_sources()
    if compiler is None or sources is None:
        raise FileNotFoundError("there is no C++ compiler, or no source of the firmware")
    target = folder / FIRMWARE
    files = [sources / "pc" / "library.cpp", sources / "rig_led_board" / "led_protocol.cpp"]
    _compile([compiler, *_CXX_FLAGS, *map(str, files)], target)
    return target


def _compile(command: list[str], target: Path) -> None:
    """Compile to a file of another name first: a library in use is never written over."""
    half = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        subprocess.run([*command, "-o", str(half)], check=True, capture_output=True, text=True)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def producer_file() -> Path | None:
    """The producer that was built with the package, None if there is none."""
    path = HERE / PRODUCER
    return path if path.is_file() else None


def firmware_file() -> Path | None:
    """The firmware's library that was built with the package, None if there is none."""
    path = HERE / FIRMWARE
    return path if path.is_file() else None


def main() -> int:
    """Build what can be built here; the exit code says whether the producer is there."""
    for build in (build_producer, build_firmware):
        try:
            print(build(HERE))
        except subprocess.CalledProcessError as error:
            print(error.stderr, file=sys.stderr)
        except OSError as error:
            print(error, file=sys.stderr)
    return 0 if producer_file() is not None else 1


if __name__ == "__main__":
    sys.exit(main())
