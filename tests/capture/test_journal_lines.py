"""Fields of a journal and its sums: what is made of them, and which line is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.errors import DataError
from capture.journal import JOURNAL, read_journal, read_sums, relative_exposure


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"exposure": 0.25, "exposure_us": 9e9, "gain_db": 6.0}, 0.25),
        ({"exposure_us": 4000.0}, 4.0),
        ({"exposure_us": 4000.0, "gain_db": None}, 4.0),
        ({"exposure_us": 4000.0, "gain_db": 20.0}, 40.0),
    ],
)
def test_counts_are_divided_by_exposure_and_gain(data: dict, expected: float) -> None:
    assert relative_exposure(data) == pytest.approx(expected)


@pytest.mark.parametrize("data", [{"exposure": 0.0}, {"exposure_us": -1.0}, {"exposure": 1e13}])
def test_an_exposure_that_cannot_be_is_refused(data: dict) -> None:
    with pytest.raises(ValueError, match="exposure"):
        relative_exposure(data)


def test_a_list_of_checksums_says_which_line_is_damaged(tmp_path: Path) -> None:
    line = f"{'0' * 64}  frames/a.tif"
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{line}\n")
    assert read_sums(tmp_path) == {"frames/a.tif": "0" * 64}
    for damaged in (line[1:], line.replace("  ", " ")):
        sums.write_text(f"{line}\n{damaged}\n")
        with pytest.raises(DataError, match=r"SHA256SUMS is damaged at line 2$"):
            read_sums(tmp_path)


@pytest.mark.parametrize("name", ["{x}", "a{}b", "{3F25-04E0}", "{0}"])
def test_a_journal_lies_in_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    start = '{"event": "start", "format": "rig-recording/1", "bits": 12}\n'
    (folder / JOURNAL).write_text(start)
    assert read_journal(folder / JOURNAL)[0][0]["bits"] == 12
    (folder / JOURNAL).write_text(start.replace("12", "99") + start)
    with pytest.raises(DataError, match="is damaged at line 1: bits"):
        read_journal(folder / JOURNAL)
