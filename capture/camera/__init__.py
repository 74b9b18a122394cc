"""Cameras: the protocol, GenICam, the virtual camera."""

from capture.camera.address import open_camera

__all__ = ["open_camera"]
