"""A small virtual rig, a workspace full of results, and a real PostgreSQL."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rig.workspace import Workspace

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


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.at(tmp_path)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a database in a cluster of its own, that an ordinary user runs in a new folder."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    pytest.importorskip("pg8000", reason="pg8000 is not installed: pip install '.[postgresql]'")
    bin_folder = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="rig-postgresql-"))
    options: dict[str, Any] = {"check": True, "capture_output": True, "cwd": folder}
    if os.geteuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam("nobody")
        shutil.chown(folder, user.pw_uid, user.pw_gid)
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    control = [bin_folder / "pg_ctl", "-D", data, "-w"]
    serve = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
    try:
        subprocess.run(
            [bin_folder / "initdb", "-D", data, "-U", "rig", "-A", "trust", "--no-sync",
             "-E", "UTF8", "--locale", "C"], **options,
        )  # fmt: skip
        log = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "capture_output": False}
        subprocess.run([*control, "-o", serve, "-l", folder / "log", "start"], **options | log)
        try:
            yield f"postgresql://rig@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **options | log)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
