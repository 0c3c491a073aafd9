"""A server of names that answers well, badly, late or not at all."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

from attrs import define, field, frozen
from twisted.names import dns

from tests.network.routed import Host

__all__ = ["Answer", "NameServer"]

_PORT = 53
_LONGEST = 512


@frozen
class Answer:
    """What is known of a name.

    Attributes:
        addresses: Its IPv4 addresses.
        addresses6: Its IPv6 addresses.
        code: Such as ``dns.ENAME``, which is NXDOMAIN.
        after: Seconds until it is told.
    """

    addresses: tuple[str, ...] = ()
    addresses6: tuple[str, ...] = ()
    code: int = dns.OK
    after: float = 0.0

    def message(self, asked: dns.Message) -> bytes:
        """Answer a query of one question."""
        [question] = asked.queries
        answer: Any = dns.Message(asked.id, answer=1, rCode=self.code)
        answer.queries = [question]
        known: dict[int, list[Any]] = {
            dns.A: [dns.Record_A(address, 0) for address in self.addresses],
            dns.AAAA: [dns.Record_AAAA(address, 0) for address in self.addresses6],
        }
        for record in known.get(question.type, []):
            name = question.name.name
            answer.answers.append(dns.RRHeader(name, question.type, ttl=0, payload=record))
        encoded: bytes = answer.toStr()
        return encoded


@define(eq=False)
class NameServer:
    """Answers on a host's port for names until it is closed.

    Attributes:
        known: What is answered about each name; the unknown ones do not exist.
        asked: How many times for the IPv4 address of each name.
    """

    _host: Host
    known: dict[str, Answer] = field(factory=dict)
    asked: Counter[str] = field(factory=Counter)
    _socket: socket.socket = field(init=False)
    _serving: threading.Thread = field(init=False)
    _late: list[threading.Timer] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._socket = self._host.place.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self._host.address, _PORT))
        self._serving = threading.Thread(target=self._serve)
        self._serving.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._socket.sendto(b"", self._socket.getsockname())
        self._serving.join()
        for late in self._late:
            late.cancel()
            late.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(_LONGEST)
            if not data:
                return
            self._answer(data, peer)

    def _answer(self, data: bytes, peer: Any) -> None:
        asked: Any = dns.Message()
        asked.fromStr(data)
        name = asked.queries[0].name.name.decode("ascii")
        self.asked[name] += asked.queries[0].type == dns.A
        answer = self.known.get(name, Answer(code=dns.ENAME))
        late = threading.Timer(answer.after, self._tell, (answer.message(asked), peer))
        self._late.append(late)
        late.start()

    def _tell(self, message: bytes, peer: Any) -> None:
        # Who asked may have gone.
        with suppress(OSError):
            self._socket.sendto(message, peer)
