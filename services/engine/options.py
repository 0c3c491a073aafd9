"""Command line of ``twistd engine``."""

from __future__ import annotations

import os
import socket
from collections import Counter
from itertools import chain

from attrs import evolve
from twisted.python import usage

from brokerproto.errors import LocalProtocolError
from brokerproto.grammar import ID, LABEL_NAME, LABEL_VALUE
from brokerproto.life import Wishes
from brokerproto.terms import MAX_INTERVAL
from services.engine.sources import SEVERAL, own_addresses
from services.engine.work import WORK_NAMES
from services.program import options as program_options
from services.program.addresses import SCHEMES, engine_address
from services.program.io_choice import io_option
from services.program.options import Option
from services.program.values import OneOf, WholeNumber, quoted
from transports import URI

_ENGINE_PORT = 1337
_MAX_COUNT = 100_000


def _engine_id(text: str) -> str:
    if not ID.accepts(text):
        raise ValueError(
            f"{quoted(text)} is not an id: 1 to 253 letters, digits, dots, underscores and "
            "hyphens, a letter or digit at both ends"
        )
    return text


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if "=" not in text or not LABEL_NAME.accepts(name) or not LABEL_VALUE.accepts(value):
        raise ValueError(
            f"{quoted(text)} is not a label: a name of 1 to 26 lower-case letters, digits and "
            "hyphens, '=', and a value of up to 256 letters, digits, dots, underscores and hyphens"
        )
    return name, value


class Options(program_options.Options):
    """What an engine can be told."""

    program = "engine"
    longdesc = (
        "Register with a broker, send it heartbeats, and do its work. Reconnects by itself, "
        "for as long as it takes."
    )
    table = (
        Option(
            name="host",
            doc="The broker's name or address; looked up again for each attempt.",
            default="127.0.0.1",
            env="BROKER_HOST",
            metavar="HOST",
        ),
        Option(
            name="port",
            doc="The broker's port.",
            parse=WholeNumber(1, 65_535),
            default=str(_ENGINE_PORT),
            metavar="PORT",
        ),
        Option(
            name="broker",
            doc="The broker's address as a whole, in place of --host and --port. "
            f"Schemes: {SCHEMES}.",
            parse=engine_address,
            env="BROKER_URI",
            metavar="URI",
        ),
        io_option("ENGINE_IO"),
        Option(
            name="id",
            doc="The engine's id, unique at its broker. Default: host name and process number.",
            parse=_engine_id,
            env="ENGINE_ID",
            metavar="ID",
        ),
        Option(
            name="count",
            doc="Run so many virtual engines, ID-1 to ID-N, each with a connection of its own.",
            parse=WholeNumber(1, _MAX_COUNT),
            env="ENGINE_COUNT",
        ),
        Option(
            name="source",
            doc="Connect from this address of the machine, or from all hosts of a prefix such as "
            "127.0.1.0/28; may be given more than once, or several separated by commas, which are "
            "then taken in turn. Each has ports of its own, 28,232 on Linux. Only for tcp.",
            parse=own_addresses,
            env="ENGINE_SOURCE",
            metavar="ADDRESS",
            repeatable=True,
        ),
        Option(
            name="work",
            doc="How to keep a CPU busy: in a child process of idle priority, which leaves the "
            "heartbeats alone; in the engine itself, which blocks them; or not at all, only "
            "waiting. Default: child; pretend with --count.",
            parse=OneOf(WORK_NAMES),
            env="ENGINE_WORK",
        ),
        Option(
            name="interval",
            doc="Ask for so many seconds between heartbeats; the broker decides.",
            parse=WholeNumber(1, MAX_INTERVAL),
            env="ENGINE_INTERVAL",
            metavar="S",
        ),
        Option(
            name="ack",
            doc="Have each so many heartbeats acknowledged; 0 for none.",
            parse=WholeNumber(0, 1_000_000),
            default="1",
            env="ENGINE_ACK",
        ),
        Option(
            name="label",
            doc="A label of the engine, such as node=aks-1, for the control API to show and to "
            "select by; may be given more than once.",
            parse=_label,
            env="ENGINE_LABELS",
            metavar="NAME=VALUE",
            repeatable=True,
        ),
        Option(
            name="respawn",
            doc="After a KILL start again as a new instance, in 1 to 3 s, doubling to 30, instead "
            "of ending with its status. Virtual engines always do.",
            env="ENGINE_RESPAWN",
            flag=True,
        ),
    )

    def postOptions(self) -> None:
        """Settle which broker, which ids and which work are meant."""
        told = {name for name in ("host", "port", "broker") if name in self}
        labelled = "--label" if "label" in self else "ENGINE_LABELS"
        super().postOptions()
        if "broker" in told and len(told) > 1:
            raise usage.UsageError("--broker: not together with --host or --port")
        if self["broker"] is None or (told and "broker" not in told):
            self["broker"] = self._broker_of_host()
        if self["id"] is None:
            self["id"] = self._own_id()
        if self["work"] is None:
            self["work"] = "child" if self["count"] is None else "pretend"
        self._check_sources()
        longest = self.ids[-1]
        if not ID.accepts(longest):
            raise usage.UsageError(f"--id: {quoted(longest)} would be too long an id")
        self._check_labels(labelled, longest)

    @property
    def wishes(self) -> Wishes:
        """What each engine asks of the broker, and says of itself."""
        return Wishes(self["interval"], self["ack"], dict(self["label"]))

    @property
    def respawns(self) -> bool:
        """Whether an engine that is killed starts again."""
        return self["respawn"] or self["count"] is not None

    @property
    def ids(self) -> list[str]:
        """The ids of all engines of this process."""
        if self["count"] is None:
            return [self["id"]]
        return [f"{self['id']}-{number}" for number in range(1, self["count"] + 1)]

    @property
    def sources(self) -> list[str]:
        """The addresses to connect from, each once; none where the system chooses."""
        return list(dict.fromkeys(chain.from_iterable(self["source"])))

    def _check_sources(self) -> None:
        scheme = self["broker"].scheme
        if not self.sources:
            return
        if scheme.rpartition("+")[2] != "tcp":
            raise usage.UsageError(
                f"--source: only tcp has addresses to connect from, not {scheme}"
            )
        if "source" in self["broker"].options:
            raise usage.UsageError("--source: the broker's address names a source already")
        if len(self.sources) > SEVERAL:
            raise usage.UsageError(f"--source: more than {SEVERAL} addresses")

    def _check_labels(self, source: str, longest_id: str) -> None:
        [(name, times)] = Counter(name for name, _ in self["label"]).most_common(1) or [("", 0)]
        if times > 1:
            raise usage.UsageError(f"{source}: {name!r} is there {times} times")
        try:
            self.wishes.check(longest_id)
        except LocalProtocolError as error:
            raise usage.UsageError(f"{source}: {error}") from None

    def _broker_of_host(self) -> URI:
        host = self["host"]
        try:
            bare = URI.parse(f"tcp://[{host}]" if ":" in host else f"tcp://{host}")
            broker = evolve(bare, port=self["port"])
        except ValueError:
            broker = None
        if broker is None or broker.host not in (host, host.lower()):
            raise usage.UsageError(
                f"--host: {quoted(host)} is not a name or an address; "
                "a port is given with --port, an address with a scheme with --broker"
            )
        return broker

    @staticmethod
    def _own_id() -> str:
        # A host's name may hold what an id may not.
        name = "".join(c if ID.accepts(c) or c in "._-" else "-" for c in socket.gethostname())
        return f"{name.strip('._-')[:200] or 'engine'}-{os.getpid()}"
