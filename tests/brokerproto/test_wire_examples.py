"""Frames by example: each layout, each edge, each refusal."""

from __future__ import annotations

import pytest
from attrs import fields

from brokerproto import wire
from brokerproto.errors import LocalProtocolError, RemoteProtocolError
from brokerproto.messages import (
    Ack,
    Bye,
    Challenge,
    DoWork,
    Failed,
    GoAway,
    Heartbeat,
    Kill,
    Message,
    NewEngine,
    Ping,
    Proof,
    Report,
    Success,
    Unknown,
    Unusable,
)
from brokerproto.wire import check_beginning, decode, encode, foreign_protocol
from tests.brokerproto.judged import beginning_code, code_of
from tests.brokerproto.strategies import (
    AWKWARD,
    MESSAGES,
    SENDERS,
    UNFIT_NUMBERS,
)

TOKEN = "0123456789abcdef" * 4
HEX32 = "0123456789abcdef" * 2

LAYOUTS: list[tuple[Message, str]] = [
    (NewEngine("a", 0), "NewEngine:a:0"),
    (NewEngine("pod-1.ns", 7, v=1), "NewEngine:pod-1.ns:7:v=1"),
    (
        NewEngine("a", 3, v=2, instance="00ff", interval=5, ack=6, resume=HEX32),
        f"NewEngine:a:3:v=2;instance=00ff;interval=5;ack=6;resume={HEX32}",
    ),
    (
        NewEngine("a", 0, v=1, labels={"node": "Aks_1.local", "0-": ""}),
        "NewEngine:a:0:v=1;label-node=Aks_1.local;label-0-=",
    ),
    (Proof(TOKEN, "f" * 64), f"Proof:{TOKEN}:{'f' * 64}"),
    (Heartbeat("a", 9), "HeartBeat:a:9"),
    (Heartbeat("a", 9, busy="b-1", rtt_us=250), "HeartBeat:a:9:busy=b-1;rtt=250"),
    (Report("b-1", "received"), "Report:b-1:received"),
    (Report("b-1", "failed", ms=7, error="queue-full"), "Report:b-1:failed:ms=7;error=queue-full"),
    (Bye(), "Bye"),
    (Bye("goaway"), "Bye:reason=goaway"),
    (Challenge(TOKEN), f"CHALLENGE:{TOKEN}"),
    (Success(), "SUCCESS:Registered"),
    (
        Success(1, 2, 3, 4, 5, 6, resume="0f" * 16, boot="ab", proof="f" * 64),
        "SUCCESS:Registered:v=1;epoch=2;interval=3;timeout=4;ack=5;herd=6;resume="
        + "0f" * 16
        + ";boot=ab;proof="
        + "f" * 64,
    ),
    (Ack(12), "ACK:12"),
    (Ping(), "PING"),
    (DoWork(50_000), "DOWORK:50000"),
    (DoWork(50_000, "b-1"), "DOWORK:50000:command=b-1"),
    (Kill(3), "KILL:3"),
    (Kill(3, "b-1"), "KILL:3:command=b-1"),
    (GoAway(0), "GOAWAY:0"),
    (GoAway(1500, "drain"), "GOAWAY:1500:reason=drain"),
    (Failed(409, "DUPLICATE_ID", 7, "taken: by a; b"), "FAILED:409:DUPLICATE_ID:7:taken: by a; b"),
    (Failed(415, "BAD_ID", "never", ""), "FAILED:415:BAD_ID:never:"),
]


@pytest.mark.parametrize(("message", "text"), LAYOUTS, ids=lambda value: str(value)[:40])
def test_layout_is_that_of_the_reference(message: Message, text: str) -> None:
    assert encode(message) == text.encode() + b"\n"
    assert decode(text.encode(), SENDERS[type(message)]) == message


def test_the_examples_show_every_message_and_attribute() -> None:
    for cls in MESSAGES:
        shown = [message for message, _ in LAYOUTS if type(message) is cls]
        for attribute in fields(cls):
            assert any(getattr(message, attribute.name) not in (None, {}) for message in shown)


