"""Training: configuration, resuming, two processes as one, datasets."""

from __future__ import annotations

import csv
import itertools
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from three_steps import losses
from typer.testing import CliRunner

from calib.camera import Camera
from reconstruct.dpps import dataset
from reconstruct.dpps.captured import captured_in
from reconstruct.dpps.checkpoint import export_weights
from reconstruct.dpps.drawing import Ask
from reconstruct.dpps.forward import Network
from reconstruct.dpps.network import AnyRigNet, network_of, weights_of
from reconstruct.dpps.optimiser import Optimiser
from reconstruct.dpps.train import (
    Processes,
    Stream,
    TrainConfig,
    Trainer,
    build,
    replayed,
)
from reconstruct.dpps.weights import Shape, read_weights, write_weights
from reconstruct.errors import ReconstructError
from rig.cli import app

ROOT = Path(__file__).resolve().parents[2]
TINY = TrainConfig(
    budget_steps=4, batch=2, size=32, workers=0, threads=1, warmup_steps=1, validation_samples=1,
    seed=7,
)  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return [r for r in csv.DictReader(file) if r["what"] == "train"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"batsh": 4, "budget_steps": 1}, "did you mean 'batch'"),
        ({"batch": "4", "budget_steps": 1}, "expected int"),
        ({"batch": True, "budget_steps": 1}, "expected int"),
        ({"batch": 4}, "exactly one of"),
        ({"budget_steps": 3, "budget_minutes": 2}, "exactly one of"),
        ({"budget_steps": 3, "network": "resnet"}, "no network 'resnet'"),
        ({"budget_steps": 3, "precision": "int8"}, "no precision"),
        ({"budget_steps": 3, "optimiser": "adam"}, "no optimiser 'adam'"),
        ({"budget_steps": 3, "captures": "nowhere"}, "no folder of captures nowhere"),
        ({"budget_steps": 3, "blend": 0.5}, "with the weights of init"),
        ({"budget_steps": 3, "network": "published", "init": "w"}, "init takes any-rig weights"),
    ],
)
def test_mistakes_in_the_configuration_are_named(data, sentence) -> None:
    with pytest.raises(ReconstructError, match=sentence):
        TrainConfig.from_mapping(data)


def small(folder: Path) -> str:
    """Weights of a network that is small enough for steps of any optimiser to be quick."""
    torch.manual_seed(1)
    network = AnyRigNet(Shape(widths=(8, 8, 8), pixelwise=8))
    write_weights(weights_of(network), folder / "small.safetensors")
    return str(folder / "small.safetensors")


@pytest.mark.parametrize("optimiser", [pytest.param("adamw", marks=pytest.mark.slow), "muon"])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path, optimiser) -> None:
    config = replace(TINY, optimiser=optimiser, init=small(tmp_path))
    whole = Trainer(replace(config, out=str(tmp_path / "a")), Processes())
    whole.run(lambda _: None)
    first = Trainer(replace(config, out=str(tmp_path / "b")), Processes())
    stream = Stream(first.config, 0, Processes())
    for step in range(2):
        first.train_step(*stream.batch(step))
    first.save()
    second = Trainer(replace(config, out=str(tmp_path / "b")), Processes())
    assert second.step == 2
    second.run(lambda _: None)
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    facts = export_weights(second.checkpoint, tmp_path / "w.safetensors", confidence_parts=1)
    assert facts["height_sigma"] > 0
    assert facts["steps"] == 4
    assert facts["samples"] == 8
    assert read_weights(tmp_path / "w.safetensors").facts == facts


def test_a_run_begins_from_given_weights(tmp_path) -> None:
    config = replace(TINY, init=small(tmp_path), out=str(tmp_path / "run"))
    net = network_of(read_weights(Path(config.init)))
    run = Trainer(config, Processes())
    first = net.head.weight.detach()
    torch.testing.assert_close(run.model.head.weight.detach(), first, atol=1e-3, rtol=1e-3)
    run.run(lambda _: None)
    export_weights(run.checkpoint, tmp_path / "out.safetensors", confidence_parts=0)
    assert read_weights(tmp_path / "out.safetensors").shape == net.shape
    with pytest.raises(ReconstructError, match="no weights at"):
        Trainer(replace(TINY, init="none", out=str(tmp_path / "other")), Processes())


