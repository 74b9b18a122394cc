"""``rig devices``: what is plugged in, and what a camera calls the features we need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: rig devices --cti /opt/maker/lib/producer.cti"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("devices", epilog=EXAMPLE)(devices)


def devices(
    cti: Annotated[
        list[Path] | None,
        typer.Option(help="GenTL producer to look behind (default: GENICAM_GENTL64_PATH)."),
    ] = None,
    describe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.xml[.gz]",
            help="Show which node each of our settings uses on the camera of this description.",
        ),
    ] = None,
) -> None:
    """List serial ports and cameras, or describe a camera from its description file."""
    if describe is not None:
        _describe(describe)
        return
    _list_ports()
    _list_cameras([str(path) for path in cti or []])


def _list_ports() -> None:
    from serial.tools.list_ports import comports

    print("Serial ports")
    ports = sorted(comports(), key=lambda port: port.device)
    for port in ports:
        usb = ""
        if port.vid is not None:
            usb = f"{port.vid:04x}:{port.pid:04x}:{port.serial_number or ''}"
        print(f"  {port.device:<20} {usb:<32} {port.description or ''}".rstrip())
    if not ports:
        print("  none found: is the board's USB cable plugged in?")


def _list_cameras(producers: list[str]) -> None:
    from capture.camera.genicam import PRODUCER_PATH, find_producers, list_cameras

    print("Cameras")
    if not producers and not find_producers():
        print(f"  no GenTL producer known: set {PRODUCER_PATH}, or name one with --cti")
        return
    cameras = list_cameras(producers)
    for camera in cameras:
        print(f"  {camera.serial:<20} {camera.vendor} {camera.model}  {camera.address}")
    if not cameras:
        print("  none found: is the camera powered and on this machine's link?")


def _describe(path: Path) -> None:
    from capture.camera.features import SETTINGS, read_description, resolve_all
    from capture.camera.genicam import load_description

    found = resolve_all(load_description(read_description(path), path.name))
    print(f"{path.name}: what each setting uses on this camera")
    for name, feature in found.items():
        purpose = SETTINGS[name].purpose
        if feature is None:
            print(f"  {purpose:<30} -")
        else:
            choices = f": {', '.join(feature.choices)}" if feature.choices else ""
            print(f"  {purpose:<30} {feature.name} ({feature.kind}{choices})")
    lacking = [SETTINGS[name].purpose for name, feature in found.items() if feature is None]
    print(f"{len(found) - len(lacking)} of {len(found)} settings found")
    if lacking:
        print(f"lacks: {', '.join(lacking)}")
