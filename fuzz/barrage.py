"""Random bytes at a broker that runs: mutated conversations over real sockets."""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from random import Random
from zlib import crc32

from attrs import define, field

from fuzz.mutation import Mutator, kept_inputs
from fuzz.pieces import some_pieces

__all__ = ["Barrage"]

_AT_ONCE = 24
_PATIENCE = 300.0
_NEVER_ENDING = 100_000


@define(eq=False)
class Barrage:
    """Strangers who connect, say something, and go in one way or another.

    Args:
        host: Where the broker listens.
        port: Likewise.
        random: Decides on everything.

    Attributes:
        counts: Connections, frames and bytes sent, frames heard, and ways to go.
        at_once: Connections that stay open for a while.
    """

    host: str
    port: int
    random: Random
    counts: Counter[str] = field(init=False, factory=Counter)
    at_once: list[socket.socket] = field(init=False, factory=list)
    _mutator: Mutator = field(init=False)

    @_mutator.default
    def _from_kept(self) -> Mutator:
        scripts = kept_inputs("broker")
        streams = kept_inputs("broker-session") + [
            b"\n".join(line[1:] for line in script.split(b"\n") if line[:1].isdigit())
            for script in scripts
        ]
        return Mutator(self.random, streams + kept_inputs("wire"))

    def converse(self) -> None:
        """Say one mutated conversation; somebody else may have to go for it."""
        data = self._mutator.mutated()
        if self.random.randint(0, 99) == 0:
            data += self.random.randbytes(_NEVER_ENDING)
        peer = socket.create_connection((self.host, self.port), _PATIENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.at_once.append(peer)
        self.counts["connections"] += 1
        self.counts["frames"] += data.count(b"\n")
        self.counts["bytes"] += len(data)
        try:
            for piece in some_pieces(data, Random(crc32(data))):
                peer.sendall(piece)
        except ConnectionError:
            self.counts["cut off meanwhile"] += 1
        if len(self.at_once) > _AT_ONCE:
            self._let_go(self.at_once.pop(self.random.randrange(_AT_ONCE)))

    def end(self) -> None:
        """Let everybody go."""
        while self.at_once:
            self._let_go(self.at_once.pop())

    def _let_go(self, peer: socket.socket) -> None:
        way = self.random.choice(["closes unread", "closes", "resets", "half-closes"])
        self.counts[way] += 1
        with peer:
            try:
                if way == "closes":
                    peer.setblocking(False)
                    self._listen(peer)
                elif way == "resets":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif way == "half-closes":
                    peer.shutdown(socket.SHUT_WR)
                    self._listen(peer)
            except (ConnectionError, BlockingIOError):
                pass
            except OSError as error:
                # Who was cut off has nothing to close any more.
                if error.errno != errno.ENOTCONN:
                    raise

    def _listen(self, peer: socket.socket) -> None:
        """Hear what the broker has said, up to its end or, without waiting, up to now."""
        while heard := peer.recv(65536):
            self.counts["frames heard"] += heard.count(b"\n")
            assert heard.isascii(), heard
