"""``rig reconstruct``: from a recording to heights in millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rig.commands import options


class Asked(NamedTuple):
    """The options of `rig reconstruct`."""

    name: Annotated[
        str, typer.Argument(help="Name of a part (its last run), or the folder of a run.")
    ]
    method: Annotated[
        str,
        typer.Option(
            help="auto (lambert for matt parts, refine for metal), refine, dpps, lambert or "
            "halfvector."
        ),
    ] = "auto"
    lights: Annotated[
        Path | None, typer.Option(help="Light file. Default: what came with the run.")
    ] = None
    plate: Annotated[
        Path | None, typer.Option(help="Pictures of a white plate at z = 0: axes and powers.")
    ] = None
    plate_reflectance: Annotated[
        float | None,
        typer.Option(help="Reflectance of the plate. Default: 0.8.", callback=options.reflectance),
    ] = None
    mask: Annotated[Path | None, typer.Option(help="Picture that is bright where the part is.")] = (
        None
    )
    height: Annotated[
        float | None,
        typer.Option(help="Mean height of the visible surface above the stage, mm."),
    ] = None
    height_sigma: Annotated[
        float | None, typer.Option(help="How sure that height is, mm, one sigma.")
    ] = None
    datum: Annotated[
        str, typer.Option(help="none, stage, or plane (fitted out of the heights).")
    ] = "none"
    start: Annotated[
        str, typer.Option(help="First surface of refine: auto, halfvector, flat or dpps.")
    ] = "auto"
    weights: Annotated[
        Path | None, typer.Option(help="Of the network, made by rig train; default: shipped.")
    ] = None
    self_calibrate: Annotated[
        bool | None,
        typer.Option(help="Solve the lights along. Default: if they have a covariance."),
    ] = None
    leds: Annotated[
        str | None, typer.Option(help="Use these LEDs only, such as 1-96 or 1,5,9.")
    ] = None
    field_mm: Annotated[
        float | None,
        typer.Option(help="Width of the field, mm, for pictures without a camera.json."),
    ] = None
    focal: Annotated[
        float | None,
        typer.Option(help="Focal length, px, for pictures without a camera.json."),
    ] = None
    memory: Annotated[float, typer.Option(help="Working memory there is, GB.")] = 4.0
    device: Annotated[str, typer.Option(help="Of the network: cpu, cuda, auto.")] = "cpu"
    out: Annotated[
        Path | None, typer.Option(help="Results folder. Default: results/NN of the run.")
    ] = None
    workspace: options.Workspace = None


def register(app: typer.Typer) -> None:
    @app.command(epilog="Example: rig reconstruct A12 --height 12.5 --height-sigma 0.5")
    @options.taken_apart
    def reconstruct(asked: Asked) -> None:
        """Reconstruct a surface: normals and heights in mm, with their uncertainty.

        An existing result is never overwritten. Ctrl-C while refine works keeps the best surface so
        far, marked as stopped, and ends with 130.
        """
        from reconstruct.surface import Flag
        from rig.computing import computing_shown
        from rig.exits import INTERRUPTED
        from rig.figures import levels_table
        from rig.floor.store.remember import remember
        from rig.reconstructing import Request, run_reconstruction
        from rig.workspace import Workspace

        request = Request(
            name=asked.name,
            method=asked.method,
            lights=asked.lights,
            plate=asked.plate,
            plate_reflectance=asked.plate_reflectance,
            mask=asked.mask,
            height_mm=asked.height,
            height_sigma_mm=asked.height_sigma,
            datum=asked.datum,
            memory_gb=asked.memory,
            device=asked.device,
            start=asked.start,
            weights=asked.weights,
            self_calibrate=asked.self_calibrate,
            use_leds=asked.leds,
            field_mm=asked.field_mm,
            focal_px=asked.focal,
            out=asked.out,
            workspace=asked.workspace,
        )
        with computing_shown() as progress:
            surface, folder = run_reconstruction(
                request, lambda line: typer.echo(line, err=True), progress
            )
        z = surface.height_mm[surface.mask]
        seconds = surface.summary["seconds"]["reconstruct"]
        outside = (surface.flags & int(Flag.OUTSIDE)) != 0
        of_what = "the part" if outside.any() else "the picture"
        share = surface.mask.sum() / max(1, (~outside).sum())
        if len(z):
            typer.echo(
                f"{100 * share:.1f} % of {of_what} measured, heights "
                f"{z.min():.3f} to {z.max():.3f} mm, in {seconds:.1f} s"
            )
        else:
            typer.echo("No part of the picture could be measured: see the flags.")
        if levels := surface.summary.get("pieces"):
            typer.echo(levels_table(levels))
        typer.echo(f"Wrote {folder}")
        space = Workspace.at(asked.workspace)
        if folder.resolve().is_relative_to(space.parts):
            told = remember(space, folder)
            if told:
                typer.echo(f"note: {told}", err=True)
        if surface.summary.get("stopped"):
            raise typer.Exit(INTERRUPTED)
