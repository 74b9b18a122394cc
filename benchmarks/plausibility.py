"""How often pictures are held against their lights wrongly: ``python benchmarks/plausibility.py``.

Virtual parts of every kind, of metals from polished to blasted and of a matt coat, under domes of
12 to 48 LEDs, with the noise of a sensor and lights that are off by what a calibration leaves.
Prints how many good inputs are refused or doubted, and of each confusion of the lights how many are
refused, said, and said by its name.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from calib.camera import Camera
from calib.lights import Lights
from capture.camera.sensor import Sensor, expose
from reconstruct.errors import ReconstructError
from reconstruct.optics.material import Material
from reconstruct.plausible import judge
from reconstruct.shapes.catalogue import SHAPES, shape
from reconstruct.stack import Stack
from rig.simulate import part_scene, virtual_rig

SIZE = 64
LEDS = (12, 16, 24, 48)
OFF_MM = 0.5
MATERIALS = (
    ("Cr", 0.06), ("Al", 0.12), ("Cu", 0.2), ("Ni", 0.3), ("Cr", 0.4), ("matt", 0.5),
)  # fmt: skip
SENSOR = Sensor()
TOP = 0.95  # of the full well, for all but the brightest 0.2 % of the pixels


def good_input(number: int) -> tuple[str, Stack, Camera, Lights]:
    """The pictures of a part, its camera, and its lights as calibrated."""
    kind = list(SHAPES)[number % len(SHAPES)]
    metal, alpha = MATERIALS[number % len(MATERIALS)]
    count = LEDS[number // 3 % len(LEDS)]
    rig = virtual_rig(count, (SIZE, SIZE), seed=number)
    material = Material.lambertian(alpha) if metal == "matt" else Material.metal(metal, alpha)
    scene = part_scene(rig, shape(kind, number), material, seed=number, bounce=False)
    light = np.stack([scene.irradiance(led) for led in rig.lights.ids])
    exposure_us = TOP * SENSOR.full_well_e / np.quantile(light, 0.998)
    rng = np.random.default_rng(number)
    counts = np.stack([expose(e * exposure_us, exposure_us, 0.0, 12, SENSOR, rng) for e in light])
    black = SENSOR.black_level * 4095
    per_electron = 4095 / SENSOR.full_well_e
    stack = Stack(
        rig.lights.ids.astype(np.int64),
        ((counts - black) / 4095).astype(np.float32),
        counts >= 4095,
        (SENSOR.read_noise_e * per_electron / 4095) ** 2,
        per_electron / 4095,
    )
    off = rng.normal(0, OFF_MM, rig.lights.position_mm.shape)
    lights = replace(rig.lights, position_mm=rig.lights.position_mm + off, intensity=None)
    return f"{kind}-{number}, {metal} {alpha}, {count} LEDs", stack, rig.camera, lights


def turned(lights: Lights, x: tuple[int, int], y: tuple[int, int]) -> Lights:
    matrix = np.array([[*x, 0], [*y, 0], [0, 0, 1]], float)
    return replace(lights, position_mm=lights.position_mm @ matrix.T, axis=lights.axis @ matrix.T)


def confused(lights: Lights, rng: np.random.Generator) -> Iterator[tuple[str, Lights, str]]:
    """Each confusion: what it is, the lights, and a word of the sentence that names it."""
    count = len(lights)

    def ordered(order: np.ndarray) -> Lights:
        return replace(lights.select(order), ids=lights.ids)

    swapped = np.arange(count)
    one, other = rng.choice(count, 2, replace=False)
    swapped[[one, other]] = swapped[[other, one]]
    named = f"that of LED {min(one, other) + 1} to LED {max(one, other) + 1}"
    yield "two swapped", ordered(swapped), named
    yield "shifted by one", ordered(np.roll(np.arange(count), 1)), "shifted by −1"
    yield "reversed", ordered(np.arange(count)[::-1]), "reverse"
    yield "shuffled", ordered(rng.permutation(count)), "to LED"
    yield "mirrored in x", turned(lights, (-1, 0), (0, 1)), "left to right"
    yield "mirrored in y", turned(lights, (1, 0), (0, -1)), "top to bottom"
    yield "turned by 180°", turned(lights, (-1, 0), (0, -1)), "180"
    yield "turned by 90°", turned(lights, (0, -1), (1, 0)), "turned by"
    yield "in cm", replace(lights, position_mm=lights.position_mm / 10), "in cm"


def answer(stack: Stack, camera: Camera, lights: Lights) -> tuple[str, str]:
    """``silent``, ``said`` or ``refused``, and the words."""
    try:
        notes = judge(stack, camera, lights).notes
    except ReconstructError as error:
        return "refused", str(error)
    return ("said", " ".join(notes)) if notes else ("silent", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--good", action="store_true", help="good inputs only")
    asked = parser.parse_args()
    good: Counter[str] = Counter()
    found: dict[str, Counter[str]] = {}
    for number in range(asked.first, asked.first + asked.parts):
        name, stack, camera, lights = good_input(number)
        how, words = answer(stack, camera, lights)
        good[how] += 1
        if how != "silent":
            print(f"{name}: {how}: {words}", flush=True)
        if asked.good:
            continue
        for what, wrong, word in confused(lights, np.random.default_rng(number)):
            how, words = answer(stack, camera, wrong)
            counts = found.setdefault(what, Counter())
            counts[how] += 1
            counts["by its name"] += word in words
    print(json.dumps({"good": dict(good)}))
    for what, counts in found.items():
        print(json.dumps({what: dict(counts)}))


if __name__ == "__main__":
    main()
