"""The pages about addresses: each example is one, and each line shown is what is said."""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.logger import capturedLogs

from services.broker.options import Options as BrokerOptions
from services.broker.plugin import broker_program
from services.engine.options import Options as EngineOptions
from services.engine.plugin import engine_program
from tests.docs.page import ROOT, Page
from transports import URI, InvalidURIError, transport_for
from transports.reasons import dial_reason
from transports.registry import BUILT_IN, PREFIXES

ADDRESSES = Page.of("docs/reference/addresses.md")
NAMES = sorted([*BUILT_IN, *(prefix.removesuffix("+") for prefix in PREFIXES)])
SCHEMES = {name: Page.of(f"docs/reference/transports/{name}.md") for name in NAMES}
PAGES = [ADDRESSES, *SCHEMES.values()]

HEADINGS = [
    "Address",
    "Options",
    "Security",
    "Limits",
    "What its death looks like",
    "Mixing",
]

# What stands for an address, or is the beginning of one.
FORMS = {
    *("tcp://host:port", "tcp://*", "tcp://127.0.0.1", "ipc://", "tcp://", "inproc://"),
    *(
        "fault+tcp://host:port",
        "twisted:",
        "twisted:string",
        "twisted:tcp:...",
        "twisted:unix:...",
        "ipc:///path",
    ),
    # How the control API names a peer.
    "inproc://broker#1",
}
SPAN = re.compile(r"`([^`\n]+)`")
AN_ADDRESS = re.compile(rf"(fault\+)?({'|'.join(BUILT_IN)}|http):\S+")

MAKERS: dict[str, tuple[Any, Any]] = {
    "broker": (BrokerOptions, broker_program),
    "engine": (EngineOptions, engine_program),
}


def spans(page: Page) -> list[str]:
    """Give what stands in backquotes, outside of fenced blocks."""
    return SPAN.findall(re.sub(r"```.*?```", "", page.text, flags=re.DOTALL))


def addresses() -> list[str]:
    found = {span for page in PAGES for span in spans(page) if AN_ADDRESS.fullmatch(span)}
    return sorted(found - FORMS)


def examples() -> list[tuple[str, str]]:
    """List the command lines with what they print."""
    parts = [
        part
        for page in PAGES
        for block in page.blocks
        if block.info == "console"
        for part in block.text.split("$ ")[1:]
    ]
    return [(line, output) for line, _, output in (part.partition("\n") for part in parts)]


MISTAKES = [(line, said) for line, said in examples() if not said.startswith("...")]


def test_there_is_a_page_for_each_scheme_of_ours() -> None:
    folder = ROOT / "docs/reference/transports"
    assert sorted(path.stem for path in folder.glob("*.md")) == NAMES
    rows = ADDRESSES.table("scheme", "address", "reaches", "options", "page")
    rows_of_schemes = ["tcp", "ipc", "inproc", "twisted"]
    assert set(rows_of_schemes) == set(BUILT_IN)
    assert [row[0].replace("`", "") for row in rows] == [
        *rows_of_schemes,
        "fault+ before any of them",
    ]
    for scheme, *_, link in rows:
        assert f"(transports/{scheme.split('+')[0]}.md)" in link


@pytest.mark.parametrize("scheme", NAMES)
def test_pages_of_schemes_have_the_same_headings(scheme: str) -> None:
    assert SCHEMES[scheme].headings[1:] == HEADINGS


def test_there_are_examples() -> None:
    assert len(addresses()) > 20
    assert len(MISTAKES) > 12


@pytest.mark.parametrize("text", addresses())
def test_example_is_an_address(text: str) -> None:
    assert str(URI.parse(text)) == text


def in_column(scheme: str, header: str) -> list[str]:
    lines = SCHEMES[scheme].section("Address").text.splitlines()
    tables = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line
    ]
    at = tables[0].index(header)
    cells = [row[at] for row in tables[2:]]
    return [span for cell in cells for span in SPAN.findall(cell) if AN_ADDRESS.fullmatch(span)]


