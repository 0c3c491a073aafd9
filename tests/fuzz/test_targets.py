"""Every target over inputs that hypothesis draws, and over faults that it must notice."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fuzz.broker
import fuzz.broker_session
import fuzz.parameters
import fuzz.uri
import fuzz.wire
from brokerproto.account import Account
from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.engine_session import EngineSession
from brokerproto.framing import LineFramer
from brokerproto.messages import Heartbeat
from fuzz.mutation import Mutator, kept_inputs
from fuzz.targets import TARGETS, Check
from transports.uri import URI

INPUTS = {name: kept_inputs(name) for name in TARGETS}


@pytest.mark.fault("C029")
@pytest.mark.parametrize("name", TARGETS)
def test_no_mutated_input_breaks_its_target(name: str) -> None:
    check = TARGETS[name].load()

    @given(st.randoms(use_true_random=False), st.binary(max_size=100))
    def holds(random: Random, junk: bytes) -> None:
        check(Mutator(random, INPUTS[name]).mutated())
        check(junk)

    holds()


def test_a_mutator_repeats_itself_by_its_seed() -> None:
    inputs = INPUTS["broker-session"]
    one, two = (Mutator(Random(5), inputs) for _ in range(2))
    drawn = [one.mutated() for _ in range(50)]
    assert drawn == [two.mutated() for _ in range(50)]
    assert len(set(drawn)) > 25


# A target that nothing breaks is worth nothing.


def is_broken(check: Check, name: str) -> bool:
    for data in INPUTS[name]:
        try:
            check(data)
        except Exception:
            return True
    return False


def _one_more(self: LineFramer, limit: int) -> bytes | None:
    return NEXT_FRAME(self, limit + 1)


def _forgets_what_was_cut(self: LineFramer, data: bytes) -> None:
    self._data, self._start = data, 0


def _raises(self: Any, data: bytes, now: float) -> Any:
    if b"Odd" in data:
        raise KeyError(data)
    return RECEIVE[type(self)](self, data, now)


def _speaks_after_the_end(self: BrokerSession) -> bytes:
    return b"PING\n" if self.is_over else OWED(self)


def _beats_twice(self: EngineSession, now: float) -> None:
    BEAT(self, now)
    self._send(Heartbeat(self.life.engine_id, self.life.seq))


def _counts_twice(self: Account, seq: int, now: float, interval: float) -> Any:
    found = COUNT(self, seq, now, interval)
    self.missed += seq % 5 == 0
    return found


def _forgets_to_close(self: Broker, session: BrokerSession, *, reset: bool) -> None:
    if not reset:
        LOSE(self, session, reset=reset)
    elif session.carrier is not None:
        session.lose()


def _shouts(uri: URI) -> str:
    return STR(uri).replace("a", "A")


def _reads_anything(uri: bytes, accepted: Any) -> dict[str, Any]:
    return dict.fromkeys(accepted, uri)


NEXT_FRAME = LineFramer.next_frame
RECEIVE: dict[type[Any], Callable[..., Any]] = {
    BrokerSession: BrokerSession.receive_data,
    EngineSession: EngineSession.receive_data,
}
OWED, BEAT = BrokerSession.data_to_send, EngineSession._beat
COUNT, LOSE, STR = Account.count, Broker.lose, URI.__str__
FAULTS: list[tuple[str, Any, str, Callable[..., Any]]] = [
    ("wire", fuzz.wire, "encode", lambda message: b"Bye\n"),
    ("wire", LineFramer, "feed", _forgets_what_was_cut),
    ("broker-session", LineFramer, "feed", _forgets_what_was_cut),
    ("broker-session", BrokerSession, "receive_data", _raises),
    ("broker-session", BrokerSession, "data_to_send", _speaks_after_the_end),
    ("engine-session", EngineSession, "receive_data", _raises),
    ("engine-session", EngineSession, "_beat", _beats_twice),
    ("broker", Account, "count", _counts_twice),
    ("broker", Broker, "lose", _forgets_to_close),
    ("broker", BrokerSession, "receive_data", _raises),
    ("uri", URI, "__str__", _shouts),
    ("parameters", fuzz.parameters, "read_query", _reads_anything),
]


@pytest.mark.parametrize(
    ("name", "where", "what", "fault"),
    [pytest.param(*case, id=f"{case[0]}-{case[3].__name__}") for case in FAULTS],
)
def test_a_fault_is_noticed_by_the_kept_corpus_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, where: Any, what: str, fault: Callable[..., Any]
) -> None:
    check = TARGETS[name].load()
    assert not is_broken(check, name)
    monkeypatch.setattr(where, what, fault)
    assert is_broken(check, name)
