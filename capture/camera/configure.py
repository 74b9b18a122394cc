"""Put a camera into the state a measurement needs, through its node map, and read back the truth.

Whatever adapts by itself or bends the response is switched off; whatever was asked for is set and
read back; what the camera would not take becomes a warning in plain words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from capture.camera.base import CameraSettings, CameraState
from capture.camera.features import SETTINGS, Feature, NodeMap, pick
from capture.camera.nodes import NodeAccess, is_writable, snapshot, value_of
from capture.camera.pixels import bits_of, stored_bytes
from capture.errors import DeviceError

_OFF = ("Off", "None", "Disabled", "Disable", "Manual", "Fixed")

# Settings to switch off, and settings to put to a neutral number, before anything else.
_SWITCH_OFF = (
    "exposure_auto",
    "gain_auto",
    "black_level_auto",
    "white_balance_auto",
    "sharpening_auto",
    "sharpening_enable",
    "contrast_enable",
    "gamma_enable",
    "lut_enable",
    "frame_rate_auto",
)
_NEUTRAL = {
    "gamma": 1.0,
    "noise_reduction": 0.0,
    "sharpness": 0.0,
    "binning_horizontal": 1.0,
    "binning_vertical": 1.0,
    "decimation_horizontal": 1.0,
    "decimation_vertical": 1.0,
}

_FRAME_TRIGGERS = ("FrameStart", "ExposureStart", "Trigger")
_EXPOSURE_ACTIVE = ("ExposureActive", "Exposing", "ExposureActiveAnd", "Strobe")
_JUMBO_BYTES = 8000
_SLOW_BYTES_PER_S = 50e6


class Configurator(NodeAccess):
    """One pass over one camera's node map."""

    # groups ------------------------------------------------------------------------------------
    def switch_off(self, setting: str) -> None:
        """Switch an automatic or non-linear function off; warn if it stays on."""
        found = self.feature(setting)
        if found is None:
            return
        feature, node = found
        off: Any = {"boolean": False, "integer": 0}.get(feature.kind)
        if feature.kind == "enumeration":
            off = pick(node.symbolics, *_OFF)
        if off is None or (value_of(node) != off and not self.put(feature.name, node, off)):
            self.warnings.append(
                f"{SETTINGS[setting].purpose} ({feature.name}) stays at {value_of(node)}: "
                "switch it off in the camera's own tool, or radiance will not be linear"
            )

    def neutralise(self) -> None:
        """Everything automatic or non-linear off, nothing binned or decimated."""
        for setting in _SWITCH_OFF:
            self.switch_off(setting)
        for setting, value in _NEUTRAL.items():
            found = self.feature(setting)
            if found is None or not is_writable(found[1]):
                continue  # gamma is often read-only once its switch is off
            if found[0].kind == "enumeration":
                done = self.choose(setting, "1", "X1", "x1", "1x1", *_OFF)
            else:
                taken = self.number(setting, value)
                done = taken is not None and abs(taken - value) <= 1e-3 + 0.01 * value
            if not done:
                self.warnings.append(
                    f"{SETTINGS[setting].purpose} ({found[0].name}) stays at {value_of(found[1])}"
                )

    def pixel_format(self, wanted: str) -> None:
        bits_of(wanted)
        found = self.feature("pixel_format")
        if found is None or found[0].kind != "enumeration":
            self.warnings.append("the camera does not let its pixel format be chosen")
            return
        if value_of(found[1]) == wanted or self.put(found[0].name, found[1], wanted):
            return
        offered = [name for name in found[1].symbolics if str(name).startswith("Mono")]
        advice = (
            f"set pixel_format to one of {', '.join(offered)}"
            if offered
            else "it is a colour camera, and a monochrome one is needed"
        )
        raise DeviceError(f"the camera does not take the pixel format {wanted}: {advice}")

    def region(self, roi: tuple[int, int, int, int] | None) -> None:
        """Region of interest, as x, y, width, height; None leaves the camera's own."""
        if roi is None:
            return
        for name in ("OffsetX", "OffsetY"):  # out of the way of a larger picture
            node = self.node(name)
            if node is not None:
                self.put(name, node, int(getattr(node, "min", 0)))
        for name, wanted in zip(
            ("Width", "Height", "OffsetX", "OffsetY"), (*roi[2:], *roi[:2]), strict=True
        ):
            node = self.node(name)
            taken = value_of(node)
            if taken == wanted or (node is None and wanted == 0):
                continue
            if node is None or not self.put(name, node, wanted) or value_of(node) != wanted:
                limits = f"{node.min} to {node.max} in steps of {node.inc}" if node else "none"
                raise DeviceError(
                    f"the camera does not take {name} {wanted} of region {roi}: it takes {limits}"
                )

    def trigger(self, settings: CameraSettings) -> None:
        """Arrange the one trigger that starts an exposure; all others off."""
        selector = self.feature("trigger_selector")
        frame_start = None
        if selector is not None and selector[0].kind == "enumeration":
            symbols = [str(name) for name in selector[1].symbolics]
            frame_start = pick(symbols, *_FRAME_TRIGGERS)
            for symbol in symbols:
                if symbol != frame_start and self.put(selector[0].name, selector[1], symbol):
                    self.choose("trigger_mode", *_OFF)
            if frame_start is not None:
                self.put(selector[0].name, selector[1], frame_start)
        if settings.trigger == "free":
            if self.feature("trigger_mode") is not None and not self._trigger_switch(False):
                raise DeviceError("the camera does not leave its triggered mode")
            return
        # The source first: some cameras only offer it while the mode is off, others while on.
        source = "Software" if settings.trigger == "software" else settings.line or "Line0"
        sourced = self.choose("trigger_source", source)
        if not self._trigger_switch(True):
            raise DeviceError(
                "the camera has no trigger that can be switched on: "
                "let it run freely and clock the board from it (trigger: camera-clocked)"
            )
        sourced = self.choose("trigger_source", source) or sourced
        if not sourced and self.feature("trigger_source") is not None:
            found = self.feature("trigger_source")
            offered = ", ".join(map(str, found[1].symbolics)) if found else "nothing"
            raise DeviceError(
                f"the camera has no trigger source '{source}': set camera: line to one of {offered}"
            )
        if settings.trigger == "software" and self.feature("trigger_software") is None:
            raise DeviceError(
                "the camera takes no software trigger: use its trigger line (board-clocked)"
            )
        if settings.trigger == "line":
            self.choose("trigger_activation", "RisingEdge", "RisingEdgeActive", "ActiveHigh")
            if settings.line and self.choose("line_selector", settings.line):
                self.choose("line_mode", "Input")
        if self.number("trigger_delay", 0.0) not in (None, 0.0):
            self.warnings.append(f"the trigger delay stays at {self.read('trigger_delay')}")

    def _trigger_switch(self, on: bool) -> bool:
        found = self.feature("trigger_mode")
        if found is None:
            return False
        if found[0].kind == "enumeration":
            return self.choose("trigger_mode", *(("On", "Enabled") if on else _OFF))
        return self.put(found[0].name, found[1], on if found[0].kind == "boolean" else int(on))

    def strobe(self, line: str, inverted: bool) -> None:
        """Make an output line tell when the sensor is exposing."""
        selected = self.choose("line_selector", line)
        self.choose("line_mode", "Output")
        if not selected or not self.choose("strobe_source", *_EXPOSURE_ACTIVE):
            found = self.feature("line_selector")
            offered = ", ".join(map(str, found[1].symbolics)) if found else "none"
            raise DeviceError(
                f"the camera cannot signal its exposure on line '{line}': it has {offered}"
            )
        found = self.feature("line_inverter")
        if found is None:
            done = not inverted
        elif found[0].kind == "enumeration":
            done = self.choose("line_inverter", "Invert" if inverted else "Normal")
        else:
            done = self.put(
                found[0].name, found[1], inverted if found[0].kind == "boolean" else int(inverted)
            )
        if inverted and not done:
            raise DeviceError(
                f"the camera cannot invert line '{line}': invert the signal by a transistor, and "
                "leave camera: strobe_inverted at false"
            )

    def exposure(self, wanted_us: float) -> float | None:
        """Set the exposure time; what the camera took, in µs, None if it does not tell."""
        self.choose("exposure_mode", "Timed")
        found = self.feature("exposure")
        if found is None:
            self.warnings.append(
                "the camera has no exposure time that can be set: all frames count as equally long"
            )
            return None
        feature, node = found
        if feature.kind == "enumeration":
            self.warnings.append(
                f"the exposure ({feature.name}) only offers {', '.join(map(str, node.symbolics))}; "
                f"it stays at {value_of(node)}"
            )
            return None
        unit_us = self._exposure_unit_us(feature, node)
        taken = self.number("exposure", wanted_us / unit_us)
        if taken is None:
            return None
        taken_us = taken * unit_us
        if abs(taken_us - wanted_us) > 0.01 * wanted_us:
            self.warnings.append(
                f"asked for an exposure of {wanted_us:g} µs, the camera took {taken_us:g} µs"
            )
        return taken_us

    def exposure_limits_us(self) -> tuple[float, float] | None:
        """The shortest and the longest exposure, µs; None if the camera does not tell."""
        found = self.feature("exposure")
        if found is None or found[0].kind == "enumeration":
            return None
        unit_us = self._exposure_unit_us(*found)
        lowest, highest = (getattr(found[1], name, None) for name in ("min", "max"))
        if lowest is None or highest is None or not 0 <= lowest < highest:
            return None
        return float(lowest) * unit_us, float(highest) * unit_us

    def _exposure_unit_us(self, feature: Feature, node: Any) -> float:
        unit = str(getattr(node, "unit", "") or "").strip().lower()
        if unit in ("s", "sec"):
            return 1e6
        if unit == "ms":
            return 1e3
        if feature.name.endswith("Raw") and (base := self.node("ExposureTimeBaseAbs")) is not None:
            return float(value_of(base) or 1.0)
        if unit not in ("us", "µs", "μs") and not feature.name.startswith("ExposureTime"):
            self.warnings.append(f"{feature.name} names no unit and is taken to be in µs")
        return 1.0

    def gain(self, wanted_db: float) -> float | None:
        """Set the gain; what the camera took, in dB, None if it does not count in dB."""
        self.choose("gain_selector", "All", "AnalogAll", "Tap1")
        found = self.feature("gain")
        if found is None:
            if wanted_db:
                self.warnings.append("the camera has no gain that can be set")
            return None
        feature, node = found
        unit = str(getattr(node, "unit", "") or "").strip().lower()
        if feature.kind == "float" and (unit == "db" or (not unit and feature.name == "Gain")):
            taken = self.number("gain", wanted_db)
            if taken is not None and abs(taken - wanted_db) > 0.1:
                self.warnings.append(f"asked for {wanted_db:g} dB, the camera took {taken:g} dB")
            return taken
        if feature.kind == "enumeration":
            self.warnings.append(f"{feature.name} has no dB scale; it stays at {value_of(node)}")
            return None
        lowest = float(getattr(node, "min", 0))
        self.number("gain", lowest)
        if wanted_db:
            self.warnings.append(
                f"{feature.name} counts in steps of the camera's own, not in dB: "
                f"it is set to its lowest value, {lowest:g}"
            )
        return None

    def frame_rate(self, wanted_hz: float | None, free: bool) -> None:
        """Pace a free-running camera; take the brake off a triggered one."""
        found = self.feature("frame_rate_enable")
        if not free or wanted_hz is None:
            if found is not None:
                self.switch_frame_rate(found, False)
            return
        if found is not None:
            self.switch_frame_rate(found, True)
        taken = self.number("frame_rate", wanted_hz)
        if taken is not None and abs(taken - wanted_hz) > 0.01 * wanted_hz:
            self.warnings.append(
                f"asked for {wanted_hz:g} frames/s, the camera took {taken:g} frames/s"
            )

    def switch_frame_rate(self, found: tuple[Feature, Any], on: bool) -> None:
        feature, node = found
        if feature.kind == "enumeration":
            self.choose("frame_rate_enable", *(("On", "Basic") if on else _OFF))
        else:
            self.put(feature.name, node, on if feature.kind == "boolean" else int(on))

    def chunks(self) -> None:
        """Have exposure and gain sent along with each frame, if the camera names them."""
        selector, mode = self.feature("chunk_selector"), self.feature("chunk_mode")
        if selector is None or mode is None or selector[0].kind != "enumeration":
            return
        names = [pick([c], w) for w in ("ExposureTime", "Gain") for c in selector[1].symbolics]
        wanted = [name for name in names if name in ("ExposureTime", "Gain")]
        if not wanted or not self.put(mode[0].name, mode[1], True):
            return
        for name in wanted:
            if self.put(selector[0].name, selector[1], name):
                enable = self.feature("chunk_enable")
                if enable is not None:
                    self.put(enable[0].name, enable[1], True)

    def check_link(self, rate_hz: float | None, pixel_format: str, pixels: int) -> None:
        """Warn if the link cannot carry the frame rate asked for."""
        if rate_hz is None:
            return
        bytes_per_s = stored_bytes(pixel_format, pixels) * rate_hz
        limit = self.read("throughput")
        if isinstance(limit, int | float) and 0 < limit < bytes_per_s:
            self.warnings.append(
                f"{rate_hz:g} frames/s of {pixel_format} are {bytes_per_s / 1e6:.1f} MB/s, the "
                f"link is limited to {limit / 1e6:.1f} MB/s: lower the rate, pack the pixels or "
                "raise the limit"
            )
        packet = self.read("packet_size")
        slow = isinstance(packet, int | float) and 0 < packet < _JUMBO_BYTES
        if slow and bytes_per_s > _SLOW_BYTES_PER_S:
            self.warnings.append(
                f"packets of {packet} bytes for {bytes_per_s / 1e6:.1f} MB/s will lose frames on "
                "most network cards: switch on jumbo frames (9000 bytes) on card and switch"
            )
        limit_hz = self.read("frame_rate_limit")
        if isinstance(limit_hz, int | float) and 0 < limit_hz < 0.99 * rate_hz:
            self.warnings.append(
                f"asked for {rate_hz:g} frames/s, the camera can do {limit_hz:.4g} frames/s now"
            )


