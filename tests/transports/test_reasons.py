"""Why something cannot be dialled, in words that say what is to be done."""

from __future__ import annotations

import errno

import pytest
from twisted.internet.error import ConnectBindError, ConnectError, getConnectError

from transports.reasons import dial_reason, listen_reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (getConnectError((errno.ECONNREFUSED, "")), "connection refused"),
        (
            getConnectError((errno.EADDRNOTAVAIL, "")),
            "no port is left to connect from, or no address",
        ),
        (
            ConnectBindError(errno.EADDRINUSE, ""),
            "no port is left to connect from, or no address",
        ),
        (
            ConnectBindError(errno.EADDRNOTAVAIL, ""),
            "the address to connect from is not one of this machine",
        ),
        (ConnectBindError(errno.EMFILE, ""), "too many open files"),
        (ConnectError(errno.EADDRINUSE, ""), "address already in use"),
    ],
)
def test_who_connects_is_told_what_its_own_end_lacks(error: ConnectError, words: str) -> None:
    assert dial_reason(error) == words


def test_who_listens_is_told_in_the_systems_words() -> None:
    error = OSError(errno.EADDRNOTAVAIL, "")
    assert listen_reason(error) == "Cannot assign requested address"
