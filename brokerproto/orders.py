"""Orders: what somebody wants done by which engines, and the one way to have it done.

An order is checked as a whole, and only then sent: one that is refused has reached
nobody, and is in no ledger. Rules: control API's reference, section "Commands".
"""

from __future__ import annotations

from random import Random

from attrs import field, frozen

from brokerproto.broker import Broker
from brokerproto.commands import Command, Key, Verb
from brokerproto.errors import UnexpectedReachError
from brokerproto.selection import Selection

__all__ = ["Order", "Placed"]


@frozen
class Placed:
    """What became of an order.

    Attributes:
        command: Its entry in the ledger.
        replayed: Whether the order had been placed before, and nothing was sent now.
    """

    command: Command
    replayed: bool


@frozen
class Order:
    """What is wanted of whom.

    Attributes:
        verb: ``DOWORK`` or ``KILL``.
        value: Milliseconds of work, 0 to 86,400,000; or an exit status, 0 to 255.
        selection: Of whom.
        expect: How many engines it must reach; None where that does not matter.
    """

    verb: Verb
    value: int
    selection: Selection = field(factory=Selection)
    expect: int | None = None

    def place(self, broker: Broker, random: Random, key: str | None = None) -> Placed:
        """Have it done, once for each key.

        Args:
            broker: Who sends it.
            random: Draws the share.
            key: Names this order; see `Key`. As long as the ledger keeps the command of
                an equal order under this key, that is the answer, and nobody is sent
                anything: neither the share is drawn again, nor are the engines counted.

        Raises:
            ValueError: `key` cannot be a key, or `value` is none that the verb can have.
            KeyReusedError: The ledger keeps another order's command under `key`.
            UnknownEngineError: An engine that it names is not registered.
            UnexpectedReachError: It would reach another number of engines than expected.
            NoMoreOrdersError: The broker drains.
        """
        named = None if key is None else Key(key, self)
        if named is not None:
            command = broker.ledger.known_by(named)
            if command is not None:
                return Placed(command, replayed=True)
        members = self.selection.members(broker.fleet, random)
        if self.expect is not None and self.expect != len(members):
            raise UnexpectedReachError(self.expect, len(members))
        return Placed(broker.order(self.verb, self.value, members, named), replayed=False)
