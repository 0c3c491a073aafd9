"""Engines that connect and register by the thousand, from one thread and one selector."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator

from attrs import define, field

__all__ = ["Arrivals"]

_SOURCES = 20
_WAIT = 0.005


@define(eq=False)
class Arrivals:
    """Connections to one broker, each of which says hello and hears its answer.

    They come from several addresses of this machine, so that ports do not run out.

    Args:
        address: The broker's host and port; the host is one of 127.0.0.0/8.
        name: What the ids begin with.
        options: The hello's, from the colon on.
        receive_buffer: Bytes that the system takes for each; None for what is usual.
        held: Whether those that are registered stay.

    Attributes:
        begun: How many were begun.
        registered: How many were told SUCCESS.
        refused: How many were told something else, or cut off.
        sockets: Those that stay.
    """

    address: tuple[str, int]
    name: str
    options: str = ":v=1;interval=300"
    receive_buffer: int | None = None
    held: bool = True
    begun: int = field(init=False, default=0)
    registered: int = field(init=False, default=0)
    refused: int = field(init=False, default=0)
    sockets: list[socket.socket] = field(init=False, factory=list)
    _selector: selectors.BaseSelector = field(init=False, factory=selectors.DefaultSelector)

    @property
    def under_way(self) -> int:
        """How many have not heard their answer yet."""
        return self.begun - self.registered - self.refused

    def come(self, count: int, seconds: float) -> float:
        """Begin so many, evenly over so many seconds, and wait until all have an answer.

        Returns:
            Seconds from the first beginning to the last answer.
        """
        began, first = time.monotonic(), self.begun
        while self.begun - first < count or self.under_way:
            passed = time.monotonic() - began
            due = count if passed >= seconds else int(count * passed / seconds) + 1
            # In pieces, so that answers are read meanwhile.
            for _ in range(min(100, due - (self.begun - first))):
                self._begin()
            self._look(_WAIT if self.begun - first >= due else 0.0)
        return time.monotonic() - began

    def close(self) -> None:
        """Hang up."""
        for sock in self.sockets:
            sock.close()
        self._selector.close()

    def _begin(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        if self.receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        if hasattr(socket, "IP_BIND_ADDRESS_NO_PORT"):
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{2 + self.begun % _SOURCES}", 0))
        sock.connect_ex(self.address)
        self.begun += 1
        hello = f"NewEngine:{self.name}-{self.begun}:0{self.options}\n".encode()
        self._selector.register(sock, selectors.EVENT_WRITE, hello)

    def _look(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                if key.data is not None:
                    sock.send(key.data)
                    self._selector.modify(sock, selectors.EVENT_READ, None)
                    continue
                is_registered = sock.recv(4096).startswith(b"SUCCESS")
            except OSError:
                is_registered = False
            self._answered(sock, is_registered)

    def _answered(self, sock: socket.socket, is_registered: bool) -> None:
        self._selector.unregister(sock)
        if is_registered:
            self.registered += 1
        else:
            self.refused += 1
        if is_registered and self.held:
            self.sockets.append(sock)
        else:
            sock.close()

    def sip(self, most: int) -> Iterator[int]:
        """Read a little of what waits for each that stays; give how many bytes each time."""
        for sock in self.sockets:
            try:
                yield len(sock.recv(most))
            except OSError:
                yield 0
