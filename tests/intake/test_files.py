"""Bytes, text, JSON and YAML of files that nobody vetted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from intake.errors import InputError, MissingError
from intake.files import read_bytes, read_text
from intake.trees import MAX_DEPTH, parse_json, parse_yaml, read_object


def test_text_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    for coding in ("utf-8", "utf-8-sig", "utf-16"):
        file.write_bytes("Prüfstück\n".encode(coding))
        assert read_text(file) == "Prüfstück\n"


def test_text_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes("ja\nPrüfstück\n".encode("latin-1"))
    with pytest.raises(
        InputError, match=r"no UTF-8 text \(byte 0xfc in line 2\): save it as UTF-8"
    ):
        read_text(file)
    assert read_text(file, fallback="latin-1") == "ja\nPrüfstück\n"


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="there is no file"):
        read_bytes(tmp_path / "none")
    with pytest.raises(InputError, match="is a folder: name a file"):
        read_bytes(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe or a device: name a file"):
        read_bytes(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="a link that leads back to itself"):
        read_bytes(tmp_path / "loop")
    (tmp_path / "large").write_bytes(bytes(3 * 2**20))
    with pytest.raises(InputError, match="holds 3 MB, expected 2 MB or less"):
        read_bytes(tmp_path / "large", 2 * 2**20)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "nested too deeply"),
        ('{"a": NaN}', "holds NaN, which is no number"),
        ('{"a": -Infinity}', "holds -Infinity, which is no number"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": ', "is not JSON"),
    ],
)
def test_json_that_cannot_be_walked_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_json(text, "it")


def test_a_json_object_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("[1, 2]")
    with pytest.raises(InputError, match="holds no JSON object"):
        read_object(file)
    file.write_text('\ufeff{"a": 1}', encoding="utf-8")
    assert read_object(file) == {"a": 1}


def _repeated() -> str:
    lines = ["a: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for level in range(1, 12):
        lines.append(f"b{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("- " * 1000 + "a", "nested too deeply"),
        ("a: &a [*a]", "repeats itself"),
        (_repeated(), "repeats itself"),
        ("a: .inf", "holds inf"),
        ("a: " + "9" * 5000, "not YAML"),
        ('a: !!int ""', "not YAML"),
        ("a: !!bool x", "not YAML"),
        ("a: !!timestamp x", "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("a: [", "not YAML at line"),
        ("? [1]\n: 2", "not YAML"),
    ],
)
def test_yaml_that_cannot_be_walked_is_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_yaml(text, "it")
