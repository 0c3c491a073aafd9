"""Laws of the parser of addresses, and one example per refusal."""

from __future__ import annotations

import string
from typing import Any

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from transports import URI, InvalidURIError

LABELS = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,8}[A-Za-z0-9_])?", fullmatch=True)
NAMES = (
    st.lists(LABELS, min_size=1, max_size=4)
    .map(".".join)
    .filter(lambda name: not set(name) <= set(string.digits + "."))
)
HOSTS = st.one_of(
    NAMES,
    NAMES.map(lambda name: name + "."),
    st.just("*"),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(lambda address: f"{address}%eth0"),
)
PRINTABLE = st.characters(codec="utf-8").filter(str.isprintable)
TEXTS = st.text(PRINTABLE | st.sampled_from("%&=#?/ +;"), max_size=12)
SCHEMES = st.from_regex(r"[a-z][a-z0-9+.-]{0,10}", fullmatch=True)
PATHS = TEXTS.map(lambda text: "/" + text)
OPTIONS = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True), TEXTS)
ABSTRACT = st.from_regex(r"@[A-Za-z0-9_.-]{1,20}", fullmatch=True)
OPAQUE = st.from_regex(r"[A-Za-z][!-~]{0,30}", fullmatch=True)
URIS = st.one_of(
    st.builds(
        URI,
        scheme=SCHEMES,
        host=HOSTS,
        port=st.none() | st.integers(0, 65535),
        path=st.just("") | PATHS,
        options=OPTIONS,
    ),
    st.builds(URI, scheme=SCHEMES, path=PATHS, options=OPTIONS),
    st.builds(URI, scheme=SCHEMES, host=ABSTRACT, options=OPTIONS),
    st.builds(URI, scheme=SCHEMES, opaque=OPAQUE),
)
SIGNS = st.sampled_from(
    ["://", ":", "/", "?", "&", "=", "#", "@", "[", "]", "%", "\\", " ", "\n", "\0"]
)
WORDS = st.sampled_from(
    ["tcp", "inproc", "twisted", "host", "::1", "*", "127.0.0.1", "1337", "framing", "é"]
)


@given(URIS)
def test_parse_inverts_str(uri: URI) -> None:
    again = URI.parse(str(uri))
    assert again == uri
    assert list(again.options.items()) == list(uri.options.items())
    assert hash(again) == hash(uri)
    assert str(again) == str(uri)


@given(URIS)
def test_text_of_an_address_is_printable_ascii_without_spaces(uri: URI) -> None:
    assert all("!" <= character <= "~" for character in str(uri))


@given(SCHEMES, OPAQUE)
def test_what_is_opaque_is_kept_as_it_is_written(scheme: str, opaque: str) -> None:
    text = f"{scheme}:{opaque}"
    assert URI.parse(text).opaque == opaque
    assert str(URI.parse(text)) == text


@given(st.text() | st.lists(SIGNS | WORDS).map("".join))
def test_any_text_is_an_address_or_an_invalid_one(text: str) -> None:
    try:
        uri = URI.parse(text)
    except InvalidURIError as exc:
        assert exc.text == text
        assert exc.problem
        assert str(exc).isprintable()
    else:
        assert URI.parse(str(uri)) == uri


