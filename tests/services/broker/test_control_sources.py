"""How often one source may ask the control API, and what is logged of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, capturedLogs, formatEvent
from zope.interface import implementer

from services.broker.control.site import RATE
from services.broker.control.sources import BURST_SECONDS, SOURCES_KEPT, Rates, source_of
from services.program.log_limits import OF_ONE_PEER, LogLimits
from tests.services.broker.controlled import Controlled, request

BURST = RATE * BURST_SECONDS


class ThreadedClock(Clock):
    """A clock whose one thread is the caller's."""

    def callFromThread(self, function: Callable[[], object]) -> None:
        function()


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
    ],
)
def test_source_is_an_address_or_the_network_that_one_host_has(host: str, source: str) -> None:
    kind = IPv6Address if ":" in host else IPv4Address
    assert source_of(kind("TCP", host, 1)) == source


def test_peer_without_an_address_is_a_source_too() -> None:
    assert source_of(None) == source_of(UNIXAddress("/run/x")) == ""


@pytest.mark.parametrize("rate", [1, 3, 7, 20, 1000])
def test_source_has_its_burst_and_then_its_rate(rate: int) -> None:
    clock = Clock()
    clock.advance(1000.1)
    rates = Rates(rate, clock.seconds)

    def allowed() -> int:
        return [rates.allows("a") for _ in range(20 * rate)].count(True)

    assert allowed() == BURST_SECONDS * rate
    for _ in range(50):
        clock.advance(1)
        assert allowed() == rate
    clock.advance(3 * BURST_SECONDS)
    assert allowed() == BURST_SECONDS * rate


@given(st.lists(st.tuples(st.integers(0, 64), st.sampled_from("ab")), max_size=300))
def test_no_more_is_allowed_than_rate_and_burst(asked: list[tuple[int, str]]) -> None:
    """Against a bucket that is filled and emptied in whole 1/64 of a request."""
    clock = Clock()
    rates = Rates(4, clock.seconds)
    full = 4 * BURST_SECONDS * 16
    level = {"a": full, "b": full}
    for sixteenths, source in asked:
        clock.advance(sixteenths / 64)
        # At 4 a second a 64th of a second is a 16th of a request.
        level = {each: min(full, left + sixteenths) for each, left in level.items()}
        # Close to a whole request either answer will do.
        if abs(level[source] - 16) < 9:
            level[source] -= 16 * rates.allows(source)
        else:
            assert rates.allows(source) is (level[source] >= 16)
            level[source] -= 16 * (level[source] >= 16)


def test_sources_that_are_remembered_are_bounded_and_the_oldest_goes_first() -> None:
    clock = Clock()
    rates = Rates(1, clock.seconds)
    for _ in range(BURST_SECONDS):
        assert rates.allows("first")
    for n in range(SOURCES_KEPT - 1):
        assert rates.allows(str(n))
    assert not rates.allows("first")
    for n in range(SOURCES_KEPT - 1):
        assert rates.allows(f"{n}'")
    assert not rates.allows("first")
    for n in range(SOURCES_KEPT):
        assert rates.allows(f"{n}''")
    assert rates.allows("first")


def test_whoever_asks_too_often_gets_429_and_is_closed() -> None:
    controlled = Controlled("a")
    with capturedLogs():
        # As fast as can be: all of them in one segment.
        wire = controlled.wire("192.0.2.1")
        wire.send(request("/kill?match=x") * 1000)
        assert [answer.status for answer in wire.answers] == [200] * BURST + [429]
        refused = wire.answers[-1]
        assert (refused.headers["Retry-After"], refused.headers["Connection"]) == ("1", "close")
        assert wire.is_closing()
        wire.lose()
        for _ in range(10):
            wire = controlled.wire("192.0.2.1")
            wire.send(request("/healthz", "HEAD"))
            assert wire.transport.value().startswith(b"HTTP/1.1 429 ")
            assert wire.transport.value().endswith(b"\r\n\r\n")
            assert wire.is_closing()
            wire.lose()
    assert len(list(controlled.broker.ledger)) == 100


def test_nobody_else_is_refused() -> None:
    controlled = Controlled("a")
    with capturedLogs():
        for _ in range(10):
            wire = controlled.wire("192.0.2.1")
            wire.send(request("/healthz") * 300)
            wire.lose()
            probe = controlled.wire("192.0.2.2")
            probe.send(request("/healthz"))
            assert [answer.status for answer in probe.answers] == [200]
            probe.lose()


def test_whoever_slows_down_is_served_again() -> None:
    controlled = Controlled("a")
    with capturedLogs():
        wire = controlled.wire()
        wire.send(request("/healthz") * 300)
        wire.lose()
        for _ in range(3 * BURST):
            controlled.clock.advance(1 / RATE)
            wire = controlled.wire()
            wire.send(request("/healthz"))
            assert [answer.status for answer in wire.answers] == [200]
            wire.lose()


def test_without_a_rate_nobody_is_refused() -> None:
    controlled = Controlled("a", rate=0)
    wire = controlled.wire()
    wire.send(request("/healthz") * 3 * BURST)
    assert [answer.status for answer in wire.answers] == [200] * 3 * BURST
    wire.lose()


def flood(controlled: Controlled, *sources: str, times: int = 5) -> Sequence[LogEvent]:
    """Ask too often from some sources, and give what is logged."""
    with capturedLogs() as events:
        for source in sources:
            for _ in range(times):
                wire = controlled.wire(source)
                wire.send(request("/healthz") * (2 * BURST))
                assert wire.answers[-1].status == 429
                wire.lose()
    return events


def test_log_names_who_asks_too_often() -> None:
    events = flood(Controlled(), "192.0.2.1", "2001:db8::1", times=1)
    assert [(event["log_level"], formatEvent(event)) for event in events] == [
        (LogLevel.warn, f"refused a request of {source}: more than 20 requests a second")
        for source in ("192.0.2.1", "2001:db8::/64")
    ]


def test_log_has_few_lines_of_who_asks_too_often_and_counts_them_all() -> None:
    written: list[LogEvent] = []

    @implementer(ILogObserver)
    def write(event: LogEvent) -> None:
        written.append(event)

    limits = LogLimits(write, ThreadedClock())
    sources = ["192.0.2.1", "2001:db8:0:7::1"]
    for event in flood(Controlled(), *sources, times=20):
        limits(event)
    assert Counter(event["address"] for event in written) == {
        "192.0.2.1": OF_ONE_PEER,
        "2001:db8:0:7::/64": OF_ONE_PEER,
    }
    limits.finish()
    assert written[-1]["left_out"] == 2 * (20 - OF_ONE_PEER)
