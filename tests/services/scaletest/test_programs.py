"""The programs as processes, and the control API by HTTP: the scale test's own tools."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError

import pytest

from services.scaletest.programs import (
    ControlAPI,
    Program,
    ProgramError,
    clean_environment,
    wait_until,
)

ANYWHERE = ["--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"]


def test_waiting_ends_with_the_first_true_result() -> None:
    results = iter([None, 0, "", "there", "later"])
    assert wait_until("it", lambda: next(results), 5) == "there"
    assert next(results) == "later"


def test_waiting_in_vain_ends_with_one_sentence() -> None:
    asked: list[None] = []
    with pytest.raises(ProgramError, match=r"^pigs to fly: not within 0\.1 s$"):
        wait_until("pigs to fly", lambda: asked.append(None), 0.1)
    assert len(asked) > 1


def test_even_without_time_it_is_asked_once() -> None:
    assert wait_until("it", lambda: True, 0)


def test_programs_get_no_variable_that_would_set_them_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "BROKER_LISTEN", "ENGINE_COUNT"):
        monkeypatch.setenv(name, "nonsense")
    monkeypatch.setenv("PORTER", "kept")
    environment = clean_environment()
    assert environment["PORTER"] == "kept"
    assert not {"PORT", "BROKER_LISTEN", "ENGINE_COUNT"} & environment.keys()


@pytest.fixture
def started() -> Iterator[list[Program]]:
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.process.kill()
        program.process.wait()


@pytest.mark.e2e
def test_program_runs_says_where_and_ends(tmp_path: Path, started: list[Program]) -> None:
    broker = Program("broker", ANYWHERE, tmp_path)
    started.append(broker)
    address = broker.logged("address", "accepting engines on")
    assert address.startswith("tcp://127.0.0.1:")
    assert ControlAPI(broker.logged("address", "control API on")).ask("/healthz") == {
        "status": "ok"
    }
    assert broker.log_path == tmp_path / "broker.jsonl"
    assert broker.end() == 0
    assert broker.end() == 0
    # A field that is 0 is a field all the same.
    assert broker.logged("connections", "0 connections") == 0


@pytest.mark.e2e
def test_program_that_ends_instead_is_an_error_with_its_last_words(
    tmp_path: Path, started: list[Program]
) -> None:
    broker = Program("broker", ["--interval", "0"], tmp_path)
    started.append(broker)
    said = r"^the broker ended, and said: broker: --interval: '0' is not a whole number"
    with pytest.raises(ProgramError, match=said):
        broker.logged("address", "accepting engines on")
    assert broker.end() == 78


@pytest.mark.e2e
def test_program_that_does_not_end_is_killed(tmp_path: Path, started: list[Program]) -> None:
    environment = {"ENGINE_ID": "e", "NO_COLOR": "1"}
    engine = Program("engine", ["--port", "1"], tmp_path, environment=environment)
    started.append(engine)
    assert engine.logged("reason", "not registered as e: ").startswith("cannot connect to ")
    with pytest.raises(ProgramError, match=r"^the engine to say 'registered': not within 0\.1 s$"):
        engine.logged("epoch", "registered", seconds=0.1)
    engine.process.send_signal(signal.SIGSTOP)
    assert engine.end(seconds=0.2) == -signal.SIGKILL


def test_log_that_is_not_all_json_is_read_all_the_same(
    tmp_path: Path, started: list[Program]
) -> None:
    program = Program("engine", ["--nosuch"], tmp_path)
    started.append(program)
    program.process.wait(20)
    program.log_path.write_bytes(b'{"message": "one", "n": 1}\nTraceback \xff\n[2]\n')
    assert list(program.events()) == [
        {"message": "one", "n": 1},
        {"message": "Traceback \ufffd"},
        {"message": "[2]"},
    ]


class Answering(BaseHTTPRequestHandler):
    """Answers with what it was asked; below /error with an error."""

    def do_GET(self) -> None:
        self.send_response(404 if self.path.startswith("/error") else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"asked": self.path}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_control_api_is_asked_directly_and_its_parameters_are_escaped(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    api = ControlAPI(f"http://127.0.0.1:{server.server_port}")
    assert api.ask("/stats") == {"asked": "/stats"}
    assert api.ask("/kill", code=3, match="a*&b") == {"asked": "/kill?code=3&match=a%2A%26b"}


def test_errors_of_the_control_api_are_errors(server: HTTPServer) -> None:
    api = ControlAPI(f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(HTTPError) as caught:
        api.ask("/error")
    caught.value.close()
    assert isinstance(caught.value, OSError)
    assert caught.value.code == 404