@pytest.mark.parametrize(
    "message",
    [
        NewEngine("", 0),
        NewEngine("a" * 254, 0),
        NewEngine("-a", 0),
        NewEngine("a", -1),
        NewEngine("a", 2**53),
        NewEngine("a", 0, instance="ab"),
        NewEngine("a", 0, ack=1),
        NewEngine("a", 0, v=1, instance="AB"),
        NewEngine("a", 0, v=1, instance=""),
        NewEngine("a", 0, v=1, interval=-1),
        NewEngine("a", 0, v=1, resume="f" * 33),
        NewEngine("a", 0, labels={"x": "1"}),
        NewEngine("a", 0, v=1, labels={"": "1"}),
        NewEngine("a", 0, v=1, labels={"a" * 27: "1"}),
        NewEngine("a", 0, v=1, labels={"Node": "1"}),
        NewEngine("a", 0, v=1, labels={"x": "1;label-y=2"}),
        NewEngine("a", 0, v=1, labels={"x": "v" * 257}),
        NewEngine("a", 0, v=1, labels={f"l{n}": "" for n in range(17)}),
        Success(epoch=1),
        Success(v=1, proof="f" * 63),
        Proof(TOKEN, TOKEN[:-1]),
        Proof(TOKEN.upper(), TOKEN),
        Heartbeat("a\n", 1),
        Heartbeat("a", 1, busy="b_1"),
        Heartbeat("a", 1, rtt_us=2**53),
        Report("c" * 65, "done"),
        Report("c", "lost"),
        Report("c", "done", error="no spaces"),
        Bye("w" * 33),
        Bye(""),
        Challenge("g" * 64),
        Ack(2**53),
        Ack(10**5000),
        DoWork(86_400_001),
        DoWork(-1),
        Kill(256),
        GoAway(2**53),
        Failed(400, "bad", "now", ""),
        Failed(400, "BAD", "soon", ""),
        Failed(400, "BAD", -1, ""),
        Failed(400, "BAD", "now", "two\nlines"),
        Failed(400, "BAD", "now", "\xe9"),
        Unknown("FOO"),
        Unusable("c"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_grammar_does_not_allow_is_not_sent(message: Message) -> None:
    with pytest.raises(LocalProtocolError):
        encode(message)


@pytest.mark.fault("C009")
@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"NewEngine", 400),
        (b"NewEngine:", 415),
        (b"NewEngine::0", 415),
        (b"NewEngine:" + b"a" * 253 + b":0", "NewEngine"),
        (b"NewEngine:" + b"a" * 254 + b":0", 415),
        (b"NewEngine:a", 400),
        (b"NewEngine:a.", 415),
    ],
)
def test_an_id_is_missing_or_wrong(frame: bytes, code: int | str) -> None:
    assert code_of(frame, "engine") == code


@pytest.mark.fault("C015")
@pytest.mark.parametrize("number", UNFIT_NUMBERS)
@pytest.mark.parametrize("verb", [b"NewEngine", b"HeartBeat"])
def test_what_is_no_sequence_number_is_refused(verb: bytes, number: bytes) -> None:
    assert code_of(verb + b":a:" + number, "engine") == 400


@pytest.mark.fault("C021")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"v=1", NewEngine("a", 0, v=1)),
        (b"x=1", NewEngine("a", 0, v=1)),
        (b"unknown=", NewEngine("a", 0, v=1)),
        (b"!v=1", NewEngine("a", 0, v=1)),
        (b"v=0", NewEngine("a", 0, v=0)),
        (b"v=99", NewEngine("a", 0, v=99)),
        (b"x=" + b"v" * 256, NewEngine("a", 0, v=1)),
        (b"k" * 32 + b"=1", NewEngine("a", 0, v=1)),
        (b"label-x=1", NewEngine("a", 0, v=1, labels={"x": "1"})),
        (b"!label-x=;v=1;label-y=Z", NewEngine("a", 0, v=1, labels={"y": "Z", "x": ""})),
        (b"labels=1;label=2", NewEngine("a", 0, v=1)),
        (b"label-" + b"n" * 26 + b"=1", NewEngine("a", 0, v=1, labels={"n" * 26: "1"})),
        (b"label-" + b"n" * 27 + b"=1", 400),
        (b"label-=1", 400),
        (b"label-x=1;label-x=1", 400),
        (b"label-x=1;!label-x=2", 400),
        (b"label-x=a:b", 400),
        (b"label-X=1", 400),
        (b";".join(b"label-%d=" % n for n in range(17)), 400),
        (b"!must=1;label-=1", 400),
        (b"!labels=1", 426),
        (b"!must=1", 426),
        (b"v=1;!must=1", 426),
        (b"!must=1;v=x", 400),
        (b"5", 400),
        (b"v=1:w=1", 400),
        (b"", 400),
        (b"v=1;", 400),
        (b";v=1", 400),
        (b"v=1;v=1", 400),
        (b"v=1;!v=1", 400),
        (b"x=1;x=2", 400),
        (b"v=x", 400),
        (b"v=", 400),
        (b"V=1", 400),
        (b"v =1", 400),
        (b"x=" + b"v" * 257, 400),
        (b"k" * 33 + b"=1", 400),
        (b"instance=" + b"f" * 33, 400),
        (b"instance=AB", 400),
        (b"interval=-1", 400),
        (b"ack=1.0", 400),
    ],
)
def test_options_are_read_ignored_or_refused(options: bytes, expected: NewEngine | int) -> None:
    frame = b"NewEngine:a:0:" + options
    if isinstance(expected, int):
        assert code_of(frame, "engine") == expected
    else:
        assert decode(frame, "engine") == expected


