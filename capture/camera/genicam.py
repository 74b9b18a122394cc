"""Real cameras, through GenTL producers: the only file that knows harvesters.

What harvesters leaves to its user is done here (see docs/camera.md): frames are fetched in the
plain mode with a deadline of our own, pixels are decoded from the raw bytes while the buffer is
held, one acquirer is kept for the life of the camera, and the same device seen twice counts once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from genicam.genapi import NodeMap as GenApiNodeMap
from harvesters.core import Harvester

from capture.camera.base import CameraIdentity, CameraSettings, CameraState, Frame
from capture.camera.configure import Configurator, configure
from capture.camera.features import NodeMap
from capture.camera.nodes import NodeAccess
from capture.camera.pixels import bits_of, decode, stored_bytes
from capture.errors import DataError, DeviceError, DeviceTimeout

PRODUCER_PATH = "GENICAM_GENTL64_PATH"
_BUFFERS = 16
REAPPEAR_S = 5.0  # how long a lost camera may take to come back


class Listed(NamedTuple):
    """One camera as `list_cameras` found it; `position` counts in its harvester's list."""

    identity: CameraIdentity
    position: int


def find_producers() -> list[str]:
    """The .cti files in the folders of GENICAM_GENTL64_PATH."""
    folders = [folder for folder in os.environ.get(PRODUCER_PATH, "").split(os.pathsep) if folder]
    return [str(path) for folder in folders for path in sorted(Path(folder).glob("*.cti"))]


def _harvester(producers: Sequence[str]) -> Harvester:
    """A harvester with these producers loaded, or those of the environment."""
    paths = list(producers) or find_producers()
    if not paths:
        raise DeviceError(
            "no GenTL producer is known: install the camera maker's software, or name its .cti "
            f"file in rig.yaml (camera: producer) or in {PRODUCER_PATH}"
        )
    # harvesters logs to stderr what is raised, and said in one sentence, here.
    logging.getLogger("harvesters.core").setLevel(logging.CRITICAL)
    harvester = Harvester()
    try:
        for path in paths:
            try:
                harvester.add_file(path, check_existence=True, check_validity=True)
            except FileNotFoundError:
                raise DeviceError(
                    f"the GenTL producer {path} does not exist: install the camera maker's "
                    "software, or correct camera: producer in rig.yaml (a relative path counts "
                    "from that file's folder)"
                ) from None
            except OSError as error:
                reason = str(error).removeprefix(f"{path}: ")
                raise DeviceError(
                    f"the GenTL producer {path} cannot be loaded ({reason}): install the camera "
                    "maker's 64-bit software again, or correct camera: producer in rig.yaml"
                ) from None
        try:
            harvester.update()
        except Exception as error:  # genicam's exceptions share no public base
            raise DeviceError(
                f"the GenTL producer failed while looking for cameras: {error}"
            ) from (None)
    except BaseException:
        harvester.reset()
        raise
    return harvester


def _listed(harvester: Harvester, producers: Sequence[str]) -> list[Listed]:
    found: dict[str, Listed] = {}
    producer = producers[0] if len(producers) == 1 else ""
    for position, info in enumerate(harvester.device_info_list):
        serial = str(_ask(info, "serial_number") or _ask(info, "id_") or "")
        if serial not in found:
            identity = CameraIdentity(
                vendor=str(_ask(info, "vendor") or ""),
                model=str(_ask(info, "model") or ""),
                serial=serial,
                address=f"{producer}#{serial}",
            )
            found[serial] = Listed(identity, position)
    return list(found.values())


def list_cameras(producers: Sequence[str] = ()) -> list[CameraIdentity]:
    """Every camera behind the producers (those of the environment if none), each once."""
    paths = list(producers) or find_producers()
    cameras: list[CameraIdentity] = []
    for path in paths:  # one at a time, so that each address names its producer
        harvester = _harvester([path])
        try:
            cameras += [listed.identity for listed in _listed(harvester, [path])]
        finally:
            harvester.reset()
    return list({camera.serial: camera for camera in reversed(cameras)}.values())[::-1]


def load_description(text: str, name: str) -> NodeMap:
    """The node map of a description file, without a camera; raises `DataError`."""
    nodes = GenApiNodeMap()
    try:
        nodes.load_xml_from_string(text)
    except Exception as error:  # genapi raises kinds of its own
        reason = str(error).split(" : RuntimeException")[0]
        raise DataError(f"{name} is no valid GenICam description: {reason}") from None
    loaded: NodeMap = nodes
    return loaded


