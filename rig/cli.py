"""The command line: registers the commands and turns errors into sentences and exit codes."""

from __future__ import annotations

import copy
import gc
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from capture.leds.lights_off import exit_on_signals
from rig.exits import DATA, GOOD, INTERRUPTED, UNFORESEEN, USAGE, failure, in_words
from rig.logs import LOG, begin, program_version
from rig.streams import drop_output, mend_standard_streams

# Loading libraries makes a million objects that stay: looking through them for garbage every 700
# took a tenth of the time of a short command.
gc.set_threshold(50_000)

# One module of rig.commands each, in the order of the help page; each offers `register(app)`.
COMMANDS = (
    "init",
    "devices",
    "board",
    "virtual_rig",
    "capture",
    "verify",
    "exchange",
    "calibrate",
    "reconstruct",
    "evaluate",
    "benchmark",
    "merge",
    "train",
    "run",
    "plan",
    "inspect",
    "accept",
    "reprocess",
    "store",
    "study",
    "serve",
    "live",
    "doctor",
    "demo",
)

app = typer.Typer(
    name="rig",
    help="Photometric stereo for metal parts: capture, calibrate, reconstruct in millimetres.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rig {program_version()}")
        raise typer.Exit(GOOD)


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and end."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what is done, on the error output.")
    ] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="Append all that is done to this file.")
    ] = None,
) -> None:
    """Photometric stereo for metal parts: capture, calibrate, reconstruct in millimetres."""
    begin(verbose, log_file, sys.argv[1:])


def _register_all() -> None:
    for name in COMMANDS:
        try:
            module = importlib.import_module(f"rig.commands.{name}")
        except ModuleNotFoundError as error:
            if error.name == f"rig.commands.{name}":
                continue
            raise
        module.register(app)


_register_all()


def main() -> None:
    """Run the command line and end with its exit code; nothing but a verdict ends with 1."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it finds wrong, we say ourselves
    mend_standard_streams()
    started = time.monotonic()
    code = _answered(sys.argv[1:])
    LOG.info("ended with %d after %.1f s", code, time.monotonic() - started)
    try:
        sys.stdout.flush()
    except OSError as error:  # what was printed could not be kept: a full disk
        drop_output()
        if code == GOOD:
            code = DATA
            print(f"rig: {in_words(error)}", file=sys.stderr)
    gc.freeze()  # the interpreter's last look for garbage would take 0.7 s with torch loaded
    sys.exit(code)


def _with_the_asked(arguments: list[str]) -> typer.Typer:
    """The program with the command alone that was typed, if there is one: all take a while."""
    first = next((word for word in arguments if not word.startswith("-")), "")
    alone = copy.copy(app)
    alone.registered_commands = [
        known for known in app.registered_commands
        if known.callback and first in (known.name, known.callback.__name__.replace("_", "-"))
    ]  # fmt: skip
    alone.registered_groups = [known for known in app.registered_groups if known.name == first]
    return alone if alone.registered_commands or alone.registered_groups else app


def _answered(arguments: list[str]) -> int:
    """Carry out what was typed; the exit code."""
    command = typer.main.get_command(_with_the_asked(arguments))
    try:
        with exit_on_signals(), command.make_context("rig", list(arguments)) as context:
            command.invoke(context)
        return GOOD
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:
        # A verdict comes as an Exit: whoever else ends the program with 1 did not foresee it.
        return end.code if isinstance(end.code, int) and end.code != 1 else UNFORESEEN
    except Exception as error:
        show = getattr(error, "show", None)
        if callable(show):  # a mistake in what was typed, which typer words itself
            show()
            return USAGE
        LOG.debug("ended by an error", exc_info=error)
        code, sentence = failure(error, _workspace(arguments))
        print(f"rig: {sentence}", file=sys.stderr)
        return code


def _workspace(arguments: list[str]) -> Path:
    """The workspace that was typed; it may not be one."""
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--workspace" and equals:
            return Path(value)
        if argument == "--workspace" and number + 1 < len(arguments):
            return Path(arguments[number + 1])
    return Path()
