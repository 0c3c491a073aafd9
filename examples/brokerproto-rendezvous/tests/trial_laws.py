"""The transport keeps the laws of transports. Run it with trial."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from transports.conformance import LAWS, Law, Subject, check


class Laws(TestCase):
    """One test for each law."""

    async def keep(self, law: Law) -> None:
        """Hold the transport to one law, in a folder of its own."""
        folder = self.enterContext(TemporaryDirectory())
        subject = Subject.of(reactor, f"rendezvous://{folder}/broker")
        if reason := await check(law, subject):
            raise SkipTest(reason)


def _test_of(law: Law) -> object:
    return lambda self: Deferred.fromCoroutine(self.keep(law))


for _law in LAWS:
    setattr(Laws, f"test_{_law.name.replace('-', '_')}", _test_of(_law))
