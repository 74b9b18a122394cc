"""A small virtual rig of plates, results as `rig run` leaves them, and a real PostgreSQL."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture.world import Scene
from reconstruct.optics.material import Material
from reconstruct.shapes.base import Shape
from rig.config import Config
from rig.simulate import VirtualRig, part_scene, scene_of

STOPPED = "flat-to-be-stopped"  # the `worker`'s recording of it goes on only once it is stopped
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def lay_result(workspace: Path, part: str, minute: int, **verdict: Any) -> Path:
    """A result's folder as `rig run` leaves it, without its maps."""
    when = BEGIN + timedelta(minutes=minute)
    run = workspace / "parts" / part / when.strftime("%Y%m%dT%H%M%SZ")
    result = run / "results" / "01"
    result.mkdir(parents=True)
    (run / "frames").mkdir()
    (run / "frames" / "0000_led001.tif").write_bytes(b"\0" * 1000)
    summary = {"format": "rig-result/1", "method": "refine", "version": "0.1.0", "part": part}
    (result / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    said = {
        "format": "rig-verdict/1", "part": part, "verdict": "good", "exit_code": 0,
        "measured_at": when.isoformat(), "figures": {"mean_height_mm": 2.5},
        "seconds": {"total": 4.2}, "notes": [], **verdict,
    }  # fmt: skip
    (result / "verdict.json").write_text(json.dumps(said), encoding="utf-8")
    return result


@dataclass
class Cluster:
    """A PostgreSQL of its own: `start` it, `kill` it as kill -9 does."""

    url: str
    control: list[Any]
    data: Path
    options: dict[str, Any]

    def start(self) -> None:
        port = self.url.rsplit(":", 1)[1].partition("/")[0]
        serve = f"-p {port} -c listen_addresses=127.0.0.1 -k {self.data.parent} -c fsync=off"
        self._run("-o", serve, "-l", self.data.parent / "log", "start")

    def stop(self) -> None:
        self._run("-m", "immediate", "stop")

    def kill(self) -> None:
        pid = (self.data / "postmaster.pid").read_text().split()[0]
        served = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for number in (pid, *served):  # a session that outlives its server keeps the next one out
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)
        while any(Path(f"/proc/{number}").exists() for number in (pid, *served)):
            os.sched_yield()

    def _run(self, *words: Any) -> None:
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([*self.control, *words], **self.options | silent)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that an ordinary user runs in a new folder; skips where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    pytest.importorskip("pg8000", reason="pg8000 is not installed: pip install '.[postgresql]'")
    bin_folder = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="rig-postgresql-"))
    options: dict[str, Any] = {"check": True, "cwd": folder}
    if os.geteuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam("nobody")
        shutil.chown(folder, user.pw_uid, user.pw_gid)
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    url = f"postgresql://rig@127.0.0.1:{port}/postgres"
    made = Cluster(url, [bin_folder / "pg_ctl", "-D", data, "-w"], data, options)
    try:
        subprocess.run(
            [bin_folder / "initdb", "-D", data, "-U", "rig", "-A", "trust", "--no-sync",
             "-E", "UTF8", "--locale", "C"], **options, capture_output=True,
        )  # fmt: skip
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finished(worker: Any, number: int) -> dict[str, Any]:
    """The ticket once it has ended."""
    seen = -1
    while True:
        state = worker.state()
        for ticket in state["finished"]:
            if ticket["number"] == number:
                return ticket
        seen = worker.wait(seen, 60)


LEDS, SIZE = 24, 64


def plate_scene_of(small: VirtualRig) -> Callable[[Config, str, int], Scene]:
    """What a small virtual rig sees of a part, by the name of the part."""

    def scene(config: Config, part: str, seed: int) -> Scene:
        kind = part.split("-")[0]
        if kind not in ("flat", "dented", "tilted"):
            return scene_of(part or "field", rig=small, bounce=False)
        return part_scene(small, Shape(part, PLATES[kind]), Material.lambertian(0.6), bounce=False)

    return scene


def _plate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.02 * np.sin(x / 9) * np.cos(y / 11)


PLATES = {
    "flat": _plate,
    "dented": lambda x, y: _plate(x, y) - 2.0 * np.exp(-(x**2 + y**2) / (2 * 6.0**2)),
    "tilted": lambda x, y: _plate(x, y) + np.where(x > 0, 0.08 * x, 0.0),
}
