"""Compiled kernels go with the kernels that they call."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

import reconstruct
from reconstruct.outdated import forget_outdated

ROOM = Path(reconstruct.__file__).parent
KERNELS = {
    "refine/kernel.py": "kernel.system_rows-1.py311.nbi",
    "refine/pixel.py": "pixel.irradiance-9.py311.nbi",
    "optics/microfacet.py": "microfacet.smith_g1-3.py311.nbi",
    "classic.py": "classic._beam-35.py311.nbi",
}


@pytest.fixture
def compiled(tmp_path: Path) -> dict[str, Path]:
    """Files of the program and made-up indices of their kernels, compiled a minute ago."""
    now, found = time.time(), {}
    for source, index in KERNELS.items():
        copied = tmp_path / "reconstruct" / source
        found[source] = copied.parent / "__pycache__" / index
        found[source].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOM / source, copied)
        os.utime(copied, (now - 120, now - 120))
        found[source].write_bytes(b"")
        os.utime(found[source], (now - 60, now - 60))
    return found


def left(compiled: dict[str, Path]) -> set[str]:
    return {source for source, index in compiled.items() if index.exists()}


def changed(compiled: dict[str, Path], source: str) -> None:
    """A file is half a minute old, and all indices that are left a minute."""
    now, index = time.time(), compiled[source]
    for other in compiled.values():
        if other.exists():
            os.utime(other, (now - 60, now - 60))
    os.utime(index.parents[1] / Path(source).name, (now - 30, now - 30))


def test_what_calls_a_changed_kernel_is_compiled_anew(
    tmp_path: Path, compiled: dict[str, Path]
) -> None:
    forget_outdated(tmp_path)
    assert left(compiled) == set(KERNELS)
    changed(compiled, "refine/pixel.py")
    forget_outdated(tmp_path)
    assert left(compiled) == {"optics/microfacet.py", "classic.py"}
    changed(compiled, "optics/microfacet.py")
    forget_outdated(tmp_path)
    assert left(compiled) == {"classic.py"}


def test_a_wrong_clock_keeps_kernels(tmp_path: Path, compiled: dict[str, Path]) -> None:
    later = time.time() + 3600
    os.utime(tmp_path / "reconstruct/refine/pixel.py", (later, later))
    forget_outdated(tmp_path)
    assert left(compiled) == set(KERNELS)


def test_what_cannot_be_read_hinders_nobody(tmp_path: Path, compiled: dict[str, Path]) -> None:
    (tmp_path / "reconstruct/refine/pixel.py").write_text("def half(")
    forget_outdated(tmp_path)
    forget_outdated(tmp_path / "nowhere")
    assert left(compiled) >= {"optics/microfacet.py", "classic.py"}
