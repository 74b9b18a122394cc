"""The stage of `rig virtual-rig`: parts, ball, plate and board as scenes of one world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.board import Board
from capture.errors import PlanError
from capture.world import Scene, World
from rig.calibration_scene import BoardScene, CalibrationScene
from rig.simulate import RenderedScene, scene_of

Say = Callable[[str], None]


class EmptyStage:
    """Nothing on a black stage."""

    def __init__(self, shape: tuple[int, int], led_count: int) -> None:
        self.shape, self.led_count = shape, led_count
        self._dim: NDArray[np.float32] = np.full(shape, 1e-5, np.float32)

    def irradiance(self, led: int) -> NDArray[np.float32]:
        return self._dim

    def ambient(self) -> NDArray[np.float32]:
        return self._dim


class VirtualStage:
    """Changes what the cameras of a world look at.

    Parameters
    ----------
    shape : (H, W) of the pictures
    truth : file to write the truth of the part on the stage to; removed when there is none
    chosen : a part that stays on the stage whatever part a command names; None: as named
    """

    def __init__(
        self,
        shape: tuple[int, int],
        led_count: int,
        seed: int,
        truth: Path,
        chosen: str | None = None,
        say: Say = print,
    ) -> None:
        self._shape, self._leds, self._seed = shape, led_count, seed
        self._truth, self._chosen, self._say = truth, chosen, say
        self._known: tuple[tuple[str, Any], ...] = ()
        self.scene: Scene = EmptyStage(shape, led_count)
        self.what = "nothing"

    def place(self, world: World, order: dict[str, Any]) -> str:
        """Carry out an order (`rig.stagehand`); what now lies there. Raises `PlanError`."""
        key = tuple(sorted((k, v) for k, v in order.items() if k != "room_light"))
        room_light = bool(order.get("room_light"))
        if key != self._known:
            self.scene, self.what = self._made(order)
            self._known = key
            self._say(f"On the stage: {self.what}")
        if isinstance(self.scene, CalibrationScene):
            self.scene.room_light = room_light
        world.scene = self.scene
        return self.what

    def _made(self, order: dict[str, Any]) -> tuple[Scene, str]:
        what = str(order.get("what", ""))
        if what == "part":
            return self._part(str(order["name"]))
        self._truth.unlink(missing_ok=True)
        if what == "empty":
            return EmptyStage(self._shape, self._leds), "nothing"
        if what == "board":
            board = Board(
                int(order["columns"]),
                int(order["rows"]),
                float(order["square_mm"]),
                order["kind"],
            )
            number, views = int(order["number"]), int(order["views"])
            scene = BoardScene(board, views, self._seed, self._shape)
            scene.show(number)
            return scene, f"the calibration board, view {number + 1} of {views}"
        if what in ("ball", "plate"):
            radius = float(order.get("radius_mm", 12.7))
            calibration = CalibrationScene(self._leds, radius, self._seed, self._shape)
            at = float(order.get("x_mm", 0.0)), float(order.get("y_mm", 0.0))
            calibration.show("ball" if what == "ball" else "plate", *at)
            where = f"a mirror ball at x {at[0]:.0f}, y {at[1]:.0f} mm"
            return calibration, where if what == "ball" else "a white plate"
        raise PlanError(f"nobody can lay '{what}' on the stage: part, ball, plate, board or empty")

    def _part(self, name: str) -> tuple[Scene, str]:
        name = self._chosen or name
        if isinstance(self.scene, RenderedScene) and self.what == f"part {name}":
            return self.scene, self.what
        self._say(f"Rendering part {name} under {self._leds} LEDs …")
        scene = scene_of(name, led_count=self._leds, shape_px=self._shape, seed=self._seed)
        scene.draw(range(1, self._leds + 1))
        scene.write_truth(self._truth)
        return scene, f"part {name}"
