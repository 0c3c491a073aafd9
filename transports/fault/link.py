"""One connection with faults: it stands between a transport and its protocol.

To the transport it is the protocol, to the protocol the transport. For the rest it
does what Twisted's TCP connection does; a protocol must not notice the difference,
but for what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer, providedBy

from transports.fault.faults import Direction, Plan
from transports.fault.lane import Lane
from transports.fault.outgoing import HIGH_WATER, Outgoing
from transports.fault.strikes import Strikes

if TYPE_CHECKING:
    from transports.fault.switch import Switch

__all__ = ["Link"]

_log = Logger()


@implementer(IHalfCloseableProtocol, ITransport, IConsumer, IPushProducer)
@define(eq=False, slots=False)
class Link:
    """One connection, which can be disturbed while it lives.

    What the transport below can do besides is passed on: ``getHandle``,
    ``setTcpNoDelay``, and ``loseWriteConnection`` where it has that.

    Args:
        reactor: Its clock, and later turns.
        number: How many connections its endpoint has begun or accepted, with this one.
        protocol: Whose connection it is.
        plan: What is done to it by itself.
        is_whole: Whether what is written at once is a message, and never cut.
        switch: Knows it as long as it lives; None where nobody wants to.

    Attributes:
        number: See the arguments.
        protocol: See the arguments.
        transport: What it stands on.
        is_gone: Whether that has ended.
        connected: True until the protocol is told that the connection is lost.
        disconnecting: True from ``loseConnection`` or ``abortConnection`` on.
    """

    _reactor: Any
    number: int
    protocol: Any
    _plan: Plan
    _is_whole: bool = False
    _switch: Switch | None = None
    transport: Any = field(init=False, default=None, repr=False)
    is_gone: bool = field(init=False, default=False)
    connected: bool = field(init=False, default=False)
    disconnecting: bool = field(init=False, default=False)

    _in: Lane = field(init=False, repr=False)
    _out: Outgoing = field(init=False, repr=False)
    _strikes: Strikes | None = field(init=False, default=None, repr=False)
    _is_reading: bool = field(init=False, default=True)
    _end_came: bool = field(init=False, default=False)
    _end_told: bool = field(init=False, default=False)
    _loss: Failure | None = field(init=False, default=None)
    _aborted: bool = field(init=False, default=False)
    _broken: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._in = Lane(self._reactor, self._plan.inward, self._is_whole)
        self._in.leads_to(self._deliver, self._deliver_end, self._look_at_reading)
        self._out = Outgoing.of(self, self._reactor, self._plan, self._is_whole)
        if IHandshakeListener.providedBy(self.protocol):
            alsoProvides(self, IHandshakeListener)

    # Disturbed by hand.

    @property
    def is_frozen(self) -> bool:
        """Whether `freeze` holds bytes back, in one direction at least."""
        return any(lane.is_frozen for lane in self.lanes())

    @property
    def is_cut(self) -> bool:
        """Whether it is cut, in one direction at least."""
        return any(lane.is_cut for lane in self.lanes())

    def freeze(self, direction: Direction = "both") -> None:
        """Let bytes wait, and clean ends behind them, until `heal`.

        A reset, and an abort, are seen all the same.
        """
        for lane in self.lanes(direction):
            lane.is_frozen = True
        self._look_at_reading()
        self._look_at_loss()

    def cut(self, direction: Direction = "both") -> None:
        """Let nothing through until `heal`, and tell nobody.

        The protocol may close or abort its connection; the other side does not
        see it, nor the protocol what the other side does.
        """
        for lane in self.lanes(direction):
            lane.is_cut = True
        self._look_at_reading()
        self._out.look_at_end()

    def heal(self) -> None:
        """Undo `freeze` and `cut`: what waits arrives, and what has ended is seen."""
        self.lift(frozen=True, cut=True)

    def reset(self) -> None:
        """Break the connection: both sides see a reset, and what waits is lost."""
        if self._broken or not (self.connected or self._is_left_behind):
            return
        self._broken = True
        self._in.drop()
        self._out.drop()
        if self.is_gone:
            self._lose_later(Failure(ConnectionLost()))
        else:
            self._abort_below()

    def lift(self, *, frozen: bool = False, cut: bool = False) -> None:
        """Undo one of both; see `heal`."""
        was_cut = self._in.is_cut
        for lane in self.lanes():
            lane.is_frozen = lane.is_frozen and not frozen
            lane.is_cut = lane.is_cut and not cut
        if self._is_left_behind and self._aborted and not self._out.lane.is_cut:
            self._abort_below()
        if was_cut and cut and self._loss is not None:
            self._in.push_end()
        for lane in self.lanes():
            lane.go_on()
        self._out.look_at_end()
        self._look_at_reading()

    def lanes(self, direction: Direction = "both") -> tuple[Lane, ...]:
        """Give the lanes of a direction."""
        lanes = {"in": (self._in,), "out": (self._out.lane,)}
        return lanes.get(direction, (self._in, self._out.lane))

    # What the transport below calls.

    def makeConnection(self, transport: Any) -> None:
        """See `IProtocol`."""
        self.transport = transport
        alsoProvides(self, providedBy(transport))
        self.connected = True
        if self._switch is not None:
            self._switch.joined(self)
        if self._plan.strikes:
            self._strikes = Strikes(self, self._reactor, self._plan)
            self._strikes.begin()
        self.protocol.makeConnection(self)

    def connectionMade(self) -> None:
        """See `IProtocol`."""

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        self.protocol.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self.connected and not (self.disconnecting or self._broken):
            self._in.push(data)
            if self._in.waiting:
                self._look_at_reading()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        if self._end_came:
            return
        self._end_came = True
        if not self.connected:
            self.transport.loseConnection()
        elif not self.disconnecting:
            self._in.push_end()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self._out.half_passed()

    def connectionLost(self, reason: Failure) -> None:
        """See `IProtocol`."""
        self.is_gone = True
        if not self.connected:
            self._finish()
        elif self._broken:
            self.lose(Failure(ConnectionLost()))
        elif self._aborted:
            self.lose(Failure(ConnectionAborted()))
        elif self.disconnecting and not self._out.lane.is_cut:
            self.lose(reason)
        else:
            self._loss = reason
            if not self._in.is_cut:
                self._in.push_end()
                self._look_at_loss()

    # What the protocol calls.

    def __getattr__(self, name: str) -> Any:
        transport = self.__dict__.get("transport")
        if name.startswith("_") or transport is None:
            raise AttributeError(name)
        found = getattr(transport, name)
        return self._out.end if name == "loseWriteConnection" else found

    def write(self, data: bytes) -> None:
        """See `ITransport`; dropped once the connection is being closed.

        But not what a registered producer still has to give.

        Raises:
            TypeError: `data` is not `bytes`.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"only bytes can be written, not {type(data).__name__}")
        if self.connected and not (self._aborted or self._broken):
            self._out.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        for part in data:
            self.write(part)

    def loseConnection(self) -> None:
        """See `ITransport`: closes when all that was written has gone its way."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._in.drop()
            self._look_at_reading()
            if self._loss is not None and not self.is_cut:
                self._lose_later(self._loss)
            self._out.settle_later()

    def abortConnection(self) -> None:
        """Close at once; what waits in either direction is dropped."""
        if not self.connected or self._aborted:
            return
        self.disconnecting = self._aborted = True
        self._in.drop()
        self._out.drop()
        if self.is_gone or self._out.lane.is_cut:
            self._lose_later(Failure(ConnectionAborted()))
        elif not self._broken:
            self._abort_below()

    def getHost(self) -> Any:
        """See `ITransport`."""
        return self.transport.getHost()

    def getPeer(self) -> Any:
        """See `ITransport`."""
        return self.transport.getPeer()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`.

        Raises:
            RuntimeError: Another one is registered.
        """
        self._out.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._out.unregister()

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._in.is_held = True
        self._look_at_reading()
        self._look_at_loss()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        if self.connected and not self.disconnecting:
            self._in.is_held = False
            self._in.go_on()
            self._look_at_reading()

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.loseConnection()

    # What comes in.

    def _deliver(self, data: bytes) -> None:
        try:
            self.protocol.dataReceived(data)
        except Exception:  # whatever a protocol raises costs it its connection
            failure = Failure()
            _log.failure("Unhandled error in {protocol!r}", failure, protocol=self.protocol)
            self.lose(failure)

    def _look_at_reading(self) -> None:
        """Read from the transport below as long as there is room for it."""
        if self.is_gone or self._end_came or self.transport is None:
            return
        lane = self._in
        room = HIGH_WATER if self._is_reading else HIGH_WATER // 2
        open_for_more = not self.disconnecting and lane.is_open and lane.waiting <= room
        # Of what was left behind, the end is to be noticed, and nothing else.
        wanted = open_for_more or not self.connected
        if wanted is not self._is_reading:
            self._is_reading = wanted
            (self.transport.resumeProducing if wanted else self.transport.pauseProducing)()

    def _deliver_end(self) -> None:
        """Tell of the end that came, of one half or of all."""
        if not self.connected:
            return
        if self._end_came and not self._end_told and not self.disconnecting:
            self._end_told = True
            half_closeable: Any = IHalfCloseableProtocol(self.protocol, None)
            if half_closeable is not None:
                half_closeable.readConnectionLost()
            else:
                self.lose(Failure(ConnectionDone()))
        elif self._loss is not None:
            self.lose(self._loss)

    def _look_at_loss(self) -> None:
        """Tell of a loss that waits behind bytes which nobody takes."""
        loss, lane = self._loss, self._in
        if (
            loss is not None
            and not loss.check(ConnectionDone)
            and not (lane.is_open or lane.is_cut)
        ):
            self._lose_later(loss)

    # Its end.

    def lose(self, reason: Failure) -> None:
        """Tell the protocol that the connection is lost, and be done with the rest."""
        if not self.connected:
            return
        self.connected = False
        self._in.drop()
        if self.is_gone or not self._out.lane.is_cut or self._aborted:
            self._out.lane.drop()
        self._out.stop()
        try:
            self.protocol.connectionLost(reason)
        finally:
            self._leave()

    def _leave(self) -> None:
        if self.is_gone:
            self._finish()
        elif self._end_came:
            self.transport.loseConnection()
        elif self._aborted and not self._out.lane.is_cut:
            self._abort_below()  # healed meanwhile
        else:
            if not self._aborted:
                self._out.leave_behind()
            self._look_at_reading()

    @property
    def _is_left_behind(self) -> bool:
        """Whether the protocol is gone, and the connection below is not."""
        return self.transport is not None and not self.connected and not self.is_gone

    def _lose_later(self, reason: Failure) -> None:
        self._reactor.callLater(0, self.lose, reason)

    def _abort_below(self) -> None:
        transport = self.transport
        getattr(transport, "abortConnection", transport.loseConnection)()

    def _finish(self) -> None:
        if self._strikes is not None:
            self._strikes.stop()
        if self._switch is not None:
            self._switch.left(self)
