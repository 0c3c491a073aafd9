"""Who carries a program's connections."""

from __future__ import annotations

import select
import sys

import pytest

from services.broker.options import Options as BrokerOptions
from services.engine.options import Options as EngineOptions
from services.program.io_choice import carried
from transports import URI

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the hub")


def test_the_reactor_carries_where_nothing_is_said() -> None:
    broker, many = BrokerOptions({}), EngineOptions({})
    broker.parseOptions([])
    many.parseOptions(["--count", "2"])
    assert broker["io"] == many["io"] == "reactor"


@linux
@pytest.mark.parametrize("io", ["hub", "reactor"])
def test_choice_is_the_users(io: str) -> None:
    broker, engine = BrokerOptions({}), EngineOptions({"ENGINE_IO": io})
    broker.parseOptions(["--io", io])
    engine.parseOptions([])
    assert broker["io"] == engine["io"] == io


def test_without_epoll_the_hub_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    with pytest.raises(SystemExit) as ended:
        BrokerOptions({}).parseOptions(["--io", "hub"])
    assert ended.value.code == 78
    assert capfd.readouterr().err.startswith("broker: --io: only Linux has the hub ")


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
