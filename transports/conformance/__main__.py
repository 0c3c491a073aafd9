"""``python -m transports.conformance <address>``: hold a transport to the laws."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, NoReturn, TextIO

from attrs import evolve
from twisted.application.reactors import NoSuchReactor, getReactorTypes, installReactor
from twisted.internet.task import deferLater, react

from brokerproto.errors import InvalidURIError
from transports.conformance import LAWS, TIMEOUT, Law, Subject
from transports.conformance.report import Report
from transports.uri import URI

_INTERRUPTED = 130
_MISTAKE = 2
_PROGRAM = "python -m transports.conformance"


def _law(name: str) -> Law:
    for law in LAWS:
        if law.name == name:
            return law
    raise argparse.ArgumentTypeError(f"{name!r} is no law; --list shows them")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _address(text: str) -> URI:
    try:
        return URI.parse(text)
    except InvalidURIError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{_PROGRAM}: {message}\n")
        sys.exit(_MISTAKE)


def _parser() -> _Parser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Hold the transport of an address to the laws that every transport keeps.",
        epilog="The status is 0 where every law is kept, 1 where one is broken, and 2 where the "
        "command line makes no sense.",
    )
    parser.add_argument(
        "address",
        nargs="?",
        help="where the transport listens, such as tcp://127.0.0.1:0; with port 0 the system "
        "chooses one for each law",
    )
    parser.add_argument(
        "--contact",
        type=_address,
        metavar="ADDRESS",
        help="where to dial, if it is not the address listened on; its port 0 becomes the port "
        "that the system chose",
    )
    parser.add_argument(
        "--law",
        action="append",
        type=_law,
        metavar="NAME",
        help="only this law; may be given more than once",
    )
    parser.add_argument("--reactor", default="default", metavar="NAME", help="as of twistd")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=TIMEOUT,
        metavar="S",
        help=f"seconds that each law has [default: {TIMEOUT:g}]",
    )
    parser.add_argument("--list", action="store_true", help="list the laws, and do nothing else")
    return parser


def _contact(wanted: URI | None) -> dict[str, Callable[[URI], URI]]:
    if wanted is None:
        return {}
    return {"contact": lambda uri: evolve(wanted, port=uri.port) if wanted.port == 0 else wanted}


def _reactor(name: str) -> Any:
    """Install a reactor.

    Raises:
        ValueError: There is none of this name, or it does not work here.
    """
    try:
        return installReactor(name)
    except NoSuchReactor:
        known = ", ".join(sorted(each.shortName for each in getReactorTypes()))
        raise ValueError(f"{name!r} is no reactor; known are {known}") from None
    except ImportError as exc:
        raise ValueError(f"the reactor {name!r} cannot be had: {exc}") from None


def _mistake(subject: Subject, contact: URI | None) -> str | None:
    """Say what is wrong with the addresses, before each law says so."""
    scheme = subject.address.scheme
    if contact is not None and contact.scheme != scheme:
        return f"argument --contact: '{contact}' is no address of the scheme {scheme!r}"
    try:
        subject.transport.server_endpoint(subject.reactor, subject.address)
    except InvalidURIError as exc:
        return str(exc)
    except Exception:
        return None  # not the user's mistake: the laws look at it
    return None


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command.

    Raises:
        SystemExit: At its end, always.
    """
    parser = _parser()
    told = parser.parse_args(arguments)
    if told.list:
        for law in LAWS:
            sys.stdout.write(f"{law.name:<22} {law.sentence}\n")
        sys.exit(0)
    if told.address is None:
        parser.error("an address is missing, such as tcp://127.0.0.1:0")
    try:
        reactor = _reactor(told.reactor)
        subject = Subject.of(reactor, told.address, **_contact(told.contact))
    except ValueError as exc:
        parser.error(str(exc))
    if problem := _mistake(subject, told.contact):
        parser.error(problem)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not everybody's terminal has a tick
    report = Report(sys.stdout, coloured=_is_coloured(sys.stdout))

    async def run(_: object) -> None:
        # What interrupts a reactor while it starts is lost, and so is the reactor.
        await deferLater(reactor, 0)
        await report.run(told.law or LAWS, subject, told.timeout)

    try:
        react(run, _reactor=reactor)
    except SystemExit:
        if report.is_done:
            raise
        sys.exit(_INTERRUPTED)


def _is_coloured(out: TextIO) -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return out.isatty() and not plain


if __name__ == "__main__":
    main()
