"""What other packages add to the program, by the entry points of Python packaging.

| group | name | value |
|---|---|---|
| ``rig.methods`` | of the method | ``(stack, camera, lights, options) -> Surface`` |
| ``rig.led_dialects`` | of the dialect | the path, or the text, of a dialect file |
| ``rig.cameras`` | scheme of ``scheme://…`` | ``(address) -> Camera``, not yet open |
| ``rig.importers`` | of the layout | ``(folder) -> Source``, or None if it is another layout |
| ``rig.exporters`` | ending of the file, without the dot | ``(surface, path) -> None`` |
| ``rig.features`` | as plans call it | ``(grid, settings) -> float`` |
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from intake.errors import InputError

METHODS = "rig.methods"
LED_DIALECTS = "rig.led_dialects"
CAMERAS = "rig.cameras"
IMPORTERS = "rig.importers"
EXPORTERS = "rig.exporters"
FEATURES = "rig.features"
GROUPS = (METHODS, LED_DIALECTS, CAMERAS, IMPORTERS, EXPORTERS, FEATURES)


def _offered(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def offered(group: str) -> tuple[str, ...]:
    """Names that installed packages add to a group, sorted; nothing is loaded."""
    return tuple(sorted(_offered(group)))


def load(group: str, name: str) -> Any:
    """What a package adds under this name.

    Raises
    ------
    InputError
        there is none such, or its package fails to load
    """
    entry = _offered(group).get(name)
    if entry is None:
        known = ", ".join(offered(group)) or "none"
        raise InputError(f"no installed package adds '{name}' to {group} (there are: {known})")
    try:
        return entry.load()
    except Exception as error:  # whatever somebody else's package does when it is imported
        package = entry.dist.name if entry.dist is not None else entry.value
        raise InputError(
            f"the plug-in '{name}' of {package} cannot be loaded ({type(error).__name__}: "
            f"{error}): mend it, or uninstall it"
        ) from error
