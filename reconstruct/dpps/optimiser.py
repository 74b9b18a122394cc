"""AdamW for everything, or Muon for the filters of convolutions and AdamW for the rest.

Muon (Jordan 2024) steps along the orthogonalised momentum of a matrix; a filter bank is one of
(outputs, inputs × places). With steps scaled to AdamW's usual size one rate serves both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def _as_matrix(tensor: Tensor) -> Tensor:
    """(outputs, places × inputs) of a filter bank; a view of one in channels-last order."""
    return tensor.permute(0, 2, 3, 1).reshape(len(tensor), -1)


class Optimiser:
    """One step over a network's parameters by the algorithm named.

    Filter banks must be in channels-last order: Muon then changes them through matrices that
    share their memory.
    """

    def __init__(self, model: nn.Module, algorithm: str, rate: float, decay: float) -> None:
        self.parameters = list(model.parameters())
        filters = [p for p in self.parameters if p.dim() == 4 and min(p.shape[:2]) >= 8]
        self.filters = filters if algorithm == "muon" else []
        chosen = {id(p) for p in self.filters}
        others = [p for p in self.parameters if id(p) not in chosen]
        self.matrices = [nn.Parameter(_as_matrix(p.data)) for p in self.filters]
        for matrix, bank in zip(self.matrices, self.filters, strict=True):
            if matrix.data_ptr() != bank.data_ptr():
                raise ValueError("filter banks must be in channels-last order")
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=rate, weight_decay=decay, betas=(0.9, 0.98))
        ]
        if self.matrices:
            self.parts.append(
                torch.optim.Muon(
                    self.matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
                )
            )

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, rate: float) -> None:
        """Change the parameters along their gradients."""
        for matrix, bank in zip(self.matrices, self.filters, strict=True):
            matrix.grad = None if bank.grad is None else _as_matrix(bank.grad)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        if len(state) != len(self.parts):
            raise RuntimeError("another optimiser")
        for part, one in zip(self.parts, state, strict=True):
            part.load_state_dict(one)
