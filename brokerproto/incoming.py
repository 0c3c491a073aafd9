"""What comes next out of a framer, as far as the broker has to look at it.

Rules: protocol reference, section "What breaks the grammar".
"""

from __future__ import annotations

from brokerproto.broker_events import BrokerEvent, Foreign
from brokerproto.errors import BadFrameError, FrameTooLongError, RemoteProtocolError
from brokerproto.framing import LIMIT_REGISTERED, LIMIT_UNREGISTERED, Framer
from brokerproto.wire import check_beginning, foreign_protocol

__all__ = ["next_frame"]


def next_frame(framer: Framer, events: list[BrokerEvent], *, is_registered: bool) -> bytes | None:
    """Take the next whole frame; before registration judge each byte as it comes.

    Args:
        framer: Holds what came.
        events: Whatever shows on the way is added to it.
        is_registered: Whether the engine is.

    Raises:
        RemoteProtocolError: The frame is too long, or cannot be right any more.
    """
    if is_registered:
        return framer.next_frame(LIMIT_REGISTERED)
    try:
        frame = framer.next_frame(LIMIT_UNREGISTERED)
    except FrameTooLongError:
        # An offence within the limit comes before the one of being too long.
        _check(framer.beginning(LIMIT_UNREGISTERED), events)
        raise
    if frame is not None:
        _check(frame, events)
        return frame
    try:
        _check(framer.beginning(LIMIT_UNREGISTERED), events)
    except RemoteProtocolError:
        framer.cut_short()
        raise
    return None


def _check(beginning: bytes, events: list[BrokerEvent]) -> None:
    try:
        check_beginning(beginning, "engine")
    except RemoteProtocolError as error:
        protocol = foreign_protocol(beginning)
        if protocol is None:
            raise
        events.append(Foreign(protocol))
        raise BadFrameError(f"{protocol} is not what is spoken here") from error
