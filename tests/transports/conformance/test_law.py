"""How a law is checked: in time, with what came of it cleared away, or not at all."""

from __future__ import annotations

from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from brokerproto.errors import DialError
from tests.transports.conformance.broken_addresses import GivesAnotherProtocol, TellsText
from tests.transports.conformance.broken_ends import KnowsNoHalfClose
from tests.transports.conformance.broken_lines import PausesTooLate
from tests.transports.conformance.harbour import ADDRESS, NOWHERE, Harbour, Line, examine
from transports import URI
from transports.conformance import LAWS, Law, LawBrokenError, Profile, Subject, check
from transports.conformance.meeting import Meeting

BY_NAME = {law.name: law for law in LAWS}


def broken(law: Law, harbour: Harbour, **others: Any) -> LawBrokenError:
    with pytest.raises(LawBrokenError) as caught:
        examine(law, harbour, **others)
    return caught.value


def begun(law: Law, subject: Subject, timeout: float = 30) -> tuple[list[Any], Deferred[Any]]:
    """Begin to check; the list holds the outcome once there is one."""
    results: list[Any] = []
    checking: Deferred[Any] = ensureDeferred(check(law, subject, timeout))
    return results, checking.addBoth(results.append)


def made(line: type[Line]) -> Harbour:
    harbour = Harbour()
    harbour.line = line
    return harbour


def test_names_of_the_laws_are_words_that_a_shell_takes_and_each_stands_once() -> None:
    assert len(BY_NAME) == len(LAWS) == 31
    for law in LAWS:
        assert str(law) == law.name
        assert law.name.replace("-", "").isalnum()
        assert not law.sentence.endswith(".")


def test_author_exempts_his_scheme_from_a_law_and_says_why() -> None:
    profile = Profile(exempt={"half-close": "a pigeon knows no half"})
    harbour = made(KnowsNoHalfClose)
    half_close = BY_NAME["half-close"]
    assert examine(half_close, harbour, profile=profile) == "a pigeon knows no half"
    assert harbour.lines == []
    assert broken(half_close, harbour).law == "half-close"


def test_transport_brings_its_profile_along() -> None:
    class WithReason(Harbour):
        profile = Profile(exempt={"reset": "no reset"})

    assert examine(BY_NAME["reset"], WithReason()) == "no reset"


def test_profile_says_how_much_may_come_late() -> None:
    pause = BY_NAME["pause"]
    assert broken(pause, made(PausesTooLate), profile=Profile(late_bytes=65_535)).expected == (
        "at most 65535 bytes after pauseProducing"
    )
    assert examine(pause, made(PausesTooLate), profile=Profile(late_bytes=65_536)) is None


@pytest.mark.parametrize(
    ("law", "address", "profile", "reason"),
    [
        ("port-0", "harbour://name", Profile(), "the address has no port"),
        ("unreachable", ADDRESS, Profile(), "the profile names no such address"),
        ("unlistenable", ADDRESS, Profile(), "the profile names no such address"),
        ("unknown-part", "harbour://n:0/p", Profile(), "its addresses can have no other part"),
        (
            "unknown-part",
            ADDRESS,
            Profile(parts=["host", "port", "path"]),
            "its addresses can have no other part",
        ),
        ("unknown-part", "harbour://@name", Profile(), "its addresses can have no other part"),
        (
            "unknown-part",
            "harbour:opaque",
            Profile(),
            "an opaque address has neither parts nor options",
        ),
        (
            "unknown-option",
            "harbour:opaque",
            Profile(),
            "an opaque address has neither parts nor options",
        ),
        ("half-close", f"{ADDRESS}?framing=message", Profile(), "the framing is 'message'"),
    ],
)
def test_law_that_does_not_concern_an_address_says_why(
    law: str, address: str, profile: Profile, reason: str
) -> None:
    subject = Subject(Clock(), cast(Any, Harbour()), URI.parse(address), profile)
    assert BY_NAME[law].exemption(subject) == reason


def test_laws_of_streams_are_not_for_messages_and_the_others_are() -> None:
    class Pigeons(Harbour):
        framing = "message"

    subject = Subject(Clock(), Pigeons(), URI.parse(ADDRESS))
    left_out = {law.name for law in LAWS if law.exemption(subject) is not None}
    assert left_out == {"half-close", "half-close-unheard"}


