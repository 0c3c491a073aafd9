"""Command line of ``twistd broker``."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import evolve
from twisted.python import usage

from brokerproto.errors import InvalidURIError
from brokerproto.terms import MAX_INTERVAL, Limits
from services.program import options as program_options
from services.program.addresses import SCHEMES, engine_address
from services.program.io_choice import io_option
from services.program.options import Option
from services.program.values import WholeNumber, quoted
from transports import URI, transport_for

_DEFAULTS = Limits()
_PORT = WholeNumber(0, 65_535)
_DAY = 86_400


def _control_uri(text: str) -> URI:
    uri = URI.parse(text)
    if uri.scheme != "http":
        raise InvalidURIError(text, "the control API speaks http://")
    uri.check_parts(port=True, path=False)
    uri.check_options({})
    return uri


def _control_host(text: str) -> str:
    uri = URI.parse(f"http://{text}")
    host = uri.host
    if host in ("", "*") or uri.is_abstract or host.lower() != text.lower():
        raise ValueError("not the name of a machine")
    return host


class Options(program_options.Options):
    """What a broker can be told; protocol reference, sections "Liveness" and "Limits"."""

    program = "broker"
    longdesc = (
        "Accept engines, keep their sessions, know who is alive, late or gone, and send "
        "them to work by HTTP: curl '127.0.0.1:8080/dowork?time=60000'."
    )
    table = (
        Option(
            name="listen",
            doc="Accept engines on this address; may be given more than once. The host * "
            f"is every address of the machine. Schemes: {SCHEMES}.",
            parse=engine_address,
            default="tcp://127.0.0.1:1337",
            env="BROKER_LISTEN",
            metavar="URI",
            repeatable=True,
        ),
        io_option("BROKER_IO"),
        Option(
            name="control",
            doc="Serve the control API on this address. The environment variable PORT "
            "replaces the port of the default.",
            parse=_control_uri,
            default="http://127.0.0.1:8080",
            env="BROKER_CONTROL",
            metavar="URI",
        ),
        Option(
            name="control-host",
            doc="Answer HTTP requests for this name too; may be given more than once. "
            "Addresses, localhost, the machine's names and brokers-instruct are answered.",
            parse=_control_host,
            env="BROKER_CONTROL_HOST",
            metavar="NAME",
            repeatable=True,
        ),
        Option(
            name="control-rate",
            doc="HTTP requests a second that one address may make, after ten times as many "
            "at once; 0 for any number.",
            parse=WholeNumber(0, 1_000_000),
            default="20",
            env="BROKER_CONTROL_RATE",
        ),
        Option(
            name="interval",
            doc="Seconds between an engine's heartbeats.",
            parse=WholeNumber(1, MAX_INTERVAL),
            default=str(_DEFAULTS.interval),
            env="BROKER_INTERVAL",
            metavar="S",
        ),
        Option(
            name="timeout",
            doc="Seconds of silence after which an engine is lost; at least twice the "
            "interval and 2 s. Default: four times the interval.",
            parse=WholeNumber(1, _DAY),
            env="BROKER_TIMEOUT",
            metavar="S",
        ),
        Option(
            name="handshake-timeout",
            doc="Seconds from a connection to its registration.",
            parse=WholeNumber(1, _DAY),
            default=str(_DEFAULTS.handshake),
            env="BROKER_HANDSHAKE_TIMEOUT",
            metavar="S",
        ),
        Option(
            name="max-connections",
            doc="Connections at one time; the limit of open files may allow fewer.",
            parse=WholeNumber(1, 10_000_000),
            default=str(_DEFAULTS.connections),
            env="BROKER_MAX_CONNECTIONS",
        ),
        Option(
            name="accept-rate",
            doc="Connections accepted a second, and registrations a second over which the "
            "fleet is told to spread its return; 0 for as they come.",
            parse=WholeNumber(0, 1_000_000),
            default=str(_DEFAULTS.accept_rate),
            env="BROKER_ACCEPT_RATE",
        ),
        Option(
            name="drain-timeout",
            doc="Seconds that the broker takes, when it is told to end, to send its engines "
            "away one after the other; 0 for all at once.",
            parse=WholeNumber(0, _DAY),
            default=str(_DEFAULTS.drain),
            env="BROKER_DRAIN_TIMEOUT",
            metavar="S",
        ),
        Option(
            name="frame-rate",
            doc="Frames a second of one engine; who sends more is not read for a while. 0 "
            "for as they come.",
            parse=WholeNumber(0, 1_000_000),
            default=str(_DEFAULTS.frame_rate),
            env="BROKER_FRAME_RATE",
        ),
        Option(
            name="insecure",
            doc="Listen beyond this machine, though anybody there can then register "
            "engines, and command them.",
            env="BROKER_INSECURE",
            flag=True,
        ),
    )

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        program_options.Options.__init__(self, environ)
        self._control_told = bool(environ.get("BROKER_CONTROL", "").strip())

    def postOptions(self) -> None:
        """Check what concerns several options."""
        self._control_told = self._control_told or "control" in self
        super().postOptions()
        port = self.environ.get("PORT", "").strip()
        if port and not self._control_told:
            try:
                self["control"] = evolve(self["control"], port=_PORT(port))
            except ValueError as error:
                raise usage.UsageError(f"PORT: {error}") from None
        if len(set(self["listen"])) < len(self["listen"]):
            raise usage.UsageError("--listen: the same address is given twice")
        try:
            self.limits(self["max-connections"])
        except ValueError as error:
            raise usage.UsageError(f"--timeout: {error}") from None
        if not self["insecure"]:
            self._refuse_strangers()

    def limits(self, connections: int) -> Limits:
        """Give the broker's limits, with room for so many connections."""
        return Limits(
            interval=self["interval"],
            timeout=self["timeout"] or 0,
            handshake=self["handshake-timeout"],
            connections=connections,
            accept_rate=self["accept-rate"],
            drain=self["drain-timeout"],
            frame_rate=self["frame-rate"],
        )

    def _refuse_strangers(self) -> None:
        try:
            beyond = [uri for uri in self["listen"] if not transport_for(uri.scheme).is_local(uri)]
        except InvalidURIError as error:
            raise usage.UsageError(f"--listen: {error}") from None
        if not self["control"].is_loopback:
            beyond.append(self["control"])
        if beyond:
            raise usage.UsageError(
                f"{quoted(str(beyond[0]))} can be reached from other machines and nothing "
                "protects it: give --insecure if that is meant"
            )
