"""Names within the process: who listens, who dials, and who is turned away."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.transports.recording import (
    INPROC,
    NAME,
    Backwards,
    Meeting,
    Recorder,
    Recorders,
    dial,
    listen,
)
from transports import URI, DialError, InvalidURIError, ListenError


def test_both_ends_are_named() -> None:
    meeting = Meeting()
    assert str(meeting.port.getHost()) == "inproc://name"
    assert str(meeting.far.transport.getHost()) == "inproc://name"
    assert str(meeting.far.transport.getPeer()) == "inproc://name#1"
    assert meeting.near.transport.getHost() == meeting.far.transport.getPeer()
    assert meeting.near.transport.getPeer() == meeting.far.transport.getHost()
    dial(meeting.clock, meeting.callers)
    meeting.settle()
    assert str(meeting.listeners.made[1].transport.getPeer()) == "inproc://name#2"


class Eager(Recorder):
    """Says hello and goodbye before it can be accepted."""

    def connectionMade(self) -> None:
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Faulty(Recorder):
    def connectionMade(self) -> None:
        raise ZeroDivisionError


def test_what_cannot_arrive_before_the_accept_arrives_after_it() -> None:
    clock, factory, callers = Backwards(), Recorders(), Recorders(Eager)
    listen(clock, factory)
    dial(clock, callers)
    clock.settle()
    assert factory.made[0].events == [b"hello", ConnectionDone]
    assert callers.made[0].events == [ConnectionDone]


def test_caller_that_waits_to_close_is_let_go_by_a_faulty_listener(
    logged_failures: list[Failure],
) -> None:
    clock, callers = Backwards(), Recorders(Eager)
    listen(clock, Recorders(Faulty))
    dial(clock, callers)
    clock.settle()
    assert callers.made[0].events == [ConnectionDone]
    logged_failures.clear()


def test_caller_that_is_gone_before_the_accept_is_not_accepted() -> None:
    class Fickle(Recorder):
        def connectionMade(self) -> None:
            self.transport.abortConnection()

    clock, factory, callers = Backwards(), Recorders(), Recorders(Fickle)
    listen(clock, factory)
    dial(clock, callers)
    clock.settle()
    assert callers.made[0].events == [ConnectionAborted]
    assert factory.made == []


def test_abort_right_after_dialling_is_never_accepted() -> None:
    clock = Clock()
    factory = Recorders()
    listen(clock, factory)

    class Fickle(Recorder):
        def connectionMade(self) -> None:
            self.transport.abortConnection()

    callers = Recorders(Fickle)
    dial(clock, callers)
    clock.advance(0)
    assert callers.made[0].events == [ConnectionAborted]
    assert [each.events for each in factory.made] in ([], [[ConnectionLost]])


def test_unknown_name_is_a_dial_error() -> None:
    clock = Clock()
    outcome = dial(clock, Recorders())
    assert outcome == []
    clock.advance(0)
    [failure] = outcome
    assert failure.type is DialError
    assert (failure.value.address, failure.value.retriable) == ("inproc://name", True)


def test_name_in_use_is_a_listen_error() -> None:
    clock = Clock()
    listen(clock, Recorders())
    failures: list[Any] = []
    INPROC.server_endpoint(clock, NAME).listen(Recorders()).addErrback(failures.append)
    [failure] = failures
    assert failure.type is ListenError
    assert str(failure.value) == "cannot listen on inproc://name: the name is in use"


def test_names_are_apart_for_each_reactor() -> None:
    first, second = Clock(), Clock()
    listen(first, Recorders())
    listen(second, Recorders())
    outcome = dial(Clock(), Recorders())
    assert outcome == []


def test_stopping_frees_the_name_and_leaves_connections_alone() -> None:
    meeting = Meeting()
    assert meeting.port.stopListening().called
    assert meeting.port.stopListening().called
    assert (meeting.listeners.started, meeting.listeners.stopped) == (1, 1)
    assert listen(meeting.clock, Recorders()) is not meeting.port
    meeting.near.transport.write(b"still here")
    meeting.settle()
    assert meeting.far.events == [b"still here"]


def test_stopping_resets_callers_that_were_not_accepted() -> None:
    clock, factory = Clock(), Recorders()
    port = listen(clock, factory)

    class Last(Recorder):
        def connectionMade(self) -> None:
            port.stopListening()

    callers = Recorders(Last)
    dial(clock, callers)
    clock.advance(0)
    assert factory.made == []
    assert callers.made[0].events == [ConnectionLost]


def test_port_can_listen_again() -> None:
    clock = Clock()
    port = listen(clock, Recorders())
    port.stopListening()
    port.startListening()
    with pytest.raises(ListenError):
        port.startListening()


def test_factory_may_turn_a_caller_away() -> None:
    clock = Clock()
    listen(clock, Recorders(lambda: None))
    callers = Recorders()
    dial(clock, callers)
    clock.advance(0)
    assert callers.made[0].events == [ConnectionDone]


def test_error_of_the_listening_factory_costs_only_that_caller(
    logged_failures: list[Failure],
) -> None:
    def faulty() -> Protocol:
        raise ZeroDivisionError

    clock = Clock()
    listen(clock, Recorders(faulty))
    callers = Recorders()
    dial(clock, callers)
    clock.advance(0)
    assert callers.made[0].events == [ConnectionDone]
    assert len(logged_failures) == 1
    logged_failures.clear()


def test_error_in_connection_made_ends_the_connection(logged_failures: list[Failure]) -> None:
    clock, factory = Clock(), Recorders(Faulty)
    listen(clock, factory)
    callers = Recorders()
    dial(clock, callers)
    clock.advance(0)
    assert factory.made[0].events == [ZeroDivisionError]
    assert callers.made[0].events == [ConnectionDone]
    assert len(logged_failures) == 1
    logged_failures.clear()


def test_error_in_connection_made_of_the_caller_fails_the_dialling() -> None:
    clock, factory = Clock(), Recorders()
    listen(clock, factory)
    callers = Recorders(Faulty)
    outcome = dial(clock, callers)
    clock.advance(0)
    assert outcome[0].type is ZeroDivisionError
    assert callers.made[0].events == [ZeroDivisionError]
    assert factory.made[0].events == [ConnectionDone]
    assert callers.stopped == 1


@pytest.mark.parametrize("kind", [lambda: None, lambda: 1 / 0])
def test_factory_of_the_caller_that_makes_nothing_fails_the_dialling(kind: Any) -> None:
    clock, factory = Clock(), Recorders()
    listen(clock, factory)
    callers = Recorders(kind)
    outcome = dial(clock, callers)
    clock.advance(0)
    assert outcome[0].type in (NoProtocol, ZeroDivisionError)
    assert factory.made == []
    assert (callers.started, callers.stopped) == (1, 1)


def test_dialling_can_be_cancelled_before_it_begins() -> None:
    clock, factory = Clock(), Recorders()
    listen(clock, factory)
    waiting: Deferred[Any] = INPROC.client_endpoint(clock, NAME).connect(Recorders())
    failures: list[Any] = []
    waiting.addErrback(failures.append)
    waiting.cancel()
    clock.advance(0)
    assert [failure.type for failure in failures] == [CancelledError]
    assert factory.made == []


def test_factory_of_a_caller_is_stopped_with_its_connection() -> None:
    meeting = Meeting()
    assert (meeting.callers.started, meeting.callers.stopped) == (1, 0)
    meeting.far.transport.loseConnection()
    meeting.settle()
    assert (meeting.callers.started, meeting.callers.stopped) == (1, 1)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("inproc://name:1", "port"),
        ("inproc://name/path", "path"),
        ("inproc://*", "*"),
        ("inproc://name?framing=message", "framing"),
        ("inproc://name?other=1", "other"),
    ],
)
def test_address_that_inproc_cannot_use_is_refused(text: str, names: str) -> None:
    uri = URI.parse(text)
    for endpoint in INPROC.client_endpoint, INPROC.server_endpoint:
        with pytest.raises(InvalidURIError) as caught:
            endpoint(Clock(), uri)
        assert names in caught.value.problem


def test_every_address_is_local_and_stays_as_it_is() -> None:
    port = listen(Clock(), Recorders())
    assert INPROC.is_local(NAME)
    assert INPROC.listen_address(NAME, port) == NAME


async def test_streams_work_on_the_real_reactor() -> None:
    reactor: Any = installed_reactor
    factory, callers = Recorders(), Recorders()
    port: Any = await INPROC.server_endpoint(reactor, NAME).listen(factory)
    near: Any = await INPROC.client_endpoint(reactor, NAME).connect(callers)
    near.transport.write(b"x")
    near.transport.loseConnection()
    for _ in range(100):
        if near.events:
            break
        await deferLater(reactor, 0)
    await port.stopListening()
    await deferLater(reactor, 0)
    assert factory.made[0].events == [b"x", ConnectionDone]


def test_callers_of_a_paused_port_wait_until_it_is_resumed() -> None:
    meeting = Meeting()
    port: Any = meeting.port
    verifyObject(IPushProducer, port)
    port.pauseProducing()
    for _ in range(3):
        dial(meeting.clock, meeting.callers)
    meeting.settle()
    assert (len(meeting.callers.made), len(meeting.listeners.made)) == (4, 1)
    meeting.callers.made[1].transport.write(b"patient")
    port.resumeProducing()
    port.resumeProducing()
    meeting.settle()
    assert len(meeting.listeners.made) == 4
    assert meeting.listeners.made[1].received == b"patient"


def test_callers_who_wait_for_a_port_that_closes_are_turned_away() -> None:
    meeting = Meeting()
    port: Any = meeting.port
    port.pauseProducing()
    dial(meeting.clock, meeting.callers)
    meeting.settle()
    port.stopProducing()
    meeting.settle()
    assert len(meeting.listeners.made) == 1
    assert meeting.callers.made[1].events == [ConnectionLost]
    assert meeting.clock.getDelayedCalls() == []