@pytest.mark.usefixtures("ticking")
def test_a_process_beside_makes_the_same_samples(tmp_path) -> None:
    folders = tmp_path / "in_line", tmp_path / "beside"
    config = replace(TINY, init=small(tmp_path))
    for workers, folder in enumerate(folders):
        run = Trainer(replace(config, workers=workers, out=str(folder)), Processes())
        run.run(lambda _: None)
    in_line, beside = map(rows, folders)
    assert [row["loss"] for row in in_line] == [row["loss"] for row in beside]


def _exchange_folder(folder: Path) -> None:
    """A sample as an exchange folder with its truth."""
    ask = Ask(size=32, rig="dome96", zoom=0.0, slope_deg=(5, 10), ideal=True, shapes="blobby")
    drawn = (dataset.draw(seed, ask, "test", keep_radiance=True) for seed in range(100))
    # an exchange folder says nothing of lobes: they are taken as Lambertian
    sample = next(s for s in drawn if s.mask.all() and s.believed["lobe"][0] == 1)
    folder.mkdir(parents=True)
    lines = ["96"]
    full = sample.radiance.max()
    for k, place in enumerate(sample.believed["position"]):
        codes = np.round(65535 * np.clip(sample.radiance[..., k] / full, 0, 1)).astype(np.uint16)
        cv2.imwrite(str(folder / f"led_{k:02d}.png"), codes)
        lines.append(f"led_{k:02d}.png " + " ".join(f"{v:.6f}" for v in place))
    (folder / "lights.lp").write_text("\n".join(lines) + "\n")
    power = sample.believed["power"] / sample.believed["power"].mean()
    (folder / "power.csv").write_text("".join(f"{p:.9f}\n" for p in power))
    f = 1 / sample.pixel_angle
    Camera(
        32, 32, np.array([[f, 0, 15.5], [0, f, 15.5], [0, 0, 1.0]]),
        t=np.array([0, 0, sample.centre_mm]),
    ).write(folder / "camera.json")  # fmt: skip
    depth = np.exp(sample.log_depth)
    position = np.dstack([sample.rays * depth[..., None], sample.centre_mm - depth])
    normal = np.where(sample.mask[..., None], sample.normals, 0)
    np.savez(folder / "truth.npz", position=position, normal=normal)


def test_validation_looks_at_captures(tmp_path) -> None:
    _exchange_folder(tmp_path / "captures" / "coin")
    config = replace(TINY, captures=str(tmp_path / "captures"), out=str(tmp_path / "run"))
    run = Trainer(config, Processes())
    found = run.validate()
    assert list(found) == ["steep", "gentle", "panel", "coin"]
    assert 0 < found["coin"][1] < 30
    assert 0 < found["coin"][2] < 0.1
    capture = captured_in(tmp_path / "captures")[0]
    degrees, error_mm = capture.errors(capture.predicted(Network(read_weights())))
    assert degrees < 3
    assert error_mm < 0.02 * 110


def test_a_foreign_checkpoint_is_refused(tmp_path) -> None:
    torch.save({"something": torch.zeros(3)}, tmp_path / "checkpoint.pt")
    with pytest.raises(ReconstructError, match="does not continue this run"):
        Trainer(replace(TINY, out=str(tmp_path)), Processes())


