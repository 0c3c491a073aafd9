"""The words of the protocol: what each kind of field may look like.

One `Kind` for each nonterminal of the grammar (protocol reference, section "Frames").
A kind judges whole values, and beginnings of values too, so that a session can refuse
the first byte that cannot be right without waiting for the line end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import frozen

from brokerproto.errors import BadFrameError, RemoteProtocolError, Retry

__all__ = [
    "CODE",
    "COMMAND",
    "HEX",
    "ID",
    "LABEL_NAME",
    "LABEL_VALUE",
    "MAX_CODE",
    "MAX_NUMBER",
    "MAX_WORK_MS",
    "NAME",
    "NUMBER",
    "PAIR",
    "PAIR_BEGINNING",
    "REPORT_STATE",
    "RETRY",
    "STATE_WORDS",
    "TEXT",
    "TOKEN",
    "VERB",
    "VERB_BEGINNING",
    "WORD",
    "WORK_MS",
    "Kind",
    "literal",
]

MAX_NUMBER = 2**53 - 1
"""Largest number on the wire, the largest integer that every language counts exactly."""

MAX_WORK_MS = 86_400_000
"""Longest work, one day."""

MAX_CODE = 255
"""Highest exit status."""

STATE_WORDS = ("received", "started", "done", "failed")
"""What a report may say, in the order in which a command lives through it."""

VERB = re.compile(rb"[A-Za-z]{1,16}")
VERB_BEGINNING = re.compile(rb"[A-Za-z]{0,16}")
PAIR = re.compile(rb"(!?)([a-z0-9-]{1,32})=([A-Za-z0-9._-]{0,256})")
PAIR_BEGINNING = re.compile(rb"!?(?:[a-z0-9-]{1,32}(?:=[A-Za-z0-9._-]{0,256})?)?")


@frozen
class Kind:
    """One nonterminal of the grammar.

    Attributes:
        name: What the reference calls it, for error texts.
        whole: Matches every complete value, and no other.
        beginning: Matches every beginning of a complete value, the empty one too.
        parse: Complete bytes to the value in the message.
        format: The value back to bytes, as text.
        limit: Largest number, or None where the value is no number.
        to_the_end: Whether it takes the rest of the frame, colons included.
    """

    name: str
    whole: re.Pattern[bytes]
    beginning: re.Pattern[bytes]
    parse: Callable[[bytes], Any] = lambda raw: raw.decode("ascii")
    format: Callable[[Any], str] = str
    limit: int | None = None
    to_the_end: bool = False

    def read(self, raw: bytes, error: type[RemoteProtocolError] = BadFrameError) -> Any:
        """Return the value of complete bytes.

        Raises:
            RemoteProtocolError: `error`, where `raw` is no such value.
        """
        if self.whole.fullmatch(raw) is None:
            raise error(f"not {self.name}")
        value = self.parse(raw)
        if self.limit is not None and type(value) is int and value > self.limit:
            raise error(f"not {self.name}")
        return value

    def check_beginning(self, raw: bytes, error: type[RemoteProtocolError]) -> None:
        """Raise `error` where no value begins with `raw`, in the words of `read`."""
        if self.beginning.fullmatch(raw) is None:
            raise error(f"not {self.name}")
        if raw and self.limit is not None and raw.isdigit() and int(raw) > self.limit:
            raise error(f"not {self.name}")

    def accepts(self, value: Any) -> bool:
        """Whether `value` can be sent as this kind, and comes back equal."""
        try:
            return bool(self.read(self.format(value).encode("ascii")) == value)
        except (RemoteProtocolError, ValueError):
            # A ValueError: no ASCII, or an integer too long for Python to print.
            return False


def _characters(
    name: str, characters: str, longest: int, *, shortest: int = 1, ends: str = ""
) -> Kind:
    """A kind that is `shortest` to `longest` of `characters`, its ends in `ends`."""
    whole = f"[{characters}]{{{shortest},{longest}}}"
    beginning = f"[{characters}]{{0,{longest}}}"
    if ends:
        whole = f"[{ends}](?:[{characters}]{{0,{longest - 2}}}[{ends}])?"
        beginning = f"(?:[{ends}](?:[{characters}]{{0,{longest - 2}}}[{ends}]?)?)?"
    return Kind(name, re.compile(whole.encode()), re.compile(beginning.encode()))


def _number(name: str, limit: int) -> Kind:
    """A decimal number without leading zeros, 0 to `limit`."""
    digits = len(str(limit))
    return Kind(
        f"{name}, 0 to {limit}",
        re.compile(b"0|[1-9][0-9]{0,%d}" % (digits - 1)),
        re.compile(b"(?:0|[1-9][0-9]{0,%d})?" % (digits - 1)),
        parse=int,
        limit=limit,
    )


def literal(word: str) -> Kind:
    """A kind with just one value."""
    return _words(repr(word), (word,))


def _words(name: str, words: tuple[str, ...]) -> Kind:
    """A kind with a few fixed values."""
    beginnings = sorted({word[:end] for word in words for end in range(len(word) + 1)})
    return Kind(
        name,
        re.compile("|".join(map(re.escape, words)).encode()),
        re.compile("|".join(map(re.escape, reversed(beginnings))).encode()),
    )


def _parse_retry(raw: bytes) -> Retry:
    return int(raw) if raw.isdigit() else raw.decode("ascii")


ID = _characters("an id", "A-Za-z0-9._-", 253, ends="A-Za-z0-9")
NUMBER = _number("a number", MAX_NUMBER)
COMMAND = _characters("a command id", "A-Za-z0-9-", 64)
WORD = _characters("a word", "A-Za-z0-9_-", 32)
NAME = _characters("a name", "A-Z0-9_", 32)
LABEL_NAME = _characters("a label's name", "a-z0-9-", 26)
LABEL_VALUE = _characters("a label's value", "A-Za-z0-9._-", 256, shortest=0)
HEX = _characters("1 to 32 lower-case hex digits", "0-9a-f", 32)
TOKEN = _characters("64 lower-case hex digits", "0-9a-f", 64, shortest=64)
TEXT = Kind("printable text", re.compile(rb"[ -~]*"), re.compile(rb"[ -~]*"), to_the_end=True)
REPORT_STATE = _words("received, started, done or failed", STATE_WORDS)
RETRY = Kind(
    "never, now or seconds",
    re.compile(rb"never|now|0|[1-9][0-9]{0,15}"),
    re.compile(rb"n?|ne|nev|neve|never|no|now|0|[1-9][0-9]{0,15}"),
    parse=_parse_retry,
    limit=MAX_NUMBER,
)
WORK_MS = _number("milliseconds of work", MAX_WORK_MS)
CODE = _number("an exit status", MAX_CODE)
