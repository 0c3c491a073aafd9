"""The wire below the endpoints: bodies, pipelining, what is no HTTP, who goes away."""

from __future__ import annotations

import random
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.broker.control.channel import MAX_HEAD
from services.broker.control.guard import MAX_BODY
from tests.services.broker.controlled import CHUNKED, Controlled, chunks, exchange, request

GET = b"GET /kill HTTP/1.1\r\nHost: localhost\r\n"
GET_CHUNKED = GET + b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = request("/healthz")


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every attempt fail to make a temporary file."""
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")


@pytest.mark.fault("C070")
@pytest.mark.usefixtures("no_files")
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("/kill", "POST", body=b"x" * (MAX_BODY + 1)), 413),
        (request("/kill", "POST", body=b"x" * 300_000), 413),
        (request("/kill", "POST", {"Content-Length": str(300 * 1024**2)}), 413),
        (request("/kill", "POST", CHUNKED) + chunks(5) + b"0\r\n\r\n", 400),
        (request("/kill", "POST", CHUNKED) + chunks(MAX_BODY, 1) + b"0\r\n\r\n", 413),
        (request("/kill", "POST", CHUNKED) + chunks(*[100] * 1000) + b"0\r\n\r\n", 413),
        (request("/nosuch", "POST", body=b"x" * 20_000), 413),
    ],
)
def test_body_is_refused_without_a_file(raw: bytes, status: int) -> None:
    controlled = Controlled("a")
    assert exchange(controlled, raw).status == status
    assert controlled.did_nothing


def test_answer_to_a_long_body_does_not_wait_for_it() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/kill", "POST", {"Content-Length": str(MAX_BODY + 1)}))
    (answer,) = wire.answers
    assert (answer.status, answer.headers["Connection"]) == (413, "close")
    assert not wire.is_closing()
    wire.send(b"x" * MAX_BODY)
    assert not wire.is_closing()
    wire.send(b"x" + request("/kill"))
    assert wire.is_closing()
    assert len(wire.answers) == 1
    assert controlled.did_nothing
    wire.lose()


@pytest.mark.fault("C070")
def test_answer_to_a_body_without_end_comes_with_the_first_byte_too_many() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/kill", "POST", CHUNKED) + chunks(MAX_BODY))
    assert not wire.answers
    wire.send(chunks(1))
    assert [answer.status for answer in wire.answers] == [413]
    for _ in range(2000):
        wire.send(chunks(1024))
    assert wire.is_closing()
    assert len(wire.answers) == 1
    wire.lose()


def test_refused_body_that_goes_wrong_has_one_answer() -> None:
    wire = Controlled().wire()
    wire.send(request("/kill", "POST", CHUNKED) + chunks(MAX_BODY, 1) + b"x\r\n")
    assert [answer.status for answer in wire.answers] == [413]
    assert wire.is_closing()
    wire.lose()


@pytest.mark.parametrize("length", [1, 100, MAX_BODY])
def test_body_that_is_short_enough_keeps_the_connection(length: int) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/kill", "POST", body=b"x" * length) + request("/healthz"))
    assert [answer.status for answer in wire.answers] == [400, 200]
    wire.lose()


def test_whoever_asks_before_a_long_body_is_told_not_to_send_it() -> None:
    wire = Controlled().wire()
    length = {"Content-Length": str(10**9), "Expect": "100-continue"}
    wire.send(request("/kill", "POST", length))
    assert wire.transport.value().startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in wire.transport.value()
    wire.lose()


def test_whoever_asks_before_a_short_body_may_send_it() -> None:
    wire = Controlled().wire()
    wire.send(request("/kill", "POST", {"Content-Length": "3", "Expect": "100-continue"}))
    assert wire.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"abc")
    assert b"HTTP/1.1 400 " in wire.transport.value()
    wire.lose()


@pytest.mark.fault("C085")
@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        # What lies behind a body is the next request, and no part of the body.
        (GET + b"Content-Length: 3\r\n\r\nabc" + NEXT, [400, 200]),
        (GET + b"Content-Length: 3\r\n\r\n" + NEXT, [400, 400]),
        (GET_CHUNKED + b"0\r\n\r\n" + NEXT, [200, 200]),
        (GET_CHUNKED + b"0\r\nX: y\r\n\r\n" + NEXT, [200, 200]),
        (GET_CHUNKED + b"1;x=y\r\nx\r\n0\r\n\r\n" + NEXT, [400, 200]),
        (GET + b"X_Content-Length: 3\r\n\r\n" + NEXT, [200, 200]),
        # Behind what cannot be divided nothing is looked at.
        (GET + b"Content-Length: +3\r\n\r\n" + NEXT, [400]),
        (GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + NEXT, [400]),
        (GET + b"Connection: close\r\n\r\n" + NEXT, [200]),
    ],
)  # fmt: skip
def test_requests_are_divided_as_everybody_divides_them(raw: bytes, statuses: list[int]) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(raw)
    assert [answer.status for answer in wire.answers] == statuses
    assert len(controlled.sent["a"]) == (statuses[0] == 200)
    wire.lose()


def test_client_gone_in_the_middle_of_a_body_leaves_nothing() -> None:
    controlled = Controlled()
    for length in (100, 100_000):
        wire = controlled.wire()
        wire.send(request("/kill", "POST", {"Content-Length": str(length)}) + b"xx")
        wire.lose()
    assert not controlled.clock.getDelayedCalls()


@pytest.mark.fault("C085")
def test_pipelined_requests_are_answered_in_order() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/dowork?time=1&wait=5") + request("/kill?code=9") + request("/healthz"))
    assert not wire.answers
    assert [frame.split(":")[0] for frame in controlled.sent["a"]] == ["DOWORK"]
    controlled.clock.advance(5)
    first, second, third = wire.answers
    assert (first.json["verb"], second.json["verb"]) == ("DOWORK", "KILL")
    assert third.json == {"status": "ok"}
    wire.lose()


@pytest.mark.fault("C085")
def test_outcome_does_not_depend_on_segmentation() -> None:
    raw = (
        request("/dowork?time=1", "POST", CHUNKED) + b"0\r\n\r\n"
        + request("/kill?code=x") + request("/kill", "POST", body=b"abc")
        + request("/kill", "HEAD", {"Content-Length": "0"})[:0] + request("//kill")
    )  # fmt: skip
    whole = Controlled("a")
    wire = whole.wire()
    wire.send(raw)
    expected = [answer.json for answer in wire.answers]
    assert len(expected) == 4
    wire.lose()
    dice = random.Random(7)
    for longest in (1, 3, 50):
        cut = Controlled("a")
        wire = cut.wire()
        rest = raw
        while rest:
            n = dice.randint(1, longest)
            wire.send(rest[:n])
            rest = rest[n:]
        assert [answer.json for answer in wire.answers] == expected
        assert cut.sent == whole.sent
        wire.lose()


@pytest.mark.fault("C085")
@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET /kill HTTP/2.0\r\n\r\n",
        b"GET /kill\r\n\r\n",
        b"GET  /kill HTTP/1.1\r\n\r\n",
        b"G\xe4T /kill HTTP/1.1\r\n\r\n",
        b"GET /k\xffill HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"NewEngine:a:0\r\n\r\n",
        GET + b"no colon\r\n\r\n",
        GET + b"Bad Name: x\r\n\r\n",
        GET + b"X: a\x00b\r\n\r\n",
        GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        GET + b"Content-Length: +3\r\n\r\nabc",
        GET + b"Content-Length: -1\r\n\r\n",
        GET + b"Content-Length: 0x3\r\n\r\nabc",
        GET + b"Content-Length: \r\n\r\n",
        GET + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        GET + b"Content-Length: " + b"9" * 5000 + b"\r\nX: y\r\n\r\n",
        GET + b"Content-Length: 3, 3\r\n\r\nabc",
        GET + b"Content-Length: 3 \x0b\r\n\r\nabc",
        GET + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        GET + b"Content-Length : 3\r\n\r\nabc",
        GET + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nX: y\r\n z\r\n\r\n",
        GET + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        GET + b"Content-Length: 1\r\n\t0\r\n\r\n",
        GET + b" X: y\r\n\r\n",
        GET + b"X: y\r\n z\r\n\r\n",
        GET + b"Content\x00-Length: 3\r\n\r\nabc",
        b"GET /kill HTTP/1.1\r\n Host: localhost\r\n\r\n",
        b" GET /kill HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET + b"Transfer-Encoding: gzip\r\n\r\n",
        GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n1;x\nx\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        GET + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        GET + b"X: y\r\n" * 501 + b"\r\n",
        GET + b"X: " + b"y" * 16_000 + b"\r\nZ: " + b"y" * 1000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 20_000,
        b"x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_http_is_400_and_closed(raw: bytes) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(raw)
    assert [answer.status for answer in wire.answers] == [400]
    assert wire.answers[0].error["status"] == 400
    assert wire.is_closing()
    assert controlled.did_nothing
    wire.lose()
    assert not controlled.clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("raw", "long"),
    [
        (b"nonsense\r\n\r\n", False),
        (request("/kill?" + "engine=a&" * 2000), True),
        (request("/kill?" + "engine=a&" * 2000)[:-4], True),
        (request("/kill?" + "engine=a&" * 1800, headers={"X": "y" * 300}), True),
        (request("/healthz", headers={"X": "y" * 16_200}) + b"nonsense\r\n\r\n", False),
    ],
)
def test_a_request_that_is_too_long_is_told_so(raw: bytes, long: bool) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(raw)
    refused = wire.answers[-1]
    assert (refused.status, f"more than {MAX_HEAD} bytes" in refused.error["message"]) == (
        400,
        long,
    )
    assert wire.is_closing()
    assert controlled.did_nothing
    wire.lose()


VALID = request("/kill?code=3&engine=a", "POST", {"Origin": "http://127.0.0.1:8080"}, b"")


@given(
    st.integers(0, len(VALID)),
    st.integers(0, 8),
    st.binary(max_size=8)
    | st.sampled_from([b"\r\n", b"\n", b" ", b"\t", b"%00", b"\xff", b"%FF", b"//", b"*", b"\0"])
    | st.sampled_from([b"Host: x\r\n", b"Content-Length: 0\r\n", b"Expect: 100-continue\r\n"]),
)
def test_whatever_is_said_is_answered_without_a_fault(at: int, cut: int, put: bytes) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(VALID[:at] + put + VALID[at + cut :])
    wire.send(b"\r\n\r\n")
    for answer in wire.answers:
        assert answer.status in (200, 400, 403, 404, 405, 413, 421)
        assert (answer.status == 200) is ("error" not in answer.json)
    if controlled.sent["a"]:
        assert wire.answers[0].status == 200
    wire.lose()
    assert not controlled.clock.getDelayedCalls()


def test_host_that_the_router_cannot_take_is_an_error_like_others() -> None:
    name = "x" * 64
    controlled = Controlled("a", extra_hosts=(name,))
    wire = controlled.wire()
    wire.send(request("/kill", host=name) + request("/healthz"))
    refused, following = wire.answers
    assert (refused.status, refused.error["status"], following.status) == (400, 400, 200)
    assert controlled.did_nothing
    wire.lose()


def test_idle_connection_is_closed() -> None:
    controlled = Controlled()
    wire = controlled.wire()
    wire.send(request("/healthz"))
    controlled.clock.advance(61)
    assert wire.is_closing()
    wire.lose()
    assert not controlled.clock.getDelayedCalls()


def test_site_logs_no_request_and_keeps_no_clock(capsys: pytest.CaptureFixture[str]) -> None:
    controlled = Controlled()
    controlled.site.startFactory()
    assert exchange(controlled, request("/healthz")).status == 200
    assert not controlled.clock.getDelayedCalls()
    controlled.site.stopFactory()
    assert capsys.readouterr() == ("", "")


def test_client_that_goes_away_leaves_no_timer_and_no_callback() -> None:
    controlled = Controlled("a", "b")
    wire = controlled.wire()
    wire.send(request("/dowork?time=1&wait=600"))
    assert len(controlled.clock.getDelayedCalls()) == 1
    wire.lose()
    assert not controlled.clock.getDelayedCalls()
    # A callback left behind would reset the cancelled timer, and raise.
    for engine in controlled.engines.values():
        engine.reports("done")
    (command,) = controlled.broker.ledger
    assert command.is_settled
    assert not wire.transport.value()


def test_client_that_goes_away_with_its_answer_due_leaves_nothing() -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request("/dowork?time=1&wait=600"))
    controlled.engines["a"].reports("done")
    wire.lose()
    controlled.clock.advance(1)
    assert not controlled.clock.getDelayedCalls()
    assert not wire.transport.value()
