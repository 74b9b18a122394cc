"""Training: resumable, on data made while it runs, one process or several.

The learning rate falls as a cosine over the run's budget, given in steps or in minutes (then by
the clock, so that a run on a busy machine still ends on time). Checkpoints hold everything needed
to go on: weights, their moving average, optimiser, step, seconds spent, next sample.
"""

from __future__ import annotations

import csv
import gc
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np
import torch
from torch import Tensor, nn

from reconstruct.dpps.config import TrainConfig
from reconstruct.dpps.distributed import Processes, synchronised
from reconstruct.dpps.drawing import Ask, scene_of
from reconstruct.dpps.network import AnyRigNet, Prediction, loss_of, network_of, predictor
from reconstruct.dpps.optimiser import Optimiser
from reconstruct.dpps.samples import draw
from reconstruct.dpps.weights import Shape, read_weights
from reconstruct.errors import ReconstructError

if TYPE_CHECKING:
    from reconstruct.dpps.again import FirstPass
    from reconstruct.dpps.batched import Batch

CHECKPOINT = "checkpoint.pt"


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Endless batches; batch b of the run holds samples b·batch … b·batch + batch − 1.

    With `scenes` they are scenes, of which the trainer's device makes the pairs.
    """

    def __init__(
        self, config: TrainConfig, first_step: int, processes: Processes, scenes: bool = False
    ) -> None:
        super().__init__()
        self.config, self.first_step, self.processes = config, first_step, processes
        self.scenes = scenes
        self.first_pass: FirstPass | None = None

    def batch(self, step: int) -> tuple[Tensor, Tensor] | Batch:
        from reconstruct.dpps.dataset import training_pair, training_scenes

        share = self.config.batch // self.processes.count
        first = step * self.config.batch + self.processes.rank * share
        if self.scenes:
            return training_scenes(self.config, first, share)
        if self.config.again and self.first_pass is None:
            from reconstruct.dpps.again import FirstPass

            self.first_pass = FirstPass(Path(self.config.out) / CHECKPOINT)
        pairs = [training_pair(self.config, first + i, self.first_pass) for i in range(share)]
        return (
            torch.from_numpy(np.stack([p[0] for p in pairs])),
            torch.from_numpy(np.stack([p[1] for p in pairs])),
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor] | Batch]:
        worker = torch.utils.data.get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.first_step + offset
        while True:
            yield self.batch(step)
            step += stride


def replayed(
    fresh: Iterable[tuple[Tensor, Tensor]], config: TrainConfig, processes: Processes
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each fresh batch, and after it `replay` batches mixed from the last 32."""
    rng = np.random.default_rng([config.seed, processes.rank])
    store: list[tuple[Tensor, Tensor]] = []
    for x, y in fresh:
        yield x, y
        if not config.replay:
            continue
        store = [*store[-31:], (x, y)]
        for _ in range(config.replay if len(store) >= 16 else 0):
            pick = [(int(rng.integers(len(store))), i) for i in range(len(x))]
            yield (
                torch.stack([store[b][0][i] for b, i in pick]),
                torch.stack([store[b][1][i] for b, i in pick]),
            )


def raise_malloc_thresholds() -> None:
    """Keep freed image-sized blocks in the process: page faults ate half of an early run."""
    import ctypes

    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        pass  # not glibc


def build(config: TrainConfig) -> nn.Module:
    """The network with the weights it begins from: reproducible, or those of a file."""
    if config.init:
        return network_of(read_weights(Path(config.init)))
    torch.manual_seed(config.seed)
    if config.network == "published":
        from reconstruct.dpps.published import PublishedNet

        return PublishedNet()
    return AnyRigNet(Shape())


def _worker_start(_: int) -> None:
    torch.set_num_threads(1)
    numba.set_num_threads(1)  # idle threads spin, and cost the trainer its core
    raise_malloc_thresholds()


