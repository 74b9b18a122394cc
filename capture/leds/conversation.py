"""Question and answer with a board that speaks the rig's protocol, over an open link."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from capture.errors import DeviceError
from capture.leds import framing
from capture.leds import messages as msg
from capture.leds.link import Link

HOST_LATENCY_S = 0.15  # USB latency timers (16 ms each way) and a busy computer, per exchange

R = TypeVar("R")


class Garbled(Exception):
    """The exchange failed in a way that a repetition may cure."""


class Conversation:
    """Asks, and sets aside what the board says unasked.

    Attributes
    ----------
    events : what it said unasked, oldest first
    went_dark : why light that was wanted may have gone out; None if it has not
    by_itself : and it was not an answer to a damaged line of ours
    damaged : a line was damaged, so an event may be lost
    restarted : it has booted, or may have while it was silent: identify it again
    crc : lines without a right CRC are damaged
    told : `time.monotonic` when it was last spoken to
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.told = 0.0
        self._token = 0
        self._reader = framing.LineReader()
        self._lines: deque[bytes] = deque()
        self.restart()

    def restart(self) -> None:
        """A new conversation."""
        self.crc = self.restarted = False
        self._reader.clear()
        self._lines.clear()
        self.forget_events()

    def forget_events(self) -> None:
        self.events: deque[msg.Event] = deque()
        self.went_dark: str | None = None
        self.by_itself = self.damaged = False

    def resynchronise(self) -> None:
        """End a half-sent line, then wait for the answer to a ping never sent before."""
        self.link.write(b"\n")
        self.ping()

    def ping(self) -> msg.Pong:
        """A question whose answer cannot be mistaken for that of an earlier one."""
        self._token = self._token % 9999 + 1
        return self.ask(msg.Ping(self._token), msg.Pong)

    def ask(self, command: msg.Command, kind: type[R]) -> R:
        """One question, one answer of this kind, events set aside.

        Raises
        ------
        Garbled
            no answer in time, or a damaged line here or there: repeating may help
        DeviceError
            the board refused
        """
        self.set_aside()
        line = framing.wrap(msg.format_message(command), crc=True)
        self.link.write(line)
        self.told = time.monotonic()
        wire_s = self.link.wire_time_s(len(line) + framing.MAX_LINE)
        late = False
        while not late:  # a host that was held up looks once more at what has come meanwhile
            late = time.monotonic() > self.told + wire_s + HOST_LATENCY_S
            for reply in self.take_lines():
                if reply is None:
                    raise Garbled("a damaged line came")
                if isinstance(reply, msg.Refusal):
                    if reply.code in (
                        framing.CRC,
                        framing.TOO_LONG,
                        framing.UNKNOWN,
                        framing.SYNTAX,
                    ):
                        raise Garbled(f"the board understood: {reply.text}")
                    text = msg.format_message(command)
                    raise DeviceError(f"the LED board refused '{text}': {reply.text}")
                if isinstance(reply, kind) and self._answers(command, reply):
                    return reply
        raise Garbled("no answer in time")

    @staticmethod
    def _answers(command: msg.Command, reply: object) -> bool:
        """An echo of an earlier command, come late, is not the answer to this one."""
        if isinstance(reply, msg.Pong) and isinstance(command, msg.Ping):
            return reply.token == command.token
        return type(reply) is not type(command) or reply == command

    def set_aside(self, wait: bool = False) -> None:
        """Take note of the events that have come; replies that nobody waits for are dropped."""
        for _ in self.take_lines(wait):
            pass

    def take_lines(self, wait: bool = True) -> Iterator[msg.Reply | None]:
        """Replies among what has come (None: a damaged line); events go to their queue.

        Lines behind the last reply that was taken stay for the next call: what the board says
        after an answer is of what was asked for, and not of the light before it.
        """
        self._lines.extend(self._reader.feed(self.link.read(wait and not self._lines)))
        while self._lines:
            try:
                raw = framing.unwrap(self._lines.popleft(), crc_required=self.crc)
                reply = msg.parse_reply(raw.content)
            except framing.ProtocolError:
                self.damaged = True
                self.went_dark = self.went_dark or "a damaged line came"
                yield None
                continue
            if not isinstance(reply, msg.EVENTS):
                yield reply
                continue
            self.events.append(reply)
            if isinstance(reply, msg.Stopped):
                self.went_dark = f"the board switched it off by itself ({reply.reason})"
                self.by_itself |= reply.reason != "error"
            elif isinstance(reply, msg.Ready):
                self.went_dark, self.by_itself = "the board restarted", True
                self.restarted = True
