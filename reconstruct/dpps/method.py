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
    """A surface in a fraction of a second; see `reconstruct.dpps.predict.predict`."""
    if options.flat is not None:
        # divide the smooth irradiance factors out, then light and picture agree
        from dataclasses import replace

        import cv2
        import numpy as np

        height, width = stack.shape
        radiance = np.empty_like(stack.radiance)
        for k in range(len(stack)):
            factor = cv2.resize(
                np.ascontiguousarray(options.flat[..., k]), (width, height),
                interpolation=cv2.INTER_LINEAR,
            )  # fmt: skip
            radiance[k] = stack.radiance[k] / np.maximum(factor, 1e-3)
        stack = replace(stack, radiance=radiance)
    network = Network(weights=options.weights, device=options.device)
    return predict(stack, camera, lights, options.mask, options.height_mm, network)