def test_parts_that_the_author_allows_are_not_refused() -> None:
    class WithPath(Harbour):
        def check(self, uri: URI) -> None:
            if uri.path not in ("", "/path"):
                raise uri.refusal("a path of its own")
            uri.check_options({})

    law = BY_NAME["unknown-part"]
    assert "path" in broken(law, WithPath()).expected
    reason = examine(law, WithPath(), profile=Profile(parts=["host", "port", "path"]))
    assert reason == "its addresses can have no other part"


def test_port_is_strange_where_an_address_has_none() -> None:
    class WithoutPort(Harbour):
        asked: list[str] = []  # noqa: RUF012 - one for the only test

        def check(self, uri: URI) -> None:
            self.asked.append(str(uri))
            raise uri.refusal("strange")

    clock = Clock()
    subject = Subject(clock, WithoutPort(), URI.parse("harbour:///path"))
    results, _ = begun(BY_NAME["unknown-part"], subject)
    assert results == [None]
    expected = ["harbour://host/path", "harbour://host:1337/path"]
    assert WithoutPort.asked == [each for each in expected for _ in range(2)]


def test_contact_is_dialled_in_place_of_the_address_listened_on() -> None:
    class Deaf(Harbour):
        """Nobody reaches it by the name that it listens on."""

        def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
            assert uri.host in ("contact", NOWHERE)
            return super().dial(reactor, URI(uri.scheme, "name", uri.port), factory)

        def dial_failed(self, uri: URI, failure: Any) -> Any:
            return super().dial_failed(URI(uri.scheme, "contact", uri.port), failure)

    def contact(uri: URI) -> URI:
        return URI(uri.scheme, "contact", uri.port)

    for name in "order", "refused", "port-0":
        assert examine(BY_NAME[name], Deaf(), contact=contact) is None


@pytest.mark.parametrize(
    ("kind", "law", "expected", "came"),
    [
        (
            GivesAnotherProtocol,
            "order",
            "connect() to give the factory's own protocol, connected",
            "Line, nothing",
        ),
        (TellsText, "listen-address", "a URI of listen_address", "str"),
    ],
)
def test_what_breaks_every_law_is_named(
    kind: type[Harbour], law: str, expected: str, came: str
) -> None:
    error = broken(BY_NAME[law], kind())
    assert (error.expected, error.came) == (expected, came)


def waits_for(what: str) -> Law:
    async def wait(meeting: Meeting) -> None:
        await meeting.connect()
        await meeting.until(what, lambda: False)

    return Law("patience", "everything comes", wait)


def test_law_has_its_time_and_then_says_what_it_waited_for() -> None:
    clock = Clock()
    subject = Subject(clock, Harbour(), URI.parse(ADDRESS))
    results, _ = begun(waits_for("godot"), subject, 7)
    clock.advance(0)
    clock.pump([0.125] * 55)
    assert results == []
    clock.pump([0.125] * 2)
    assert str(results[0].value).splitlines() == [
        "patience: everything comes",
        "  expected  godot",
        "  came      nothing within 7 s",
    ]
    assert clock.calls == []


def test_what_came_while_the_machine_stood_still_counts() -> None:
    come: list[bool] = []

    async def wait(meeting: Meeting) -> None:
        clock = meeting.reactor
        clock.callLater(1, clock.callLater, 0, clock.callLater, 0, come.append, True)
        await meeting.until("what comes soon", lambda: bool(come))

    clock = Clock()
    subject = Subject(clock, Harbour(), URI.parse(ADDRESS))
    results, _ = begun(Law("l", "s", wait), subject, 1)
    clock.advance(60)
    assert results == [None]


def test_time_in_which_the_machine_stood_still_is_not_the_laws() -> None:
    come: list[bool] = []

    async def wait(meeting: Meeting) -> None:
        await meeting.until("what another thread does", lambda: bool(come))

    clock = Clock()
    subject = Subject(clock, Harbour(), URI.parse(ADDRESS))
    results, _ = begun(Law("l", "s", wait), subject, 5)
    clock.advance(60)
    clock.pump([0.01] * 300)
    come.append(True)
    clock.pump([0.5] * 2)
    assert results == [None]


def test_what_came_is_told_in_one_line() -> None:
    class Talks(Harbour):
        def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
            return fail(OSError("no\nway"))

    assert broken(BY_NAME["order"], Talks()).came == "OSError: no way"


