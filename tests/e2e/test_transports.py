"""One broker on many kinds of address, and what becomes of its socket files."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.scaletest.programs import ControlAPI, wait_until
from tests.e2e.peers import Peer, RawEngine, refused_with
from tests.e2e.scene import BrokerProgram, Stage
from tests.e2e.terminal import Outcome, Terminal, ended, said
from tests.transports.certificate import write_certificate

pytestmark = pytest.mark.e2e

ON_LINUX = sys.platform == "linux"
CONTROL = ("--control", "http://127.0.0.1:0")


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where sockets have names that are short enough."""
    folder = tmp_path / "s"
    folder.mkdir()
    return folder


def broker_on(stage: Stage, *addresses: str, control: str = "http://127.0.0.1:0") -> BrokerProgram:
    listen = [word for address in addresses for word in ("--listen", address)]
    return BrokerProgram(stage.program("broker", *listen, "--control", control, "--interval", "1"))


def addresses_of(broker: BrokerProgram) -> list[str]:
    """All addresses that a broker has said to accept engines on, in its order."""
    return [
        event["address"]
        for event in broker.program.events()
        if event["message"].startswith("accepting engines on")
    ]


def contact(address: str) -> str:
    """How an engine dials what the broker listens on."""
    if not address.startswith("twisted:tcp:"):
        return address
    _, _, port, _ = address.split(":")
    return f"twisted:tcp:host=127.0.0.1:port={port}"


def test_engines_by_every_kind_of_address_are_one_fleet(stage: Stage, folder: Path) -> None:
    asked = [
        "tcp://127.0.0.1:0",
        f"ipc://{folder}/ours?mode=660",
        "twisted:tcp:0:interface=127.0.0.1",
        f"twisted:unix:{folder}/twisteds",
    ]
    if has_ipv6():
        asked.append("tcp://[::1]:0")
    if ON_LINUX:
        asked.append(f"ipc://@brokerproto-{os.getpid()}-fleet")
    broker = broker_on(stage, *asked)
    addresses = addresses_of(broker)
    assert [address.split("0")[0] for address in addresses if ":0" in address] == []
    assert len(addresses) == len(asked)
    assert addresses[1] == asked[1]
    engines = [stage.engines(contact(address), f"by-{n}") for n, address in enumerate(addresses)]
    broker.until(registered=len(engines))
    shown = broker.engines()
    assert [shown[f"by-{n}"]["transport"] for n in range(len(engines))] == addresses
    for n, engine in enumerate(engines):
        address = shown[f"by-{n}"]["address"]
        if addresses[n].startswith("ipc:") and ON_LINUX:
            assert address == f"unix:pid={engine.process.pid},uid={os.geteuid()}"
        elif "unix" in addresses[n] or addresses[n].startswith("ipc:"):
            assert address == "unix"
        else:
            assert address.rpartition(":")[0] in ("127.0.0.1", "[::1]")
    assert broker.api.ask("/dowork", time=20, wait=60)["states"]["done"] == len(engines)

    # An id is taken wherever one comes from.
    for address, taken in (addresses[0], 1), (addresses[1], 0):
        with Peer.to(address) as rival:
            rival.send(f"NewEngine:by-{taken}:0:v=1;instance=00000000000000ff")
            assert refused_with(rival.rest()) == 409
    broker.until(registered=len(engines))

    assert stat.S_IMODE((folder / "ours").stat().st_mode) == 0o660
    assert sorted(os.listdir(folder)) == ["ours", "twisteds"]
    killed = broker.api.ask("/kill", code=3, wait=60)
    assert killed["states"]["done"] == len(engines)
    assert [engine.process.wait(60) for engine in engines] == [3] * len(engines)
    assert broker.program.end() == 0
    assert os.listdir(folder) == []


def test_engine_that_vanishes_is_told_of_alike_on_every_kind_of_address(
    stage: Stage, folder: Path
) -> None:
    broker = broker_on(stage, "tcp://127.0.0.1:0", f"ipc://{folder}/broker")
    for address in addresses_of(broker):
        RawEngine.at(address, f"by-{address[:3]}").socket.close()
    broker.until(registered=0, lost=2)
    assert broker.stats()["causes"] == {"lost:closed": 2}


