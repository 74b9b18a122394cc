"""Files that a stranger might bring: one sentence, an exit code of 2 to 4, and nothing lost."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

Rig = Callable[..., tuple[int, str]]
LATIN = "Straße".encode("latin-1")
PLY = (
    "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
    "property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    "{z}\n1 0 0\n0 1 0\n{face}\n"
)


def camera_json(**changes: object) -> bytes:
    camera = {
        "format": "rig-camera/1", "width": 32, "height": 24,
        "K": [[120.0, 0, 15.5], [0, 120.0, 11.5], [0, 0, 1]], "dist": [0, 0, 0, 0, 0],
        "R_world_to_camera": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
        "t_world_to_camera": [0, 0, 400],
    }  # fmt: skip
    return json.dumps(camera | changes).encode()


def zipped(method: int, spoil: Callable[[bytes], bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as made:
        made.writestr("a/led_1.png", bytes(range(256)) * 40)
    return spoil(whole.getvalue())


def npz(values: np.ndarray, spoil: bool = False) -> bytes:
    whole = io.BytesIO()
    np.savez_compressed(whole, position=values, normal=values)
    data = bytearray(whole.getvalue())
    if spoil:
        data[60:90] = b"\xff" * 30
    return bytes(data)


def huge_png() -> bytes:
    """60,000 × 60,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def circular_tiff() -> bytes:
    whole = io.BytesIO()
    tifffile.imwrite(whole, np.zeros((8, 8), np.float32))
    data = bytearray(whole.getvalue())
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    return bytes(data)


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(400)


IMPORTED = "import pictures --part D"
LIT = "reconstruct P --method lambert --lights {}"
FILES = [
    ("pictures/camera.json", camera_json(label="x").replace(b"x", LATIN), IMPORTED, "UTF-8"),
    ("pictures/camera.json", camera_json(width=1e999), IMPORTED, "Infinity"),
    ("pictures/camera.json", camera_json(width=0).replace(b"0", b"9" * 5000, 1), IMPORTED, "JSON"),
    ("pictures/camera.json", camera_json(K=[[0, 0, 0]] * 3), IMPORTED, "K is not"),
    ("pictures/power.csv", b"# Lichtst\xe4rke\n" + b"1.0\n" * 6, IMPORTED, "UTF-8"),
    ("pictures/mask.png", huge_png(), IMPORTED, "mask.png"),
    ("pictures/led_3.png", huge_png(), IMPORTED, "led_3.png"),
    ("bad.json", b'{"label": "' + LATIN + b'"}', LIT, "UTF-8"),
    ("bad.json", b"[" * 20_000, LIT, "nested"),
    ("bad.json", b'{"format": "rig-lights/1", "units": "mm", "leds": [{"position_mm": [0, 0, 9],'
        b' "axis": [0, 0, -1], "lobe": 0, "power": 1, "id": 1' + b"0" * 30 + b"}]}", LIT, "id"),
    ("bad.dome", b'{"label": "' + LATIN + b'"}', LIT, "UTF-8"),
    ("table.csv", b"theta_h,Oberfl\xe4che\n1,2\n", "fit-brdf {} --out x.safetensors", "UTF-8"),
    ("names.txt", b"A\n" + LATIN, "run --watch --simulate --method lambert --names {}", "UTF-8"),
    ("plan.json", b'{"format": "rig-plan/1", "leds": [1, 2, 3], "settle_us": Infinity}',
     "capture --part A --simulate --plan {}", "Infinity"),
    ("rig.yaml", b"board: " + b"[" * 10_000, "capture --part A", "nested"),
    ("a.ply", PLY.format(z="0 0 0", face="3 0 1 7").encode(), "measure {}", "vertex 7 of 3"),
    ("a.ply", PLY.format(z="0 0 0", face="3 0 1 -1").encode(), "measure {}", "vertex -1 of 3"),
    ("a.ply", PLY.format(z="nan 0 0", face="3 0 1 2").encode(), "measure {}", "a.ply"),
    ("a.ply", PLY.format(z="0 0 0", face="").replace("face 1", "face 0").encode(), "measure {}",
     "no triangles"),
    ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "measure {}", "a.obj"),
    ("truth.npz", npz(np.zeros((40, 40, 3)), spoil=True), "measure {}", "truth.npz"),
    ("truth.npz", npz(np.full((9, 9, 3), 1e300)), "measure {}", "truth.npz"),
    ("truth.npz", b"PK\3\4 no zip", "measure {}", "truth.npz"),
    ("map.npy", npy(b"{'descr': '<f4', 'shape': (10, 10"), "measure {} --pitch 0.1", "map.npy"),
    ("map.tif", circular_tiff(), "measure {} --pitch 0.1", "map.tif"),
    ("a.zip", zipped(zipfile.ZIP_LZMA, lambda d: d[:60] + b"\xff" * 40 + d[100:]),
     "import {} --part Z", "a.zip"),
    ("a.zip", zipped(zipfile.ZIP_BZIP2, lambda d: d[: len(d) // 2]), "import {} --part Z", "a.zip"),
    ("mask.png", b"no picture", "reconstruct P --method lambert --mask {}", "mask.png"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "typed", "says"), FILES)
def test_what_nobody_vetted_is_refused(
    rig: Rig, recorded: Path, pictures: Path, name: str, content: bytes, typed: str, says: str
) -> None:
    (recorded / name).write_bytes(content)
    before = sorted(recorded.rglob("*"))
    code, said = rig(*typed.format(name).split())
    assert 2 <= code <= 4, said
    assert says in said
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if line.startswith("rig: ")]) == 1
    assert sorted(recorded.rglob("*")) == before


@pytest.mark.parametrize("index", [[[1]], {"a": 1}, "1", 1e300, -1, None])
def test_a_journal_that_nobody_vetted(rig: Rig, recorded: Path, index: object) -> None:
    (journal,) = recorded.glob("parts/P/*/run.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    number = next(n for n, line in enumerate(lines) if "index" in line)
    lines[number]["index"] = index
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for typed in ("verify P", "reconstruct P --method lambert"):
        code, said = rig(*typed.split())
        assert code == 4, said
        assert "Traceback" not in said


def test_a_mask_of_another_size_is_refused(rig: Rig, recorded: Path) -> None:
    cv2.imwrite(str(recorded / "mask.png"), np.full((24, 23), 255, np.uint8))
    code, said = rig("reconstruct", "P", "--method", "lambert", "--mask", "mask.png")
    assert code == 4
    assert "the mask mask.png is 23×24 px, the pictures are 24×24" in said


@pytest.mark.parametrize(("unit", "size"), [("m", 0.03), ("inch", 30 / 25.4), ("cm", 3.0)])
def test_meshes_in_other_units_are_read_as_told(
    rig: Rig, recorded: Path, unit: str, size: float
) -> None:
    text = PLY.format(z="0 0 0", face="3 0 1 2")
    text = text.replace("1 0 0", f"{size} 0 0").replace("0 1 0", f"0 {size} 0")
    for name in ("a.ply", "B.PLY"):  # a name may be of any case
        (recorded / name).write_text(text)
        code, said = rig("measure", name, "--unit", unit, "--json")
        assert code == 0, said
