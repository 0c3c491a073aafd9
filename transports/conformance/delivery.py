"""Laws of what is delivered, and in which order."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import gatherResults
from twisted.python.failure import Failure

from transports.conformance.ends import End, echo, pattern
from transports.conformance.law import Law
from transports.conformance.meeting import Meeting

__all__ = ["LAWS"]

MESSAGES = 10_000
AT_ONCE = 16

# Single bytes, what is about as large as buffers are, and what is larger than
# one read.
_CUTS = (
    *(1,) * 50,
    *(2, 3, 5, 7, 11, 13, 250, 1, 999, 1),
    *(1023, 1024, 1025, 4095, 4096, 4097, 1, 65535, 65536, 65537, 1),
    300_000,
    1,
)


async def _order(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    sent = pattern(sum(_CUTS))
    begin = 0
    for number, length in enumerate(_CUTS):
        part = sent[begin : begin + length]
        begin += length
        for end in near, far:
            if number % 3:
                end.write(part)
            else:
                end.call("writeSequence", [part[: length // 2], part[length // 2 :]])
    await meeting.receive(far, sent)
    await meeting.receive(near, sent)
    near.call("loseConnection")
    await meeting.lost(near, far)
    await meeting.receive(far, sent)
    await meeting.receive(near, sent)


async def _small_messages(meeting: Meeting) -> None:
    near, far = await meeting.connect()
    messages = [b"message %05d\n" % number for number in range(MESSAGES)]
    for message in messages:
        near.write(message)
    await meeting.receive(far, b"".join(messages))


async def _first_words(meeting: Meeting) -> None:
    def speak_at_once(end: End) -> None:
        end.on_made = lambda: end.write(b"first words of " + end.name.encode())

    listener = await meeting.listen()
    calling = meeting.ends("the dialling end")
    calling.on_end = listener.ends.on_end = speak_at_once
    await meeting.success(
        f"to connect to {listener.contact}",
        lambda: meeting.start_dialling(listener.contact, calling),
    )
    await meeting.until(
        "both ends to be connected", lambda: bool(calling.connected and listener.ends.connected)
    )
    for ends in calling, listener.ends:
        count = len(ends.connected)
        meeting.expect(count == 1, f"one connection of {ends.name}", f"{count}")
    [near], [far] = calling.connected, listener.ends.connected
    await meeting.receive(far, b"first words of the dialling end")
    await meeting.receive(near, b"first words of the accepting end")


def _what_failed(failure: Failure) -> Failure:
    error: Any = failure.value  # a FirstError, which says it in several lines
    cause: Failure = error.subFailure
    return cause


async def _several_connections(meeting: Meeting) -> None:
    listener = await meeting.listen()
    listener.ends.on_end = echo
    calling = meeting.ends("one of the dialling ends")
    await meeting.success(
        f"to connect {AT_ONCE} times to {listener.contact}",
        lambda: gatherResults(
            [meeting.start_dialling(listener.contact, calling) for _ in range(AT_ONCE)],
            consumeErrors=True,
        ).addErrback(_what_failed),
    )
    nears = calling.connected
    words = [b"%02d " % number * 100 for number in range(AT_ONCE)]
    for near, word in zip(nears, words, strict=True):
        near.write(word)
    for near, word in zip(nears, words, strict=True):
        await meeting.receive(near, word)
    for near in nears[::2]:
        near.call("abortConnection")
    await meeting.lost(*nears[::2])
    for near, word in list(zip(nears, words, strict=True))[1::2]:
        near.write(word)
        await meeting.receive(near, word * 2)


LAWS = (
    Law("order", "bytes arrive complete and in order, however they are cut into writes", _order),
    Law(
        "small-messages", f"{MESSAGES:,} small messages arrive, each of them once", _small_messages
    ),
    Law(
        "first-words",
        "what an end writes from within connectionMade arrives",
        _first_words,
    ),
    Law(
        "several-connections",
        "connections of one listener carry each its own bytes, and end each by itself",
        _several_connections,
    ),
)
