"""rig.yaml: what it holds, and that every mistake in it is named at once, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rig.config import TEMPLATE, Config, ConfigError, parse_config, read_config
from rig.exits import UsageError

MINIMAL = "board: {port: COM3}\ncamera: {serial: 'A1'}\n"


def mistakes(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_the_template_is_valid_and_means_the_defaults() -> None:
    config = parse_config(TEMPLATE)
    defaults = Config.model_validate(
        {"board": {"port": "sim://rig"}, "camera": {"producer": "sim://rig"}}
    )
    assert config == defaults
    assert config.default_plan().leds == tuple(range(1, 97))


def test_the_template_names_every_setting() -> None:
    data = yaml.safe_load(TEMPLATE)
    assert list(data) == list(Config.model_fields)
    for name in ("board", "camera", "stage", "plan", "calibration"):
        assert list(data[name]) == list(Config.model_fields[name].annotation.model_fields), name


def test_a_configuration_cannot_be_changed() -> None:
    config = parse_config(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        config.board.baud = 9600  # type: ignore[misc]


def test_all_mistakes_are_named_at_once_with_their_lines() -> None:
    found = mistakes(
        "board:\n  port: COM3\n  bauds: 9600\n  leds: many\ncamera:\n  exposre_ms: 3\n"
        "plan:\n  level: 2\nstagee: {}\n"
    )
    assert found["board.bauds"] == "board.bauds (line 3): is unknown; did you mean 'baud'?"
    assert "(line 4)" in found["board.leds"]
    assert "'many'" in found["board.leds"]
    assert "did you mean 'exposure_ms'" in found["camera.exposre_ms"]
    assert "less than or equal to 1" in found["plan.level"]
    assert "did you mean 'stage'" in found["stagee"]
    assert len(found) == 5


def test_an_unknown_key_like_none_lists_the_known_ones() -> None:
    assert (
        "known are port, baud" in mistakes("board: {port: a, zzzz: 1}\ncamera: {}\n")["board.zzzz"]
    )


def test_a_missing_key_is_named() -> None:
    assert set(mistakes("board: {baud: 9600}\n")) == {"board.port", "camera"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("exposure_ms: 1e3", "text: write 1000 without quotes"),
        ("exposure_ms: on", "reads on as true"),
        ("exposure_ms: 12:30", "reads 12:30 as 750"),
        ("exposure_ms: '8'", "text: write 8 without quotes"),
        ("exposure_ms: .inf", "finite"),
        ("exposure_ms: .nan", "finite"),
        ("exposure_ms:", "it is empty"),
        ("serial: 010", "reads 010 as 8"),
        ("serial: 21234567", "put it in quotes: '21234567'"),
        ("serial: 2024-01-01", "put it in quotes: '2024-01-01'"),
        ("line: on", "reads on as true"),
        ("line: 12:30", "reads 12:30 as 750"),
        ("trigger: off", "reads off as false"),
        ("trigger: hardware", "'hardware'"),
        ("roi: [0, 0, 0, 5]", "at least 1"),
        ("roi: [0, 0, 5]", "roi"),
        ("gain_db: 1\n  gain_db: 2", "set twice"),
    ],
)
def test_traps_of_yaml_are_caught(line: str, says: str) -> None:
    found = mistakes(f"board: {{port: COM3}}\ncamera:\n  {line}\n")
    assert any(says in text for text in found.values()), found


def test_every_key_that_is_set_twice_is_named_and_several_merges_are_none() -> None:
    found = mistakes(
        "board: {port: COM3, port: COM4}\n"
        "camera:\n  gain_db: 1\n  'gain_db': 2\n  line: a\n  line: b\n"
    )
    assert {path for path, said in found.items() if "set twice" in said} == {
        "board.port", "camera.gain_db", "camera.line",
    }  # fmt: skip
    merged = parse_config(
        "board: {port: COM3}\ncamera: {}\nstage: {<<: {height_mm: 3}, <<: {diameter_mm: 90}}\n"
    )
    assert (merged.stage.height_mm, merged.stage.diameter_mm) == (3, 90)


def test_a_boolean_given_as_a_number_is_refused() -> None:
    assert "plan.dark_frames" in mistakes(MINIMAL + "plan: {dark_frames: 1}\n")


def test_a_plan_past_the_board_is_refused() -> None:
    found = mistakes("board: {port: a, leds: 8}\ncamera: {}\nplan: {leds: '1-9'}\n")
    assert "LED 9" in found["plan"]


def test_the_bracket_and_leds_of_the_file_make_the_plan() -> None:
    config = parse_config(MINIMAL + "plan: {leds: '3,1-2', exposures_ms: [2, 8.5]}\n")
    plan = config.default_plan()
    assert plan.leds == (3, 1, 2)
    assert plan.exposures_us == (2000.0, 8500.0)


@pytest.mark.parametrize(
    "text",
    ["", "just words", "- a\n", "a: [", "a: !!python/name:os.system x", "a: &x [*x]\na: 1\n"],
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    assert mistakes(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_config(text)


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    text = "board: {port: COM3, dialect: mine.yaml}\ncamera: {producer: lib/maker.cti}\n"
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    config = read_config(tmp_path / "rig.yaml")
    assert config.board.dialect == str(tmp_path / "mine.yaml")
    assert config.camera.producer == str(tmp_path / "lib" / "maker.cti")
    virtual = parse_config(TEMPLATE).beside(tmp_path)
    assert virtual == parse_config(TEMPLATE)
    absolute = Path(tmp_path.anchor) / "opt" / "maker.cti"
    named = config.model_copy(
        update={"camera": config.camera.model_copy(update={"producer": str(absolute)})}
    )
    assert named.beside(tmp_path).camera.producer == str(absolute)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rig init"):
        read_config(tmp_path / "rig.yaml")
