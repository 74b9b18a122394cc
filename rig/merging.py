"""What ``rig merge`` does: results of one part, turned or tilted between recordings, as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from capture.claim import claim, claim_first, is_there
from reconstruct.export.mesh import write_mesh
from reconstruct.export.results import read_results, write_results
from reconstruct.views import Array, Pose
from rig.exits import UsageError
from rig.figures import find_result, table
from rig.reconstructing import result_names

DISAGREE = 6.0  # times the sigma that views give: then they may be of two parts
MESH = "merged.ply"


@dataclass(frozen=True)
class MergeOrder:
    """What was asked for.

    Attributes
    ----------
    names : parts (their last result), recordings or results folders
    chosen : the view from 1 whose picture the height map has
    laid : how the part lay in each: degrees of tilt about x, about y, and of turn about z
    """

    names: tuple[str, ...]
    chosen: int = 1
    laid: str | None = None
    out: Path | None = None
    workspace: Path | None = None


def starts_of(laid: str, count: int, chosen: int) -> list[tuple[Array, Array]]:
    """Motions from each view to the chosen one, as ``0,0 15,0 0,15,90`` tells them."""
    from scipy.spatial.transform import Rotation

    words = laid.replace(";", " ").split()
    if len(words) != count:
        raise UsageError(f"--laid tells of {len(words)} views, there are {count}")
    turns = []
    for word in words:
        try:
            values = [float(value) for value in word.split(",")]
        except ValueError:
            values = []
        if len(values) not in (2, 3) or not np.isfinite(values).all():
            raise UsageError(
                f"--laid has '{word}': expected tilts about x and y, and a turn, in degrees: 15,0"
            )
        x, y, z = (*values, 0.0)[:3]
        turns.append(Rotation.from_euler("z", z, degrees=True)
                     * Rotation.from_rotvec(np.radians([x, y, 0.0])))  # fmt: skip
    first = turns[chosen]
    return [((first * turn.inv()).as_matrix(), np.zeros(3)) for turn in turns]


def run_merge(order: MergeOrder, say: Callable[[str], None] = print) -> tuple[str, Path]:
    """Merge results; returns a table for people and the folder written."""
    if len(order.names) < 2:
        raise UsageError("name two recordings or more: rig merge RUN RUN")
    if not 1 <= order.chosen <= len(order.names):
        raise UsageError(f"--view is {order.chosen}: there are views 1 to {len(order.names)}")
    chosen = order.chosen - 1
    starts = None
    if order.laid is not None:
        starts = starts_of(order.laid, len(order.names), chosen)
    folders = [find_result(name, order.workspace) for name in order.names]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("one result is named twice: name each recording by its folder")
    surfaces = [read_results(folder) for folder in folders]
    from reconstruct.merge import merge

    with _claimed(order, folders[chosen]) as work:
        found = merge(surfaces, chosen, starts)
        for number, pose in enumerate(found.poses, 1):
            _warn(number, pose, found.surface.sigma_mm, say)
        names = [_name(folder) for folder in folders]
        views = [
            {"result": name, **view}
            for name, view in zip(names, found.surface.summary["views"], strict=True)
        ]
        summary = {
            **found.surface.summary,
            "views": views,
            "part": surfaces[chosen].summary.get("part", ""),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": version("dpps-rig"),
        }
        surface = replace(found.surface, summary=summary)
        write_results(surface, work.folder)
        write_mesh(work.folder / MESH, found.mesh)
        from rig.report.result import write_result_report

        write_result_report(
            surface, work.folder, title=f"{summary['part']}, {len(names)} views merged",
            provenance={"views": ", ".join(names)},
        )  # fmt: skip
    return _table(names, found.poses, found.surface.mask, surfaces[chosen].mask), work.target


@dataclass(frozen=True)
class _Work:
    folder: Path
    target: Path


@contextmanager
def _claimed(order: MergeOrder, result: Path) -> Iterator[_Work]:
    """The folder where the result is made; it takes its place when all went well."""
    run = result.parent.parent
    if order.out is None and (run / "run.jsonl").is_file():
        claiming = claim_first(result_names(run))
    elif order.out is None:
        raise UsageError("say where the merged surface goes: --out FOLDER")
    elif is_there(order.out):
        raise UsageError(f"{order.out} exists already and is kept: name another --out")
    else:
        claiming = claim(order.out)
    with claiming as claimed:
        yield _Work(claimed.work, claimed.target)
        claimed.publish()


def _name(result: Path) -> str:
    """A result's place for people: part, recording and number where it lies in a workspace."""
    parts = result.resolve().parts
    return "/".join(parts[-4:-2] + parts[-1:]) if "results" in parts else result.name


def _warn(number: int, pose: Pose, sigma: np.ndarray, say: Callable[[str], None]) -> None:
    typical = float(np.nanmedian(sigma))
    if pose.rms_mm > max(DISAGREE * typical, 0.1):
        say(f"note: view {number} agrees with the others to {pose.rms_mm:.2g} mm only, where "
            f"{typical:.2g} mm is claimed: is it the same part?")  # fmt: skip
    if pose.undetermined and number == 2:
        say(f"note: {pose.undetermined} motions between the views show nowhere on the surfaces: "
            "they stay as --laid tells, or as small as they can be")  # fmt: skip


def _table(names: list[str], poses: list[Pose], mask: np.ndarray, before: np.ndarray) -> str:
    rows = []
    for name, pose in zip(names, poses, strict=True):
        sigma = np.sqrt(np.maximum(np.diag(pose.covariance), 0.0))
        tilt, turn = pose.tilt_and_turn_deg
        if not sigma.any():
            rows.append((name, "the view that the others are moved to"))
            continue
        rows.append((
            name,
            f"tilt {tilt:.2f}°, turn {turn:+z.2f}° (± {np.degrees(sigma[:3].max()):.2g}°, "
            f"± {sigma[3:].max():.2g} mm), {100 * pose.overlap:.0f} % in common, "
            f"agrees to {pose.rms_mm:.3g} mm",
        ))  # fmt: skip
    gained = int(mask.sum()) - int((mask & before).sum())
    rows.append(("pixels with a height", f"{int(mask.sum())}, {gained} by other views"))
    return table(rows)
