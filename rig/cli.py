"""The command line: registers the commands and turns errors into sentences and exit codes."""

from __future__ import annotations

import importlib
import os
import sys

import typer

from rig.exits import exit_code, in_words

# Threads that wait for work sleep. By default they spin, which costs a third of the processor time
# of a reconstruction and takes it from the camera and whatever else runs. Read when the libraries
# are loaded, hence before any of them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

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
    "train",
    "run",
    "plan",
    "store",
    "live",
    "doctor",
    "demo",
)

app = typer.Typer(
    name="rig",
    help="Photometric stereo for metal parts: capture, calibrate, reconstruct in millimetres.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root() -> None:
    """Photometric stereo for metal parts: capture, calibrate, reconstruct in millimetres."""


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
    """Run the command line; known errors become one sentence on stderr and an exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it finds wrong, we say ourselves
    try:
        app()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        print(f"rig: {in_words(error)}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    main()
