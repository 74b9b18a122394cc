"""How often the proof of pairing errs: `python benchmarks/pairing.py [LEDS]` (8 minutes of 96).

Passes of 96 LEDs, or as many as are named, over parts of all kinds, 8 ms, 12 bits, with the noise
of pictures of 512×512 px.
Prints for a calibration, for an earlier recording of the same part, and for one of another part:
pictures that are not proven though nothing is wrong (false alarms), and pictures recorded as good
though their cable is crossed, they repeat the picture before, a second LED shines with them, or
1 % of another LED is in them. The parts' seeds were never used to choose a threshold.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capture.camera.sensor import Sensor, expose
from capture.evidence import Evidence, Reference, thumbnail
from capture.pairing import judge
from capture.prediction import direction_pictures
from capture.resemblance import reference_pictures
from reconstruct.shapes.catalogue import SHAPES
from reconstruct.shapes.staged import STAGED
from rig.simulate import scene_of, virtual_rig

SEEDS = (301, 302)
EXPOSURE_US = 8000.0
BLACK = 0.004
BINNED = 16  # one rendered pixel of 128×128 stands for 16 of 512×512
SENSOR = Sensor(full_well_e=12_000 * BINNED, read_noise_e=3 * np.sqrt(BINNED))


@dataclass
class Part:
    """Photo-electrons per µs of each LED, and passes over them with whatever is wrong."""

    name: str
    light: NDArray[np.float32]
    ambient: NDArray[np.float32]
    seeds: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def take(
        self, wiring: dict[int, int] | None = None, more: dict[int, tuple[int, float]] | None = None
    ) -> list[Evidence]:
        """A pass; `wiring`: LED -> the one that shines; `more`: LED -> (another, its share)."""

        def seen(rate: NDArray[np.float32]) -> NDArray[np.float32]:
            electrons = np.asarray((rate + self.ambient) * EXPOSURE_US * BINNED, np.float32)
            return thumbnail(expose(electrons, EXPOSURE_US, 0.0, 12, SENSOR, self.seeds), 4095)

        def of(led: int) -> NDArray[np.float32]:
            rate = self.light[(wiring or {}).get(led, led) - 1]
            other, share = (more or {}).get(led, (1, 0.0))
            return np.asarray(rate + np.float32(share) * self.light[other - 1])

        dark, leds = np.zeros_like(self.ambient), len(self.light)
        taken = [Evidence(0, "dark", 0, seen(dark), echo=0)]
        taken += [
            Evidence(led, "light", led, seen(of(led)), echo=led) for led in range(1, leds + 1)
        ]
        taken.append(Evidence(leds + 1, "repeat", 1, seen(of(1)), echo=1))
        taken.append(Evidence(leds + 2, "dark", 0, seen(dark), echo=0))
        return taken


def verdicts(taken: list[Evidence], reference: Reference) -> dict[int, str]:
    return {v.index: v.verdict for v in judge(taken, [reference], BLACK)}


def main(leds: int) -> None:
    chosen = range(3, leds + 1, leds // 8)
    tried = len(chosen)
    rig = virtual_rig(leds, (128, 128), 0)
    parts = []
    for kind in (*SHAPES, *STAGED):
        for seed in SEEDS:
            scene = scene_of(f"{kind}-{seed}", rig=rig)
            light = np.stack([scene.irradiance(led) for led in range(1, leds + 1)])
            parts.append(Part(scene_name(kind, seed), light, scene.ambient()))
    calibration = Reference(
        tuple(range(1, leds + 1)),
        direction_pictures(rig.lights.position_mm, rig.lights.power),
        "the calibration",
        recorded=False,
    )
    away = rig.lights.position_mm / np.linalg.norm(rig.lights.position_mm, axis=1)[:, None]
    near = np.argsort(-(away @ away.T), axis=1)[:, 1] + 1
    print(
        f"of {leds + 1} lit: not proven | wrongly good: crossed, repeated, coupled | 1 % of another"
    )
    sums: dict[str, NDArray[np.int64]] = {}
    for number, part in enumerate(parts):
        other = parts[(number + 2) % len(parts)]
        own = Reference(*reference_pictures(part.take()), "an earlier recording", recorded=True)
        foreign = Reference(*reference_pictures(other.take()), "another part", recorded=True)
        for reference in (calibration, own, foreign):
            sound = verdicts(part.take(), reference)
            alarms = sum(v != "good" for v in sound.values())
            bad = sum(v == "bad" for v in sound.values())
            crossed = repeated = coupled = stray = 0
            for led in chosen:
                second = int(near[led - 1])
                found = verdicts(part.take({led: second, second: led}), reference)
                crossed += (found[led] == "good") + (found[second] == "good")
                found = verdicts(part.take({led: led - 1}), reference)
                repeated += found[led] == "good"
                found = verdicts(part.take(more={led: (second % leds + 1, 1.0)}), reference)
                coupled += found[led] == "good"
            if reference is own:
                mixed = {led: (led - 1, 0.01) for led in chosen}
                found = verdicts(part.take(more=mixed), reference)
                stray = sum(found[led] == "bad" for led in mixed)
            seen = f"{stray}/{tried} seen" if reference is own else ""
            print(
                f"{part.name:14} {reference.source:21} {alarms:3} ({bad} bad) | "
                f"{crossed:2}/{2 * tried}, {repeated}/{tried}, {coupled}/{tried} | {seen}",
                flush=True,
            )
            counts = [leds + 1, alarms, bad, 2 * tried, crossed, tried, repeated, tried, coupled]
            row = np.array(counts)
            sums[reference.source] = sums.get(reference.source, 0 * row) + row
    for source, n in sums.items():
        print(
            f"{source}: {n[1]} of {n[0]} not proven ({n[2]} bad); wrongly good: {n[4]} of {n[3]} "
            f"crossed, {n[6]} of {n[5]} repeated, {n[8]} of {n[7]} coupled"
        )


def scene_name(kind: str, seed: int) -> str:
    return f"{kind}-{seed}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 96)
