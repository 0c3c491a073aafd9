"""The control API of a real broker, and many who wish it no good."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.scaletest.programs import wait_until
from tests.e2e.peers import Peer, RawEngine, host_and_port
from tests.e2e.scene import BrokerProgram, Scene, Stage

pytestmark = pytest.mark.e2e

PLACES = 64
REQUEST = "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"


class Client(Peer):
    """One connection to the control API."""

    def ask(self, path: str, headers: str = "") -> None:
        """Send a request, and wait for nothing."""
        self.write(REQUEST.format(path=path, headers=headers).encode())

    def is_gone(self) -> bool:
        """Whether the other side has closed; what it said before is thrown away."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return True

    def status(self) -> int:
        """Read an answer to its end, which is the connection's, and give its status."""
        said = b""
        while data := self.socket.recv(65536):
            said += data
        return int(said.split(b" ")[1])


def client_of(broker: BrokerProgram, source: str = "127.0.0.1", read_at_once: int = 0) -> Client:
    """Connect to the control API from a given address of this machine."""
    made = socket.socket()
    if read_at_once:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_at_once)
    made.bind((source, 0))
    made.connect(host_and_port(broker.api.address))
    return Client(made)


@pytest.fixture
def target(stage: Stage) -> Iterator[tuple[BrokerProgram, RawEngine]]:
    """A broker, and an engine that must not notice anything."""
    broker = stage.broker("--control-rate", "20")
    engine = RawEngine.at(broker.address, "bystander")
    yield broker, engine
    engine.beat()
    engine.leave()
    broker.until(connections=0, missed=0, lost=0)


def warnings(broker: BrokerProgram) -> list[str]:
    return [event["message"] for event in broker.program.events() if event["level"] == "warn"]


@pytest.mark.fault("C071")
@pytest.mark.timeout(300)
def test_five_hundred_dripping_requests_are_cut_and_good_ones_answered_meanwhile(
    target: tuple[BrokerProgram, RawEngine],
) -> None:
    broker, engine = target
    resident, files = broker.resident(), broker.open_files()
    dripping = []
    for _ in range(500):
        dripping.append(client_of(broker))
        dripping[-1].write(b"GET /healthz HTTP/1.1\r\nX: ")
    left = dripping

    def all_are_cut() -> bool:
        nonlocal left
        left = [each for each in left if not each.is_gone()]
        for each in left:
            each.write_to_the_deaf(b"y")
        assert broker.open_files() <= files + PLACES + 2
        probe = client_of(broker, "127.0.0.2")
        probe.ask("/healthz", "Connection: close\r\n")
        assert probe.status() == 200
        engine.beat()
        return not left

    wait_until("all of them to be cut", all_are_cut, 60)
    broker.until_open_files(files + 1)
    assert broker.resident() - resident < 16 * 2**20
    assert warnings(broker) == []


@pytest.mark.timeout(300)
def test_answer_that_is_not_read_is_aborted_and_one_that_is_read_slowly_is_not(
    target: tuple[BrokerProgram, RawEngine],
) -> None:
    broker, engine = target
    resident = broker.resident()
    deaf, slow = (client_of(broker, read_at_once=4096) for _ in range(2))
    for each in (deaf, slow):
        for _ in range(90):
            each.ask("/openapi.json")
    taken = 0

    def deaf_is_cut() -> bool:
        nonlocal taken
        taken += len(slow.socket.recv(2048))
        engine.beat()
        assert broker.api.ask("/healthz") == {"status": "ok"}
        # Asked in this way it does not read what is there.
        return bool(deaf.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    wait_until("the one that reads nothing to be cut", deaf_is_cut, 120)
    before = taken
    for _ in range(20):
        taken += len(slow.socket.recv(65536))
    assert taken > before
    # Forty answers at a time would not have been two megabytes.
    assert broker.resident() - resident < 8 * 2**20


def files_on_disk(broker: BrokerProgram) -> list[str]:
    """List what regular files the process has open, its log apart."""
    folder = Path(f"/proc/{broker.pid}/fd")
    found = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(folder / name))
    regular = [name for name in found if name.startswith("/") and not name.startswith("/dev/")]
    return [name for name in regular if name != str(broker.program.log_path)]


