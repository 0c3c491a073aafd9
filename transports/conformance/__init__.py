"""The laws that every transport keeps, for whoever writes one.

::

    subject = Subject.of(reactor, "tcp://127.0.0.1:0")
    for law in LAWS:
        await check(law, subject)

or ``python -m transports.conformance tcp://127.0.0.1:0``. A law raises
`LawBrokenError`, which says what was expected and what came. What a scheme does
otherwise than TCP its author declares in a `Profile`.
"""

from transports.conformance import addresses, callbacks, closing, delivery, endpoints, pressure
from transports.conformance.law import TIMEOUT, Law, check
from transports.conformance.subject import LawBrokenError, Subject
from transports.profile import Profile

__all__ = ["LAWS", "TIMEOUT", "Law", "LawBrokenError", "Profile", "Subject", "check"]

LAWS: tuple[Law, ...] = (
    *addresses.LAWS,
    *endpoints.LAWS,
    *delivery.LAWS,
    *closing.LAWS,
    *pressure.LAWS,
    *callbacks.LAWS,
)
"""All laws, those first without which the others could not be tried."""
