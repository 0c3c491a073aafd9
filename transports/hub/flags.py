"""Where a connection is, as bits of one number.

Python shares the numbers up to 256, so that a connection which idles needs none of its own.
"""

from __future__ import annotations

__all__ = [
    "ASKS_TO_WRITE",
    "DEAD",
    "DRAINED",
    "IGNORED",
    "LOSING",
    "PAUSED",
    "READING",
    "READ_CLOSED",
    "STREAMING",
    "WRITE_CLOSED",
    "WRITE_CLOSING",
]

READING = 1
"""It takes what comes."""

STREAMING = 2
"""It has a push producer."""

DRAINED = 4
"""Its protocol may have a receiver."""

PAUSED = 8
"""Its producer is paused."""

LOSING = 16
"""It is to be closed when all has been sent."""

READ_CLOSED = 32
"""The peer says nothing more."""

WRITE_CLOSING = 64
"""Its outgoing half is to be closed when all has been sent."""

WRITE_CLOSED = 128
"""Its outgoing half is closed."""

ASKS_TO_WRITE = 256
"""The hub tells it when there is room for more."""

IGNORED = 512
"""The hub tells it nothing."""

DEAD = 1024
"""It is to end in a later turn, and does nothing more."""
