"""Laws of back-pressure, felt by who reads and by who writes."""

from __future__ import annotations

from transports.conformance.ends import PART, End, pattern
from transports.conformance.law import Law
from transports.conformance.meeting import Meeting

__all__ = ["LAWS"]

_MUCH = 1 << 20
_BYSTANDERS_WORDS = 20


async def _pause(meeting: Meeting) -> None:
    """The bystander shows that the reactor turned, and that others were served."""
    listener = await meeting.listen()
    near, far = await meeting.connect(listener=listener)
    bystanders = await meeting.connect(listener=listener)
    paused_at: list[int] = []

    def pause(_data: bytes) -> None:
        if not paused_at:
            paused_at.append(len(far.received))
            far.call("pauseProducing")

    far.on_data = pause
    sent = pattern(_MUCH)
    for begin in range(0, _MUCH, PART):
        near.write(sent[begin : begin + PART])
    await meeting.until("anything to be received", lambda: bool(paused_at))
    await meeting.round_trips(_BYSTANDERS_WORDS, *bystanders)
    _expect_silence(meeting, far, paused_at[0])
    far.call("resumeProducing")
    await meeting.receive(far, sent)

    far.call("pauseProducing")
    near.write(b"more")
    await meeting.round_trips(_BYSTANDERS_WORDS, *bystanders)
    _expect_silence(meeting, far, len(sent))
    far.call("resumeProducing")
    await meeting.receive(far, sent + b"more")


def _expect_silence(meeting: Meeting, end: End, paused_at: int) -> None:
    late = len(end.received) - paused_at
    allowed = meeting.subject.profile.late_bytes
    if late > allowed:
        expected = f"at most {allowed} bytes" if allowed else "nothing"
        raise meeting.broken(f"{expected} after pauseProducing", f"{late} bytes", paused_at)


async def _back_pressure(meeting: Meeting) -> None:
    limit = meeting.subject.profile.buffered_bytes
    near, far = await meeting.connect()
    far.call("pauseProducing")
    source = meeting.source(near, limit)
    near.transport.registerProducer(source, True)
    source.start()
    await meeting.until(
        "the producer to be told pauseProducing",
        lambda: "pause" in source.calls or source.written >= limit,
        lambda: f"{source.written} bytes were taken",
    )
    meeting.expect(
        "pause" in source.calls,
        f"the producer to be told pauseProducing before {limit} bytes wait",
        "nothing",
    )
    far.call("resumeProducing")
    await meeting.until(
        "the producer to be told resumeProducing when the peer reads again",
        lambda: "resume" in source.calls,
        lambda: f"{', '.join(source.calls)}; {len(far.received)} of {source.written} bytes arrived",
    )
    near.transport.unregisterProducer()
    near.write(b"the end")
    await meeting.receive(far, pattern(source.written) + b"the end")


LAWS = (
    Law(
        "pause",
        "after pauseProducing nothing arrives until resumeProducing, and then all of it",
        _pause,
    ),
    Law(
        "back-pressure",
        "a push producer is paused when the peer does not read, and resumed when it does",
        _back_pressure,
    ),
)
