"""What an address with faults says, and what is refused of it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.task import Clock

from tests.transports.recording import Recorders
from tests.transports.sockets import client, refused, server
from transports import URI, ITransport, transport_for
from transports.fault import Amount, Faults, FaultTransport
from transports.fault.options import OPTIONS, faults_of

BASE = "fault+tcp://127.0.0.1:1337"


def faults(text: str) -> Faults:
    uri = URI.parse(f"{BASE}?{text}")
    return faults_of(uri, uri.options, Faults())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slice=1", Faults(slice=Amount.bytes(1))),
        ("slice=1-100", Faults(slice=Amount.bytes(1, 100))),
        ("delay=50", Faults(delay=Amount.seconds(0.05))),
        ("delay=2s", Faults(delay=Amount.seconds(2))),
        ("delay=30-70ms", Faults(delay=Amount.seconds(0.03, 0.07))),
        ("delay=2s&jitter=1s", Faults(delay=Amount.seconds(1, 3))),
        ("limit=1000", Faults(limit=Amount.bytes(1000))),
        ("freeze-after=0.5s", Faults(freeze_after=Amount.seconds(0.5))),
        (
            "freeze-after=5-60s&freeze-for=500ms",
            Faults(freeze_after=Amount.seconds(5, 60), freeze_for=Amount.seconds(0.5)),
        ),
        ("reset-after=4096b", Faults(reset_after=Amount.bytes(4096))),
        (
            "half-open-after=0b&half-open-for=9s&direction=in",
            Faults(
                half_open_after=Amount.bytes(0),
                half_open_for=Amount.seconds(9),
                direction="in",
            ),
        ),
        ("refuse=.5&share=0.25&seed=7", Faults(refuse=0.5, share=0.25, seed=7)),
        ("refuse=1&share=0", Faults(refuse=1, share=0)),
    ],
)
def test_options_say_what_is_done(text: str, expected: Faults) -> None:
    assert faults(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("slice=0", "slice=1.5", "slice=x", "slice=5-1", "slice=1b", "slice=-1", "slice=1--2"),
        *("delay=-1", "delay=5b", "delay=1e3", "delay=9999999999", "delay=NaN", "limit=0"),
        *("freeze-after=5", "reset-after=x", "half-open-after=1.5b", "freeze-after=5-s"),
        *("freeze-after=1s&freeze-for=5", "freeze-after=1s&freeze-for=5b", "freeze-for=5s"),
        *("half-open-for=5s", "refuse=2", "refuse=1.1", "share=-1", "share=50%25", "seed=x"),
        *("seed=123456789012345678901", "direction=up", "jitter=5", "delay=5&jitter=6"),
        "delay=50&jitter=1-5",
    ],
)
@pytest.mark.parametrize("make", [client, server])
def test_what_makes_no_sense_is_refused_in_one_sentence(make: Any, text: str) -> None:
    address = f"{BASE}?{text}"
    problem = refused(make, address)
    assert "the option '" in problem


@given(
    st.sampled_from(sorted(OPTIONS)),
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="&#%"), min_size=1
    ),
)
def test_any_value_is_read_or_refused(key: str, value: str) -> None:
    uri = evolve(URI.parse(BASE), options={key: value})
    try:
        found = faults_of(uri, uri.options, Faults())
    except ValueError as exc:
        assert str(exc).isprintable()
    else:
        assert isinstance(found, Faults)


@pytest.mark.parametrize(
    ("make", "address", "says"),
    [
        (client, "fault+tcp://127.0.0.1", "the port is missing"),
        (client, "fault+tcp://*:1337?slice=1", "* is for listening"),
        (server, f"{BASE}?dealy=5", "source; fault+ knows slice, delay, jitter"),
        (server, "fault+ipc:///s?mode=9&slice=1", "three octal digits"),
        (client, "fault+twisted:tcp:h:1?slice=0", "the option 'slice' is a number of bytes"),
        (client, "fault+twisted:tcp:h:1?slice", "an option is written key=value"),
        (client, "fault+twisted:tcp:h:1?dealy=5", "the option 'dealy' is unknown; fault+ knows"),
        (client, "fault+twisted:tcp:h?slice=1", "Twisted refuses it"),
    ],
)
def test_refusal_names_the_address_that_was_given(make: Any, address: str, says: str) -> None:
    assert says in refused(make, address)


@pytest.mark.parametrize("unit", ["s", "b"])
def test_values_are_checked_without_an_address_too(unit: Any) -> None:
    with pytest.raises(ValueError, match="range"):
        Amount(2, 1, unit)
    with pytest.raises(ValueError, match="range"):
        Amount(0, float("inf"), unit)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slice": Amount.seconds(1)},
        {"slice": Amount.bytes(0)},
        {"delay": Amount.bytes(1)},
        {"refuse": 1.5},
        {"share": -0.1},
    ],
)
def test_faults_of_another_unit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"wanted|within"):
        Faults(**wrong)


def test_one_option_does_not_change_what_another_draws() -> None:
    alone = Faults(reset_after=Amount.seconds(1, 60), seed=3)
    among = evolve(
        alone,
        freeze_after=Amount.seconds(1, 9),
        freeze_for=Amount.seconds(1, 9),
        limit=Amount.bytes(5, 9),
        slice=Amount.bytes(1, 9),
    )
    for number in range(1, 20):
        assert alone.plan(number).strikes[-1] == among.plan(number).strikes[-1]
        assert among.plan(number) == among.plan(number)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("fault+tcp://127.0.0.1:0?slice=1", True),
        ("fault+tcp://0.0.0.0:0?slice=1", False),
        ("fault+inproc://name", True),
        ("fault+twisted:tcp:1337:interface=127.0.0.1?slice=1", True),
        ("fault+twisted:tcp:1337?slice=1", False),
    ],
)
def test_what_is_local_is_what_the_transport_below_says(address: str, local: bool) -> None:
    uri = URI.parse(address)
    assert transport_for(uri.scheme).is_local(uri) is local


@pytest.mark.parametrize(
    ("address", "heard"),
    [
        (
            "fault+tcp://127.0.0.1:0?slice=1&framing=lines&seed=7",
            r"fault+tcp://127.0.0.1:{}?slice=1&framing=lines&seed=7",
        ),
        ("fault+twisted:tcp:0:interface=127.0.0.1", "fault+twisted:tcp:{}:interface=127.0.0.1"),
        (
            "fault+twisted:tcp:0:interface=127.0.0.1?slice=1",
            "fault+twisted:tcp:{}:interface=127.0.0.1?slice=1",
        ),
    ],
)
async def test_address_listened_on_keeps_the_faults(address: str, heard: str) -> None:
    uri = URI.parse(address)
    port: Any = await server(address).listen(Recorders())
    try:
        found = transport_for(uri.scheme).listen_address(uri, port)
        assert str(found) == heard.format(port.getHost().port)
    finally:
        await port.stopListening()


def test_address_of_the_scheme_below_has_the_faults_that_were_given() -> None:
    transport = FaultTransport(transport_for("tcp"), Faults(refuse=1))
    errors: list[Any] = []
    uri = URI.parse("tcp://127.0.0.1:1")
    transport.client_endpoint(reactor, uri).connect(Recorders()).addErrback(errors.append)
    assert str(errors[0].value) == "cannot connect to tcp://127.0.0.1:1: refused on purpose"


def test_profile_is_that_of_the_transport_below() -> None:
    below: Any = transport_for("ipc")
    above: Any = transport_for("fault+ipc")
    assert above.profile.exempt == below.profile.exempt
    assert above.profile.unreachable == f"fault+{below.profile.unreachable}"
    assert above.profile.buffered_bytes > below.profile.buffered_bytes
    without: Any = transport_for("fault+inproc")
    assert without.profile.unreachable == ""


class Pigeon:
    """Another package's transport, of whole messages."""

    scheme, framing = "pigeon", "message"
    profile: Any = "none of ours"
    asked: list[URI]

    def __init__(self) -> None:
        self.asked = []

    def client_endpoint(self, reactor: Any, uri: URI) -> Any:
        self.asked.append(uri)

    server_endpoint = client_endpoint

    def listen_address(self, uri: URI, port: Any) -> URI:
        return evolve(uri, options={**uri.options, "loft": "7"})


