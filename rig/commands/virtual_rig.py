"""``rig virtual-rig``: a rig to rehearse on, that drivers cannot tell from a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rig.commands import options as shared

EXAMPLE = (
    "Example: rig init --virtual-rig, then rig virtual-rig, and in another terminal rig doctor"
)


def register(app: typer.Typer) -> None:
    """Add the command and its subcommands."""
    group = typer.Typer(invoke_without_command=True, epilog=EXAMPLE)
    group.callback()(virtual_rig)
    group.command(epilog="Example: rig virtual-rig place ball --x 20 --y -10")(place)
    group.command(epilog="Example: rig virtual-rig fault late-edge@5")(fault)
    group.command(epilog="Example: rig virtual-rig status --json")(status)
    app.add_typer(group, name="virtual-rig")


class Asked(NamedTuple):
    """The options of `rig virtual-rig`."""

    workspace: shared.Workspace = None
    part: Annotated[
        str | None,
        typer.Option(help="Part that stays on the stage. Default: the one that a command names."),
    ] = None
    leds: Annotated[int, typer.Option(min=1, max=4096, help="How many LEDs the dome has.")] = 96
    size: shared.PictureSize = "512"
    camera: Annotated[
        list[str] | None,
        typer.Option(help="A camera and its habits, as names=older,exposure_step_us=17. Repeat."),
    ] = None
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong, as late-edge@5. Repeat. See docs/capture.md."),
    ] = None
    firmware: Annotated[
        str, typer.Option(help="auto, native (the compiled C++ reference) or python.")
    ] = "auto"
    stepped: Annotated[
        bool, typer.Option("--stepped", help="Time stands still but for what is due.")
    ] = False
    prepared_mb: Annotated[
        int, typer.Option(min=0, help="MB for pictures made once and sent again: for timing.")
    ] = 0
    hands_off: Annotated[
        bool,
        typer.Option("--hands-off", help="Nothing is laid on the stage but by 'place'."),
    ] = False
    seed: shared.Seed = 0


@shared.taken_apart
def virtual_rig(context: typer.Context, asked: Asked) -> None:
    """Run a virtual rig: LED board, camera and what they see, for other programs to use.

    It lives in the workspace's folder virtual/, where 'rig init --virtual-rig' makes rig.yaml look
    for it. The board is a serial port, the camera a GenTL producer that any consumer can load.
    """
    if context.invoked_subcommand is not None:
        return
    from capture.fault_names import fault_named
    from capture.faults import NONE
    from capture.gentl.features import Model, model_of
    from rig.config import picture_shape
    from rig.exits import UsageError
    from rig.virtual_rig import Options, run

    faults = NONE
    for text in asked.fault or []:
        faults = fault_named(text, base=faults)
    try:
        models = tuple(model_of(text) for text in asked.camera or []) or (Model(),)
    except ValueError as error:
        raise UsageError(f"--camera: {error}") from None
    if asked.firmware not in ("auto", "native", "python"):
        raise UsageError(f"--firmware {asked.firmware}: it is auto, native or python")
    run(
        Options(
            workspace=asked.workspace,
            part=asked.part,
            led_count=asked.leds,
            shape=picture_shape(asked.size),
            seed=asked.seed,
            cameras=models,
            faults=faults,
            hands_off=asked.hands_off,
            firmware=asked.firmware,
            stepped=asked.stepped,
            prepared_bytes=asked.prepared_mb * 1_000_000,
        )
    )


def _ask(workspace: Path | None, order: dict[str, object]) -> dict[str, object]:
    from capture.errors import DeviceError
    from capture.gentl.build import PRODUCER
    from rig.stagehand import NOT_RUNNING, Stagehand, socket_beside
    from rig.virtual_rig import FOLDER
    from rig.workspace import Workspace

    socket = socket_beside(str(Workspace.at(workspace).folder / FOLDER / PRODUCER))
    if socket is None:
        raise DeviceError(NOT_RUNNING)
    return Stagehand(socket).ask(order)


def place(
    what: Annotated[str, typer.Argument(help="ball, plate, empty, or the name of a part.")],
    x: Annotated[float, typer.Option(help="Of the ball, mm.")] = 0.0,
    y: Annotated[float, typer.Option(help="Of the ball, mm.")] = 0.0,
    sphere_diameter: Annotated[float, typer.Option(help="Of the ball, mm.")] = 25.4,
    room_light: Annotated[bool, typer.Option("--room-light", help="With the room lit.")] = False,
    workspace: shared.Workspace = None,
) -> None:
    """Lay something on the stage of the virtual rig that is running."""
    order: dict[str, object] = {"do": "place", "what": what, "room_light": room_light}
    if what == "ball":
        order |= {"x_mm": x, "y_mm": y, "radius_mm": sphere_diameter / 2}
    elif what not in ("plate", "empty"):
        order |= {"what": "part", "name": what}
    print(f"On the stage: {_ask(workspace, order)['stage']}")


def fault(
    names: Annotated[
        list[str] | None, typer.Argument(help="As late-edge@5: the sixth edge from now.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Nothing is wrong any more.")] = False,
    workspace: shared.Workspace = None,
) -> None:
    """Let something go wrong on the virtual rig that is running; without a name, list them."""
    from capture.fault_names import KINDS

    if repair:
        _ask(workspace, {"do": "repair"})
    for name in names or []:
        _ask(workspace, {"do": "fault", "name": name})
    if not names and not repair:
        for name, kind in KINDS.items():
            print(f"  {name:<16} {kind.what} (counted by {kind.counts})")


def status(workspace: shared.Workspace = None, as_json: shared.Json = False) -> None:
    """Say what lies on the stage of the virtual rig that is running, and what shines."""
    import json

    found = _ask(workspace, {"do": "status"})
    if as_json:
        print(json.dumps(found))
        return
    lit = found["lit"]
    shining = ", ".join(map(str, lit)) if isinstance(lit, list) and lit else "none"
    print(f"stage {found['stage']}; LEDs lit: {shining}; {found['firmware']} firmware")
