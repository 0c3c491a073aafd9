"""What a connection of the hub does as Twisted's do."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISystemHandle, ITCPTransport
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.transports.hub.loop import HalfRecorder, house, looping, received
from tests.transports.recording import Producer, Recorder, Recorders
from transports.hub.connection import TCPConnection
from transports.tcp import set_user_timeout, socket_of

MUCH = 4_000_000


def test_it_is_a_tcp_transport_whose_options_can_be_set() -> None:
    with house() as here:
        _, protocol = here.call()
        transport = protocol.transport
        verifyObject(ITCPTransport, transport)
        verifyObject(ISystemHandle, transport)
        assert not hasattr(transport, "startTLS")
        for enabled in False, True:
            transport.setTcpNoDelay(enabled)
            transport.setTcpKeepAlive(enabled)
            assert (transport.getTcpNoDelay(), transport.getTcpKeepAlive()) == (enabled, enabled)
        handle = socket_of(transport)
        assert handle.fileno() == transport.fileno()
        assert handle.getsockname()[:2] == ("127.0.0.1", here.port.getHost().port)
        assert handle.getpeername()[1] == transport.getPeer().port
        assert set_user_timeout(transport, 2)
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2000
        assert transport.logPrefix() == "Recorder"
        assert "Recorder" in repr(transport)


def test_lost_connection_knows_whose_it_was_and_touches_no_descriptor() -> None:
    with house() as here:
        peer, protocol = here.call()
        transport, handle = protocol.transport, socket_of(protocol.transport)
        address = transport.getPeer()
        assert (address.host, address.port) == peer.getsockname()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        here.loop.until(lambda: protocol.events)
        assert protocol.events == [ConnectionLost]
        assert transport.getPeer() == address
        assert transport.getHost() == here.port.getHost()
        assert (transport.connected, transport.disconnected, transport.fileno()) == (
            False,
            True,
            -1,
        )
        with pytest.raises(OSError, match="Bad file descriptor"):
            handle.getpeername()
        assert not set_user_timeout(transport, 1)
        producer = Producer(transport)
        for late in (
            lambda: transport.write(b"x"),
            lambda: transport.writeSequence([b"x"]),
            transport.loseConnection,
            transport.loseWriteConnection,
            transport.abortConnection,
            transport.pauseProducing,
            transport.resumeProducing,
            lambda: transport.connectionLost(Failure(ConnectionDone())),
            lambda: transport.registerProducer(producer, True),
            transport.stopConsuming,
        ):
            late()
        here.loop.turn(3)
        assert producer.asked == ["stop"]
        assert protocol.events == [ConnectionLost]


def test_reason_tells_what_the_system_said() -> None:
    reasons: list[Failure] = []
    with house() as here:
        peer, protocol = here.call()
        protocol.connectionLost = reasons.append
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        here.loop.until(lambda: reasons)
    [reason] = reasons
    lost: Any = reason.value
    assert isinstance(lost.__cause__, ConnectionResetError)
    assert "reset by peer" in str(lost)


def test_only_bytes_are_written() -> None:
    with house() as here:
        _, protocol = here.call()
        wrong: Any = "text"
        with pytest.raises(TypeError):
            protocol.transport.write(wrong)


def test_what_is_written_is_sent_at_once() -> None:
    with house() as here:
        peer, protocol = here.call()
        protocol.transport.write(b"now")
        assert peer.recv(10) == b"now"


def test_everything_is_flushed_before_the_end_and_nothing_after_an_abort() -> None:
    with house() as here:
        peer, protocol = here.call()
        protocol.transport.write(b"x" * MUCH)
        protocol.transport.write(b"y")
        protocol.transport.loseConnection()
        assert protocol.transport.disconnecting
        assert received(peer, MUCH + 1, here.loop)[-2:] == b"xy"
        here.loop.until(lambda: protocol.events)
        assert peer.recv(1) == b""
        for how in "loseConnection", "abortConnection":
            _, protocol = here.call()
            getattr(protocol.transport, how)()
            assert protocol.events == []
            here.loop.until(lambda: protocol.events)  # noqa: B023
        peer, protocol = here.call()
        protocol.transport.write(b"x" * MUCH)
        protocol.transport.abortConnection()
        assert protocol.events == []
        here.loop.until(lambda: protocol.events)
        assert protocol.events == [ConnectionAborted]
        with pytest.raises(ConnectionResetError):  # noqa: PT012
            while peer.recv(MUCH):
                pass


def test_push_producer_is_paused_while_much_waits() -> None:
    with house() as here:
        peer, protocol = here.call()
        producer = Producer(protocol.transport)
        protocol.transport.registerProducer(producer, True)
        with pytest.raises(RuntimeError):
            protocol.transport.registerProducer(producer, True)
        protocol.transport.write(b"x" * MUCH)
        protocol.transport.write(b"y")
        assert producer.asked == ["pause"]
        received(peer, MUCH + 1, here.loop)
        here.loop.until(lambda: producer.asked == ["pause", "resume"])
        peer.close()
        here.loop.until(lambda: protocol.events)
        assert producer.asked == ["pause", "resume", "stop"]


def test_pull_producer_is_asked_as_the_data_goes_and_may_finish_before_the_end() -> None:
    with house() as here:
        peer, protocol = here.call()
        producer = Producer(protocol.transport, parts=5)
        protocol.transport.registerProducer(producer, False)
        assert producer.asked == ["resume"]
        protocol.transport.loseConnection()
        assert received(peer, 5, here.loop) == b"43210"
        here.loop.until(lambda: protocol.events)
        assert producer.asked == ["resume"] * 5
        assert protocol.events == [ConnectionDone]


def test_push_producer_that_is_paused_may_finish_before_the_end() -> None:
    with house() as here:
        peer, protocol = here.call()

        class Last(Producer):
            def resumeProducing(self) -> None:
                self.consumer.write(b"last")
                self.consumer.unregisterProducer()

        protocol.transport.registerProducer(Last(protocol.transport), True)
        protocol.transport.write(b"x" * MUCH)
        protocol.transport.loseConnection()
        assert received(peer, MUCH + 4, here.loop)[-4:] == b"last"
        here.loop.until(lambda: protocol.events)


def test_consumer_that_is_stopped_closes() -> None:
    with house() as here:
        peer, protocol = here.call()
        protocol.transport.registerProducer(Producer(protocol.transport), True)
        protocol.transport.stopConsuming()
        here.loop.until(lambda: protocol.events)
        assert peer.recv(1) == b""


def test_halves_are_closed_one_after_the_other() -> None:
    with house(HalfRecorder) as here:
        peer, protocol = here.call()
        protocol.transport.write(b"x" * MUCH)
        protocol.transport.loseWriteConnection()
        assert len(received(peer, MUCH, here.loop)) == MUCH
        here.loop.until(lambda: protocol.events == ["write closed"])
        protocol.transport.write(b"too late")
        peer.setblocking(True)
        assert peer.recv(1) == b""
        peer.sendall(b"still")
        here.loop.until(lambda: protocol.received == b"still")
        peer.close()
        here.loop.until(lambda: "read closed" in protocol.events)
        here.loop.turn(20)
        assert protocol.events == ["write closed", b"still", "read closed"]
        protocol.transport.resumeProducing()
        protocol.transport.loseConnection()
        here.loop.until(lambda: protocol.events[-1] is ConnectionDone)


def test_paused_connection_learns_of_a_reset_and_reads_what_came_before_an_end() -> None:
    with house() as here:
        peer, protocol = here.call()
        protocol.transport.pauseProducing()
        peer.sendall(b"last words")
        peer.shutdown(socket.SHUT_WR)
        here.loop.turn(20)
        assert protocol.events == []
        protocol.transport.resumeProducing()
        here.loop.until(lambda: protocol.events == [b"last words", ConnectionDone])
        peer, protocol = here.call()
        protocol.transport.pauseProducing()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        here.loop.until(lambda: protocol.events == [ConnectionLost])


def test_hang_up_of_a_unix_peer_loses_nothing_of_what_it_said(tmp_path: Any) -> None:
    with looping() as loop:
        factory = Recorders()
        port = loop.listen(factory, f"ipc://{tmp_path}/s?io=hub")
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(f"{tmp_path}/s")
        loop.until(lambda: factory.made)
        [protocol] = factory.made
        protocol.transport.pauseProducing()
        peer.sendall(b"last words")
        peer.close()
        loop.turn(50)
        assert protocol.events == []
        protocol.transport.resumeProducing()
        loop.until(lambda: protocol.events == [b"last words", ConnectionDone])
        port.stopListening()
        assert not (tmp_path / "s").exists()


def test_who_writes_to_nobody_is_told_in_a_later_turn() -> None:
    with house() as here:
        peer, protocol = here.call()
        protocol.transport.pauseProducing()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        for _ in range(3):
            protocol.transport.write(b"x")
        assert protocol.events == []
        here.loop.until(lambda: protocol.events == [ConnectionLost])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.binary(min_size=1) | st.integers(1, 300_000).map(lambda n: b"%d" % n * n), max_size=8
    ),
    st.lists(st.integers(1, 100_000), min_size=1),
)
def test_arbitrary_writes_arrive_whatever_the_reading(parts: list[bytes], reads: list[int]) -> None:
    sent = b"".join(part[:400_000] for part in parts)
    with house() as here:
        peer, protocol = here.call()
        # The system is to take little at once, so that the rest goes in several parts.
        socket_of(protocol.transport).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        peer.setblocking(False)
        came = b""
        for number, part in enumerate(parts):
            protocol.transport.write(part[:400_000])
            here.loop.turn()
            with suppress(BlockingIOError):
                came += peer.recv(reads[number % len(reads)])
        protocol.transport.loseConnection()
        came += received(peer, len(sent) - len(came), here.loop) if len(came) < len(sent) else b""
        assert came == sent
        here.loop.until(lambda: protocol.events == [ConnectionDone])


def test_connection_that_idles_is_small() -> None:
    with house(HalfRecorder) as here:
        _, protocol = here.call()
        transport: Any = protocol.transport
        transport.registerProducer(Producer(transport), True)
        # The number of its flags is one that Python shares.
        assert transport._flags < 257
        # Besides: two places in lists and one of eight bytes in an array.
        assert sys.getsizeof(transport) + 16 + sys.getsizeof(transport.fileno()) + 24 <= 150
        assert not hasattr(transport, "__dict__")


# What a test does to a connection, and what its protocol does when bytes come. Twisted tells a
# connection whose outgoing half is closed of its end at once: that one comes last.
ACTS: dict[str, Callable[[Any], object]] = {
    "write": lambda transport: transport.write(b"abc"),
    "sequence": lambda transport: transport.writeSequence([b"d", b"", b"ef"]),
    "much": lambda transport: transport.write(b"m" * 100_000),
    "lose": lambda transport: transport.loseConnection(),
    "abort": lambda transport: transport.abortConnection(),
    "lose write": lambda transport: transport.loseWriteConnection(),
    "pause": lambda transport: transport.pauseProducing(),
    "resume": lambda transport: transport.resumeProducing(),
}
PEER_ACTS = ["send", "shut", "close", "reset"]


def story(
    make: Callable[[Any, socket.socket, Any], object], kind: Any, acts: list[Any]
) -> tuple[list[Any], bytes, str]:
    """Tell what becomes of one connection: its events, and what its peer has at the end."""
    with looping() as loop, socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        protocol = kind()
        planned: list[str] = []
        done: list[str] = []

        def do(act: str) -> None:
            # Twisted fails where more is asked of what has ended, or ends: left out.
            ended = "abort" in done or (act == "lose write" and act in done)
            if not ended and protocol.transport.connected:
                done.append(act)
                ACTS[act](protocol.transport)

        def react(_: bytes) -> None:
            if planned:
                do(planned.pop(0))

        protocol.on_data = react
        make(loop, accepted, protocol)
        gone = False
        for where, act in acts:
            if where == "then":
                planned.append(act)
            elif where == "now":
                do(act)
            elif where == "turn":
                loop.turn(6)
            elif not gone:
                loop.turn(6)
                gone = act in ("close", "reset")
                try:
                    if act == "send":
                        peer.sendall(b"x")
                    elif act == "shut":
                        peer.shutdown(socket.SHUT_WR)
                    else:
                        if act == "reset":
                            peer.setsockopt(
                                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                            )
                        peer.close()
                except OSError:
                    pass
                loop.turn(6)
        loop.turn(10)
        came, end = b"", "gone"
        if not gone:
            peer.setblocking(False)
            try:
                while data := peer.recv(1 << 20):
                    came += data
                    loop.turn(4)
                end = "end"
            except BlockingIOError:
                end = "open"
            except OSError:
                end = "reset"
        events = list(protocol.events)
        if protocol.transport.connected:
            protocol.transport.abortConnection()
        loop.turn(4)
        peer.close()
        return events, came, end


class _Origin:
    """Of connections that nobody accepted."""

    factory = None
    buffer_size = 65536
    family = socket.AF_INET

    def __init__(self, hub: Any) -> None:
        self.hub = hub

    def past_of(self, fd: int) -> Any:
        return self


def by_hub(loop: Any, sock: socket.socket, protocol: Any) -> None:
    from transports.hub.hub import hub_of

    sock.setblocking(False)
    TCPConnection(sock.detach(), _Origin(hub_of(loop.reactor))).start(protocol)  # type: ignore[arg-type]


def by_twisted(loop: Any, sock: socket.socket, protocol: Any) -> None:
    make: Any = Server
    transport = make(sock, protocol, ("127.0.0.1", 1), None, 1, loop.reactor)
    protocol.makeConnection(transport)


STEPS = st.lists(
    st.tuples(st.just("now"), st.sampled_from(sorted(ACTS)))
    | st.tuples(st.just("then"), st.sampled_from(sorted(ACTS)))
    | st.tuples(st.just("peer"), st.sampled_from(PEER_ACTS))
    | st.tuples(st.just("turn"), st.just("")),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([Recorder, HalfRecorder]))
def test_it_does_what_twisteds_own_tcp_does(acts: list[Any], kind: Any) -> None:
    events, came, end = story(by_hub, kind, acts)
    its_events, its_bytes, its_end = story(by_twisted, kind, acts)
    assert (events, end) == (its_events, its_end), (acts, kind)
    # Twisted sends in the next turn, and not what was written in one with an abort.
    assert came.startswith(its_bytes) if end == "reset" else came == its_bytes
