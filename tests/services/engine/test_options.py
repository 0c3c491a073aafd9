"""What an engine can be told, and what it takes for a mistake."""

from __future__ import annotations

import os
import socket

import pytest
from twisted.internet.testing import MemoryReactorClock

from brokerproto.grammar import ID
from services.engine.options import Options
from services.engine.plugin import engine_program
from transports import URI


def parsed(*arguments: str, **environ: str) -> Options:
    options = Options(environ)
    options.parseOptions(list(arguments))
    return options


def mistake(capfd: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """Give the one line that a mistake costs."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments, **environ)
    out, err = capfd.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (78, "", 1)
    assert err.startswith("engine: ")
    return err


def test_single_engine_is_called_after_its_host_and_process_and_works_in_a_child() -> None:
    options = parsed("--host=127.0.0.1")
    assert options["broker"] == URI("tcp", "127.0.0.1", 1337)
    [engine_id] = options.ids
    assert ID.accepts(engine_id)
    assert engine_id.endswith(f"-{os.getpid()}")
    assert (options["work"], options["interval"], options["ack"]) == ("child", None, 1)


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("plain", "plain"),
        ("pod-7.brokers.svc", "pod-7.brokers.svc"),
        ("Jürgens Mac", "J-rgens-Mac"),
        (".-_", "engine"),
        ("", "engine"),
        ("x" * 300, "x" * 200),
    ],
)
def test_hosts_name_becomes_an_id_whatever_is_in_it(
    monkeypatch: pytest.MonkeyPatch, hostname: str, expected: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)
    assert parsed().ids == [f"{expected}-{os.getpid()}"]


def test_virtual_engines_are_numbered_and_only_pretend_to_work() -> None:
    options = parsed("--id=e", "--count=3")
    assert options.ids == ["e-1", "e-2", "e-3"]
    assert options["work"] == "pretend"
    assert parsed("--id=e", "--count=1").ids == ["e-1"]
    assert parsed("--id=e", "--count=2", "--work=block")["work"] == "block"


def test_variables_stand_for_options() -> None:
    options = parsed(
        BROKER_HOST="::1",
        ENGINE_ID="e",
        ENGINE_COUNT="2",
        ENGINE_WORK="child",
        ENGINE_INTERVAL="30",
        ENGINE_ACK="0",
    )
    assert options["broker"] == URI("tcp", "::1", 1337)
    assert options.ids == ["e-1", "e-2"]
    assert (options["work"], options["interval"], options["ack"]) == ("child", 30, 0)
    assert parsed(BROKER_URI="inproc://b")["broker"] == URI("inproc", "b")


def test_what_stands_on_the_command_line_decides_which_broker_is_meant(
    capfd: pytest.CaptureFixture[str],
) -> None:
    by_host = URI("tcp", "localhost", 7)
    assert parsed("--host=localhost", "--port=7", BROKER_URI="tcp://other:1")["broker"] == by_host
    assert parsed("--broker=tcp://localhost:7", BROKER_HOST="other")["broker"] == by_host
    for one in ("--host=localhost", "--port=7"):
        assert "--broker: not together with --host or --port" in mistake(
            capfd, "--broker=tcp://localhost:7", one
        )


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "a:80", "user@host", "http://a", "host?x=1", "1.2.3.4.5", "a\n"]
)
def test_host_is_a_name_or_an_address(capfd: pytest.CaptureFixture[str], host: str) -> None:
    assert "--host: " in mistake(capfd, f"--host={host}")


def test_host_may_be_any_kind_of_name_or_address() -> None:
    for host in ("brokers-instruct", "broker.brokers.svc.cluster.local", "10.0.0.1", "::1"):
        assert parsed(f"--host={host}")["broker"] == URI("tcp", host, 1337)


@pytest.mark.parametrize(
    ("option", "variable", "least", "most"),
    [
        ("port", None, 1, 65_535),
        ("count", "ENGINE_COUNT", 1, 100_000),
        ("interval", "ENGINE_INTERVAL", 1, 300),
        ("ack", "ENGINE_ACK", 0, 1_000_000),
    ],
)
def test_number_is_taken_within_its_bounds_and_no_further(
    capfd: pytest.CaptureFixture[str], option: str, variable: str | None, least: int, most: int
) -> None:
    for value in (least, most):
        assert parsed(f"--{option}={value}")[option] == value
    for wrong in (least - 1, most + 1, "", "x", "1.5", "+1", "01", "\u0665"):
        assert f"--{option}: " in mistake(capfd, f"--{option}={wrong}")
    if variable is not None:
        assert parsed(**{variable: str(most)})[option] == most
        assert f"{variable}: 'x' is not" in mistake(capfd, **{variable: "x"})


@pytest.mark.parametrize("engine_id", ["", "-a", "a-", "a b", "a;b", "a:b", "é", "e" * 254])
def test_id_is_one_that_a_broker_would_take(
    capfd: pytest.CaptureFixture[str], engine_id: str
) -> None:
    assert "--id: " in mistake(capfd, f"--id={engine_id}")


def test_longest_id_of_many_must_still_be_one(capfd: pytest.CaptureFixture[str]) -> None:
    longest = "e" * (253 - len("-1000"))
    assert parsed(f"--id={longest}", "--count=1000").ids[-1] == f"{longest}-1000"
    assert "would be too long an id" in mistake(capfd, f"--id={longest}", "--count=10000")


@pytest.mark.parametrize("work", ["nap", "", "Child", "child,block"])
def test_work_is_one_of_three(capfd: pytest.CaptureFixture[str], work: str) -> None:
    assert "is none of child, block, pretend" in mistake(capfd, f"--work={work}")


@pytest.mark.parametrize("uri", ["", "127.0.0.1", "tcp:/x", "pigeon://loft:1"])
def test_address_that_cannot_be_read_is_a_mistake(
    capfd: pytest.CaptureFixture[str], uri: str
) -> None:
    assert "--broker: " in mistake(capfd, f"--broker={uri}")


@pytest.mark.parametrize(
    "uri", ["tcp://a", "tcp://*:1", "tcp://a:0", "tcp://a:1/p", "inproc://a:1"]
)
def test_address_that_cannot_be_dialled_is_a_mistake(
    capfd: pytest.CaptureFixture[str], uri: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        engine_program(MemoryReactorClock(), parsed(f"--broker={uri}"))
    out, err = capfd.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (78, "", 1)
    assert err.startswith(f"engine: {uri!r}: ")


def test_what_kubernetes_sets_for_a_service_is_not_read() -> None:
    links = {
        "ENGINE_PORT": "tcp://10.0.0.1:1337",
        "ENGINE_SERVICE_HOST": "10.0.0.1",
        "BROKER_PORT": "tcp://10.0.0.1:1337",
        "BROKER_SERVICE_PORT": "1337",
        "PORT": "8080",
    }
    assert dict(parsed(**links)) == dict(parsed())
