"""``rig plan``: inspection plans of part types."""

from __future__ import annotations

from typing import Annotated

import typer

from rig.commands import options

Type = Annotated[str, typer.Argument(help="Part type: names plans/TYPE.yaml.")]


def register(app: typer.Typer) -> None:
    plan = typer.Typer(no_args_is_help=True, help="Inspection plans: features and tolerances.")
    app.add_typer(plan, name="plan")

    @plan.command(epilog="Example: rig plan new bracket --from A12")
    def new(
        part_type: Type,
        run: Annotated[str, typer.Option("--from", help="Part or results folder to begin with.")],
        workspace: options.Workspace = None,
    ) -> None:
        """Propose a plan from a part that was measured; an existing one is never overwritten."""
        from reconstruct.export.results import read_results
        from reconstruct.metrology.grid import grid_of
        from rig.exits import UsageError
        from rig.figures import find_result
        from rig.floor.plans.model import parse_plan, plan_path
        from rig.floor.plans.propose import propose
        from rig.floor.plans.words import limits_in_words
        from rig.workspace import Workspace

        space = Workspace.at(workspace)
        path = plan_path(space, part_type)
        if path.exists():
            raise UsageError(f"{path} exists already and is kept: move it away, or edit it")
        result = find_result(run, workspace).resolve()
        inside = result.is_relative_to(space.folder)
        name = result.relative_to(space.folder).as_posix() if inside else str(result)
        text = propose(grid_of(read_results(result)), part_type, name)
        parsed = parse_plan(text, str(path)).plan
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
        for feature in parsed.features:
            lower, upper = feature.limits
            said = limits_in_words({"lower": lower, "upper": upper})
            typer.echo(f"{feature.name}: {said} {feature.unit}".rstrip())
        typer.echo(f"Wrote {path}: put the drawing's tolerances in, then "
                   f"rig run --part A13 --type {part_type}")  # fmt: skip

    @plan.command(epilog="Example: rig plan check bracket")
    def check(part_type: Type, workspace: options.Workspace = None) -> None:
        """Read a plan and its references; every mistake is named."""
        from rig.floor.plans.judge import check_references
        from rig.floor.plans.model import read_plan
        from rig.workspace import Workspace

        space = Workspace.at(workspace)
        kept = read_plan(space, part_type)
        check_references(kept, space)
        typer.echo(f"{part_type}: {len(kept.plan.features)} features, content {kept.hash[:12]}")

    @plan.command("try", epilog="Example: rig plan try bracket --on A12")
    def try_(
        part_type: Type,
        run: Annotated[str, typer.Option("--on", help="Part or results folder.")],
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Judge a result that exists by a plan; nothing is written, the exit code is the verdict.

        Exit codes: 0 good, 1 out of tolerance or in between, 2 usage, 4 not sufficient.
        """
        import json as json_module

        from reconstruct.export.results import read_results
        from rig.figures import find_result, table
        from rig.floor.plans.judge import judge_by, reader
        from rig.floor.plans.model import read_plan
        from rig.floor.plans.words import feature_line
        from rig.floor.scale import scale_sigma
        from rig.workspace import Workspace

        space = Workspace.at(workspace)
        kept = read_plan(space, part_type)
        surface = read_results(find_result(run, workspace))
        found = judge_by(kept, surface, reader(space), scale_sigma(space))
        if json:
            said = {"verdict": found.verdict, "exit_code": found.exit_code, "plan": found.plan}
            typer.echo(json_module.dumps({**said, "features": found.features}, indent=1))
        else:
            typer.echo(table([(row["name"], feature_line(row)) for row in found.features]))
            typer.echo(found.verdict)
        raise typer.Exit(found.exit_code)
