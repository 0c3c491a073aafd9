"""From where engines connect: what can be asked for, and whose addresses these are."""

from __future__ import annotations

import pytest
from twisted.internet.testing import MemoryReactorClock

from services.engine.options import Options
from services.engine.plugin import engine_program
from services.engine.sources import SEVERAL, own_addresses, problem_of, spread
from tests.services.engine.test_options import mistake, parsed
from transports import URI

BROKER = "--broker=tcp://127.0.0.1:1337"
OTHERS = "192.0.2.1"
"""An address that is kept for documentation, and no machine's."""


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.2", ["127.0.0.2"]),
        ("::1", ["::1"]),
        ("127.0.0.2,127.0.0.9", ["127.0.0.2", "127.0.0.9"]),
        ("127.0.0.2, 127.0.0.4/31", ["127.0.0.2", "127.0.0.4", "127.0.0.5"]),
        ("127.0.1.0/30", ["127.0.1.1", "127.0.1.2"]),
        ("127.0.0.9/32", ["127.0.0.9"]),
    ],
)
def test_addresses_and_prefixes_are_read(text: str, addresses: list[str]) -> None:
    assert list(own_addresses(text)) == addresses
    assert parsed(BROKER, f"--source={text}").sources == addresses
    assert parsed(BROKER, ENGINE_SOURCE=text).sources == addresses


def test_prefix_may_mean_many_addresses_but_not_any_number() -> None:
    assert len(own_addresses("127.0.0.0/22")) == SEVERAL - 2
    with pytest.raises(ValueError, match="more than 1024 addresses"):
        own_addresses("127.0.0.0/21")


def test_each_address_counts_once_however_often_it_is_given() -> None:
    options = parsed(BROKER, "--source=127.0.0.2,127.0.0.3", "--source=127.0.0.3,127.0.0.2")
    assert options.sources == ["127.0.0.2", "127.0.0.3"]
    assert parsed(BROKER).sources == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((BROKER, "--source=lo"), "--source: 'lo' is neither an address nor a prefix"),
        ((BROKER, "--source="), "--source: '' is neither"),
        ((BROKER, "--source=127.0.0.2,"), "'' is neither an address"),
        ((BROKER, "--source=127.0.0.1/8"), "--source: '127.0.0.1/8' is neither"),
        ((BROKER, "--source=10.0.0.0/8"), "--source: '10.0.0.0/8' has more than 1024"),
        (
            (BROKER, "--source=127.0.0.0/22", "--source=127.0.4.0/22"),
            "--source: more than 1024 addresses",
        ),
        (("--broker=ipc:///run/b", "--source=127.0.0.2"), "only tcp has addresses to connect from"),
        (("--broker=fault+inproc://b", "--source=127.0.0.2"), "only tcp has"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in mistake(capfd, *arguments)


def test_only_addresses_of_this_machine_have_no_problem() -> None:
    assert problem_of("127.0.0.2") is None
    assert problem_of(OTHERS) == f"{OTHERS} is not an address of this machine"


def test_program_does_not_start_from_an_address_that_is_not_ours(
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = Options({})
    options.parseOptions([BROKER, f"--source=127.0.0.2,{OTHERS}", "--count=2"])
    with pytest.raises(SystemExit) as caught:
        engine_program(MemoryReactorClock(), options)
    assert caught.value.code == 78
    assert (
        capfd.readouterr().err == f"engine: --source: {OTHERS} is not an address of this machine\n"
    )


def test_broker_is_dialled_as_it_is_without_sources() -> None:
    uri = URI.parse("tcp://127.0.0.1:1337?framing=lines")
    assert spread(uri, []) == [uri]
    assert [str(each) for each in spread(uri, ["127.0.0.2", "127.0.0.3"])] == [
        "tcp://127.0.0.1:1337?framing=lines&source=127.0.0.2",
        "tcp://127.0.0.1:1337?framing=lines&source=127.0.0.3",
    ]
