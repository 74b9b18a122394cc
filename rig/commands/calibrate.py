"""``rig calibrate-camera``, ``rig calibrate-lights`` and ``rig check``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rig.commands import options


def _one_thread() -> None:
    """Keep linear algebra to one thread: on matrices of 600 more of them only get in the way."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


class CameraAsked(NamedTuple):
    """The options of `rig calibrate-camera`."""

    source: Annotated[
        Path | None, typer.Option("--from", help="Folder with pictures of the board.")
    ] = None
    target: Annotated[
        Path | None, typer.Option(help="Write a target to print (PDF), and stop.")
    ] = None
    board: Annotated[str, typer.Option(help="Squares of the board, across x down.")] = "13x9"
    square: Annotated[float, typer.Option(help="Side of a square, mm.")] = 15.0
    kind: Annotated[str, typer.Option(help="charuco or chessboard.")] = "charuco"
    paper: Annotated[str, typer.Option(help="Paper of the target: A3, A4, A5, Letter.")] = "A4"
    stage: Annotated[
        str | None,
        typer.Option(help="Picture with the board flat on the stage. Default: the last."),
    ] = None
    thickness: Annotated[float, typer.Option(help="Of the board lying on the stage, mm.")] = 0.0
    views: Annotated[int, typer.Option(min=4, help="Pictures to take, live.")] = 12
    out: Annotated[Path | None, typer.Option(help="Default: calibration/camera.json.")] = None
    replace: Annotated[
        bool, typer.Option("--replace", help="Put a file that exists into history/.")
    ] = False
    workspace: options.Workspace = None
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Use the virtual rig, with a virtual board.")
    ] = False
    size: options.Size = None
    seed: options.Seed = 0
    yes: Annotated[bool, typer.Option("--yes", help="Do not wait for Enter between views.")] = False


class LightsAsked(NamedTuple):
    """The options of `rig calibrate-lights`."""

    source: Annotated[
        Path | None,
        typer.Option("--from", help="Pictures that exist: one subfolder per place."),
    ] = None
    sphere_diameter: Annotated[
        float | None, typer.Option(help="Diameter of the mirror ball, mm.")
    ] = None
    plate: Annotated[
        Path | None, typer.Option(help="Pictures of a matt white plate, one per LED.")
    ] = None
    plate_reflectance: Annotated[
        float | None,
        typer.Option(
            help="Of the plate, 0..1: makes intensity absolute.", callback=options.reflectance
        ),
    ] = None
    plate_height: Annotated[float, typer.Option(help="Of the plate's surface, mm.")] = 0.0
    nominal: Annotated[Path | None, typer.Option(help="Drawing of the dome, as a prior.")] = None
    nominal_sigma: Annotated[
        float, typer.Option(help="How far LEDs may be off the drawing, mm.")
    ] = 5.0
    positions: Annotated[
        Path | None, typer.Option(help="Known positions: only powers are solved.")
    ] = None
    camera: Annotated[
        Path | None, typer.Option(help="camera.json, where the pictures have none.")
    ] = None
    focal: Annotated[
        float | None,
        typer.Option(min=1, help="Focal length in px, for photographs without camera.json."),
    ] = None
    spheres: Annotated[
        int | None, typer.Option(min=1, help="Balls per picture. Default: found.")
    ] = None
    out: Annotated[
        Path | None, typer.Option(help="Light file: .json, .yaml, .lp, .dome or .txt.")
    ] = None
    replace: Annotated[
        bool, typer.Option("--replace", help="Put a file that exists into history/.")
    ] = False
    workspace: options.Workspace = None
    poses: Annotated[int, typer.Option(min=2, help="Places of the ball, live.")] = 6
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Use the virtual rig, with a virtual ball.")
    ] = False
    size: options.Size = None
    seed: options.Seed = 0
    leds: Annotated[str | None, typer.Option(help="LEDs, as 1-96 or 1,5,9-12.")] = None
    yes: Annotated[bool, typer.Option("--yes", help="Do not wait for Enter between places.")] = (
        False
    )


