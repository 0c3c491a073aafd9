"""The Twisted edge on a bench: a socket whose peer is the test, and a clock."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from brokerproto.broker import Broker
from brokerproto.engine import Engine, EngineObserver
from brokerproto.engine_protocol import EngineFactory
from brokerproto.framing import Framing
from brokerproto.life import Life
from brokerproto.observer import Observer
from brokerproto.protocol import BrokerFactory, BrokerProtocol
from brokerproto.terms import Limits
from brokerproto.testing import RecordingObserver, RecordingWorker
from tests.brokerproto.drawn import Drawn


class Socket(StringTransport):
    """A TCP connection; the test is what stands at its other end.

    Attributes:
        calls: How the protocol has ended it, in order: ``half-close``, ``close``,
            ``abort``.
        reads: Whether the peer reads; while it does not, a close does not end.
    """

    protocol: Protocol
    io: BytesIO
    peerAddr = IPv4Address("TCP", "127.0.0.1", 4000)
    # Twisted's reading may be resumed after the end; its fake's only if told so.
    _lenient = True

    def __init__(self) -> None:
        self.io = BytesIO()
        self.connected = True
        self.calls: list[str] = []
        self.reads = True

    def connect(self, protocol: Any) -> None:
        """Begin the connection."""
        self.protocol = protocol
        protocol.makeConnection(self)

    def hears(self, *frames: str) -> None:
        """Deliver whole frames to the protocol."""
        self.protocol.dataReceived("".join(f"{frame}\n" for frame in frames).encode())

    def said(self) -> list[str]:
        """Take what the protocol has written."""
        written, self.io = self.io.getvalue().decode(), BytesIO()
        return written.splitlines()

    def loseWriteConnection(self) -> None:
        self.calls.append("half-close")

    def loseConnection(self) -> None:
        self.calls.append("close")
        if self.reads:
            self.ends(ConnectionDone())

    def abortConnection(self) -> None:
        self.calls.append("abort")
        self.ends(ConnectionAborted())

    def ends(self, reason: Exception) -> None:
        """End the connection, once."""
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(reason))


class BrokerEdge:
    """A broker behind its Twisted protocols; its ticks come when time passes."""

    def __init__(self, limits: Limits | None = None, observer: Observer | None = None) -> None:
        self.clock = Clock()
        self.observer = RecordingObserver()
        self.broker = Broker(
            self.clock.seconds, "b0", limits or Limits(), observer or self.observer
        )
        self.factory = BrokerFactory(self.broker, self.clock, "tcp://*:1337")

    def accepts(self, socket: Socket | None = None, framing: Framing = "lines") -> Socket:
        """Accept a connection."""
        socket = Socket() if socket is None else socket
        factory = BrokerFactory(self.broker, self.clock, "tcp://*:1337", framing)
        socket.connect(factory.buildProtocol(socket.peerAddr))
        return socket

    def registers(self, engine_id: str) -> Socket:
        """Accept a connection, and register an engine on it."""
        socket = self.accepts()
        socket.hears(f"NewEngine:{engine_id}:0:v=1;instance=a1;ack=1")
        (success,) = socket.said()
        assert success.startswith("SUCCESS:Registered:")
        return socket

    def passes(self, seconds: float) -> None:
        """Let time pass, and have the broker tick as it should."""
        tick = self.broker.tick_length
        for _ in range(round(seconds / tick)):
            self.clock.advance(tick)
            self.broker.tick()

    def is_idle(self) -> bool:
        """Whether no delayed call is left."""
        return not self.clock.getDelayedCalls()

    def protocol_of(self, socket: Socket) -> BrokerProtocol:
        """Give the protocol of a connection."""
        assert isinstance(socket.protocol, BrokerProtocol)
        return socket.protocol


class EngineEdge:
    """An engine behind its Twisted protocol."""

    def __init__(self, observer: EngineObserver | None = None) -> None:
        self.clock = Clock()
        self.worker = RecordingWorker()
        self.engine = Engine(
            Life("e", "a1"),
            self.worker,
            self.clock.seconds,
            Drawn(),
            observer=observer or EngineObserver(),
        )
        self.factory = EngineFactory(self.engine, self.clock)

    def connects(self, *frames: str) -> Socket:
        """Connect to a broker that answers with these frames; nothing is left to read."""
        socket = Socket()
        socket.connect(self.factory.buildProtocol(socket.peerAddr))
        if frames:
            socket.hears(*frames)
        socket.said()
        return socket
