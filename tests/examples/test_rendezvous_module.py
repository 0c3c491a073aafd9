"""The example's module: what it refuses, and how it fails."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from tests.examples.installed import ROOT
from transports import URI, DialError, InvalidURIError, ListenError

PLACE = ROOT / "examples" / "brokerproto-rendezvous" / "brokerproto_rendezvous.py"
NOBODY = Factory.forProtocol(Protocol)
NOBODY.noisy = False

HOLD = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, b"tcp://127.0.0.1:1\\n")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def transport() -> Any:
    spec = importlib.util.spec_from_file_location("brokerproto_rendezvous", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.transport


@pytest.fixture
def uri(tmp_path: Path) -> URI:
    return URI("rendezvous", path=f"{tmp_path}/broker")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rendezvous://tmp/broker", "third slash"),
        ("rendezvous:///tmp/broker?host=*", "others can dial"),
        ("rendezvous:///tmp/broker?host=a..b", "'a..b' is no host name"),
        ("rendezvous:///tmp/broker?host=", "the host is missing"),
        ("rendezvous:tmp", "two slashes are missing"),
    ],
)
def test_address_that_makes_no_sense_is_refused(transport: Any, text: str, says: str) -> None:
    for name in "client_endpoint", "server_endpoint":
        with pytest.raises(InvalidURIError) as caught:
            getattr(transport, name)(reactor, URI.parse(text))
        assert says in caught.value.problem


@pytest.mark.parametrize(
    ("options", "local"),
    [("", True), ("?host=localhost", True), ("?host=::1", True), ("?host=192.0.2.1", False)],
)
def test_host_says_whether_it_is_local(transport: Any, options: str, local: bool) -> None:
    assert transport.is_local(URI.parse(f"rendezvous:///tmp/broker{options}")) is local


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "nobody has written an address into the file"),
        ("tcp://127.0.0.1:4", "nobody has written an address into the file"),
        ("hello\n", "the file says 'hello': the scheme is missing"),
        ("tcp://127.0.0.1\n", "the port is missing"),
        ("http://127.0.0.1:80\n", "not the address of a broker on TCP"),
        ("\xff\n", "may not stand in an address"),
        ("x" * 2000 + "\n", "nobody has written an address into the file"),
    ],
)
async def test_file_without_an_address_is_a_dial_error(
    transport: Any, uri: URI, written: str, says: str
) -> None:
    Path(uri.path).write_text(written, encoding="latin-1")
    with pytest.raises(DialError) as caught:
        await transport.client_endpoint(reactor, uri).connect(NOBODY)
    assert caught.value.address == str(uri)
    assert says in caught.value.reason
    assert str(caught.value).isprintable()


async def test_file_is_free_again_where_tcp_cannot_listen(transport: Any, uri: URI) -> None:
    elsewhere = URI("rendezvous", path=uri.path, options={"host": "192.0.2.1"})
    with pytest.raises(ListenError) as caught:
        await transport.server_endpoint(reactor, elsewhere).listen(NOBODY)
    assert caught.value.address == str(elsewhere)
    assert "tcp://192.0.2.1:0" in caught.value.reason
    port = await transport.server_endpoint(reactor, uri).listen(NOBODY)
    await port.stopListening()


async def test_port_may_be_stopped_twice(transport: Any, uri: URI) -> None:
    port = await transport.server_endpoint(reactor, uri).listen(NOBODY)
    assert Path(uri.path).read_text() == f"tcp://127.0.0.1:{port.getHost().port}\n"
    await port.stopListening()
    assert Path(uri.path).read_text() == ""
    assert port.stopListening() is None


@pytest.mark.e2e
async def test_file_of_a_broker_that_was_killed_can_be_taken_over(transport: Any, uri: URI) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, uri.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ListenError, match="somebody listens who has written this file"):
            await transport.server_endpoint(reactor, uri).listen(NOBODY)
        holder.kill()
        holder.wait()
    with pytest.raises(DialError, match=r"tcp://127\.0\.0\.1:1: connection refused"):
        await transport.client_endpoint(reactor, uri).connect(NOBODY)
    port = await transport.server_endpoint(reactor, uri).listen(NOBODY)
    assert os.path.getsize(uri.path) > len("tcp://127.0.0.1:1\n")
    await port.stopListening()
