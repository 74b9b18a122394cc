"""``rig run``: one line from a part under the dome to a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rig.commands import options


class Asked(NamedTuple):
    """The options of `rig run`."""

    part: Annotated[str | None, typer.Option(help="Name of the part: becomes a folder's name.")] = (
        None
    )
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Keep the devices open; read part names, one a line."),
    ] = False
    names: Annotated[
        Path | None, typer.Option(help="With --watch: file of names. Default: what is typed.")
    ] = None
    tolerance: Annotated[
        float | None, typer.Option(help="Deviation allowed, mm; beyond it exit code 1.")
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(help="What the part should be: mesh, .x3p, result. Default: a plane."),
    ] = None
    align: Annotated[str, typer.Option(help="To the reference: none, mean, plane or rigid.")] = (
        "rigid"
    )
    share: Annotated[
        float, typer.Option(help="Percent of points that must be within tolerance.")
    ] = 100.0
    border: Annotated[float, typer.Option(help="Left out along the edges, mm.")] = 0.0
    method: Annotated[str, typer.Option(help="Of reconstruction; auto chooses.")] = "auto"
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu"
    height: Annotated[
        float | None,
        typer.Option(help="Mean height of the parts' surface, mm. Default: rig.yaml's."),
    ] = None
    height_sigma: Annotated[
        float | None, typer.Option(help="How sure that height is, mm, one sigma.")
    ] = None
    leds: Annotated[str | None, typer.Option(help="LEDs, as 1-96 or 1,5,9-12.")] = None
    exposures: Annotated[str | None, typer.Option(help="Exposures in ms, as 2,8,32; or auto.")] = (
        None
    )
    part_type: Annotated[
        str | None,
        typer.Option("--type", help="Judge by the inspection plan plans/TYPE.yaml."),
    ] = None
    operator: Annotated[str, typer.Option(help="Who measures; kept with the result.")] = ""
    batch: Annotated[str, typer.Option(help="Of the part; kept with the result.")] = ""
    simulate: options.Simulate = False
    size: options.Size = None
    seed: options.Seed = 0
    json: Annotated[bool, typer.Option("--json", help="Print each verdict as JSON.")] = False
    workspace: options.Workspace = None


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig run --part A12 --reference nominal.stl --tolerance 0.05")
    @options.taken_apart
    def run(asked: Asked) -> None:
        """Measure a part: capture, verify, reconstruct, report and judge.

        The verdict is the exit code (0 good, 1 out of tolerance, 2 usage, 3 device, 4 data or too
        little of the part measured, 130 interrupted) and verdict.json beside the report. With
        --watch the worst of all parts is the exit code, and one that fails does not end the rest.

        With --simulate the part's name says what lies on the virtual stage: a kind, and a number
        for another of its kind. These fill the picture: field, metaballs, turned-2, milled,
        ground, step_gauge, sphere_cap, stamped, coin-7. These lie on the stage: block, flange,
        bracket, stepgauge. Any other name stands for some part of its own, always the same.
        """
        from rig.exits import UsageError
        from rig.floor.scale import certificate_in_force, scale_sigma
        from rig.floor.store.remember import remember
        from rig.measure_part import Labels, Verdict
        from rig.measuring import Order, measure
        from rig.workspace import Workspace

        space = Workspace.at(asked.workspace)

        def after(verdict: Verdict) -> str | None:
            return remember(space, verdict.result)

        inspect, snapshots = None, {}
        if asked.part_type is not None:
            from rig.floor.plans.judge import check_references, inspector
            from rig.floor.plans.model import read_plan

            if asked.tolerance is not None or asked.reference is not None:
                raise UsageError("--type brings its own tolerances: leave --tolerance out")
            kept = read_plan(space, asked.part_type)
            check_references(kept, space)
            inspect = inspector(kept, space, scale_sigma(space))
            snapshots = {"inspection_plan.yaml": kept.text}

        raise typer.Exit(
            measure(
                Order(
                    part=asked.part,
                    watch=asked.watch,
                    names=asked.names,
                    tolerance_mm=asked.tolerance,
                    reference=asked.reference,
                    alignment=asked.align,
                    share_percent=asked.share,
                    border_mm=asked.border,
                    method=asked.method,
                    device=asked.device,
                    height_mm=asked.height,
                    height_sigma_mm=asked.height_sigma,
                    leds=asked.leds,
                    exposures=asked.exposures,
                    simulate=asked.simulate,
                    size=asked.size,
                    seed=asked.seed,
                    json=asked.json,
                    workspace=asked.workspace,
                    labels=Labels(
                        asked.part_type or "",
                        asked.operator,
                        asked.batch,
                        certificate=certificate_in_force(space),
                    ),
                    inspect=inspect,
                    snapshots=snapshots,
                    after=after,
                )
            )
        )
