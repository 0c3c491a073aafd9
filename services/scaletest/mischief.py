"""What goes wrong in a soak: faults of networks, engines, strangers and the broker's machine.

Each kind of mischief begins at random times, at a rate of its own, and is over before the
soak ends. It meets engines drawn from the *victims*; all others are innocent, and must
never notice.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from services.scaletest.virtual_fleet import VirtualEngine, VirtualFleet
from transports import transport_for

__all__ = ["KINDS", "Kind", "Mischief"]

_STRANGERS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"NewEngine",
    b"NewEngine:" + b"x" * 3000,
    b"HeartBeat:soak-1:1\n",
    b"\x00\xff" * 50,
    b"",
)

_USUAL_SIZE = 2000


@define(eq=False)
class Mischief:
    """Makes trouble for a fleet and its broker.

    Args:
        reactor: Its clock.
        fleet: Whose engines suffer.
        victims: The numbers of those that may.
        broker_pid: The broker's process.
        command: Sends a command, as the control API's path and parameters.
        interval: T, in seconds: all times are given in it.
        random: Draws.

    Attributes:
        done: How often each kind was done, by name.
        story: When each was begun, by the reactor's clock, oldest first.
    """

    reactor: Any
    fleet: VirtualFleet
    victims: Sequence[int]
    broker_pid: int
    command: Callable[..., object]
    interval: float
    random: Random
    done: Counter[str] = field(init=False, factory=Counter)
    story: list[tuple[float, str]] = field(init=False, factory=list)
    _under_way: int = field(init=False, default=0)
    _is_stopped: bool = field(init=False, default=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing that was begun is still going on."""
        return self._under_way == 0

    def step(self, minutes: float) -> None:
        """Begin what the next stretch of time brings.

        Args:
            minutes: How long it is.
        """
        size = len(self.fleet.engines) / _USUAL_SIZE
        for kind in KINDS:
            times = kind.per_minute * minutes * (size if kind.is_churn else 1)
            count = int(times) + (self.random.random() < times % 1)
            for _ in range(count):
                self.done[kind.name] += 1
                self.story.append((self.reactor.seconds(), kind.name))
                kind.begin(self)

    def some(self, share: float) -> list[VirtualEngine]:
        """Draw some of the victims that live, at least one where there is one."""
        living = [engine for number in self.victims if (engine := self._victim(number))]
        return self.random.sample(living, min(len(living), max(1, round(share * len(living)))))

    def later(self, intervals: float, function: Callable[[], object]) -> None:
        """Call `function` after so many intervals; the mischief is not over before that."""
        self._under_way += 1

        def over() -> None:
            self._under_way -= 1
            function()

        self.reactor.callLater(intervals * self.interval, over)

    def come_back(self, engine: VirtualEngine, gone: Deferred[None]) -> None:
        """Have an id that leaves start a new life a little later."""
        number = int(engine.engine_id.rpartition("-")[2])
        gone.addCallback(lambda _: self.later(self.random.uniform(1, 5), self._starter(number)))

    def _starter(self, number: int) -> Callable[[], object]:
        return lambda: self.fleet.start(number)

    def _victim(self, number: int) -> VirtualEngine | None:
        return self.fleet.engines.get(f"{self.fleet.name}-{number}")

    def leave(self) -> None:
        """An engine says Bye, and another life of its id comes."""
        for engine in self.some(0):
            self.come_back(engine, self.fleet.leave(engine.engine_id))

    def crash(self) -> None:
        """An engine's process is killed, and another life of its id comes."""
        for engine in self.some(0):
            self.come_back(engine, self.fleet.die(engine.engine_id))

    def reset(self) -> None:
        """A network breaks the connections of a few."""
        for engine in self.some(0.005):
            engine.switch.reset()

    def freeze(self) -> None:
        """Engines stand still for 1.2, 2 or 5 intervals."""
        for engine in self.some(0.005):
            engine.switch.freeze()
            self.later(self.random.choice((1.2, 2, 5)), engine.switch.heal)

    def cut(self) -> None:
        """A network cuts some off without a word, for 0.5, 2 or 6 intervals."""
        for engine in self.some(0.01):
            engine.switch.cut()
            self.later(self.random.choice((0.5, 2, 6)), engine.switch.heal)

    def cut_most(self) -> None:
        """A network cuts nine in ten of the victims off at once, for 3 intervals."""
        for engine in self.some(0.9):
            engine.switch.cut()
            self.later(3, engine.switch.heal)

    def stand_still(self) -> None:
        """The broker's process is stopped for 2 to 4 intervals."""
        if self._is_stopped:
            return
        self._is_stopped = True
        os.kill(self.broker_pid, signal.SIGSTOP)
        self.later(self.random.uniform(2, 4), self._go_on)

    def _go_on(self) -> None:
        os.kill(self.broker_pid, signal.SIGCONT)
        self._is_stopped = False

    def stranger(self) -> None:
        """Somebody who is no engine connects, says something, and stays for a while."""
        self._visit(
            self.random.choice(_STRANGERS) + self.random.randbytes(self.random.randrange(40))
        )

    def twin(self) -> None:
        """Somebody claims the id of an engine that is well."""
        ids = [id_ for id_ in self.fleet.engines if int(id_.rpartition("-")[2]) not in self.victims]
        claimed = self.random.choice(ids)
        self._visit(
            f"NewEngine:{claimed}:0:v=1;instance={self.random.getrandbits(64):x}\n".encode()
        )

    def register_and_vanish(self, engine_id: str) -> Deferred[None]:
        """Have somebody register, and be gone at once; fires when that is done."""
        hello = f"NewEngine:{engine_id}:0:v=1;instance=1".encode()
        transport = transport_for(self.fleet.broker.scheme)
        endpoint = transport.client_endpoint(self.reactor, self.fleet.broker)
        guest = _Guest()
        connecting = endpoint.connect(Factory.forProtocol(lambda: guest))
        return connecting.addCallback(lambda _: guest.register(hello))

    def _visit(self, words: bytes) -> None:
        transport = transport_for(self.fleet.broker.scheme)
        endpoint = transport.client_endpoint(self.reactor, self.fleet.broker)
        self._under_way += 1
        stay = self.random.uniform(0, 3)

        def over(_: object) -> None:
            self._under_way -= 1

        def met(visitor: Any) -> None:
            visitor.transport.write(words)
            self.later(stay, visitor.transport.abortConnection)

        endpoint.connect(Factory.forProtocol(_Visitor)).addCallback(met).addErrback(
            lambda _: None
        ).addBoth(over)

    def work(self) -> None:
        """A tenth of all works for half an interval."""
        self.command("/dowork", time=round(500 * self.interval), share=10)

    def kill(self) -> None:
        """One in a hundred of the victims is killed by command, and comes back."""
        for engine in self.some(0.01):
            self.command("/kill", code=3, engine=engine.engine_id)


