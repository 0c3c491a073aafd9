"""What a protocol writes to a link: its producer, and the end of what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from transports.fault.faults import Plan
from transports.fault.lane import Lane

if TYPE_CHECKING:
    from transports.fault.link import Link

__all__ = ["HIGH_WATER", "Outgoing"]

HIGH_WATER = 64 * 1024
"""Bytes under way in one direction above which no more are taken from who can be stopped."""


@implementer(IPushProducer)
@define(eq=False)
class _Valve:
    """What the transport below stops when it is full."""

    _outgoing: Outgoing

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._outgoing.hold(True)

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._outgoing.hold(False)

    def stopProducing(self) -> None:
        """See `IPushProducer`; that it is lost is told otherwise too."""


@define(eq=False)
class Outgoing:
    """The writing half of a link.

    Args:
        link: Whose it is.
        reactor: Later turns.

    Attributes:
        lane: What is under way.
        is_ending: Whether the protocol has ended this half.
        is_ended: Whether it was told that this half has ended.
    """

    link: Link
    _reactor: Any
    lane: Lane
    is_ending: bool = field(init=False, default=False)
    is_ended: bool = field(init=False, default=False)
    _half_passed: bool = field(init=False, default=False)
    _end_queued: bool = field(init=False, default=False)
    _is_over: bool = field(init=False, default=False)
    _is_full: bool = field(init=False, default=False)
    _producer: Any = field(init=False, default=None)
    _streaming: bool = field(init=False, default=False)
    _producer_paused: bool = field(init=False, default=False)
    _turn: IDelayedCall | None = field(init=False, default=None)

    @classmethod
    def of(cls, link: Link, reactor: Any, plan: Plan, is_whole: bool) -> Outgoing:
        """Make the writing half of `link`."""
        lane = Lane(reactor, plan.outward, is_whole)
        lane.is_one_by_one = plan.outward is not None and plan.outward.slice is not None
        outgoing = cls(link, reactor, lane)
        lane.leads_to(outgoing._carry, outgoing._pass_end, outgoing.settle_later)
        return outgoing

    def write(self, data: bytes) -> None:
        """Send `data`, unless that is over."""
        closing = self.is_ending or self.link.disconnecting
        if not data or self.is_ended or (closing and self._producer is None):
            return
        self.lane.push(data)
        if self._producer is not None:
            self._look_at_producer()

    def end(self) -> None:
        """End this half behind what was written."""
        if not self.is_ending:
            self.is_ending = True
            self.settle_later()

    def half_passed(self) -> None:
        """Tell that the transport below has ended this half."""
        self._half_passed = True
        self._tell_ended()

    def register(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`.

        Raises:
            RuntimeError: Another one is registered.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered")
        if not self.link.connected:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not self.link.is_gone:
            self.link.transport.registerProducer(_Valve(self), True)
        if not streaming:
            producer.resumeProducing()

    def unregister(self) -> Any:
        """See `IConsumer`; give whom was registered."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self._streaming = self._producer_paused = self._is_full = self.lane.is_held = False
            if not self.link.is_gone:
                self.link.transport.unregisterProducer()
            self.lane.go_on()
            self.settle_later()
        return producer

    def hold(self, is_full: bool) -> None:
        """Tell that the transport below takes no more for now, or does again."""
        self._is_full = self.lane.is_held = is_full
        if not is_full:
            self.lane.go_on()
            self.settle_later()
        elif self._producer is not None:
            self._look_at_producer()

    def settle_later(self) -> None:
        """Look in a later turn whether all that was written has gone."""
        if self._turn is None and self.link.connected and not self._is_over:
            self._turn = self._reactor.callLater(0, self._settle)

    def look_at_end(self) -> None:
        """Look in a later turn at an end that is under way, if there is one."""
        if self.is_ending or self.link.disconnecting:
            self.settle_later()

    def drop(self) -> None:
        """Forget what was written, and wait for nothing any more."""
        self.lane.drop()
        self._is_over = True
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def stop(self) -> None:
        """Ask nobody for more, and tell nothing any more; what waits may still go."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        producer = self.unregister()
        if producer is not None:
            producer.stopProducing()

    def leave_behind(self) -> None:
        """Let the other side see the end when it can, though nobody waits for it."""
        if not self._end_queued:
            self._end_queued = True
            self.lane.push_end()

    def _carry(self, data: bytes) -> None:
        if not self.link.is_gone:
            self.link.transport.write(data)

    def _look_at_producer(self) -> None:
        if not self._streaming:
            self.settle_later()
        elif not self._producer_paused and (self._is_full or self.lane.waiting > HIGH_WATER):
            self._producer_paused = True
            self._producer.pauseProducing()

    def _settle(self) -> None:
        """Ask for more, or end what is to be ended, once all that was written has gone."""
        self._turn = None
        link = self.link
        closing = link.disconnecting or (self.is_ending and not self._half_passed)
        if not self.lane.waiting and not self._is_full:
            if self._producer is not None and (self._producer_paused or not self._streaming):
                streaming, self._producer_paused = self._streaming, False
                self._producer.resumeProducing()
                if closing and streaming:
                    self.settle_later()
                return
            if closing and not self._end_queued:
                self._end_queued = True
                self.lane.push_end()
        if closing and link.connected and self.lane.is_cut:
            self._end_unseen()

    def _end_unseen(self) -> None:
        """Do as a system: it takes the last words, and sends them when it can."""
        if self.lane.waiting > HIGH_WATER or self._producer_paused:
            return
        if self.link.disconnecting:
            self.link.lose(Failure(ConnectionDone()))
        else:
            self._tell_ended()

    def _tell_ended(self) -> None:
        if self.is_ended or not self.link.connected:
            return
        self.is_ended = True
        half_closeable = IHalfCloseableProtocol(self.link.protocol, None)
        if half_closeable is not None:
            half_closeable.writeConnectionLost()

    def _pass_end(self) -> None:
        """Pass an end on to the transport below, behind the last byte."""
        self._end_queued = False
        link = self.link
        if link.is_gone:
            if link.disconnecting:
                link.lose(Failure(ConnectionDone()))
            return
        if self._producer is not None:
            link.transport.unregisterProducer()
        if link.disconnecting or not link.connected:
            link.transport.loseConnection()
        elif not self._half_passed:
            link.transport.loseWriteConnection()
