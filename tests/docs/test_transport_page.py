"""The how-to of a transport of one's own shows the package that is there."""

from __future__ import annotations

import io
import re
import types

import pytest
from attrs import fields
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from tests.docs.page import ROOT, Page
from transports import URI, ITransport
from transports.conformance import LAWS, TIMEOUT, Profile, Subject
from transports.conformance.report import Report

PAGE = Page.of("docs/how-to/transport-of-your-own.md")
EXAMPLE = ROOT / "examples" / "brokerproto-rendezvous"
FILES = [
    "pyproject.toml",
    "brokerproto_rendezvous.py",
    "tests/test_laws.py",
    "tests/trial_laws.py",
]


def consoles() -> list[str]:
    return [block.text for block in PAGE.blocks if block.info == "console"]


@pytest.mark.parametrize("name", FILES)
def test_shown_file_is_that_of_the_package(name: str) -> None:
    text = (EXAMPLE / name).read_text(encoding="utf-8")
    assert [block.text for block in PAGE.blocks if block.text == text] == [text]


def test_every_file_of_the_package_is_named() -> None:
    [tree] = [block.text for block in PAGE.blocks if block.info == "text"]
    found = {
        str(path.relative_to(EXAMPLE))
        for path in EXAMPLE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(tree.split()[1:]) == found


def test_attributes_of_the_interface_and_of_the_profile_are_all_told() -> None:
    rows = PAGE.table("name", "what it is")
    assert [row[0].partition("(")[0] for row in rows] == list(ITransport)
    rows = PAGE.table("attribute", "what it declares", "without it")
    assert [row[0] for row in rows] == [field.name for field in fields(Profile)]
    assert Profile().buffered_bytes == 64 * 1024 * 1024


def test_numbers_are_those_of_the_kit() -> None:
    assert f"is written down as {len(LAWS)} laws" in PAGE.text
    assert f"more than its {TIMEOUT:g} seconds" in PAGE.text


def test_law_that_is_said_to_be_broken_is_broken_in_these_words() -> None:
    [left_out] = re.findall(r"the line `(.+)` left out", PAGE.text)
    source = (EXAMPLE / "brokerproto_rendezvous.py").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line.strip() != left_out]
    assert len(lines) == len(source.splitlines()) - 1
    module = types.ModuleType("rendezvous_without_a_line")
    exec(compile("\n".join(lines), "rendezvous", "exec"), module.__dict__)
    [law] = [law for law in LAWS if law.name == "unknown-option"]
    out = io.StringIO()
    subject = Subject(Clock(), module.transport, URI.parse("rendezvous:///tmp/broker"))
    ensureDeferred(Report(out, coloured=False).run([law], subject, 1)).addErrback(
        lambda failure: failure.trap(SystemExit)
    )
    command = "$ python -m transports.conformance rendezvous:///tmp/broker --law unknown-option\n"
    assert command + out.getvalue() in consoles()