def test_stale_file_of_a_killed_broker_does_not_keep_the_next_one_from_starting(
    stage: Stage, folder: Path
) -> None:
    address = f"ipc://{folder}/broker"
    broker = broker_on(stage, address)
    engine = stage.engines(address, "survivor")
    broker.until(registered=1)
    broker.program.process.kill()
    broker.program.process.wait()
    assert stat.S_ISSOCK((folder / "broker").stat().st_mode)
    again = broker_on(stage, address)
    again.until(registered=1)
    assert engine.process.poll() is None
    assert again.program.end() == 0
    assert os.listdir(folder) == []
    assert engine.end() == 0


def test_engine_says_in_words_why_it_cannot_reach_a_socket(stage: Stage, folder: Path) -> None:
    address = f"ipc://{folder}/broker"
    engine = stage.engines(address, "early")
    reason = engine.logged("reason", "not registered as")
    assert reason == f"cannot connect to {address}: no such file or directory"
    broker_on(stage, address).until(registered=1)
    assert engine.end() == 0


def second_broker(terminal: Terminal, *command: str) -> Outcome:
    outcome = terminal.run(*command)
    assert (outcome.status, outcome.out) == (78, "")
    assert outcome.err.count("\n") == 1
    return outcome


@pytest.mark.parametrize("how", [("twistd", "-n"), ("twistd",), ("twist",)], ids=" ".join)
@pytest.mark.parametrize("kind", ["path", "abstract name"])
def test_second_broker_on_one_address_is_told_so_and_the_first_still_serves(
    stage: Stage, terminal: Terminal, folder: Path, how: tuple[str, ...], kind: str
) -> None:
    if kind == "path":
        address = f"ipc://{folder}/broker"
    elif not ON_LINUX:
        pytest.skip("only Linux has abstract names")
    else:
        address = f"ipc://@brokerproto-{os.getpid()}-{'-'.join(how)}"
    first = broker_on(stage, address)
    engine = RawEngine.at(address, "e1")
    outcome = second_broker(terminal, *how, "broker", "--listen", address, *CONTROL)
    assert outcome.err == f"broker: cannot listen on {address}: Address already in use\n"
    engine.beat()
    RawEngine.at(address, "e2").leave()
    engine.leave()
    first.until(registered=0)
    assert first.program.end() == 0
    assert os.listdir(folder) == []


def test_brokers_that_start_at_once_agree_on_one(terminal: Terminal, folder: Path) -> None:
    address = f"ipc://{folder}/broker"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(f"{folder}/broker")
    command = ("twistd", "-n", "broker", "--listen", address, *CONTROL)
    rivals = [terminal.start(*command) for _ in range(4)]
    wait_until("all but one to end", lambda: len(_running(rivals)) <= 1, 300)
    [winner] = _running(rivals)
    for rival in rivals:
        if rival is not winner:
            outcome = ended(rival)
            assert outcome.status == 78
            assert outcome.err == f"broker: cannot listen on {address}: Address already in use\n"
    RawEngine.at(address, "e1").leave()
    winner.terminate()
    assert ended(winner).status == 0
    assert os.listdir(folder) == []


