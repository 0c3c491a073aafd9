"""What strangers say never becomes a line of the log, nor a part of its format."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from zope.interface import implementer

from brokerproto.broker import Broker
from brokerproto.fleet import Origin
from brokerproto.testing import ManualClock, RecordingCarrier
from services.broker.reporting import LoggingObserver
from services.program.logs import TextFormat, json_format

pytestmark = [pytest.mark.fault("C023"), pytest.mark.fault("C024")]

PAYLOADS = {
    "a JSON line": b'x"}\r\n{"level":"critical","message":"forged"}\n',
    "a text line": b"x\r2026-11-22T12:00:00Z [broker] forged",
    "a terminal": b"\x1b[2J\x1b]0;forged\x07",
    "an attribute": b"{0.__class__.__init__.__globals__}",
    "a call": b"{log_source()!r:>99}",
    "a percent": b"%s%n%(forged)s",
    "a brace": b"{forged",
    "a name": b"{engine}{reason}{log_time}",
    "another direction": "\u202eforged\u2028".encode(),
    "no UTF-8": b"\xff\xfeforged\xed\xa0\x80",
    "NUL": b"\0forged",
    "C1": b"\x9b31mforged\x85",
}
BEFORE = {
    "verb": b"%b:a:0\n",
    "id": b"NewEngine:%b:0\n",
    "number": b"NewEngine:a:%b\n",
    "option": b"NewEngine:a:0:%b=1\n",
    "value": b"NewEngine:a:0:v=1;instance=%b\n",
    "label": b"NewEngine:a:0:v=1;label-%b=1\n",
    "label's value": b"NewEngine:a:0:v=1;label-a=%b\n",
}
AFTER = {
    "verb, registered": b"%b\n",
    "heartbeat's id": b"HeartBeat:%b:1\n",
    "heartbeat's number": b"HeartBeat:a:%b\n",
    "work": b"HeartBeat:a:1:busy=%b\n",
    "report's command": b"Report:%b:done\n",
    "report's state": b"Report:b0-1:%b\n",
    "report's error": b"Report:b0-1:failed:error=%b\n",
    "reason": b"Bye:reason=%b\n",
}
HELLO = b"NewEngine:a:0:v=1;ack=1\n"


@implementer(ILogObserver)
class Log(list[LogEvent]):
    """What a program's log shows: information, and what is worse."""

    def __call__(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.info:
            self.append(event)


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    globalLogPublisher.addObserver(log)
    yield log
    globalLogPublisher.removeObserver(log)


def says(*streams: bytes, address: str = "127.0.0.1:4000") -> None:
    """Have one stranger say this to a broker of its own, and go."""
    broker = Broker(ManualClock().seconds, "b0", observer=LoggingObserver())
    session = broker.open(RecordingCarrier(), Origin(address, "tcp://*:1337"))
    for stream in streams:
        broker.receive_data(session, stream)
    broker.lose(session, reset=False)


def is_harmless(event: LogEvent) -> bool:
    """See that both formats give one line, without anything that was said."""
    for line in (json_format(event), TextFormat("broker")(event)):
        [only] = line.splitlines()
        assert only.isprintable()
        assert not any(mark in only for mark in ("forged", "__", "log_source", "%s", "\\x", "\\u"))
    return isinstance(json.loads(json_format(event)), dict)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("place", [*BEFORE, *AFTER])
def test_whatever_is_said_in_any_place_makes_one_harmless_line(
    log: Log, place: str, payload: str
) -> None:
    if place in BEFORE:
        says(BEFORE[place].replace(b"%b", PAYLOADS[payload]))
    else:
        says(HELLO, AFTER[place].replace(b"%b", PAYLOADS[payload]))
    [event] = log
    assert is_harmless(event)
    beginning = "refused 127.0.0.1:4000 (no id): 4" if place in BEFORE else "a lost: 4"
    assert json.loads(json_format(event))["message"].startswith(beginning)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_peer_with_a_hostile_address_is_told_of_in_one_line_each_time(
    log: Log, payload: str
) -> None:
    address = PAYLOADS[payload].decode("utf-8", "surrogateescape")
    says(b"oops!\n", address=address)
    says(HELLO, b"HeartBeat:a:2\n", address=address)
    assert [event["log_format"][:9] for event in log] == ["refused {", "{engine} ", "{engine} "]
    for event in log:
        as_json, as_text = json_format(event), TextFormat("broker")(event)
        assert (len(as_json.splitlines()), len(as_text.splitlines())) == (1, 1)
        assert as_text[:-1].isprintable()
    shown = json.loads(json_format(log[0]))
    # As it is, apart from what no text can hold.
    assert shown["address"] == address.encode("utf-8", "backslashreplace").decode()
    assert shown["address"] in shown["message"]


def test_an_id_that_looks_like_a_format_is_told_literally(log: Log) -> None:
    says(b"NewEngine:0.__class__.s:0:v=1\nHeartBeat:0.__class__.s:2\n")
    messages = [json.loads(json_format(event))["message"] for event in log]
    assert messages[0] == "0.__class__.s missed 1 heartbeat, 1 to 1"
    assert messages[1].startswith("0.__class__.s lost: closed, after ")