def test_muon_steps_along_orthogonal_matrices() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(16, 12, 3).to(memory_format=torch.channels_last)
    before = layer.weight.detach().clone()
    optimiser = Optimiser(layer, "muon", rate=0.1, decay=0.0)
    layer(torch.randn(2, 16, 8, 8)).square().sum().backward()
    optimiser.step(0.1)
    step = (layer.weight.detach() - before).permute(0, 2, 3, 1).reshape(12, -1)
    values = torch.linalg.svdvals(step)
    assert values.min() > 0.4 * values.max()  # five Newton-Schulz steps bring them near each other
    with pytest.raises(ValueError, match="channels-last"):
        Optimiser(torch.nn.Conv2d(16, 12, 3), "muon", 0.1, 0.0)


def test_samples_seen_again_lie_over_what_the_run_finds(tmp_path) -> None:
    run = Trainer(replace(TINY, out=str(tmp_path)), Processes())
    config = replace(run.config, again=1.0, zoom=0.0)
    stream = Stream(config, 0, Processes())
    plain, _ = stream.batch(0)  # nothing saved yet: over the plane
    assert float(plain[:, 37:39].abs().max()) == 0
    with torch.no_grad():
        run.average.head.bias[0] = 0.1  # finds everything tilted
    run.save()
    x, y = stream.batch(0)
    assert float(x[:, 37:39].abs().max()) > 0.01
    sample = dataset.draw(config.seed * 1_000_000_007, Ask(size=32, zoom=0.0), keep_radiance=True)
    again = stream.first_pass.seen_again(sample, 1.0)
    unit = 64 * sample.pixel_angle
    np.testing.assert_allclose(
        again.base_log_depth + unit * again.delta, sample.log_depth, atol=1e-4
    )
    assert torch.isfinite(x).all()
    assert torch.isfinite(y).all()


def test_the_rate_rises_then_falls_to_zero(tmp_path) -> None:
    run = Trainer(replace(TINY, out=str(tmp_path), budget_steps=100, warmup_steps=10), Processes())
    rates = []
    for run.step in range(101):
        rates.append(run.rate())
    assert rates[0] < rates[5] < rates[9]
    assert rates[9] > 0.9 * run.config.rate
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 1e-9


def test_replay_mixes_recent_batches() -> None:
    config = replace(TINY, replay=2)
    fresh = ((torch.full((2, 1), float(i)), torch.full((2, 1), float(i))) for i in range(20))
    out = list(replayed(fresh, config, Processes()))
    assert len(out) == 20 + 2 * 5  # from the sixteenth on
    assert all(torch.equal(x, y) for x, y in out)


