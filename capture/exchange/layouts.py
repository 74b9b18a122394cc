"""Recognising a folder: exchange folder, published DPPS layout, LUCES layout."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from capture.errors import DataError
from capture.exchange.images import Way, read_grey
from capture.exchange.published import dpps, dpps_pictures, luces, luces_home
from capture.exchange.source import Source, inside, positive, present, read_json, read_powers
from intake import plugins
from intake.errors import told_as
from intake.light_tables import TABLES, read_intensities, read_relight, read_table
from intake.lp import LightList, format_lp, read_lp
from intake.names import FURTHER, Role, is_picture, match_names, natural, roles
from intake.pictures import read_mask


def find(folder: Path, channel: Way = None, field_mm: float = 100.0) -> Source:
    """Recognise a folder and check that what it names is there.

    Parameters
    ----------
    channel : which channel of colour pictures to take
    field_mm : width of the field of a DPPS sample, whose heights are in fractions of it

    Raises
    ------
    DataError
        saying what is missing or wrong, or that the folder holds something else
    """
    if folder.is_file():
        raise DataError(f"{folder} is a file: name the folder of the pictures, or a .zip of it")
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    for name in plugins.offered(plugins.IMPORTERS):
        with told_as(DataError):
            added: Source | None = plugins.load(plugins.IMPORTERS, name)(folder)
        if added is not None:
            return added
    if next(dpps_pictures(folder), None):
        return dpps(folder, channel, field_mm)
    if luces_home(folder) is not None:
        return luces(folder, channel)
    return _exchange(folder, channel)


# exchange folder -------------------------------------------------------------------------------


def _exchange(folder: Path, channel: Way) -> Source:
    remarks: list[str] = []
    files: dict[str, Path | bytes] = {}
    found = _pictures(folder)
    listing = _light_list(folder)
    if not found[Role.LIT] and listing is None:
        raise DataError(_advice(folder))
    lines = 0
    if listing is None:
        pictures = found[Role.LIT]
        remarks.append("no .lp file: the lights are taken in the order of the file names")
        order = list(range(len(pictures)))
    else:
        with told_as(DataError):
            listed, powers = _read_list(listing)
        pictures, order, said = _listed(folder, listing, listed, found)
        remarks += [*_taken_for(listing, len(pictures)), *said]
        lines = len(order)
        if listing.suffix.lower() == ".lp":
            files["calibration/lights.lp"] = listing
        else:
            named = LightList(tuple(pictures[k].name for k in order), listed.xyz)
            files["calibration/lights.lp"] = format_lp(named).encode()
            if powers is not None:
                text = "".join(f"{power!r}\n" for power in powers.tolist())
                files["calibration/power.csv"] = text.encode()
    for name in ("camera.json", "truth.npz"):
        if (path := present(folder, name)) is not None:
            files[f"calibration/{name}"] = path
    if "calibration/camera.json" in files:
        read_json(folder / "camera.json")
    else:
        remarks.append("no camera.json: heights need a camera calibration")
    if (path := present(folder, "power.csv")) is not None:
        read_powers(path, len(pictures))
        files["calibration/power.csv"] = path
    exposure, full_scale = None, None
    if (path := present(folder, "exposure.json")) is not None:
        data = read_json(path)
        exposure = _exposure(data.get("exposure"), path, len(pictures))
        if isinstance(exposure, tuple) and lines:  # in the order of the lights, as powers are
            place = {picture: line for line, picture in enumerate(order)}
            exposure = tuple(exposure[place[k]] for k in range(len(pictures)))
        if "full_scale" in data:
            full_scale = int(positive(data["full_scale"], f"{path}: full_scale"))
        files["calibration/exposure.json"] = path
    else:
        remarks.append("no exposure.json: brightness cannot be compared with other captures")
    for other in sorted(folder.glob("*.lp")):
        if other != listing:
            files[f"snapshot/{other.name}"] = inside(folder, other.name)
    dark = next(iter(found[Role.DARK]), None)
    if dark is None:
        remarks.append("no dark.png: the black level is taken as 0")
    elif dark.name != "dark.png":
        remarks.append(f"{dark.name} is taken as the dark picture")
    for role in (Role.DARK, Role.AMBIENT, Role.MASK, Role.FLAT, Role.ALL, Role.OTHER):
        for path in found[role]:
            if path == dark:
                continue
            if role is Role.MASK and _take_mask(path, pictures, files, remarks):
                continue
            word = role.value if role is not Role.DARK else "second dark picture"
            remarks.append(f"{path.name} is no light by its name ({word}): it is left out")
    return Source(
        "exchange", folder, pictures, dark, exposure, full_scale, files, channel, tuple(remarks)
    )


def _pictures(folder: Path) -> dict[Role, tuple[Path, ...]]:
    """The pictures of a folder by their role, each in natural order."""
    kept = [p for p in folder.iterdir() if not p.name.startswith(".")]
    paths = sorted((p for p in kept if is_picture(p)), key=natural)
    if Role.LIT not in roles([p.name for p in paths]):
        paths = sorted([*paths, *(p for p in kept if p.suffix.lower() in FURTHER)], key=natural)
    found: dict[Role, list[Path]] = {role: [] for role in Role}
    for path, role in zip(paths, roles([p.name for p in paths]), strict=True):
        found[role].append(inside(folder, path.name))
    # The plainest name first: dark.png before part_dark.png.
    return {
        role: tuple(every if role is Role.LIT else sorted(every, key=lambda p: len(p.stem)))
        for role, every in found.items()
    }


def _listed(
    folder: Path, listing: Path, listed: LightList, found: dict[Role, tuple[Path, ...]]
) -> tuple[tuple[Path, ...], list[int], list[str]]:
    """The pictures that a list of lights names, in natural order.

    Returns
    -------
    the pictures, the picture (its place) of each light, and what the user should know
    """
    said = list(listed.remarks)
    named = [inside(folder, name) for name in listed.names] if any(listed.names) else []
    if named and all(path.is_file() for path in named):
        chosen = named
    else:
        everything = [path for role in Role for path in found[role]]
        places = match_names(listed.names, [path.name for path in everything])
        if places is None:
            lit = found[Role.LIT]
            if len(lit) != len(listed.names):
                raise DataError(
                    f"{listing} has {len(listed.names)} lights for {len(lit)} pictures in "
                    f"{folder}, and names none of them: each picture needs its light"
                )
            if any(listed.names):
                said.append(
                    f"{listing.name} names '{listed.names[0]}' …, and no picture is named so: "
                    "lights are given to the pictures in the order of their names"
                )
            return lit, list(range(len(lit))), said
        missing = [n for n, place in zip(listed.names, places, strict=True) if place is None]
        if missing:
            raise DataError(
                f"{listing} names '{missing[0]}', which is not in {folder} "
                f"({len(missing)} of {len(places)} missing)"
            )
        chosen = [everything[place] for place in places if place is not None]
        said.append(f"{listing.name} names pictures of other folders or endings: told by the rest")
    for role in Role:
        odd = [path.name for path in chosen if path in found[role]]
        if role is not Role.LIT and odd:
            raise DataError(
                f"{listing} gives a light to '{odd[0]}', by its name a picture for another purpose "
                f"({role.value}): take the line out, or rename the picture"
            )
    rest = [path for path in found[Role.LIT] if path not in set(chosen)]
    alike = {_letters(path) for path in chosen}
    if forgotten := [path.name for path in rest if _letters(path) in alike]:
        raise DataError(
            f"{listing} has {len(chosen)} lights for {len(chosen) + len(forgotten)} pictures in "
            f"{folder}: '{forgotten[0]}' has none; add its line, or take the picture out"
        )
    if rest:
        said.append(f"{listing.name} does not name {rest[0].name}: it is left out")
    pictures = tuple(sorted(chosen, key=natural))
    place_of = {path: place for place, path in enumerate(pictures)}
    return pictures, [place_of[path] for path in chosen], said


def _letters(path: Path) -> str:
    return re.sub(r"\d+", "#", path.name.lower())


def _take_mask(
    path: Path, pictures: tuple[Path, ...], files: dict[str, Path | bytes], remarks: list[str]
) -> bool:
    """Keep a mask of two values and of the pictures' size as the recording's ``mask.png``."""
    if "calibration/mask.png" in files:
        return False
    exact = path.stem.lower() == "mask"
    size = read_grey(pictures[0], "green")[0].shape if pictures else None
    mask = read_grey(path, "green")[0]
    if size is not None and mask.shape != size:
        text = (
            f"{path.name} is {mask.shape[1]}×{mask.shape[0]} px, the pictures are "
            f"{size[1]}×{size[0]} px"
        )
        if exact:
            raise DataError(f"{path.parent / text}: it belongs to other pictures; take it out")
        remarks.append(f"{text}: it is not used")
        return True
    low, high = int(mask.min()), int(mask.max())
    between = (mask > low + (high - low) // 8) & (mask < high - (high - low) // 8)
    if not exact and (low == high or between.mean() > 0.05):
        remarks.append(f"{path.name} has more than two values and is no mask: it is not used")
        return True
    with told_as(DataError):
        read_mask(path)  # one that covers nothing would stop every reconstruction
    if path.suffix.lower() == ".png":
        files["calibration/mask.png"] = path
    else:
        codes = np.where(mask > low + (high - low) // 2, 255, 0).astype(np.uint8)
        files["calibration/mask.png"] = cv2.imencode(".png", codes)[1].tobytes()
    if not exact:
        remarks.append(f"{path.name} is taken as the mask of the part")
    return True


def _light_list(folder: Path) -> Path | None:
    if (path := present(folder, "lights.lp")) is not None:
        return path
    others = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".lp" and p.name[0] != ".")
    if len(others) > 1:
        names = ", ".join(path.name for path in others)
        raise DataError(f"{folder} has several .lp files ({names}): name the right one lights.lp")
    if others:
        return inside(folder, others[0].name)
    kept = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    project = [p for p in kept if p.suffix.lower() == ".relight"]
    tables = sorted(
        (p for p in kept if p.name.lower() in TABLES), key=lambda p: TABLES.index(p.name.lower())
    )
    return inside(folder, [*project, *tables][0].name) if project or tables else None


def _read_list(path: Path) -> tuple[LightList, NDArray[np.float64] | None]:
    """Lights of a list of any kind, with the powers that come with a table."""
    if path.suffix.lower() == ".lp":
        return read_lp(path), None
    if path.suffix.lower() == ".relight":
        return read_relight(path), None
    xyz = read_table(path)
    if "direction" in path.name.lower() or "dirs" in path.name.lower():
        xyz = xyz / np.linalg.norm(xyz, axis=1, keepdims=True)
    return LightList(("",) * len(xyz), xyz), read_intensities(path, len(xyz))


def _taken_for(listing: Path, count: int) -> list[str]:
    """What a list of lights other than an ``.lp`` makes of the folder, in words."""
    if listing.suffix.lower() == ".lp":
        return []
    if listing.suffix.lower() == ".relight":
        return [f"taken for a Relight project: {count} pictures with the lights of {listing.name}"]
    kind = "DiLiGenT" if listing.with_name("light_intensities.txt").is_file() else "photometric"
    return [
        f"taken for a {kind} set: {count} pictures in the order of their names, with the lights "
        f"of {listing.name} (x right, y up, z to the camera)"
    ]


def _lit(folder: Path) -> tuple[Path, ...]:
    return _pictures(folder)[Role.LIT]


def _advice(folder: Path) -> str:
    subfolders = sorted(p for p in folder.iterdir() if p.is_dir())
    poses = [p for p in subfolders if any(_lit(p))]
    samples = [p for p in subfolders if next(dpps_pictures(p), None)]
    if samples:
        return f"{folder} holds {len(samples)} DPPS samples: import one, such as {samples[0]}"
    if poses and (folder / "camera.json").is_file():
        return (
            f"{folder} is a set of {len(poses)} mirror-sphere poses, not a capture of a part: "
            f"give it to 'rig calibrate-lights'"
        )
    if poses:
        return f"{folder} holds no pictures itself: import one of its folders, such as {poses[0]}"
    return f"{folder} holds no capture: expected pictures led_001.png … and lights.lp"


def _exposure(value: object, path: Path, count: int) -> float | tuple[float, ...]:
    if isinstance(value, list):
        if len(value) != count:
            raise DataError(f"{path} holds {len(value)} exposures for {count} pictures")
        return tuple(positive(item, f"{path}: exposure") for item in value)
    return positive(value, f"{path}: exposure")
