"""A user's mistake, by the real command: one line on stderr, status 78, nothing else.

Each kind once; what each option takes is tested with the options.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from attrs import field, frozen

from tests.e2e.scene import ANYWHERE
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e

BROKER, ENGINE = ("twistd", "-n", "broker"), ("twistd", "-n", "engine")
BY_TWIST = ("twist", "broker")
IN_BACKGROUND = ("twistd", "broker")


@frozen
class Mistake:
    """A command, and what its one line must say besides the program's name."""

    command: tuple[str, ...]
    said: str
    environment: dict[str, str] = field(factory=dict)

    @property
    def name(self) -> str:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([*variables, *self.command])


MISTAKES = [
    Mistake((*BROKER, "--listen", "tcp:/127.0.0.1"), "--listen: 'tcp:/127.0.0.1': the scheme"),
    Mistake((*BROKER, "--listen", "pigeon://loft:1"), "pigeon"),
    Mistake((*BROKER, "--interval", "0"), "--interval: '0' is not a whole number from 1 to 300"),
    Mistake((*BROKER, "--listen", "tcp://1337"), "'tcp://1337': the port is missing"),
    Mistake((*BROKER, "--listen", "tcp://0.0.0.0:0"), "give --insecure if that is meant"),
    Mistake(
        (*BROKER, "--insecure", "--listen", "tcp://nosuch.invalid:0"), "tcp://nosuch.invalid:0: "
    ),
    Mistake(
        (*BROKER, "--insecure", "--listen", "tcp://192.0.2.1:0"), "Cannot assign requested address"
    ),
    Mistake((*BROKER, "stray"), "'stray' is one argument too many"),
    Mistake(BROKER, "BROKER_INTERVAL: 'ten' is not", {"BROKER_INTERVAL": "ten"}),
    Mistake(BROKER, "PORT: '80a' is not a whole number", {"PORT": "80a"}),
    Mistake(BY_TWIST, "BROKER_LISTEN: 'nonsense'", {"BROKER_LISTEN": "nonsense"}),
    Mistake((*IN_BACKGROUND, "--handshake-timeout", "-1"), "--handshake-timeout: '-1' is not"),
    Mistake((*ENGINE, "--broker", "tcp://127.0.0.1"), "the port is missing"),
    Mistake((*ENGINE, "--broker", "tcp://*:1337"), "* is for listening"),
    Mistake((*ENGINE, "--nosuch\x1b[31m\n"), r"option --nosuch\x1b[31m\n not recognized"),
    Mistake(ENGINE, "ENGINE_COUNT: '0' is not", {"ENGINE_COUNT": "0"}),
    Mistake((*ENGINE, "--label", "node=$(NODE_NAME)"), "--label: 'node=$(NODE_NAME)' is not a"),
    Mistake(
        (*ENGINE, *(f"--label={name}={256 * 'v'}" for name in "abcd")),
        "bytes too long together: a broker reads 1024 bytes of a hello",
    ),
]


# In these a port stands for one that somebody else listens on.
TAKEN = "taken"
PORT_IN_USE = [
    Mistake((*BROKER, *ANYWHERE, "--listen", f"tcp://127.0.0.1:{TAKEN}"), "tcp://"),
    Mistake((*BROKER, *ANYWHERE, "--control", f"http://127.0.0.1:{TAKEN}"), "http://"),
    Mistake((*IN_BACKGROUND, *ANYWHERE, "--listen", f"tcp://127.0.0.1:{TAKEN}"), "tcp://"),
    Mistake((*IN_BACKGROUND, *ANYWHERE, "--control", f"http://127.0.0.1:{TAKEN}"), "http://"),
    Mistake((*BY_TWIST, *ANYWHERE, "--listen", f"tcp://127.0.0.1:{TAKEN}"), "tcp://"),
]


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


@pytest.mark.parametrize("mistake", [pytest.param(m, id=ascii(m.name)) for m in MISTAKES])
def test_mistake_is_one_line_and_status_78(terminal: Terminal, mistake: Mistake) -> None:
    expect_one_line(terminal, mistake, mistake.said)


def expect_one_line(terminal: Terminal, mistake: Mistake, said: str, taken: str = TAKEN) -> None:
    command = [word.replace(TAKEN, taken) for word in mistake.command]
    outcome = terminal.run(*command, **mistake.environment)
    program = "engine" if "engine" in command else "broker"
    assert (outcome.status, outcome.out) == (78, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"{program}: ")
    assert outcome.err.removesuffix("\n").isprintable()
    assert said in outcome.err
    assert terminal.files() == []


@pytest.mark.parametrize("mistake", [pytest.param(m, id=ascii(m.name)) for m in PORT_IN_USE])
def test_port_in_use_reaches_the_terminal(terminal: Terminal, mistake: Mistake, taken: str) -> None:
    said = f"cannot listen on {mistake.said}127.0.0.1:{taken}: Address already in use"
    expect_one_line(terminal, mistake, said, taken)
