"""One descriptor for all: whose it is, how long it lives, and what harms it not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.transports.hub.loop import House, house, looping
from tests.transports.recording import Recorders
from transports.hub.hub import TURN, hub_of
from transports.hub.pace import EAGER, FEWEST


def test_a_reactor_watches_one_descriptor_whatever_there_is() -> None:
    with house() as here:
        [hub] = here.loop.readers()
        for _ in range(5):
            here.call()
        another = House(here.loop)
        another.call()
        assert here.loop.readers() == [hub]
        assert hub is hub_of(here.loop.reactor)
        assert hub.logPrefix() == "hub"
        another.close()


def test_hub_is_gone_with_its_last_port_and_connection() -> None:
    with looping() as loop:
        here = House(loop)
        [hub] = loop.readers()
        peer, _ = here.call()
        here.port.stopListening()
        assert loop.readers() == [hub]
        peer.close()
        loop.until(lambda: not loop.readers())
        again = House(loop)
        assert loop.readers() != [hub]
        again.close()


def test_reactors_share_nothing() -> None:
    with house() as one, house() as other:
        [first], [second] = one.loop.readers(), other.loop.readers()
        assert first is not second
        peer, protocol = other.call()
        peer.sendall(b"x")
        one.loop.turn(10)
        assert protocol.received == b""
        other.loop.until(lambda: protocol.received == b"x")


def test_error_in_data_received_costs_that_connection_alone(
    logged_failures: list[Failure],
) -> None:
    with house() as here:
        (peer, faulty), (another, bystander) = here.call(), here.call()
        faulty.on_data = lambda data: 1 / 0
        peer.sendall(b"x")
        here.loop.until(lambda: ZeroDivisionError in faulty.events)
        assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
        logged_failures.clear()
        another.sendall(b"y")
        here.loop.until(lambda: bystander.received == b"y")


def test_error_in_connection_lost_is_logged_and_harms_nobody(
    logged_failures: list[Failure], monkeypatch: pytest.MonkeyPatch
) -> None:
    with house() as here:
        (peer, faulty), (another, bystander) = here.call(), here.call()
        monkeypatch.setattr(faulty, "connectionLost", lambda reason: 1 / 0)
        peer.close()
        here.loop.until(lambda: logged_failures)
        assert [failure.type for failure in logged_failures] == [ZeroDivisionError]
        logged_failures.clear()
        faulty.transport = None
        another.sendall(b"y")
        here.loop.until(lambda: bystander.received == b"y")


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
def test_who_is_closed_by_another_in_the_same_batch_has_nothing_more(how: str) -> None:
    with house() as here:
        pairs = [here.call() for _ in range(6)]
        protocols = [protocol for _, protocol in pairs]

        def close_the_others(closing: Any) -> None:
            for each in protocols:
                if each is not closing:
                    getattr(each.transport, how)()

        for each in protocols:
            each.on_data = lambda data, closing=each: close_the_others(closing)
        for peer, _ in pairs:
            peer.sendall(b"x")
        here.loop.until(lambda: sum(bool(each.events) for each in protocols) == 6)
        assert sum(each.received == b"x" for each in protocols) == 1
        assert sum(len(each.events) for each in protocols) == 6


def test_descriptor_that_is_used_again_in_a_batch_brings_nobody_anothers_bytes() -> None:
    """The first closes the second, and opens what then has its number, and its events."""
    with house() as here:
        (first, one), (second, other) = here.call(), here.call()
        number = other.transport.fileno()
        opened: list[socket.socket] = []

        def take_its_number(data: bytes) -> None:
            other.transport.connectionLost(Failure(ConnectionLost()))
            while not opened or opened[-1].fileno() < number:
                opened.append(socket.socket())
            for each in opened:
                each.close()
            newcomer = socket.create_connection(("127.0.0.1", here.port.getHost().port))
            here.peers.append(newcomer)

        one.on_data = take_its_number
        first.sendall(b"x")
        second.sendall(b"y" * 10)
        second.shutdown(socket.SHUT_WR)
        here.loop.until(lambda: len(here.factory.made) == 3)
        here.loop.turn(20)
        newcomer = here.factory.made[2]
        assert newcomer.events == []
        here.peers[2].sendall(b"z")
        here.loop.until(lambda: newcomer.received == b"z")
        assert one.received == b"x"


def test_turn_within_a_turn_reads_nothing() -> None:
    with house() as here:
        (peer, one), (another, other) = here.call(), here.call()
        depths: list[int] = []
        seen: list[int] = []

        def turn(data: bytes) -> None:
            depths.append(1)
            before = len(depths)
            here.loop.turn()
            seen.append(len(depths) - before)

        one.on_data = other.on_data = turn
        for each in peer, another:
            each.sendall(b"x")
        here.loop.until(lambda: len(seen) == 2)
        assert seen == [0, 0]


def test_timers_and_bystanders_have_their_turn_in_a_flood() -> None:
    """Each piece takes as long as a whole turn may; nobody is left out for it."""
    with house() as here:
        pairs = [here.call() for _ in range(8)]
        turns: list[int] = []
        clock = here.loop.reactor.seconds

        def dawdle(data: bytes) -> None:
            until = clock() + TURN * 1.1
            while clock() < until:
                pass

        for _, each in pairs:
            each.on_data = dawdle
        for round_ in range(1, 4):
            for peer, _ in pairs:
                peer.sendall(b"x")
            for _ in range(8):
                called: list[int] = []
                here.loop.reactor.callLater(0, called.append, 1)
                before = sum(len(each.events) for _, each in pairs)
                here.loop.turn(2)
                turns.append(sum(len(each.events) for _, each in pairs) - before)
                assert called
            here.loop.until(lambda: sum(len(e.events) for _, e in pairs) >= 8 * round_)  # noqa: B023
        # Two turns of the reactor brought two at most: the rest waited.
        assert max(turns) <= 2
        assert {len(each.events) for _, each in pairs} == {3}


def test_nobody_is_left_out_for_those_that_are_always_ready() -> None:
    with house() as here:
        pairs = [here.call() for _ in range(6)]
        clock = here.loop.reactor.seconds

        def dawdle(data: bytes) -> None:
            until = clock() + TURN * 1.1
            while clock() < until:
                pass

        for peer, each in pairs:
            each.on_data = dawdle
            peer.setblocking(False)
            # More than is read at once, many times over.
            for _ in range(2):
                with suppress(BlockingIOError):
                    peer.sendall(b"x" * 2_000_000)
        here.loop.turn(2 * len(pairs))
        assert all(each.events for _, each in pairs)


def test_many_are_looked_at_by_the_clock_and_lose_nothing() -> None:
    with house() as here:
        pairs = [here.call() for _ in range(3 * FEWEST)]
        [hub] = here.loop.readers()
        until = here.loop.reactor.seconds() + EAGER
        here.loop.until(lambda: here.loop.reactor.seconds() > until)
        by_clock = 0
        sent = 0
        for _ in range(2000):
            pairs[sent % len(pairs)][0].sendall(b"x")
            sent += 1
            here.loop.turn()
            by_clock += not here.loop.readers()
            if by_clock > 20:
                break
        assert by_clock > 20
        here.loop.until(lambda: sum(len(each.received) for _, each in pairs) == sent)
        # Quiet again, it is woken again.
        here.loop.until(lambda: here.loop.readers() == [hub])


def test_hub_that_looks_by_the_clock_goes_with_its_last_connection() -> None:
    with house() as here:
        for _ in range(FEWEST):
            here.call()
        [hub] = here.loop.readers()
        hub._pace.is_by_clock = True
        hub._go_on(1000)
        assert here.loop.readers() == []


CHILD = """
import os, socket, sys
# Its own poller would be one for both processes, were it epoll: no reactor outlives that twice.
from twisted.internet import pollreactor
pollreactor.install()
from twisted.internet import reactor
from tests.transports.recording import Recorders
from transports import URI, transport_for