def test_sixteen_labels_are_read_and_cannot_be_changed() -> None:
    options = b";".join(b"label-%d=v%d" % (n, n) for n in range(16))
    labels = decode(b"NewEngine:a:0:" + options, "engine").labels
    assert labels == {str(n): f"v{n}" for n in range(16)}
    with pytest.raises(TypeError):
        labels["0"] = "other"


def test_only_a_hello_has_labels() -> None:
    assert decode(b"Bye:label-x=1", "engine") == Bye()
    assert decode(b"SUCCESS:Registered:label-=1", "broker") == Success(v=1)
    assert code_of(b"Bye:!label-x=1", "engine") == 426


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b"DOWORK:86400000:command=c", DoWork(86_400_000, "c")),
        (b"DOWORK:86400001:command=c", Unusable("c")),
        (b"DOWORK:NaN:command=c", Unusable("c")),
        (b"DOWORK::command=c", Unusable("c")),
        (b"KILL:255:command=c", Kill(255, "c")),
        (b"KILL:256:command=c", Unusable("c")),
        (b"KILL:zz:x=1;command=c", Unusable("c")),
        (
            b"FAILLED:Duplicate Engine ID a",
            Failed(409, "DUPLICATE_ID", "now", "Duplicate Engine ID a"),
        ),
        (b"FAILLED: a:b ", Failed(409, "DUPLICATE_ID", "now", "a:b")),
        (b"FAILLED", Failed(409, "DUPLICATE_ID", "now", "")),
        (b"LATER:any thing = at ! all", Unknown("LATER")),
        (b"LATER", Unknown("LATER")),
    ],
)
def test_an_engine_reads_what_only_it_must_understand(frame: bytes, expected: Message) -> None:
    assert decode(frame, "broker") == expected


@pytest.mark.parametrize(
    "frame",
    [
        b"DOWORK:NaN",
        b"DOWORK:1e999",
        b"DOWORK",
        b"DOWORK:NaN:command=",
        b"KILL:256:x=1",
        b"KILL:-1;command=c",
        b"LATER:\x00",
        b"ACK",
        b"ACK:1:2",
        b"PING:",
        b"SUCCESS",
        b"SUCCESS:registered",
        b"FAILED:some text",
        b"FAILED:400:BAD_FRAME:now:\xff",
        b"VERB_",
        b"",
        b":",
        b"V" * 17,
    ],
)
def test_what_an_engine_cannot_understand_is_a_bad_frame(frame: bytes) -> None:
    assert code_of(frame, "broker") == 400


@pytest.mark.parametrize(
    ("beginning", "protocol"),
    [
        (b"\x16", "tls"),
        (b"\x16\x03\x01\x02\x00\x01", "tls"),
        (b"GET ", "http"),
        (b"GET / HTTP/1.1\r", "http"),
        (b"PUT ", "http"),
        (b"HEAD ", "http"),
        (b"POST /kill HTTP/1.1", "http"),
        (b"PATCH ", "http"),
        (b"DELETE ", "http"),
        (b"OPTIONS ", "http"),
        (b"CONNECT ", "http"),
        (b"PRI * HTTP/2.0\r", "http"),
        (b"SSH-", "ssh"),
        (b"SSH-2.0-OpenSSH_9.6", "ssh"),
        (b"\xff", "zmtp"),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f", "zmtp"),
        (b"", None),
        (b"GET", None),
        (b"SSH", None),
        (b"NewEngine:a:0", None),
        (b"\x15", None),
    ],
)
def test_other_protocols_are_known_by_their_first_bytes(
    beginning: bytes, protocol: str | None
) -> None:
    assert foreign_protocol(beginning) == protocol


@pytest.mark.parametrize("signature", wire._FOREIGN)
def test_a_signature_ends_at_the_first_byte_that_no_frame_has(signature: bytes) -> None:
    check_beginning(signature[:-1], "engine")
    with pytest.raises(RemoteProtocolError):
        check_beginning(signature, "engine")


@pytest.mark.parametrize("byte", AWKWARD)
def test_a_verb_is_letters(byte: bytes) -> None:
    for frame in (byte, byte + b"Bye", b"By" + byte + b"e"):
        if byte != b":" or frame == byte + b"Bye":
            assert code_of(frame, "engine") == 400
            assert beginning_code(frame, "engine") == 400


@pytest.mark.parametrize(("letters", "code"), [(16, 405), (17, 400)])
def test_a_verb_is_unknown_up_to_sixteen_letters(letters: int, code: int) -> None:
    assert beginning_code(b"V" * letters + b":", "engine") == code
    assert beginning_code(b"V" * letters, "engine") == (None if letters == 16 else 400)
