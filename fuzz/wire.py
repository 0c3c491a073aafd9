"""Frames: read as the reference reads them, written and read back, framed at any cut.

The input is a stream; each of its lines is a frame.
"""

from __future__ import annotations

from random import Random
from zlib import crc32

from brokerproto.errors import RemoteProtocolError
from brokerproto.framing import LIMIT_UNREGISTERED, LineFramer, MessageFramer
from brokerproto.messages import Unknown, Unusable
from brokerproto.wire import Sender, decode, encode
from fuzz.pieces import single_bytes, some_pieces
from tests.brokerproto import reference
from tests.brokerproto.judged import beginning_code, code_of

__all__ = ["check"]

_SENDERS: tuple[Sender, ...] = ("engine", "broker")
_LENIENT = (b"DOWORK", b"KILL", b"FAILLED")


def check(data: bytes) -> None:
    """See that a stream is framed alike however cut, and each frame judged rightly."""
    random = Random(crc32(data))
    whole = _framed([data])
    assert _framed(some_pieces(data, random)) == whole
    if len(data) < 200:
        assert _framed(single_bytes(data)) == whole
    _check_messages(data, whole)
    for frame in data.split(b"\n"):
        for sender in _SENDERS:
            _check_frame(frame, sender, random)


Framed = tuple[list[bytes], "RemoteProtocolError | None", int]


def _framed(pieces: list[bytes]) -> Framed:
    """Give the frames, what ended them, and how many whole ones came after that."""
    framer = LineFramer()
    frames: list[bytes] = []
    failure: RemoteProtocolError | None = None
    dropped = 0
    for piece in pieces:
        framer.feed(piece)
        try:
            while failure is None:
                frame = framer.next_frame(LIMIT_UNREGISTERED)
                if frame is None:
                    break
                frames.append(frame)
        except RemoteProtocolError as error:
            failure = error
        if failure is not None:
            dropped += framer.discard()
            assert framer.waiting == 0
        assert framer.waiting <= LIMIT_UNREGISTERED + 1
    return frames, failure, dropped


def _check_messages(data: bytes, lines: Framed) -> None:
    """See that lines and messages are framed alike, but for the words of an error."""
    *messages, rest = data.split(b"\n")
    if b"\r" in data or len(rest) > LIMIT_UNREGISTERED:
        return
    framer = MessageFramer()
    for message in messages:
        framer.feed(message)
    frames: list[bytes] = []
    failure: RemoteProtocolError | None = None
    try:
        while (frame := framer.next_frame(LIMIT_UNREGISTERED)) is not None:
            frames.append(frame)
    except RemoteProtocolError as error:
        failure = error
    assert (frames, type(failure), framer.discard()) == (lines[0], type(lines[1]), lines[2])


def _check_frame(frame: bytes, sender: Sender, random: Random) -> None:
    judged = code_of(frame, sender)
    assert judged == reference.judge(frame, sender)
    ends = {len(frame), *(random.randint(0, len(frame)) for _ in range(3))}
    begun = {end: beginning_code(frame[:end], sender) for end in sorted(ends)}
    for end, code in begun.items():
        assert code == reference.judge_beginning(frame[:end], sender)
    codes = [code for code in begun.values() if code is not None]
    # Refused once, and from then on alike.
    assert list(begun.values()) == [None] * (len(begun) - len(codes)) + codes[:1] * len(codes)
    if type(judged) is str and judged not in ("unknown", "unusable", "FAILLED"):
        assert not codes, "a good frame is refused at its beginning"
        _check_round_trip(frame, sender)
    elif codes and codes[0] != 405 and frame.split(b":")[0] not in _LENIENT:
        assert judged == codes[0] or (judged == 400 and codes[0] == 415)


def _check_round_trip(frame: bytes, sender: Sender) -> None:
    message = decode(frame, sender)
    assert not isinstance(message, Unknown | Unusable)
    written = encode(message)
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    assert decode(written[:-1], sender) == message
    assert encode(decode(written[:-1], sender)) == written
