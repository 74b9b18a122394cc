"""Training pairs, drawn on the fly or read from shards written by `rig dataset`.

A dataset is a folder with `dataset.json` (format, request, statistics), `contact_sheet.png` and
shards of safetensors. Sample i of a split depends on (split, i) alone, so an interrupted run goes
on where it stopped and two runs write the same bytes. The splits draw shapes and materials from
disjoint streams: no part and no metal of one is seen in another.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from intake.errors import InputError, told_as
from intake.trees import read_object, whole
from reconstruct.dpps.drawing import SPLITS, Ask, scene_of
from reconstruct.dpps.encoding import ENCODING
from reconstruct.dpps.samples import Sample, draw
from reconstruct.errors import ReconstructError
from reconstruct.tensors import read_tensors

if TYPE_CHECKING:
    from reconstruct.dpps.again import FirstPass
    from reconstruct.dpps.batched import Batch
    from reconstruct.dpps.config import TrainConfig

FORMAT = "rig-dataset/1"
PUBLISHED_RIG = Ask(size=128, rig="dome96", rig_seed=96, zoom=0.0)
STEEP_DEG = (38.0, 58.0)
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def published_pair(sample: Sample) -> Pair:
    """Pictures (96, H, W) as 8-bit grey / 255 and target with height in field widths."""
    if sample.radiance is None:
        raise ValueError("draw the sample with keep_radiance")
    grey = np.round(255 * np.clip(sample.radiance, 0, 1)) / np.float32(255)
    target = sample.target()
    target[3] = (sample.centre_mm - np.exp(sample.log_depth)) / sample.field_mm
    target[3] *= sample.mask
    return np.ascontiguousarray(np.moveaxis(grey, -1, 0), np.float32), target


def _training_ask(config: TrainConfig, index: int) -> tuple[int, Ask]:
    """Seed of training sample `index` of a run, and what kind of sample it is."""
    seed = config.seed * 1_000_000_007 + (index % config.samples if config.samples else index)
    if config.network == "published":
        return seed, replace(PUBLISHED_RIG, size=config.size)
    ask = Ask(size=config.size, rig=config.rig, zoom=config.zoom)
    if np.random.default_rng([seed, 3]).random() < config.steep:
        ask = replace(ask, slope_deg=STEEP_DEG, shapes="blobby")
    return seed, ask


def _seen_again(config: TrainConfig, seed: int) -> float:
    """Blur (px) of the surface found first over which a sample is seen, or 0."""
    rng = np.random.default_rng([seed, 2])
    return float(rng.uniform(0.3, 2.0)) if rng.random() < config.again else 0.0


def training_pair(config: TrainConfig, index: int, first: FirstPass | None = None) -> Pair:
    """Input and target (5, H, W) of training sample `index` of a run.

    With `first`, a share `config.again` is seen over the surface found by it.
    """
    if config.shards:
        return shard_pair(Path(config.shards), index)
    seed, ask = _training_ask(config, index)
    if config.network == "published":
        return published_pair(draw(seed, ask, keep_radiance=True))
    blur_px = _seen_again(config, seed) if first is not None and first.ready() else 0.0
    if first is not None and blur_px:
        sample = first.seen_again(draw(seed, ask, keep_radiance=True), blur_px)
    else:
        sample = draw(seed, ask)
    return sample.channels, sample.target()


def training_scenes(config: TrainConfig, first: int, count: int) -> Batch:
    """Training samples `first` … `first + count − 1` of a run, whose pairs are made elsewhere."""
    from reconstruct.dpps.batched import packed

    asked = [_training_ask(config, first + i) for i in range(count)]
    return packed(
        [scene_of(seed, ask) for seed, ask in asked],
        [_seen_again(config, seed) for seed, _ in asked],
    )


def write_dataset(
    folder: Path,
    count: int,
    ask: Ask,
    split: str = "train",
    shard: int = 64,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Write samples 0 … count − 1 of a split; goes on where an earlier run stopped.

    Returns the statistics that `dataset.json` holds. Raises `ReconstructError` when the folder
    holds another dataset.
    """
    if split not in SPLITS:
        raise ReconstructError(f"no split '{split}': {', '.join(SPLITS)}")
    if count < 1 or shard < 1:
        raise ReconstructError("a dataset needs one sample or more, and one or more a shard")
    folder.mkdir(parents=True, exist_ok=True)
    request = json.loads(json.dumps({"split": split, "shard": shard, "ask": asdict(ask)}))
    head = folder / "dataset.json"
    if head.exists():
        before = _head(folder)
        if before["request"] != request:
            raise ReconstructError(
                f"{folder} holds a dataset made from another request; choose another folder"
            )
    else:
        _write_json(head, {"format": FORMAT, "encoding": ENCODING, "request": request,
                           "count": 0, "shards": 0})  # fmt: skip
    facts: list[dict[str, Any]] = []
    tiles: list[NDArray[np.uint8]] = []
    shards = -(-count // shard)
    for number in range(shards):
        path = folder / f"shard-{number:05d}.safetensors"
        notes = path.with_suffix(".json")
        size = min(shard, count - number * shard)
        if not (path.exists() and notes.exists() and len(json.loads(notes.read_text())) == size):
            samples = [draw(number * shard + i, ask, split, True) for i in range(size)]
            tensors = {
                "channels": np.stack([s.channels for s in samples]).astype(np.float16),
                "target": np.stack([s.target() for s in samples]),
            }
            partial = path.with_suffix(".partial")
            # one entry only: safetensors writes several in no fixed order
            save_file(tensors, partial, metadata={"format": FORMAT})
            os.replace(partial, path)
            _write_json(notes, [s.facts for s in samples])
            if len(tiles) < 64:
                tiles += [_tile(s) for s in samples[: 64 - len(tiles)]]
            say(f"shard {number + 1} of {shards}")
        facts += json.loads(notes.read_text())
    if tiles and not (folder / "contact_sheet.png").exists():
        _contact_sheet(folder / "contact_sheet.png", tiles)
    statistics = _statistics(facts)
    _write_json(head, {"format": FORMAT, "encoding": ENCODING, "request": request,
                       "count": count, "shards": shards, "statistics": statistics})  # fmt: skip
    return statistics


def _head(folder: Path) -> dict[str, Any]:
    try:
        head = read_object(folder / "dataset.json")
    except InputError as error:
        raise ReconstructError(f"{folder} is no dataset: {error}") from error
    if head.get("format") != FORMAT or head.get("encoding") != ENCODING:
        raise ReconstructError(
            f"{folder} is '{head.get('format')}' with the encoding '{head.get('encoding')}'; "
            f"this version reads '{FORMAT}' with '{ENCODING}'"
        )
    return dict(head)


@functools.lru_cache(maxsize=4)
def _shard(path: Path) -> dict[str, NDArray[Any]]:
    try:
        tensors, _ = read_tensors(path)
    except ReconstructError as error:
        raise ReconstructError(f"{error}; delete it and run `rig dataset` again") from error
    return tensors


@functools.lru_cache(maxsize=4)
def _size(folder: Path) -> tuple[int, int]:
    head = _head(folder)
    request = head.get("request")
    with told_as(ReconstructError):
        count = whole(head.get("count"), f"{folder}: the count of its dataset.json")
        size = request.get("shard") if isinstance(request, dict) else None
        shard = whole(size, f"{folder}: the shard of its dataset.json", 1)
    if not count:
        raise ReconstructError(f"{folder} is unfinished: run `rig dataset` again")
    return count, shard


def shard_pair(folder: Path, index: int) -> Pair:
    """Sample `index`, counted over and over, of a dataset folder."""
    count, shard = _size(folder)
    index %= count
    data = _shard(folder / f"shard-{index // shard:05d}.safetensors")
    try:
        return data["channels"][index % shard].astype(np.float32), data["target"][index % shard]
    except (KeyError, IndexError) as error:
        raise ReconstructError(
            f"{folder} has no sample {index}: delete its shards and run `rig dataset` again"
        ) from error


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _statistics(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Deciles of what was drawn."""
    out: dict[str, Any] = {"samples": len(facts)}
    for name in ("slope_deg", "alpha", "lights", "relief"):
        values = np.array([f[name] for f in facts])
        out[name] = [round(float(v), 4) for v in np.quantile(values, np.linspace(0, 1, 11))]
    for name in ("beckmann", "hdr", "zoom"):
        out[name] = round(float(np.mean([f[name] for f in facts])), 4)
    return out


def _tile(sample: Sample) -> NDArray[np.uint8]:
    """Mean picture, normals and height of a sample side by side, BGR."""
    assert sample.radiance is not None
    mean = np.maximum(sample.radiance.mean(-1), 0)
    mean = np.clip(255 * (mean / max(float(np.quantile(mean, 0.99)), 1e-9)) ** 0.45, 0, 255)
    normals = 127.5 * (sample.normals[..., ::-1] + 1) * sample.mask[..., None]
    height = -sample.log_depth
    low, high = np.quantile(height[sample.mask], [0.01, 0.99])
    height = np.clip(255 * (height - low) / max(float(high - low), 1e-9), 0, 255) * sample.mask
    grey = [np.repeat(image[..., None], 3, -1) for image in (mean, height)]
    return np.concatenate([grey[0], normals, grey[1]], 1).astype(np.uint8)


def _contact_sheet(path: Path, tiles: list[NDArray[np.uint8]]) -> None:
    import cv2

    columns = 4
    blank = np.zeros_like(tiles[0])
    tiles = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), np.concatenate(rows, 0))