factory = Recorders()
uri = URI.parse("tcp://127.0.0.1:0?io=hub")
waiting = transport_for("tcp").server_endpoint(reactor, uri).listen(factory)
number = waiting.result.getHost().port
mine = socket.create_connection(("127.0.0.1", number))

def accepted():
    if not factory.made:
        reactor.callLater(0.01, accepted)
        return
    [protocol] = factory.made
    inside, outside = os.pipe()
    child = os.fork()
    if child:
        # The child is at work: nothing is read here until it has been.
        os.close(outside)
        mine.sendall(b"for the parent")
        told = os.read(inside, 1000)
        os.waitpid(child, 0)
        reactor.callLater(0.05, judge, protocol, told)
        return
    # A child that lives on with this reactor, as in the background.
    mine.close()
    os.close(inside)
    caller = socket.create_connection(("127.0.0.1", number))
    def look():
        if len(factory.made) < 2:
            reactor.callLater(0.01, look)
            return
        lost = [getattr(event, "__name__", event) for event in protocol.events]
        os.write(outside, repr(lost).encode())
        os._exit(0)
    reactor.callLater(0, look)

def judge(protocol, told):
    print(told.decode(), protocol.events, protocol.transport.connected, flush=True)
    reactor.stop()

reactor.callWhenRunning(accepted)
reactor.run()
"""


def test_child_goes_on_listening_and_leaves_the_parent_its_connections() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.getcwd(),
        timeout=300,
    )
    assert done.stdout == "['ConnectionLost'] [b'for the parent'] True\n", done.stderr


BACKGROUND = """
import os, socket
from twisted.internet import reactor
from tests.transports.recording import Recorders
from transports import URI, transport_for

