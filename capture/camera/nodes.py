"""Reading and writing a camera's nodes by our names, whatever the camera does about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from capture.camera.features import Feature, NodeMap, kind_of, pick, resolve

# Access modes of GenApi (EAccessMode): 0 not implemented, 1 not available, 2 WO, 3 RO, 4 RW.
_READABLE = (3, 4)
_WRITABLE = (2, 4)


class NodeAccess:
    """Reads and writes settings of one camera; `warnings` grows as the camera refuses things."""

    def __init__(self, nodes: NodeMap) -> None:
        self.nodes = nodes
        self.warnings: list[str] = []

    def node(self, name: str) -> Any:
        """The node if the camera has it now, else None."""
        if not self.nodes.has_node(name):
            return None
        node = self.nodes.get_node(name)
        return node if kind_of(node) is not None and access_of(node) > 1 else None

    def feature(self, setting: str) -> tuple[Feature, Any] | None:
        """The node for a setting, if the camera has it now."""
        feature = resolve(self.nodes, setting)
        node = self.node(feature.name) if feature is not None else None
        return (feature, node) if feature is not None and node is not None else None

    def read(self, setting: str) -> Any:
        """Value of a setting, None if the camera has none or does not tell."""
        found = self.feature(setting)
        return value_of(found[1]) if found else None

    def put(self, name: str, node: Any, value: Any) -> bool:
        """Write a value; False, and nothing said, if the camera refuses."""
        if not is_writable(node):
            return False
        try:
            node.value = value
        except Exception:  # each vendor's node raises its own kind
            return False
        return True

    def choose(self, setting: str, *wanted: str) -> bool:
        """Set an enumeration to the first of `wanted` that it offers now."""
        found = self.feature(setting)
        if found is None or found[0].kind != "enumeration":
            return False
        choice = pick(found[1].symbolics, *wanted)
        if choice is None:
            return False
        return value_of(found[1]) == choice or self.put(found[0].name, found[1], choice)

    def number(self, setting: str, value: float) -> float | None:
        """Set a number, held to the camera's range and steps; what it took, None if nothing."""
        found = self.feature(setting)
        if found is None or found[0].kind not in ("float", "integer"):
            return None
        feature, node = found
        try:
            value = min(max(value, float(node.min)), float(node.max))
        except Exception:  # some nodes tell their range only while streaming
            self.warnings.append(f"the camera does not tell the range of {feature.name}")
        if feature.kind == "integer":
            step = max(1, int(getattr(node, "inc", 1) or 1))
            low = int(getattr(node, "min", 0))
            value = low + round((value - low) / step) * step
            self.put(feature.name, node, int(value))
        else:
            self.put(feature.name, node, float(value))
        taken = value_of(node)
        return None if taken is None else float(taken)


def is_writable(node: Any) -> bool:
    """Whether the camera lets this node be written now."""
    return access_of(node) in _WRITABLE


def snapshot(nodes: NodeMap, names: Iterable[str]) -> dict[str, Any]:
    """Every readable value among `names`, as JSON can hold it."""
    values: dict[str, Any] = {}
    for name in sorted(set(names)):
        node = nodes.get_node(name)
        if kind_of(node) in ("float", "integer", "enumeration", "boolean", "string"):
            value = value_of(node)
            if value is not None:
                values[name] = value
    return values


def access_of(node: Any) -> int:
    """Access mode of a node, 0 if it cannot be asked."""
    try:
        return int(node.get_access_mode())
    except Exception:  # a node whose access cannot even be asked is not available
        return 0


def value_of(node: Any) -> Any:
    """Value of a node as JSON can hold it; None if it cannot be read now."""
    if node is None or access_of(node) not in _READABLE:
        return None
    try:
        value = node.value
    except Exception:  # each vendor's node raises its own kind
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
