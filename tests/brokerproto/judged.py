"""What the library makes of bytes, in the words of `reference`."""

from __future__ import annotations

from brokerproto import wire
from brokerproto.errors import RemoteProtocolError
from brokerproto.messages import Unknown, Unusable
from brokerproto.wire import check_beginning, decode


def code_of(frame: bytes, sender: wire.Sender) -> int | str:
    """What `decode` makes of a frame, in the words of `reference.judge`."""
    try:
        message = decode(frame, sender)
    except RemoteProtocolError as error:
        return error.code
    if isinstance(message, Unknown | Unusable):
        return type(message).__name__.lower()
    return frame.decode().partition(":")[0]


def beginning_code(beginning: bytes, sender: wire.Sender) -> int | None:
    try:
        check_beginning(beginning, sender)
    except RemoteProtocolError as error:
        return error.code
    return None