def configure(
    nodes: NodeMap, settings: CameraSettings, names: Iterable[str] | None = None
) -> CameraState:
    """Bring a camera into the state of `settings`; the truth as read back.

    Parameters
    ----------
    nodes : node map of a camera that is not acquiring.
    names : features to record in the state; None: none.

    Raises
    ------
    DeviceError : the camera cannot do what a measurement cannot do without.
    """
    to = Configurator(nodes)
    mode = to.node("AcquisitionMode")
    if mode is not None:
        to.put("AcquisitionMode", mode, "Continuous")
    to.neutralise()
    to.pixel_format(settings.pixel_format)
    to.region(settings.roi)
    to.trigger(settings)
    limits_us = to.exposure_limits_us()
    exposure_us = to.exposure(settings.exposure_us)
    gain_db = to.gain(settings.gain_db)
    to.frame_rate(settings.frame_rate_hz, settings.trigger == "free")
    if settings.strobe_line is not None:
        to.strobe(settings.strobe_line, settings.strobe_inverted)
    to.chunks()
    pixel_format = str(to.read("pixel_format") or settings.pixel_format)
    width, height = (int(value_of(to.node(name)) or 0) for name in ("Width", "Height"))
    to.check_link(settings.frame_rate_hz, pixel_format, width * height)
    black = to.read("black_level")
    return CameraState(
        pixel_format=pixel_format,
        width=width,
        height=height,
        exposure_us=exposure_us,
        gain_db=gain_db,
        black_level=float(black) if isinstance(black, int | float) else None,
        trigger=settings.trigger,
        nodes=snapshot(nodes, names or ()),
        warnings=tuple(to.warnings),
        exposure_limits_us=limits_us,
    )
