"""What an engine can be told, and what it takes for a mistake."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from brokerproto.grammar import ID
from brokerproto.life import Life, Wishes
from brokerproto.wire import decode, encode
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
        ENGINE_LABELS="node=aks-1, zone=2",
        ENGINE_RESPAWN="yes",
    )
    assert options["broker"] == URI("tcp", "::1", 1337)
    assert options.ids == ["e-1", "e-2"]
    assert (options["work"], options["interval"], options["ack"]) == ("child", 30, 0)
    assert options.wishes == Wishes(30, 0, {"node": "aks-1", "zone": "2"})
    assert options["respawn"]
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
    "host",
    ["", "a b", "a/b", "a:80", "user@host", "http://a", "host?x=1", "1.2.3.4.5", "a\n", "@a"],
)
def test_host_is_a_name_or_an_address(capfd: pytest.CaptureFixture[str], host: str) -> None:
    said = mistake(capfd, f"--host={host}")
    assert "--host: " in said
    assert "is not a name or an address; a port is given with --port," in said


def test_help_names_the_schemes() -> None:
    text = " ".join(str(Options({})).split())
    assert "those of installed packages; fault+ before any of them." in text


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


def test_engine_has_no_labels_unless_told() -> None:
    assert parsed().wishes == Wishes(None, 1)
    assert parsed(ENGINE_LABELS=" ").wishes.labels == {}


@pytest.mark.parametrize(
    ("label", "name", "value"),
    [
        ("node=aks-nodepool1-12345678-vmss000001", "node", "aks-nodepool1-12345678-vmss000001"),
        ("node=ip-10-0-1-2.eu-central-1.compute.internal", "node", None),
        ("node=" + "n" * 253, "node", "n" * 253),
        ("spot=", "spot", ""),
        ("n" * 26 + "=A_b.c-", "n" * 26, "A_b.c-"),
        ("a" + "=" + "v" * 256, "a", "v" * 256),
    ],
)
def test_label_is_what_a_broker_would_take(label: str, name: str, value: str | None) -> None:
    labels = {name: label.partition("=")[2] if value is None else value}
    for options in (parsed(f"--label={label}"), parsed(ENGINE_LABELS=label)):
        assert options.wishes.labels == labels
    hello = encode(options.wishes.hello(Life("e", "a1")))
    assert decode(hello.rstrip(b"\n"), "engine").labels == labels


def test_labels_of_the_command_line_replace_those_of_the_environment() -> None:
    options = parsed("--label=a=1", "--label=b=2", ENGINE_LABELS="c=3")
    assert options.wishes.labels == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "label",
    [
        *("", "node", "=x", "Node=x", "n.x=x", "n" * 27 + "=x", "a=b=c", "a=b/c", "a=b c"),
        *("a=\u00e4", "a=" + "v" * 257, "node=$(NODE_NAME)", "a=b\n", "a=b;c=d", "a=b:c"),
    ],
)
def test_what_is_no_label_is_a_mistake(capfd: pytest.CaptureFixture[str], label: str) -> None:
    assert "is not a label: " in mistake(capfd, f"--label={label}")


def test_mistaken_label_of_the_environment_is_told_by_its_variable(
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = mistake(capfd, ENGINE_LABELS="zone=2,node=$(NODE_NAME)")
    assert line.startswith("engine: ENGINE_LABELS: 'node=$(NODE_NAME)' is not a label: ")


def test_label_is_given_once(capfd: pytest.CaptureFixture[str]) -> None:
    twice = ["--label=b=1", "--label=a=1", "--label=a=1"]
    assert "engine: --label: 'a' is there 2 times" in mistake(capfd, *twice)
    assert "engine: ENGINE_LABELS: 'a' is there 3 times" in mistake(
        capfd, ENGINE_LABELS="a=1 a=2,a=3"
    )


def test_labels_are_as_many_and_as_long_as_a_broker_reads(
    capfd: pytest.CaptureFixture[str],
) -> None:
    sixteen = [f"--label=l{n}=" for n in range(16)]
    assert len(parsed(*sixteen).wishes.labels) == 16
    assert "--label: 17 labels, and 16 are the most" in mistake(capfd, *sixteen, "--label=x=")
    long = [f"--label={name}={'v' * 256}" for name in ("a", "b", "c", "d")]
    assert "--label: id and labels are " in mistake(capfd, "--id=e", *long)
    assert "bytes too long together" in mistake(capfd, "--id=" + "e" * 250, *long)
    assert "ENGINE_LABELS: id and labels are " in mistake(
        capfd, ENGINE_LABELS=",".join(each.removeprefix("--label=") for each in long)
    )


def test_labels_must_fit_beside_the_longest_of_many_ids(capfd: pytest.CaptureFixture[str]) -> None:
    """The last byte of room goes to the tenth engine."""
    labels = [f"--label={name}={'v' * 256}" for name in ("a", "b", "c")]

    def options(length: int) -> list[str]:
        return ["--id=e", f"--label=d={'v' * length}", *labels]

    room = next(length for length in range(256, 0, -1) if _fits(capfd, *options(length)))
    assert _fits(capfd, *options(room - 2), "--count=9")
    assert _fits(capfd, *options(room - 3), "--count=10")
    assert not _fits(capfd, *options(room - 2), "--count=10")
    assert not _fits(capfd, *options(room - 1), "--count=9")


def _fits(capfd: pytest.CaptureFixture[str], *arguments: str) -> bool:
    with contextlib.suppress(SystemExit):
        parsed(*arguments)
        return True
    assert "bytes too long together" in capfd.readouterr().err
    return False


@pytest.mark.parametrize(
    ("arguments", "respawns"),
    [
        ([], False),
        (["--respawn"], True),
        (["--count=1"], True),
        (["--count=2", "--respawn"], True),
    ],
)
def test_killed_engine_starts_again_where_told_and_virtual_ones_always(
    arguments: list[str], *, respawns: bool
) -> None:
    assert parsed(*arguments).respawns is respawns
    program: Any = engine_program(MemoryReactorClock(), parsed(*arguments))
    for runner in program.services[0].runners:
        assert (runner.crew.reborn_after is not None) is respawns
    for word in ("0", "no"):
        assert not parsed(ENGINE_RESPAWN=word).respawns


def test_what_kubernetes_sets_for_a_service_is_not_read() -> None:
    links = {
        "ENGINE_PORT": "tcp://10.0.0.1:1337",
        "ENGINE_SERVICE_HOST": "10.0.0.1",
        "BROKER_PORT": "tcp://10.0.0.1:1337",
        "BROKER_SERVICE_PORT": "1337",
        "PORT": "8080",
    }
    assert dict(parsed(**links)) == dict(parsed())
