"""How fast the learned reflectance is: evaluations per processor second, and of this machine.

Usage: python benchmarks/bench_brdf.py [FIT.safetensors]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from reconstruct.brdf_fit.network import BrdfNetwork


def main() -> None:
    network = BrdfNetwork.read(Path(sys.argv[1]))[0] if len(sys.argv) > 1 else BrdfNetwork()
    rng = np.random.default_rng(0)
    count = 4_000_000
    arguments = [
        np.ascontiguousarray(rng.uniform(low, high, count), np.float32)
        for low, high in ((0.05, 6.3), (0.04, 0.5), (0, 0.9), (0.1, 1), (0, 1))
    ]
    kernel = network.kernel()
    kernel(*(a[:1000] for a in arguments))
    own = wall = np.inf
    for _ in range(7):
        clock, start = time.process_time(), time.perf_counter()
        kernel(*arguments)
        own = min(own, time.process_time() - clock)
        wall = min(wall, time.perf_counter() - start)
    cores = len(os.sched_getaffinity(0))
    print(f"{count / own / 1e6:.1f} M evaluations a processor second")
    print(f"{count / wall / 1e6:.1f} M a second as run here, {cores} cores, other load included")


if __name__ == "__main__":
    main()
