"""Who carries a program's connections."""

from __future__ import annotations

import select
import sys

import pytest
from twisted.python import usage

from services.broker.options import Options as BrokerOptions
from services.engine.options import Options as EngineOptions
from services.program.io_choice import carried, choose_io
from transports import URI

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the hub")


@linux
def test_broker_and_many_engines_take_the_hub_and_a_single_engine_does_not() -> None:
    broker, many, single = BrokerOptions({}), EngineOptions({}), EngineOptions({})
    broker.parseOptions([])
    many.parseOptions(["--count", "2"])
    single.parseOptions([])
    assert [each["io"] for each in (broker, many, single)] == ["hub", "hub", "reactor"]


@linux
@pytest.mark.parametrize("io", ["hub", "reactor"])
def test_choice_is_the_users(io: str) -> None:
    broker, engine = BrokerOptions({}), EngineOptions({"ENGINE_IO": io})
    broker.parseOptions(["--io", io])
    engine.parseOptions([])
    assert broker["io"] == engine["io"] == io


def test_without_epoll_nobody_takes_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    assert choose_io(None, many=True) == "reactor"
    with pytest.raises(usage.UsageError, match="only Linux has the hub"):
        choose_io("hub", many=True)


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1?io=hub"),
        ("ipc:///run/b", "ipc:///run/b?io=hub"),
        ("ipc:///run/b?mode=660", "ipc:///run/b?mode=660&io=hub"),
        ("tcp://127.0.0.1:1?io=reactor", "tcp://127.0.0.1:1?io=reactor"),
        ("inproc://b", "inproc://b"),
        ("fault+tcp://127.0.0.1:1?slice=1", "fault+tcp://127.0.0.1:1?slice=1"),
    ],
)
def test_address_says_more_than_the_choice(address: str, meant: str) -> None:
    uri = URI.parse(address)
    assert str(carried(uri, "hub")) == meant
    assert carried(uri, "reactor") == uri