@given(URIS, st.data())
def test_one_changed_character_raises_nothing_else(uri: URI, data: st.DataObject) -> None:
    text = str(uri)
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text(max_size=2)) + text[at + 1 :]
    try:
        URI.parse(changed)
    except InvalidURIError as exc:
        assert exc.text == changed


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("tcp://127.0.0.1:1337", URI("tcp", "127.0.0.1", 1337)),
        ("TCP://Host:0", URI("tcp", "Host", 0)),
        ("tcp://*:65535", URI("tcp", "*", 65535)),
        ("tcp://[::1]:1", URI("tcp", "::1", 1)),
        ("tcp://[fe80::1%eth0]:1", URI("tcp", "fe80::1%eth0", 1)),
        ("zmq+tcp://h:1", URI("zmq+tcp", "h", 1)),
        ("inproc://name", URI("inproc", "name")),
        ("http://127.0.0.1:8080/", URI("http", "127.0.0.1", 8080, "/")),
        ("ipc:///run/a%20b.sock", URI("ipc", "", None, "/run/a b.sock")),
        ("ws://h:1/a?b=c&d=", URI("ws", "h", 1, "/a", {"b": "c", "d": ""})),
        ("x://h?k=%2Fa%26b&cert=/a=b?c", URI("x", "h", options={"k": "/a&b", "cert": "/a=b?c"})),
        ("x://h?o=%C3%A9", URI("x", "h", None, "", {"o": "é"})),
        ("ipc://@name", URI("ipc", "@name")),
        ("ipc://@.a-b_C?framing=lines", URI("ipc", "@.a-b_C", options={"framing": "lines"})),
        ("ipc:///a?mode=660", URI("ipc", "", None, "/a", {"mode": "660"})),
        ("twisted:tcp:1337", URI("twisted", opaque="tcp:1337")),
        ("Twisted:Tcp:HOST=a\\:b:c=%41?#@[", URI("twisted", opaque="Tcp:HOST=a\\:b:c=%41?#@[")),
        ("tcp:host://1", URI("tcp", opaque="host://1")),
    ],
)  # fmt: skip
def test_address_is_read_in_parts(text: str, uri: URI) -> None:
    assert URI.parse(text) == uri


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "scheme"),
        ("1337", "scheme"),
        ("127.0.0.1:1337", "scheme"),
        ("localhost:1337", "scheme"),
        ("tcp:/127.0.0.1:1337", "scheme"),
        ("twisted:", "scheme"),
        ("twisted::tcp", "scheme"),
        ("twisted:/run/socket", "scheme"),
        ("twisted:\\tcp", "scheme"),
        ("1tcp:host", "no scheme"),
        ("twisted:unix:/a b", "' '"),
        ("://host:1", "scheme"),
        ("1tcp://host:1", "scheme"),
        ("t_p://host:1", "scheme"),
        ("tcp://", "host"),
        ("tcp://:1337", "host"),
        ("tcp://:1337/path", "host"),
        ("tcp://host:", "no port follows"),
        ("tcp://[::1]:", "no port follows"),
        ("tcp://host:65536", "0 to 65535"),
        ("tcp://host:-1", "not a number"),
        ("tcp://host:0x10", "not a number"),
        ("tcp://host:" + "9" * 5000, "0 to 65535"),
        ("tcp://::1:1337", "brackets"),
        ("tcp://[::1:1337", "not closed"),
        ("tcp://[127.0.0.1]:1", "brackets"),
        ("tcp://[host]:1", "brackets"),
        ("tcp://[::1]1337", "bracket"),
        ("tcp://[:::1]:1", "no IPv6 address"),
        ("tcp://[::1%a~b]:1", "interface"),
        ("tcp://1.2.3:1", "no IPv4 address"),
        ("tcp://256.0.0.1:1", "no IPv4 address"),
        ("tcp://a..b:1", "no host name"),
        ("tcp://.:1", "no host name"),
        ("tcp://-a:1", "no host name"),
        ("tcp://a*:1", "no host name"),
        ("tcp://" + "a" * 64 + ":1", "no host name"),
        ("tcp://" + "a." * 127 + ":1", "no host name"),
        ("tcp://user@host:1", "@"),
        ("tcp://@user@host:1", "@"),
        ("tcp://@host:1", "neither port nor path"),
        ("ipc://@host/path", "neither port nor path"),
        ("ipc://@", "abstract name"),
        ("ipc://@a~b", "abstract name"),
        ("ipc://./a.sock", "begins with /"),
        ("ipc://../a.sock", "begins with /"),
        ("tcp://user:secret@host:1", "@"),
        ("tcp://host:1#top", "#"),
        ("tcp://host:1?", "question mark"),
        ("tcp://host:1?a", "key=value"),
        ("tcp://host:1?=b", "key=value"),
        ("tcp://host:1?a=b&", "key=value"),
        ("tcp://host:1?a=b&a=c", "twice"),
        ("tcp://host:1?A=b", "'A'"),
        ("tcp://host:1/%", "hexadecimal"),
        ("tcp://host:1/%4", "hexadecimal"),
        ("tcp://host:1?a=%zz", "hexadecimal"),
        ("tcp://host:1/%ff", "UTF-8"),
        ("tcp://host:1/%0A", "path"),
        ("tcp://host:1?a=%00", "'a'"),
        ("tcp://host:1 ", "' '"),
        ("tcp://host:1\n", r"'\n'"),
        ("tcp://höst:1", r"'\xf6'"),
        ("tcp://host:１", r"'\uff11'"),  # noqa: RUF001 - a digit that is no ASCII digit
    ],
)
def test_refusal_names_what_is_wrong(text: str, names: str) -> None:
    with pytest.raises(InvalidURIError) as caught:
        URI.parse(text)
    assert caught.value.text == text
    assert names in caught.value.problem
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "parts",
    [
        {"scheme": "TCP", "host": "h"},
        {"scheme": "tcp", "host": "a/b"},
        {"scheme": "tcp", "host": "[::1]"},
        {"scheme": "tcp", "host": "h", "port": -1},
        {"scheme": "tcp", "host": "h", "port": 65536},
        {"scheme": "tcp", "host": "h", "path": "a"},
        {"scheme": "tcp", "host": "h", "path": "/\ud800"},
        {"scheme": "tcp", "host": "h", "options": {"a b": ""}},
        {"scheme": "tcp", "host": "h", "options": {"a": "\ud800"}},
        {"scheme": "tcp", "port": 1},
        {"scheme": "tcp"},
        {"scheme": "ipc", "host": "@"},
        {"scheme": "ipc", "host": "@a", "port": 1},
        {"scheme": "ipc", "host": "@a", "path": "/"},
        {"scheme": "twisted", "opaque": "1337"},
        {"scheme": "twisted", "opaque": "tcp:1 "},
        {"scheme": "twisted", "opaque": "tcp:\xe9"},
        {"scheme": "twisted", "opaque": "tcp:1", "host": "h"},
        {"scheme": "twisted", "opaque": "tcp:1", "port": 1},
        {"scheme": "twisted", "opaque": "tcp:1", "path": "/"},
        {"scheme": "twisted", "opaque": "tcp:1", "options": {"a": "1"}},
    ],
)
def test_no_malformed_address_can_be_made(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidURIError):
        URI(**parts)


