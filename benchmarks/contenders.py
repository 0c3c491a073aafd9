"""Who is measured, and how a broker of ours is set up for it: this is the one place."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

__all__ = ["BROKER_SETTINGS", "CONTENDERS", "Contender", "Setting", "named"]

Kind = Literal["limit", "broker", "line-receiver"]


@frozen
class Setting:
    """An option that brokers are measured with, and why it is not left at its default."""

    option: str
    value: str
    reason: str


BROKER_SETTINGS = (
    Setting("--accept-rate", "0", "a herd is to come as fast as the broker can take it"),
    Setting(
        "--frame-rate",
        "1000000",
        "each frame is counted against the limit, as by default, and none is over it",
    ),
    Setting(
        "--interval",
        "60",
        "no engine is ever late: PINGs would be frames that nobody sent for; the ring of"
        " deadlines looks at each engine every 15 s all the same",
    ),
    Setting("--control-rate", "0", "the account is asked for after each phase"),
    Setting("--drain-timeout", "0", "nobody is left to be sent away"),
)


@frozen
class Contender:
    """A broker to measure.

    Attributes:
        name: For the command line and the tables.
        says: What it is.
        kind: Which program.
        listen: Where ``twistd broker`` accepts engines; ``{folder}`` is one of its own.
        acks: Whether each heartbeat is acknowledged.
        against: The name of what it is compared with.
        is_full: Whether it does the phases that only the goals of the hub need too.
    """

    name: str
    says: str
    kind: Kind
    listen: str = ""
    acks: bool = False
    against: str = "limit"
    is_full: bool = False

    @property
    def hello(self) -> str:
        """The options of each engine's hello; # stands for its instance."""
        return "v=1;instance=#;ack=1" if self.acks else "v=1;instance=#"


TCP = "tcp://127.0.0.1:0"
IPC = "ipc://{folder}/broker.sock"

CONTENDERS = (
    Contender("limit", "the limit: a bare epoll broker in C", "limit", is_full=True),
    Contender("limit-acks", "the limit, with an ACK for each heartbeat", "limit", acks=True),
    Contender("hub", "twistd broker on the hub", "broker", f"{TCP}?io=hub", is_full=True),
    Contender(
        "hub-acks",
        "the same, with an ACK for each heartbeat",
        "broker",
        f"{TCP}?io=hub",
        acks=True,
        against="limit-acks",
    ),
    Contender("reactor", "twistd broker on Twisted's own sockets", "broker", TCP),
    Contender(
        "reactor-acks",
        "the same, with an ACK for each heartbeat",
        "broker",
        TCP,
        acks=True,
        against="limit-acks",
    ),
    Contender("line-receiver", "a bare broker on Twisted's LineReceiver", "line-receiver"),
)
"""Those of ``make bench``, in the order of each round."""

TRANSPORTS = (
    Contender("tcp", "tcp://", "broker", TCP),
    Contender("tcp-hub", "tcp:// on the hub", "broker", f"{TCP}?io=hub"),
    Contender("ipc", "ipc://", "broker", IPC),
    Contender("ipc-hub", "ipc:// on the hub", "broker", f"{IPC}?io=hub"),
)
"""The same broker on different transports; ``inproc://`` has a harness of its own."""


def named(name: str) -> Contender:
    """Find a contender of either list.

    Raises:
        KeyError: There is none of this name.
    """
    return {each.name: each for each in (*TRANSPORTS, *CONTENDERS)}[name]
