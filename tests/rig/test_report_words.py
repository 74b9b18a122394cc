"""Figures, scales and causes of a report, as a reader meets them."""

import numpy as np
import pytest

from calib.camera import Camera
from reconstruct.metrology.grid import HeightGrid
from reconstruct.surface import Flag, Surface
from rig.report.limits import limits_of
from rig.report.maps import deviations, draw
from rig.report.scales import scale_of
from rig.report.words import moment, origin, rounded


@pytest.mark.parametrize(
    ("value", "sigma", "said"),
    [
        (8.0408, 0.1046, "8.04 ± 0.10"),
        (2.29445, 1.0, "2.3 ± 1.0"),
        (-0.0312, 0.00041, "−0.03120 ± 0.00041"),
        (1234.5, 97.0, "1234 ± 97"),
        (12345.0, 1700.0, "12300 ± 1700"),
        (0.99996, 0.0996, "1.00 ± 0.10"),
        (0.0123, None, "0.01230"),
        (float("nan"), 0.1, "–"),
    ],
)
def test_a_value_shows_two_digits_of_its_sigma(value, sigma, said):
    assert rounded(value, sigma) == said


def test_a_scale_ends_at_round_numbers_and_says_what_it_clips():
    values = np.concatenate([np.linspace(-1.03, 2.07, 10_000), [40.0] * 10])
    scale = scale_of(values)
    assert (scale.low, scale.high) == (-1.2, 2.2)
    assert scale.ticks() == [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    assert scale.clipped("mm") == "0.10 % above 2.2 mm in the end's colour"
    assert scale_of(np.linspace(-1.03, 2.07, 100)).clipped("mm") == ""


def test_a_flat_map_has_a_scale():
    scale = scale_of(np.full(9, 3.0))
    assert scale.low < 3.0 < scale.high
    assert scale_of(np.full(4, np.nan)).ticks()


def test_a_drawn_map_has_axes_arrows_and_a_bar():
    z = np.outer(np.linspace(-0.01, 0.01, 30), np.ones(40))
    z[:5] = np.nan
    text = draw(deviations(HeightGrid(z, 0.5, -10.0, -7.5)), ())
    for word in ("x, mm", "y, mm", ">x</text>", ">y</text>", "5 mm</text>", "µm", "−10", "role="):
        assert word in text


def surface(**summary):
    camera = Camera(
        8, 6, np.array([[80.0, 0, 4], [0, 80.0, 3], [0, 0, 1]]), t=np.array([0, 0, 9.0])
    )
    flat = np.zeros(camera.shape, np.float32)
    normals = np.zeros((*camera.shape, 3), np.float32)
    normals[..., 2] = 1
    flags = np.zeros(camera.shape, np.uint8)
    flags[:, 0] = Flag.SHADOWED
    sigma = np.full(camera.shape, 0.002, np.float32)
    sigma[:, 0] = 0.01
    return Surface(camera, flat, normals, sigma, sigma, flags, {}, summary)


def test_the_greatest_cause_comes_first_and_noise_is_told_from_misfit():
    found = limits_of(
        surface(variance_mm2={"pictures": 4e-6, "lights": 1e-6}, residual=4e-5, noise=1e-5)
    )
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "what the fit's model leaves unexplained"
    assert [round(row["percent"]) for row in found["rows"]] == [60, 20, 20]
    assert sum(row["um"] ** 2 for row in found["rows"]) == pytest.approx(5.0)
    told = limits_of(surface(variance_mm2={"pictures": 4e-6}, repeatability_mm=4e-4))["rows"]
    assert [round(row["percent"]) for row in told] == [96, 4], "what repeating shows is noise"
    assert any("its median sigma is 10 µm, elsewhere 2.0 µm" in said for said in found["said"])


def test_a_method_that_splits_nothing_says_so():
    assert (
        limits_of(surface(method="lambert"))["said"][0]
        == "The method lambert splits no uncertainty."
    )


def test_where_a_result_comes_from_is_said_in_sentences():
    said = " ".join(
        origin(
            {"method": "refine", "part": "A12", "recording": "r1", "leds": [1, 2, 3],
             "date": "2026-11-28T21:26:48+00:00", "calibration": {"lights": "lights.lp"},
             "height": {"mm": 12.345, "sigma_mm": 0.5, "from": "rig.yaml"}},
            (256, 320),
        )
    )  # fmt: skip
    assert "on 28 November 2026, 21:26 UTC from 3 pictures of 320 × 256 px" in said
    assert "The mean height is 12.35 ± 0.50 mm, given in rig.yaml." in said
    assert moment("yesterday") == "yesterday"


def test_a_height_that_nearness_corrected_is_not_called_given():
    height = {"mm": -6.17, "sigma_mm": 1.0, "from": "nearness"}
    said = " ".join(origin({"method": "refine", "height": height}, (256, 256)))
    assert "is −6.2 ± 1.0 mm, told by where the places that show highlights fit the near" in said
