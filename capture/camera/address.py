"""From the address of a camera to its driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capture.errors import DeviceError
from capture.world import is_simulated
from intake import plugins
from intake.errors import told_as

if TYPE_CHECKING:
    from capture.camera.base import Camera


def open_camera(address: str, producers: Sequence[str] = ()) -> Camera:
    """The camera at `address`, opened.

    Parameters
    ----------
    address : ``sim://name`` is the virtual camera of a published world; ``scheme://…`` one of the
        plug-in that adds this scheme; ``producer.cti#serial``
        a GenICam camera behind that GenTL producer. Either half may be empty: without a producer
        those of `producers` or of GENICAM_GENTL64_PATH are searched, without a serial number the
        only camera found is taken.
    producers : further .cti files to search.

    Raises
    ------
    DeviceError : no such camera, or more than one to choose from.
    """
    camera: Camera
    if is_simulated(address):
        from capture.camera.virtual import VirtualCamera

        camera = VirtualCamera(address)
    elif (scheme := address.partition("://")[0]) in plugins.offered(plugins.CAMERAS):
        with told_as(DeviceError):
            camera = plugins.load(plugins.CAMERAS, scheme)(address)
    else:
        from capture.camera.genicam import GenICamCamera

        producer, _, serial = address.rpartition("#") if "#" in address else (address, "", "")
        if producer and not producer.lower().endswith(".cti"):
            raise DeviceError(
                f"'{address}' is no camera address: "
                "write sim://NAME or PATH/TO/producer.cti#SERIAL ('rig devices' lists them)"
            )
        camera = GenICamCamera(serial, [producer] if producer else list(producers))
    camera.open()
    return camera
