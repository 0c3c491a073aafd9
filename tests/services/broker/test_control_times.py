"""How long each step of a connection to the control API may take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, capturedLogs

from services.broker.control.channel import IDLE, PATIENCE
from services.broker.control.guard import MAX_BODY
from services.broker.control.places import MOST
from tests.services.broker.controlled import CHUNKED, Controlled, Wire, chunks, request

TICK = 0.125
HEAD = b"GET /healthz HTTP/1.1\r\nX: "


@pytest.fixture(autouse=True)
def logged() -> Iterator[Sequence[LogEvent]]:
    """See that nothing is logged: who is too slow may come as often as he likes."""
    with capturedLogs() as events:
        yield events
    assert not events


def pass_time(controlled: Controlled, seconds: float) -> None:
    controlled.clock.pump([TICK] * int(seconds / TICK))


def lost(controlled: Controlled, wire: Wire) -> None:
    """See that a connection that goes leaves no timer and no place."""
    wire.lose()
    assert not controlled.clock.getDelayedCalls()
    assert not len(controlled.site.places)


def test_connection_without_a_request_is_closed_without_a_word() -> None:
    controlled = Controlled()
    wire = controlled.wire()
    controlled.clock.advance(PATIENCE - TICK)
    wire.send(b"\r\n")
    assert not wire.is_closing()
    controlled.clock.advance(TICK)
    assert wire.is_closing()
    assert not wire.answers
    lost(controlled, wire)


@pytest.mark.fault("C071")
@pytest.mark.parametrize(
    ("begun", "drop"),
    [
        (b"", b"G"),
        (b"\r\n", b"G"),
        (b"GET /", b"x"),
        (HEAD, b"x"),
        (HEAD, b"x\r\nX: "),
        (request("/kill", headers={"Content-Length": str(MAX_BODY)}), b"x"),
        (request("/kill", headers=CHUNKED), b"1\r\nx\r\n"),
        (request("/kill", headers={"Content-Length": "3", "Expect": "100-continue"}), b""),
    ],
)
def test_request_that_drips_is_cut_ten_seconds_after_its_first_byte(
    begun: bytes, drop: bytes
) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    controlled.clock.advance(PATIENCE / 2)
    wire.send(begun + drop)
    for _ in range(int(PATIENCE / TICK) - 1):
        controlled.clock.advance(TICK)
        wire.send(drop)
        assert not wire.is_closing()
    controlled.clock.advance(TICK)
    (answer,) = wire.answers
    assert (answer.status, answer.headers["Connection"]) == (408, "close")
    assert wire.is_closing()
    assert controlled.did_nothing
    lost(controlled, wire)


@pytest.mark.fault("C071")
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(1, 9)), max_size=12))
def test_nothing_that_comes_prolongs_the_time(drops: list[tuple[int, int]]) -> None:
    controlled = Controlled()
    wire = controlled.wire()
    wire.send(HEAD)
    passed = 0
    for ticks, size in drops:
        controlled.clock.advance(ticks * TICK)
        passed += ticks
        assert wire.is_closing() is (passed * TICK >= PATIENCE)
        wire.send(b"x" * size)
    wire.lose()


@pytest.mark.fault("C070")
@pytest.mark.parametrize("headers", [CHUNKED, {"Content-Length": "314572800"}])
def test_body_that_was_refused_and_drips_is_cut_too(headers: dict[str, str]) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/kill", "POST", headers) + chunks(MAX_BODY, 1))
    for _ in range(int(PATIENCE)):
        assert not wire.is_closing()
        controlled.clock.advance(1)
        wire.send(b"x")
    assert wire.is_closing()
    assert [answer.status for answer in wire.answers] == [413]
    lost(controlled, wire)


@pytest.mark.fault("C071")
def test_five_hundred_that_drip_are_cut_and_a_good_request_is_answered() -> None:
    controlled = Controlled("a")
    dripping = []
    for _ in range(500):
        dripping.append(controlled.wire())
        dripping[-1].send(HEAD)
    for _ in range(int(PATIENCE) - 1):
        controlled.clock.advance(1)
        for wire in dripping:
            wire.send(b"y")
        good = controlled.wire()
        good.send(request("/stats"))
        assert [answer.status for answer in good.answers] == [200]
        good.lose()
        assert len(controlled.site.places) <= MOST
    # One had to give way to the good one.
    held = [wire for wire in dripping if not wire.is_closing()]
    assert held == dripping[-MOST + 1 :]
    controlled.clock.advance(1)
    assert all(wire.is_closing() for wire in dripping)
    assert [answer.status for wire in dripping for answer in wire.answers] == [408] * len(held)
    for wire in dripping:
        wire.lose()
    assert not controlled.clock.getDelayedCalls()


def test_idle_connection_is_closed_a_minute_after_its_answer() -> None:
    controlled = Controlled()
    wire = controlled.wire()
    for _ in range(3):
        controlled.clock.advance(PATIENCE - TICK)
        wire.send(request("/healthz"))
        controlled.clock.advance(IDLE - TICK)
        assert not wire.is_closing()
        # The next request has its own ten seconds.
        wire.send(b"G")
        controlled.clock.advance(PATIENCE - TICK)
        wire.send(request("/healthz")[1:])
    controlled.clock.advance(IDLE - TICK)
    assert not wire.is_closing()
    controlled.clock.advance(TICK)
    assert wire.is_closing()
    assert [answer.status for answer in wire.answers] == [200] * 6
    lost(controlled, wire)


def test_line_ends_between_requests_are_no_request() -> None:
    controlled = Controlled()
    wire = controlled.wire()
    wire.send(request("/healthz") + b"\r\n")
    controlled.clock.advance(IDLE - TICK)
    assert not wire.is_closing()
    wire.send(request("/healthz"))
    assert len(wire.answers) == 2
    wire.lose()


def test_waiting_for_a_commands_end_is_not_cut() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/dowork?time=1&wait=600") + HEAD)
    controlled.clock.advance(599)
    assert not wire.is_closing()
    assert not wire.answers
    controlled.clock.advance(1)
    assert [answer.status for answer in wire.answers] == [200]
    # The time of the request behind it begins with the end of its answer.
    controlled.clock.advance(PATIENCE - TICK)
    assert not wire.is_closing()
    controlled.clock.advance(TICK)
    assert [answer.status for answer in wire.answers] == [200, 408]
    lost(controlled, wire)


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_answer_of_which_nothing_is_read_is_aborted(headers: dict[str, str]) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.reads = False
    wire.send(request("/openapi.json", headers=headers))
    pass_time(controlled, PATIENCE - TICK)
    assert not wire.is_aborted()
    pass_time(controlled, TICK)
    assert wire.is_aborted()
    lost(controlled, wire)


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}])
def test_answer_that_is_read_slowly_is_not_aborted(headers: dict[str, str]) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.reads = False
    wire.send(request("/openapi.json", headers=headers))
    for read in range(1, 20):
        pass_time(controlled, PATIENCE - TICK)
        assert not wire.is_aborted()
        wire.transport.offset = read
    # Whether anything was read is looked at four times in the ten seconds.
    pass_time(controlled, PATIENCE * 5 / 4)
    assert wire.is_aborted()
    lost(controlled, wire)


def test_refusal_that_is_not_read_is_aborted() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(b"nonsense\r\n\r\n")
    assert wire.is_closing()
    assert not wire.is_aborted()
    pass_time(controlled, PATIENCE)
    assert wire.is_aborted()
    lost(controlled, wire)


def test_request_is_not_looked_at_before_the_answer_to_the_last_one_is_on_its_way() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.reads = False
    wire.send(request("/dowork?time=1") * 3)
    wire.send(request("/dowork?time=1"))
    assert len(controlled.sent["a"]) == 1
    assert wire.transport.producerState == "paused"
    for sent in (2, 3, 4, 4):
        wire.transport.producer.resumeProducing()
        assert len(controlled.sent["a"]) == sent
    assert wire.transport.producerState == "producing"
    assert len(wire.answers) == 4
    lost(controlled, wire)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x80\x2e\x01\x00\x02",
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f",
        b"NewEngine:a:0\n",
        b"GET\t/",
        b"GET\r\n",
        b"\0",
        b'{"a"',
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("before", [b"", request("/healthz")])
def test_what_cannot_become_a_request_is_refused_without_waiting_for_its_end(
    raw: bytes, size: int, before: bytes
) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(before)
    for at in range(0, len(raw), size):
        wire.send(raw[at : at + size])
    assert [answer.status for answer in wire.answers][bool(before) :] == [400]
    assert wire.is_closing()
    lost(controlled, wire)


@pytest.mark.parametrize(
    ("raw", "reads"),
    [
        (b"", True),
        (b"GE", True),
        (HEAD, True),
        (request("/kill", headers={"Content-Length": "3"}) + b"ab", True),
        (request("/kill", body=b"x" * 17_000)[:-1], True),
        (request("/dowork?wait=600"), True),
        (request("/dowork?wait=600") + request("/healthz"), True),
        (request("/healthz"), True),
        (request("/healthz"), False),
        (request("/healthz") * 2, False),
        (request("/healthz", headers={"Connection": "close"}), False),
        (b"nonsense\r\n\r\n", False),
    ],
)
def test_connection_that_goes_at_any_step_leaves_nothing(raw: bytes, reads: bool) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.reads = reads
    wire.send(raw)
    assert len(controlled.clock.getDelayedCalls()) == 1
    lost(controlled, wire)
