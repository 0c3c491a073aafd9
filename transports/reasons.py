"""The words in which dialling and listening fail, the same for every transport."""

from __future__ import annotations

import errno
import os
import socket

from twisted.internet.error import (
    CannotListenError,
    ConnectBindError,
    DNSLookupError,
    TimeoutError,  # noqa: A004 - Twisted's name for it
)

__all__ = ["dial_reason", "listen_reason"]

# The system's own words for it would not tell what is to be done.
_IN_OUR_WORDS = {errno.EAGAIN: "too many connections wait to be accepted there"}

_NO_HOST = "no such host"
_NO_ANSWER = "its name cannot be looked up now"


def dial_reason(error: BaseException | None, timeout: float | None = None) -> str:
    """Say in words why dialling failed.

    Args:
        error: What an endpoint's ``connect`` failed with.
        timeout: Seconds that were waited for an answer, where they are known.
    """
    if isinstance(error, DNSLookupError):
        # Twisted keeps to itself which of them it was.
        return f"{_NO_HOST}, or {_NO_ANSWER}"
    if isinstance(error, socket.gaierror):
        return _lookup_words(error)
    if isinstance(error, TimeoutError):
        return "no answer in time" if timeout is None else f"no answer within {timeout:g} s"
    number = getattr(error, "osError", None) or getattr(error, "errno", None)
    if isinstance(error, ConnectBindError) and number == errno.EADDRNOTAVAIL:
        return "the address to connect from is not one of this machine"
    if number == errno.EADDRNOTAVAIL or (
        isinstance(error, ConnectBindError) and number == errno.EADDRINUSE
    ):
        return "no port is left to connect from, or no address"
    words = _system_words(number)
    return words[:1].lower() + words[1:] if words else _own_words(error)


def listen_reason(error: BaseException | None) -> str:
    """Say in words why listening failed.

    Args:
        error: What an endpoint's ``listen`` failed with.
    """
    cause = error.socketError if isinstance(error, CannotListenError) else error
    if isinstance(cause, socket.gaierror):
        return _lookup_words(cause)
    return _system_words(getattr(cause, "errno", None)) or _own_words(cause)


def _lookup_words(error: socket.gaierror) -> str:
    return _NO_ANSWER if error.errno == socket.EAI_AGAIN else _NO_HOST


def _system_words(number: object) -> str | None:
    if not isinstance(number, int):
        return None
    return _IN_OUR_WORDS.get(number) or os.strerror(number)


def _own_words(error: object) -> str:
    """Give what an error says of itself, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