class Trainer:
    """One run in one folder."""

    def __init__(self, config: TrainConfig, processes: Processes | None = None) -> None:
        raise_malloc_thresholds()
        self.config = config
        self.processes = processes or Processes.join()
        if config.batch % self.processes.count:
            raise ReconstructError(
                f"a batch of {config.batch} cannot be shared by {self.processes.count} processes"
            )
        if config.threads:
            numba.get_num_threads()  # starts its threads, which sets the number of torch's
            torch.set_num_threads(config.threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # a GPU makes pictures faster than processes do, which then only draw parts and rigs
        self.makes_pairs = (
            self.device.type == "cuda" and config.network == "any-rig" and not config.shards
        )
        self.folder = Path(config.out)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model = build(config).to(self.device)
        for parameter in self.model.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.average = build(config).to(self.device)
        self.average.load_state_dict(self.model.state_dict())
        self.optimiser = Optimiser(self.model, config.optimiser, config.rate, config.decay)
        self.step, self.seconds, self.lost = 0, 0.0, 0
        self._resume()
        self.wrapped: nn.Module = self.model
        if self.processes.count > 1:
            self.model = synchronised(self.model)
            self.wrapped = nn.parallel.DistributedDataParallel(self.model)

    def leave(self) -> None:
        """Take leave of the other processes; nothing is trained after it."""
        self.wrapped = self.model  # its reducer would keep the group alive
        gc.collect()
        self.processes.leave()

    # state -------------------------------------------------------------------------------------
    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]
        except (KeyError, RuntimeError, EOFError, OSError) as error:
            raise ReconstructError(
                f"{self.checkpoint} does not continue this run ({type(error).__name__}); "
                "move it away to start over"
            ) from error

    def save(self) -> None:
        """Write the checkpoint whole or not at all, and the averaged weights beside it."""
        if self.processes.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "config": json.dumps(asdict(self.config)),
            "shape": json.dumps(getattr(self.model, "shape", Shape()).to_json()),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    # schedule ----------------------------------------------------------------------------------
    def progress(self) -> float:
        """0 at the start, 1 at the end."""
        if self.config.budget_steps:
            return self.step / self.config.budget_steps
        return self.seconds / (60 * self.config.budget_minutes)

    def rate(self) -> float:
        warm = min(1.0, (self.step + 1) / max(1, self.config.warmup_steps))
        return self.config.rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress())))

    # steps -------------------------------------------------------------------------------------
    def _precision(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )

    def _loss(self, x: Tensor, y: Tensor) -> Any:
        with self._precision():
            out = self.wrapped(x)
        if self.config.network == "published":
            from reconstruct.dpps.published import published_loss

            return published_loss(out, y)
        return loss_of(out, y)

    def train_step(self, x: Tensor, y: Tensor) -> Any:
        """One optimiser step; a step whose loss is not finite is left out and counted."""
        x = x.to(self.device, memory_format=torch.channels_last)
        y = y.to(self.device)
        self.wrapped.train()
        self.optimiser.clear()
        loss = self._loss(x, y)
        loss.total.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if torch.isfinite(norm):
            self.optimiser.step(self.rate())
        else:
            self.lost += 1
        self.step += 1
        self._follow()
        return loss

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.config.ema, self.step / (self.step + 10))
        for mean, now in zip(
            self.average.state_dict().values(), self.model.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)

    def _pairs(
        self, batches: Iterable[tuple[Tensor, Tensor] | Batch]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Channels and targets of what the workers made."""
        from reconstruct.dpps.batched import Batch, pairs

        for batch in batches:
            if not isinstance(batch, Batch):
                yield batch
                continue
            first_pass = self._first_pass if self.checkpoint.exists() else None
            yield pairs(batch.to(self.device), first_pass)

    def _first_pass(self, x: Tensor) -> Prediction:
        """What the averaged network says."""
        with self._precision():
            return cast(Prediction, self.average.eval()(x))

    def run(self, say: Any = print) -> None:
        """Train to the end of the budget; Ctrl-C writes a checkpoint first."""
        fresh_steps = self.step // (1 + self.config.replay)
        loader = torch.utils.data.DataLoader(
            Stream(self.config, fresh_steps, self.processes, self.makes_pairs), batch_size=None,
            num_workers=self.config.workers, worker_init_fn=_worker_start,
            prefetch_factor=3 if self.config.workers else None,
            # numba may have threads by now, which a forked process must not use
            multiprocessing_context="spawn" if self.config.workers else None,
            pin_memory=self.device.type == "cuda",
        )  # fmt: skip
        log = _Log(self.folder / "log.csv", self.processes.rank == 0)
        clock = saved = shown = validated = time.monotonic()
        seconds = self.seconds
        sums: list[tuple[float, float, float]] = []
        try:
            for x, y in replayed(self._pairs(loader), self.config, self.processes):
                loss = self.train_step(x, y)
                sums.append((loss.total.item(), loss.normal_deg.item(), loss.delta.item()))
                now = time.monotonic()
                self.seconds = self.processes.agree(seconds + now - clock)
                end = self.progress() >= 1
                if now - shown > 20 or end:
                    mean = np.mean(sums, axis=0)
                    sums, shown = [], now
                    log.row("train", self, mean)
                    if self.processes.rank == 0:
                        say(
                            f"step {self.step}  {self.seconds / 60:.1f} min  "
                            f"loss {mean[0]:.4f}  normals {mean[1]:.2f}°  "
                            f"height {100 * mean[2]:.2f} %  rate {self.rate():.1e}"
                        )
                if now - validated > 60 * self.config.validation_minutes or end:
                    for name, figures in self.validate().items():
                        log.row(name, self, figures)
                        if self.processes.rank == 0:
                            say(f"  {name}: {figures[1]:.2f}°  {100 * figures[2]:.2f} %")
                    validated = time.monotonic()
                if now - saved > 60 * self.config.checkpoint_minutes or end:
                    self.save()
                    saved = time.monotonic()
                if end:
                    break
        except KeyboardInterrupt:
            self.save()
            raise

    def _held_out(self, ask: Ask) -> Iterator[tuple[Tensor, Tensor]]:
        """Channels and targets of validation samples, one after the other."""
        numbers = range(self.config.validation_samples)
        if self.makes_pairs:
            from reconstruct.dpps.batched import packed, pairs

            scenes = [scene_of(i, ask, "validation") for i in numbers]
            yield from zip(*pairs(packed(scenes, [0.0] * len(scenes)).to(self.device)), strict=True)
            return
        for i in numbers:
            sample = draw(i, ask, "validation")
            yield (
                torch.from_numpy(sample.channels).to(self.device),
                torch.from_numpy(sample.target()).to(self.device),
            )

    @torch.no_grad()
    def validate(self) -> dict[str, Any]:
        """Loss, degrees and height error of the averaged weights.

        On held-out parts in one pass, height as a share of 64 px; on captures by the whole method,
        height as a share of the field.
        """
        if self.processes.rank or self.config.network == "published":
            return {}
        self.average.eval()
        kinds = {
            "steep": Ask(rig="dome96", slope_deg=(40, 50), zoom=0, shapes="blobby"),
            "gentle": Ask(rig="dome96", slope_deg=(5, 15), zoom=0),
            "panel": Ask(rig="panel", slope_deg=(40, 50), zoom=0, shapes="blobby"),
        }
        result: dict[str, Any] = {}
        for name, ask in kinds.items():
            rows = []
            for x, y in self._held_out(replace(ask, size=self.config.size)):
                out = loss_of(self.average(x[None]), y[None])
                rows.append((out.total.item(), out.normal_deg.item(), out.delta.item()))
            result[name] = np.mean(rows, axis=0)
        if self.config.captures:
            from reconstruct.dpps.captured import captured_in

            for capture in captured_in(Path(self.config.captures)):
                found = capture.predicted(predictor(cast(AnyRigNet, self.average)))
                degrees, error_mm = capture.errors(found)
                result[capture.name] = (math.nan, degrees, error_mm / capture.field_mm)
        return result


class _Log:
    """A CSV of loss, degrees and height over steps, samples and minutes."""

    def __init__(self, path: Path, active: bool) -> None:
        self.path, self.active = path, active
        if active and not path.exists():
            path.write_text("what,step,samples,minutes,rate,loss,normals_deg,height\n")

    def row(self, what: str, run: Trainer, values: Any) -> None:
        if not self.active:
            return
        samples = run.step // (1 + run.config.replay) * run.config.batch
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(
                [what, run.step, samples, f"{run.seconds / 60:.2f}",
                 f"{run.rate():.3e}", *(f"{v:.5f}" for v in values)]
            )  # fmt: skip