class _Guest(Protocol):
    """Registers, and goes without a Bye."""

    _done: Deferred[None] | None = None

    def register(self, hello: bytes) -> Deferred[None]:
        assert self.transport is not None
        self._done = Deferred()
        self.transport.write(hello + b"\n")
        return self._done

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._done is not None:
            self._done.callback(None)


class _Visitor(Protocol):
    """Says what it was told to, and reads nothing into the answer."""


@frozen
class Kind:
    """A kind of mischief.

    Attributes:
        name: What it is called in reports.
        per_minute: How often it begins.
        begin: Begins it.
        is_churn: Whether it happens more often where the fleet is larger than 2,000, and
            less often where it is smaller.
    """

    name: str
    per_minute: float
    begin: Callable[[Mischief], None]
    is_churn: bool = False


KINDS = (
    Kind("leaves", 10, Mischief.leave, is_churn=True),
    Kind("crashes", 10, Mischief.crash, is_churn=True),
    Kind("resets", 2, Mischief.reset),
    Kind("freezes", 2, Mischief.freeze),
    Kind("cuts", 2, Mischief.cut),
    Kind("cuts of most victims", 0.2, Mischief.cut_most),
    Kind("stops of the broker", 0.3, Mischief.stand_still),
    Kind("strangers", 20, Mischief.stranger),
    Kind("twins", 2, Mischief.twin),
    Kind("work", 1, Mischief.work),
    Kind("kills", 0.5, Mischief.kill),
)
"""All kinds of mischief, and how often each begins."""
