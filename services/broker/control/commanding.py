"""How a request becomes a command, and how its answer waits for the command's end."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from brokerproto.broker import Broker
from brokerproto.commands import Command, Verb
from brokerproto.errors import (
    KeyReusedError,
    NoMoreOrdersError,
    UnexpectedReachError,
    UnknownEngineError,
)
from brokerproto.ledger import Ledger
from brokerproto.orders import Order, Placed
from brokerproto.selection import Selection
from services.broker.control.accepted import KEY_HEADER
from services.broker.control.answers import ControlError
from services.broker.control.views import NAMED_IN_LIST, VALUE_NAMES, command_view
from services.broker.control.wall_clock import WallClock
from services.program.values import quoted

__all__ = ["place", "settled", "unknown_engine", "views_of"]

_ENTRIES_AT_ONCE = 5000
"""How many engines' entries are summed up before the reactor has its turn."""


def place(verb: Verb, asked: Mapping[str, Any], broker: Broker, random: Random) -> Placed:
    """Place the order that a request asks for.

    Raises:
        ControlError: 404, 409, 422 or 503; nobody was sent anything.
    """
    selection = Selection(
        tuple(asked["engine"]), tuple(asked["match"]), tuple(asked["label"]), asked["share"]
    )
    order = Order(verb, asked[VALUE_NAMES[verb]], selection, asked["expect"])
    try:
        return order.place(broker, random, asked[KEY_HEADER])
    except UnknownEngineError as error:
        raise unknown_engine(error.engine_id) from None
    except UnexpectedReachError as error:
        raise ControlError(
            409, str(error), expected=error.expected, targets=error.targets
        ) from None
    except NoMoreOrdersError as error:
        raise ControlError(503, str(error)) from None
    except KeyReusedError as error:
        raise ControlError(
            422,
            f"{KEY_HEADER}: {quoted(error.key)} belongs to command {error.command}, which was"
            " another request",
            parameter=KEY_HEADER,
        ) from None


def unknown_engine(engine_id: str) -> ControlError:
    """Give the answer to whoever names an engine that is not registered."""
    return ControlError(404, f"no engine {quoted(engine_id)} is registered")


async def settled(command: Command, seconds: int, clock: IReactorTime) -> None:
    """Wait for a command to be settled, and no longer than that.

    The ledger calls from within its own work, so the answer is made in a turn of its
    own. A client that goes away cancels this.
    """
    if not seconds or command.is_settled:
        return
    done: Deferred[None] = Deferred()
    timer = clock.callLater(seconds, done.callback, None)

    def hurry(_: Command) -> None:
        timer.reset(0)

    command.when_settled(hurry)
    try:
        await done
    finally:
        command.forget(hurry)
        if timer.active():
            timer.cancel()


async def views_of(
    ledger: Ledger, limit: int, dates: WallClock, clock: IReactorTime
) -> list[dict[str, Any]]:
    """Show the last commands, the last one first.

    Each is shown as it stands when its turn comes: summing up one that concerns a large
    fleet takes its time, and heartbeats do not wait for a hundred.
    """
    views: list[dict[str, Any]] = []
    at_once = 0
    for command in list(ledger)[: -limit - 1 : -1]:
        at_once += len(command.entries)
        if at_once > _ENTRIES_AT_ONCE and views:
            await deferLater(clock, 0)
            at_once = len(command.entries)
        views.append(command_view(command, dates, NAMED_IN_LIST))
    return views