# What a string needs that is not here.
ELSEWHERE = ("No such file or directory: /etc/broker", "systemd has given this process no such")


@pytest.mark.parametrize("text", in_column("twisted", "to listen"))
def test_string_to_listen_on_is_one(text: str) -> None:
    uri = URI.parse(text)
    try:
        transport_for(uri.scheme).server_endpoint(reactor, uri)
    except InvalidURIError as exc:
        assert any(reason in exc.problem for reason in ELSEWHERE), exc


@pytest.mark.parametrize("text", in_column("twisted", "to connect"))
def test_string_to_connect_to_is_one(text: str) -> None:
    uri = URI.parse(text)
    try:
        transport_for(uri.scheme).client_endpoint(reactor, uri)
    except InvalidURIError as exc:
        assert any(reason in exc.problem for reason in ELSEWHERE), exc


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc", "fault"])
def test_what_a_table_says_of_an_address_is_so(scheme: str) -> None:
    header = ("address", "to listen", "to connect")
    for text, _, connect in SCHEMES[scheme].section("Address").table(*header):
        uri = URI.parse(text)
        transport = transport_for(uri.scheme)
        transport.server_endpoint(reactor, uri)
        if connect in ("refused", "with another string"):
            with pytest.raises(InvalidURIError):
                transport.client_endpoint(reactor, uri)
        else:
            transport.client_endpoint(reactor, uri)


@contextmanager
def taken(line: str) -> Iterator[tuple[str, str]]:
    """Have somebody listen on the address of a line; give what stands for what in it."""
    if "ipc:///run/broker.sock" in line:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            path = f"/tmp/brokerproto-docs-{os.getpid()}.sock"
            sock.bind(path)
            sock.listen()
            try:
                yield "/run/broker.sock", path
            finally:
                os.unlink(path)
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield ":1337", f":{server.getsockname()[1]}"


