"""One reader of ``.lp`` files for every room."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake.errors import InputError
from intake.lp import LightList, format_lp, parse_lp, read_lp


@pytest.mark.parametrize(
    "text",
    [
        "2\na b.png 1 2 3\nc.png -4 5e-1 6",
        "a b.png 1 2 3\r\nc.png\t-4\t0.5\t6\r\n\r\n",
        "2\ra b.png 1 2 3\rc.png -4 .5 6\r",
        "\ufeff2\n# comment\na b.png 1,0 2,0 3,0\nc.png -4 0,5 6\n",
        "2\na b.png, 1, 2, 3\nc.png, -4, .5, 6\n",
        "a b.png, 1,0, 2,0, 3,0\nc.png, -4,0, 0,5, 6,0\n",
        "a b.png,1,0,2,0,3,0\nc.png,-4,0,0,5,6,0\n",
        "a b.png;1;2;3\nc.png;-4;0,5;6",
        '2\n"a b.png" 1 2 3\n"c.png" -4 0.5 6',
    ],
)
def test_dialects(text: str) -> None:
    found = parse_lp(text)
    assert found.names == ("a b.png", "c.png")
    np.testing.assert_array_equal(found.xyz, [[1, 2, 3], [-4, 0.5, 6]])
    assert not found.remarks


def test_a_wrong_count_is_said_and_the_lines_count() -> None:
    found = parse_lp("97\na 1 2 3\nb 4 5 6", "dome.lp")
    assert len(found.names) == 2
    assert "announces 97 lights" in found.remarks[0]
    assert "lists 2" in found.remarks[0]


def test_a_list_may_name_no_pictures_at_all() -> None:
    assert parse_lp("1 2 3\n4 5 6\n").names == ("", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no light"),
        ("5", "no light"),
        ("a 1 2 3\na 4 5 6", "'a' twice"),
        ("a 1 2", "line 1"),
        ("2\na 1 2 3\nb 1 nan 3", "line 3"),
        ("a 1 2 inf", "line 1"),
        ("a 1 2 1e300", "line 1"),
        ("a 0 0 0", "light 1"),
        ("a,1,2,3,4", "two ways"),
        ("a 1 2 3\n4 5 6", "line 2.*name is missing"),
        ("a 1 2 3\n" + "ä" * 128 + " 4 5 6", "line 2: a name of 128 letters"),
    ],
)
def test_faults_are_named(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_lp(text)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_. -]{0,12}[A-Za-z_]", fullmatch=True)
NUMBERS = st.floats(-1e11, 1e11)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, NUMBERS, NUMBERS, NUMBERS), min_size=1, unique_by=lambda t: t[0]))
def test_what_is_written_is_read(rows: list[tuple[str, float, float, float]]) -> None:
    rows = [row for row in rows if any(row[1:])] or [("a", 1.0, 2.0, 3.0)]
    lights = LightList(tuple(r[0] for r in rows), np.array([r[1:] for r in rows]))
    again = parse_lp(format_lp(lights))
    assert again.names == lights.names
    np.testing.assert_array_equal(again.xyz, lights.xyz)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_lp(text)
    except InputError:
        return
    assert len(found.names) == len(found.xyz) > 0


def test_other_encodings_are_read(tmp_path) -> None:
    path = tmp_path / "a.lp"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        path.write_bytes("Stück.png 1 2 3\n".encode(encoding))
        assert read_lp(path).names == ("Stück.png",)
