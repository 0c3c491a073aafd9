"""Ways in which a network may cut a stream."""

from __future__ import annotations

from random import Random

__all__ = ["single_bytes", "some_pieces"]


def single_bytes(stream: bytes) -> list[bytes]:
    """Cut between all bytes."""
    return [stream[place : place + 1] for place in range(len(stream))]


def some_pieces(stream: bytes, random: Random) -> list[bytes]:
    """Cut at a few random places; pieces may be empty."""
    cuts = sorted(random.randint(0, len(stream)) for _ in range(random.randint(1, 6)))
    ends = [*cuts, len(stream)]
    return [stream[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
