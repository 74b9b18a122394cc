"""Three steps of a small training: by itself, or as one of several processes (see `Processes`)."""

import os
import sys
from pathlib import Path

import torch

from reconstruct.dpps.config import TrainConfig
from reconstruct.dpps.train import Stream, Trainer


def losses(folder: Path) -> tuple[int, list[float]]:
    """Our rank, and the loss over all processes at each step."""
    config = TrainConfig(
        budget_steps=3, batch=4, size=32, workers=0, threads=1, warmup_steps=1, rate=2e-5, seed=7,
        out=str(folder),
    )  # fmt: skip
    trainer = Trainer(config)
    stream = Stream(config, 0, trainer.processes)
    out = []
    for _ in range(3):
        loss = trainer.train_step(*stream.batch(0)).total.detach()
        if trainer.processes.count > 1:
            torch.distributed.all_reduce(loss)
            loss /= trainer.processes.count
        out.append(loss.item())
    trainer.leave()
    return trainer.processes.rank, out


def beside(port: str) -> int:
    """A second process beside this one, each told who it is as torchrun does; its number here.

    What is imported need not be imported twice.
    """
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    other = os.fork()
    rank = "0" if other else "1"
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
    return other


if __name__ == "__main__":
    other = beside(sys.argv[2]) if sys.argv[2:] else 0
    rank, found = losses(Path(sys.argv[1]))
    if rank == 0:
        print("LOSSES", *found)
    names = [(p / "comm").read_text() for p in Path("/proc/self/task").glob("*")]
    assert not [name for name in names if "gloo" in name], names
    if other:
        assert os.waitpid(other, 0)[1] == 0
