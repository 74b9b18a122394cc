"""What ``rig accept`` does: measures the artefacts, or takes results, and certifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconstruct.export.results import read_results
from reconstruct.metrology.grid import grid_of
from rig.config import read_config
from rig.exits import GOOD, OUT_OF_TOLERANCE, UsageError
from rig.figures import find_result
from rig.floor.accept.artefacts import Artefact, read_artefacts
from rig.floor.accept.certificate import certificate_of, write_certificate
from rig.floor.accept.errors import Tested, tested
from rig.floor.store.remember import remember
from rig.floor.store.store import name_of_rig
from rig.measure_part import Labels, Verdict
from rig.measuring import Order, measure
from rig.workspace import Workspace


@dataclass(frozen=True)
class Acceptance:
    """What was typed.

    Attributes
    ----------
    results : part or results folder of artefacts that were measured already, by their names
    """

    file: Path
    results: Mapping[str, str] = field(default_factory=dict)
    method: str = "refine"
    simulate: bool = False
    workspace: Path | None = None


def accept(order: Acceptance, ask: Callable[[str], object]) -> tuple[int, dict[str, Any], Path]:
    """Exit code, certificate, and its folder.

    Raises
    ------
    UsageError, DeviceError, DataError
        if an artefact cannot be measured
    """
    workspace = Workspace.at(order.workspace)
    kept = read_artefacts(order.file)
    names = {artefact.name for artefact in kept.artefacts}
    unknown = set(order.results) - names
    if unknown:
        raise UsageError(f"there is no artefact {sorted(unknown)[0]}: {', '.join(sorted(names))}")
    folders: dict[str, Path] = {}
    found: list[Tested] = []
    for artefact in kept.artefacts:
        result = _result(artefact, order, workspace, ask)
        folders[artefact.name] = result
        found += tested(artefact, grid_of(read_results(result)), kept.mpe)
    config = read_config(workspace.config_file) if workspace.config_file.is_file() else None
    certificate = certificate_of(kept, found, folders, workspace, name_of_rig(config, workspace))
    place = write_certificate(certificate, workspace)
    return GOOD if certificate["verdict"] == "good" else OUT_OF_TOLERANCE, certificate, place


def _result(
    artefact: Artefact, order: Acceptance, workspace: Workspace, ask: Callable[[str], object]
) -> Path:
    if artefact.name in order.results:
        return find_result(order.results[artefact.name], order.workspace).resolve()
    ask(f"Lay {artefact.kind} {artefact.name} {artefact.serial} on the stage, then Enter")
    made: list[Path] = []

    def after(verdict: Verdict) -> str | None:
        made.append(verdict.result)
        return remember(workspace, verdict.result)

    measure(
        Order(
            part=artefact.name,
            method=order.method,
            simulate=order.simulate,
            height_mm=artefact.height_mm,
            workspace=order.workspace,
            labels=Labels(part_type="acceptance"),
            after=after,
        )
    )
    if not made:
        raise UsageError(f"artefact {artefact.name} could not be measured")
    return made[0]
