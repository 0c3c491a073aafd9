"""The gate of a broker: who comes while there is no room waits outside.

What waits is not refused: it is in the listen queue of the system, and accepted when
there is room. Rules: protocol reference, section "Limits".
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IAddress, IListeningPort, IPushProducer
from twisted.internet.tcp import Port
from twisted.logger import Logger

from brokerproto.broker import Broker
from brokerproto.protocol import BrokerFactory, BrokerProtocol
from services.broker.doors import CountingDoor, Door
from services.program.counted import Counted
from transports.interfaces import IPacedPort

__all__ = ["Gate", "GatedFactory"]

# Accepting takes so long that more of it at once would keep others waiting.
_BATCH = 64

_LOOK_AGAIN = 0.02

# Nothing tells when a file may be opened again.
_LOOK_AGAIN_FOR_FILES = 1.0

_TELL_AGAIN = 60.0

log = Logger()


@define(eq=False)
class Gate:
    """Opens and closes the doors of a broker, as it has room.

    Args:
        broker: Whose admission knows whether there is room.
        reactor: Its clock, and its readers.
        has_files: Tells whether one more file can be opened.
    """

    broker: Broker
    _reactor: Any
    _has_files: Callable[[], bool] = field(factory=lambda: files_can_be_opened)
    _doors: list[Door] = field(init=False, factory=list)
    _opening: Any = field(init=False, default=None)
    _is_short_of_files: bool = field(init=False, default=False)
    _told_full: float = field(init=False, default=-math.inf)

    def guard(self, port: IListeningPort, factory: GatedFactory) -> IListeningPort:
        """Put a door before a port, where that can be had.

        Args:
            port: What listens.
            factory: What makes the protocols of its connections.

        Returns:
            What listens from now on, in place of `port`.
        """
        if IPacedPort.providedBy(port):
            paced: Any = port
            paced.room = self.room
            door = Door(port, self._take_away)
        elif isinstance(port, Port):
            door = CountingDoor(port, self._take_away, self._reactor, self.room)
        elif IPushProducer.providedBy(port):
            factory.gate = self
            door = Door(port, self._take_away)
        else:
            return port
        self._doors.append(door)
        door.open()
        return door

    def room(self) -> int:
        """Tell how many may be accepted at once; where it is none, the doors are closed."""
        if self._opening is not None:
            return 0
        room = self.broker.admission.room(self.broker.seconds())
        if not room:
            self._tell_full()
            self._close(_LOOK_AGAIN)
        elif not self._has_files():
            if not self._is_short_of_files:
                log.warn("no file can be opened: connections are left waiting")
            self._is_short_of_files, room = True, 0
            self._close(_LOOK_AGAIN_FOR_FILES)
        elif self._is_short_of_files:
            self._is_short_of_files = False
            log.info("files can be opened again: connections are accepted")
        return min(room, _BATCH)

    def accepted(self) -> None:
        """Take note that one was accepted, and its session not yet opened."""
        if self.room() == 1:
            self._close(_LOOK_AGAIN)

    def _take_away(self, door: Door) -> None:
        self._doors.remove(door)
        if not self._doors and self._opening is not None:
            self._opening.cancel()
            self._opening = None

    def _close(self, seconds: float) -> None:
        self.broker.admission.paused()
        for door in self._doors:
            door.close()
        self._opening = self._reactor.callLater(seconds, self._look)

    def _look(self) -> None:
        self._opening = None
        if self.broker.admission.room(self.broker.seconds()):
            for door in self._doors:
                door.open()
        else:
            self._opening = self._reactor.callLater(_LOOK_AGAIN, self._look)

    def _tell_full(self) -> None:
        admission = self.broker.admission
        now = self.broker.seconds()
        is_full = admission.unregistered >= self.broker.limits.unregistered
        if is_full and now >= self._told_full + _TELL_AGAIN:
            self._told_full = now
            log.warn(
                "{unregistered} not registered: others are left waiting",
                unregistered=Counted(admission.unregistered, "connection has", "connections have"),
            )


class GatedFactory(BrokerFactory):
    """Has a gate look, before each connection, whether there is room for the next one.

    Attributes:
        gate: The gate, where the port cannot be told how many to accept.
    """

    gate: Gate | None = None

    def buildProtocol(self, addr: IAddress | None) -> BrokerProtocol:  # type: ignore[override]
        """Make the protocol of a new connection."""
        if self.gate is not None:
            self.gate.accepted()
        return super().buildProtocol(addr)


def files_can_be_opened() -> bool:
    """Try whether one more file can be opened."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True
