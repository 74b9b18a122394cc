"""The averaged any-rig network in a training run's checkpoint, and as a file of weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reconstruct.dpps.confidence import sigma_scales
from reconstruct.dpps.forward import Network
from reconstruct.dpps.network import AnyRigNet, weights_of
from reconstruct.dpps.weights import Shape, Weights, read_weights, write_weights


def averaged(checkpoint: Path) -> tuple[Weights, dict[str, Any]]:
    """The moving average of the weights, and all else that the checkpoint holds."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = AnyRigNet(Shape.from_json(json.loads(state["shape"])) if "shape" in state else Shape())
    model.load_state_dict(state["average"])
    return weights_of(model), state


def export_weights(checkpoint: Path, path: Path, confidence_parts: int = 24) -> dict[str, Any]:
    """Write a checkpoint's averaged any-rig weights as safetensors; returns the facts in it.

    With `blend` in the run's configuration they lie between those it began from and its own
    (Wortsman et al. 2022, robust fine-tuning); refused if the former are gone. The factors of the
    predicted errors are measured on `confidence_parts` held-out parts.
    """
    weights, state = averaged(checkpoint)
    config = json.loads(state["config"])
    facts = {
        "steps": state["step"],
        "samples": state["step"] // (1 + config["replay"]) * config["batch"],
        "minutes": round(state["seconds"] / 60, 1),
        "size_px": config["size"],
    }
    share = config.get("blend", 1.0)
    if config["init"] and (share != 1 or Path(config["init"]).is_file()):
        first = read_weights(Path(config["init"]))
        facts["begun_from"] = first.facts
        if share != 1:
            blended = {
                name: first.tensors[name] + share * (own - first.tensors[name])
                for name, own in weights.tensors.items()
            }
            weights = replace(weights, tensors=blended)
            facts["blend"] = share
    if confidence_parts:
        facts |= sigma_scales(Network(weights), confidence_parts)
    write_weights(replace(weights, facts=facts), path)
    return facts
