"""Loads beforehand what the first measurement would wait for: libraries, network, compiled loops.

A small part is measured on a virtual rig of its own, through the very steps of a measurement, while
the page waits for its operator.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path

from capture.world import withdraw

NAME = "warming-up"
LEDS, SHAPE = 16, (48, 48)


class Warming:
    """Warms up in a thread while its context is open, and gives up when that is left.

    Parameters
    ----------
    method, device : as the measurements will have them
    """

    def __init__(self, method: str, device: str) -> None:
        self._method, self._device = method, device
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rig-warming", daemon=True)

    def __enter__(self) -> Warming:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def wait(self) -> None:
        """Until it has warmed up."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="rig-warming-") as folder:
                self._measure(Path(folder))
        except KeyboardInterrupt:
            pass  # given up
        except Exception as error:  # the measurement itself will say what is wrong
            logging.getLogger(__name__).info("not warmed up: %s", error)
        finally:
            withdraw(NAME)

    def _measure(self, folder: Path) -> None:
        from calib.light_files import write_lights
        from rig.config import TEMPLATE, parse_config
        from rig.measure_part import Job, Judgement, measure_part
        from rig.session import open_rig
        from rig.simulate import scene_of, virtual_rig
        from rig.workspace import Workspace

        small = virtual_rig(LEDS, SHAPE)
        (folder / "calibration").mkdir()
        small.camera.write(folder / "calibration" / "camera.json")
        write_lights(small.lights, folder / "calibration" / "lights.json", small.camera)
        text = TEMPLATE.replace("sim://rig", f"sim://{NAME}").replace("leds: 96 ", f"leds: {LEDS} ")
        config = parse_config(text)
        job = Job(config.default_plan(), method=self._method, device=self._device)

        def looked(found: Judgement) -> None:
            """That there is a quick look is all that matters."""

        with open_rig(config, scene=scene_of("field", rig=small, bounce=False)) as rig:
            measure_part(
                rig, Workspace.at(folder), "field", job, stop=self._stop.is_set, preview=looked
            )
