"""Measures parts one after another as `rig serve` does, in a process that can be killed.

Run: python measuring_process.py WORKSPACE LIMIT_BYTES PART... ; prints each change of a ticket.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from floor_bench import LEDS, SIZE, plate_scene_of

from rig import measuring, session
from rig.capturing import configuration
from rig.floor.pages.worker import Bench, Ticket, Worker
from rig.measure_part import Labels
from rig.simulate import virtual_rig
from rig.workspace import Workspace


def main(folder: str, limit_bytes: int, parts: list[str]) -> None:
    scene = plate_scene_of(virtual_rig(LEDS, (SIZE, SIZE)))
    session.default_scene = measuring.default_scene = scene
    workspace = Workspace.at(Path(folder))
    config, text = configuration(workspace, simulate=True)
    if limit_bytes:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write that fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    def tell(ticket: Ticket) -> None:
        print(json.dumps(ticket.to_json()), flush=True)

    with Worker(Bench(workspace, config, text, method="lambert")) as worker:
        worker.listen(tell)
        for part in parts:
            worker.submit(part, Labels("plate"))
        seen = -1
        while len(worker.state()["finished"]) < len(parts):
            seen = worker.wait(seen, 60)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
