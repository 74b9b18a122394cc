"""The any-rig network: encoding, fusion, weights and the method."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.camera import Camera
from calib.lights import Lights
from reconstruct import methods
from reconstruct.dpps import fusion
from reconstruct.dpps.drawing import Ask, scene_of
from reconstruct.dpps.encoding import CHANNELS
from reconstruct.dpps.forward import Network
from reconstruct.dpps.network import AnyRigNet, OnDevice, loss_of, network_of, weights_of
from reconstruct.dpps.predict import SCREEN, dpps, infer, joined, predict_view
from reconstruct.dpps.samples import draw
from reconstruct.dpps.view import view_of, view_of_sample
from reconstruct.dpps.weights import SHIPPED, Shape, read_weights, write_weights
from reconstruct.errors import ReconstructError
from reconstruct.stack import Stack, flat_band

DOME = Ask(rig="dome96", zoom=0.0, shapes="blobby", slope_deg=(8.0, 15.0))


def a_capture(seed: int = 9, ask: Ask = DOME) -> tuple[Stack, Camera, Lights, np.ndarray]:
    """A training-style sample as a user would bring it, with its true heights."""
    sample = draw(seed, replace(ask, ideal=True), "test", keep_radiance=True)
    assert sample.mask.all(), "choose a part that fills the field"
    n, camera_mm = ask.size, sample.centre_mm
    seen = scene_of(seed, replace(ask, ideal=True), "test").lights
    f = 1 / sample.pixel_angle
    camera = Camera(
        n, n, np.array([[f, 0, (n - 1) / 2], [0, f, (n - 1) / 2], [0, 0, 1.0]]),
        t=np.array([0, 0, camera_mm]),
    )  # fmt: skip
    lights = replace(
        Lights.at(seen["position"], seen["power"]), axis=seen["axis"], lobe=seen["lobe"]
    )
    radiance = np.moveaxis(sample.radiance, -1, 0)
    stack = Stack(
        np.arange(1, len(lights) + 1), radiance, np.zeros(radiance.shape, bool), 1e-7, 1e-5
    )
    return stack, camera, lights, camera_mm - np.exp(sample.log_depth)


@pytest.fixture(scope="module")
def capture():
    return a_capture()


def test_the_order_of_lights_does_not_matter(capture) -> None:
    stack, camera, lights, _ = capture
    view, _ = view_of(stack, camera, lights)
    order = np.random.default_rng(1).permutation(len(lights))
    shuffled = replace(stack, radiance=stack.radiance[order], clipped=stack.clipped[order])
    other, _ = view_of(shuffled, camera, lights.select(order))
    base = np.full(stack.shape, np.log(camera.t[2]))
    np.testing.assert_allclose(view.channels(base), other.channels(base), atol=2e-3)


def test_a_repeated_light_changes_only_the_count(capture) -> None:
    stack, camera, lights, _ = capture
    base = np.full(stack.shape, np.log(camera.t[2]))
    once = view_of(stack, camera, lights)[0].channels(base)
    twice = np.tile(np.arange(len(lights)), 2)
    doubled = replace(
        stack, radiance=stack.radiance[twice], clipped=stack.clipped[twice], ids=stack.ids[twice]
    )
    both = view_of(doubled, camera, lights.select(twice))[0].channels(base)
    changed = np.abs(both - once).max((1, 2)) > 5e-3
    assert changed.nonzero()[0].tolist() == [39]


def test_brighter_pictures_give_the_same_channels(capture) -> None:
    stack, camera, lights, _ = capture
    base = np.full(stack.shape, np.log(camera.t[2]))
    brighter = replace(stack, radiance=stack.radiance * 700, noise_floor=1e-7 * 700**2)
    one = view_of(stack, camera, lights)[0].channels(base)
    two = view_of(brighter, camera, lights)[0].channels(base)
    np.testing.assert_allclose(one, two, atol=5e-3)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_slopes_and_normals_are_inverse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rays = rng.uniform(-0.4, 0.4, (5, 6, 2))
    slopes = rng.normal(0, 1, (5, 6, 2))
    slopes *= (1 + (slopes * rays).sum(-1) > 0.2)[..., None]
    normals = fusion.normals_of(slopes, rays)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1)
    np.testing.assert_allclose(fusion.slopes_of(normals, rays), slopes, atol=1e-9)


@pytest.mark.parametrize("hole", [False, True])
def test_fusion_returns_the_surface_its_slopes_came_from(hole: bool) -> None:
    y, x = np.mgrid[:40, :50] / 40
    u = 6 + 0.02 * np.sin(5 * x) * np.cos(4 * y)
    mask = np.ones(u.shape, bool)
    if hole:
        mask[10:20, 15:30] = False
        mask[:, 47:] = False
    forward = np.zeros((*u.shape, 2))
    forward[:, :-1, 0] = np.diff(u, axis=1)
    forward[:-1, :, 1] = np.diff(u, axis=0)
    # a slope per pixel whose mean over an edge is the difference there, for these smooth maps
    slope = np.stack([np.gradient(u, axis=1), np.gradient(u, axis=0)], -1)
    got = fusion.fuse(slope, np.full(u.shape, 6.0), mask, 1e-9)
    error = (got - u)[mask]
    assert np.isnan(got[~mask]).all()
    assert (error - error.mean()).std() < 2e-4


def test_the_screen_pulls_towards_the_guess() -> None:
    guess = np.random.default_rng(0).normal(6, 0.1, (20, 20))
    mask = np.ones(guess.shape, bool)
    held = fusion.fuse(np.zeros((20, 20, 2)), guess, mask, 1e5)
    free = fusion.fuse(np.zeros((20, 20, 2)), guess, mask, 1e-6)
    assert np.abs(held - guess).max() < 1e-3
    assert free.std() < 1e-3


def test_training_truth_is_consistent() -> None:
    """Normals, log depth and base of a sample describe one surface."""
    sample = draw(11, Ask(zoom=1.0))
    slope = fusion.pixel_slopes(sample.log_depth, np.ones_like(sample.mask)) / sample.pixel_angle
    slope[..., 1] *= -1
    again = fusion.normals_of(slope, sample.rays)
    assert np.abs(again - sample.normals)[1:-1, 1:-1].max() < 1e-3
    rebuilt = sample.base_log_depth + sample.delta * 64 * sample.pixel_angle
    np.testing.assert_allclose(rebuilt, sample.log_depth, atol=1e-5)
    assert sample.channels.shape == (CHANNELS, 64, 64)
    assert np.isfinite(sample.channels).all()


def test_splits_share_no_part() -> None:
    a, b = draw(3, DOME, "train"), draw(3, DOME, "test")
    assert np.abs(np.corrcoef(a.log_depth.ravel(), b.log_depth.ravel())[0, 1]) < 0.99
    again = draw(3, DOME, "train")
    np.testing.assert_array_equal(a.channels, again.channels)


def test_background_has_no_say_in_the_loss() -> None:
    torch.manual_seed(0)
    net = AnyRigNet(Shape(widths=(8, 8, 8), pixelwise=8)).eval()
    sample = draw(4, DOME)
    mask = sample.mask.copy()
    mask[:20] = False
    target = torch.from_numpy(replace(sample, mask=mask).target())[None]
    out = net(torch.from_numpy(sample.channels)[None])
    one = loss_of(out, target).total
    target[:, :4, :20] = 7.0
    assert torch.equal(one, loss_of(out, target).total)


# weights -------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    net = AnyRigNet(Shape(widths=(8, 8, 8), pixelwise=8)).eval()
    path = tmp_path / "w.safetensors"
    write_weights(weights_of(net, {"steps": 3}), path)
    return net, path


def test_weights_come_back(small) -> None:
    net, path = small
    weights = read_weights(path)
    assert weights.facts == {"steps": 3}
    again = network_of(weights)
    x = torch.randn(1, CHANNELS, 32, 32)
    assert torch.allclose(net(x).normals, again(x).normals, atol=1e-2)


def test_weights_that_half_precision_cannot_hold_are_not_written(small, tmp_path) -> None:
    net, _ = small
    with torch.no_grad():
        net.head.bias[0] = 1e6
    with pytest.raises(ReconstructError, match=r"'head\.bias' do not fit"):
        write_weights(weights_of(net), tmp_path / "large.safetensors")
    assert not (tmp_path / "large.safetensors").exists()


def test_weights_that_do_not_fit_are_refused(small, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    _, path = small
    tensors = load_file(path)
    shape = Shape(widths=(8, 8, 8), pixelwise=8).to_json()

    def write(name, tensors=tensors, **changes):
        meta = {"format": "rig-weights/1", "network": "any-rig", "shape": json.dumps(shape),
                "facts": "{}", **changes}  # fmt: skip
        save_file(tensors, tmp_path / name, metadata=meta)
        return tmp_path / name

    with pytest.raises(ReconstructError, match="no weights at"):
        read_weights(tmp_path / "none.safetensors")
    (tmp_path / "junk").write_bytes(b"not at all")
    with pytest.raises(ReconstructError, match="not a safetensors file"):
        read_weights(tmp_path / "junk")
    with pytest.raises(ReconstructError, match="expected 'any-rig'"):
        read_weights(write("other", network="published"))
    with pytest.raises(ReconstructError, match="encoding 'older/0'"):
        read_weights(write("old", shape=json.dumps({**shape, "encoding": "older/0"})))
    with pytest.raises(ReconstructError, match="does not fit"):
        read_weights(write("wide", shape=json.dumps({**shape, "widths": [8, 8, 16]})))
    fewer = {k: v for k, v in list(tensors.items())[1:]}
    with pytest.raises(ReconstructError, match="does not fit"):
        read_weights(write("few", fewer))


# the method ----------------------------------------------------------------------------------


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def test_shipped_weights_fit_and_are_small() -> None:
    weights = read_weights()
    assert SHIPPED.stat().st_size < 20e6
    assert weights.facts["samples"] > 1000
    assert sum(value.size for value in weights.tensors.values()) > 1e6


@pytest.mark.parametrize("shape", [Shape(), Shape(widths=(8, 12), pixelwise=4)])
def test_numpy_and_pytorch_say_the_same(shape: Shape) -> None:
    """The network is written twice: PyTorch trains it and NumPy predicts with it (0083)."""
    if shape == Shape():
        model = network_of(read_weights())
    else:
        torch.manual_seed(2)
        model = AnyRigNet(shape)
        model(torch.randn(4, CHANNELS, 32, 32))  # norms of their own
        model.eval()
    x = draw(3, replace(DOME, size=48), "test").channels[:, :, :32]
    one, other = Network(weights_of(model))(x), OnDevice(model, "cpu")(x)
    assert one.dtype == other.dtype == np.float32
    np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(one[:3], axis=0), 1, atol=1e-5)
    # Training goes on with the model as it was.
    assert next(model.parameters()).requires_grad


def test_predicting_on_the_processor_loads_no_pytorch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from reconstruct.dpps.forward import Network\n"
        "from reconstruct.dpps.predict import dpps\n"
        "from reconstruct.dpps.weights import read_weights\n"
        "Network(read_weights())(np.zeros((42, 16, 16), np.float32))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_dpps_finds_a_gentle_relief() -> None:
    stack, camera, lights, truth = a_capture()
    surface = methods.reconstruct(
        "dpps", stack, camera, lights, methods.Options(height_mm=float(truth.mean()))
    )
    error = surface.height_mm - truth
    assert (error - error.mean()).std() < 0.006 * 110
    assert abs(surface.height_mm.mean() - truth.mean()) < 0.05
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=-1), 1, atol=1e-4)
    # the normals are the height's
    points = surface.points_mm()
    tangent = points[1:-1, 2:] - points[1:-1, :-2]
    assert np.abs((surface.normals[1:-1, 1:-1] * tangent).sum(-1)).max() < 1e-2 * 110 / 64
    assert (surface.sigma_mm > 0).all()


def test_dpps_in_a_turned_world(capture) -> None:
    """The same capture described in a turned and moved world gives the same surface, turned."""
    stack, camera, lights, _ = capture
    straight = dpps(stack, camera, lights, methods.Options())
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    moved = replace(camera, R=camera.R @ turn.T)
    turned = dpps(
        stack, moved,
        replace(lights, position_mm=lights.position_mm @ turn.T, axis=lights.axis @ turn.T),
        methods.Options(),
    )  # fmt: skip
    assert angle(turned.normals, straight.normals @ turn.T).max() < 0.2
    np.testing.assert_allclose(turned.height_mm, straight.height_mm, atol=0.02)


@pytest.mark.parametrize("which", range(1, 8))
def test_mirror_images_are_those_of_the_problem(which: int) -> None:
    """Channels of a mirrored rig and part are the mirrored channels."""
    from reconstruct.dpps.predict import SYMMETRIES, mirrored

    flip_x, flip_y, swap = SYMMETRIES[which]
    sample = draw(2, Ask(size=32, zoom=1.0), "test", keep_radiance=True)
    view = view_of_sample(sample)
    base = sample.base_log_depth.astype(np.float64)

    def image(a: np.ndarray) -> np.ndarray:
        a = a[:, ::-1] if flip_x else a
        a = a[::-1] if flip_y else a
        return np.ascontiguousarray(np.swapaxes(a, 0, 1) if swap else a)

    turn = np.diag([-1.0 if flip_x else 1.0, -1.0 if flip_y else 1.0, 1.0])
    if swap:
        turn = np.array([[0, -1.0, 0], [-1.0, 0, 0], [0, 0, 1]]) @ turn
    radiance, clipped = (image(each) for each in view.read((slice(0, 32), slice(0, 32))))
    other = replace(
        view, read=lambda window: (radiance[window], clipped[window]), mask=image(view.mask),
        rays=image(view.rays) @ turn[:2, :2].T, position=view.position @ turn.T,
        axis=view.axis @ turn.T,
    )  # fmt: skip
    want = other.channels(image(base))
    got = mirrored(view.channels(base), flip_x, flip_y, swap)
    np.testing.assert_allclose(got, want, atol=5e-3)


def test_a_masked_part_in_a_large_picture() -> None:
    stack, camera, lights, truth = a_capture(21)
    mask = np.zeros(stack.shape, bool)
    mask[20:50, 10:60] = True
    asked = methods.Options(mask=mask, height_mm=float(truth[mask].mean()))
    surface = dpps(stack, camera, lights, asked)
    assert np.isfinite(surface.height_mm[mask]).all()
    assert np.isnan(surface.height_mm[~mask]).all()
    assert np.isnan(surface.normals[~mask]).all()
    assert (surface.flags[~mask] == 1).all()


@dataclass(frozen=True)
class Watched(Stack):
    """A stack that notes how many rows each look at it asks for."""

    rows: list[int] = field(default_factory=list)

    def band(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        some, clipped = super().band(rows)
        self.rows.append(some.shape[1])
        return some, clipped


def test_large_pictures_are_read_in_bands() -> None:
    """All of them at once would fill the memory; and no more often than it takes."""
    stack, camera, lights, truth = a_capture(21)
    few, times = np.arange(0, len(lights), 8), 10
    radiance = np.stack(
        [cv2.resize(each, None, fx=times, fy=times) for each in stack.radiance[few]]
    )
    stack = Watched(
        stack.ids[few], radiance, np.zeros(radiance.shape, bool), stack.noise_floor,
        stack.noise_gain,
    )  # fmt: skip
    surface = dpps(
        stack, camera.subdivided(times), lights.select(few),
        methods.Options(height_mm=float(truth.mean())),
    )  # fmt: skip
    found = cv2.resize(surface.height_mm, truth.shape[::-1], interpolation=cv2.INTER_AREA)
    assert (found - truth).std() < 0.2 * truth.std()
    assert max(stack.rows) <= 64
    assert sum(stack.rows) <= 4 * len(surface.height_mm)


def test_no_part_and_no_weights_are_refused(capture) -> None:
    stack, camera, lights, _ = capture
    with pytest.raises(ReconstructError, match="no pixel"):
        dpps(stack, camera, lights, methods.Options(mask=np.zeros(stack.shape, bool)))
    with pytest.raises(ReconstructError, match="no weights at"):
        dpps(stack, camera, lights, methods.Options(weights=SHIPPED.with_name("x")))


@pytest.mark.slow
def test_small_pictures_are_seen_twice() -> None:
    """Over its own first result the network sees half vectors where the part really is."""
    model = Network(read_weights())
    ask = Ask(rig="dome96", slope_deg=(40, 50), zoom=0, shapes="blobby", ideal=True)
    once, twice = [], []
    for seed in range(6):
        sample = draw(seed, ask, "test", keep_radiance=True)
        view = view_of_sample(sample)
        base = sample.base_log_depth.astype(np.float64)
        first = joined(view, infer(model, view, base), SCREEN)
        second, _ = predict_view(model, view, base)
        for log_depth, errors in ((first, once), (second, twice)):
            cosine = (view.normals(log_depth) * sample.normals).sum(-1)
            errors.append(np.degrees(np.arccos(np.clip(cosine, -1, 1)))[view.mask].mean())
    assert np.mean(twice) < 0.98 * np.mean(once)


def test_flat_field_is_divided_out_in_bands() -> None:
    rng = np.random.default_rng(5)
    flat = rng.uniform(0.8, 1.2, (6, 4, 3)).astype(np.float32)
    whole = np.stack(
        [cv2.resize(flat[..., k], (40, 150), interpolation=cv2.INTER_LINEAR) for k in range(3)]
    )
    for rows in (slice(0, 64), slice(64, 128), slice(128, 192)):
        np.testing.assert_allclose(flat_band(flat, (150, 40), rows), whole[:, rows], atol=1e-5)


def test_dpps_takes_the_flat_field_into_account(capture) -> None:
    """Pictures darkened by a flat field, which is told, give the surface of the plain pictures."""
    stack, camera, lights, _ = capture
    rng = np.random.default_rng(6)
    flat = rng.uniform(0.7, 1.0, (5, 5, len(stack))).astype(np.float32)
    darker = replace(stack, radiance=stack.radiance * flat_band(flat, stack.shape, slice(None)))
    plain = dpps(stack, camera, lights, methods.Options())
    told = dpps(darker, camera, lights, methods.Options(flat=flat))
    np.testing.assert_allclose(told.height_mm, plain.height_mm, atol=5e-3)
