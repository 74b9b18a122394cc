"""What `rig doctor` looks at: each check is a function that says how it is and what to do."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from capture.errors import CaptureError, DeviceError
from intake.errors import InputError
from intake.trees import read_object
from rig.config import Config, read_config
from rig.exits import UsageError
from rig.workspace import Workspace

State = Literal["good", "note", "bad"]
LOW_DISK_GB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's page; `advice` says what to do where it is not good."""

    name: str
    state: State
    message: str
    advice: str = ""


def check_python() -> Finding:
    version = platform.python_version()
    return Finding("Python", "good", f"{version} on {platform.system()} {platform.machine()}")


def check_packages() -> Iterator[Finding]:
    for module in ("numpy", "cv2", "serial", "scipy", "numba", "tifffile", "pydantic"):
        if importlib.util.find_spec(module) is None:
            yield Finding(module, "bad", "is not installed", "install the program again with pip")


def check_torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("torch", "bad", str(error), "install the program again with pip")
    if torch.cuda.is_available():
        device = f"cuda ({torch.cuda.get_device_name(0)})"
    elif torch.backends.mps.is_available():
        device = "mps"
    else:
        return Finding(
            "torch",
            "note",
            f"{torch.__version__}, cpu with {torch.get_num_threads()} threads",
            "nothing: it works; a GPU with its own build of torch is faster on large pictures",
        )
    return Finding("torch", "good", f"{torch.__version__}, {device}")


def check_weights() -> Finding:
    folder = Path(__file__).resolve().parent.parent / "reconstruct" / "weights"
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if not found:
        return Finding(
            "network",
            "bad",
            "no weights are installed",
            "install the program again, or train your own with 'rig train'",
        )
    return Finding("network", "good", ", ".join(found))


def check_producers(config: Config | None) -> Iterator[Finding]:
    """The maker's GenTL producers: the one named in rig.yaml, and those the system knows."""
    named = config.camera.producer if config else None
    if named and config is not None and not config.camera.simulated:
        if Path(named).is_file():
            yield Finding("producer", "good", named)
        else:
            yield Finding(
                "producer",
                "bad",
                f"rig.yaml names {named}, and there is no such file",
                "install the camera maker's software, or correct camera: producer in rig.yaml",
            )
    variable = os.environ.get("GENICAM_GENTL64_PATH", "")
    folders = [Path(part) for part in variable.split(os.pathsep) if part]
    if not folders:
        yield Finding(
            "GENICAM_GENTL64_PATH",
            "note",
            "is not set",
            "nothing for the virtual rig; a camera maker's software sets it, log in again after",
        )
    for folder in folders:
        producers = sorted(path.name for path in folder.glob("*.cti")) if folder.is_dir() else []
        if producers:
            yield Finding("GENICAM_GENTL64_PATH", "good", f"{folder}: {', '.join(producers)}")
        else:
            yield Finding(
                "GENICAM_GENTL64_PATH",
                "bad",
                f"{folder} holds no .cti file",
                "correct the variable, or install the camera maker's software again",
            )


def check_serial_ports(config: Config | None) -> Iterator[Finding]:
    from serial.tools import list_ports

    from capture.leds.link import device_of, parse_usb_identity

    ports = list(list_ports.comports())
    if not ports:
        yield Finding(
            "serial ports",
            "note",
            "none found",
            "nothing for the virtual rig; else plug the LED board in and look at its cable",
        )
    for port in ports:
        if os.name == "posix" and not os.access(port.device, os.R_OK | os.W_OK):
            yield Finding(
                "serial port",
                "bad",
                f"{port.device} ({port.description}) may not be opened by you",
                "add yourself to the group that owns it (often 'dialout') and log in again",
            )
        else:
            yield Finding("serial port", "good", f"{port.device} ({port.description})")
    named = config.board.port if config else ""
    identity = parse_usb_identity(named)
    if identity is not None:
        try:
            yield Finding("LED board", "good", f"{named} is {device_of(identity)}")
        except DeviceError as error:
            advice = "plug the board in, or correct board: port ('rig devices' lists what is there)"
            yield Finding("LED board", "bad", f"rig.yaml: {error}".partition(";")[0], advice)
    is_device = named.startswith("/dev/") or named.upper().startswith("COM")
    if is_device and named not in {port.device for port in ports} and not Path(named).exists():
        yield Finding(
            "LED board",
            "bad",
            f"rig.yaml names port {named}, which is not there",
            "plug the board in, or correct board: port ('rig devices' lists what is there)",
        )


def check_disk(workspace: Workspace) -> Finding:
    free_gb = shutil.disk_usage(workspace.folder).free / 1e9
    message = f"{free_gb:.1f} GB free in {workspace.folder}"
    if not os.access(workspace.folder, os.W_OK):
        return Finding(
            "disk", "bad", f"{workspace.folder} may not be written", "choose another --workspace"
        )
    if free_gb < LOW_DISK_GB:
        return Finding(
            "disk", "bad", message, "make room: a run of 96 five-megapixel frames takes about 1 GB"
        )
    return Finding("disk", "good", message)


