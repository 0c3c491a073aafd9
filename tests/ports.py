"""Ports that tests running beside each other do not take from one another."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["reserved_port"]


@contextmanager
def reserved_port() -> Iterator[int]:
    """Have a port of 127.0.0.1 on which nobody listens, and only who names it may.

    Whoever asks the system for any port gets another one, as long as this one is had.
    """
    with socket.socket() as holding:
        # Who wants to listen there says so too, as Twisted's ports do.
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind(("127.0.0.1", 0))
        yield holding.getsockname()[1]
