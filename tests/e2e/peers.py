"""Peers that share no code with the project: a socket, frames as text, nothing else."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import ClassVar, Self

_PATIENCE = 300.0


def socket_to(address: str, source: str = "") -> socket.socket:
    """Connect to ``tcp://...``, from an address of this machine; or to ``ipc://...``."""
    if not address.startswith("ipc://"):
        return socket.create_connection(host_and_port(address), _PATIENCE, (source, 0))
    name = address.removeprefix("ipc://").partition("?")[0]
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(f"\0{name[1:]}" if name.startswith("@") else name)
    return sock


def host_and_port(address: str) -> tuple[str, int]:
    """Read ``tcp://127.0.0.1:1337``."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    return host, int(port)


class Peer:
    """One end of a connection, and what it has read.

    Attributes:
        made: All peers that were made, and not yet seen closed.
    """

    made: ClassVar[set[Peer]] = set()

    def __init__(self, connected: socket.socket) -> None:
        self.made.add(self)
        connected.settimeout(_PATIENCE)
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self._read = b""
        self._was_broken = False

    @classmethod
    def to(cls, address: str, source: str = "") -> Self:
        """Connect to a broker, from an address of this machine."""
        return cls(socket_to(address, source))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, *frames: str) -> None:
        """Write frames, each with its LF, in one segment."""
        self.write("".join(f"{frame}\n" for frame in frames).encode("latin-1"))

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.socket.sendall(data)

    def write_to_the_deaf(self, data: bytes) -> None:
        """Write bytes to somebody who may close, or reset, at any of them."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            # The system says so once: whoever reads later is told of a mere end.
            self._was_broken = True

    def frame(self) -> str:
        """Read one frame."""
        while b"\n" not in self._read:
            data = self.socket.recv(65536)
            if not data:
                raise AssertionError(f"the end came, not a frame; before it: {self._read!r}")
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line.decode("ascii")

    def frames(self, count: int) -> list[str]:
        """Read so many frames."""
        return [self.frame() for _ in range(count)]

    def until(self, beginning: str) -> str:
        """Read frames until one begins so."""
        while not (frame := self.frame()).startswith(beginning):
            pass
        return frame

    def rest(self) -> list[str]:
        """Read until the other side says that nothing more is coming.

        Raises:
            ConnectionResetError: It did not say so, but broke the connection.
        """
        while data := self.socket.recv(65536):
            self._read += data
        if self._was_broken:
            raise ConnectionResetError("it broke while it was written to")
        lines = self._read.decode("ascii").split("\n")
        assert lines.pop() == "", "the last frame has no end"
        self._read = b""
        return lines

    def is_silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long."""
        if self._read:
            return False
        self.socket.settimeout(seconds)
        try:
            self._read += self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(_PATIENCE)
        return False

    def finish(self) -> None:
        """Send a FIN, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection by a RST, as the system does for a crashed peer."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class RawEngine(Peer):
    """A well-behaved engine that does nothing by itself.

    It wishes for heartbeats a minute apart, so that nobody misses it meanwhile.
    """

    def register(self, engine_id: str, seq: int = 0, options: str = "ack=1;interval=60") -> str:
        """Say the hello, and return the answer."""
        self.engine_id, self.seq = engine_id, seq
        self.send(f"NewEngine:{engine_id}:{seq}" + (f":{options}" if options else ""))
        answer = self.frame()
        assert answer.startswith("SUCCESS:Registered"), answer
        return answer

    @classmethod
    def at(cls, address: str, engine_id: str) -> Self:
        """Connect and register."""
        engine = cls.to(address)
        engine.register(engine_id)
        return engine

    def beat(self) -> None:
        """Send the next heartbeat, and see it acknowledged."""
        self.seq += 1
        self.send(f"HeartBeat:{self.engine_id}:{self.seq}")
        answer = self.frame()
        assert answer == f"ACK:{self.seq}", answer

    def leave(self) -> None:
        """Say Bye, and see the connection closed."""
        self.send("Bye")
        assert self.rest() == []
        self.socket.close()


class RawBroker:
    """A listening socket in a broker's place; it says what it is told to."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(_PATIENCE)
        self.address = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"

    def accept(self) -> Peer:
        """Wait for the next engine's connection."""
        return Peer(self._listening.accept()[0])

    def close(self) -> None:
        """Listen no longer."""
        self._listening.close()


def refused_with(answers: list[str]) -> int:
    """Give the code of the one refusal that came."""
    [answer] = answers
    verb, code, name, retry, text = answer.split(":", 4)
    assert (verb, name.isupper(), text.isprintable()) == ("FAILED", True, True)
    assert retry in ("never", "now") or retry.isdecimal()
    return int(code)
