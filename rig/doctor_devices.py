"""`rig doctor --open`: open board and camera, and try what the commands will ask of them."""

from __future__ import annotations

from collections.abc import Iterator

from capture.errors import CaptureError
from capture.plan import Shot
from rig.config import Config
from rig.doctor import Finding
from rig.session import Rig, open_rig


def check_devices(config: Config) -> Iterator[Finding]:
    """Open the devices of rig.yaml, light one LED, take one picture, and leave all dark."""
    try:
        with open_rig(config) as rig:
            yield from _opened(rig, config)
    except CaptureError as error:
        yield Finding("devices", "bad", str(error), "correct rig.yaml or the wiring, and try again")


def _opened(rig: Rig, config: Config) -> Iterator[Finding]:
    board, camera = rig.board.identity, rig.camera.identity
    if board.led_count < config.board.leds:
        yield Finding(
            "LED board",
            "bad",
            f"{board.name} {board.serial} has {board.led_count} LEDs, rig.yaml says "
            f"{config.board.leds}",
            "correct board: leds in rig.yaml",
        )
    else:
        what = f"{board.name} {board.serial}, {board.led_count} LEDs"
        if board.led_count > config.board.leds:
            what += f", of which rig.yaml uses {config.board.leds}"
        yield Finding("LED board", "good", f"{what}, {rig.mode}")
    for warning in rig.state.warnings:
        yield Finding("camera", "note", warning, "ask for what the camera can do, in rig.yaml")
    exposure_us = rig.sync.expose(config.camera.exposure_ms * 1000)
    plan = config.default_plan()
    shot = Shot(0, "light", plan.leds[0], plan.level, exposure_us, 0)
    frame = next(iter(rig.sync.take([shot], 1))).frame
    size = f"{frame.pixels.shape[1]}×{frame.pixels.shape[0]} px"
    if frame.pixel_format != config.camera.pixel_format:
        yield Finding(
            "camera",
            "bad",
            f"{camera.model} {camera.serial} was asked for {config.camera.pixel_format} and "
            f"delivers {frame.pixel_format}",
            "name a pixel format that the camera has in rig.yaml; 8 bits cost dark detail",
        )
    else:
        what = f"{camera.model} {camera.serial}, {size}, {frame.pixel_format}"
        yield Finding("camera", "good", what)
