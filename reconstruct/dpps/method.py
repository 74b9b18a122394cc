"""The method `dpps` of `reconstruct.methods`: the any-rig network alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconstruct.dpps.predict import Options as Network
from reconstruct.dpps.predict import predict

if TYPE_CHECKING:
    from calib.camera import Camera
    from calib.lights import Lights
    from reconstruct.methods import Options
    from reconstruct.stack import Stack
    from reconstruct.surface import Surface


def dpps(stack: Stack, camera: Camera, lights: Lights, options: Options) -> Surface:
    """A surface by one look at the pictures; see `reconstruct.dpps.predict.predict`."""
    network = Network(weights=options.weights, device=options.device)
    return predict(stack, camera, lights, options.mask, options.height_mm, options.flat, network)
