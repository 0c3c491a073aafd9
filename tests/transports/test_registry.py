"""How a scheme finds its transport: ours, and those of other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from transports import InvalidURIError, ITransport, registry, transport_for

Install = Callable[..., None]

GOOD = """
from zope.interface import implementer
from transports import ITransport

@implementer(ITransport)
class Pigeon:
    scheme = "pigeon"
    framing = "message"
    def client_endpoint(self, reactor, uri): ...
    def server_endpoint(self, reactor, uri): ...
    def is_local(self, uri): ...
    def listen_address(self, uri, port): ...

transport = Pigeon()
"""
WITHOUT_LISTEN_ADDRESS = GOOD.replace("    def listen_address(self, uri, port): ...\n", "")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution on the path that announces a transport."""
    monkeypatch.setattr(registry, "_loaded", {})

    def install(
        source: str, *, module: str = "pigeon_post", scheme: str = "pigeon", of: str = "pigeonry"
    ) -> None:
        place = tmp_path / of
        metadata = place / f"{of}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (place / f"{module}.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {of}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(
            f"[brokerproto.transports]\n{scheme} = {module}:transport\n"
        )
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


@pytest.mark.parametrize("scheme", ["inproc", "ipc", "tcp", "twisted"])
def test_built_in_transports_keep_the_interface(scheme: str) -> None:
    transport = transport_for(scheme)
    assert verifyObject(ITransport, transport)
    assert transport.scheme == scheme
    assert transport.framing == "lines"
    assert transport_for(scheme) is transport


def test_unknown_scheme_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidURIError) as caught:
        transport_for("carrier")
    assert caught.value.text == "carrier://"
    assert "inproc, ipc, tcp, twisted, and fault+ before any" in caught.value.problem


@pytest.mark.parametrize("scheme", ["inproc", "ipc", "tcp", "twisted"])
def test_prefix_of_ours_stands_before_any_scheme(scheme: str) -> None:
    transport = transport_for(f"fault+{scheme}")
    assert verifyObject(ITransport, transport)
    assert transport.scheme == f"fault+{scheme}"
    assert transport.framing == "lines"
    assert transport_for(f"fault+{scheme}") is transport


def test_prefix_stands_before_other_packages_schemes_and_cannot_be_taken(install: Install) -> None:
    install(GOOD)
    install(
        GOOD.replace('"pigeon"', '"fault+pigeon"'),
        scheme="fault+pigeon",
        module="dove_post",
        of="dovecote",
    )
    assert type(transport_for("fault+pigeon")).__name__ == "FaultTransport"
    assert transport_for("fault+pigeon").framing == "message"


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        ("fault+carrier", "no transport has this scheme"),
        ("fault+fault+tcp", "stands before another scheme, and once"),
        ("fault+", "no transport has this scheme"),
    ],
)
def test_prefix_before_nothing_is_refused_by_the_name_that_was_given(
    scheme: str, says: str
) -> None:
    with pytest.raises(InvalidURIError) as caught:
        transport_for(scheme)
    assert caught.value.text == f"{scheme}://"
    assert says in caught.value.problem


def test_other_package_adds_a_scheme(install: Install) -> None:
    install(GOOD)
    alone = ["inproc", "ipc", "pigeon", "tcp", "twisted"]
    assert registry.known_schemes() == [*(f"fault+{scheme}" for scheme in alone), *alone]
    assert "pigeon_post" not in sys.modules
    assert transport_for("pigeon").framing == "message"
    assert transport_for("pigeon") is sys.modules["pigeon_post"].transport


def test_other_package_cannot_replace_a_scheme_of_ours(install: Install) -> None:
    install(GOOD.replace('"pigeon"', '"tcp"'), scheme="tcp")
    assert type(transport_for("tcp")).__module__ == "transports.tcp"
    assert "pigeon_post" not in sys.modules


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("transport = object()", "no transport"),
        (WITHOUT_LISTEN_ADDRESS, "listen_address"),
        (GOOD.replace("(self, reactor, uri)", "(self, uri)"), "client_endpoint"),
        (GOOD.replace('"pigeon"', '"dove"'), "dove://"),
        (GOOD.replace('"message"', '"frames"'), "'frames'"),
        (GOOD.replace('"message"', '["lines"]'), "['lines']"),
        (GOOD.replace("(self, uri): ...", "(self, uri"), "SyntaxError"),
        ("import a_package_that_is_missing", "a_package_that_is_missing"),
        ("open('/nonexistent')", "FileNotFoundError"),
        ("raise RuntimeError('one\\ntwo')", "RuntimeError: one two"),
        ("", "AttributeError: module 'pigeon_post' has no attribute 'transport'"),
    ],
)
def test_what_is_no_transport_is_refused_in_one_line(
    install: Install, source: str, names: str
) -> None:
    install(source)
    with pytest.raises(InvalidURIError) as caught:
        transport_for("pigeon")
    assert caught.value.text == "pigeon://"
    assert names in caught.value.problem
    assert "pigeonry" in caught.value.problem
    assert "\n" not in str(caught.value)


def test_scheme_of_two_packages_is_refused_with_both_names(install: Install) -> None:
    install(GOOD)
    install(GOOD, of="dovecote", module="dove_post")
    with pytest.raises(InvalidURIError) as caught:
        transport_for("pigeon")
    assert "dovecote" in caught.value.problem
    assert "pigeonry" in caught.value.problem


def test_refused_scheme_is_looked_for_again(install: Install) -> None:
    with pytest.raises(InvalidURIError):
        transport_for("pigeon")
    install(GOOD)
    assert transport_for("pigeon").scheme == "pigeon"
