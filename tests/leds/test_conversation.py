"""What a board says, taken in the order in which it was said."""

from __future__ import annotations

from capture.leds import messages as msg
from capture.leds.conversation import Conversation
from capture.leds.framing import wrap


class BusyHost:
    """A link that is read only after the board has answered and said more."""

    def __init__(self, *more: msg.Event) -> None:
        self._more, self._come = more, b""

    def write(self, data: bytes) -> None:
        command = data.decode().split("*")[0].strip()
        said = [command, *map(msg.format_message, self._more)]
        self._come += b"".join(wrap(line, crc=True) for line in said)

    def read(self, wait: bool = True) -> bytes:
        come, self._come = self._come, b""
        return come

    def wire_time_s(self, count: int) -> float:
        return 0.0


def test_a_restart_behind_an_answer_is_not_of_the_light_before_it() -> None:
    talk = Conversation(BusyHost(msg.Ready("rig", "1.0")))  # type: ignore[arg-type]
    assert talk.ask(msg.On(2), msg.On) == msg.On(2)
    assert (talk.went_dark, talk.restarted) == (None, False)
    talk.set_aside()
    assert (talk.went_dark, talk.restarted) == ("the board restarted", True)


def test_replies_that_nobody_waits_for_answer_nothing_later() -> None:
    link = BusyHost()
    talk = Conversation(link)  # type: ignore[arg-type]
    link.write(wrap("ON 2 1000", crc=True) * 2)
    assert talk.ask(msg.On(3), msg.On) == msg.On(3)
