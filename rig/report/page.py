"""One self-contained HTML page out of a template, styles, scripts and data."""

from __future__ import annotations

import base64
import html
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def asset(name: str) -> str:
    """Text of a file that ships beside this module."""
    return files("rig.report").joinpath(name).read_text(encoding="utf-8")


def floats(values: NDArray[Any]) -> str:
    """Little-endian float32 as base64, for `floats()` of page.js."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")


def plain(value: Any) -> Any:
    """The value with numpy types, paths and non-finite numbers turned into what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str | int | float) or value is None:
        return value
    return str(value)


def script_json(data: Any) -> str:
    """JSON that may stand inside a script element (``</`` and ``<!--`` cannot end it)."""
    return json.dumps(plain(data), allow_nan=False).replace("<", "\\u003c")


def write_page(
    path: Path,
    *,
    title: str,
    body: str,
    script: str,
    data: Any,
    blobs: Iterable[tuple[str, str]] = (),
) -> None:
    """Write a page that opens offline: styles, three.js, our script and the data are inside it.

    Written beside `path` first and then moved, so that a reader never meets half a page.

    Parameters
    ----------
    blobs : names and base64 texts that the script asks for when it needs them; they stand last,
        so that the page is there before them
    """
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
{asset("page.css")}
</style>
</head>
<body>
{body}
<script type="application/json" id="data">{script_json(data)}</script>
<script>{asset("vendor/three.bundle.min.js")}</script>
<script>
{asset("page.js")}
{script}
</script>
"""
    temporary = path.with_name(path.name + ".part")
    # A folder's name need not be text: its odd bytes are shown as \\udce4.
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(page)
        for name, text in blobs:
            stream.write(f'<script type="text/plain" id="{html.escape(name)}">{text}</script>\n')
        stream.write("</body>\n</html>\n")
    os.replace(temporary, path)
