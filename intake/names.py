"""What the names of pictures tell: their order, their role, and which light belongs to which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath, PurePosixPath

from intake.errors import InputError

RAWS = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".pgm", ".jpg", ".jpeg")
"""Of pictures, in small letters."""
FURTHER = (".exr", *RAWS)
"""Of pictures that count where a folder holds no lit ones of `SUFFIXES` (raw beside JPEG)."""


class Role(StrEnum):
    """What a picture of a set is for; its value is the word for it."""

    LIT = "lit"
    DARK = "dark"
    AMBIENT = "room light"
    MASK = "mask"
    FLAT = "flat field"
    ALL = "all lights on"
    OTHER = "no photograph under one light"


# Words at the start of a piece of letters of the name, but for those in _WHOLE_WORDS.
_WORDS = {
    Role.MASK: ("mask", "silhouette"),
    Role.AMBIENT: ("ambient", "roomlight", "background"),
    Role.DARK: ("dark", "black", "bias"),
    Role.FLAT: ("flat", "white", "grey", "gray", "checker", "colorchart", "colourchart"),
    Role.ALL: ("allon", "alllights", "allleds"),
    Role.OTHER: ("normal", "depth", "albedo", "preview", "thumb", "reference", "groundtruth"),
}
_WHOLE_WORDS = {
    Role.ALL: {"all"},
    Role.AMBIENT: {"ref", "room"},
    Role.DARK: {"off"},
    Role.OTHER: {"gt", "height", "normals", "mean", "median", "average", "chart"},
}


_LED = re.compile(r"(?:led|light|lamp)s?[ _.-]*0*([1-9]\d{0,4})")


def natural(path: PurePath | str) -> list[tuple[int, int, str]]:
    """Sort key that puts ``led_2`` before ``led_10``, capitals beside small letters."""
    pieces = re.split(r"(\d+)", PurePath(path).name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p]


def is_picture(path: PurePath | str) -> bool:
    """Whether a name is that of a picture; what a Mac leaves on a stick (``._a.png``) is none."""
    path = PurePath(path)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _words(name: str) -> set[tuple[Role, str]]:
    """Roles that the pieces of letters of a name speak of, with the piece that does."""
    found: set[tuple[Role, str]] = set()
    stem = PurePath(name).stem
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)  # roomLight is two words
    words = re.findall(r"[^\W\d_]+", stem.lower())
    for word in [*words, "".join(words[:2])]:
        for role, starts in _WORDS.items():
            if word.startswith(starts) or (role is Role.MASK and "mask" in word):
                found.add((role, word))
        for role, whole in _WHOLE_WORDS.items():
            if word in whole:
                found.add((role, word))
    return found


def roles(names: Sequence[str]) -> list[Role]:
    """The role of each picture of a set by its name.

    A word that more than half of the pictures share is the part's name, not a role: pictures
    ``white_01.png`` … of a white plate are lit ones, ``dark.png`` beside them is not.
    """
    spoken = [_words(name) for name in names]
    shared = Counter(word for words in spoken for word in words)
    found = []
    for words in spoken:
        own = [role for role, word in words if 2 * shared[role, word] <= max(len(names), 2)]
        found.append(next((role for role in Role if role in own), Role.LIT))
    return found


def numbered_lights(names: Sequence[str]) -> tuple[int, ...] | None:
    """LED numbers that names such as ``led_007.png`` tell; None where they are no LED numbers.

    A camera's running file numbers (``DSC_0412.png``) only order pictures.
    """
    numbers = []
    for name in names:
        match = re.fullmatch(
            r"(?:led|light|lamp)s?[ _.-]*0*([1-9]\d{0,4})", PurePath(name).stem.lower()
        )
        if match is None:
            return None
        numbers.append(int(match[1]))
    return tuple(numbers) if len(set(numbers)) == len(numbers) else None


def base_name(name: str) -> str:
    """The last piece of a path as any system writes it."""
    return PurePosixPath(name.replace("\\", "/")).name


def match_names(listed: Sequence[str], pictures: Sequence[str]) -> list[int | None] | None:
    """For each listed name the picture that it names; None if no name fits any picture.

    Names fit as they are, or else without folders and in any case, or else without their ending
    too (a list made of the JPEGs of pictures that are TIFFs).
    """

    def plain(name: str) -> str:
        return base_name(name).casefold()

    def bare(name: str) -> str:
        return PurePosixPath(plain(name)).stem

    best: list[int | None] | None = None
    for key in (str, plain, bare):
        place = _unique(key(name) for name in pictures)
        keys = _unique(key(name) for name in listed)
        found = [place.get(key(name)) if key(name) in keys else None for name in listed]
        hits = sum(index is not None for index in found)
        if hits > (0 if best is None else sum(index is not None for index in best)):
            best = found
    return best


def _unique(keys: Iterable[str]) -> dict[str, int]:
    ordered = list(keys)
    counts = Counter(ordered)
    return {key: index for index, key in enumerate(ordered) if key and counts[key] == 1}


def lines_of_pictures(
    listed: Sequence[str], pictures: Mapping[int, str], source: str, *, whole: bool
) -> tuple[dict[int, int], str | None]:
    """Which line of a list of lights belongs to each picture.

    Parameters
    ----------
    listed : the name that each line gives, empty where it gives none
    pictures : names of the pictures by their LED
    source : of the list, for messages
    whole : whether the pictures are all that belong to the list; False for a recording of some
        LEDs of a dome

    Returns
    -------
    line (from 0) by LED, and what the user should know, or None

    Raises
    ------
    InputError
        if a picture has no light or, with `whole`, a light no picture
    """
    leds = list(pictures)
    places = match_names(listed, list(pictures.values())) if any(listed) else None
    if places is None:
        said = None
        if any(listed) and whole:
            said = (
                f"{source} names '{listed[0]}' …, and no picture is named so: its lights are "
                "given to the pictures in the order of their numbers"
            )
        if whole and len(listed) != len(leds):
            raise InputError(
                f"{source} has {len(listed)} lights for {len(leds)} pictures: each picture needs "
                "its own light; name the light file of these pictures"
            )
        if whole:
            return {led: line for line, led in enumerate(leds)}, said
        if max(leds) > len(listed):
            raise InputError(
                f"{source} has {len(listed)} lights, and LED {max(leds)} was captured: name the "
                "light file of this dome"
            )
        return {led: led - 1 for led in leds}, said
    line_of = {leds[place]: line for line, place in enumerate(places) if place is not None}
    unlit = [name for led, name in pictures.items() if led not in line_of]
    if unlit or (whole and len(listed) != len(leds)):
        first = next((n for n, p in zip(listed, places, strict=True) if p is None), None)
        why = f"'{unlit[0]}' has none" if unlit else f"'{first}' is no picture of it"
        raise InputError(f"{source} has {len(listed)} lights for {len(leds)} pictures: {why}")
    return line_of, None
