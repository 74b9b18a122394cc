"""What `rig doctor` says of the virtual rig: is its producer built, and does it run?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capture.errors import DeviceError
from capture.gentl.build import PRODUCER, firmware_file, producer_file
from rig.config import Config
from rig.doctor import Finding
from rig.stagehand import NOT_RUNNING, Stagehand, is_virtual, socket_beside


def check_virtual_rig(config: Config | None) -> Iterator[Finding]:
    """Whether ``rig virtual-rig`` can run here, and runs where rig.yaml counts on it."""
    wanted = config is not None and is_virtual(config)
    if producer_file() is None:
        yield Finding(
            "virtual rig",
            "bad" if wanted else "note",
            f"its GenTL producer {PRODUCER} is not built",
            "to rehearse with it, install a C compiler (apt install gcc) and this program again",
        )
    if config is None or not wanted:
        if producer_file() is not None:
            firmware = "C++" if firmware_file() is not None else "Python"
            yield Finding("virtual rig", "good", f"{PRODUCER} is built, {firmware} firmware")
        return
    socket = socket_beside(config.camera.producer)
    try:
        if socket is None:
            raise DeviceError(NOT_RUNNING)
        status = Stagehand(socket).ask({"do": "status"})
    except DeviceError:
        folder = Path(config.camera.producer or "").parent
        yield Finding(
            "virtual rig",
            "bad",
            f"the one in {folder} does not run",
            "start 'rig virtual-rig' in another terminal",
        )
        return
    yield Finding(
        "virtual rig",
        "good",
        f"runs with {status['stage']} on its stage, {status['firmware']} board",
    )
