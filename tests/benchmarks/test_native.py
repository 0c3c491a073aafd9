"""The tools in C compile without a warning, count what they do, and find out who does not."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.building import BuildError, NativeTools, build, compiler
from benchmarks.contenders import CONTENDERS, named
from benchmarks.fleet import Session, differences
from benchmarks.phases import parse_phases
from benchmarks.results import Sample
from benchmarks.serving import Generator, Serving, end, serve
from services.scaletest.programs import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(compiler() is None, reason="there is no C compiler"),
]

_PHASES = "reg:8,hb:500:0.2,stop:2,mix:6,hb:500:0.1,stop:1,mix:0,lad:500:3:0.1,idle:0.1,memory,fan"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> NativeTools:
    return build(tmp_path_factory.mktemp("native"))


@pytest.fixture
def limit(tools: NativeTools, tmp_path: Path) -> Iterator[Serving]:
    serving = serve(named("limit"), tools, tmp_path, None)
    yield serving
    serving.end()


def _generator(tools: NativeTools, serving: Serving, *options: str) -> Generator:
    return Generator(tools, serving, ["--hello", "v=1;instance=#", *options], None)


@pytest.mark.parametrize("name", ["limit", "limit-acks", "hub", "hub-acks", "reactor"])
@pytest.mark.parametrize("age", ["young", "aged"])
def test_account_closes_after_every_phase(tools: NativeTools, name: str, age: str) -> None:
    session = Session(named(name), 30, age, parse_phases(f"{_PHASES},close"))
    samples = list(session.run(tools, None, 0, print))
    assert [each for sample in samples for each in sample.inexact] == []
    assert [(sample.work, sample.mix) for sample in samples] == [
        ("reg", 0),
        ("hb:500", 0),
        ("stop", 0),
        ("hb:500", 6),
        ("stop", 6),
        ("lad", 0),
        ("idle", 0),
        ("memory", 0),
        ("fan", 0),
        ("close", 0),
    ]
    assert _figure(samples, "reg", "things") == 30
    assert _figure(samples, "fan", "arrived") == 30
    assert _figure(samples, "stop", "us_per_heartbeat") > 0
    assert _figure(samples, "memory", "resident_bytes_per_engine") >= 0


def _figure(samples: list[Sample], work: str, name: str) -> float:
    value = next(each for each in samples if each.work == work).figures[name]
    assert isinstance(value, (int, float))
    return value


def test_line_receiver_keeps_the_same_account(tools: NativeTools) -> None:
    contender = next(each for each in CONTENDERS if each.kind == "line-receiver")
    session = Session(contender, 20, "aged", parse_phases("reg:herd,hb:500:0.1,stop:1,fan,close"))
    samples = list(session.run(tools, None, 0, print))
    assert [each for sample in samples for each in sample.inexact] == []


def test_connections_over_unix_sockets_are_measured_too(tools: NativeTools) -> None:
    session = Session(named("ipc"), 20, "aged", parse_phases("reg:herd,stop:2,close"))
    samples = list(session.run(tools, None, 0, print))
    assert [each for sample in samples for each in sample.inexact] == []


def test_heartbeat_that_was_not_sent_is_not_counted(tools: NativeTools, limit: Serving) -> None:
    generator = _generator(tools, limit, "--engines", "5")
    try:
        generator.run("reg:herd")
        report = generator.run("stop:1")
        stats = limit.stats()
        assert differences(report["totals"], stats, 5, acks=False) == []
        told = {**report["totals"], "sent": 6}
        assert differences(told, stats, 5, acks=False) == ["heartbeats counted: 5 instead of 6"]
        assert differences(report["totals"], stats, 5, acks=True) == ["ACKs: 0 instead of 5"]
    finally:
        generator.end()


def test_engine_whose_id_is_taken_is_refused(
    tools: NativeTools, limit: Serving, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = (_generator(tools, limit, "--engines", "3") for _ in range(2))
    try:
        first.run("reg:herd")
        report = second.run("reg:herd")
        assert report["totals"]["refused"] == 3
        assert "connections lost" not in str(
            differences(report["totals"], limit.stats(), 3, acks=False)
        )
        assert "refused: FAILLED:Duplicate Engine ID" in capfd.readouterr().err
    finally:
        first.end()
        second.end()


def test_broker_that_dies_is_told(tools: NativeTools, limit: Serving) -> None:
    generator = _generator(tools, limit, "--engines", "4")
    try:
        generator.run("reg:herd")
        limit.process.kill()
        limit.process.wait()
        assert generator.run("idle:0.2")["totals"]["lost"] == 4
    finally:
        generator.end()


def test_stopped_broker_ends_when_it_is_told_to(limit: Serving) -> None:
    limit.process.send_signal(signal.SIGSTOP)
    end(limit.process)
    assert limit.process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--phases", "reg:herd"], "needs --port or --path"),
        (["--colour", "red"], "unknown option --colour"),
        (["--port", "1", "--phases", "dance"], "no such phase"),
        (["--port", "1", "--phases", "stop:1"], "not without a process"),
    ],
)
def test_mistake_is_told_in_a_line(tools: NativeTools, arguments: list[str], says: str) -> None:
    done = subprocess.run(
        [tools.load_generator, *arguments], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_phases_can_be_given_in_a_list(tools: NativeTools, limit: Serving) -> None:
    done = subprocess.run(
        [tools.load_generator, *limit.place, "--engines", "3", "--phases", "reg:2,close"],
        check=True,
        capture_output=True,
        text=True,
    )
    reports: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["phase"] for report in reports] == ["reg:2", "close"]


def test_want_of_a_compiler_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildError, match=r"^there is no C compiler .*gcc libc6-dev\)$"):
        build(tmp_path)


def test_warning_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmarks.building

    shutil.copytree(benchmarks.building.SOURCES, tmp_path / "native")
    monkeypatch.setattr(benchmarks.building, "SOURCES", tmp_path / "native")
    path = tmp_path / "native" / "limit_broker.c"
    path.write_text(path.read_text().replace("int port = 0,", "int unused, port = 0,"))
    with pytest.raises(BuildError, match="unused"):
        build(tmp_path / "bin")


def test_ladder_goes_down_where_its_first_rung_is_too_high(
    tools: NativeTools, limit: Serving
) -> None:
    generator = _generator(tools, limit, "--engines", "20")
    try:
        generator.run("reg:herd")
        report = generator.run("lad:900000:2:0.05")
        assert 0 < report["highest_rate"] < 900_000
        assert report["too_high"] <= 2 * report["highest_rate"]
    finally:
        generator.end()


def test_limit_counts_numbers_that_do_not_follow_and_frames_that_it_does_not_know(
    limit: Serving,
) -> None:
    with socket.create_connection(("127.0.0.1", int(limit.place[1]))) as engine:
        engine.sendall(b"NewEngine:e1:7:v=1\nHeartBeat:e1:8\nHeartBeat:e1:10:rtt=3\nHeart")
        engine.sendall(b"Beat:e2:9\nDance\n")
        wait_until("all to be read", lambda: limit.stats()["unknown"] == 2, 30)
        stats = limit.stats()
    assert (stats["registered"], stats["heartbeats"], stats["missed"]) == (1, 1, 1)


def test_ack_of_another_number_is_a_stray(tools: NativeTools) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        command = [
            str(tools.load_generator),
            "--port",
            str(broker.getsockname()[1]),
            "--engines",
            "1",
        ]
        with subprocess.Popen(
            [*command, "--phases", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as generator:
            assert generator.stdin is not None
            assert generator.stdout is not None
            generator.stdin.write("reg:herd\nidle:0.3\n")
            generator.stdin.flush()
            engine, _ = broker.accept()
            with engine:
                engine.recv(1024)
                engine.sendall(b"SUCCESS:Registered\nACK:1\nACK:3\nACK:4\nPI")
                generator.stdout.readline()
                engine.sendall(b"NG\n")
                totals = json.loads(generator.stdout.readline())["totals"]
            generator.stdin.close()
    assert (totals["acks"], totals["strays"], totals["pings"]) == (2, 1, 1)
