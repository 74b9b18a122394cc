"""Writes the exposure that was found on the live page into ``rig.yaml``, the rest untouched."""

from __future__ import annotations

from pathlib import Path

import yaml

from capture.claim import claim
from rig.config import config_text, parse_config

SECTION, KEY = "camera", "exposure_ms"


def keep_exposure(path: Path, exposure_us: float) -> str:
    """Make an exposure that of a ``rig.yaml``; returns what is to be known of it.

    Raises
    ------
    UsageError
        there is no such file, or it cannot be used
    """
    text = config_text(path)
    parse_config(text, str(path))
    value = f"{exposure_us / 1000:.6g}"
    changed = with_exposure(text, value)
    config = parse_config(changed, str(path))
    with claim(path, replacing=True) as claimed:
        claimed.file.write_bytes(changed.encode("utf-8"))
        claimed.publish_files()
    said = f"{path.name}: {SECTION}: {KEY} is {value} now"
    if config.plan.exposures_ms is not None:
        bracket = ", ".join(f"{ms:g}" for ms in config.plan.exposures_ms)
        said += f"; a capture takes the bracket of its plan, {bracket} ms"
    return said


def with_exposure(text: str, value: str) -> str:
    """The text with another exposure; comments and everything else as they were."""
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(tree, yaml.MappingNode)
    camera = next(node for key, node in tree.value if key.value == SECTION)
    assert isinstance(camera, yaml.MappingNode)
    for key, node in camera.value:
        if key.value == KEY:
            return text[: node.start_mark.index] + value + text[node.end_mark.index :]
    entry = f"{KEY}: {value}"
    if camera.flow_style:
        start = camera.start_mark.index + 1
        return f"{text[:start]}{entry}{', ' if camera.value else ''}{text[start:]}"
    first = camera.value[0][0].start_mark
    return f"{text[: first.index]}{entry}\n{' ' * first.column}{text[first.index :]}"
