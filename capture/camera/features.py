"""What one camera calls the features that another camera calls something else.

The Standard Features Naming Convention (SFNC) came late and changed twice, so that an exposure is
ExposureTime, ExposureTimeAbs, ExposureTimeRaw or a shutter. Each of our settings has a list of
names, the best first; the first one that exists and is of a usable kind is taken. Nothing here
talks to a camera: a node map of a live camera and one loaded from a description file serve alike,
through the small protocol `NodeMap`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from capture.errors import DataError
from intake.errors import told_as
from intake.files import read_bytes

MAX_DESCRIPTION = 2**25

Kind = Literal["float", "integer", "enumeration", "boolean", "command", "string", "register"]

_NUMBER: tuple[Kind, ...] = ("float", "integer")
_SWITCH: tuple[Kind, ...] = ("boolean", "enumeration", "integer")
_CHOICE: tuple[Kind, ...] = ("enumeration", "integer")

# The interfaces of genapi by their class names; a category (as Gain is on some cameras) is none.
_KINDS: Mapping[str, Kind] = {
    "IFloat": "float",
    "IInteger": "integer",
    "IEnumeration": "enumeration",
    "IBoolean": "boolean",
    "ICommand": "command",
    "IString": "string",
    "IRegister": "register",
}


class NodeMap(Protocol):
    """What is asked of a node map: genapi's, live or loaded from a file, or a test's."""

    def has_node(self, name: str) -> bool: ...
    def get_node(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Setting:
    """One of our settings: what it is for and what cameras call it, the best name first."""

    purpose: str
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]


SETTINGS: Mapping[str, Setting] = {
    "pixel_format": Setting("pixel format", ("PixelFormat", "PixelCoding"), _CHOICE),
    "exposure": Setting(
        "exposure time",
        (
            "ExposureTime",
            "ExposureTimeAbs",
            "ExposureTimeRaw",
            "ExposureValue",
            "Shutter",
            "ShutterTimeAbs",
            "ShutterTime",
            "ShutterTimeRaw",
            "ShutterSpeed",
            "IntegrationTime",
            "ExtendedExposure",
            "ASYNCDIRECTSHUTTER",
            "MANUALDIRECTSHUTTERVALUE",
            "ManualDirectShutter",
            "MANUALDIRECTSHUTTER",
        ),
        ("float", "integer", "enumeration"),
    ),
    "exposure_mode": Setting("exposure mode", ("ExposureMode",), _CHOICE),
    "exposure_auto": Setting("automatic exposure", ("ExposureAuto",), _SWITCH),
    "gain": Setting(
        "gain",
        (
            "Gain",
            "GainAbs",
            "GainRaw",
            "GainFactor",
            "GainValue",
            "PvGainRaw",
            "VideoGain",
            "AnalogGain",
            "DigitalGain",
            "GainRawChannelA",
            "CmosisGain",
            "SensorGainMode",
        ),
        ("float", "integer", "enumeration"),
    ),
    "gain_selector": Setting("which gain", ("GainSelector",), _CHOICE),
    "gain_auto": Setting("automatic gain", ("GainAuto",), _SWITCH),
    "black_level": Setting(
        "black level",
        ("BlackLevel", "BlackLevelAbs", "BlackLevelRaw", "BlackLevelValue", "CmosisOffset"),
        _NUMBER,
    ),
    "black_level_auto": Setting(
        "automatic black level", ("BlackLevelAuto", "BlackLevelAutoBalance"), _SWITCH
    ),
    "trigger_selector": Setting("which trigger", ("TriggerSelector",), _CHOICE),
    "trigger_mode": Setting(
        "trigger on or off",
        ("TriggerMode", "AcquisitionTriggerMode", "PSL_TRIGGER_MODE", "TriggerEnable"),
        _SWITCH,
    ),
    "trigger_source": Setting("trigger source", ("TriggerSource", "CycleTriggerSource"), _CHOICE),
    "trigger_activation": Setting(
        "trigger edge",
        (
            "TriggerActivation",
            "TriggerPolarity",
            "ExternalTriggerPolarity",
            "TRIGGERPOLARITYFLAG",
        ),
        _CHOICE,
    ),
    "trigger_delay": Setting(
        "trigger delay",
        ("TriggerDelay", "TriggerDelayAbs", "TriggerDelayRaw", "FrameStartTriggerDelay"),
        _NUMBER,
    ),
    "trigger_software": Setting(
        "software trigger", ("TriggerSoftware", "SoftwareTrigger"), ("command",)
    ),
    "line_selector": Setting("which line", ("LineSelector", "SyncOutSelector"), _CHOICE),
    "line_mode": Setting("line in or out", ("LineMode",), _CHOICE),
    "strobe_source": Setting(
        "what the output line tells",
        ("LineSource", "SyncOutSource", "StrobeSource"),
        _CHOICE,
    ),
    "line_inverter": Setting("line polarity", ("LineInverter", "SyncOutPolarity"), _SWITCH),
    "frame_rate": Setting(
        "frame rate",
        ("AcquisitionFrameRate", "AcquisitionFrameRateAbs", "FrameRate", "SensorFrameRate"),
        ("float", "integer", "enumeration"),
    ),
    "frame_rate_enable": Setting(
        "frame rate in force",
        ("AcquisitionFrameRateEnable", "AcquisitionFrameRateEnabled", "AcquisitionFrameRateMode"),
        _SWITCH,
    ),
    "frame_rate_auto": Setting("automatic frame rate", ("AcquisitionFrameRateAuto",), _SWITCH),
    "frame_rate_limit": Setting(
        "highest frame rate now",
        (
            "ResultingFrameRate",
            "AcquisitionResultingFrameRate",
            "ResultingFrameRateAbs",
            "AcquisitionFrameRateLimit",
        ),
        _NUMBER,
    ),
    "chunk_mode": Setting("data with each frame", ("ChunkModeActive",), _SWITCH),
    "chunk_selector": Setting("which data with each frame", ("ChunkSelector",), _CHOICE),
    "chunk_enable": Setting("this datum with each frame", ("ChunkEnable",), _SWITCH),
    "gamma": Setting("gamma", ("Gamma", "GammaRaw"), _NUMBER),
    "gamma_enable": Setting("gamma in force", ("GammaEnable", "GammaEnabled"), _SWITCH),
    "lut_enable": Setting("look-up table in force", ("LUTEnable", "LUTMode"), _SWITCH),
    "white_balance_auto": Setting(
        "automatic white balance", ("BalanceWhiteAuto", "WhiteBalanceAuto"), _SWITCH
    ),
    "sharpening_enable": Setting(
        "sharpening in force", ("SharpeningEnable", "SharpnessEnabled"), _SWITCH
    ),
    "sharpening_auto": Setting(
        "automatic sharpening", ("SharpeningAuto", "SharpnessAuto"), _SWITCH
    ),
    "noise_reduction": Setting(
        "noise reduction", ("NoiseReductionAbs", "NoiseReductionRaw", "NoiseReduction"), _NUMBER
    ),
    "sharpness": Setting(
        "sharpness", ("SharpnessEnhancementAbs", "SharpnessEnhancementRaw"), _NUMBER
    ),
    "contrast_enable": Setting(
        "contrast curve in force", ("ContrastEnable", "ContrastAuto", "BslContrastMode"), _SWITCH
    ),
    "binning_horizontal": Setting("binning across", ("BinningHorizontal",), _CHOICE),
    "binning_vertical": Setting(
        "binning down", ("BinningVertical", "LegacyBinningVertical"), _CHOICE
    ),
    "decimation_horizontal": Setting("decimation across", ("DecimationHorizontal",), _CHOICE),
    "decimation_vertical": Setting("decimation down", ("DecimationVertical",), _CHOICE),
    "throughput": Setting(
        "link throughput, bytes/s",
        (
            "DeviceLinkThroughputLimit",
            "StreamBytesPerSecond",
            "GevSCDMT",
            "DeviceMaxThroughput",
            "DeviceLinkSpeed",
        ),
        _NUMBER,
    ),
    "packet_size": Setting(
        "packet size, bytes", ("GevSCPSPacketSize", "DeviceStreamChannelPacketSize"), _NUMBER
    ),
}


@dataclass(frozen=True)
class Feature:
    """The node that a camera offers for one of our settings."""

    setting: str
    name: str
    kind: Kind
    choices: tuple[str, ...] = ()


def kind_of(node: Any) -> Kind | None:
    """What sort of value a node holds; None for a category or port."""
    return _KINDS.get(type(node).__name__)


def resolve(nodes: NodeMap, setting: str) -> Feature | None:
    """The node for one of `SETTINGS` on this camera, or None if it has none."""
    wanted = SETTINGS[setting]
    for name in wanted.names:
        if not nodes.has_node(name):
            continue
        node = nodes.get_node(name)
        kind = kind_of(node)
        if kind is None or kind not in wanted.kinds:
            continue
        # All entries of the description; `node.symbolics` are those on offer at this moment.
        choices = tuple(str(e.symbolic) for e in node.entries) if kind == "enumeration" else ()
        return Feature(setting, name, kind, choices)
    return None


def resolve_all(nodes: NodeMap) -> dict[str, Feature | None]:
    """`resolve` for every one of `SETTINGS`, in their order."""
    return {setting: resolve(nodes, setting) for setting in SETTINGS}


def pick(choices: Iterable[str], *wanted: str) -> str | None:
    """The first of `wanted` among `choices`, or else the first choice that begins with one.

    Letter case and punctuation do not count: 'Frame_Start' finds 'FrameStart'.
    """

    def plain(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    table = {plain(choice): choice for choice in choices}
    for want in map(plain, wanted):
        if want in table:
            return table[want]
    for want in map(plain, wanted):
        for key, choice in table.items():
            if key.startswith(want):
                return choice
    return None


# description files ------------------------------------------------------------------------------
def read_description(path: Path) -> str:
    """The XML text of a description file, unpacked, without the stray bytes some begin with.

    Raises
    ------
    DataError : the file is missing, damaged or no XML.
    """
    with told_as(DataError):
        data = read_bytes(path, MAX_DESCRIPTION)
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(data)) as stream:
                data = stream.read(MAX_DESCRIPTION + 1)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"cannot read the camera description {path}: {reason}") from None
    if len(data) > MAX_DESCRIPTION:
        raise DataError(f"{path} unpacks to more than {MAX_DESCRIPTION >> 20} MB: refused")
    start = data.find(b"<")
    if start < 0 or b"RegisterDescription" not in data:
        raise DataError(f"{path} is no GenICam description: it holds no RegisterDescription")
    end = data.rfind(b">") + 1
    return data[start:end].decode("utf-8", errors="replace")


def missing(found: Mapping[str, Feature | None], needed: Sequence[str]) -> list[str]:
    """Purposes of those `needed` settings that this camera lacks."""
    return [SETTINGS[name].purpose for name in needed if found[name] is None]
