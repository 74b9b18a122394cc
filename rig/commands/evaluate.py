"""``rig evaluate``, ``rig compare`` and ``rig measure``: figures of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rig.commands import options

Measured = Annotated[
    str, typer.Argument(help="Results folder, part, mesh, .x3p, .sdf or height map.")
]
Pitch = Annotated[
    float | None, typer.Option("--pitch", help="Pixel distance of a bare .tif or .npy map, mm.")
]
Unit = Annotated[
    str | None, typer.Option("--unit", help="Of a mesh: mm, cm, inch or m. glTF says its own.")
]
Border = Annotated[float, typer.Option("--border", help="Leave this much out along the edges, mm.")]


class MeasureAsked(NamedTuple):
    """The options of `rig measure`."""

    result: Measured
    form: Annotated[
        str, typer.Option(help="none, mean, plane, sphere, cylinder, poly2 … poly12.")
    ] = "plane"
    cutoff: Annotated[
        float | None, typer.Option(help="Longer waves are taken away (L-filter), mm.")
    ] = None
    short: Annotated[
        float | None, typer.Option(help="Shorter waves are taken away (S-filter), mm.")
    ] = None
    line: Annotated[
        str | None, typer.Option(help="Profile from x0,y0 to x1,y1, mm: x0,y0,x1,y1.")
    ] = None
    step: Annotated[bool, typer.Option(help="Step height along the line.")] = False
    edges: Annotated[
        str | None, typer.Option(help="Its edges, mm along the line: 12.5 or 12.5,20.")
    ] = None
    correlation: Annotated[
        float | None, typer.Option(help="Correlation length of height errors, mm.")
    ] = None
    draws: Annotated[int, typer.Option(help="Monte-Carlo draws for the uncertainty.")] = 32
    pitch: Pitch = None
    unit: Unit = None
    border: Border = 0.0
    json: options.Json = False
    workspace: options.Workspace = None


class CompareAsked(NamedTuple):
    """The options of `rig compare`."""

    measured: Measured
    reference: Annotated[str, typer.Argument(help="What it should be; the same kinds.")]
    align: Annotated[str, typer.Option(help="none, mean (along z), plane (and tilt) or rigid.")] = (
        "rigid"
    )
    tolerance: Annotated[
        float | None, typer.Option(help="Deviation allowed, mm; beyond it exit code 1.")
    ] = None
    share: Annotated[
        float, typer.Option(help="Percent of points that must be within tolerance.")
    ] = 100.0
    pitch: Pitch = None
    unit: Unit = None
    border: Border = 0.0
    out: Annotated[
        Path | None, typer.Option(help="Folder for deviation.tif and comparison.json.")
    ] = None
    json: options.Json = False
    workspace: options.Workspace = None


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig evaluate results/blob --truth blob/truth.npz --border 8")
    def evaluate(
        result: Annotated[str, typer.Argument(help="Results folder, or the name of a part.")],
        truth: Annotated[
            Path | None,
            typer.Option(help="truth.npz. Default: the one that came with the recording."),
        ] = None,
        border: Annotated[int, typer.Option(help="Pixels to leave out along the edges.")] = 0,
        cutoff: Annotated[
            float, typer.Option(help="Between form and texture, mm; 0 leaves the split out.")
        ] = 8.0,
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Compare a result with the truth, over the pixels where both have a surface."""
        import json as json_module

        from reconstruct.export.results import read_results
        from reconstruct.metrology.accuracy import Truth
        from reconstruct.metrology.accuracy import evaluate as compare_with
        from rig.figures import accuracy_table, find_result, find_truth, result_line, which_result

        folder = find_result(result, workspace)
        path = truth or find_truth(folder, result, workspace)
        found = compare_with(read_results(folder), Truth.read(path), border, cutoff or None)
        if json:
            which = which_result(str(folder), workspace)
            typer.echo(json_module.dumps({**found.to_json(), "result": which}, indent=1))
        else:
            typer.echo(result_line(which_result(str(folder), workspace)))
            typer.echo(accuracy_table(found))

    @app.command(epilog="Example: rig compare results/a12 nominal.stl --tolerance 0.05")
    @options.taken_apart
    def compare(asked: CompareAsked) -> None:
        """Align a surface to a reference and show how far it is from it."""
        import json as json_module

        from reconstruct.metrology.compare import compare as compare_grids
        from rig.exits import OUT_OF_TOLERANCE, UsageError
        from rig.figures import (
            comparison_table,
            refuse_other_unit,
            result_line,
            shape_of,
            which_result,
            write_comparison,
        )

        if asked.tolerance is not None and not 0 < asked.tolerance < float("inf"):
            raise UsageError(f"--tolerance is {asked.tolerance:g}: expected a length above 0 mm")
        if not 0 < asked.share <= 100:
            raise UsageError(f"--share is {asked.share:g}: it lies in 0 to 100 percent")
        own = shape_of(asked.measured, asked.workspace, asked.pitch, asked.border)
        other = shape_of(
            asked.reference, asked.workspace, asked.pitch, 0.0, own.step_mm, asked.unit
        )
        refuse_other_unit(own, other, asked.reference, asked.unit)
        found = compare_grids(own, other, asked.align, asked.tolerance)
        passed = found.passes(asked.share / 100)
        results = [
            which_result(name, asked.workspace) for name in (asked.measured, asked.reference)
        ]
        report = {
            **found.to_json(),
            "share": asked.share / 100,
            "passed": passed,
            "results": results,
        }
        if asked.out is not None:
            write_comparison(found, report, asked.out)
        if asked.json:
            typer.echo(json_module.dumps(report, indent=1))
        else:
            for which in filter(None, results):
                typer.echo(result_line(which))
            typer.echo(comparison_table(found, passed))
        if not passed:
            raise typer.Exit(OUT_OF_TOLERANCE)

    @app.command(epilog="Example: rig measure A12 --form plane --cutoff 2.5 --line -20,0,20,0")
    @options.taken_apart
    def measure(asked: MeasureAsked) -> None:
        """Roughness, flatness, radius and step height of a surface, with uncertainty."""
        import json as json_module

        from reconstruct.metrology.measure import Recipe
        from reconstruct.metrology.measure import measure as measure_grid
        from rig.exits import UsageError
        from rig.figures import (
            levels_of,
            levels_table,
            measurement_table,
            numbers,
            result_line,
            shape_of,
            which_result,
        )

        if asked.step and asked.line is None:
            raise UsageError("a step height needs a line: --line x0,y0,x1,y1 (mm)")
        if asked.edges is not None and not asked.step:
            raise UsageError("--edges are those of a step: give --step as well")
        ends = numbers(asked.line, "--line", (4,)) if asked.line is not None else None
        recipe = Recipe(
            form=asked.form,
            cutoff_mm=asked.cutoff,
            short_mm=asked.short,
            line_mm=None if ends is None else (ends[0], ends[1], ends[2], ends[3]),
            step=asked.step,
            edges_mm=numbers(asked.edges, "--edges", (1, 2)) if asked.edges is not None else None,
            correlation_mm=asked.correlation,
            draws=asked.draws,
        )
        found = measure_grid(
            shape_of(asked.result, asked.workspace, asked.pitch, asked.border, unit=asked.unit),
            recipe,
        )
        levels, steps = levels_of(asked.result, asked.workspace)
        which = which_result(asked.result, asked.workspace)
        if asked.json:
            report = {**found.to_json(), "result": which}
            report |= {"levels": levels, "steps": steps} if levels else {}
            typer.echo(json_module.dumps(report, indent=1))
        else:
            if which:
                typer.echo(result_line(which))
            typer.echo(measurement_table(found))
            if levels:
                typer.echo(levels_table(levels, steps))
