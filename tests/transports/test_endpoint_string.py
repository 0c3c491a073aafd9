"""What is read of an endpoint string is what Twisted reads of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import endpoints

from transports.endpoint_string import DIALLED, LISTENED, EndpointString

TEXTS = st.lists(st.sampled_from("ab1:=\\. ") | st.sampled_from(["tcp:", "port=", "\\:"])).map(
    "".join
)


def by_twisted(text: str) -> tuple[list[str], dict[str, str]]:
    parse: Any = endpoints._parse
    result: tuple[list[str], dict[str, str]] = parse(text)
    return result


@given(TEXTS)
def test_arguments_are_those_that_twisted_reads(text: str) -> None:
    try:
        string = EndpointString.parse(text)
    except ValueError:
        with pytest.raises(RuntimeError):
            by_twisted(text)
        return
    unnamed, named = by_twisted(text)
    # Twisted takes the first that has no name for the kind.
    if "=" in text.partition(":")[0] or not unnamed:
        return
    assert string.kind == unnamed[0].lower()
    order = [f"argument {n}" for n in range(len(unnamed) - 1)]
    assert [string.get(name, order) for name in order] == unnamed[1:]
    for name, value in named.items():
        assert string.get(name) == value


@given(TEXTS, st.integers(0, 65535).map(str))
def test_replaced_argument_is_the_only_change(text: str, value: str) -> None:
    try:
        string = EndpointString.parse(f"tcp:{text}")
    except ValueError:
        return
    if string.get("port", ("port",)) is None:
        assert string.replaced("port", ("port",), value) == str(string)
        return
    again = EndpointString.parse(string.replaced("port", ("port",), value))
    assert again.get("port", ("port",)) == value
    changed = [a != b for a, b in zip(string.arguments, again.arguments, strict=True)]
    assert sum(changed) <= 1


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("tcp:1337", "port", "1337"),
        ("tcp:1337:127.0.0.1", "interface", "127.0.0.1"),
        ("tcp:interface=127.0.0.1:1337", "port", "1337"),
        ("tcp:port=1:interface=\\:\\:1", "interface", "::1"),
        ("tcp:1337", "interface", None),
        ("TCP6:1:50:\\:\\:1", "interface", "::1"),
        ("tls:/run/pem:443", "port", "443"),
        ("ssl:443:interface=localhost", "interface", "localhost"),
    ],
)
def test_argument_is_known_by_its_place_or_its_name(
    text: str, name: str, value: str | None
) -> None:
    string = EndpointString.parse(text)
    assert string.get(name, LISTENED[string.kind]) == value


@pytest.mark.parametrize(
    "text", ["tcp:h:1", "tcp:host=h:port=1", "tcp:h:port=1", "tcp:host=h:1", "tcp:1:host=h"]
)
def test_host_and_port_are_told_apart_as_twisted_does(text: str) -> None:
    string = EndpointString.parse(text)
    assert string.get("host", DIALLED["tcp"]) == "h"
    assert string.get("port", DIALLED["tcp"]) == "1"
    endpoint: Any = endpoints.clientFromString(None, text)
    assert (endpoint._host, endpoint._port) == ("h", 1)


@pytest.mark.parametrize(
    ("text", "innermost"),
    [
        ("tcp:1", "tcp:1"),
        ("haproxy:tcp:1:interface=a\\:b", "tcp:1:interface=a\\:b"),
        ("haproxy:HAProxy:unix:/x", "unix:/x"),
        ("haproxy", ""),
        ("HAPROXY:T\\cp6:0", "T\\cp6:0"),
    ],
)
def test_prefix_stands_before_another_string(text: str, innermost: str) -> None:
    assert str(EndpointString.parse(text).innermost) == innermost


@pytest.mark.parametrize("text", ["\\", "tcp:1\\", "tcp:a\\\\\\"])
def test_backslash_at_the_end_escapes_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="backslash"):
        EndpointString.parse(text)
