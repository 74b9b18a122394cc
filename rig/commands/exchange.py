"""``rig import`` and ``rig export``: captures from elsewhere and for elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rig.commands import options

HDF5 = (".h5", ".hdf5", ".nxs")
RELIGHTING = (".rti", ".ptm", ".relight")

if TYPE_CHECKING:
    from capture.reading import Recording


def register(app: typer.Typer) -> None:
    @app.command("import", epilog="Example: rig import captures/blob --part blob")
    def import_(
        folder: Annotated[Path, typer.Argument(help="Folder, .zip or .h5 of pictures.")],
        part: Annotated[str, typer.Option(help="Name of the part.")],
        workspace: options.Workspace = None,
        channel: Annotated[
            str | None, typer.Option(help="Of colour pictures: red, green, blue or luminance.")
        ] = None,
        curve: Annotated[
            str,
            typer.Option(help="That the codes went through: linear, srgb, or a power as 2.2."),
        ] = "",
        white: Annotated[
            Path | None,
            typer.Option(help="Picture of a white plate: balances the colours of luminance."),
        ] = None,
        field_mm: Annotated[
            float, typer.Option(help="Width of the field of a DPPS sample, mm.")
        ] = 100.0,
    ) -> None:
        """Make a recording of an exchange folder, a DPPS sample or a LUCES object.

        The layout is recognised. Pixels stay as they are; what the folder says about camera,
        lights, powers and exposure travels with the recording. A DPPS sample gets the published
        rig.
        """
        from contextlib import nullcontext

        from capture.exchange.archive import unpacked
        from reconstruct.methods import MIN_LIGHTS
        from rig.imports import import_capture
        from rig.workspace import Workspace

        run = Workspace.at(workspace).new_run(part)
        if folder.suffix.lower() in HDF5:
            from capture.exchange.hdf5 import read_hdf5
            from capture.reading import Recording

            done = read_hdf5(folder, run)
            typer.echo(f"{len(Recording.open(done))} pictures are now {done}, as they were")
            return
        opened = unpacked(folder) if folder.suffix.lower() == ".zip" else nullcontext(folder)
        with opened as place:
            done, recording, remarks = import_capture(
                place, run, channel, field_mm, curve=curve, white=white
            )
        for remark in remarks:
            typer.echo(f"note: {remark}")
        height, width = recording.shape
        typer.echo(f"{len(recording.leds)} pictures of {width}×{height} are now {done}")
        if len(recording.leds) < MIN_LIGHTS:
            typer.echo(f"note: a surface needs pictures under at least {MIN_LIGHTS} lights")
            return
        name, still = shlex.quote(part), _still_to_name(recording, workspace)
        after = f"{still} -- {name}" if part.startswith("-") else f" {name}{still}"
        typer.echo(f"Next: rig reconstruct{after}")

    @app.command(epilog="Example: rig export A12 --out a12.stl")
    def export(
        run: Annotated[
            str | None,
            typer.Argument(help="Name of a part, or the folder of a recording or result."),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(
                help="Folder for pictures; a surface: .ply .stl .obj .glb .gltf .x3p .sdf .gwy "
                ".sur .exr .tif; a recording: .h5, .rti .ptm .relight for viewers."
            ),
        ] = None,
        csv: Annotated[
            bool, typer.Option("--csv", help="The store's results as CSV, of a part or of all.")
        ] = False,
        dfq: Annotated[
            bool, typer.Option("--dfq", help="The store's results of a part type for Q-DAS.")
        ] = False,
        part_type: Annotated[str, typer.Option("--type", help="With --csv, --dfq: these.")] = "",
        workspace: options.Workspace = None,
        exposure: Annotated[
            float | None, typer.Option(help="Of a bracket: this exposure (ms), not the merge.")
        ] = None,
        step: Annotated[
            float | None, typer.Option(help="Grid of .x3p and .sdf, mm. Default: the pixels'.")
        ] = None,
        close_walls: Annotated[
            bool, typer.Option("--close-walls", help="Of a mesh: draw the walls that nobody saw.")
        ] = False,
    ) -> None:
        """Write the pictures of a recording as an exchange folder, or a surface as a file.

        A name with an ending is a surface file; a name without one is an exchange folder of
        16-bit linear pictures with lights, camera and exposure. With --csv: results of the store,
        into --out or onto the screen. Meshes are open where a wall was not seen; --close-walls
        draws upright walls between pieces and, of a part on the stage, down to it.
        """
        if csv or dfq:
            _export_store(run or "", part_type, out, workspace, dfq)
            return
        if run is None or out is None:
            from rig.exits import UsageError

            raise UsageError("say what goes where: rig export A12 --out a12.stl, or --csv")
        if out.suffix.lower() in (*HDF5, *RELIGHTING):
            typer.echo(f"Wrote {_export_recording(run, out, workspace)}")
            return
        if out.suffix:
            from reconstruct.export.formats import export_surface, kinds
            from reconstruct.export.results import read_results
            from rig.exits import UsageError
            from rig.figures import find_result, result_line, which_result

            known_kinds = kinds()
            if out.suffix.lower() not in known_kinds:
                known = " ".join(sorted(known_kinds))
                raise UsageError(f"a surface cannot be written as {out.suffix}: choose {known}")
            if step is not None and not step > 0:
                raise UsageError(f"--step is {step:g}: expected a length above 0 mm")
            found = find_result(run, workspace)
            export_surface(read_results(found), out, step, close_walls)
            typer.echo(result_line(which_result(str(found), workspace)))
            typer.echo(f"Wrote {out}: {known_kinds[out.suffix.lower()]}")
            return
        from capture.verify import open_unharmed
        from rig.imports import export_capture
        from rig.workspace import Workspace

        recording = open_unharmed(Workspace.at(workspace).recording(run))
        export_capture(recording, out, exposure)
        typer.echo(f"{len(recording.leds)} pictures are now in {out}")


def _export_recording(run: str, out: Path, workspace: Path | None) -> Path:
    """The whole recording as one file, or for a viewer that moves the light."""
    from capture.verify import open_unharmed
    from rig.workspace import Workspace

    recording = open_unharmed(Workspace.at(workspace).recording(run))
    if out.suffix.lower() in HDF5:
        from capture.exchange.hdf5 import write_hdf5

        return write_hdf5(recording, out)
    from rig.relighting import export_relighting

    return export_relighting(recording, out, workspace)


def _still_to_name(recording: Recording, workspace: Path | None) -> str:
    """Options that a reconstruction needs because nobody knows the camera or the lights."""
    from rig.workspace import Workspace

    known = Workspace.at(workspace).calibration
    missing = ""
    if recording.camera_path is None and not (known / "camera.json").is_file():
        missing += " --field-mm WIDTH"
    if recording.lights_path is None and not (known / "lights.json").is_file():
        missing += " --lights FILE"
    return missing


def _export_store(
    part: str, part_type: str, out: Path | None, workspace: Path | None, dfq: bool
) -> None:
    import sys

    from capture.claim import claim, is_there
    from rig.exits import UsageError
    from rig.floor.interfaces.qdas import write_dfq
    from rig.floor.store.store import Filter, open_store
    from rig.floor.store.words import write_csv
    from rig.workspace import Workspace

    write = write_dfq if dfq else write_csv
    with open_store(Workspace.at(workspace)) as store:
        runs = store.each(Filter(part=part, part_type=part_type))
        if out is None:
            write(runs, sys.stdout)
            return
        encoding = "utf-8-sig" if dfq else "utf-8"
        if is_there(out):
            raise UsageError(f"{out} exists already and is kept: name another --out")
        with claim(out) as claimed:
            with claimed.file.open("w", encoding=encoding, newline="") as stream:
                count = write(runs, stream)
            claimed.publish_files()
    typer.echo(f"{count} results are now in {out}")