def register(app: typer.Typer) -> None:
    @app.command(
        name="calibrate-lights",
        epilog="Example: rig calibrate-lights --from mirror --sphere-diameter 25.4 --plate white",
    )
    @options.taken_apart
    def calibrate_lights(asked: LightsAsked) -> None:
        """Find where the LEDs are, where they point and how strong they are.

        From pictures of a mirror ball in two or more places, best with a matt white plate, taken
        now or with --from. Exit codes: 0 good, 1 some LEDs could not be solved, 2 usage, 3 device,
        4 data.
        """
        _one_thread()
        from rig.calibrating import Order, from_pictures

        order = Order(
            source=asked.source,
            diameter_mm=asked.sphere_diameter,
            plate=asked.plate,
            plate_reflectance=asked.plate_reflectance,
            plate_height_mm=asked.plate_height,
            nominal=asked.nominal,
            nominal_sigma_mm=asked.nominal_sigma,
            positions=asked.positions,
            camera=asked.camera,
            focal_px=asked.focal,
            spheres=asked.spheres,
            out=asked.out,
            replace=asked.replace,
            workspace=asked.workspace,
            poses=asked.poses,
            simulate=asked.simulate,
            size=asked.size,
            seed=asked.seed,
            leds=asked.leds,
            yes=asked.yes,
        )
        if asked.source is not None or asked.positions is not None:
            raise typer.Exit(from_pictures(order))
        from rig.calibrating_live import live

        raise typer.Exit(live(order))

    @app.command(
        name="calibrate-camera",
        epilog="Example: rig calibrate-camera --from boards --board 13x9 --square 15",
    )
    @options.taken_apart
    def calibrate_camera(asked: CameraAsked) -> None:
        """Find the camera's lens and the pose of the stage from pictures of a flat board.

        Exit codes: 0 good, 2 usage, 3 device, 4 the pictures do not fix the camera (and which
        tilt is missing).
        """
        from rig.calibrating_camera import Order, run

        code = run(
            Order(
                source=asked.source,
                target=asked.target,
                board=asked.board,
                square_mm=asked.square,
                kind=asked.kind,
                stage=asked.stage,
                thickness_mm=asked.thickness,
                out=asked.out,
                replace=asked.replace,
                workspace=asked.workspace,
                simulate=asked.simulate,
                size=asked.size,
                views=asked.views,
                paper=asked.paper,
                seed=asked.seed,
                yes=asked.yes,
            )
        )
        raise typer.Exit(code)

    @app.command(epilog="Example: rig check --simulate --sphere-diameter 25.4")
    def check(
        plate: Annotated[
            Path | None, typer.Option(help="Pictures of the white plate that exist.")
        ] = None,
        ball: Annotated[
            Path | None, typer.Option(help="Pictures of the mirror ball that exist.")
        ] = None,
        sphere_diameter: Annotated[
            float | None, typer.Option(help="Of the mirror ball, mm: check with it too.")
        ] = None,
        lights: Annotated[
            Path | None, typer.Option(help="Default: calibration/lights.json.")
        ] = None,
        camera: Annotated[
            Path | None, typer.Option(help="Default: calibration/camera.json.")
        ] = None,
        workspace: options.Workspace = None,
        simulate: options.Simulate = False,
        size: options.Size = None,
        seed: options.Seed = 0,
        yes: Annotated[bool, typer.Option("--yes", help="Do not wait for Enter.")] = False,
    ) -> None:
        """Hold a quick set of pictures against the calibration.

        Finds dead, dim, swapped and moved LEDs, a shifted camera or stage, and a camera that is
        not linear. Exit codes: 0 all as calibrated, 1 something changed, 2 usage, 3 device, 4 data.
        """
        _one_thread()
        from rig.checking import Order, run

        code = run(
            Order(
                plate=plate,
                ball=ball,
                diameter_mm=sphere_diameter,
                lights=lights,
                camera=camera,
                workspace=workspace,
                simulate=simulate,
                size=size,
                seed=seed,
                yes=yes,
            )
        )
        raise typer.Exit(code)