factory = Recorders()
uri = URI.parse("tcp://127.0.0.1:0?io=hub")
waiting = transport_for("tcp").server_endpoint(reactor, uri).listen(factory)
number = waiting.result.getHost().port
if os.fork():
    os._exit(0)
callers = [socket.create_connection(("127.0.0.1", number)) for _ in range(3)]
for caller in callers:
    caller.sendall(b"x")

def look():
    if sum(made.received == b"x" for made in factory.made) < 3:
        reactor.callLater(0.01, look)
        return
    print("all served", flush=True)
    waiting.result.stopListening()
    reactor.stop()

reactor.callWhenRunning(look)
reactor.run()
"""


def test_program_that_goes_to_the_background_is_served() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BACKGROUND], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.stdout, done.stderr) == ("all served\n", "")


STOPPING = """
from twisted.internet import reactor
from tests.transports.recording import Recorders
from transports import URI, transport_for

factory = Recorders()
uri = URI.parse("tcp://127.0.0.1:0?io=hub")
transport = transport_for("tcp")
port = transport.server_endpoint(reactor, uri).listen(factory).result
near = Recorders()
address = transport.listen_address(uri, port)
transport.client_endpoint(reactor, address).connect(near)

def stop():
    if not (near.made and factory.made):
        reactor.callLater(0.01, stop)
        return
    by_clock and clocked()
    reactor.stop()

def clocked():
    from transports.hub.hub import hub_of
    hub = hub_of(reactor)
    hub._pace.is_by_clock = True
    hub._go_on(1000)

reactor.callWhenRunning(stop)
reactor.run()
print([event.__name__ for each in (near, factory) for made in each.made for event in made.events],
      near.stopped, factory.stopped)
"""


@pytest.mark.parametrize("by_clock", [False, True])
def test_reactor_that_stops_ends_all_connections(by_clock: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"by_clock = {by_clock}\n{STOPPING}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "['ConnectionLost', 'ConnectionLost'] 1 1\n", done.stderr


def test_bytes_travel_both_ways_between_two_hubs() -> None:
    with house() as here:
        near: Any = here.loop.dial(
            Recorders(), f"tcp://127.0.0.1:{here.port.getHost().port}?io=hub"
        )
        here.loop.until(lambda: here.factory.made)
        [far] = here.factory.made
        near.transport.write(b"one")
        here.loop.until(lambda: far.received == b"one")
        far.transport.writeSequence([b"t", b"wo"])
        here.loop.until(lambda: near.received == b"two")
        near.transport.loseConnection()
        here.loop.until(lambda: far.events[-1:] != [b"one"])
