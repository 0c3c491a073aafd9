"""/openapi.json and /: the control API as it describes itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import jsonschema_rs
import pytest
import schemathesis
from twisted.web.resource import IResource

from services.broker.control.accepted import KEY_HEADER
from services.broker.control.channel import PATIENCE
from services.broker.control.endpoints import Answer, Asked, Endpoint, Endpoints
from services.broker.control.openapi import REFUSALS, openapi_document
from services.broker.control.parameters import Matching, Parameter
from services.broker.control.routes import ENDPOINTS, ControlAPI
from services.broker.control.site import RATE
from services.broker.control.sources import BURST_SECONDS
from services.program.values import OneOf, WholeNumber
from tests.services.broker.controlled import Controlled, request, treq_over
from tests.services.broker.described import DOCUMENT, resolved, valid

TABLE = list(ENDPOINTS)
PARAMETERS = [
    pytest.param(endpoint, name, parameter, id=f"{endpoint.path} {name}")
    for endpoint in TABLE
    for name, parameter in endpoint.parameters.items()
]


def test_document_is_one_of_openapi() -> None:
    schema: Any = schemathesis.openapi.from_dict(DOCUMENT)
    schema.validate()
    operations = [each.ok().label for each in schema.get_all_operations()]
    assert len(operations) == 2 * len(TABLE)


def test_document_is_what_is_served() -> None:
    assert Controlled().get("/openapi.json") == DOCUMENT


def test_paths_are_those_of_the_routes() -> None:
    routed = [rule.rule for rule in ControlAPI.app.url_map.iter_rules()]
    assert routed == [each.path for each in TABLE]
    assert list(DOCUMENT["paths"]) == [each.template for each in TABLE]


def test_paths_are_listed_at_the_root() -> None:
    listed = Controlled().get("/")
    assert listed["openapi"] == "/openapi.json"
    assert [each["path"] for each in listed["paths"]] == list(DOCUMENT["paths"])
    assert all(each["summary"].endswith(".") for each in listed["paths"])


def test_a_parameter_that_is_added_is_read_and_described() -> None:
    endpoints = Endpoints()

    class API:
        app = endpoints.app

        @endpoints.add(
            "/things/<thing>",
            Answer("Status", errors=(404,)),
            thing=Parameter("Which.", place="path"),
            colour=Parameter("Of it.", OneOf(("red", "blue")), "red"),
            size=Parameter("Of it.", WholeNumber(1, 9), most=2, example=3),
            Tag=Parameter("On it.", Matching("[a-z]+", "a tag"), place="header"),
        )
        def thing(self, asked: Asked) -> dict[str, Any]:
            """Tell of a thing.

            In full.
            """
            return {"status": f"{asked['thing']} {asked['colour']} {asked['size']} {asked['Tag']}"}

    controlled = Controlled()
    controlled.treq = treq_over(cast(IResource, API().app.resource()))
    asked = controlled.ask("/things/x?size=2&size=3", headers={"Tag": "abc"})
    assert asked.is_answered
    (item,) = openapi_document(endpoints)["paths"].values()
    assert item["get"]["summary"] == "Tell of a thing."
    assert item["get"]["description"] == "In full."
    assert {"200", "400", "404", "500"} <= set(item["get"]["responses"])
    assert [(each["name"], each["in"], each["required"]) for each in item["parameters"]] == [
        ("thing", "path", True),
        ("colour", "query", False),
        ("size", "query", False),
        ("Tag", "header", False),
    ]
    assert [each["schema"] for each in item["parameters"]] == [
        {"type": "string"},
        {"type": "string", "enum": ["red", "blue"], "default": "red"},
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}, "maxItems": 2},
        {"type": "string", "pattern": "^[a-z]+$"},
    ]
    assert item["parameters"][2]["example"] == [3]


def accepts(parameter: Parameter, value: object) -> bool:
    try:
        parameter.parse(str(value))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("endpoint", "name", "parameter"), PARAMETERS)
def test_a_parameter_accepts_what_its_description_says(
    endpoint: Endpoint, name: str, parameter: Parameter
) -> None:
    described = DOCUMENT["paths"][endpoint.template]["parameters"]
    (shown,) = [each for each in described if each["name"] == name]
    schema = shown["schema"]
    assert shown["description"].endswith(".")
    assert jsonschema_rs.is_valid(schema, shown["example"])
    if "default" in schema:
        assert jsonschema_rs.is_valid(schema, schema["default"])
    one = schema.get("items", schema)
    example = shown["example"][0] if "items" in schema else shown["example"]
    assert accepts(parameter, example)
    if one["type"] == "integer":
        low, high = one["minimum"], one["maximum"]
        judged = [accepts(parameter, n) for n in (low - 1, low, high, high + 1)]
        assert judged == [False, True, True, False]
    for word in one.get("enum", ()):
        assert accepts(parameter, word)
        assert not accepts(parameter, f"{word} ")


def described_answers() -> Iterator[Any]:
    for path, item in DOCUMENT["paths"].items():
        for status, response in item["get"]["responses"].items():
            yield pytest.param(status, resolved(response), id=f"{path} {status}")


@pytest.mark.parametrize(("status", "response"), list(described_answers()))
def test_an_answer_has_an_example_that_fits(status: str, response: Any) -> None:
    assert response["description"]
    (content,) = response["content"].values()
    assert valid(content["schema"]["$ref"].rpartition("/")[2], content["example"])
    if status != "200":
        assert content["example"]["error"]["status"] == int(status)


def example_of_answer(path: str) -> Any:
    response = DOCUMENT["paths"][path]["get"]["responses"]["200"]
    return response["content"]["application/json"]["example"]


def test_examples_are_records_that_can_be() -> None:
    command = example_of_answer("/commands/{command_id}")
    states = command["states"]
    totals = {"silent": states["queued"] + states["written"], "failed": states["failed"]}
    settled = states["done"] + states["failed"] + states["lost"]
    assert command["targets"] == sum(states.values())
    assert command["settled"] is (settled == command["targets"])
    for name, total in totals.items():
        assert len(command[name]) == command[f"{name}_total"] == total
    for step in ("failed", "lost"):
        assert (command["latencies"][step] is None) is (states[step] == 0)
    account = example_of_answer("/engines/{engine_id}")["account"]
    assert account["last"] - account["first"] == account["counted"] + account["missed"]
    stats = example_of_answer("/stats")
    assert stats["opened"] == stats["closed"] + stats["connections"]
    assert stats["registrations"] == stats["registered"] + stats["left"] + stats["lost"]
    assert sum(stats["causes"].values()) == stats["left"] + stats["lost"]


def test_it_is_said_that_nobody_has_to_say_who_they_are() -> None:
    assert DOCUMENT["security"] == []


def test_get_and_post_are_described_alike() -> None:
    for item in DOCUMENT["paths"].values():
        get, post = ({**item[method], "operationId": None} for method in ("get", "post"))
        links = [each["responses"]["200"].pop("links", None) for each in (get, post)]
        assert get == post
        assert json.dumps(links[0]).replace("get_", "post_") == json.dumps(links[1])


def test_every_member_of_every_answer_is_explained() -> None:
    def unexplained(schema: Any, where: str) -> Iterator[str]:
        if "$ref" not in schema and "anyOf" not in schema and "description" not in schema:
            yield where
        for name, member in schema.get("properties", {}).items():
            yield from unexplained(member, f"{where}/{name}")
        if "items" in schema:
            yield from unexplained(schema["items"], f"{where}/*")

    schemas = dict(DOCUMENT["components"]["schemas"])
    del schemas["OpenAPI"]
    assert [each for name in schemas for each in unexplained(schemas[name], name)] == []


HOW = {
    400: request("/engines?limit=x"),
    403: request("/kill", headers={"Origin": "http://evil.example"}),
    404: request("/kill?engine=nobody"),
    408: request("/healthz")[:-1],
    409: request("/kill?expect=4"),
    413: request("/kill", "POST", body=b"x" * 17_000),
    421: request("/kill", host="evil.example"),
    422: request("/kill?code=3", headers={KEY_HEADER: "key-1"}),
    429: request("/healthz") * (RATE * BURST_SECONDS + 1),
    500: request("/stats"),
    503: request("/readyz"),
}


def test_every_refusal_is_shown_how_to_provoke() -> None:
    assert set(HOW) == set(REFUSALS) == {int(each) for each in DOCUMENT["components"]["responses"]}


@pytest.mark.parametrize("status", HOW)
def test_an_error_is_told_as_in_its_example(status: int, logged_failures: list[Any]) -> None:
    controlled = Controlled("a", "b", "c")
    controlled.broker.boot = controlled.broker.ledger.boot = "2ace9095"
    controlled.answer_to("/dowork", headers={KEY_HEADER: "key-1"})
    controlled.ready = False
    broken: Any = controlled.broker.detector
    broken.late = None
    wire = controlled.wire()
    wire.send(HOW[status])
    controlled.clock.advance(PATIENCE)
    answer = wire.answers[-1]
    wire.lose()
    logged_failures.clear()
    (content,) = DOCUMENT["components"]["responses"][str(status)]["content"].values()
    told, was = content["example"]["error"], answer.error
    assert answer.status == status
    assert controlled.site.refused == {status: 1}
    assert ("Retry-After" in answer.headers) is (
        "Retry-After" in DOCUMENT["components"]["responses"][str(status)].get("headers", ())
    )
    assert valid("Error", answer.json)
    if status == 500:
        assert len(told["error_id"]) == len(was["error_id"])
        was["error_id"] = told["error_id"]
    assert was == told
