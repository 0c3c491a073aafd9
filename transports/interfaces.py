"""What a transport is: the seam that a third party may implement."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import Attribute, Interface

from transports.uri import URI

__all__ = [
    "FRAMINGS",
    "IDrainedFactory",
    "IDrainedProtocol",
    "IPacedPort",
    "IReceiver",
    "ITransport",
]

FRAMINGS = ("lines", "message")
"""What the framing of a transport may be."""


class ITransport(Interface):
    """One URI scheme, able to dial and to listen.

    A provider is stateless: it turns an address into a Twisted endpoint and is
    then out of the way; it knows nothing of what the bytes mean. Its endpoints
    fail with `brokerproto.errors.DialError` and `ListenError` only, apart from
    a cancellation and from what the caller's own factory raises.

    What it does otherwise than TCP it may declare in an attribute ``profile``, a
    `transports.profile.Profile`.
    """

    scheme = Attribute("`str`: the part before the first colon, lower case.")

    framing = Attribute(
        "`str`: how frames are told apart on it. ``lines``: it is a byte stream, a frame ends"
        " with a line end. ``message``: ``dataReceived`` is called once per frame. The word is"
        " passed on to the session. Where a scheme allows a choice, the option ``framing`` of an"
        " address overrides it."
    )

    def client_endpoint(reactor: Any, uri: URI) -> IStreamClientEndpoint:
        """Make an endpoint that dials `uri`, without dialling yet.

        Raises:
            InvalidURIError: `uri` lacks a part that is needed to dial, or has a
                part or an option that the scheme does not know.
        """

    def server_endpoint(reactor: Any, uri: URI) -> IStreamServerEndpoint:
        """Make an endpoint that listens on `uri`, without listening yet.

        Raises:
            InvalidURIError: `uri` lacks a part that is needed to listen, or has a
                part or an option that the scheme does not know.
        """

    def is_local(uri: URI) -> bool:
        """Tell whether only this machine can reach a listener on `uri`.

        True for loopback, for a socket in the file system and within a process.
        A host name is not looked up for it.

        Raises:
            InvalidURIError: As `server_endpoint`, where it cannot be told without
                the parts that are refused there.
        """

    def listen_address(uri: URI, port: IListeningPort) -> URI:
        """Give the address that is really listened on.

        Args:
            uri: What was asked for.
            port: What the server endpoint's ``listen`` gave.

        Returns:
            `uri`, with what the system chose in the place of what was left open;
            port 0 becomes the real one.
        """


class IReceiver(Interface):
    """Takes what a connection delivers without the detour over its protocol.

    For a transport that drains many connections one after the other: where nearly all
    that comes needs nothing done, only the rest is worth the way through a protocol.
    """

    def receive_data(data: bytes, now: float) -> object | None:
        """Take bytes from the peer; never raises for what these are.

        Args:
            data: As for ``dataReceived``.
            now: What `IDrainedFactory.drain_begins` gave.

        Returns:
            None where all is done; else what `IDrainedProtocol.received` is to be given.
        """


class IDrainedProtocol(IProtocol):
    """A protocol that lets a transport bring what comes to a receiver of its own.

    It need not say so: a transport that drains looks for ``receiver``.
    """

    receiver = Attribute(
        "`IReceiver`: takes what comes; None while ``dataReceived`` is to take it. Looked up"
        " after ``connectionMade`` and after each call of `received` and ``dataReceived``."
    )

    def received(outcome: object, data: bytes) -> None:
        """Follow what the receiver made of `data`.

        Args:
            outcome: What it returned, not None.
            data: What it was given.
        """


class IDrainedFactory(IProtocolFactory):
    """The factory of such protocols.

    Where each connection has a factory of its own, as when many are dialled, its attribute
    ``drained`` may name the one who is told instead, once for all of them.
    """

    def drain_begins() -> float:
        """Give the time that all receivers are told until `drain_ends`.

        Asked once before connections are read one after the other, in one turn of the
        reactor; nothing else runs meanwhile but what this brings about.
        """

    def drain_ends(silently: int) -> None:
        """Take note that these connections have been read.

        Args:
            silently: How many times a receiver returned None.
        """


class IPacedPort(IListeningPort, IPushProducer):
    """A port that asks how many it may accept, and lets the others wait.

    It is paused and resumed as a producer is: what waits is in the system's queue.
    """

    room = Attribute(
        "A callable that gives how many may be accepted at once; asked before some are."
        " It may pause the port, and be replaced."
    )

    def limit_buffers(own: int, of_system: int) -> None:
        """Have the connections that are accepted from now on buffer little.

        Args:
            own: Bytes of each that may wait before its producer is paused, and that are
                read at once.
            of_system: Bytes that the system is asked to let wait for each.
        """