def _by_two_processes(folder: Path, torchrun: bool) -> list[float]:
    """The losses of `three_steps` by two processes, started as torchrun does or by it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    words = [*launcher, f"--master-port={port}"] if torchrun else []
    words += [str(Path(__file__).with_name("three_steps.py")), str(folder)]
    done = subprocess.run(
        [sys.executable, *words, *([] if torchrun else [port])],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOSSES"))
    return [float(v) for v in line.split()[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("torchrun", [False, True])
def test_two_processes_learn_as_one(tmp_path, torchrun) -> None:
    _, one = losses(tmp_path / "one")
    two = _by_two_processes(tmp_path / "two", torchrun)
    np.testing.assert_allclose(one, two, rtol=5e-4)
    assert one[-1] < one[0]


def test_a_dataset_goes_on_where_it_stopped(tmp_path) -> None:
    ask = Ask(size=32)
    told: list[str] = []
    dataset.write_dataset(tmp_path / "a", 5, ask, shard=2, say=told.append)
    assert len(told) == 3
    (tmp_path / "a" / "shard-00001.safetensors").unlink()
    before = (tmp_path / "a" / "shard-00000.safetensors").stat().st_mtime_ns
    told.clear()
    statistics = dataset.write_dataset(tmp_path / "a", 5, ask, shard=2, say=told.append)
    assert told == ["shard 2 of 3"]
    assert (tmp_path / "a" / "shard-00000.safetensors").stat().st_mtime_ns == before
    assert statistics["samples"] == 5
    assert (tmp_path / "a" / "contact_sheet.png").stat().st_size > 1000
    dataset.write_dataset(tmp_path / "b", 5, ask, shard=2, say=told.append)
    for name in ("shard-00001.safetensors", "dataset.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with pytest.raises(ReconstructError, match="another request"):
        dataset.write_dataset(tmp_path / "a", 5, ask, split="test", shard=2)


def test_training_reads_shards(tmp_path) -> None:
    dataset.write_dataset(tmp_path / "d", 3, Ask(size=32), shard=2, say=lambda _: None)
    config = replace(TINY, shards=str(tmp_path / "d"), out=str(tmp_path / "run"))
    x, y = dataset.training_pair(config, 4)
    again = dataset.training_pair(config, 1)
    np.testing.assert_array_equal(x, again[0])
    assert x.shape == (42, 32, 32)
    assert y.shape == (5, 32, 32)
    Trainer(config, Processes()).run(lambda _: None)
    assert rows(tmp_path / "run")
    head = tmp_path / "d" / "dataset.json"
    head.write_text(json.dumps({**json.loads(head.read_text()), "encoding": "older/0"}))
    dataset._size.cache_clear()
    with pytest.raises(ReconstructError, match="older/0"):
        dataset.training_pair(config, 0)


def test_the_commands(tmp_path) -> None:
    runner = CliRunner()
    config = tmp_path / "c.yaml"
    config.write_text("budget_steps: 2\nbatch: 2\nsize: 32\nworkers: 0\nvalidation_samples: 1\n")
    out, weights = tmp_path / "run", tmp_path / "w.safetensors"
    done = runner.invoke(
        app, ["train", "--config", str(config), "--out", str(out), "--export", str(weights)]
    )
    assert done.exit_code == 0, done.output
    assert "steep" in done.output
    assert read_weights(weights).facts["steps"] == 2
    made = runner.invoke(app, ["dataset", str(tmp_path / "d"), "--count", "2", "--size", "32"])
    assert made.exit_code == 0, made.output
    assert "2 samples, median slope" in made.output
    published = runner.invoke(
        app, ["dataset", str(tmp_path / "p"), "--count", "1", "--layout", "published"]
    )
    assert published.exit_code == 0, published.output
    assert len(list((tmp_path / "p").glob("data_small1/ob1_1_1_r0/*.png"))) == 96
    assert runner.invoke(app, ["dataset", str(tmp_path / "d"), "--size", "30"]).exit_code != 0


def test_the_published_network_trains(tmp_path) -> None:
    config = replace(
        TINY, network="published", budget_steps=2, out=str(tmp_path), rate=5e-5, batch=2
    )
    Trainer(config, Processes()).run(lambda _: None)
    from reconstruct.dpps.published import read_published

    assert read_published(tmp_path / "checkpoint.pt")


def test_exported_weights_lie_between_those_of_the_run_and_of_its_beginning(tmp_path) -> None:
    first = build(TINY)
    write_weights(weights_of(first), tmp_path / "first.safetensors")
    config = replace(
        TINY, budget_steps=1, init=str(tmp_path / "first.safetensors"), blend=0.25, rate=0.1,
        out=str(tmp_path / "run"),
    )  # fmt: skip
    trainer = Trainer(config, Processes())
    trainer.train_step(*Stream(config, 0, Processes()).batch(0))
    trainer.save()
    facts = export_weights(trainer.checkpoint, tmp_path / "w.safetensors", confidence_parts=0)
    assert facts["blend"] == 0.25
    out, begun, own = (
        torch.from_numpy(weights.tensors["head.weight"])
        for weights in (
            read_weights(tmp_path / "w.safetensors"),
            read_weights(tmp_path / "first.safetensors"),
            weights_of(trainer.average),
        )
    )
    assert (own - begun).abs().max() > 1e-3
    torch.testing.assert_close(out, 0.75 * begun + 0.25 * own, rtol=2e-3, atol=1e-4)
    (tmp_path / "first.safetensors").unlink()
    with pytest.raises(ReconstructError, match="no weights at"):
        export_weights(trainer.checkpoint, tmp_path / "w.safetensors", confidence_parts=0)