def test_dial_that_fails_among_many_says_why() -> None:
    class Few(Harbour):
        dials = 0

        def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
            self.dials += 1
            if self.dials > 5:
                return fail(DialError(str(uri), "five are enough"))
            return super().dial(reactor, uri, factory)

    assert broken(BY_NAME["several-connections"], Few()).came == (
        "DialError: cannot connect to harbour://name:1: five are enough"
    )


def test_connection_that_nobody_asked_for_is_told() -> None:
    class Twice(Harbour):
        def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
            super().dial(reactor, uri, Factory.forProtocol(Protocol))
            return super().dial(reactor, uri, factory)

    error = broken(BY_NAME["first-words"], Twice())
    assert (error.expected, error.came) == ("one connection of the accepting end", "2")


def test_law_that_fails_stops_what_it_has_written() -> None:
    async def write(meeting: Meeting) -> None:
        near, _ = await meeting.connect()
        meeting.source(near, 1 << 40).start()
        raise ZeroDivisionError

    harbour = Harbour()
    assert broken(Law("l", "s", write), harbour).expected == "no exception"
    assert harbour.clock.calls == []


def test_law_that_is_cancelled_clears_away_and_is_no_broken_law() -> None:
    clock, harbour = Clock(), Harbour()
    subject = Subject(clock, harbour, URI.parse(ADDRESS))
    results, checking = begun(waits_for("godot"), subject)
    clock.advance(0)
    checking.cancel()
    clock.advance(0)
    assert results[0].check(CancelledError)
    assert len(harbour.lines) == 2
    assert not any(line.stream.connected for line in harbour.lines)
    assert clock.calls == []


def test_law_clears_away_though_the_transport_does_not_let_it() -> None:
    class Stubborn(Line):
        def abortConnection(self) -> None:
            raise NotImplementedError

        def loseConnection(self) -> None:
            raise NotImplementedError

    class Port:
        number = 1

        def stopListening(self) -> Any:
            raise OSError("busy")

    class Harbourless(Harbour):
        line = Stubborn

        def numbered(self, port: Any, number: int) -> Any:
            self.port = port
            return Port()

    async def connect(meeting: Meeting) -> None:
        await meeting.connect()

    harbour = Harbourless()
    assert examine(Law("l", "s", connect), harbour) is None
    assert harbour.clock.seconds() == pytest.approx(5)
    assert harbour.clock.calls == []


def test_law_closes_what_it_cannot_abort() -> None:
    class Mild(Line):
        abortConnection: Any = None

    async def connect(meeting: Meeting) -> None:
        await meeting.connect()

    harbour = made(Mild)
    assert examine(Law("l", "s", connect), harbour) is None
    assert not any(line.stream.connected for line in harbour.lines)
    assert harbour.clock.seconds() == 0


def test_stopping_at_once_need_not_give_a_deferred() -> None:
    class AtOnce(Harbour):
        def numbered(self, port: Any, number: int) -> Any:
            numbered: Any = super().numbered(port, number)
            stop = numbered.stopListening
            numbered.stopListening = lambda: stop() and None
            return numbered

    for name in "refused", "stopped-listening":
        assert examine(BY_NAME[name], AtOnce()) is None


def test_dial_that_never_ends_is_given_up() -> None:
    given_up: list[Any] = []

    class Endless(Harbour):
        def dial(self, reactor: Any, uri: URI, factory: Any) -> Any:
            return Deferred(given_up.append)

    error = broken(BY_NAME["order"], Endless())
    assert (error.expected, error.came) == ("to connect to harbour://name:1", "nothing within 30 s")
    assert len(given_up) == 1


def test_any_exception_is_the_cause_of_a_broken_law() -> None:
    async def fail(meeting: Meeting) -> None:
        raise ZeroDivisionError("by 0")

    error = broken(Law("l", "s", fail), Harbour())
    assert (error.expected, error.came) == ("no exception", "ZeroDivisionError: by 0")
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_subject_is_made_of_an_address_alone() -> None:
    subject = Subject.of(Clock(), "tcp://127.0.0.1:0?framing=lines")
    assert subject.transport.scheme == "tcp"
    assert subject.profile.unreachable
    assert subject.framing == "lines"
    assert subject.contact(subject.address) is subject.address
