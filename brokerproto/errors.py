"""The exception tree. Each protocol error carries its code.

::

    BrokerError
      ProtocolError
        LocalProtocolError       our caller asked for the illegal: raised, a bug
        RemoteProtocolError      a peer did: kept in ``session.failure``, not raised
          BadFrameError ... SlowReaderError     one class per code of `CODES`
        RefusedError             the other side sent FAILED
        SilentBrokerError        the other side says nothing any more
      OrderError                 nothing was sent
        UnknownEngineError
        UnexpectedReachError
        KeyReusedError
        NoMoreOrdersError
      TransportError
        InvalidURIError          also a ValueError
        ListenError
        DialError

The codes, their names and their `retry` are those of ``docs/reference/protocol.md``,
section "Codes"; the FAILED frame is derived from them and from nothing else.
"""

from __future__ import annotations

import re
from typing import ClassVar, Union

__all__ = [
    "CODES",
    "AlreadyRegisteredError",
    "AuthFailedError",
    "AuthRequiredError",
    "BadFrameError",
    "BadIdError",
    "BadSequenceError",
    "BrokerError",
    "BrokerFullError",
    "DialError",
    "DrainingError",
    "DuplicateIdError",
    "FrameTooLongError",
    "HandshakeTimeoutError",
    "HeartbeatTimeoutError",
    "InternalError",
    "InvalidURIError",
    "KeyReusedError",
    "ListenError",
    "LocalProtocolError",
    "NoMoreOrdersError",
    "NotRegisteredError",
    "NotYourIdError",
    "OrderError",
    "ProtocolError",
    "RefusedError",
    "RemoteProtocolError",
    "Retry",
    "SequenceRegressedError",
    "SilentBrokerError",
    "SlowReaderError",
    "SupersededError",
    "TooManyError",
    "TransportError",
    "UnexpectedReachError",
    "UnknownEngineError",
    "UnknownVerbError",
    "VersionError",
]

Retry = Union[str, int]
"""When to come back; ``"never"``, ``"now"``, or whole seconds."""

_UNPRINTABLE = re.compile(r"[^ -~]")


def _printable(text: str) -> str:
    """Make `text` fit the last field of FAILED: printable ASCII, one line."""
    return _UNPRINTABLE.sub("?", text)


class BrokerError(Exception):
    """Everything that this project raises or reports on purpose."""


class ProtocolError(BrokerError):
    """A breach of the engine protocol."""


class LocalProtocolError(ProtocolError):
    """Our own caller asked for something the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule, or the broker cannot serve it.

    A session keeps it in ``failure`` and never raises it. The FAILED frame is
    derived from the class and from `text`.

    Args:
        text: What is wrong, in a sentence. Characters outside printable ASCII
            become ``?``. It never repeats bytes that the peer sent.
        retry: Overrides the class's own `retry`.
    """

    code: ClassVar[int]
    name: ClassVar[str]
    default_retry: ClassVar[Retry] = "now"

    def __init__(self, text: str, retry: Retry | None = None) -> None:
        self.text = _printable(text)
        self.retry: Retry = self.default_retry if retry is None else retry
        super().__init__(f"{self.code} {self.name}: {self.text}")

    def __eq__(self, other: object) -> bool:
        """Errors are values: the same class, text and retry are the same error."""
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, RemoteProtocolError)
        return (self.text, self.retry) == (other.text, other.retry)

    def __hash__(self) -> int:
        return hash((type(self), self.text, self.retry))


class BadFrameError(RemoteProtocolError):
    """The frame breaks the grammar."""

    code, name = 400, "BAD_FRAME"


class AuthRequiredError(RemoteProtocolError):
    """A secret is demanded and the engine cannot give one."""

    code, name, default_retry = 401, "AUTH_REQUIRED", "never"


class AuthFailedError(RemoteProtocolError):
    """The proof is wrong, or the certificate does not fit the id."""

    code, name, default_retry = 403, "AUTH_FAILED", "never"


class UnknownVerbError(RemoteProtocolError):
    """The verb is none that an engine may say."""

    code, name = 405, "UNKNOWN_VERB"

    def __init__(self, text: str = "no such verb", retry: Retry | None = None) -> None:
        super().__init__(text, retry)


class HandshakeTimeoutError(RemoteProtocolError):
    """Not registered in time, counted from the accept."""

    code, name = 408, "HANDSHAKE_TIMEOUT"


class DuplicateIdError(RemoteProtocolError):
    """Another connection holds this id; `retry` says when it might be free."""

    code, name = 409, "DUPLICATE_ID"


class SupersededError(RemoteProtocolError):
    """A newer connection took this id over."""

    code, name, default_retry = 410, "SUPERSEDED", "never"


class FrameTooLongError(RemoteProtocolError):
    """No line end within the limit."""

    code, name = 413, "FRAME_TOO_LONG"


class BadIdError(RemoteProtocolError):
    """The id of a hello breaks the grammar of ids."""

    code, name, default_retry = 415, "BAD_ID", "never"


class BadSequenceError(RemoteProtocolError):
    """A gap too large to be a loss."""

    code, name = 422, "BAD_SEQUENCE"


