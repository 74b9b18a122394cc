"""Linear radiance: bracket merge, dark frames and noise against sensors whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capture.errors import DataError
from capture.hdr import NoiseModel, combine_darks, merge_bracket, merged_noise
from capture.reading import Recording
from capture.recording import RecordingWriter

FULL_WELL, READ, BLACK = 12_000.0, 3.0, 16.0


def sensor(
    radiance: np.ndarray, exposure: float, rng: np.random.Generator, pattern: np.ndarray | float = 0
) -> np.ndarray:
    """12-bit counts; radiance × exposure = 1 is full scale above the black level."""
    electrons = rng.poisson(radiance * exposure * FULL_WELL) + rng.normal(0, READ, radiance.shape)
    counts = np.rint(electrons / FULL_WELL * 4095 + BLACK + pattern)
    return np.clip(counts, 0, 4095).astype(np.uint16)


def record(
    run: Path,
    radiance: np.ndarray,
    exposures_ms: tuple[float, ...],
    darks: int = 3,
    repeat: bool = False,
    pattern: np.ndarray | float = 0,
) -> Recording:
    rng = np.random.default_rng(5)
    shots = []
    for exposure in exposures_ms:
        shots += [("dark", 0, exposure)] * darks + [("light", 1, exposure)]
        shots += [("repeat", 1, exposure)] * repeat
    with RecordingWriter.create(run, {"bits": 12}) as writer:
        for index, (kind, led, exposure) in enumerate(shots):
            light = radiance if led else np.zeros_like(radiance)
            counts = sensor(light, exposure, rng, pattern)
            line = {"index": index, "kind": kind, "led": led, "exposure_us": exposure * 1000}
            writer.append(counts, line)
        return Recording.open(writer.finish())


def ramp(top: float, shape: tuple[int, int] = (300, 200)) -> np.ndarray:
    return np.broadcast_to(np.linspace(0, top, shape[1]), shape).copy()


def test_one_exposure_is_counts_minus_dark_over_exposure(tmp_path: Path) -> None:
    truth = ramp(0.1)
    image = record(tmp_path / "run", truth, (8.0,)).linear(1)
    error = (image.radiance - truth) / image.sigma
    assert abs(error.mean()) < 0.05
    assert 0.95 < error.std() < 1.05
    assert not image.clipped.any()


def test_bracket_merge_is_unbiased_and_its_sigma_is_honest(tmp_path: Path) -> None:
    truth = ramp(0.45)
    recording = record(tmp_path / "run", truth, (2.0, 8.0, 32.0), repeat=True)
    image = recording.linear(1)
    assert not image.clipped.any()
    error = (image.radiance - truth) / image.sigma
    for part in np.array_split(error, 5, axis=1):  # dark, middle and bright alike
        assert abs(part.mean()) < 0.06
        assert 0.9 < part.std() < 1.1
    single = record(tmp_path / "single", truth, (2.0,)).linear(1)
    dark = truth < 0.02
    assert image.sigma[dark].mean() < 0.25 * single.sigma[dark].mean()


def test_bands_of_rows_equal_the_whole(tmp_path: Path) -> None:
    recording = record(tmp_path / "run", ramp(0.3), (2.0, 8.0))
    whole = recording.linear(1)
    band = recording.linear(1, slice(37, 290))
    np.testing.assert_array_equal(band.radiance, whole.radiance[37:290])
    np.testing.assert_array_equal(band.clipped, whole.clipped[37:290])
    stack, clipped = recording.radiance(rows=slice(10, 20))
    np.testing.assert_array_equal(stack[0], whole.radiance[10:20])
    assert stack.shape == clipped.shape == (1, 10, 200)


def test_clipped_in_every_exposure_is_a_lower_bound(tmp_path: Path) -> None:
    truth = ramp(2.0)
    image = record(tmp_path / "run", truth, (1.0, 4.0)).linear(1)
    over = truth > 1.05
    assert image.clipped[over].all()
    assert not image.clipped[truth < 0.9].any()
    assert np.all(image.radiance[over] <= truth[over])
    assert np.all(image.radiance[over] > 0.95)


def test_noise_is_measured_from_dark_frames_and_the_repeated_light(tmp_path: Path) -> None:
    noise = record(tmp_path / "run", ramp(0.1), (8.0,), repeat=True).noise
    assert noise.source == "frames"
    floor = (READ / FULL_WELL) ** 2 + (1 / 4095) ** 2 / 12
    assert noise.floor == pytest.approx(floor, rel=0.05)
    assert noise.gain == pytest.approx(1 / FULL_WELL, rel=0.05)


def test_noise_is_measured_from_grain_without_repeats(tmp_path: Path) -> None:
    noise = record(tmp_path / "run", ramp(0.1), (8.0,), darks=1).noise
    assert noise.source == "images"
    assert noise.gain == pytest.approx(1 / FULL_WELL, rel=0.15)


def test_texture_is_not_taken_for_a_tiny_full_well(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rough = ramp(0.1) * rng.uniform(0.3, 1, (300, 200))
    noise = record(tmp_path / "run", rough, (8.0,), darks=1).noise
    assert noise.gain <= 1e-3


def test_given_noise_is_taken(tmp_path: Path) -> None:
    start = {"bits": 12, "noise": {"floor": 1e-7, "gain": 2e-4}}
    with RecordingWriter.create(tmp_path / "run", start) as writer:
        line = {"index": 0, "kind": "light", "led": 1, "exposure": 0.5}
        writer.append(np.full((4, 4), 100, np.uint16), line)
        recording = Recording.open(writer.finish())
    assert recording.noise == NoiseModel(1e-7, 2e-4, "given")
    assert recording.radiance_noise() == (pytest.approx(4e-7), pytest.approx(4e-4))


def test_merged_noise_of_a_bracket_predicts_the_variance() -> None:
    noise = NoiseModel((READ / FULL_WELL) ** 2, 1 / FULL_WELL)
    floor, gain = merged_noise(noise, (2.0, 8.0, 32.0))
    for radiance in (0.001, 0.02, 0.1, 0.4):
        signals = [np.full((1, 1), radiance * e, np.float32) for e in (2.0, 8.0, 32.0)]
        clips = [np.asarray(signal >= 1) for signal in signals]
        sigma = merge_bracket(signals, clips, (2.0, 8.0, 32.0), noise).sigma[0, 0]
        assert 0.1 < (floor + gain * radiance) / sigma**2 < 10


def test_dark_frames_keep_fixed_pattern_and_lose_noise() -> None:
    rng = np.random.default_rng(3)
    pattern = rng.normal(0, 4e-3, (120, 160)).astype(np.float32)
    noisy = [pattern + rng.normal(0, 1e-3, pattern.shape).astype(np.float32) for _ in range(3)]
    assert np.std(combine_darks(noisy) - pattern) < 0.7e-3
    flat = [rng.normal(0.01, 1e-3, (120, 160)).astype(np.float32) for _ in range(3)]
    assert np.std(combine_darks(flat) - 0.01) < 0.25e-3
    assert np.std(combine_darks(flat[:1]) - 0.01) < 0.25e-3


def test_one_dark_frame_still_removes_hot_pixels() -> None:
    rng = np.random.default_rng(4)
    dark = rng.normal(0.01, 1e-3, (64, 64)).astype(np.float32)
    dark[20, 30] = 0.5
    combined = combine_darks([dark])
    assert combined[20, 30] == pytest.approx(0.5, abs=1e-6)
    assert combined[20, 32] == pytest.approx(0.01, abs=1e-3)


def test_without_dark_frames_the_stated_black_level_is_taken(tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "run", {"bits": 12, "black_level": 100}) as writer:
        line = {"index": 0, "kind": "light", "led": 1, "exposure": 1.0}
        writer.append(np.full((4, 4), 1100, np.uint16), line)
        recording = Recording.open(writer.finish())
    np.testing.assert_allclose(recording.linear(1).radiance, 1000 / 4095, rtol=1e-6)


def test_an_led_that_was_not_captured_is_named(tmp_path: Path) -> None:
    recording = record(tmp_path / "run", ramp(0.1), (8.0,))
    with pytest.raises(DataError, match="no picture of LED 7"):
        recording.linear(7)


def test_a_camera_that_rounds_its_exposure_makes_no_bracket(tmp_path: Path) -> None:
    with RecordingWriter.create(tmp_path / "run", {"bits": 12}) as writer:
        for index, exposure_us in enumerate((8000.0, 7999.3, 8001.2, 32000.0, 32004.0)):
            kind, led = ("dark", 0) if index == 0 else ("light", index)
            line = {"index": index, "kind": kind, "led": led, "exposure_us": exposure_us}
            writer.append(np.full((4, 4), 100 + 50 * index, np.uint16), line)
        recording = Recording.open(writer.finish())
    assert recording.exposures == pytest.approx((8.0, 32.0), rel=1e-3)
    np.testing.assert_allclose(recording.linear(2).radiance, 100 / 4095 / 8.0012, rtol=1e-5)