def check_calibration(workspace: Workspace, config: Config | None) -> Iterator[Finding]:
    """Is there a calibration in the workspace that can be read, that fits, and how old is it?

    A virtual rig brings its own, so that a missing one is only a note there.
    """
    limit_days = config.calibration.max_age_days if config else 90.0
    real = config is not None and not config.camera.simulated
    for name, command in (("camera.json", "calibrate-camera"), ("lights.json", "calibrate-lights")):
        path = workspace.calibration / name
        if not path.is_file():
            advice = f"make one with 'rig {command}'"
            if real:
                yield Finding(name, "note", "none in this workspace", advice)
            else:
                yield Finding(name, "note", "none: the virtual rig brings its own", advice)
            continue
        wrong = _unusable(path, config)
        if wrong:
            yield Finding(name, "bad", wrong, f"make a new one with 'rig {command} --replace'")
            continue
        age_days = _age_days(path)
        if age_days > limit_days:
            yield Finding(
                name,
                "bad",
                f"is {age_days:.0f} days old, more than {limit_days:g}",
                f"look with 'rig check', or make a new one with 'rig {command}'",
            )
        else:
            yield Finding(name, "good", f"is {age_days:.1f} days old")


def _unusable(path: Path, config: Config | None) -> str:
    """What keeps a calibration from being used; empty if nothing does."""
    from calib.camera import Camera
    from calib.errors import CalibrationError
    from calib.light_files import read_lights

    try:
        data = read_object(path)
    except InputError as error:
        return str(error)
    if set(data) == {"provenance"}:
        return ""  # nothing but a date: it is the commands that will tell
    try:
        if path.name == "camera.json":
            Camera.read(path)
            return ""
        missing = sorted(set(_planned(config)) - {int(led) for led in read_lights(path).ids})
    except CalibrationError as error:
        return str(error)
    return f"knows nothing of LED {missing[0]}, which the plan lights" if missing else ""


def _planned(config: Config | None) -> tuple[int, ...]:
    return config.default_plan().leds if config is not None else ()


def _age_days(path: Path) -> float:
    try:
        data = read_object(path)
        made = datetime.fromisoformat(str(data.get("provenance", {}).get("date", "")))
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
    except (InputError, ValueError, AttributeError):
        made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return (datetime.now(UTC) - made).total_seconds() / 86400


def check_cameras(config: Config | None) -> Iterator[Finding]:
    """Several cameras behind the producer of rig.yaml, and none named."""
    if config is None or config.camera.simulated or config.camera.serial:
        return
    from capture.camera.genicam import list_cameras

    producer = config.camera.producer
    try:
        cameras = list_cameras([producer] if producer else [])
    except CaptureError as error:
        yield Finding("cameras", "bad", str(error), "correct camera: producer in rig.yaml")
        return
    if len(cameras) > 1:
        serials = ", ".join(camera.serial for camera in cameras)
        yield Finding(
            "cameras",
            "bad",
            f"the producer shows {len(cameras)} cameras ({serials}), and rig.yaml names none",
            "name one: camera: serial in rig.yaml",
        )
    elif not cameras:
        yield Finding("cameras", "bad", "none is found", "plug it in; 'rig devices' lists cameras")


def next_step(findings: list[Finding], config: Config | None) -> str:
    """What is really next, as a command."""
    states = {finding.name: finding for finding in findings}
    bad = [finding for finding in findings if finding.state == "bad"]
    if bad:
        return f"{bad[0].advice}, then 'rig doctor' again"
    if config is None:
        return "rig init"
    if config.camera.simulated:
        return "rig run --part A12 --simulate"
    for name, command in (
        ("camera.json", "rig calibrate-camera"),
        ("lights.json", "rig calibrate-lights --sphere-diameter 25.4"),
    ):
        if name in states and states[name].state != "good":
            return command
    return "rig run --part A12"


def examine(workspace: Workspace, open_devices: bool = False) -> list[Finding]:
    """Every finding about this machine and this workspace, in the order of the page."""
    findings = [check_python(), *check_packages(), check_torch(), check_weights()]
    config: Config | None = None
    try:
        config = read_config(workspace.config_file)
        findings.append(Finding("rig.yaml", "good", str(workspace.config_file)))
    except UsageError as error:
        missing = not workspace.config_file.exists()
        findings.append(
            Finding(
                "rig.yaml",
                "note" if missing else "bad",
                str(error),
                "'rig init' writes one" if missing else "correct rig.yaml where it says",
            )
        )
    from rig.doctor_virtual import check_virtual_rig  # it takes Finding from here

    later: list[Callable[[], Iterator[Finding]]] = [
        lambda: check_virtual_rig(config),
        lambda: check_producers(config),
        lambda: check_serial_ports(config),
        lambda: check_cameras(config) if open_devices else iter(()),
        lambda: check_calibration(workspace, config),
    ]
    for check in later:
        findings += check()
    if open_devices and config is not None:
        from rig.doctor_devices import check_devices

        findings += check_devices(config)
    findings.append(check_disk(workspace))
    return findings