def test_address_cannot_be_changed() -> None:
    given_options = {"a": "1"}
    uri = URI("tcp", "h", 1, "", given_options)
    given_options["a"] = "2"
    assert uri.options["a"] == "1"
    with pytest.raises(TypeError):
        uri.options["a"] = "2"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        uri.port = 2  # type: ignore[misc]
    assert str(evolve(uri, port=3)) == "tcp://h:3?a=1"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LocalHost.", True),
        ("*", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("host", False),
    ],
)
def test_loopback_is_known_without_a_look_up(host: str, *, loopback: bool) -> None:
    assert URI("tcp", host, 1).is_loopback is loopback


def test_address_without_a_host_is_not_known_to_be_loopback() -> None:
    for uri in URI("ipc", path="/a"), URI("ipc", "@localhost"), URI("twisted", opaque="localhost"):
        assert not uri.is_loopback


@pytest.mark.parametrize(
    ("text", "parts", "names"),
    [
        ("tcp://h", {"port": True, "path": False}, "port"),
        ("inproc://h:1", {"port": False, "path": False}, "port"),
        ("tcp://h:1/a", {"port": True, "path": False}, "path"),
        ("ipc://h", {"port": False, "path": True}, "path"),
        ("inproc:///", {"port": False, "path": False}, "host"),
        ("inproc://@h", {"port": False, "path": False}, "abstract name"),
        ("ipc://@h", {"port": False, "path": True}, "abstract name"),
        ("tcp:host:1", {"port": True, "path": False}, "two slashes"),
        ("inproc:h", {"port": False, "path": False}, "two slashes"),
    ],
)
def test_parts_that_do_not_fit_a_scheme_are_refused(
    text: str, parts: dict[str, bool], names: str
) -> None:
    with pytest.raises(InvalidURIError) as caught:
        URI.parse(text).check_parts(**parts)
    assert caught.value.text == text
    assert names in caught.value.problem


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tcp://h:0", {"port": True, "path": False}),
        ("http://h:1/", {"port": True, "path": False}),
        ("inproc://h", {"port": False, "path": False}),
        ("ipc:///a", {"port": False, "path": True}),
        ("ws://h:1/a", {"port": True, "path": True}),
    ],
)
def test_parts_that_fit_a_scheme_are_taken(text: str, parts: dict[str, bool]) -> None:
    URI.parse(text).check_parts(**parts)


@pytest.mark.parametrize(
    ("query", "names"),
    [("fraiming=lines", "'fraiming'"), ("framing=message", "'message'"), ("framing=", "''")],
)
def test_options_that_a_scheme_does_not_know_are_refused(query: str, names: str) -> None:
    uri = URI.parse(f"tcp://h:1?{query}")
    with pytest.raises(InvalidURIError) as caught:
        uri.check_options({"framing": ("lines",), "name": None})
    assert caught.value.text == str(uri)
    assert names in caught.value.problem


def test_options_that_a_scheme_knows_are_taken() -> None:
    uri = URI.parse("tcp://h:1?name=whatever&framing=lines")
    uri.check_options({"framing": ("lines",), "name": None})
    with pytest.raises(InvalidURIError):
        uri.check_options({})
