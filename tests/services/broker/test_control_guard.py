"""What a request must be before it is looked at: Host, origin, path, method, body."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs
from twisted.python.failure import Failure

from brokerproto.ledger import Ledger
from services.broker.control.guard import MAX_BODY
from tests.services.broker.controlled import AUTHORITY, Answer, Controlled, exchange, request

METHODS = ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "CONNECT", "get", "BREW"]
PATHS = ["/dowork", "/kill", "/commands/x", "/stats", "/engines", "/engines/a", "/healthz"]


def refused(raw: bytes, **options: Any) -> Answer:
    """Send a request that must do nothing, and give the answer."""
    controlled = Controlled("a", **options)
    answer = exchange(controlled, raw)
    assert answer.status >= 400
    assert controlled.did_nothing
    return answer


def accepted(raw: bytes, **options: Any) -> None:
    controlled = Controlled("a", **options)
    answer = exchange(controlled, raw)
    assert answer.status == 200, answer.body
    assert len(controlled.sent["a"]) == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:8080", "10.2.3.4:1", "[::1]", "[::1]:8080", "[fe80::1%25eth0]:80",
        "localhost", "LOCALHOST:8080", "localhost.:8080", "brokers-instruct",
        "brokers-instruct.default.svc.cluster.local:8080", "Control.Example", "control.example.:80",
    ],
)  # fmt: skip
def test_host_of_this_broker_is_served(host: str) -> None:
    accepted(request("/kill", host=host), extra_hosts=("control.EXAMPLE",))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "brokers-instruct.dev"]
)
def test_host_of_somebody_else_is_421(host: str) -> None:
    answer = refused(request("/kill", host=host))
    assert answer.status == 421
    assert host.partition(":")[0] in answer.error["message"]


@pytest.mark.parametrize("host", ["", "a b", "a,b", "a/b", "user@localhost", "[::1", "a:b", "ä"])
def test_host_that_is_none_is_400(host: str) -> None:
    assert refused(request("/kill", host=host)).status == 400


@pytest.mark.parametrize("hosts", [0, 2, 3])
def test_host_must_be_there_exactly_once(hosts: int) -> None:
    line = f"Host: {AUTHORITY}\r\n" * hosts
    assert refused(f"GET /kill HTTP/1.1\r\n{line}\r\n".encode()).status == 400


@pytest.mark.fault("C085")
def test_folded_host_is_400() -> None:
    raw = b"GET /kill HTTP/1.1\r\nHost: localhost\r\n evil.example\r\n\r\n"
    assert refused(raw).status == 400


def test_old_http_needs_a_host_too() -> None:
    assert refused(b"GET /kill HTTP/1.0\r\n\r\n").status == 400
    accepted(b"GET /kill HTTP/1.0\r\nHost: localhost\r\n\r\n")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("LOCALHOST.:8080", "http://localhost:8080"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "http://localhost:80"),
        ("localhost", "https://localhost"),
        ("localhost:443", "https://localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_own_page_may_ask(host: str, origin: str) -> None:
    accepted(request("/kill", "POST", {"Origin": origin}, host=host))
    accepted(
        request("/kill", headers={"Origin": origin, "Sec-Fetch-Site": "same-origin"}, host=host)
    )


@pytest.mark.fault("C075")
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "http://evil.example:8080", "null", "", "http://localhost", "http://localhost:8081",
        "https://127.0.0.1", "http://127.0.0.1:8080.evil.example", "127.0.0.1:8080",
        "http://127.0.0.1:8080/", "file://", "http://", "http://user@127.0.0.1:8080",
        "ftp://127.0.0.1:8080", "chrome-extension://127.0.0.1:8080", "http://[::1",
        "http://127.0.0.1:8080 http://evil.example", "http://127.0.0.1:99999", "\xff",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_origin_is_403(method: str, origin: str) -> None:
    assert refused(request("/kill", method, {"Origin": origin})).status == 403


@pytest.mark.fault("C075")
@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "None", "same-origin, none", "x"])
def test_other_fetch_site_is_403(site: str) -> None:
    assert refused(request("/kill", headers={"Sec-Fetch-Site": site})).status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_fetch_site_of_the_user_is_served(site: str) -> None:
    accepted(request("/kill", headers={"Sec-Fetch-Site": site}))


@pytest.mark.parametrize(
    "headers",
    [
        b"Origin: http://127.0.0.1:8080\r\nOrigin: http://evil.example\r\n",
        b"Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
        b"Origin: http://127.0.0.1:8080\r\nSec-Fetch-Site: cross-site\r\n",
    ],
)
def test_every_header_must_be_of_the_same_site(headers: bytes) -> None:
    raw = b"GET /kill HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + headers + b"\r\n"
    assert refused(raw).status == 403


@pytest.mark.fault("C077")
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_form_of_another_page_is_403(content_type: str) -> None:
    headers = {"Origin": "http://evil.example", "Content-Type": content_type}
    assert refused(request("/kill", "POST", headers, b"code=1")).status == 403


def test_preflight_of_another_page_is_403_and_allows_nothing() -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = refused(request("/kill", "OPTIONS", headers))
    assert answer.status == 403
    assert not any(name.startswith("Access-Control") for name in answer.headers)


@pytest.mark.fault("C082")
@pytest.mark.parametrize(
    "path",
    [
        "//", "/nosuch", "/KILL", "/Kill", "/kill/", "//kill", "/kill//", "///kill", "/./kill",
        "/x/../kill", "/../kill", "/kill/.", "/kill;x=1", "/kill#x", "/kill%2F", "/%2Fkill",
        "/%2fkill", "/kill%00", "/kill%20", "/%20/kill", "/kill%3Fcode=1", "/%FF", "/kill%C3",
        "/engines/", "/engines/a/", "/engines//a", "/engines/a%2F", "/engines/%2Fa", "/engines/%FF",
        "/engines/%ED%A0%80", "/commands/", "/stats/", "kill", "kill/x", "x/kill", "?code=1", "*",
        "http://127.0.0.1:8080/kill", "HTTP://127.0.0.1:8080/kill", "http:/kill", "http:///kill",
        "127.0.0.1:8080",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_unknown_path_is_404(path: str, method: str) -> None:
    assert refused(request(path, method)).status == 404


def test_encoded_letters_of_a_path_are_letters() -> None:
    accepted(request("/%6bill"))


@pytest.mark.fault("C073")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PATHS)
def test_other_method_is_405_and_says_which_are_allowed(method: str, path: str) -> None:
    controlled = Controlled("a")
    wire = controlled.wire()
    wire.send(request(path, method))
    raw = wire.transport.value()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, POST" in head
    assert (body == b"") is (method == "HEAD")
    assert controlled.did_nothing
    wire.lose()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/kill", "/dowork?time=1", "/stats", "/healthz"])
@pytest.mark.parametrize("length", [1, MAX_BODY])
def test_body_is_400(path: str, method: str, length: int) -> None:
    assert refused(request(path, method, body=b"x" * length)).status == 400


def test_body_that_is_empty_is_none() -> None:
    accepted(request("/kill", "POST", {"Content-Length": "0"}))
    accepted(request("/kill", "POST", {"Transfer-Encoding": "chunked"}) + b"0\r\n\r\n")


def test_parameters_in_a_form_are_not_taken() -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert refused(request("/kill?code=1", "POST", headers, b"code=2")).status == 400


@pytest.mark.parametrize("length", [MAX_BODY + 1, 17 * 1024])
def test_long_body_is_413_where_a_resource_stands_alone(length: int) -> None:
    controlled = Controlled("a")
    assert controlled.answer_to("/kill", "POST", data=b"x" * length).status == 413
    assert controlled.answer_to("/kill", "POST", data=b"x" * MAX_BODY).status == 400
    assert controlled.did_nothing


# Each is wrong in one way more than the next: the first fault is the answer.
FAULTS: list[tuple[int, dict[str, Any]]] = [
    (413, {"body": b"x" * (MAX_BODY + 1)}),
    (421, {"host": "evil.example"}),
    (403, {"headers": {"Origin": "http://127.0.0.1:1"}}),
    (404, {"target": "/kill/"}),
    (405, {"method": "PUT"}),
    (400, {"body": b"x"}),
    (400, {"target": "/kill?code=x"}),
    (404, {"target": "/kill?engine=nobody"}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_first_fault_in_order_is_the_answer(first: int) -> None:
    faults: dict[str, Any] = {"target": "/kill"}
    for _, fault in reversed(FAULTS[first:]):
        faults.update(fault)
    assert refused(request(**faults)).status == FAULTS[first][0]


@pytest.fixture
def logged(logged_failures: list[Failure]) -> Iterator[Sequence[LogEvent]]:
    """What is logged meanwhile; failures are expected."""
    with capturedLogs() as events:
        yield events
    logged_failures.clear()


class BrokenError(Exception):
    pass


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Controlled:
    """A broker whose ledger takes no command."""

    def fails(*_: object) -> None:
        raise BrokenError("a secret")

    monkeypatch.setattr(Ledger, "issue", fails)
    return Controlled("a")


@pytest.mark.fault("C086")
def test_failing_handler_is_500_with_an_id_that_the_log_has(
    broken: Controlled, logged: Sequence[LogEvent]
) -> None:
    answer = exchange(broken, request("/dowork?time=1"))
    assert answer.status == 500
    (event,) = logged
    assert event["error_id"] == answer.error["error_id"]
    assert isinstance(event["log_failure"].value, BrokenError)
    assert event["uri"] == "/dowork?time=1"
    assert b"secret" not in answer.body
    assert b"BrokenError" not in answer.body


@pytest.mark.fault("C086")
def test_every_failure_has_an_id_of_its_own(broken: Controlled, logged: Sequence[LogEvent]) -> None:
    wire = broken.wire()
    wire.send(request("/dowork") + request("/healthz") + request("/dowork"))
    first, between, second = wire.answers
    assert (first.status, between.status, second.status) == (500, 200, 500)
    assert [event["error_id"] for event in logged] == [
        first.error["error_id"],
        second.error["error_id"],
    ]
    wire.lose()


def test_error_has_one_shape() -> None:
    for raw in (
        request("/kill", host="evil.example"),
        request("/kill", "PUT"),
        request("/nosuch"),
        request("/kill", body=b"x"),
        request("/kill", body=b"x" * MAX_BODY * 2),
        request("/kill?code=x"),
        b"nonsense\r\n\r\n",
    ):
        answer = refused(raw)
        assert answer.headers["Content-Type"] == "application/json"
        assert list(answer.json) == ["error"]
        assert answer.error["status"] == answer.status
        assert answer.error["message"]
        assert set(answer.error) <= {"status", "message", "parameter"}
