"""The one descriptor that a reactor watches for many connections.

What a protocol asks for within a drain, such as to close, is done when the drain is
over: nothing is told to a protocol from within its own calls.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from transports.hub.lane import Lane, Lanes
from transports.hub.pace import TICK, Pace
from transports.hub.peers import Peers

__all__ = ["PIECE", "READABLE", "TURN", "WRITABLE", "Hub", "Member", "hub_of"]

PIECE = 1024
"""Bytes that a receiver is given at most at once, so that nobody gets far beyond a rate
before it can be held to it."""

TURN = 0.01
"""Seconds after which the reactor has its turn, whatever else is ready."""

# Looked at between two looks at the clock.
_AT_ONCE = 64

# They are absent elsewhere; `choice` keeps others away.
READABLE: int = getattr(select, "EPOLLIN", 0)
WRITABLE: int = getattr(select, "EPOLLOUT", 0)

_FORKED = Failure(ConnectionLost("it is that of the process that this one was forked from"))

_log = Logger()

_hubs: dict[Any, Hub] = {}
"""That of each reactor that has connections in one."""


class Member(Protocol):
    """What has a descriptor in a hub: a connection, a port, or an attempt to connect.

    After its descriptor is closed, events may still come that were meant for it, or for
    whoever has the same number now: what an event says is asked of the system before
    anything is concluded from it.
    """

    def ready(self, events: int) -> None:
        """Do what can be done now; the events are those of epoll."""

    def readable(self, data: bytes | OSError) -> None:
        """Take what was read, which no receiver took, empty at the end."""

    def followed(self, outcome: object, data: bytes) -> None:
        """Bring the protocol what its receiver made of `data`."""

    def settle(self, reason: Failure | None) -> None:
        """Do what was put off; end with `reason`, where there is one."""

    def failed(self, reason: Failure) -> None:
        """Go on, or end, after one of these methods has raised."""

    def connectionLost(self, reason: Failure) -> None:
        """End, because the reactor does."""

    def forked(self, reason: Failure) -> None:
        """Go on in another process than before, or end there alone."""

    @property
    def factory(self) -> Any:
        """Whose protocols it has."""


def hub_of(reactor: Any) -> Hub:
    """Give the hub of a reactor, which is made where there is none."""
    hub = _hubs.get(reactor)
    if hub is None:
        hub = _hubs[reactor] = Hub(reactor)
    return hub


@implementer(IReadDescriptor)
class Hub:
    """Reads all connections of a reactor, and waits for all that is to come.

    It is gone with its last member. In a process that was forked it keeps the ports, and
    the connections stay those of the parent, when the child's reactor first has a turn.

    Attributes:
        reactor: Whose it is.
        receivers: By descriptor, who takes the bytes; None where the member does.
        peers: By descriptor, who is at the other end.
        lanes: By factory, the connections that may have receivers.
        is_separating: Whether what ends now does so in this process alone.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.receivers: list[Any] = []
        self.peers = Peers()
        self.lanes = Lanes()
        self.is_separating = False
        self._members: list[Member | None] = []
        self._count = 0
        self._pace = Pace()
        self._rest: list[tuple[int, int]] = []
        self._unsettled: deque[tuple[Member, Failure | None]] = deque()
        self._is_turning = False
        self._is_watched = False
        self._next_look: IDelayedCall | None = None
        self._next_settling: IDelayedCall | None = None
        # A reactor that stops ends only what it watches.
        self._stopping: Any = reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        self._process = os.getpid()
        self._epoll: Any = select.epoll()
        self._watch()

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        number: int = self._epoll.fileno()
        return number

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "hub"

    def join(self, fd: int, member: Member, events: int) -> None:
        """Have a member told of events from now on.

        Raises:
            OSError: The system watches no more descriptors.
        """
        try:
            self._epoll.register(fd, events)
        except OSError:
            self._close_if_empty()
            raise
        missing = fd + 1 - len(self._members)
        if missing > 0:
            self._members.extend([None] * missing)
            self.receivers.extend([None] * missing)
        self._members[fd] = member
        self._count += 1

    def leave(self, fd: int) -> None:
        """Forget a member; its descriptor must still be open."""
        self._members[fd] = self.receivers[fd] = None
        self.peers.forget(fd)
        self._count -= 1
        # Not left to the end of the descriptor: a child that was forked may have it too.
        self.ignore(fd)
        self._close_if_empty()

    def watch(self, fd: int, events: int) -> None:
        """Have a member told of other events from now on; a hang-up always."""
        self._epoll.modify(fd, events)

    def watch_again(self, fd: int, events: int) -> None:
        """Have a member told of events that was ignored."""
        self._epoll.register(fd, events)

    def ignore(self, fd: int) -> None:
        """Have a member told of nothing, not even of a hang-up."""
        with suppress(OSError, ValueError):
            self._epoll.unregister(fd)

    def arrived(self) -> None:
        """Take note of a connection that has been made."""
        self._pace.arrived(monotonic())

    def settle_later(self, member: Member, reason: Failure | None = None) -> None:
        """Have a member settle when nobody is within a call of it any more."""
        self._unsettled.append((member, reason))
        self._plan_settling()

    def doRead(self) -> None:
        """Do what can be done now; see `IReadDescriptor`."""
        if self._is_turning or self._epoll is None:
            return
        if os.getpid() != self._process:
            self._separate()
            return
        self._is_turning = True
        ready: dict[int, int] = {}
        is_short = False
        try:
            is_short = self._drain(ready)
        except BaseException:  # none but the hub's own; it reads on
            _log.failure("the hub failed")
        self._settle()
        self._is_turning = False
        self._plan_settling()
        self._pace.drained(monotonic(), ready)
        self._go_on(0.0 if is_short else TICK)
        self._close_if_empty()

    def connectionLost(self, reason: Failure) -> None:
        """End all members, as the reactor ends; see `IReadDescriptor`."""
        self._is_watched = False
        for member in self._members[:]:
            if member is not None:
                self._guarded(member, member.connectionLost, reason)

    def _drain(self, ready: dict[int, int]) -> bool:
        """Read what is there, as long as a turn may take.

        Args:
            ready: Is given the descriptors that were ready.

        Returns:
            Whether there may be more.
        """
        until = monotonic() + TURN
        members, receivers, lanes = self._members, self.receivers, self.lanes
        poll, read = self._epoll.poll, os.read
        lane: Lane | None = None
        now = 0.0
        silently = 0
        try:
            while True:
                events, self._rest = self._rest or poll(0, _AT_ONCE), []
                ready.update(events)
                left = iter(events)
                for fd, event in left:
                    receiver = receivers[fd]
                    if receiver is None or event != READABLE:
                        member = members[fd]
                        if member is not None:
                            self._guarded(member, member.ready, event)
                            if monotonic() >= until:
                                self._rest = list(left)
                                return True
                        continue
                    try:
                        data = read(fd, PIECE)
                    except BlockingIOError:
                        continue
                    except OSError as exc:
                        self._tell(fd, exc)
                        continue
                    if not data:
                        self._tell(fd, data)
                        continue
                    try:
                        if lane is None or lanes.are_several:
                            if lane is not None:
                                lane.silently += silently
                                silently = 0
                            lane, now = lanes.begin(self._factory_of(fd))
                        outcome = receiver.receive_data(data, now)
                        if outcome is None:
                            silently += 1
                            continue
                        member = members[fd]
                        if member is not None:
                            member.followed(outcome, data)
                    except BaseException:
                        self._failed(members[fd])
                if len(events) < _AT_ONCE:
                    return False
                if monotonic() >= until:
                    return True
        finally:
            if lane is not None:
                lane.silently += silently
            self._end_lanes()

    def _end_lanes(self) -> None:
        for lane in self.lanes.end():
            try:
                lane.end()
            except BaseException:
                _log.failure("Unhandled error in {lane!r}", lane=lane)

    def _factory_of(self, fd: int) -> Any:
        member = self._members[fd]
        assert member is not None
        return member.factory

    def _tell(self, fd: int, data: bytes | OSError) -> None:
        member = self._members[fd]
        if member is not None:
            self._guarded(member, member.readable, data)

    def _guarded(self, member: Member, call: Callable[[Any], None], argument: Any) -> None:
        try:
            call(argument)
        except BaseException:  # whatever a protocol raises costs it its connection, no other
            self._failed(member)

    def _failed(self, member: Member | None) -> None:
        failure = Failure()
        _log.failure("Unhandled error in {member!r}", failure, member=member)
        if member is not None:
            member.failed(failure)

    def _settle(self) -> None:
        """Do what was put off, but not what is put off meanwhile."""
        until = monotonic() + TURN
        for _ in range(len(self._unsettled)):
            member, reason = self._unsettled.popleft()
            self._guarded(member, member.settle, reason)
            if monotonic() >= until:
                break

    def _settle_in_turn(self) -> None:
        self._next_settling = None
        self._is_turning = True
        self._settle()
        self._is_turning = False
        self._plan_settling()
        self._close_if_empty()

    def _plan_settling(self) -> None:
        if self._unsettled and self._next_settling is None and not self._is_turning:
            self._next_settling = self.reactor.callLater(0, self._settle_in_turn)

    def _go_on(self, seconds: float) -> None:
        if not self._pace.is_by_clock or self._stopping is None:
            self._watch()
        elif self._next_look is None:
            self._unwatch()
            self._next_look = self.reactor.callLater(seconds, self._look)

    def _look(self) -> None:
        self._next_look = None
        self.doRead()

    def _stop(self) -> None:
        self._stopping = None
        self._watch()

    def _watch(self) -> None:
        """Be told as soon as anything is ready."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if not self._is_watched:
            self._is_watched = True
            self.reactor.addReader(self)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self.reactor.removeReader(self)

    def _separate(self) -> None:
        """Share nothing with the process that this one was forked from, but its ports."""
        self._unwatch()
        self._epoll.close()
        self._process, self._epoll, self._rest = os.getpid(), select.epoll(), []
        self.is_separating = True
        try:
            for member in self._members[:]:
                if member is not None:
                    self._guarded(member, member.forked, _FORKED)
        finally:
            self.is_separating = False
        self._watch()
        self._close_if_empty()

    def _close_if_empty(self) -> None:
        if self._count or self._is_turning or self.is_separating or self._epoll is None:
            return
        if _hubs.get(self.reactor) is self:
            del _hubs[self.reactor]
        self._unwatch()
        for call in self._next_look, self._next_settling:
            if call is not None:
                call.cancel()
        self._next_look = self._next_settling = None
        self._unsettled.clear()
        if self._stopping is not None:
            self.reactor.removeSystemEventTrigger(self._stopping)
        self._epoll.close()
        self._epoll = None
