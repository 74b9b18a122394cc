"""Readers that exchange with other programs, and of the floor's files."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import tifffile
import yaml

from capture.exchange.hdf5 import read_hdf5, write_hdf5
from capture.exchange.images import read_grey
from capture.journal import PART
from capture.reading import Recording
from intake.light_tables import read_intensities, read_relight, read_table
from reconstruct.export.maps import write_normals_exr
from reconstruct.export.normal_map import write_gltf
from reconstruct.metrology.reading import read_shape
from rig.floor.accept.artefacts import read_artefacts
from rig.floor.pages.security import read_tokens
from rig.floor.plans.model import FOLDER as PLANS
from rig.floor.plans.model import read_plan
from rig.workspace import Workspace
from tests.fuzz.folders import _recorded
from tests.fuzz.readers import RNG, Reader, lights, one, pixels, surface

PLAN = """
format: rig-plan/1
type: bracket
datums:
  A: [-45, -15, 0, 10]
features:
  - {name: step, kind: step, region: [12, -40, 45, 40], datum: A, nominal: 1.2, tolerance: 0.05}
  - {name: flat, kind: flatness, region: [12, -40, 45, 40], upper: 0.05}
  - {name: bore, kind: bore, centre: [-25, 20], search_mm: 8, upper: 1.5}
"""
ARTEFACTS = """
format: rig-artefacts/1
artefacts:
  - {name: ball, kind: sphere, region: [0, 0, 20], form_mm: 0.0002,
     certificate: {number: K-1, laboratory: a lab, date: 2026-01-31},
     values: [{name: diameter, value_mm: 80, expanded_mm: 0.002}]}
"""


def raw_picture() -> bytes:
    """A DNG as a camera writes it."""
    one_matrix = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    tags = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), True), (50708, "s", 0, "test", True),
        (33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50714, "H", 1, 512, True), (50717, "I", 1, 65535, True),
        (50721, "2i", 9, one_matrix, True), (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (271, "s", 0, "maker", True), (272, "s", 0, "model", True),
    ]  # fmt: skip
    buffer = io.BytesIO()
    mosaic = RNG.integers(600, 9000, (32, 48)).astype(np.uint16)
    tifffile.imwrite(buffer, mosaic, photometric=32803, extratags=tags, metadata=None)
    return buffer.getvalue()


def others(folder: Path) -> list[Reader]:
    """Pictures of floats and raw ones, whole recordings, tables of lights, the floor's files."""
    found = exr(folder)
    found.append(
        Reader(
            "raw.dng",
            lambda place: read_grey(place / "raw.dng", "green"),
            {"raw.dng": raw_picture()},
            ("raw.dng",),
        )
    )
    write_gltf(folder / "light.gltf", surface())
    found.append(one("light.gltf", (folder / "light.gltf").read_bytes(), read_shape))
    known = lights().position_mm.tolist()
    images = [{"filename": f"{k}.png", "position": place} for k, place in enumerate(known)]
    found.append(one("a.relight", json.dumps({"images": images}), read_relight))
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in known)
    found.append(one("light_directions.txt", rows, read_table))
    found.append(
        Reader(
            "light_intensities.txt",
            lambda place: read_intensities(place / "light_directions.txt", 5),
            {"light_intensities.txt": b"1 1 1\n1 2 1\n0.5 1 1\n1 1 1\n2 1 1\n"},
            ("light_intensities.txt",),
        )
    )
    name = f"{PLANS}/bracket.yaml"
    kept = {name: PLAN.encode()}
    found.append(
        Reader(name, lambda place: read_plan(Workspace.at(place), "bracket"), kept, (name,))
    )
    found.append(one("artefacts.yaml", ARTEFACTS, read_artefacts))
    return [*found, tokens(), whole_recording(folder)]


def exr(folder: Path) -> list[Reader]:
    """Normals, read as a picture; a grey picture."""
    import OpenEXR

    write_normals_exr(folder / "n.exr", surface().normals)
    normals = (folder / "n.exr").read_bytes()
    header = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Y": pixels().astype(np.float32)}) as file:
        file.write(str(folder / "grey.exr"))
    grey = (folder / "grey.exr").read_bytes()
    return [
        one("colour.exr", normals, lambda path: read_grey(path, "green")),
        one("grey.exr", grey, lambda path: read_grey(path, "green")),
    ]


def tokens() -> Reader:
    text = yaml.safe_dump({"operator": ["a" * 32], "engineer": ["b" * 32]}).encode()

    def read(place: Path) -> None:
        path = place / "tokens.yaml"
        path.chmod(0o600)
        read_tokens(path)

    return Reader("tokens.yaml", read, {"tokens.yaml": text}, ("tokens.yaml",))


def whole_recording(folder: Path) -> Reader:
    """A recording as one HDF5 file."""
    home = folder / "whole"
    home.mkdir()
    _recorded(home)
    run = next(path for path in home.iterdir() if path.is_dir())
    data = write_hdf5(Recording.open(run), home / "a.h5").read_bytes()

    def read(place: Path) -> None:
        made = place.parent / "restored"
        try:
            read_hdf5(place / "a.h5", made)
        finally:
            for left in (made, made.with_name(made.name + PART)):
                shutil.rmtree(left, ignore_errors=True)

    return Reader("a.h5", read, {"a.h5": data}, ("a.h5",))
