"""A target that breaks, to see that a fuzzer tells of it."""

from __future__ import annotations


def check(data: bytes) -> None:
    if data.startswith(b"P") and len(data) > 1:
        if data[1:2] == b"Q":
            raise ValueError("brittle")
        if len(data) == 2:
            return