class GenICamCamera:
    """A camera behind a GenTL producer.

    Parameters
    ----------
    serial : its serial number; empty if there is only one.
    producers : .cti files; none: those of GENICAM_GENTL64_PATH.
    """

    def __init__(self, serial: str = "", producers: Sequence[str] = ()) -> None:
        self._serial, self._producers = serial, list(producers)
        address = f"{self._producers[0] if len(self._producers) == 1 else ''}#{serial}"
        self.identity = CameraIdentity("", "", serial, address)
        self._harvester: Harvester | None = None
        self._acquirer: Any = None
        self._exposure_us: float | None = None
        self._gain_db: float | None = None
        self._only_exposure_us: float | None = None  # of a camera that cannot change it
        self._settings: CameraSettings | None = None
        self._lost = False  # it failed: it may have restarted, or be unplugged

    def __enter__(self) -> GenICamCamera:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def open(self) -> None:
        if self._acquirer is not None:
            return
        self._harvester = _harvester(self._producers)
        try:
            listed = self._select(_listed(self._harvester, self._producers))
            self.identity = listed.identity
            try:
                # harvesters takes Ctrl-C over, for good, when it creates in the main thread.
                with ThreadPoolExecutor(1) as elsewhere:
                    created = elsewhere.submit(self._harvester.create, listed.position)
                    self._acquirer = created.result()
            except Exception as error:  # genicam's exceptions share no public base
                raise DeviceError(
                    f"camera {listed.identity.serial} cannot be opened: "
                    f"is another program using it? ({type(error).__name__}: {error})"
                ) from None
            self._acquirer.num_buffers = _BUFFERS
            self._stop_what_a_crash_left()
        except BaseException:
            self.close()
            raise

    def _stop_what_a_crash_left(self) -> None:
        """A program that died while its camera was armed has left it so: nothing could be set."""
        with contextlib.suppress(Exception):  # a camera at rest may refuse to stop
            self._acquirer.remote_device.node_map.AcquisitionStop.execute()

    def _select(self, cameras: list[Listed]) -> Listed:
        names = ", ".join(f"{c.identity.serial} ({c.identity.model})" for c in cameras) or "none"
        wanted = [c for c in cameras if self._serial in ("", c.identity.serial)]
        if len(wanted) == 1:
            return wanted[0]
        if not wanted:
            asked = f"with serial number {self._serial}" if self._serial else "at all"
            virtual = any(Path(path).name == "rig-virtual.cti" for path in self._producers)
            advice = "is 'rig virtual-rig' running?" if virtual else "is it powered and linked?"
            raise DeviceError(f"there is no camera {asked}: found {names}; {advice}")
        raise DeviceError(
            f"there are {len(wanted)} cameras, name one by its serial number "
            f"(camera: serial in rig.yaml): {names}"
        )

    def close(self) -> None:
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        self._lost = False
        # Of a camera that has gone, each step fails once and leaves the rest to the next one.
        steps = [] if acquirer is None else [acquirer.stop, acquirer.destroy]
        steps += [] if harvester is None else [harvester.reset]
        for step in steps:
            with contextlib.suppress(Exception):
                step()

    def _opened(self) -> Any:
        if self._acquirer is None:
            raise DeviceError(f"camera {self.identity.address} is not open")
        return self._acquirer

    @property
    def nodes(self) -> NodeMap:
        """The live node map."""
        nodes: NodeMap = self._opened().remote_device.node_map
        return nodes

    def configure(self, settings: CameraSettings) -> CameraState:
        acquirer = self._opened()
        if acquirer.is_acquiring():
            raise DeviceError(f"camera {self.identity.serial} is armed: disarm it first")
        nodes = acquirer.remote_device.node_map
        names = [node.node.name for node in nodes.nodes if node.node.is_feature()]
        state = configure(nodes, settings, names)
        self._only_exposure_us, self._settings = None, settings
        self._exposure_us, self._gain_db = state.exposure_us, state.gain_db
        return state

    def set_exposure(self, exposure_us: float) -> float:
        """Change the exposure; what the camera took.

        A camera without an exposure node takes the first one it is told as its own, and refuses
        (`DeviceError`) any other: a bracket of it would be a bracket in name only.
        """
        self._exposure_us = Configurator(self.nodes).exposure(exposure_us)
        if self._exposure_us is not None:
            return self._exposure_us
        if self._only_exposure_us is None:
            self._only_exposure_us = exposure_us
        if exposure_us != self._only_exposure_us:
            raise DeviceError(
                f"camera {self.identity.serial} has no exposure time that can be set: "
                "capture with one exposure instead of a bracket"
            )
        return exposure_us

    def arm(self) -> None:
        if self._lost:
            self._reconnect()
        acquirer = self._opened()
        if acquirer.is_acquiring():
            return
        try:
            acquirer.start()
        except Exception as error:  # genicam's exceptions share no public base
            self._lost = True
            raise DeviceError(
                f"camera {self.identity.serial} does not start: {type(error).__name__}: {error}"
            ) from None

    def disarm(self) -> None:
        if self._acquirer is not None and self._acquirer.is_acquiring():
            try:
                self._acquirer.stop()
            except Exception:  # what has gone is not armed; `arm` will look for it
                self._lost = True

    def _reconnect(self) -> None:
        """Look for a camera that was lost until it is back, and bring it into its state again.

        Raises
        ------
        DeviceError : it does not come back.
        """
        serial, settings, exposure_us = self.identity.serial, self._settings, self._exposure_us
        end = time.monotonic() + REAPPEAR_S
        self._serial = serial
        while True:
            with contextlib.suppress(Exception):  # nothing can be asked of what has gone
                self.close()
            try:
                self.open()
                break
            except DeviceError as error:
                if time.monotonic() > end:
                    raise DeviceError(
                        f"camera {serial} was lost and did not come back within {REAPPEAR_S:g} s: "
                        f"check its power and its link ({error})"
                    ) from None
                time.sleep(0.1)
        if settings is not None:
            self.configure(settings)
        if exposure_us is not None:
            self.set_exposure(exposure_us)

    def trigger(self) -> None:
        if not self._opened().is_acquiring():
            raise DeviceError(f"camera {self.identity.serial} is not armed: it takes no trigger")
        found = NodeAccess(self.nodes).feature("trigger_software")
        if found is None:
            raise DeviceError(f"camera {self.identity.serial} takes no software trigger")
        try:
            found[1].execute()
        except Exception as error:  # genicam's exceptions share no public base
            self._lost = True
            raise DeviceError(
                f"camera {self.identity.serial} refused a software trigger: {error}"
            ) from None

    def next_frame(self, timeout_s: float) -> Frame:
        acquirer = self._opened()
        if not acquirer.is_acquiring():
            raise DeviceError(f"camera {self.identity.serial} is not armed: no frame can come")
        deadline = time.monotonic() + timeout_s
        incomplete = 0
        while (left_s := deadline - time.monotonic()) > 0:
            # try_fetch also returns None, before its time, when it has dropped an incomplete
            # buffer. It waits in slices of 1 ms, which lets other threads have the GIL.
            try:
                buffer = acquirer.try_fetch(timeout=left_s)
            except Exception as error:  # genicam's exceptions share no public base
                self._lost = True
                raise DeviceError(
                    f"camera {self.identity.serial} failed while a frame was awaited: "
                    f"{type(error).__name__}: {error}"
                ) from None
            if buffer is not None:
                return self._frame(buffer)
            incomplete += time.monotonic() < deadline - 0.005  # its clock is not quite ours
        what = f"{incomplete} incomplete and no whole" if incomplete else "no"
        raise DeviceTimeout(
            f"{what} frame came from camera {self.identity.serial} within {timeout_s:g} s: "
            f"check its {'network link' if incomplete else 'trigger'}"
        )

    def _frame(self, buffer: Any) -> Frame:
        with buffer:  # its memory is handed back, and zeroed, at the end of this block
            components = buffer.payload.components
            if not components:
                raise DeviceError(
                    f"camera {self.identity.serial} sent a frame without a picture: "
                    "switch off its chunk or range components"
                )
            picture = components[0]
            pixel_format = str(picture.data_format)
            bits = bits_of(pixel_format)
            height, width = int(picture.height), int(picture.width)
            raw = np.frombuffer(
                buffer.module.raw_buffer, dtype=np.uint8, offset=int(picture.data_offset)
            )
            padding = int(_ask(picture, "x_padding") or 0)
            if padding:
                row = stored_bytes(pixel_format, width)
                raw = raw[: height * (row + padding)].reshape(height, row + padding)[:, :row]
            pixels = decode(raw.ravel(), pixel_format, height, width)
            timestamp = _ask(buffer.module, "timestamp_ns")
            if timestamp is None:
                timestamp = _ask(buffer, "timestamp_ns")
            frame_id = int(buffer.module.frame_id)
        told = NodeAccess(self.nodes)
        exposure, gain = (_number(told, name) for name in ("ChunkExposureTime", "ChunkGain"))
        return Frame(
            pixels=pixels,
            frame_id=frame_id,
            timestamp_ns=None if timestamp is None else int(timestamp),
            exposure_us=self._exposure_us if exposure is None else exposure,
            gain_db=self._gain_db if gain is None else gain,
            pixel_format=pixel_format,
            bits=bits,
        )


def _number(told: NodeAccess, name: str) -> float | None:
    node = told.node(name)
    value = None if node is None else _ask(node, "value")
    return float(value) if isinstance(value, int | float) else None


def _ask(thing: Any, attribute: str) -> Any:
    """An attribute that a producer may not have; some raise when asked, that is no answer."""
    try:
        return getattr(thing, attribute)
    except Exception:  # genicam's exceptions share no public base
        return None
