"""Weights on disk: safetensors in half precision, with what they were trained on.

A file is read without pickle and is refused with a sentence when it is not ours, was made for
another encoding, or does not fit the network it describes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from intake.errors import told_as
from intake.trees import whole
from reconstruct.dpps.encoding import CHANNELS, ENCODING
from reconstruct.dpps.network import AnyRigNet, Shape
from reconstruct.errors import ReconstructError
from reconstruct.tensors import described, read_tensors

FORMAT = "rig-weights/1"
SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "any-rig.safetensors"


def write_weights(model: AnyRigNet, path: Path, facts: dict[str, Any] | None = None) -> None:
    """Write the network's weights in half precision."""
    tensors = {
        name: (value.half() if value.dtype.is_floating_point else value).contiguous().cpu()
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    for name, value in tensors.items():
        if value.dtype == torch.float16 and not torch.isfinite(value).all():
            raise ReconstructError(f"the weights '{name}' do not fit into half precision")
    save_file(
        tensors,
        path,
        metadata={
            "format": FORMAT,
            "network": "any-rig",
            "shape": json.dumps(model.shape.to_json()),
            "facts": json.dumps(facts or {}),
        },
    )


def read_weights(path: Path | None = None) -> tuple[AnyRigNet, dict[str, Any]]:
    """The network ready to predict, and the facts written with it.

    Raises `ReconstructError` when the file is missing, is no weights file or does not fit.
    """
    path = path or SHIPPED
    if not path.is_file():
        raise ReconstructError(f"there are no weights at {path}; train some with `rig train`")
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT or metadata.get("network") != "any-rig":
        raise ReconstructError(
            f"{path} holds '{metadata.get('network', 'unknown')}' weights in the format "
            f"'{metadata.get('format', 'unknown')}'; expected 'any-rig' in '{FORMAT}'"
        )
    shape, facts = described(metadata, "shape", path), described(metadata, "facts", path)
    try:
        encoding, channels = shape["encoding"], shape["channels"]
        sizes = Shape.from_json(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise ReconstructError(f"{path} does not describe its network: {error!r}") from error
    if encoding != ENCODING or channels != CHANNELS:
        raise ReconstructError(
            f"{path} was trained on the encoding '{encoding}' with {channels} channels; this "
            f"version makes '{ENCODING}' with {CHANNELS}: use weights of this version"
        )
    with told_as(ReconstructError):
        for width in (*sizes.widths, sizes.pixelwise):
            whole(width, f"{path}: a width of the network", 1, 4096)
    if not 2 <= len(sizes.widths) <= 8:
        raise ReconstructError(f"{path} describes a network of {len(sizes.widths)} levels")
    with torch.device("meta"):  # sizes alone, so that a description cannot ask for the memory
        model = AnyRigNet(sizes)
    own = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    wrong = sorted(set(own) ^ set(tensors)) or sorted(
        name for name in own if own[name].shape != tensors[name].shape
    )
    if wrong:
        raise ReconstructError(
            f"{path} does not fit the network it describes: {len(wrong)} tensors are missing, "
            f"unknown or of another size, first '{wrong[0]}'"
        )
    full = {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}
    seen = {k: torch.zeros((), dtype=torch.long) for k in model.state_dict() if k not in own}
    model.load_state_dict(full | seen, assign=True)
    return model.eval(), facts


def export_weights(checkpoint: Path, path: Path, confidence_parts: int = 24) -> dict[str, Any]:
    """Write a checkpoint's averaged any-rig weights as safetensors; returns the facts in it.

    With `blend` in the run's configuration they lie between those it began from and its own
    (Wortsman et al. 2022, robust fine-tuning); refused if the former are gone. The factors of the
    predicted errors are measured on `confidence_parts` held-out parts.
    """
    from reconstruct.dpps.confidence import sigma_scales

    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = AnyRigNet(Shape.from_json(json.loads(state["shape"])) if "shape" in state else Shape())
    model.load_state_dict(state["average"])
    config = json.loads(state["config"])
    facts = {
        "steps": state["step"],
        "samples": state["step"] // (1 + config["replay"]) * config["batch"],
        "minutes": round(state["seconds"] / 60, 1),
        "size_px": config["size"],
    }
    share = config.get("blend", 1.0)
    if config["init"] and (share != 1 or Path(config["init"]).is_file()):
        first, facts["begun_from"] = read_weights(Path(config["init"]))
        if share != 1:
            own = model.state_dict()
            for name, value in first.state_dict().items():
                if value.dtype.is_floating_point:
                    own[name].copy_(value.lerp(own[name], share))
            facts["blend"] = share
    if confidence_parts:
        facts |= sigma_scales(model.eval(), confidence_parts)
    write_weights(model, path, facts)
    return facts
