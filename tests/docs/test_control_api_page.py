"""The control API's reference shows what the code answers."""

from __future__ import annotations

import json
import re
import shlex
from http import HTTPStatus
from typing import Any

import pytest

from brokerproto.commands import COMMANDS_KEPT, ENTRIES_KEPT, Step
from brokerproto.fleet import ENDS_KEPT
from brokerproto.grammar import MAX_CODE, MAX_WORK_MS
from services.broker.control import accepted
from services.broker.control.channel import IDLE, MAX_HEAD, PATIENCE, ControlChannel
from services.broker.control.guard import MAX_BODY
from services.broker.control.openapi import REFUSALS
from services.broker.control.pages import SORTS
from services.broker.control.places import MOST, Places
from services.broker.control.process_view import PROCESS
from services.broker.control.routes import ENDPOINTS
from services.broker.control.site import RATE
from services.broker.control.sources import BURST_SECONDS, SOURCES_KEPT
from services.broker.control.views import NAMED, NAMED_IN_LIST, VIEWS
from tests.docs.page import ROOT, Page
from tests.services.broker.controlled import AUTHORITY, Answer, Controlled, request

PAGE = Page.of("docs/reference/control-api.md")

# Told by a clock, or by how long the real broker had been running.
VOLATILE = {
    *("age", "address", "rtt", "last", "counted", "latencies"),
    *("heartbeats", "reports", "uptime", "issued", "ended", "duration"),
    *("lag", "garbage", "cpu"),
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
        if option in ("-g", "-i"):
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


def told(output: str) -> tuple[list[str], Any]:
    """Divide what a curl prints: the headers, where it was asked for them, and the body."""
    head, _, body = output.partition("{")
    headers = [line for line in head.splitlines() if not line.startswith(("Date:", "Content-L"))]
    return headers, stable(json.loads("{" + body))


def printed(line: str, answer: Answer) -> tuple[list[str], Any]:
    """Give what the curl of `line` prints of an answer, as `told` does."""
    headers = [f"{name}: {value}" for name, value in answer.headers.items()]
    status = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\n"
    head = status + "\n".join(headers) + "\n\n" if "-i" in shlex.split(line) else ""
    return told(head + answer.body.decode())


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
        self._lives = 0
        boot = json.loads(examples()[0][1])["command"].partition("-")[0]
        self.broker.boot = self.broker.ledger.boot = boot
        for number in (1, 2, 3):
            self.start(f"engine-{number}")

    def start(self, engine_id: str) -> None:
        self._lives += 1
        self.register(engine_id, options=f":v=1;instance={self._lives};label-node=aks-1")

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
        assert told(output) == printed(line, answer), line


def test_replay_notices_what_is_not_so() -> None:
    _, output = examples()[0]
    line = "curl -i '127.0.0.1:8080/dowork?time=2000&wait=10'"
    answer = Replayed().answer(asked(line))
    assert told(output) == printed(line.replace("-i ", ""), answer)
    assert told(output) != printed(line, answer)
    assert told(output.replace("2000", "2001")) != printed(line.replace("-i ", ""), answer)
    assert told(output.replace('"lost": 0', '"gone": 0')) != told(output)
    assert told(output.replace('"lost": null', '"gone": null')) != told(output)


def test_paths_are_those_of_the_routes() -> None:
    rows = PAGE.table("path", "parameters", "answer")
    shown = {path.replace("<command>", "<command_id>").replace("<id>", "<engine_id>")
             for path, *_ in rows}  # fmt: skip
    assert shown == {endpoint.path for endpoint in ENDPOINTS}


@pytest.mark.parametrize("row", PAGE.table("path", "parameters", "answer"), ids=lambda row: row[0])
def test_parameters_are_those_that_the_path_takes(row: list[str]) -> None:
    path, parameters, _ = row
    path = path.replace("<command>", "x").replace("<id>", "engine-1")
    error = Replayed().answer(request(f"{path}?nonsense=1")).error
    takes = error["message"].partition("this path takes ")[2]
    shown = sorted(parameters.replace("`", "").split(", ")) if parameters else ["none"]
    assert sorted(takes.split(", ")) == shown


def test_limits_are_those_of_the_code() -> None:
    for text in (
        f"milliseconds of work, 0 to {MAX_WORK_MS} | {accepted.DEFAULT_WORK_MS} |",
        f"exit status, 0 to {MAX_CODE} | 0 |",
        f"`[!a-c]`; may be given {accepted.MAX_GLOBS} times",
        f"as in `node:aks-1`; may be given {accepted.MAX_GLOBS} times",
        f"a glob for ids; may be given {accepted.MAX_GLOBS} times",
        f"0 to {accepted.MAX_WAIT} | 0 |",
        f"it must reach, 0 to {accepted.MAX_EXPECTED} |",
        f"how many to show, 1 to {accepted.MAX_LIMIT} | {accepted.DEFAULT_LIMIT} |",
        f"The last {ENDS_KEPT} engines",
        f"only the first of these, 1 to {COMMANDS_KEPT}.",
        f"more than {ENTRIES_KEPT:,} engines",
        f"names at most {NAMED_IN_LIST} engines of each kind",
        f"at most {NAMED} of `silent_total`",
        f"at most {NAMED} of `failed_total`",
        f"the last {COMMANDS_KEPT} commands",
        f"more than {MAX_BODY} bytes",
        f"path, query and headers have\nmore than {MAX_HEAD} bytes",
    ):
        assert text in PAGE.text, text


def test_limits_of_the_network_are_those_of_the_code() -> None:
    rows = PAGE.section("Limits").table("what", "limit", "beyond")
    assert [row[1] for row in rows] == [
        f"{PATIENCE:.0f}", f"{PATIENCE:.0f}", f"{IDLE:.0f}", f"{PATIENCE:.0f}",
        str(MAX_HEAD), str(ControlChannel.maxHeaders), str(MAX_BODY),
        str(MOST), str(Places().share), f"{RATE}, after {RATE * BURST_SECONDS} at once",
    ]  # fmt: skip
    assert f"{SOURCES_KEPT} sources are remembered" in PAGE.text


def names_of(cells: list[str]) -> list[str]:
    """List the names in the first column of a table."""
    return [name.strip("` ") for cell in cells for name in re.split(r",| or ", cell)]


@pytest.mark.parametrize(
    ("title", "view", "elsewhere"),
    [
        ("Commands", "Command", {"silent_total", "failed_total"}),
        ("Engines", "Engine", {"id"}),
        ("History", "End", {"id"}),
        ("Stats", "Stats", set()),
    ],
)
def test_every_member_is_explained(title: str, view: str, elsewhere: set[str]) -> None:
    rows = PAGE.section(title).table("member", "meaning")
    explained = names_of([row[0] for row in rows])
    assert len(explained) == len(set(explained))
    assert set(explained) | elsewhere == set(VIEWS[view]["properties"])


def test_counts_stand_in_one_order_everywhere() -> None:
    order = list(VIEWS["Stats"]["properties"])
    rows = PAGE.section("Stats").table("member", "meaning")
    assert names_of([row[0] for row in rows]) == order
    (output,) = [output for line, output in examples() if line.endswith("/stats")]
    assert list(json.loads(output)) == order
    assert list(Replayed().answer(request("/stats")).json) == order


def test_every_member_of_the_process_is_explained() -> None:
    rows = PAGE.section("Stats").table("member of process", "meaning")
    assert names_of([row[0] for row in rows]) == list(PROCESS["properties"])


@pytest.mark.parametrize(
    ("title", "path"), [("Commands", "/dowork"), ("Engines", "/engines"), ("History", "/history")]
)
def test_every_parameter_is_explained(title: str, path: str) -> None:
    rows = PAGE.section(title).table("parameter", "value", "where it is missing")
    (endpoint,) = [each for each in ENDPOINTS if each.path == path]
    taken = {name for name, each in endpoint.parameters.items() if each.place == "query"}
    assert set(names_of([row[0] for row in rows])) - {"code"} == taken


def test_every_sort_is_named() -> None:
    rows = PAGE.section("Engines").table("parameter", "value", "where it is missing")
    (value,) = [row[1] for row in rows if row[0] == "sort"]
    shown = re.findall(r"`(\w+)`", f"`{value.partition(';')[0]}`")
    assert shown == [name for name in SORTS if name[0] != "-"]


def test_every_step_is_explained() -> None:
    steps = PAGE.section("Commands").table("step", "meaning")
    assert set(names_of([row[0] for row in steps])) == {step.value for step in Step}


def test_every_error_is_listed() -> None:
    rows = PAGE.section("Errors").table("status", "because of")
    assert {int(row[0]) for row in rows} == {*REFUSALS, 405}


def test_titles_are_those_that_the_code_cites() -> None:
    cited = set()
    for path in (*(ROOT / "brokerproto").rglob("*.py"), *(ROOT / "services").rglob("*.py")):
        text = " ".join(path.read_text(encoding="utf-8").split())
        cited.update(re.findall(r'control API\'s reference, section "([^"]+)"', text))
    assert "Whom a command reaches" in cited
    assert cited <= set(PAGE.headings)
