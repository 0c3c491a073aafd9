"""What an installed package does wrong is one line on the terminal, and status 78."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e

SOUND = """
from zope.interface import implementer
from transports import ITransport

@implementer(ITransport)
class Pigeon:
    scheme = "pigeon"
    framing = "lines"
    def client_endpoint(self, reactor, uri): raise uri.refusal("no pigeon is at home")
    def server_endpoint(self, reactor, uri): raise uri.refusal("no loft is free")
    def is_local(self, uri): return True
    def listen_address(self, uri, port): return uri

transport = Pigeon()
"""
WHOSE = "pigeon_post:transport of pigeonry"


@pytest.mark.parametrize("program", ["broker", "engine"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import seeds", f"{WHOSE} cannot be loaded: ModuleNotFoundError: No module named 'seeds'"),
        ("raise ValueError('one\\ntwo')", f"{WHOSE} cannot be loaded: ValueError: one two"),
        ("transport = 'dove'", f"{WHOSE} provides no transport: "),
        (SOUND.replace('"lines"', '"feathers"'), f"{WHOSE} has no framing that is known: 'feath"),
    ],
    ids=["not installed", "raises", "no transport", "no framing"],
)
def test_package_that_is_broken_is_named(
    terminal: Terminal, tmp_path: Path, source: str, said: str, program: str
) -> None:
    expect_one_line(terminal, tmp_path, source, program, f"'pigeon://': {said}")


@pytest.mark.parametrize(
    ("program", "source", "said"),
    [
        ("broker", SOUND, "no loft is free"),
        ("engine", SOUND, "no pigeon is at home"),
        (
            "broker",
            SOUND.replace("return True", "raise uri.refusal('who knows')"),
            "who knows",
        ),
    ],
    ids=["to listen", "to dial", "where it is"],
)
def test_address_that_a_package_refuses_is_told_with_its_reason(
    terminal: Terminal, tmp_path: Path, source: str, said: str, program: str
) -> None:
    expect_one_line(terminal, tmp_path, source, program, f"'pigeon://loft': {said}")


def expect_one_line(terminal: Terminal, folder: Path, source: str, program: str, said: str) -> None:
    place = folder / "site"
    metadata = place / "pigeonry-1.0.dist-info"
    metadata.mkdir(parents=True)
    (place / "pigeon_post.py").write_text(source)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeonry\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[brokerproto.transports]\npigeon = pigeon_post:transport\n"
    )
    option = "--listen" if program == "broker" else "--broker"
    outcome = terminal.run("twistd", "-n", program, option, "pigeon://loft", PYTHONPATH=str(place))
    assert (outcome.status, outcome.out) == (78, "")
    assert outcome.err.startswith(f"{program}: ")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
