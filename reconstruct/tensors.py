"""Safetensors files: their tensors and what is written beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from intake.errors import told_as
from intake.files import open_file
from intake.trees import parse_json
from reconstruct.errors import ReconstructError

_KINDS = (np.float16, np.float32, np.float64, np.int64)


@told_as(ReconstructError)
def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors of numbers by name, and the texts of the header.

    Raises
    ------
    ReconstructError
        if it is no such file, is damaged, or holds what is no number
    """
    open_file(path).close()  # a pipe or a folder would be opened and waited for
    try:
        with safe_open(path, framework="np") as file:
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # it raises kinds of its own, and NumPy's for types that it lacks
        said = " ".join(str(error).split())[:200]
        raise ReconstructError(f"{path} is not a safetensors file, or damaged: {said}") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _KINDS or not np.isfinite(tensor).all():
            raise ReconstructError(f"{path} is damaged: '{name}' holds what is no number")
    return tensors, facts


@told_as(ReconstructError)
def described(facts: dict[str, str], key: str, path: Path) -> dict[str, Any]:
    """The JSON object under a key of a header's texts; raises `ReconstructError`."""
    data = parse_json(facts.get(key, "null"), f"'{key}' of {path}")
    if not isinstance(data, dict):
        raise ReconstructError(f"{path} does not say its '{key}'")
    return data