class NotRegisteredError(RemoteProtocolError):
    """A frame that only a registered engine may send."""

    code, name = 424, "NOT_REGISTERED"


class VersionError(RemoteProtocolError):
    """No common version, or a demanded option that is not understood."""

    code, name, default_retry = 426, "VERSION", "never"


class TooManyError(RemoteProtocolError):
    """Too many takeovers, or too many frames."""

    code, name, default_retry = 429, "TOO_MANY", 60


class AlreadyRegisteredError(RemoteProtocolError):
    """A second hello on one connection."""

    code, name = 431, "ALREADY_REGISTERED"


class HeartbeatTimeoutError(RemoteProtocolError):
    """Silent for the whole timeout."""

    code, name = 440, "HEARTBEAT_TIMEOUT"


class SequenceRegressedError(RemoteProtocolError):
    """A number lower than the last one of this life."""

    code, name = 441, "SEQUENCE_REGRESSED"


class NotYourIdError(RemoteProtocolError):
    """A heartbeat in another engine's name."""

    code, name = 442, "NOT_YOUR_ID"


class InternalError(RemoteProtocolError):
    """The broker failed; the fault is not the engine's."""

    code, name, default_retry = 500, "INTERNAL", 5


class DrainingError(RemoteProtocolError):
    """The broker is going away."""

    code, name = 503, "DRAINING"

    def __init__(self, text: str = "the broker stops", retry: Retry | None = None) -> None:
        super().__init__(text, retry)


class BrokerFullError(RemoteProtocolError):
    """The cap on connections is reached."""

    code, name, default_retry = 507, "BROKER_FULL", 5


class SlowReaderError(RemoteProtocolError):
    """The engine does not read what is sent to it."""

    code, name, default_retry = 508, "SLOW_READER", 5


CODES: dict[int, type[RemoteProtocolError]] = {
    cls.code: cls for cls in RemoteProtocolError.__subclasses__()
}
"""Code to class, for every code of the protocol."""


class RefusedError(ProtocolError):
    """The other side refused or closed with a FAILED frame.

    Args:
        code: As sent, 0 to 2**53 - 1; it need not be one of `CODES`.
        name: As sent.
        retry: ``"never"``, ``"now"`` or seconds.
        text: As sent, printable ASCII.
    """

    def __init__(self, code: int, name: str, retry: Retry, text: str) -> None:
        self.code, self.name, self.retry, self.text = code, name, retry, text
        super().__init__(f"{code} {name}: {text}")


class SilentBrokerError(ProtocolError):
    """The broker acknowledged nothing for too long.

    Args:
        heartbeats: How many went unanswered.
        interval: Seconds between them.
    """

    def __init__(self, heartbeats: int, interval: int) -> None:
        self.heartbeats, self.interval = heartbeats, interval
        super().__init__(f"the broker was silent for {heartbeats} heartbeats of {interval} s")


class OrderError(BrokerError):
    """An order to engines cannot be carried out; nobody was sent anything."""


class UnknownEngineError(OrderError):
    """The order names an engine that is not registered.

    Args:
        engine_id: As it was given, which need not be an id.
    """

    def __init__(self, engine_id: str) -> None:
        self.engine_id = engine_id
        super().__init__(f"no engine {engine_id!r} is registered")


class UnexpectedReachError(OrderError):
    """The order would reach another number of engines than expected.

    Args:
        expected: How many it was to reach.
        targets: How many it would have reached.
    """

    def __init__(self, expected: int, targets: int) -> None:
        self.expected, self.targets = expected, targets
        super().__init__(
            f"this would reach another number of engines than expected: {targets}, not {expected}"
        )


class KeyReusedError(OrderError):
    """The order's key is that of another order, whose command is still kept.

    Args:
        key: The key's name.
        command: The id of that command.
    """

    def __init__(self, key: str, command: str) -> None:
        self.key, self.command = key, command
        super().__init__(f"the key {key!r} belongs to command {command}, another request")


class NoMoreOrdersError(OrderError):
    """The broker drains; its engines are leaving, and would report to another one."""

    def __init__(self) -> None:
        super().__init__("the broker drains, and sends its engines nothing more")


class TransportError(BrokerError):
    """Bytes cannot travel this way."""


class InvalidURIError(TransportError, ValueError):
    """An address that cannot be read, or that its scheme cannot use.

    Args:
        text: The address as it was given.
        problem: What is wrong with it, as the end of a sentence.
    """

    def __init__(self, text: str, problem: str) -> None:
        self.text, self.problem = text, problem
        super().__init__(f"{text!r}: {problem}")


class ListenError(TransportError):
    """Listening on `address` failed.

    Args:
        address: The URI as text.
        reason: What the system said, in words.
    """

    def __init__(self, address: str, reason: str) -> None:
        self.address, self.reason = address, reason
        super().__init__(f"cannot listen on {address}: {reason}")


class DialError(TransportError):
    """Connecting to `address` failed.

    Args:
        address: The URI as text.
        reason: What the system said, in words.
        retriable: False where trying again cannot help.
    """

    def __init__(self, address: str, reason: str, *, retriable: bool = True) -> None:
        self.address, self.reason, self.retriable = address, reason, retriable
        super().__init__(f"cannot connect to {address}: {reason}")
