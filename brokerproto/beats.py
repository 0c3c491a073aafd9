"""What a heartbeat in order looks like, byte by byte.

The next heartbeat of an engine is known beforehand: to compare is many times cheaper than
to read. Rules: protocol reference, sections "Frames" and "Sequence and account".
"""

from __future__ import annotations

import re

from attrs import frozen

from brokerproto.grammar import MAX_NUMBER

__all__ = [
    "ENDS",
    "PADDED_ENDS",
    "THOUSANDS",
    "Run",
    "ack_of",
    "beginning_of",
    "end_of",
    "id_in",
    "run_of",
]

_VERB = b"HeartBeat:"

# Tables with a bound: one that grew with the largest number would let a hello say how
# much memory is used.
THOUSANDS = tuple(b"%d" % number for number in range(1000))
"""How a number of at least a thousand begins, where it is less than a million."""

ENDS = tuple(b"%d\n" % number for number in range(1000))
"""How a heartbeat ends whose number is less than a thousand."""

PADDED_ENDS = tuple(b"%03d\n" % number for number in range(1000))
"""How one ends whose number is larger, behind `THOUSANDS`."""

# Whatever has more digits is read as any frame is, and refused where it is too large.
_ROUND_TRIP = re.compile(rb":rtt=(0|[1-9][0-9]{0,14})\n")


def beginning_of(engine_id: str) -> bytes:
    """Return what all heartbeats of an engine begin with: ``HeartBeat:<id>:``."""
    return b"%b%b:" % (_VERB, engine_id.encode("ascii"))


def id_in(beginning: bytes) -> str:
    """Return the engine's id out of `beginning_of` it."""
    return beginning[len(_VERB) : -1].decode("ascii")


def end_of(seq: int) -> bytes:
    """Return what a heartbeat without options ends with: its number, and LF."""
    if seq < 1000:
        return ENDS[seq]
    if seq < 1_000_000:
        return THOUSANDS[seq // 1000] + PADDED_ENDS[seq % 1000]
    return b"%d\n" % seq


def ack_of(seq: int) -> bytes:
    """Return the frame of an ACK, with its LF."""
    return b"ACK:" + end_of(seq)


@frozen
class Run:
    """Heartbeats that follow each other.

    Attributes:
        last: The number of the last one.
        rtt_us: What the last one that told a round trip's microseconds said; None where
            none did, or none had anything to tell.
    """

    last: int
    rtt_us: int | None


def run_of(data: bytes, beginning: bytes, last: int) -> Run | None:
    """Read heartbeats that come in order and have no option but ``rtt``.

    Args:
        data: Bytes of a stream, from a frame's beginning on.
        beginning: See `beginning_of`.
        last: The number before the first one.

    Returns:
        None where `data` is anything else than such heartbeats, each of them whole.
    """
    place, rtt_us = 0, None
    while place < len(data):
        last += 1
        if last > MAX_NUMBER:
            return None
        beat = beginning + end_of(last)
        if data.startswith(beat, place):
            place += len(beat)
            continue
        if not data.startswith(beat[:-1], place):
            return None
        found = _ROUND_TRIP.match(data, place + len(beat) - 1)
        if found is None:
            return None
        rtt_us = int(found[1]) or rtt_us
        place = found.end()
    return Run(last, rtt_us)