def _running(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    return [process for process in processes if process.poll() is None]


def test_broker_in_the_background_keeps_its_socket(terminal: Terminal, folder: Path) -> None:
    address = f"ipc://{folder}/broker"
    command = ("twistd", "broker", "--listen", address, *CONTROL, "--interval", "1")
    for end in signal.SIGKILL, signal.SIGTERM:
        started = terminal.run(*command)
        assert (started.status, started.out, started.err) == (0, "", "")
        pid = terminal.background("broker.pid")
        terminal.logged("broker.log", "control API on ")
        engine = RawEngine.at(address, "e1")
        for how in ("-n",), ("--pidfile=other.pid", "--logfile=other.log"):
            outcome = second_broker(terminal, "twistd", *how, *command[1:])
            assert outcome.err == f"broker: cannot listen on {address}: Address already in use\n"
        engine.beat()
        os.kill(pid, end)
        engine.rest()
        _await_end(pid)
        assert os.listdir(folder) == (["broker"] if end is signal.SIGKILL else [])
        (terminal.directory / "broker.log").unlink()


def _await_end(pid: int) -> None:
    def is_gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until("the broker to be gone", is_gone, 300)


@pytest.mark.parametrize(
    ("address", "said_of_it"),
    [
        ("ipc:///nonexistent/broker", "No such file or directory"),
        ("ipc://{folder}/file", "a file that is no socket has this name"),
        ("ipc://{folder}/" + "x" * 200, "at most 107 bytes" if ON_LINUX else "at most 103 bytes"),
        ("twisted:unix:{folder}/file", "Address already in use"),
        ("twisted:tpc:1:interface=127.0.0.1", "Unknown endpoint type: 'tpc'"),
        ("twisted:systemd:domain=UNIX:index=0", "systemd has given this process no such socket"),
    ],
)
def test_address_that_cannot_be_had_is_one_line(
    terminal: Terminal, folder: Path, address: str, said_of_it: str
) -> None:
    (folder / "file").write_text("precious")
    listen = ("--listen", address.format(folder=folder))
    arguments = (*listen, "--insecure", *CONTROL)
    assert said_of_it in second_broker(terminal, "twistd", "broker", *arguments).err
    assert (folder / "file").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_another_user_may_connect_where_the_mode_allows_it(stage: Stage, folder: Path) -> None:
    for parent in (folder, *folder.parents):
        if parent.stat().st_mode & 0o777 == 0o700:
            parent.chmod(0o755)
    broker = broker_on(stage, f"ipc://{folder}/own", f"ipc://{folder}/all?mode=666")
    script = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "s.sendall(b'NewEngine:other:0\\n')\n"
        "print(s.recv(99).decode())\n"
        "input()\n"
    )

    def stranger(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/usr/bin/env", "python3", "-c", script, f"{folder}/{name}"],
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with stranger("own") as refused:
        assert "Permission denied" in refused.communicate(timeout=300)[1]
    with stranger("all") as welcome:
        assert welcome.stdout is not None
        assert welcome.stdout.readline() == "SUCCESS:Registered\n"
        assert broker.engines()["other"]["address"] == f"unix:pid={welcome.pid},uid=65534"
        welcome.communicate("\n", timeout=300)


@pytest.fixture
def inherited() -> Iterator[socket.socket]:
    """A socket as systemd hands it to a service."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_socket_of_systemd_is_served(
    terminal: Terminal, inherited: socket.socket, reactor_options: list[str]
) -> None:
    port = inherited.getsockname()[1]
    twistd = str(Path(sys.executable).with_name("twistd"))
    arguments = ["--listen", "twisted:systemd:domain=INET:index=0", "--insecure", *CONTROL]
    start = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='b', LISTEN_PID=str(os.getpid()))\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", start, str(inherited.fileno())),
            *(twistd, *reactor_options, "-n", "broker", *arguments, "--log-format", "text"),
        ],
        cwd=terminal.directory,
        pass_fds=[inherited.fileno()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = said(process, "accepting engines on ")
        assert address == "twisted:systemd:domain=INET:index=0"
        api = ControlAPI(said(process, "control API on "))
        engine = RawEngine.at(f"tcp://127.0.0.1:{port}", "e1")
        assert api.ask("/engines")["engines"][0]["transport"] == address
        engine.beat()
        engine.leave()
        process.terminate()
        assert process.wait(300) == 0
    finally:
        process.kill()
        process.communicate()


def test_fleet_speaks_tls_and_hears_the_last_words(stage: Stage, folder: Path) -> None:
    pem = write_certificate(folder)
    broker = broker_on(stage, f"twisted:ssl:0:privateKey={pem}:interface=127.0.0.1")
    port = int(broker.address.split(":")[2])
    engine = stage.engines(
        f"twisted:tls:localhost:{port}:trustRoots={folder}:endpoint=tcp\\:127.0.0.1\\:{port}",
        "secret",
    )
    broker.until(registered=1)
    context = ssl.create_default_context(cafile=pem)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        ) as rival,
    ):
        rival.settimeout(300)
        rival.sendall(b"NewEngine:secret:0:v=1;instance=00000000000000ff\n")
        words = b""
        # An end that TLS knows nothing of would raise here.
        while data := rival.recv(4096):
            words += data
        assert words.startswith(b"FAILED:409:")
    assert broker.api.ask("/kill", code=4, wait=60)["states"]["done"] == 1
    assert engine.process.wait(60) == 4
