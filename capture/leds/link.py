"""The wire to a board: finding the port, opening it alone, moving bytes, never for ever."""

from __future__ import annotations

import contextlib
import errno
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import serial
from serial.tools import list_ports

from capture.errors import DeviceError
from capture.leds import protocol_sim
from capture.world import is_simulated

try:
    from termios import error as TermiosError
except ImportError:  # Windows has no termios

    class TermiosError(Exception):  # type: ignore[no-redef]
        pass


# Unplugging raises any of these, depending on what pyserial was doing.
PORT_ERRORS = (serial.SerialException, OSError, TermiosError)
SLICE_S = 0.005  # how long one blocking read of the port may last
REAPPEAR_S = 5.0  # how long an unplugged board may take to come back
USB_IDENTITY = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(.+))?")


class LinkLost(DeviceError):
    """The port went away under our hands."""


class OtherBoard(DeviceError):
    """The port is back, with another board behind it."""


@dataclass(frozen=True)
class UsbIdentity:
    """Vendor, product and serial number of a USB serial port; an empty serial fits any."""

    vendor: int
    product: int
    serial: str

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}:{self.serial}".rstrip(":")


def parse_usb_identity(port: str) -> UsbIdentity | None:
    """``vid:pid:serial`` or ``vid:pid`` (hexadecimal), or None if it is something else."""
    match = USB_IDENTITY.fullmatch(port)
    if match is None:
        return None
    return UsbIdentity(int(match[1], 16), int(match[2], 16), match[3] or "")


def device_of(identity: UsbIdentity) -> str:
    """The port that this USB device has now; raises `DeviceError` if none or several have it."""
    found = [
        port
        for port in list_ports.comports()
        if (port.vid, port.pid) == (identity.vendor, identity.product)
        and identity.serial in ("", port.serial_number)
    ]
    if not found:
        raise DeviceError(
            f"no serial port with USB identity {identity} is plugged in; "
            "'rig devices' lists those that are"
        )
    if len(found) > 1:
        names = ", ".join(port.device for port in found)
        raise DeviceError(
            f"USB identity {identity} fits several ports ({names}): "
            "add the serial number, as in vid:pid:serial"
        )
    return str(found[0].device)


def identity_of(device: str) -> UsbIdentity | None:
    """USB identity behind a port name, None for ptys, ``sim://`` and ports without one."""
    for port in list_ports.comports():
        if port.device == device and port.vid is not None and port.pid is not None:
            return UsbIdentity(port.vid, port.pid, port.serial_number or "")
    return None


class Link:
    """An open port. Every error of the port becomes `LinkLost` or `DeviceError`."""

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self.baud = baud
        self._usb = parse_usb_identity(port)
        self._serial: serial.Serial | None = None

    @property
    def is_open(self) -> bool:
        return self._serial is not None

    def open(self) -> None:
        """Open the port for us alone; raises `DeviceError` with what to do."""
        protocol_sim.register()
        device = device_of(self._usb) if self._usb else self.port
        try:
            opened = serial.serial_for_url(
                device, do_not_open=True, baudrate=self.baud, timeout=SLICE_S, write_timeout=2.0
            )
            if not is_simulated(device):
                opened.exclusive = True
            opened.open()
        except ValueError as error:
            raise DeviceError(f"cannot use serial port {device}: {error}") from error
        except PORT_ERRORS as error:
            raise DeviceError(_why_not_open(device, error)) from error
        self._serial = opened
        if self._usb is None and "://" not in device:
            self._usb = identity_of(device)  # the device may come back under another name

    def close(self) -> None:
        opened, self._serial = self._serial, None
        if opened is not None:
            with contextlib.suppress(*PORT_ERRORS):  # gone already is what we wanted
                opened.close()

    def reconnect(self, connect: Callable[[], None]) -> None:
        """`connect` again and again until the unplugged board is back; another board is none."""
        end = time.monotonic() + REAPPEAR_S
        while True:
            try:
                return connect()
            except OtherBoard:
                raise
            except DeviceError as error:
                if time.monotonic() > end:
                    raise DeviceError(
                        f"the LED board on {self.port} was unplugged and did not come back: {error}"
                    ) from error
                time.sleep(0.05)

    def write(self, data: bytes) -> None:
        try:
            self._opened.write(data)
        except PORT_ERRORS as error:
            raise self._lost(error) from error

    def read(self, wait: bool = True) -> bytes:
        """What has come; if asked to, waits at most `SLICE_S` for the first byte."""
        opened = self._opened
        try:
            first = opened.read(1) if wait else b""
            waiting = opened.in_waiting if first or not wait else 0
            return bytes(first + opened.read(waiting)) if waiting else bytes(first)
        except PORT_ERRORS as error:
            raise self._lost(error) from error

    @property
    def handle(self) -> int | None:
        """The system's number of the open port; None where it has none (``sim://``, Windows)."""
        try:
            return int(self._opened.fileno())
        except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
            return None

    def wire_time_s(self, byte_count: int) -> float:
        """How long so many bytes take on the wire: start, eight data and stop bit each."""
        return byte_count * 10 / self.baud

    @property
    def _opened(self) -> serial.Serial:
        if self._serial is None:
            raise LinkLost(f"serial port {self.port} is not open")
        return self._serial

    def _lost(self, error: BaseException) -> LinkLost:
        self.close()
        return LinkLost(f"the LED board on {self.port} was unplugged or its port failed ({error})")


def _why_not_open(device: str, error: BaseException) -> str:
    """One sentence: what is wrong with the port, and what to do."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return f"there is no serial port {device}: plug the board in; 'rig devices' lists the ports"
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"serial port {device} is in use by another program: end that one first"
    if number == errno.EACCES:
        return (
            f"you may not open serial port {device}: join the group that owns it (often "
            "'dialout'), log in again, and see that no other program holds it"
        )
    return (
        f"cannot open serial port {device} ({error}): is it plugged in, free and "
        "readable by you? 'rig devices' lists the ports"
    )
