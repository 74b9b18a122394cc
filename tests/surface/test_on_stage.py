"""Machined parts on a stage: outline, height, pieces and their levels, with nothing else given."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from staged_pictures import pictures, small_rig

from calib.lights import Lights
from reconstruct.levels import Rise, signed_distance
from reconstruct.low_steps import candidates, cut_along_low_steps
from reconstruct.methods import Options
from reconstruct.on_stage import find_on_stage, reconstruct_on_stage
from reconstruct.optics.material import Material
from reconstruct.piece_levels import find_levels
from reconstruct.pieces import Pieces, change, find_pieces
from reconstruct.shapes.catalogue import shape
from reconstruct.shapes.staged import Feature, stacked
from reconstruct.short_shadows import short_rise
from reconstruct.stack import Stack
from reconstruct.stage_shadows import OnStage, part_height
from reconstruct.steps import Step, consistent, resting
from reconstruct.surface import Flag, Surface
from reconstruct.wall_edges import _on_curves, top_field
from rig.simulate import VirtualRig, dome, part_scene, virtual_camera
from rig.staged_scene import StagedScene

CHROMIUM = Material.metal("Cr", 0.2)
BLOCK = stacked(
    "block",
    [
        Feature("box", (1.0, -2.0), (24.0, 18.0), 6.0, 0.1, 0.5),
        Feature("box", (10.0, -2.0), (8.0, 9.0), 3.5, 0.1),
        Feature("disc", (-13.0, -11.0), (4.5, 4.5), 0.0),
        Feature("disc", (-10.0, 6.5), (8.0, 8.0), 7.5),
    ],
    {},
)


@cache
def rig() -> VirtualRig:
    return small_rig()


@cache
def block() -> tuple[StagedScene, Stack]:
    scene = StagedScene(rig(), BLOCK, CHROMIUM, disc_points=3)
    return scene, pictures(scene)


@cache
def found() -> OnStage:
    _, stack = block()
    part = find_on_stage(stack, rig().camera, rig().lights)
    assert part is not None
    return part


@cache
def surface() -> Surface:
    _, stack = block()
    options = Options(uncertainty=False)
    return reconstruct_on_stage("refine", stack, rig().camera, rig().lights, options, found())


def test_part_is_found_and_its_hole_shows_the_stage() -> None:
    scene, _ = block()
    both, either = (found().mask & scene.mask).sum(), (found().mask | scene.mask).sum()
    assert both / either > 0.98
    hole = np.hypot(scene.points_mm[..., 0] + 13, scene.points_mm[..., 1] + 11) < 2.5
    assert not found().mask[hole].any()


def test_shadow_on_the_stage_ends_where_geometry_has_it() -> None:
    """What levels are told by must be true in the virtual rig to begin with."""
    half, top, turn = 20.03, 6.0, 0.15  # askew, so that the edge crosses cells at all places
    across = np.array([np.cos(turn), np.sin(turn)])
    elevation = np.radians([25.0, 45.0, 65.0])
    place = 280.0 * np.column_stack([-np.cos(elevation)[:, None] * across, np.sin(elevation)])
    camera = virtual_camera((160, 160), tilt_deg=0.0)
    bench = VirtualRig(camera, Lights.at(place, lobe=1.0), place)
    part = stacked("box", [Feature("box", (0.0, 0.0), (half, half), top, turn)], {})
    scene = StagedScene(bench, part, CHROMIUM, bounce=False, blur_px=0.0)
    bare = StagedScene(bench, None, CHROMIUM, bounce=False, blur_px=0.0, divide=1)
    x, y, _ = np.moveaxis(camera.points_at_height(0.0)[70:90], -1, 0)
    from_middle = x * across[0] + y * across[1]
    pitch = (x[0, 1] - x[0, 0]) * across[0]
    beside = from_middle > half + 0.7
    first = np.where(beside, from_middle, np.inf).min(axis=1) - 0.5 * pitch
    off = []
    for led, (px, py, pz) in enumerate(place, 1):
        dark = 1.0 - np.clip(scene.radiance(led)[70:90] / bare.radiance(led)[70:90], 0.0, 1.0)
        seen = first + (dark * beside).sum(axis=1) * pitch
        away = half - (px * across[0] + py * across[1])
        off.append(np.mean(seen) - (half + away * top / (pz - top)))
    assert np.abs(off).max() < 0.1 * pitch / 3  # of a cell
    assert np.ptp(off) < 0.1 * pitch / 3  # heights are told by how it grows with the light's angle


def test_top_of_a_wall_ends_where_the_part_has_it() -> None:
    """The border that is given lies one to two pixels too far down and is askew."""
    _, stack = block()
    camera, pocket = rig().camera, Feature(**BLOCK.parameters["features"][1])
    x, y, _ = np.moveaxis(camera.points_at_height(6.0), -1, 0)
    exact = (-pocket.inside_mm(x, y) / camera.pixel_mm(6.0)).astype(np.float32)
    given = exact + 1.5 + 0.5 * np.sin(0.2 * (x + y)).astype(np.float32)
    below = (given < 0) & (given > -8)
    found = top_field(stack, camera, rig().lights, given, given > 1, below, 6.0)
    assert found is not None
    rim = np.abs(given) < 0.75
    assert np.abs(np.median((found - exact)[rim])) < 0.06
    assert np.quantile(np.abs(found - exact)[rim], 0.9) < 0.2


def test_what_a_chamfer_mirrors_does_not_move_the_top() -> None:
    """The lit stage, for one: it is seen alike under all lights."""
    edge = Feature("box", (0.0, 0.0), (24.0, 18.0), 6.0, 0.1, 0.8)
    part = StagedScene(rig(), stacked("block", [edge], {}), CHROMIUM, disc_points=3)
    stack, camera = pictures(part), rig().camera
    x, y, _ = np.moveaxis(camera.points_at_height(6.0), -1, 0)
    inside = replace(edge, half_mm=(24.0 - 0.8, 18.0 - 0.8)).inside_mm(x, y)
    top = (inside / camera.pixel_mm(6.0)).astype(np.float32)
    chamfer = (part.mask & (inside < 0)).astype(np.float32)
    above = np.median(stack.radiance[:, inside > 2.0], axis=1)
    glow = 0.2 * np.median(above) * cv2.GaussianBlur(chamfer, (0, 0), 0.6)
    given = signed_distance(part.mask)
    for seen in (stack, replace(stack, radiance=stack.radiance + glow)):
        part_on_stage = find_on_stage(seen, camera, rig().lights)
        assert part_on_stage is not None
        found = part_on_stage.top
        assert found is not None
        side = (np.abs(found) < 0.75) & (np.abs(given) < 6)
        assert abs(np.median((found - top)[side])) < 0.12


def test_shadow_of_a_hub_over_the_edge_does_not_move_the_top() -> None:
    """Where it ends near the edge, light along the line does not go with the light above."""
    edge = Feature("disc", (0.0, 0.0), (22.0, 22.0), 3.0, 0.0, 0.8)
    hub = Feature("disc", (0.0, 0.0), (12.0, 12.0), 7.0)
    part = StagedScene(rig(), stacked("flange", [edge, hub], {}), CHROMIUM, disc_points=3)
    stack, camera = pictures(part), rig().camera
    x, y, _ = np.moveaxis(camera.points_at_height(3.0), -1, 0)
    top = ((22.0 - 0.8 - np.hypot(x, y)) / camera.pixel_mm(3.0)).astype(np.float32)
    part_on_stage = find_on_stage(stack, camera, rig().lights)
    assert part_on_stage is not None
    found = part_on_stage.top
    assert found is not None
    rim = np.abs(top) < 0.75
    assert np.quantile(np.abs(found - top)[rim], 0.9) < 0.2


def test_top_is_found_behind_a_chamfer_of_many_pixels() -> None:
    """The border that is given is that of the part, a wall and a chamfer below its top."""
    chamfer_mm = 3.5
    edge = Feature("box", (0.0, 0.0), (24.0, 18.0), 9.0, 0.1, chamfer_mm)
    part = StagedScene(rig(), stacked("block", [edge], {}), CHROMIUM, disc_points=3)
    stack, camera = pictures(part), rig().camera
    given = signed_distance(part.mask)
    found = top_field(stack, camera, rig().lights, given, part.mask, ~part.mask, 0.0)
    assert found is not None
    x, y, _ = np.moveaxis(camera.points_at_height(9.0), -1, 0)
    inside = replace(edge, half_mm=(24.0 - chamfer_mm, 18.0 - chamfer_mm)).inside_mm(x, y)
    side = (np.abs(found) < 0.75) & (np.abs(given) < 12)
    away = found - inside / camera.pixel_mm(9.0)
    assert abs(np.median(away[side])) < 0.3


@pytest.mark.slow
def test_levels_are_told_past_a_chamfer_as_wide_as_a_piece() -> None:
    """In large pictures its faces are pieces, and no line from the border ends on the top."""
    lights, nominal = dome(48)
    large = VirtualRig(virtual_camera((240, 240), 45.0), lights, nominal)
    edge = Feature("disc", (0.0, 0.0), (15.0, 15.0), 5.0, 0.0, 1.5)
    hub = Feature("disc", (0.0, 0.0), (8.0, 8.0), 7.0)
    part = StagedScene(large, stacked("flange", [edge, hub], {}), CHROMIUM, disc_points=3)
    stack = pictures(part)
    part_on_stage = find_on_stage(stack, large.camera, lights)
    assert part_on_stage is not None
    options = Options(uncertainty=False)
    surface = reconstruct_on_stage("refine", stack, large.camera, lights, options, part_on_stage)
    told = surface.summary["pieces"]
    assert [piece["told_by"] for piece in told] == ["shadow", "shadow"]
    for piece, true_mm in zip(told, (5.0, 7.0), strict=True):
        assert abs(piece["level_mm"] - true_mm) < 0.05


def test_step_to_a_speck_moves_the_speck() -> None:
    """Unless the stage tells where they both lie."""
    rise = Rise(0.3, 0.08, 0.0, 1.0, 5)
    guessed, pixels = {1: 5.0, 2: 5.3}, {1: 99_000, 2: 1_000}
    steps = [Step(1, 2, 0.3, 0.08, rise)]
    values, _, kept = consistent(2, steps, guessed, 10.0, None)
    levels = resting(values, kept, guessed, pixels)
    assert levels[1] == pytest.approx(5.0, abs=0.01)
    assert levels[1] - levels[2] == pytest.approx(0.3, abs=1e-3)
    steps.append(Step(2, 0, 4.0, 0.08, rise))
    values, _, kept = consistent(2, steps, guessed, 10.0, None)
    np.testing.assert_array_equal(resting(values, kept, guessed, pixels), values)


def test_no_border_between_pieces_tells_no_top() -> None:
    _, stack = block()
    far = np.full(stack.shape, -20.0, np.float32)
    assert top_field(stack, rig().camera, rig().lights, far, far > 0, far < 0, 6.0) is None


@pytest.mark.parametrize("rise", [0.4, 0.8])
def test_step_lower_than_its_shadows_are_seen_is_told_by_the_light_they_take(rise: float) -> None:
    base, boss = Feature("box", (0, 0), (24, 24), 5.0), Feature("disc", (0, 0), (12, 12), 5 + rise)
    scene = StagedScene(rig(), stacked("low", [base, boss], {}), CHROMIUM, bounce=False)
    stack, camera = pictures(scene), rig().camera
    z, x, y = scene.points_mm[..., 2], *np.moveaxis(camera.points_at_height(5.0), -1, 0)[:2]
    inner = 12.0 - np.hypot(x, y)
    labels = np.where(inner > 1.5, 1, np.where((inner < -1.5) & (z > 4.9), 2, 0))
    nearest = np.where(inner > -0.5, 1, np.where(z > 4.9, 2, 0))
    pieces = Pieces(labels.astype(np.int32), nearest.astype(np.int32), 2)
    told = []
    for upper, lower in ((1, 2), (2, 1)):
        field = signed_distance(nearest == upper)
        told.append(
            short_rise(stack, camera, rig().lights, field, pieces, (upper, lower), 5.0 + rise)
        )
    assert told[0] is not None
    assert abs(told[0].mm - rise) < 0.05
    assert told[0].sigma_mm > 0.005  # however many lines agree
    assert told[1] is None  # a pocket does not rise
    apart = Pieces(np.where(inner > 1.5, 1, 0).astype(np.int32), nearest.astype(np.int32), 2)
    field = signed_distance(nearest == 1)
    assert short_rise(stack, camera, rig().lights, field, apart, (1, 2), 5.0 + rise) is None


def low_part(rise: float) -> tuple[Pieces, Stack, NDArray[np.float32], OnStage]:
    """A plate and a disc on it as one piece, as normals alone show them."""
    base, boss = Feature("box", (0, 0), (24, 24), 5.0), Feature("disc", (0, 0), (12, 12), 5 + rise)
    features = [base, boss] if rise > 0 else [base]
    scene = StagedScene(rig(), stacked("low", features, {}), CHROMIUM, bounce=False)
    stack = pictures(scene)
    part = find_on_stage(stack, rig().camera, rig().lights)
    assert part is not None
    whole = cv2.erode(part.mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.int32)
    return Pieces(whole, part.mask.astype(np.int32), 1), stack, change(stack), part


def test_piece_is_cut_along_a_low_step_that_shadows_tell() -> None:
    pieces, _, changed, part = low_part(0.35)
    cut = cut_along_low_steps(pieces, changed, part.mask, lambda p: p, part, 5.0)
    assert cut.count == 2
    x, y, _ = np.moveaxis(rig().camera.points_at_height(5.0), -1, 0)
    from_middle = np.hypot(x, y)
    assert (cut.labels[from_middle < 10.0] == 2).all()
    assert not (cut.labels[from_middle > 14.0] == 2).any()


def test_piece_that_only_looks_cut_stays_whole() -> None:
    pieces, stack, _, part = low_part(0.0)
    x, y, _ = np.moveaxis(rig().camera.points_at_height(5.0), -1, 0)
    ring = np.abs(np.hypot(x, y) - 12.0) < 0.5  # a scratch, darker under all lights alike
    stained = replace(stack, radiance=np.where(ring, 0.7 * stack.radiance, stack.radiance))
    changed = change(stained)
    assert candidates(pieces, changed, part.mask)
    seen = replace(part, stack=stained)
    assert cut_along_low_steps(pieces, changed, part.mask, lambda p: p, seen, 5.0) is pieces


def test_edge_of_a_part_in_the_pictures_is_where_the_part_ends() -> None:
    """A pixel is as bright as the share of it that the lit ground covers."""
    half, turn = 20.03, 0.15
    camera = virtual_camera((160, 160), tilt_deg=0.0)
    place = np.array([[-150.0, -150.0 * np.tan(turn), 150.0]])  # the far edge faces away from it
    bench = VirtualRig(camera, Lights.at(place, lobe=1.0), place)
    part = stacked("box", [Feature("box", (0.0, 0.0), (half, half), 6.0, turn)], {})
    scene = StagedScene(bench, part, CHROMIUM, stage_albedo=0.0, bounce=False, blur_px=0.0)
    x, y, _ = np.moveaxis(camera.points_at_height(6.0)[70:90], -1, 0)
    beyond = x * np.cos(turn) + y * np.sin(turn) - half
    image = scene.radiance(1)[70:90]
    near = np.abs(beyond) < 2.5
    share = image / np.median(image[(beyond > -2.5) & (beyond < -1.5)])
    pitch = (x[0, 1] - x[0, 0]) * np.cos(turn)
    lit = (share * near).sum(axis=1) * pitch
    ground = (near & (beyond < 0)).sum(axis=1) * pitch
    assert abs(np.mean(lit - ground)) < 0.1 * pitch


def test_part_that_fills_the_picture_has_no_outline() -> None:
    scene = part_scene(rig(), shape("field", 1), bounce=False)
    assert find_on_stage(pictures(scene), rig().camera, rig().lights) is None


def test_empty_stage_has_no_part() -> None:
    scene = StagedScene(rig(), None, CHROMIUM, bounce=False)
    assert find_on_stage(pictures(scene), rig().camera, rig().lights) is None


def test_drawn_mask_overrides_the_outline() -> None:
    _, stack = block()
    drawn = np.zeros(stack.shape, bool)
    drawn[50:110, 50:110] = True
    part = find_on_stage(stack, rig().camera, rig().lights, drawn)
    assert part is not None
    np.testing.assert_array_equal(part.mask, drawn)


@pytest.mark.parametrize("level", [6.0, 3.5, 7.5])
def test_level_lies_within_three_sigma_and_is_told_by_shadows(level: float) -> None:
    scene, _ = block()
    true = scene.points_mm[..., 2]
    flat = np.abs(true - level) < 0.02
    pieces = surface().summary["pieces"]
    at = [p for p in pieces if abs(p["level_mm"] - level) < 0.7]
    assert len(at) == 1
    assert at[0]["told_by"] == "shadow"
    assert abs(at[0]["level_mm"] - level) < min(0.12, 3.0 * at[0]["sigma_mm"])
    error = (surface().height_mm - true)[flat & surface().mask]
    assert np.abs(np.median(error)) < 0.12


def test_slopes_astray_in_one_corner_do_not_move_a_level() -> None:
    scene, stack = block()
    both = found().mask & scene.mask
    true = np.where(both, scene.points_mm[..., 2], np.nan).astype(np.float32)
    normals = np.where(both[..., None], scene.normals, np.nan).astype(np.float32)
    pieces = find_pieces(normals, found().mask, change(stack))
    x, y = scene.points_mm[..., 0] + 10.0, scene.points_mm[..., 1] - 6.5
    corner = (np.hypot(x, y) < 8.0) & (x > 3.0)  # a quarter of the boss
    bent = np.where(corner, true + 0.3 * (x - 3.0), true).astype(np.float32)
    first = part_height(found())
    levels = []
    for height in (true, bent):
        seen = replace(surface(), height_mm=height, normals=normals)
        told, _, _ = find_levels(found(), seen, pieces, first, 6.0, None)
        levels.append([told[piece].mm for piece in sorted(told)])
    assert len(levels[0]) >= 3
    np.testing.assert_allclose(*levels, atol=0.03)


def test_walls_are_holes() -> None:
    scene, _ = block()
    x, y, z = np.moveaxis(scene.points_mm, -1, 0)
    wall = scene.mask & (z > 3.8) & (z < 5.2) & (np.hypot(x - 10, y + 2) < 15)
    assert wall.any()
    assert np.isnan(surface().height_mm[wall]).all()
    assert (surface().flags[wall] & int(Flag.EDGE)).all()


def test_lights_in_another_order_are_matched() -> None:
    _, stack = block()
    turned = rig().lights.select(np.arange(48)[::-1])
    part = find_on_stage(stack, rig().camera, turned)
    assert part is not None
    np.testing.assert_array_equal(part.mask, found().mask)


def test_recorded_empty_stage_gives_the_same_outline() -> None:
    scene, stack = block()
    bare = StagedScene(rig(), None, CHROMIUM, bounce=False)
    lights = rig().lights
    images = np.stack([scene.irradiance(int(led)) for led in lights.ids])
    stage = np.stack([bare.irradiance(int(led)) for led in lights.ids])
    stage = (stage / np.quantile(images, 0.998)).astype(np.float32)
    empty = Stack(lights.ids, stage, stage >= 1.0, stack.noise_floor, stack.noise_gain)
    part = find_on_stage(stack, rig().camera, lights, empty=empty)
    assert part is not None
    both, either = (part.mask & scene.mask).sum(), (part.mask | scene.mask).sum()
    assert both / either > 0.98


def test_a_border_of_two_ends_is_straight() -> None:
    """Two ends determine no parabola: seen of a part whose lit ground ended in few places."""
    ends, normal = np.array([[0.0, 0.0], [5.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    places, turned, straight = _on_curves(ends, normal)
    np.testing.assert_allclose(places, ends, atol=1e-6)
    np.testing.assert_allclose(turned, normal, atol=1e-6)
    assert straight.all()


def test_height_is_unsure_where_a_wall_along_one_side_casts_the_shadows() -> None:
    plate = Feature("box", (0.0, 0.0), (24.0, 18.0), 3.0)
    wall = Feature("box", (-23.3, 0.0), (0.7, 18.0), 9.0)
    scene = StagedScene(rig(), stacked("angle", [plate, wall], {}), CHROMIUM, disc_points=3)
    found = find_on_stage(pictures(scene), rig().camera, rig().lights)
    assert found is not None
    told = part_height(found)
    assert told is not None
    assert abs(told.mm - 3.0) < 3.0 * told.sigma_mm


def test_height_over_a_rounded_edge_is_as_unsure_as_it_is_wrong() -> None:
    """No edge is measured there that the model of a chamfer holds."""
    radius, block = 2.5, Feature("box", (0.0, 0.0), (24.0, 18.0), 6.0)

    def height(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = block.inside_mm(x, y)
        fallen = radius - np.sqrt(
            np.maximum(radius**2 - np.clip(radius - inside, 0, radius) ** 2, 0)
        )
        return np.where(inside > 0, 6.0 - fallen, 0.0)

    rounded = replace(stacked("block", [block], {}), height=height)
    scene = StagedScene(rig(), rounded, CHROMIUM, disc_points=3)
    found = find_on_stage(pictures(scene), rig().camera, rig().lights)
    assert found is not None
    told = part_height(found)
    assert told is not None
    assert abs(told.mm - 6.0) < 3.0 * told.sigma_mm
