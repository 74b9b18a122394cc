"""The program as it is typed, in the process of the tests."""

from __future__ import annotations

import pytest

from rig.cli import main


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    """``rig …``: its exit code, and what it wrote to the two streams."""
    monkeypatch.setattr("sys.argv", ["rig", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err
