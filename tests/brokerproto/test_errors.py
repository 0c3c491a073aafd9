"""Errors are values; each code of the protocol is one class."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto import errors
from brokerproto.broker_session import failed
from brokerproto.errors import CODES, RemoteProtocolError, Retry
from brokerproto.messages import Failed
from brokerproto.wire import decode
from tests.brokerproto.strategies import frame_of

EXPECTED: dict[int, tuple[str, Retry]] = {
    400: ("BAD_FRAME", "now"),
    401: ("AUTH_REQUIRED", "never"),
    403: ("AUTH_FAILED", "never"),
    405: ("UNKNOWN_VERB", "now"),
    408: ("HANDSHAKE_TIMEOUT", "now"),
    409: ("DUPLICATE_ID", "now"),
    410: ("SUPERSEDED", "never"),
    413: ("FRAME_TOO_LONG", "now"),
    415: ("BAD_ID", "never"),
    422: ("BAD_SEQUENCE", "now"),
    424: ("NOT_REGISTERED", "now"),
    426: ("VERSION", "never"),
    429: ("TOO_MANY", 60),
    431: ("ALREADY_REGISTERED", "now"),
    440: ("HEARTBEAT_TIMEOUT", "now"),
    441: ("SEQUENCE_REGRESSED", "now"),
    442: ("NOT_YOUR_ID", "now"),
    500: ("INTERNAL", 5),
    503: ("DRAINING", "now"),
    507: ("BROKER_FULL", 5),
    508: ("SLOW_READER", 5),
}


def test_the_codes_are_those_of_the_reference() -> None:
    assert {code: (cls.name, cls("").retry) for code, cls in CODES.items()} == EXPECTED
    assert {code: cls.code for code, cls in CODES.items()} == {code: code for code in EXPECTED}


@pytest.mark.parametrize("code", EXPECTED)
def test_a_code_says_itself(code: int) -> None:
    error = CODES[code]("what is wrong")
    name, _ = EXPECTED[code]
    assert str(error) == f"{code} {name}: what is wrong"
    assert failed(error) == Failed(code, name, error.retry, "what is wrong")


@given(st.sampled_from(sorted(CODES)), st.text(), st.none() | st.integers(0, 2**53 - 1))
def test_every_error_can_be_sent(code: int, text: str, retry: int | None) -> None:
    message = failed(CODES[code](text, retry))
    assert decode(frame_of(message), "broker") == message


def test_text_is_printable_whatever_it_was_made_of() -> None:
    assert errors.BadFrameError("a\nb\x1b\xe9\u0661~ \x7f").text == "a?b???~ ?"


def test_retry_may_be_told_from_case_to_case() -> None:
    assert errors.DuplicateIdError("", 0).retry == 0
    assert errors.BrokerFullError("", "now").retry == "now"


def test_errors_are_values() -> None:
    def make(retry: int = 3) -> RemoteProtocolError:
        return errors.DuplicateIdError("in use", retry)

    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != make(4)
    assert make() != errors.DuplicateIdError("used", 3)
    assert make() != errors.BadFrameError("in use", 3)
    assert make() != "409 DUPLICATE_ID: in use"
    assert len({make(), make(), make(4), errors.BadFrameError("in use", 3)}) == 3


def test_whoever_catches_the_root_catches_all() -> None:
    assert issubclass(errors.ProtocolError, errors.BrokerError)
    assert issubclass(errors.LocalProtocolError, errors.ProtocolError)
    assert issubclass(errors.TransportError, errors.BrokerError)
    for protocol in (RemoteProtocolError, errors.RefusedError, errors.SilentBrokerError):
        assert issubclass(protocol, errors.ProtocolError)
    for transport in (errors.InvalidURIError, errors.ListenError, errors.DialError):
        assert issubclass(transport, errors.TransportError)
    assert issubclass(errors.InvalidURIError, ValueError)
    assert not issubclass(errors.RefusedError, RemoteProtocolError)


def test_errors_keep_their_facts() -> None:
    refused = errors.RefusedError(507, "BROKER_FULL", 9, "no more")
    assert (refused.code, refused.name, refused.retry, refused.text) == (
        507,
        "BROKER_FULL",
        9,
        "no more",
    )
    assert str(refused) == "507 BROKER_FULL: no more"
    silent = errors.SilentBrokerError(12, 10)
    assert (silent.heartbeats, silent.interval) == (12, 10)
    assert str(silent) == "the broker was silent for 12 heartbeats of 10 s"
    uri = errors.InvalidURIError("tcp://x\n", "has no port")
    assert (uri.text, uri.problem) == ("tcp://x\n", "has no port")
    assert str(uri) == "'tcp://x\\n': has no port"
    listen = errors.ListenError("tcp://h:1", "in use")
    assert (listen.address, listen.reason) == ("tcp://h:1", "in use")
    assert str(listen) == "cannot listen on tcp://h:1: in use"
    dial = errors.DialError("tcp://h:1", "refused")
    assert (dial.address, dial.reason, dial.retriable) == ("tcp://h:1", "refused", True)
    assert str(dial) == "cannot connect to tcp://h:1: refused"
    assert errors.DialError("tcp://h:1", "no such host", retriable=False).retriable is False


def test_everything_public_is_listed() -> None:
    classes = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, errors.BrokerError)
    }
    assert set(errors.__all__) == classes | {"CODES", "Retry"}
