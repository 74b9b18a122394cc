"""What the acceptance in force says: its name, and how sure the scale of lengths is."""

from __future__ import annotations

import json

from rig.workspace import Workspace

CERTIFICATES = "certificates"


def scale_sigma(workspace: Workspace) -> float:
    """Relative standard uncertainty of the scale by the acceptance in force; 0 without one."""
    for path in sorted((workspace.folder / CERTIFICATES).glob("*/certificate.json"), reverse=True):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["scale"]["relative_sigma"]
            return float(found)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return 0.0


def certificate_in_force(workspace: Workspace) -> str:
    """Name of the newest certificate of acceptance; empty without one."""
    found = sorted((workspace.folder / CERTIFICATES).glob("*/certificate.json"))
    return found[-1].parent.name if found else ""
