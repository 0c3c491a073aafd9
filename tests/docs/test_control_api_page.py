"""The control API's reference shows what the code answers."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from attrs import fields

from brokerproto.commands import COMMANDS_KEPT, Step
from brokerproto.grammar import MAX_CODE, MAX_WORK_MS
from brokerproto.observer import Stats
from services.broker.control import routes
from services.broker.control.guard import MAX_BODY
from services.broker.control.views import NAMED
from tests.docs.page import Page
from tests.services.broker.controlled import AUTHORITY, Answer, Controlled, request

PAGE = Page.of("docs/reference/control-api.md")

# Told by a clock, or by how long the real broker had been running.
VOLATILE = {
    *("age", "address", "rtt", "last", "counted", "latencies"),
    *("heartbeats", "reports", "uptime"),
}


def examples() -> list[tuple[str, str]]:
    """List the command lines with what they print."""
    parts = [
        part
        for block in PAGE.blocks
        if block.info == "console"
        for part in block.text.split("$ ")[1:]
    ]
    return [(line, output) for line, _, output in (part.partition("\n") for part in parts)]


def asked(line: str) -> bytes:
    """Write down the request that a curl of these options sends."""
    curl, *words = shlex.split(line)
    assert curl == "curl"
    method, body, headers, host = "GET", b"", {}, AUTHORITY
    while words[0].startswith("-"):
        option = words.pop(0)
        if option == "-g":
            continue
        value = words.pop(0)
        if option == "-X":
            method = value
        elif option == "-d":
            method, body = "POST", value.encode()
        elif value.startswith("Host: "):
            host = value.removeprefix("Host: ")
        else:
            name, _, headers[name] = value.partition(": ")
    (url,) = words
    assert url.startswith(AUTHORITY)
    return request(url.removeprefix(AUTHORITY), method, headers, body, host)


def stable(value: Any) -> Any:
    """Keep of an answer what does not change from run to run, and every name."""
    if isinstance(value, dict):
        return {
            name: ([*item] if isinstance(item, dict) else "a number, or text")
            if name in VOLATILE
            else stable(item)
            for name, item in value.items()
        }
    return [stable(item) for item in value] if isinstance(value, list) else value


class Replayed(Controlled):
    """The broker of the page, and its three engines, which do as they are told."""

    def __init__(self) -> None:
        super().__init__()
        boot = json.loads(examples()[0][1])["command"].partition("-")[0]
        self.broker.boot = self.broker.ledger.boot = boot
        for number in (1, 2, 3):
            self.start(f"engine-{number}")

    def start(self, engine_id: str) -> None:
        self.register(engine_id, options=f":v=1;instance={len(self.sent)}")

    def answer(self, raw: bytes) -> Answer:
        wire = self.wire()
        wire.send(raw)
        if not wire.answers:
            self.obey()
        (answer,) = wire.answers
        wire.lose()
        # Whoever was not waited for is done a moment later.
        self.obey()
        return answer

    def obey(self) -> None:
        for engine in list(self.engines.values()):
            for command in engine.commands:
                engine.frames.remove(command)
                name = command.partition("command=")[2]
                if command.startswith("DOWORK"):
                    engine.says(
                        *(f"Report:{name}:{state}" for state in ("received", "started", "done"))
                    )
                else:
                    engine.says(f"Report:{name}:done", "Bye:reason=killed")
                    self.broker.lose(engine.session, reset=False)
                    self.start(engine.engine_id)
        self.clock.advance(0)


def test_examples_are_what_the_broker_answers() -> None:
    lines = examples()
    assert len(lines) > 12
    broker = Replayed()
    for line, output in lines:
        answer = broker.answer(asked(line))
        assert output.isascii()
        assert stable(json.loads(output)) == stable(answer.json), line


def test_replay_notices_what_is_not_so() -> None:
    _, output = examples()[0]
    told = json.loads(output)
    answer = Replayed().answer(asked("curl '127.0.0.1:8080/dowork?time=2001&wait=10'"))
    assert stable(told) != stable(answer.json)
    del told["latencies"]["lost"]
    answer = Replayed().answer(asked("curl '127.0.0.1:8080/dowork?time=2000&wait=10'"))
    assert stable(told) != stable(answer.json)


def test_paths_are_those_of_the_routes() -> None:
    rows = PAGE.table("path", "parameters", "answer")
    told = {path.replace("<command>", "<command_id>").replace("<id>", "<engine_id>")
            for path, *_ in rows}  # fmt: skip
    assert told == {rule.rule for rule in routes.ControlAPI.app.url_map.iter_rules()}


@pytest.mark.parametrize("row", PAGE.table("path", "parameters", "answer"), ids=lambda row: row[0])
def test_parameters_are_those_that_the_path_takes(row: list[str]) -> None:
    path, parameters, _ = row
    path = path.replace("<command>", "x").replace("<id>", "engine-1")
    error = Replayed().answer(request(f"{path}?nonsense=1")).error
    takes = error["message"].partition("this path takes ")[2]
    told = sorted(parameters.replace("`", "").split(", ")) if parameters else ["none"]
    assert sorted(takes.split(", ")) == told


def test_limits_are_those_of_the_code() -> None:
    for told in (
        f"milliseconds of work, 0 to {MAX_WORK_MS} | {routes.DEFAULT_WORK_MS} |",
        f"exit status, 0 to {MAX_CODE} | 0 |",
        f"may be given {routes.MAX_GLOBS} times",
        f"0 to {routes.MAX_WAIT} | 0 |",
        f"at most {NAMED} of `silent_total`",
        f"at most {NAMED} of `failed_total`",
        f"the last {COMMANDS_KEPT} commands",
        f"more than {MAX_BODY} bytes",
    ):
        assert told in PAGE.text, told


def test_every_member_and_every_step_is_explained() -> None:
    explained = PAGE.section("Stats").table("member", "meaning")
    names = {name.strip("` ") for row in explained for name in row[0].split(",")}
    assert names == {field.name for field in fields(Stats)} | {
        "uptime", "boot", "interval", "timeout"
    }  # fmt: skip
    steps = PAGE.section("Commands").table("step", "meaning")
    assert {name.strip("` ") for row in steps for name in row[0].split(",")} == {
        step.value for step in Step
    }
