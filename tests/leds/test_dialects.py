"""Other people's protocols: each shipped dialect against a board that speaks it, byte by byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dialect_peer import MODE_STEP, Peer, Speak, by_pattern

from capture.errors import DeviceError, DeviceTimeout
from capture.leds.base import LedBoard
from capture.leds.board import open_board
from capture.leds.dialect import DialectError, load_dialect, parse_dialect, shipped


@contextmanager
def mode_step_board(speak: Speak) -> Iterator[LedBoard]:
    with (
        Peer(speak, "READY\r\n").plugged_in() as port,
        open_board(port, dialect="mode-step", led_count=96) as board,
    ):
        yield board


def test_mode_step_on_the_wire() -> None:
    peer = Peer(MODE_STEP, banner="READY\r\n")
    with peer.plugged_in() as port, open_board(port, dialect="mode-step", led_count=96) as board:
        assert "echo" in board.identity.capabilities
        board.on(1)
        board.on(12)
        board.off()
    assert peer.heard == "OFF\nN96_1\nN96_12\nOFF\nOFF\n"


def framed(found: re.Match[str]) -> str:
    command, led = int(found[1]), found[2]
    return {
        0: "All LEDs off.\r\n",
        3: f"Understood, LED {led} is now on, enjoy\r\n",
        4: f"LED {led} is now off\r\n",
    }[command]


def test_framed_on_the_wire() -> None:
    peer = Peer(by_pattern(r"<(\d),(\d+)>", framed), banner="Light controller ready v2\r\n")
    with peer.plugged_in() as port, open_board(port, dialect="framed", led_count=16) as board:
        board.on(1)
        board.on(16)
    # lights are on after boot: off first, before and after the banner
    assert peer.heard == "<0,0><0,0><3,0><3,15><0,0>"


def test_letter_comma_on_the_wire() -> None:
    peer = Peer(lambda text: ("", ""))
    with peer.plugged_in() as port, open_board(port, dialect="letter-comma", led_count=8) as board:
        assert "echo" not in board.identity.capabilities
        board.on(1)
        board.on(8)
        board.off()
    assert peer.heard == "D,AL,0D,0L,7D,AD,A"


def prompt(found: re.Match[str]) -> str:
    done = "all off" if found[0] == "." else "on"
    return f"{found[0]}\r\n{done}\r\n> "


def test_prompt_on_the_wire() -> None:
    peer = Peer(by_pattern(r"[0-9a-zA-Z.]", prompt), banner="Type a key\r\n> ")
    with peer.plugged_in() as port, open_board(port, dialect="prompt", led_count=62) as board:
        board.on(1)
        board.on(11)
        board.on(62)
    assert peer.heard == ".0aZ."


def test_every_shipped_dialect_is_tested_here() -> None:
    assert shipped() == ["framed", "letter-comma", "mode-step", "prompt"]


def test_the_example_to_start_from_is_valid() -> None:
    examples = Path(__file__).resolve().parents[2] / "examples" / "dialects"
    assert load_dialect(examples / "my-board.yaml").level_max == 255


def test_a_board_that_lights_another_led_is_not_believed() -> None:
    wrong = by_pattern(
        r"(?:N(\d+)_(\d+)|OFF)\n", lambda m: "OK: MODE 96 STEP 31\r\n" if m[1] else "OK: OFF\r\n"
    )
    with mode_step_board(wrong) as board:
        board.on(31)
        with pytest.raises(DeviceTimeout, match="STEP 31"):
            board.on(3)


def test_a_garbled_answer_is_asked_for_again() -> None:
    answers = iter(["O?: MOD", "OK: MODE 96 STEP 5\r\n"])
    speak = by_pattern(
        r"(?:N(\d+)_(\d+)|OFF)\n", lambda m: next(answers) if m[1] else "OK: OFF\r\n"
    )
    with mode_step_board(speak) as board:
        board.on(5)
        assert board.status().lit == 5


def test_a_silent_port_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "format: rig-dialect/1\nname: x\nturn_on: {send: '{led}', reply: ok}\n"
    text += "all_off: {send: X, reply: ok}\nreply_within_s: 0.05\nboot: {wait_s: 0.1, banner: hi}"
    monkeypatch.setattr("capture.leds.board.load_dialect", lambda name: parse_dialect(text, name))
    silent = pytest.raises(DeviceTimeout, match="speaks dialect x at 115200 baud")
    with Peer(lambda t: ("", "")).plugged_in() as port, silent:
        open_board(port, dialect="x", led_count=3)


def test_sequences_are_refused_with_advice() -> None:
    with mode_step_board(MODE_STEP) as board:
        with pytest.raises(DeviceError, match="trigger: software"):
            board.upload([])
        with pytest.raises(DeviceError, match="full brightness only"):
            board.on(3, 0.5)


GOOD = "format: rig-dialect/1\nname: x\nturn_on: {send: 'N{led}'}\nall_off: {send: X}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no keys"),
        ("a: [", "is not YAML"),
        (GOOD + "line_endin: ''", "unknown key 'line_endin', did you mean 'line_ending'"),
        (GOOD + "boot: {baner: x}", "unknown key 'boot.baner', did you mean 'banner'"),
        (GOOD + "index_base: 2", "index_base"),
        (GOOD + "index_base: yes", "index_base"),
        (GOOD + "baud: 1e3", "baud"),
        (GOOD + "on: {send: x}", "the keys are turn_on and turn_off"),
        (GOOD + "error: '('", "no regular expression"),
        (GOOD.replace("N{led}", "N"), "does not say which LED"),
        (GOOD.replace("N{led}", "{led} {level}"), "level_max"),
        (GOOD.replace("all_off: {send: X}", ""), "one of all_off and turn_off"),
        (GOOD.replace("rig-dialect/1", "rig-dialect/9"), "format"),
    ],
)
def test_a_wrong_dialect_file_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(DialectError, match=re.escape(says)):
        parse_dialect(text, "mine.yaml")


def test_all_mistakes_at_once() -> None:
    with pytest.raises(DialectError, match=r"(?s)baud.*line_endin"):
        parse_dialect(GOOD + "baud: fast\nline_endin: ''", "mine.yaml")


def test_an_unknown_dialect_lists_the_known() -> None:
    with pytest.raises(DialectError, match="framed, letter-comma, mode-step, prompt"):
        load_dialect("modestep")
