"""Whom a broker's session refuses, and with which code."""

from __future__ import annotations

import pytest

from brokerproto.account import Totals
from brokerproto.broker_events import Foreign
from brokerproto.broker_session import BrokerSession
from brokerproto.messages import (
    Ack,
    Failed,
    NewEngine,
    Unknown,
)
from brokerproto.states import BrokerState
from tests.brokerproto.strategies import UNFIT_NUMBERS
from tests.brokerproto.talk import Talk, grant_for, listed, opened, refusals, said

CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
ZMTP = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03"


def refused(stream: bytes) -> tuple[int, str]:
    """Feed a fresh session, and return what it is told."""
    session = BrokerSession(0.0)
    session.receive_data(stream, 0.0)
    (message,) = said(session)
    assert session.state is BrokerState.CLOSING
    assert session.failure is not None
    assert message == Failed(
        session.failure.code, session.failure.name, session.failure.retry, session.failure.text
    )
    return message.code, str(message.retry)


@pytest.mark.fault("C006")
@pytest.mark.parametrize("bad", [b"\0", b"\x01", b"\x07", b"\x1b[31m", b"\x7f", b"\t"])
def test_control_bytes_in_an_id_are_refused_and_never_echoed(bad: bytes) -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:a" + bad + b"b:0\n", 0.0)
    owed = session.data_to_send()
    assert owed.startswith(b"FAILED:415:BAD_ID:never:")
    assert owed.removesuffix(b"\n").decode().isprintable()


@pytest.mark.fault("C007")
@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x28\xa1", "\xe9".encode()]
)
def test_bytes_beyond_ascii_in_an_id_are_refused(bad: bytes) -> None:
    assert refused(b"NewEngine:" + bad) == (415, "never")
    assert refused(b"NewEngine:a" + bad + b":0\n") == (415, "never")


@pytest.mark.fault("C008")
@pytest.mark.parametrize(
    ("engine_id", "code"), [(b"a;b", 415), (b"a=b", 415), (b"a b", 415), (b"a:b", 400)]
)
def test_separators_in_an_id_are_refused(engine_id: bytes, code: int) -> None:
    assert refused(b"NewEngine:" + engine_id + b":0\n")[0] == code


@pytest.mark.fault("C009")
@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"NewEngine::0\n", 415),
        (b"NewEngine:\n", 415),
        (b"NewEngine\n", 400),
        (b"NewEngine:a\n", 400),
        (b"NewEngine:" + b"a" * 254, 415),
        (b"NewEngine:" + b"a" * 252 + b"-", 415),
        (b"NewEngine:-", 415),
        (b"NewEngine:a-:", 415),
    ],
)
def test_an_id_that_is_missing_empty_or_too_long_is_refused(stream: bytes, code: int) -> None:
    assert refused(stream)[0] == code


@pytest.mark.fault("C009")
def test_an_id_of_253_bytes_is_fine() -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:" + b"a" * 253 + b":0\n", 0.0)
    assert session.state is BrokerState.HELD


@pytest.mark.fault("C010")
@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"x" * 2**20, 400),
        (b"NewEngine:a:0:" + b"k=v;" * 2**18, 400),
        (b"NewEngine:a:0:" + b";".join(b"k%d=v" % n for n in range(2**17)), 413),
    ],
    ids=["no verb", "a pair repeated", "no line end"],
)
def test_a_mebibyte_without_a_line_end_is_refused_and_not_kept(stream: bytes, code: int) -> None:
    session = BrokerSession(0.0)
    for start in range(0, len(stream), 65_536):
        session.receive_data(stream[start : start + 65_536], 0.0)
        assert session._framer is not None
        assert session._framer.waiting == 0
    assert refusals(session) == [code]
    assert refused(stream) == (code, "now")


@pytest.mark.fault("C010")
@pytest.mark.parametrize("piece", [1, 7, 1000, 1024, 1025, 65_536])
def test_no_more_than_a_hello_and_its_line_end_is_ever_kept(piece: int) -> None:
    stream = b"NewEngine:a:0:" + b";".join(b"k%d=v" % n for n in range(2**13))
    session = BrokerSession(0.0)
    kept = []
    for start in range(0, len(stream), piece):
        session.receive_data(stream[start : start + piece], 0.0)
        kept.append(0 if session._framer is None else session._framer.waiting)
    assert max(kept) <= 1025
    assert kept[-1] == 0
    assert refusals(session) == [413]


def test_a_hello_is_too_long_one_byte_beyond_1024() -> None:
    # Three pairs, so that no value is too long by itself.
    def hello(length: int) -> bytes:
        start = (
            b"NewEngine:a:0:x=" + b"v" * 256 + b";y=" + b"v" * 256 + b";z=" + b"v" * 256 + b";w="
        )
        return start + b"v" * (length - len(start))

    for end in (b"\n", b"\r\n"):
        session = BrokerSession(0.0)
        session.receive_data(hello(1024) + end, 0.0)
        assert session.state is BrokerState.HELD
        assert refused(hello(1025) + end) == (413, "now")
    assert refused(hello(1025)) == (413, "now")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_frame_is_too_long_one_byte_beyond_4096_once_registered(end: bytes) -> None:
    def beat(length: int) -> bytes:
        pairs = b";".join(b"%03d=" % n + b"v" * 250 for n in range(15))
        start = b"HeartBeat:a:1:" + pairs + b";w="
        return start + b"v" * (length - len(start)) + end

    session = opened()
    session.receive_data(beat(4096), 0.0)
    assert said(session) == [Ack(1)]
    session.receive_data(beat(4097), 0.0)
    assert refusals(session) == [413]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_sixteenth_empty_line_ends_a_session(end: bytes) -> None:
    session = opened()
    session.receive_data(end * 15 + b"HeartBeat:a:1\n" + end * 15, 0.0)
    assert session.is_open
    session.receive_data(end, 0.0)
    assert refusals(session) == [400]


