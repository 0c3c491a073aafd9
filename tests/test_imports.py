"""Who may import whom: the floors of the house, as a table.

A file of the library that the table does not know fails.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("brokerproto", "transports", "services")

# brokerproto from the ground up: a module may use what stands on lower floors.
FLOORS: list[set[str]] = [
    {"errors"},
    {"messages", "grammar", "framing", "carrier", "isolation", "backlog", "ticker", "turns"},
    {"labels"},
    {"wire", "account", "liveness", "beats", "circumstances"},
    {"states", "terms", "retry", "brake", "pacing", "outgoing", "broker_events"},
    {"life", "rhythm", "incoming"},
    {"broker_session", "engine_session"},
    {"fleet", "commands", "worklist"},
    {"ownership", "admission", "flow"},
    {"observer", "engine", "ledger", "selection", "stats"},
    {"dispatch", "drain", "registrar", "judge"},
    {"following"},
    {"broker"},
    {"carrying", "wheel"},
    {"engine_protocol"},
    {"protocol", "testing", "orders"},
]
MAY_IMPORT_TWISTED = {
    "brokerproto.carrying",
    "brokerproto.engine_protocol",
    "brokerproto.protocol",
    "brokerproto.wheel",
}


def _modules(package: str) -> list[str]:
    """List the dotted names of a package's modules."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / package).rglob("*.py")
    )


# The package itself shows what stands on any of its floors.
LIBRARY = [name for name in _modules("brokerproto") if name != "brokerproto"]


def _named(source: str, package: str) -> Iterator[str]:
    """Give the dotted name of all that a source imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) + 1 - node.level]) if node.level else ""
            above = ".".join(filter(None, [base, node.module or ""]))
            yield from (f"{above}.{alias.name}" for alias in node.names)


def _named_in(module: str) -> list[str]:
    path = ROOT.joinpath(*module.split("."))
    if path.is_dir():
        path, package = path / "__init__.py", module
    else:
        path, package = path.with_suffix(".py"), module.rpartition(".")[0]
    return list(_named(path.read_text(encoding="utf-8"), package))


def _imports(module: str) -> set[str]:
    """Resolve what a module imports of ours to the names of our modules."""
    known = {name for package in OURS for name in _modules(package)}
    found = set()
    for name in _named_in(module):
        if name.split(".")[0] in OURS:
            while name not in known and "." in name:
                name = name.rpartition(".")[0]
            found.add(name)
    return found - {module}


def _tops(module: str) -> set[str]:
    return {name.split(".")[0] for name in _named_in(module)}


@pytest.mark.parametrize("module", LIBRARY)
def test_library_keeps_its_floors(module: str) -> None:
    name = module.removeprefix("brokerproto.")
    heights = [height for height, floor in enumerate(FLOORS) if name in floor]
    assert len(heights) == 1, f"{module} stands on no floor, or on two"
    below = set().union(*FLOORS[: heights[0]])
    assert {each.removeprefix("brokerproto.") for each in _imports(module)} <= below


@pytest.mark.parametrize("module", _modules("brokerproto"))
def test_only_protocol_knows_twisted(module: str) -> None:
    if module not in MAY_IMPORT_TWISTED:
        assert not _tops(module) & {"twisted", "zope", "klein", "asyncio", "socket", "time"}


@pytest.mark.parametrize("module", _modules("transports"))
def test_transports_know_of_the_library_only_its_errors(module: str) -> None:
    beyond = {name for name in _imports(module) if name.split(".")[0] != "transports"}
    assert beyond <= {"brokerproto.errors"}


@pytest.mark.parametrize("module", _modules("transports"))
def test_no_transport_needs_the_laws_and_the_laws_need_no_test_framework(module: str) -> None:
    laws = "transports.conformance"
    assert module.startswith(laws) or not any(name.startswith(laws) for name in _imports(module))
    assert not _tops(module) & {"pytest", "pytest_twisted", "hypothesis", "unittest"}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("transports.uri", {"brokerproto.errors"}),
        ("transports.profile", set()),
        ("transports.interfaces", {"transports.uri"}),
    ],
)
def test_seams_of_the_transports_know_no_transport(module: str, allowed: set[str]) -> None:
    assert _imports(module) <= allowed


@pytest.mark.parametrize("module", [*_modules("brokerproto"), *_modules("transports")])
def test_nobody_below_knows_the_services(module: str) -> None:
    assert not any(name.split(".")[0] == "services" for name in _named_in(module))


@pytest.mark.parametrize("path", sorted(ROOT.glob("twisted/plugins/*.py")), ids=lambda p: p.name)
def test_a_plugin_imports_nothing_heavy(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for name in _named_in(module):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or name.startswith("twisted.application.")


def _runs(source: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("barred", ["twisted", "zope.interface"])
def test_library_works_where_twisted_is_barred(barred: str) -> None:
    _runs(
        "import importlib, sys\n"
        f"sys.modules[{barred!r}] = None\n"
        f"for name in {[name for name in LIBRARY if name not in MAY_IMPORT_TWISTED]}:\n"
        "    importlib.import_module(name)\n"
    )


def test_importing_transports_loads_no_transport_and_no_reactor() -> None:
    _runs(
        "import sys, transports\n"
        "loaded = {name for name in sys.modules if name.startswith('transports.')}\n"
        "allowed = {'interfaces', 'registry', 'uri'}\n"
        "assert loaded <= {f'transports.{name}' for name in allowed}, loaded\n"
        "assert 'twisted.internet.reactor' not in sys.modules\n"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import a.b", "a.b"),
        ("import a.b as c", "a.b"),
        ("from a.b import c", "a.b.c"),
        ("from . import c", "up.here.c"),
        ("from .b import c", "up.here.b.c"),
        ("from .. import c", "up.c"),
        ("from ..b import c as d", "up.b.c"),
        ("def late():\n    from a import b", "a.b"),
        ("if TYPE_CHECKING:\n    import a", "a"),
    ],
)
def test_walker_sees_every_form_of_import(source: str, name: str) -> None:
    assert list(_named(source, "up.here")) == [name]
