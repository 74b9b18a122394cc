"""Every reader of files with small sound files of ours, to be damaged one at a time."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
import yaml
from safetensors.torch import save_file
from scipy.io import savemat

from calib.camera import Camera
from calib.foreign import format_luces
from calib.light_files import format_lights, read_lights
from calib.light_files import read_powers as read_relative_powers
from calib.lights import Lights
from calib.pictures import probe_windows, read_raw
from capture.camera.features import read_description
from capture.exchange.archive import unpacked
from capture.exchange.images import read_grey
from capture.leds.dialect import load_dialect, shipped
from capture.plan import Plan
from intake.pictures import read_mask
from reconstruct.brdf_fit import tables
from reconstruct.brdf_fit.network import BrdfNetwork
from reconstruct.dpps import dataset
from reconstruct.dpps.config import TrainConfig
from reconstruct.dpps.encoding import ENCODING
from reconstruct.dpps.network import AnyRigNet, weights_of
from reconstruct.dpps.published import read_published
from reconstruct.dpps.weights import Shape, read_weights, write_weights
from reconstruct.errors import ReconstructError
from reconstruct.export.maps import read_tiff
from reconstruct.export.mesh import Mesh, write_mesh
from reconstruct.export.topography import write_sdf, write_x3p
from reconstruct.metrology.accuracy import Truth
from reconstruct.metrology.grid import HeightGrid
from reconstruct.metrology.reading import read_shape
from reconstruct.shapes.files import read_shape as read_part
from reconstruct.surface import Surface
from rig.capturing import read_plan
from rig.commands.train import _mapping
from rig.config import TEMPLATE, parse_config, read_config
from rig.measuring import _names

Read = Callable[[Path], object]
SIZE = 12
RNG = np.random.default_rng(7)


@dataclass(frozen=True)
class Reader:
    """A reader, the files that it reads, and which of them are damaged.

    Attributes
    ----------
    name : in reports
    read : what is done with the folder that holds the files
    files : contents by name
    damaged : names of those to damage
    """

    name: str
    read: Read
    files: dict[str, bytes]
    damaged: tuple[str, ...]


def one(name: str, data: bytes | str, read: Read) -> Reader:
    """A reader of one file."""
    content = data.encode() if isinstance(data, str) else data
    return Reader(name, lambda folder: read(folder / name), {name: content}, (name,))


def written(folder: Path, name: str, write: Callable[[Path], object]) -> bytes:
    path = folder / name
    write(path)
    return path.read_bytes()


def mat(folder: Path, content: dict[str, Any], packed: int = 0) -> bytes:
    return written(
        folder, "a.mat", lambda path: savemat(path, content, do_compression=bool(packed))
    )


# what is common --------------------------------------------------------------------------------
def camera() -> Camera:
    K = np.array([[60.0, 0, 5.5], [0, 60.0, 5.5], [0, 0, 1]])
    return Camera(SIZE, SIZE, K, t=np.array([0.0, 0.0, 400.0]))


def lights() -> Lights:
    angle = np.linspace(0, 2 * np.pi, 5, endpoint=False)
    place = np.column_stack([120 * np.cos(angle), 120 * np.sin(angle), np.full(5, 200.0)])
    found = Lights.at(place)
    found.provenance["names"] = [f"led_{k:03d}.png" for k in range(1, 6)]
    return found


def pixels(kind: type = np.uint16) -> np.ndarray[Any, Any]:
    top = 255 if kind is np.uint8 else 60000
    return RNG.integers(top // 4, top, (SIZE, SIZE)).astype(kind)


def picture(suffix: str, values: np.ndarray[Any, Any]) -> bytes:
    return bytes(cv2.imencode(suffix, values)[1])


def truth() -> bytes:
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    position = np.dstack([x, -y, 0.1 * x])
    normal = np.zeros((SIZE, SIZE, 3), np.float32)
    normal[..., 2] = 1
    buffer = io.BytesIO()
    np.savez_compressed(buffer, position=position, normal=normal)
    return buffer.getvalue()


def surface() -> Surface:
    height = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    height[0, :3] = np.nan
    normals = np.zeros((SIZE, SIZE, 3), np.float32)
    normals[..., 2] = 1
    sigma = np.full((SIZE, SIZE), 0.01, np.float32)
    flags = np.zeros((SIZE, SIZE), np.uint8)
    return Surface(camera(), height, normals, sigma, sigma, flags, {}, {"method": "lambert"})


def mesh() -> Mesh:
    y, x = np.mgrid[0:4, 0:4]
    vertices = np.column_stack([x.ravel(), y.ravel(), (x * y).ravel()]).astype(np.float64)
    k = np.array([[r * 4 + c for c in range(3)] for r in range(3)]).ravel()
    faces = np.concatenate([np.stack([k, k + 1, k + 4], 1), np.stack([k + 1, k + 5, k + 4], 1)])
    quality = np.full(16, 0.1, np.float32)
    return Mesh(vertices, faces, np.tile(np.float32([0, 0, 1]), (16, 1)), quality)


def grid() -> HeightGrid:
    return HeightGrid(np.linspace(0, 1, 48).reshape(6, 8), 0.5, 0.0, 0.0)


# readers ---------------------------------------------------------------------------------------
def _camera_used(path: Path) -> None:
    found = Camera.read(path)
    found.rays(np.array([[0.0, 0.0], [found.width - 1.0, found.height - 1.0]]))


def texts() -> list[Reader]:
    """Files of words and numbers."""
    data = json.loads(format_lights(lights(), ".json"))
    for led in data["leds"]:
        led["covariance"] = np.eye(6).tolist()
        led["power_sigma"] = 0.1
    config = parse_config(TEMPLATE)
    train = "out: runs/a\nbudget_steps: 10\nbatch: 8\nrate: 0.001\nsize: 64\nnetwork: any-rig\n"
    rows = [[a, b, 30, 0.5 + a] for a in range(10) for b in range(8)]
    csv = "theta_h,theta_d,phi_d,reflectance\n" + "\n".join(",".join(map(str, r)) for r in rows)
    plan = json.dumps(Plan((1, 2, 3), (8000.0, 2000.0)).to_json())
    dialects = [one(f"{name}.yaml", _dialect(name), load_dialect) for name in shipped()[:2]]
    xml = b"\xef\xbb\xbf<RegisterDescription a='1'><Node/></RegisterDescription>\0\0"
    return [
        one("camera.json", json.dumps(camera().to_json()), _camera_used),
        one("lights.json", json.dumps(data), read_lights),
        one("lights.yaml", yaml.safe_dump(data), read_lights),
        one("lights.lp", format_lights(lights(), ".lp"), read_lights),
        one("a.dome", format_lights(lights(), ".dome"), read_lights),
        one("led_params.txt", format_luces(lights(), camera()), read_lights),
        one("power.csv", "power\n1,0.5\n2,1.5\n", read_relative_powers),
        one("rig.yaml", TEMPLATE, read_config),
        one("plan.json", plan, lambda path: read_plan(path, config)),
        one("plan.yaml", "leds: 1-9\nexposures_ms: [2, 8]\n", lambda path: read_plan(path, config)),
        one("names.txt", "A12\n# no\nP7\n", lambda path: list(_names(path))),
        one("train.yaml", train, lambda path: TrainConfig.from_mapping(_mapping(path))),
        one("steel.csv", csv, tables.read),
        one("camera.xml", xml, read_description),
        one("camera.xml.gz", gzip.compress(xml * 3, mtime=0), read_description),
        Reader(
            "probes_bbox.txt",
            probe_windows,
            {"ManualData/probes_bbox.txt": b"1 10 1 20\n5 9 7 8\n"},
            ("ManualData/probes_bbox.txt",),
        ),
        *dialects,
    ]


def _dialect(name: str) -> str:
    from importlib import resources

    return (resources.files("capture.leds") / "dialects" / f"{name}.yaml").read_text("utf-8")


def pictures() -> list[Reader]:
    """Pictures of every kind, read as measurements and as masks."""
    grey, small = pixels(), pixels(np.uint8)
    colour = np.dstack([pixels(np.uint8) for _ in range(3)])
    clear = np.dstack([colour, np.where(small > 128, 255, 0).astype(np.uint8)])
    tiffs: dict[str, bytes] = {}
    for name, options in {
        "plain.tif": {}, "tiled.tif": {"tile": (16, 16)}, "packed.tif": {"compression": "zlib"},
        "big.tif": {"bigtiff": True}, "swapped.tif": {"byteorder": ">"},
        "turned.tif": {"extratags": [(274, "H", 1, 6, True)]},
    }.items():  # fmt: skip
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, grey, **options)  # type: ignore[arg-type]
        tiffs[name] = buffer.getvalue()
    files = {
        "grey.png": picture(".png", grey),
        "small.png": picture(".png", small),
        "colour.png": picture(".png", colour),
        "clear.png": picture(".png", clear),
        "lzw.tif": picture(".tif", colour),
        "a.jpg": picture(".jpg", small),
        "a.bmp": picture(".bmp", colour),
        "a.pgm": picture(".pgm", grey),
        "a.ppm": picture(".ppm", colour),
        **tiffs,
    }

    def read(path: Path) -> None:
        for reader in (lambda p: read_grey(p, "green"), read_raw, read_mask):
            reader(path)

    floats = io.BytesIO()
    tifffile.imwrite(floats, surface().normals)
    return [
        *(one(name, data, read) for name, data in files.items()),
        one("map.tif", floats.getvalue(), read_tiff),
        one("packed_map.tif", tiffs["packed.tif"], read_tiff),
    ]


def arrays(folder: Path) -> list[Reader]:
    """NumPy and MAT files, archives."""
    npy = io.BytesIO()
    np.save(npy, grid().z_mm)
    npz = io.BytesIO()
    np.savez(npz, heights=grid().z_mm)
    both = [mat(folder, {"normal_map": RNG.random((6, 6, 3)), "x": "text"}, c) for c in (0, 1)]
    from intake.matlab import read_mat

    zips = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as zipped:
            zipped.writestr("a/b.txt", b"text " * 200)
            zipped.writestr("a/c.bin", pixels().tobytes())
        zips.append(buffer.getvalue())

    def unpack(path: Path) -> None:
        with unpacked(path):
            pass

    return [
        one("map.npy", npy.getvalue(), lambda path: read_shape(path, pitch_mm=0.1)),
        one("part.npz", npz.getvalue(), lambda path: read_part(path, 0.5)),
        one("truth.npz", truth(), Truth.read),
        one("sheet.npz", truth(), read_shape),
        one("plain.mat", both[0], lambda path: read_mat(path, "normal_map")),
        one("packed.mat", both[1], lambda path: read_mat(path, "normal_map")),
        *(one(f"{k}.zip", data, unpack) for k, data in enumerate(zips)),
    ]


def shapes(folder: Path) -> list[Reader]:
    """Meshes and topographies."""
    found = []
    for kind in ("ply", "stl", "obj", "glb"):
        data = written(folder, f"part.{kind}", lambda path: write_mesh(path, mesh()))
        found.append(one(f"part.{kind}", data, read_shape))
    corners, faces = mesh().vertices_mm, mesh().faces
    head = f"ply\nformat ascii 1.0\nelement vertex {len(corners)}\n"
    head += "property float x\nproperty float y\nproperty float z\n"
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    points = "".join(f"{x} {y} {z}\n" for x, y, z in corners)
    triangles = "".join(f"3 {a} {b} {c}\n" for a, b, c in faces)
    off = f"OFF\n{len(corners)} {len(faces)} 0\n{points}{triangles}"
    found.append(one("words.ply", head + points + triangles, read_part))
    found.append(one("part.off", off, read_shape))
    x3p = written(folder, "a.x3p", lambda path: write_x3p(path, grid()))
    sdf = written(folder, "a.sdf", lambda path: write_sdf(path, grid()))
    import sdfio

    ascii_sdf = io.BytesIO()
    sdfio.write(ascii_sdf, grid().z_mm, x_scale=1e-3, y_scale=1e-3, format=sdfio.FileFormat.ASCII)
    found += [one("a.x3p", x3p, read_shape), one("a.sdf", sdf, read_shape)]
    found.append(one("words.sdf", ascii_sdf.getvalue(), read_shape))
    return found


def weights(folder: Path) -> list[Reader]:
    """Networks and training data."""
    network = AnyRigNet(Shape(widths=(4, 8), pixelwise=4))
    fit = BrdfNetwork()
    checkpoint = io.BytesIO()
    torch.save({"state_dict": {"conv.weight": torch.zeros(3, 3)}}, checkpoint)
    shard = {"channels": torch.zeros(2, 3, 4, 4), "target": torch.zeros(2, 5, 4, 4)}
    head = {"format": dataset.FORMAT, "encoding": ENCODING, "request": {"shard": 2}, "count": 2,
            "shards": 1}  # fmt: skip

    def sample(place: Path) -> None:
        dataset._size.cache_clear()
        dataset._shard.cache_clear()
        dataset.shard_pair(place, 1)

    any_rig = written(folder, "a", lambda path: write_weights(weights_of(network), path))
    brdf = written(folder, "b", lambda path: fit.write(path, {}))
    files = {
        "dataset.json": json.dumps(head).encode(),
        "shard-00000.safetensors": written(folder, "s", lambda p: save_file(shard, p)),
    }
    return [
        one("any.safetensors", any_rig, read_weights),
        one("brdf.safetensors", brdf, BrdfNetwork.read),
        one("old.pt", checkpoint.getvalue(), _checkpoint_read),
        Reader("dataset", sample, files, tuple(files)),
    ]


def _checkpoint_read(path: Path) -> None:
    """The sound one holds one small tensor and is refused in these words."""
    try:
        read_published(path)
    except ReconstructError as error:
        if "does not fit" not in str(error):
            raise
