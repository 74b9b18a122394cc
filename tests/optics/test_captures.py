"""The model against pictures by an independent path tracer, true geometry and lights given."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.camera import Camera
from calib.lights import Lights
from reconstruct.optics.interreflection import indirect, upsampled
from reconstruct.optics.material import Lobe, Material
from reconstruct.optics.render import render

CAPTURES = Path(__file__).resolve().parents[2].parent / "shared" / "captures"
pytestmark = [
    pytest.mark.captures,
    pytest.mark.skipif(not CAPTURES.is_dir(), reason="no captures beside the repository"),
]

# The path tracer renders one grey channel; its metals are then averages over the visible spectrum.
CR, CU = (3.1345, 4.4043), (0.7829, 2.7412)
METALS = {
    "blob": Material((Lobe(0.15, None, *CR),)),
    "stamped": Material((Lobe(0.25, None, *CU, 1.0, "beckmann"),)),
    "steep": Material((Lobe(0.25, None, *CU),)),
    "white": Material.lambertian(0.8),
}


def load(name: str):
    folder = CAPTURES / name
    camera = Camera.read(folder / "camera.json")
    rows = [line.split()[-3:] for line in (folder / "lights.lp").read_text().splitlines()[1:]]
    power = np.loadtxt(folder / "power.csv")
    lights = Lights.at(np.array(rows, dtype=float), power, lobe=1.0)
    lights = replace(lights, intensity=4000 * 2.5**2 * np.pi)
    exposure = json.loads((folder / "exposure.json").read_text())["exposure"]
    pictures = [cv2.imread(str(folder / f"led_{i:03d}.png"), -1) for i in range(1, 97)]
    signal = np.stack(pictures) / 65536 - 0.004
    clipped = np.stack(pictures) >= (4094 << 4)
    with np.load(folder / "truth.npz") as truth:
        return (
            camera,
            lights,
            signal / exposure,
            signal,
            clipped,
            truth["position"],
            truth["normal"],
        )


def differences(name: str, bounce: bool) -> tuple[float, float]:
    camera, lights, radiance, signal, clipped, points, normals = load(name)
    model = render(points, normals, camera, lights, METALS[name])
    if bounce:
        traced = indirect(points, normals, camera, lights, METALS[name])
        model = model + upsampled(traced, camera.shape)
    # Below 2 % of full scale the sensor's noise alone makes more than 5 %.
    good = ~clipped & (signal > 0.02)
    ratio = model[good] / radiance[good]
    return float(np.median(abs(ratio - 1))), float(np.median(ratio))


@pytest.mark.parametrize(
    ("name", "bounce", "bound"),
    [
        ("blob", False, 0.025),
        ("stamped", False, 0.025),
        ("steep", False, 0.036),
        ("steep", True, 0.030),
        ("white", False, 0.012),
    ],
)
def test_median_difference_of_unclipped_pixels(name: str, bounce: bool, bound: float) -> None:
    difference, ratio = differences(name, bounce)
    print(f"{name} {bounce=}: median difference {difference:.4f}, median ratio {ratio:.4f}")
    assert difference <= bound
    assert ratio == pytest.approx(1.0, abs=0.025)


def test_bounced_light_explains_most_of_the_rest_on_stamped_metal() -> None:
    camera, lights, radiance, _, clipped, points, normals = load("stamped")
    direct = render(points, normals, camera, lights, METALS["stamped"])
    traced = upsampled(indirect(points, normals, camera, lights, METALS["stamped"]), camera.shape)
    good = ~clipped
    before = np.sqrt(np.mean((radiance - direct)[good] ** 2))
    after = np.sqrt(np.mean((radiance - direct - traced)[good] ** 2))
    assert after < 0.65 * before
