"""An engine's session, and the broker's words put into its ear one by one."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from brokerproto.engine_session import EngineEvent, EngineSession
from brokerproto.life import Life, Wishes
from tests.brokerproto.drawn import Drawn

GRANTED = "SUCCESS:Registered:v=1;interval=10;timeout=40;ack=1;herd=1"
"""What our broker answers to an engine that asks for acks."""


class Conversation:
    """One conversation of an engine, at a time that the test sets.

    Args:
        random: Draws the schedule; by default always the longest pause.
        life: Whose conversation; by default a new engine ``e``.
        wishes: What it asks for.

    Attributes:
        now: When things happen; it begins at 0.
        session: The session under test.
    """

    def __init__(
        self, random: Random | None = None, life: Life | None = None, wishes: Wishes | None = None
    ) -> None:
        self.now = 0.0
        self.life = Life("e", "a1") if life is None else life
        self.session = EngineSession(self.life, 0.0, random or Drawn(), wishes or Wishes())

    @classmethod
    def opened(
        cls,
        success: str = GRANTED,
        random: Random | None = None,
        life: Life | None = None,
    ) -> Conversation:
        """Begin one that is registered at 0, and has said all it had to say."""
        conversation = cls(random, life)
        conversation.hears(success)
        assert conversation.session.is_open
        conversation.says()
        return conversation

    def hears(self, *frames: str) -> Sequence[EngineEvent]:
        """Have the broker say whole frames, all in one segment."""
        data = "".join(f"{frame}\n" for frame in frames).encode()
        return self.session.receive_data(data, self.now) or []

    def says(self) -> list[str]:
        """Take the frames that the engine says."""
        said = self.session.data_to_send().decode()
        assert said == "" or said.endswith("\n")
        return said.splitlines()

    def at(self, now: float) -> list[str]:
        """Let it be `now`, have the session do what is due, and take what it says."""
        self.now = now
        self.session.tick(now)
        return self.says()

    def sleeps_until_due(self) -> list[str]:
        """Let it be when the session has to do something, and take what it says."""
        return self.at(self.session.due)
