"""``rig capture``: a proven recording of one part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rig.commands import options


class Asked(NamedTuple):
    """The options of `rig capture`."""

    part: Annotated[str | None, typer.Option(help="Name of the part: becomes a folder's name.")] = (
        None
    )
    empty_stage: Annotated[
        bool,
        typer.Option("--empty-stage", help="Record the stage alone, a reference to find parts by."),
    ] = False
    simulate: options.Simulate = False
    size: options.Size = None
    fault: options.Fault = None
    plan: Annotated[
        Path | None, typer.Option(help="Plan file (.yaml as in rig.yaml, or .json).")
    ] = None
    leds: Annotated[str | None, typer.Option(help="LEDs, as 1-96 or 1,5,9-12.")] = None
    exposures: Annotated[str | None, typer.Option(help="Exposures in ms, as 2,8,32; or auto.")] = (
        None
    )
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be taken, and stop.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Finish the part's unfinished run.")] = (
        False
    )
    seed: options.Seed = 0
    workspace: options.Workspace = None


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig capture --part A12 --simulate --exposures 2,8,32")
    @options.taken_apart
    def capture(asked: Asked) -> None:
        """Take a part's pictures, each with the proof of which LED lit it.

        The recording lands in parts/PART/TIME. Ctrl-C stops after the current picture, with the
        LEDs off; --resume then takes what is missing. Exit codes: 0 good, 2 usage, 3 device
        (pictures that stay bad after all retries count as such), 4 data, 130 interrupted.
        """
        from capture.fault_names import fault_named
        from capture.faults import NONE
        from rig.capturing import Order, run
        from rig.exits import UsageError
        from rig.workspace import EMPTY_STAGE

        if (asked.part is None) != asked.empty_stage:
            raise UsageError("say what to capture: --part A12, or --empty-stage")
        if asked.fault and not asked.simulate:
            raise UsageError(
                "--fault goes with --simulate; let something go wrong on a virtual rig of its own "
                "process by 'rig virtual-rig fault'"
            )
        faults = NONE
        for text in asked.fault or []:
            faults = fault_named(text, base=faults)
        code = run(
            Order(
                part=asked.part if asked.part is not None else EMPTY_STAGE,
                simulate=asked.simulate,
                size=asked.size,
                faults=faults,
                plan_file=asked.plan,
                leds=asked.leds,
                exposures=asked.exposures,
                dry_run=asked.dry_run,
                resume=asked.resume,
                seed=asked.seed,
                workspace=asked.workspace,
            )
        )
        raise typer.Exit(code)
