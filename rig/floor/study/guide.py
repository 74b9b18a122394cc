"""Guides through a gauge R&R study: asks for each part in turn and measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.exits import DATA, DEVICE, USAGE, UsageError
from rig.floor.plans.judge import check_references, inspector
from rig.floor.plans.model import read_plan
from rig.floor.scale import certificate_in_force, scale_sigma
from rig.floor.store.remember import remember
from rig.floor.store.store import Filter, open_store
from rig.floor.study.msa import refuse_small_gauge_rr
from rig.floor.study.table import order_of
from rig.measure_part import Labels, Verdict
from rig.measuring import Order, measure
from rig.workspace import Workspace


@dataclass(frozen=True)
class Guide:
    """What a study measures."""

    parts: Sequence[str]
    operators: Sequence[str]
    trials: int
    part_type: str
    batch: str
    method: str = "refine"
    simulate: bool = False
    workspace: Path | None = None


def measure_study(guide: Guide, say: Callable[[str], None], ask: Callable[[str], object]) -> None:
    """Measure what of the study is not in the store yet: an interrupted one goes on.

    Raises
    ------
    UsageError
        if the study is too small, or a part cannot be measured: a study with a gap is none
    """
    refuse_small_gauge_rr(len(set(guide.parts)), len(set(guide.operators)), guide.trials)
    workspace = Workspace.at(guide.workspace)
    kept = read_plan(workspace, guide.part_type)
    check_references(kept, workspace)

    def after(verdict: Verdict) -> str | None:
        return remember(workspace, verdict.result)

    plan = order_of(guide.parts, guide.operators, guide.trials)
    for number, (part, operator, trial) in enumerate(plan, 1):
        with open_store(workspace) as store:
            done = store.history(
                Filter(part=part, operator=operator, batch=guide.batch, part_type=guide.part_type),
                limit=1,
            ).total
        if done >= trial:
            continue
        ask(f"{number} of {len(plan)}: {operator} lays part {part} (trial {trial}), then Enter")
        code = measure(
            Order(
                part=part,
                method=guide.method,
                simulate=guide.simulate,
                workspace=guide.workspace,
                labels=Labels(
                    guide.part_type, operator, guide.batch,
                    certificate=certificate_in_force(workspace),
                ),
                inspect=inspector(kept, workspace, scale_sigma(workspace)),
                snapshots={"inspection_plan.yaml": kept.text},
                after=after,
            )
        )  # fmt: skip
        if code in (USAGE, DEVICE, DATA):
            raise UsageError(
                f"part {part} could not be measured (exit code {code}): put that right, then the "
                "same command goes on"
            )
    say(f"{len(plan)} measurements are complete")
