"""Laws of how a connection, or one half of it, ends."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone

from transports.conformance.ends import End, HalfEnd, pattern
from transports.conformance.law import Law
from transports.conformance.meeting import Meeting

__all__ = ["LAWS"]

_STREAMS = frozenset({"lines"})
_MUCH = 1 << 20


def _expect_reason(meeting: Meeting, end: End, kind: type[Exception]) -> None:
    assert end.reason is not None
    meeting.expect(
        end.reason.check(kind) is not None,
        f"{end.name} to be told {kind.__name__}",
        f"{type(end.reason.value).__name__}: {end.reason.value}",
    )


async def _flush(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    sent = pattern(_MUCH)
    for begin in range(0, _MUCH, _MUCH // 4):
        near.write(sent[begin : begin + _MUCH // 4])
    near.call("loseConnection")
    await meeting.lost(far)
    await meeting.receive(far, sent)
    await meeting.lost(near)


async def _clean_end(meeting: Meeting) -> None:
    listener = await meeting.listen()
    for closing in 0, 1:
        ends = await meeting.connect(listener=listener)
        await meeting.round_trips(1, *ends)
        ends[closing].call("loseConnection")
        await meeting.lost(*ends)
        for end in ends:
            _expect_reason(meeting, end, ConnectionDone)


async def _clean_end_in_halves(meeting: Meeting) -> None:
    listener = await meeting.listen(kind=HalfEnd)
    for closing in 0, 1:
        ends = await meeting.connect(HalfEnd, listener=listener)
        await meeting.round_trips(1, *ends)
        await _close_one_after_the_other(meeting, ends[closing], ends[1 - closing])


async def _close_one_after_the_other(meeting: Meeting, first: End, second: End) -> None:
    """TCP leaves the second half to its end; another may have closed it by itself."""
    first.call("loseConnection")
    await meeting.lost(first)
    await meeting.until(
        f"{second.name} to be told readConnectionLost or connectionLost",
        lambda: "readConnectionLost" in second.story or second.is_lost,
        lambda: ", ".join(second.story),
    )
    second.call("loseConnection")
    await meeting.lost(second)
    _expect_reason(meeting, second, ConnectionDone)


async def _half_close(meeting: Meeting) -> None:
    near, far = await meeting.connect(HalfEnd, HalfEnd)
    sent = pattern(_MUCH)
    near.write(sent)
    near.call("loseWriteConnection")
    await meeting.told(far, "readConnectionLost")
    await meeting.receive(far, sent)
    await meeting.told(near, "writeConnectionLost")
    far.write(sent)
    await meeting.receive(near, sent)
    far.call("loseConnection")
    await meeting.told(near, "readConnectionLost")
    # TCP waits for this; another may have told the end by itself.
    near.call("loseConnection")
    await meeting.lost(near, far)


async def _half_close_unheard(meeting: Meeting) -> None:
    near, far = await meeting.connect(HalfEnd, End)
    near.write(b"last words")
    near.call("loseWriteConnection")
    await meeting.lost(far)
    await meeting.receive(far, b"last words")
    await meeting.told(near, "readConnectionLost")


async def _abort(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    far.call("pauseProducing")
    sent = pattern(_MUCH)
    near.write(sent)
    await meeting.turns()
    near.call("abortConnection")
    await meeting.lost(near)
    _expect_reason(meeting, near, ConnectionAborted)
    far.call("resumeProducing")
    await meeting.lost(far)
    meeting.expect(
        sent.startswith(bytes(far.received)),
        "nothing but the beginning of what was written",
        f"{len(far.received)} bytes, others",
    )


async def _reset(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    await meeting.round_trips(1, near, far)
    near.call("abortConnection")
    await meeting.lost(far)
    assert far.reason is not None
    meeting.expect(
        far.reason.check(ConnectionDone) is None,
        "the accepting end to be told of a connection that was lost",
        f"{type(far.reason.value).__name__}, as after a clean end",
    )


async def _vanished_peer(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    far.call("pauseProducing")
    source = meeting.source(near, meeting.subject.profile.buffered_bytes)
    near.transport.registerProducer(source, True)
    source.start()
    await meeting.until("anything to be written", lambda: source.written > 0)
    far.call("abortConnection")
    await meeting.lost(near)
    meeting.expect(
        source.calls[-1:] == ["stop"],
        "the producer to be told stopProducing",
        ", ".join(source.calls) or "nothing",
    )


async def _story(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    await meeting.round_trips(1, near, far)
    near.call("loseConnection")
    await meeting.lost(near, far)
    for end in near, far:
        end.call("write", b"too late")
        end.call("writeSequence", [b"too late"])
        end.call("loseConnection")
        end.call("abortConnection")
    await meeting.turns()
    expected = ["connectionMade", "dataReceived", "connectionLost"]
    for end in near, far:
        meeting.expect(
            end.story == expected,
            f"{end.name} to be told {', '.join(expected)}, no more",
            ", ".join(end.story),
        )


LAWS = (
    Law("flush", "loseConnection closes when all that was written has arrived", _flush),
    Law("clean-end", "after loseConnection both ends are told ConnectionDone", _clean_end),
    Law(
        "clean-end-in-halves",
        "an end that knows half-close is told ConnectionDone when its peer closes, and then it",
        _clean_end_in_halves,
    ),
    Law(
        "half-close",
        "loseWriteConnection ends one direction, and the other goes on",
        _half_close,
        framings=_STREAMS,
    ),
    Law(
        "half-close-unheard",
        "an end that knows no half-close is lost when its peer ends one half",
        _half_close_unheard,
        framings=_STREAMS,
    ),
    Law(
        "abort",
        "abortConnection ends both sides, though the peer does not read what was written",
        _abort,
    ),
    Law("reset", "the peer of abortConnection is not told that all is well", _reset),
    Law(
        "vanished-peer",
        "who writes to a peer that vanishes is told connectionLost, and its producer stopProducing",
        _vanished_peer,
    ),
    Law(
        "story",
        "connectionMade comes first and connectionLost last, once each, and later calls do nothing",
        _story,
    ),
)
