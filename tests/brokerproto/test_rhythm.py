"""Engines on the same terms beat by one object."""

from __future__ import annotations

from random import Random
from typing import Any

from brokerproto.engine_session import EngineSession
from brokerproto.life import Life
from brokerproto.messages import Success
from brokerproto.rhythm import Rhythm
from tests.brokerproto.drawn import Drawn

TERMS = Success(v=1, interval=10, timeout=40, ack=1, herd=8, boot="b0")


def test_same_terms_are_one_object_whosever_epoch_and_token_they_came_with() -> None:
    random = Random(1)
    one = Rhythm.of(random, Success(**{**_fields(TERMS), "epoch": 7, "resume": "ab" * 16}))
    other = Rhythm.of(random, Success(**{**_fields(TERMS), "epoch": 8, "resume": "cd" * 16}))
    assert one is other
    assert one.success == TERMS
    assert Rhythm.of(Random(1), TERMS) is not one
    assert Rhythm.of(random, Success(**{**_fields(TERMS), "interval": 11})) is not one


def _fields(success: Success) -> dict[str, Any]:
    return {
        name: getattr(success, name) for name in ("v", "interval", "timeout", "ack", "herd", "boot")
    }


def test_each_draws_for_itself_though_the_terms_are_shared() -> None:
    random = Drawn()
    sessions = [EngineSession(Life(f"e{n}", "a1"), 0.0, random) for n in range(2)]
    for now, session in enumerate(sessions, 1):
        session.receive_data(b"SUCCESS:Registered:v=1;interval=10;timeout=40;ack=1\n", now)
    assert random.ranges == [(0, 10), (0, 10)]
    assert [session.due for session in sessions] == [11.0, 12.0]
