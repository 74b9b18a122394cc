"""The register file behind a description: values, ranges, selectors, locks."""

from __future__ import annotations

import struct
from collections.abc import Callable

from capture.gentl import wire
from capture.gentl.description import address_of, describe
from capture.gentl.features import REGISTERS, STRIDE, TEXT_BYTES, Feature, Value
from capture.gentl.wire import Refused

XML_ADDRESS = 0x80000000


class Registers:
    """Values of a camera's features by name, and by address for the other side of the wire.

    Parameters
    ----------
    features : the table
    model : name for the description
    commanded : called with the name of a command that is executed
    told : called with the name of a feature after it was written
    computed : values that are worked out when they are read
    """

    def __init__(
        self,
        features: list[Feature],
        model: str,
        commanded: Callable[[str], None],
        told: Callable[[str], None],
        computed: dict[str, Callable[[], Value]],
    ) -> None:
        self._features = features
        self._by_name = {feature.name: feature for feature in features}
        self._commanded, self._told, self._computed = commanded, told, computed
        self.xml = describe(features, model)
        self._values: dict[tuple[str, int], Value] = {}
        self.streaming = False
        self.reset()

    def reset(self) -> None:
        """As after power-up."""
        self._values.clear()
        for feature in self._features:
            for chosen in self._choices(feature):
                self._values[feature.name, chosen] = feature.value

    def _choices(self, feature: Feature) -> list[int]:
        if not feature.selector or feature.selector not in self._by_name:
            return [0]
        return [code for _, code in self._by_name[feature.selector].entries]

    def _chosen(self, feature: Feature) -> int:
        if not feature.selector or feature.selector not in self._by_name:
            return 0
        return int(self._values[feature.selector, 0])

    # by name ---------------------------------------------------------------------------------
    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str, chosen: int | None = None) -> Value:
        """Value of a feature (of entry `chosen` of its selector; default: of the one selected)."""
        feature = self._by_name[name]
        return self._values[name, self._chosen(feature) if chosen is None else chosen]

    def number(self, name: str, default: float = 0.0, chosen: int | None = None) -> float:
        """`get` as a number; `default` where the camera lacks the feature."""
        return float(self.get(name, chosen)) if name in self else default

    def entry(self, name: str, chosen: int | None = None, default: str = "") -> str:
        """The name of an enumeration's value."""
        if name not in self:
            return default
        code = int(self.get(name, chosen))
        return next(entry for entry, number in self._by_name[name].entries if number == code)

    def put(self, name: str, value: Value, chosen: int | None = None) -> None:
        """Set a value from within the camera: nothing is checked, nobody is told."""
        feature = self._by_name[name]
        self._values[name, self._chosen(feature) if chosen is None else chosen] = value

    # by address ------------------------------------------------------------------------------
    def read(self, address: int, length: int) -> bytes:
        """Bytes at an address, as the consumer sees them."""
        if address >= XML_ADDRESS:
            start = address - XML_ADDRESS
            return self.xml[start : start + length].ljust(length, b"\0")
        feature = self._at(address)
        value = (
            self._computed[feature.name]()
            if feature.name in self._computed
            else self.get(feature.name)
        )
        if feature.kind == "string":
            return str(value).encode()[: TEXT_BYTES - 1].ljust(length, b"\0")
        pattern = "<d" if feature.kind == "float" else "<q"
        return struct.pack(pattern, value)[:length]

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises `Refused` as a camera does."""
        feature = self._at(address)
        if feature.kind == "command":
            self._commanded(feature.name)
            return
        if not feature.writable:
            raise Refused(wire.ACCESS_DENIED, f"{feature.name} cannot be written")
        if feature.locked and self.streaming:
            raise Refused(wire.BUSY, f"{feature.name} is locked while the camera is streaming")
        value = self._checked(feature, data)
        self.put(feature.name, value)
        self._told(feature.name)

    def _checked(self, feature: Feature, data: bytes) -> Value:
        if feature.kind == "string":
            return data.split(b"\0")[0].decode("utf-8", "replace")[: TEXT_BYTES - 1]
        value: float = struct.unpack("<d" if feature.kind == "float" else "<q", data[:8])[0]
        if feature.kind == "enumeration":
            good = value in [code for _, code in feature.entries]
        elif feature.kind == "boolean":
            good = value in (0, 1)
        else:
            low, high = self._limit(feature.low), self._limit(feature.high)
            good = low <= value <= high
            if feature.kind == "integer":
                good = good and (int(value) - int(low)) % feature.step == 0
        if not good:
            raise Refused(wire.INVALID_VALUE, f"{feature.name} does not take {value:g}")
        return value

    def _limit(self, limit: float | str) -> float:
        return self.number(limit) if isinstance(limit, str) else float(limit)

    def _at(self, address: int) -> Feature:
        position, rest = divmod(address - REGISTERS, STRIDE)
        if rest or not 0 <= position < len(self._features):
            raise Refused(wire.INVALID_ADDRESS, f"the camera has no register at 0x{address:X}")
        feature = self._features[position]
        assert address == address_of(position)
        return feature
