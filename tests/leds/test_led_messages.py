"""The protocol's text: any chunking parses the same, any damaged byte is noticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.leds import framing
from capture.leds import messages as msg

numbers = st.integers(0, msg.MAX_NUMBER)
clocks = st.integers(0, 2**53)
words = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)
lists = st.lists(words.filter(lambda word: word != "none"), max_size=4).map(tuple)

commands = st.one_of(
    st.just(msg.Identify()),
    st.builds(msg.UseCrc, st.booleans()),
    st.builds(msg.On, numbers, numbers),
    st.just(msg.Off()),
    st.builds(msg.BeginSequence, numbers),
    st.builds(msg.SequenceStep, numbers, numbers, numbers, numbers, numbers),
    st.just(msg.Arm(camera_clocked=True)),
    st.builds(msg.Arm, st.just(False), numbers),
    st.just(msg.Run()),
    st.just(msg.Abort()),
    st.just(msg.AskStatus()),
    st.builds(msg.Ping, numbers),
)
replies = st.one_of(
    commands.filter(lambda c: not isinstance(c, msg.Identify | msg.AskStatus | msg.Ping)),
    st.builds(msg.Identity, words, words, words, numbers, numbers, numbers, lists),
    st.builds(
        msg.Status,
        words,
        numbers,
        lists,
        st.none() | st.integers(-400, 1500).map(lambda tenths: tenths / 10),
        numbers,
    ),
    st.builds(msg.Pong, numbers, clocks),
    st.builds(msg.Refusal, numbers, words),
    st.builds(msg.Ready, words, words),
    st.builds(msg.Report, numbers, numbers, clocks, clocks),
    st.builds(msg.Done, numbers),
    st.builds(msg.Stopped, words),
)


def lines_of(stream: bytes, crc: bool) -> list[str | int]:
    """Contents of a stream's lines; the error code where a line is not sound."""
    found: list[str | int] = []
    for raw in framing.LineReader().feed(stream):
        try:
            found.append(framing.unwrap(raw, crc_required=crc).content)
        except framing.ProtocolError as error:
            found.append(error.code)
    return found


@pytest.mark.parametrize(
    ("text", "crc"),
    [("123456789", 0x29B1), ("", 0xFFFF), ("ID", 0xA21B), ("OFF", 0x7268), ("ON 3 1000", 0x9C2E)],
)
def test_crc_matches_the_documented_vectors(text: str, crc: int) -> None:
    assert framing.crc16(text.encode()) == crc


@given(commands)
def test_commands_read_back(command: msg.Command) -> None:
    assert msg.parse_command(msg.format_message(command)) == command
    assert msg.parse_command(msg.format_message(command).lower()) == command


@given(replies)
def test_replies_read_back(reply: msg.Reply) -> None:
    assert msg.parse_reply(msg.format_message(reply)) == reply


@given(st.lists(commands | replies, max_size=5), st.booleans(), st.data())
def test_any_chunking_parses_the_same(
    messages: list[msg.Reply], crc: bool, data: st.DataObject
) -> None:
    stream = b"".join(framing.wrap(msg.format_message(message), crc) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = framing.LineReader()
    found = [
        framing.unwrap(raw, crc).content
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for raw in reader.feed(stream[start:end])
    ]
    assert found == [msg.format_message(message) for message in messages]


@given(st.binary(max_size=400), st.data())
def test_any_chunking_of_rubbish_parses_the_same(stream: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(stream)))
    reader = framing.LineReader()
    assert [*reader.feed(stream[:cut]), *reader.feed(stream[cut:])] == [
        *framing.LineReader().feed(stream)
    ]


@given(commands | replies, st.data())
def test_any_corrupted_byte_is_detected(message: msg.Reply, data: st.DataObject) -> None:
    sound = framing.wrap(msg.format_message(message), crc=True)
    position = data.draw(st.integers(0, len(sound) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != sound[position]))
    broken = sound[:position] + bytes((byte,)) + sound[position + 1 :]
    after = framing.wrap("PING 7", crc=True)
    found = lines_of(broken + after, crc=True)
    # Not one line of it passes; if the line's end was hit, the next line is lost with it.
    assert all(isinstance(one, int) for one in found if one != "PING 7")
    assert any(isinstance(one, int) for one in found)


@pytest.mark.parametrize("sound", [b"ON 3 1000*9C2E\n", b"!STEP 0 1 17 8217*0284\n"])
def test_every_byte_and_every_value_of_two_lines(sound: bytes) -> None:
    assert lines_of(sound, crc=True) == [sound[:-6].decode()]
    for position in range(len(sound)):
        for byte in range(256):
            if byte == sound[position]:
                continue
            broken = sound[:position] + bytes((byte,)) + sound[position + 1 :]
            found = lines_of(broken, crc=True)
            assert all(isinstance(one, int) for one in found), broken


@given(st.text(max_size=60))
def test_rubbish_is_refused_and_never_crashes(text: str) -> None:
    for parse in (msg.parse_command, msg.parse_reply):
        try:
            message = parse(text)
        except framing.ProtocolError:
            continue
        assert msg.format_message(message)


@given(st.binary(max_size=300))
def test_rubbish_bytes_never_crash_a_board(data: bytes) -> None:
    from capture.leds.firmware import BoardModel, Firmware

    class NoPins:
        def light(self, led: int, permille: int, at_us: int) -> None: ...
        def dark(self, at_us: int) -> None: ...
        def trigger(self, at_us: int) -> None: ...

    board = Firmware(BoardModel(), NoPins(), 0)
    board.feed(data + b"\nOFF\n", 10)
    assert board.take_output().endswith(b"OFF\n")
