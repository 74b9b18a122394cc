"""``rig inspect``: dents, scratches and burrs of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rig.commands import options


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig inspect A12 --least 20 --out defects.svg")
    def inspect(
        result: Annotated[str, typer.Argument(help="Results folder, or the name of a part.")],
        reference: Annotated[
            str | None,
            typer.Option(help="A good part, mesh or result: its own shape is no defect."),
        ] = None,
        region: Annotated[
            str | None, typer.Option(help="Look here only: x0,y0,x1,y1 or x,y,radius (mm).")
        ] = None,
        least: Annotated[float, typer.Option(min=0, help="Leave shallower ones out, µm.")] = 0.0,
        threshold: Annotated[
            float, typer.Option(min=3, help="How far beyond the texture, in its own sigma.")
        ] = 5.5,
        out: Annotated[Path | None, typer.Option(help="Draw them: an .svg file.")] = None,
        json: options.Json = False,
        workspace: options.Workspace = None,
    ) -> None:
        """Find dents, scratches and burrs against the surface's own texture.

        Exit code 0 if there are none, 1 if there are.
        """
        import json as json_module

        from capture.claim import claim, is_there
        from reconstruct.export.results import read_results
        from reconstruct.metrology.compare import compare
        from reconstruct.metrology.grid import grid_of
        from rig.exits import OUT_OF_TOLERANCE, UsageError
        from rig.figures import find_result, numbers, shape_of
        from rig.floor.defects import find_defects, slope_sigma_of, slopes_on
        from rig.floor.plans.placed import placed
        from rig.report.maps import draw, heights

        surface = read_results(find_result(result, workspace))
        grid = grid_of(surface)
        inside = None
        if region is not None:
            inside = placed(grid).region(numbers(region, "--region", (3, 4)))
        if reference is None:
            found = find_defects(
                grid,
                slopes_on(grid, surface),
                inside=inside,
                threshold=threshold,
                least_um=least,
                slope_sigma=slope_sigma_of(surface),
            )
        else:
            other = shape_of(reference, workspace, None, 0.0, grid.step_mm)
            grid = compare(grid, other, "rigid").deviation
            found = find_defects(
                grid,
                inside=inside,
                threshold=threshold,
                least_um=least,
                slope_sigma=slope_sigma_of(surface),
            )
        if out is not None:
            if out.suffix.lower() != ".svg":
                raise UsageError(f"--out is {out}: the drawing is an .svg file")
            row = {"name": "defects", "verdict": "out of tolerance",
                   "defects": [defect.to_json() for defect in found]}  # fmt: skip
            if is_there(out):
                raise UsageError(f"{out} exists already and is kept: name another --out")
            with claim(out) as claimed:
                drawing = draw(heights(grid), [row] if found else [])
                claimed.file.write_text(drawing, encoding="utf-8")
                claimed.publish_files()
        if json:
            said = {"format": "rig-defects/1", "defects": [defect.to_json() for defect in found]}
            typer.echo(json_module.dumps(said, indent=1))
        else:
            for defect in found:
                typer.echo(
                    f"{defect.kind:<8} x {defect.x_mm:7.2f}  y {defect.y_mm:7.2f} mm  "
                    f"{defect.length_mm:5.2f} × {defect.width_mm:.2f} mm  "
                    f"{defect.depth_um:6.1f} ± {defect.sigma_um:.1f} µm  {defect.score:.1f} σ"
                )
            typer.echo(f"{len(found)} defects")
        if found:
            raise typer.Exit(OUT_OF_TOLERANCE)
