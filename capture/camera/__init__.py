"""Cameras: the protocol, GenICam, the virtual camera."""