@pytest.mark.fault("C011")
@pytest.mark.parametrize(
    "frame", [b"HeartBeat:a:1", b"Report:c:done", b"Proof:%b:%b" % ((b"0" * 64,) * 2)]
)
def test_only_a_registered_engine_may_speak(frame: bytes) -> None:
    assert refused(frame + b"\n") == (424, "now")


@pytest.mark.fault("C012")
def test_an_unknown_verb_before_registration_ends_the_session() -> None:
    assert refused(b"Nonsense\n") == (405, "now")
    assert refused(b"Nonsense:") == (405, "now")
    assert refused(b"newengine:a:0\n") == (405, "now")
    session = BrokerSession(0.0)
    assert listed(session.receive_data(b"Nonsense", 0.0)) == []
    assert session.state is BrokerState.HELLO


def test_an_unknown_verb_is_told_alike_at_its_colon_and_at_its_end() -> None:
    told = []
    for end in (b"\n", b":", b":x\n"):
        session = BrokerSession(0.0)
        session.receive_data(b"Nonsense" + end, 0.0)
        told.append(session.data_to_send())
    assert len(set(told)) == 1


@pytest.mark.fault("C012")
def test_the_third_unknown_verb_after_registration_ends_the_session() -> None:
    session = opened()
    events = session.receive_data(b"Odd:1\nHeartBeat:a:1\nEven\nHeartBeat:a:2\n", 0.0)
    assert listed(events) == [Unknown("Odd"), Unknown("Even")]
    assert refusals(session) == [405, 405]
    assert session.is_open
    session.receive_data(b"Odd\nHeartBeat:a:3\n", 0.0)
    assert refusals(session) == [405]
    assert session.is_over


@pytest.mark.fault("C013")
@pytest.mark.parametrize(
    ("stream", "protocol"),
    [
        (CLIENT_HELLO, "tls"),
        (b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", "http"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "ssh"),
        (ZMTP, "zmtp"),
    ],
)
def test_other_protocols_are_refused_by_their_first_bytes(stream: bytes, protocol: str) -> None:
    for pieces in ([stream], [stream[n : n + 1] for n in range(len(stream))]):
        outcome = Talk().feed(pieces).outcome()
        assert outcome.events == (Foreign(protocol),)
        assert outcome.failure is not None
        assert outcome.failure.code == 400
        assert outcome.failure.text == f"{protocol} is not what is spoken here"


@pytest.mark.parametrize("stream", [b"\0", b"NewEngine:-", b"GETX ", b"Nonsense:", b"x" * 2000])
def test_other_bytes_are_no_protocol_that_is_known(stream: bytes) -> None:
    session = BrokerSession(0.0)
    assert listed(session.receive_data(stream, 0.0)) == []
    assert session.failure is not None


@pytest.mark.fault("C015")
@pytest.mark.parametrize("number", UNFIT_NUMBERS)
def test_a_number_that_is_none_is_refused_before_and_after_registration(number: bytes) -> None:
    assert refused(b"NewEngine:a:" + number + b"\n") == (400, "now")
    session = opened()
    session.receive_data(b"HeartBeat:a:" + number + b"\nHeartBeat:a:1\n", 0.0)
    assert refusals(session) == [400]
    assert session.account is not None
    assert session.account.totals == Totals()


@pytest.mark.fault("C021")
@pytest.mark.parametrize(
    ("options", "code"),
    [(b":5", 400), (b":x=1", None), (b":!must=1", 426), (b":v=1:x=1", 400)],
)
def test_options_of_a_hello_are_ignored_or_refused(options: bytes, code: int | None) -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:a:0" + options + b"\n", 0.0)
    assert refusals(session) == ([] if code is None else [code])


@pytest.mark.fault("C021")
@pytest.mark.parametrize(
    ("options", "code"),
    [(b":5", 400), (b":x=1", None), (b":!must=1", 426), (b":busy=b_1", 400), (b":", 400)],
)
def test_options_of_a_heartbeat_are_ignored_or_refused(options: bytes, code: int | None) -> None:
    session = opened()
    session.receive_data(b"HeartBeat:a:1" + options + b"\n", 0.0)
    assert refusals(session) == ([] if code is None else [code])
    assert session.is_open is (code is None)


@pytest.mark.fault("C022")
@pytest.mark.parametrize(("version", "code"), [(b"0", 426), (b"x", 400), (b"", 400), (b"-1", 400)])
def test_versions_that_nobody_speaks_are_refused(version: bytes, code: int) -> None:
    assert refused(b"NewEngine:a:0:v=" + version + b"\n")[0] == code


@pytest.mark.fault("C022")
@pytest.mark.parametrize("version", [b"1", b"2", b"99", b"9007199254740991"])
def test_a_higher_version_is_answered_with_ours(version: bytes) -> None:
    session = BrokerSession(0.0)
    session.receive_data(b"NewEngine:a:0:v=" + version + b"\n", 0.0)
    session.accept(grant_for(NewEngine("a", 0, v=1)), 0.0)
    (success,) = said(session)
    assert success.v == 1
