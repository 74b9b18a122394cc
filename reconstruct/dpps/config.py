"""What to train and how long."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from reconstruct.errors import RequestError


@dataclass(frozen=True)
class TrainConfig:
    """What to train and how long; the keys of a `rig train --config` file.

    Attributes
    ----------
    out : folder for checkpoints, log and weights
    network : "any-rig" or "published"
    budget_minutes, budget_steps : length of the run; exactly one of them
    batch : samples a step, over all processes
    optimiser : "adamw", or "muon" for filters and AdamW for the rest
    rate : peak learning rate
    warmup_steps : linear rise at the start
    decay : weight decay
    clip : largest gradient norm
    ema : decay of the moving average of the weights
    precision : "float32", or "bfloat16" for autocast
    workers : processes that make samples, for each training process; 0 makes them in line
    threads : torch threads a process; 0 leaves it
    checkpoint_minutes, validation_minutes : intervals
    validation_samples : held-out samples of each kind
    captures : folder of exchange folders with a truth.npz each, looked at in every validation
    init : weights file of any-rig to begin from
    blend : share of the run's weights in what is exported; the rest are those of `init`
    size : image side of training samples, px
    rig, zoom : see `drawing.Ask`
    steep : share of samples that are blobby parts with median slopes of 38° to 58°
    again : share of samples over the surface that the run's own last checkpoint finds in them, as
        the second pass sees them
    seed : first sample and initial weights
    samples : end of the sample numbers, after which they start over; 0 never
    replay : how often a batch is learned from again, in a later mix (data cost more than steps)
    shards : folder written by `rig dataset` to read samples from instead of drawing them
    """

    out: str = "training"
    network: str = "any-rig"
    budget_minutes: float = 0.0
    budget_steps: int = 0
    batch: int = 16
    optimiser: str = "adamw"
    rate: float = 2e-3
    warmup_steps: int = 200
    decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "float32"
    workers: int = 1
    threads: int = 0
    checkpoint_minutes: float = 3.0
    validation_minutes: float = 10.0
    validation_samples: int = 32
    captures: str = ""
    init: str = ""
    blend: float = 1.0
    size: int = 64
    rig: str = "mixed"
    zoom: float = 0.3
    steep: float = 0.0
    again: float = 0.0
    seed: int = 0
    samples: int = 0
    replay: int = 0
    shards: str = ""

    @staticmethod
    def from_mapping(data: dict[str, Any]) -> TrainConfig:
        """Check names and types; `RequestError` names the nearest known key."""
        known = {f.name: f for f in fields(TrainConfig)}
        given: dict[str, Any] = {}
        for key, value in data.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise RequestError(f"the training configuration has no key '{key}'{hint}")
            kind = type(getattr(TrainConfig(), key))
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise RequestError(
                    f"the training configuration's '{key}' is {value!r}; expected {kind.__name__}"
                )
            given[key] = value
        config = TrainConfig(**given)
        if (config.budget_minutes > 0) == (config.budget_steps > 0):
            raise RequestError("give the run exactly one of budget_minutes and budget_steps")
        if config.network not in ("any-rig", "published"):
            raise RequestError(f"no network '{config.network}': any-rig or published")
        if config.init and config.network != "any-rig":
            raise RequestError("init takes any-rig weights; they do not fit another network")
        if not 0 < config.blend <= 1 or (config.blend < 1 and not config.init):
            raise RequestError("blend is a share of 1, with the weights of init")
        if config.captures and not Path(config.captures).is_dir():
            raise RequestError(f"there is no folder of captures {config.captures}")
        if config.optimiser not in ("adamw", "muon"):
            raise RequestError(f"no optimiser '{config.optimiser}': adamw or muon")
        if config.precision not in ("float32", "bfloat16"):
            raise RequestError(f"no precision '{config.precision}': float32 or bfloat16")
        return config
