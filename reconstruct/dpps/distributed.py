"""Several training processes that learn as one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """Who we are among the processes that train together."""

    rank: int = 0
    count: int = 1

    @staticmethod
    def join() -> Processes:
        """Join the group that `torchrun` describes in the environment, if any."""
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return Processes()
        # Imported after the group is made, its functions hold the group as a default argument, and
        # `leave` could not end it; DDP imports it.
        import torch.distributed.nn

        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())

    def leave(self) -> None:
        """End the group, once all have come here.

        A thread of gloo's lets go of the last tensors that it sent while its caller goes on; should
        Python have ended by then, the process aborts (PyTorch pull request 179291). The group's
        end joins the threads, if nothing else holds the group.
        """
        if self.count > 1:
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

    def agree(self, seconds: float) -> float:
        """The first process's clock, so that all end at the same step."""
        if self.count == 1:
            return seconds
        shared = torch.tensor(seconds, dtype=torch.float64)
        if torch.cuda.is_available():
            shared = shared.cuda()
        torch.distributed.broadcast(shared, 0)
        return float(shared)


class SyncedNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, as `SyncBatchNorm`, which needs GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce

        count = x.numel() / x.shape[1] * torch.distributed.get_world_size()
        sums = torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
        mean, square = all_reduce(sums) / count  # type: ignore[no-untyped-call]
        var = (square - mean * mean).clamp(min=0)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            keep = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, keep)
            self.running_var.lerp_(var * count / (count - 1), keep)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(var + self.eps)
        out: Tensor = x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return out


def synchronised(model: nn.Module) -> nn.Module:
    """The network with batch norms that see all processes."""
    if torch.cuda.is_available():
        convert: Any = nn.SyncBatchNorm.convert_sync_batchnorm
        synced: nn.Module = convert(model)
        return synced
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedNorm
    return model