@pytest.mark.fault("C070")
@pytest.mark.parametrize(
    ("headers", "chunk"),
    [
        (f"Content-Length: {300 * 2**20}\r\n", b"x" * 65536),
        ("Transfer-Encoding: chunked\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    ],
)
def test_body_without_end_is_refused_and_cut_off_and_never_on_disk(
    target: tuple[BrokerProgram, RawEngine], headers: str, chunk: bytes
) -> None:
    broker, engine = target
    resident, before = broker.resident(), files_on_disk(broker)
    with client_of(broker) as client:
        client.ask("/kill", headers)
        sent = 0
        client.socket.settimeout(60)
        with contextlib.suppress(ConnectionError):
            while sent < 300 * 2**20:
                client.write(chunk)
                sent += len(chunk)
                assert files_on_disk(broker) == before
        # What the kernels hold for both sides is a few MiB.
        assert sent < 64 * 2**20
    engine.beat()
    assert broker.resident() - resident < 8 * 2**20
    assert broker.api.ask("/commands")["total"] == 0


def test_flood_from_one_address_hurts_no_other(target: tuple[BrokerProgram, RawEngine]) -> None:
    broker, engine = target
    statuses = []
    for _ in range(300):
        with client_of(broker, "127.0.0.3") as flood:
            flood.ask("/healthz", "Connection: close\r\n")
            statuses.append(flood.status())
        if len(statuses) % 30 == 0:
            engine.beat()
            with client_of(broker, "127.0.0.2") as probe:
                probe.ask("/healthz", "Connection: close\r\n")
                assert probe.status() == 200
    assert statuses[:200] == [200] * 200
    assert set(statuses) <= {200, 429}
    if 429 in statuses:
        assert len(warnings(broker)) >= 1
    assert len(warnings(broker)) <= statuses.count(429)


def test_whoever_waits_for_commands_leaves_places_to_others(
    target: tuple[BrokerProgram, RawEngine],
) -> None:
    broker, engine = target
    waiting = []
    for _ in range(PLACES):
        waiting.append(client_of(broker))
        waiting[-1].ask("/dowork?time=1&wait=600")
    probe = client_of(broker, "127.0.0.2")
    probe.ask("/healthz", "Connection: close\r\n")
    assert probe.status() == 200
    wait_until("those beyond the share", lambda: sum(e.is_gone() for e in waiting) == 16)
    stats = client_of(broker, "127.0.0.2")
    stats.ask("/commands?limit=1", "Connection: close\r\n")
    assert stats.status() == 200
    for frame in engine.frames(48):
        engine.send(f"Report:{frame.partition('command=')[2]}:done:ms=1")

    def has_a_place() -> bool:
        with client_of(broker) as client:
            client.ask("/healthz", "Connection: close\r\n")
            return client.status() == 200

    wait_until("a place", has_a_place)


@pytest.mark.fault("C089")
def test_half_open_engines_delay_no_answer_and_are_counted_exactly(stage: Stage) -> None:
    broker = stage.broker()
    engines = stage.engines(broker.address, "worker", "--count", "18")
    broker.until(registered=18)
    # They will not say another word: what a cut cable leaves behind.
    silent = [Peer.to(broker.address) for _ in range(2)]
    for number, peer in enumerate(silent):
        peer.send(f"NewEngine:silent-{number}:0:v=1;instance=a1;ack=1;interval=2")
    broker.until(registered=20)
    record = broker.api.ask("/dowork", time=20, expect=20)
    assert (record["targets"], record["states"]["written"]) == (20, 20)
    path = f"/commands/{record['command']}"

    def states() -> dict[str, int]:
        found: dict[str, int] = broker.api.ask(path)["states"]
        return {name: count for name, count in found.items() if count}

    wait_until("those that live", lambda: states().get("done") == 18)
    seen = broker.api.ask(path)
    if not seen["settled"]:
        assert states() in ({"done": 18, "written": 2}, {"done": 18, "lost": 2})
    wait_until("the end of it", lambda: states() == {"done": 18, "lost": 2})
    assert broker.api.ask(path)["settled"]
    stats = broker.until(registered=18)
    assert (stats["lost"], stats["causes"]) == (2, {"lost:timeout": 2})
    assert engines.end() == 0
    broker.until(registered=0, left=18)


def test_what_is_meant_for_another_port_is_answered_at_once(scene: Scene) -> None:
    for greeting in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"NewEngine:a:0\n"):
        with client_of(scene.broker) as client:
            client.write(greeting)
            assert client.status() == 400