@pytest.mark.parametrize(("line", "said"), MISTAKES)
def test_line_that_is_shown_is_the_line_that_is_said(
    line: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if said.endswith("Address already in use\n"):
        with taken(line) as (old, new):
            say(line.replace(old, new), said.replace(old, new), capfd)
    else:
        say(line, said, capfd)


def say(line: str, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    twistd, foreground, name, *arguments = shlex.split(line)
    assert (twistd, foreground) == ("twistd", "-n")
    make_options, make_program = MAKERS[name]

    def start() -> None:
        options = make_options({})
        options.parseOptions(arguments)
        make_program(reactor, options)

    with pytest.raises(SystemExit) as caught:
        start()
    assert (caught.value.code, capfd.readouterr().err) == (78, said)


async def test_several_addresses_are_listened_on_as_shown(tmp_path: Path) -> None:
    [(line, said)] = [
        each for each in examples() if each not in MISTAKES and "fault+" not in each[0]
    ]
    shown = re.findall(r"Z \[broker\] accepting engines on (\S+)$", said, re.MULTILINE)
    _, _, _, *arguments = shlex.split(line)
    assert shown == [word for word in arguments if not word.startswith("--")]
    path = tmp_path / "s"
    here = [
        each.replace("/run/broker.sock", os.fspath(path)).replace("1337", "0").replace("1338", "0")
        for each in arguments
    ]
    if "[::1]" not in _loopbacks():
        here = [each.replace("tcp6:", "tcp:").replace("\\:\\:1", "127.0.0.1") for each in here]
    options = BrokerOptions({})
    options.parseOptions([*here, "--control", "http://127.0.0.1:0"])
    with capturedLogs() as events:
        program = broker_program(reactor, options)
    told = [event["address"] for event in events if "accepting" in event["log_format"]]
    asked = [word for word in here if not word.startswith("--")]
    assert [re.sub(r"\d{4,}", "0", each.replace(os.fspath(path), "s")) for each in told] == [
        each.replace(os.fspath(path), "s") for each in asked
    ]
    service: Any
    *_, service = program
    for port in (*service._ports, service.control_port):
        await maybeDeferred(port.stopListening)


def _loopbacks() -> set[str]:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return {"127.0.0.1", "[::1]"}
    except OSError:
        return {"127.0.0.1"}


def test_reasons_of_a_unix_socket_are_what_an_engine_says() -> None:
    numbers = (errno.ENOENT, errno.ECONNREFUSED, errno.EACCES, errno.EAGAIN)
    rows = SCHEMES["ipc"].section("Limits").table("the engine says", "because")
    assert [row[0] for row in rows] == [dial_reason(OSError(number, "")) for number in numbers]


@pytest.mark.skipif(sys.platform != "linux", reason="the page tells of Linux")
def test_numbers_are_those_of_the_code() -> None:
    from transports.fault.lane import HEAP
    from transports.fault.outgoing import HIGH_WATER as UNDER_WAY
    from transports.fault.transport import DIAL_TIMEOUT as UNANSWERED
    from transports.inproc_stream import HIGH_WATER
    from transports.ipc import LONGEST_NAME
    from transports.tcp import BACKLOG

    for scheme in "tcp", "ipc":
        assert f"{BACKLOG:,} connections wait" in SCHEMES[scheme].text
    assert f"at most {LONGEST_NAME} bytes; 103" in SCHEMES["ipc"].text
    assert f"at {HIGH_WATER // 1024} KiB" in SCHEMES["inproc"].text
    for told in (
        f"up to {UNDER_WAY // 1024} KiB are",
        f"than {HEAP // 1024} KiB wait",
        f"for {UNANSWERED:g} s, unless",
    ):
        assert told in SCHEMES["fault"].text.replace("\n", " ")


# Without more; on a loopback interface; with a domain.
LOCAL = {
    (True, True, True): "always",
    (False, True, False): "with an `interface`",
    (False, False, True): "with `domain",
    (False, False, False): "never",
}


def test_what_is_local_is_so() -> None:
    transport = transport_for("twisted")
    rows = SCHEMES["twisted"].section("Security").table("string", "local")
    for strings, local in rows:
        for kind in re.findall(r"([a-z0-9]+):", strings):
            plain, loopback, domain = (
                transport.is_local(URI.parse(f"twisted:{kind}:1:{argument}"))
                for argument in ("1", "interface=127.0.0.1", "domain=UNIX")
            )
            assert local.startswith(LOCAL[plain, loopback, domain])


def test_table_of_faults_has_all_of_them() -> None:
    from transports.fault.options import OPTIONS

    rows = SCHEMES["fault"].section("Options").table("option", "value", "meaning")
    assert [row[0] for row in rows] == list(OPTIONS)


def test_code_that_is_shown_makes_an_endpoint() -> None:
    [block] = [block for block in SCHEMES["fault"].blocks if block.info == "python"]
    made: dict[str, Any] = {"reactor": reactor}
    exec(block.text, made)
    assert str(made["endpoint"].uri) == "tcp://127.0.0.1:1337"


async def test_broker_says_where_it_accepts_engines_with_faults() -> None:
    [(line, said)] = [each for each in examples() if each not in MISTAKES and "fault+" in each[0]]
    [shown] = re.findall(r"accepting engines on (\S+)$", said, re.MULTILINE)
    assert shown in shlex.split(line)
    options = BrokerOptions({})
    options.parseOptions(
        ["--listen", shown.replace(":1337", ":0"), "--control", "http://127.0.0.1:0"]
    )
    with capturedLogs() as events:
        program = broker_program(reactor, options)
    [told] = [event["address"] for event in events if "accepting" in event["log_format"]]
    assert re.sub(r":\d+", ":1337", told) == shown
    service: Any
    *_, service = program
    for port in (*service._ports, service.control_port):
        await maybeDeferred(port.stopListening)