def test_other_packages_transport_gets_its_own_options_and_its_messages_are_not_sliced() -> None:
    pigeon: Any = Pigeon()
    below: ITransport = pigeon
    transport = FaultTransport(below)
    assert (transport.scheme, transport.framing) == ("fault+pigeon", "message")
    assert transport.profile == "none of ours"
    uri = URI.parse("fault+pigeon://loft?ring=blue&delay=5")
    transport.client_endpoint(Clock(), uri)
    assert [str(each) for each in pigeon.asked] == ["pigeon://loft?ring=blue"]
    heard = transport.listen_address(uri, pigeon)
    assert str(heard) == "fault+pigeon://loft?ring=blue&delay=5&loft=7"
    with pytest.raises(ValueError, match="carries whole frames"):
        transport.client_endpoint(Clock(), URI.parse("fault+pigeon://loft?slice=1"))


def test_messages_pass_whole_under_a_limit_and_a_count() -> None:
    from tests.transports.fault.bench import Bench

    bench = Bench(faults=Faults(limit=Amount.bytes(10), reset_after=Amount.bytes(5)))
    endpoint: Any = bench.endpoint
    endpoint.links.is_whole = True
    bench.dial()
    bench.far.transport.write(b"seven b")
    bench.pass_time(0.6)
    assert bench.near.events == []
    bench.pass_time(0.2)
    assert bench.near.events[0] == b"seven b"
    assert len(bench.near.events) == 2
