"""From the button to the verdict: what the operator waits for after the last picture.

    python benchmarks/button_to_verdict.py [METHOD] [SIZE]

Measures three parts of SIZE × SIZE pixels (256) by 96 lights on the virtual rig, through the worker
behind the operator's page, warmed up as `rig serve` is, judged by an inspection plan. Prints the
capture and what follows it: to the verdict at a quick look, which the page shows first, and to the
verdict itself; in brackets the processor seconds, which do not depend on what else is going on.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from calib.light_files import write_lights
from capture.world import Scene
from rig import measuring, session
from rig.capturing import configuration
from rig.config import TEMPLATE, Config
from rig.floor.pages.worker import Bench, Ticket, Worker
from rig.floor.warm import Warming
from rig.measure_part import Labels
from rig.simulate import scene_of, virtual_rig
from rig.workspace import Workspace

PARTS = ("stamped-1", "stamped-2", "milled-1")
PLAN = """format: rig-plan/1
type: plate
features:
  - {name: flat, kind: flatness, region: [-20, -20, 20, 20], upper: 5}
  - {name: texture, kind: roughness, parameter: Sa, region: [-20, -20, 20, 20], upper: 500}
"""


def main(method: str, size: int) -> None:
    small = virtual_rig(96, (size, size))

    def scene(config: Config, part: str, seed: int) -> Scene:
        return scene_of(part or "field", rig=small)

    session.default_scene = measuring.default_scene = scene
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rig.yaml").write_text(TEMPLATE, encoding="utf-8")
        calibration = Path(folder) / "calibration"
        calibration.mkdir()
        small.camera.write(calibration / "camera.json")
        write_lights(
            replace(small.lights, intensity=None), calibration / "lights.json", small.camera
        )
        (Path(folder) / "plans").mkdir()
        (Path(folder) / "plans" / "plate.yaml").write_text(PLAN, encoding="utf-8")
        workspace = Workspace.at(Path(folder))
        config, text = configuration(workspace, simulate=True)
        with (
            Warming(method, "cpu") as warming,
            Worker(Bench(workspace, config, text, method=method)) as worker,
        ):
            warming.wait()
            for part in PARTS:
                seen: dict[str, tuple[float, float]] = {}

                def listen(ticket: Ticket, seen: dict[str, tuple[float, float]] = seen) -> None:
                    now = time.monotonic(), time.process_time()
                    if ticket.taken and ticket.taken == ticket.pictures:
                        seen.setdefault("captured", now)
                    if ticket.preview:
                        seen.setdefault("preview", now)
                    if ticket.verdict or ticket.error:
                        seen.setdefault("verdict", now)

                worker.listen(listen)
                number = worker.submit(part, Labels("plate")).number
                version = -1
                while not any(t["number"] == number for t in worker.state()["finished"]):
                    version = worker.wait(version, 60)
                ticket = worker.state()["finished"][0]
                if ticket["error"]:
                    sys.exit(ticket["error"])
                seconds = ticket["verdict"]["seconds"]

                def after(what: str, seen: dict[str, tuple[float, float]] = seen) -> str:
                    real, used = np.subtract(seen.get(what, seen["verdict"]), seen["captured"])
                    return f"{real:.1f} s ({used:.1f})"

                print(
                    f"{part:10} {ticket['verdict']['verdict']:16} "
                    f"capture {seconds['capture']:.1f} s; after its last picture: first verdict "
                    f"{after('preview')}, verdict {after('verdict')}",
                    flush=True,
                )


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "auto", int(sys.argv[2] if len(sys.argv) > 2 else 256)
    )
