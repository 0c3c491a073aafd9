"""Each law finds the fault that is against it, no other law does, and it says so."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from attrs import frozen

from tests.transports.conformance import broken_harbours as harbours
from tests.transports.conformance import broken_lines as lines
from tests.transports.conformance.harbour import Harbour, Line, examine
from transports.conformance import LAWS, Law, LawBrokenError

BY_NAME = {law.name: law for law in LAWS}


@frozen
class Fault:
    """What is wrong, and what is said of it.

    Attributes:
        law: The law that finds it.
        kind: What is wrong: a harbour, or a line of one that is sound.
        expected: Of the error.
        came: Likewise.
        offset: Likewise.
        others: Laws that find it too, where it cannot be otherwise.
    """

    law: str
    kind: type[Harbour | Line]
    expected: str
    came: str
    offset: int | None = None
    others: Collection[str] = ()

    def __str__(self) -> str:
        return f"{self.law}:{self.kind.__name__}"

    def harbour(self) -> Harbour:
        if issubclass(self.kind, Harbour):
            return self.kind()
        harbour = Harbour()
        harbour.line = self.kind
        return harbour


STRANGE_OPTION = "harbour://name:1337?option-that-nobody-knows=1"
FAULTS = [
    Fault("interfaces", harbours.OfNoFraming, "a framing of lines or message", "'lines '"),
    Fault("interfaces", harbours.OfAnotherScheme, "the scheme 'harbour'", "'haven'"),
    Fault("interfaces", harbours.OfStrangeProfile, "a Profile, if anything", "str"),
    Fault("interfaces", harbours.LocalSomehow, "True or False of is_local", "'yes'"),
    Fault(
        "interfaces",
        harbours.GivesNoEndpoint,
        "an object that provides IStreamServerEndpoint",
        "Does not declaratively implement",
    ),
    Fault("interfaces", lines.IsNoConsumer, "a connection that provides IConsumer", "IsNoConsumer"),
    Fault(
        "listen-address",
        harbours.Capitals,
        "harbour://name:0, with nothing replaced but port 0",
        "harbour://NAME:1",
    ),
    Fault("port-0", harbours.SharesItsPort, "two ports of two listeners", "harbour://name:1 twice"),
    Fault(
        "port-0",
        harbours.KeepsPort0,
        "the port that the system chose",
        "harbour://name:0",
        others=["in-use"],
    ),
    Fault(
        "whereabouts",
        harbours.IsNowhere,
        "an IAddress of getHost() of the listening port",
        "('name', 1)",
    ),
    Fault(
        "whereabouts",
        harbours.IsSomewhere,
        "printable text of getHost() of the listening port",
        "'inproc://na\\nme'",
    ),
    Fault(
        "mirrored-whereabouts",
        lines.TellsStrangeAddress,
        "getHost() of the dialling end and getPeer() of the accepting end to be equal",
        "InprocAddress(name='name-1', number=1) and InprocAddress(name='proxy', number=1)",
    ),
    Fault(
        "unknown-option",
        harbours.TakesAnyOption,
        f"InvalidURIError of client_endpoint for {STRANGE_OPTION}",
        "an endpoint",
    ),
    Fault(
        "unknown-option",
        harbours.RaisesAtOptions,
        f"InvalidURIError of client_endpoint for {STRANGE_OPTION}",
        "KeyError: 'option-that-nobody-knows'",
    ),
    Fault(
        "unknown-part",
        harbours.TakesAnyPath,
        "InvalidURIError of client_endpoint for harbour://name:1337/path",
        "an endpoint",
    ),
    Fault(
        "unknown-option",
        harbours.TakesAnyOptionToListen,
        f"InvalidURIError of server_endpoint for {STRANGE_OPTION}",
        "an endpoint",
    ),
    Fault(
        "unknown-part",
        harbours.RefusesInTwoLines,
        "one printable line that says it",
        "\"'harbour://name:1337/path': it has\\na path\"",
    ),
    Fault("lazy-endpoint", harbours.DialsUnasked, "no connection before connect() is called", "1"),
    Fault(
        "lazy-endpoint",
        harbours.ListensUnasked,
        "a failure to dial an address where listen() was not called",
        "a connection",
    ),
    Fault(
        "refused",
        harbours.FailsToDial,
        "DialError for an address where nobody listens",
        "ConnectionRefusedError: [Errno 111] Connection refused",
    ),
    Fault(
        "refused",
        harbours.NamesAnotherAddress,
        "DialError that names harbour://name:1",
        "inproc://name-1",
    ),
    Fault(
        "refused",
        harbours.FailsInTwoLines,
        "DialError in one printable line",
        "'cannot connect to harbour://name:1: nobody\\nis there'",
    ),
    Fault("refused", harbours.MayBeRetriable, "True or False of retriable", "'maybe'"),
    Fault(
        "unreachable",
        harbours.CannotReach,
        "DialError for an address that nobody can reach",
        "TimeoutError: timed out",
    ),
    Fault(
        "unreachable",
        harbours.ReachesNowhere,
        "a failure to dial an address that nobody can reach",
        "a connection",
    ),
    Fault(
        "in-use",
        harbours.UntypedInUse,
        "ListenError for an address that somebody listens on",
        "OSError: [Errno 98] Address already in use",
    ),
    Fault(
        "in-use", harbours.Usurps, "ListenError for an address that somebody listens on", "success"
    ),
    Fault(
        "in-use",
        harbours.Disturbs,
        "the accepting end to receive 4 bytes",
        "0 bytes, then connectionLost",
        0,
    ),
    Fault(
        "unlistenable",
        harbours.UntypedUnlistenable,
        "ListenError for an address that nobody can listen on",
        "OSError: [Errno 99] Cannot assign requested address",
    ),
    Fault(
        "unlistenable",
        harbours.RaisesToListen,
        "the outcome of listening on harbour://nowhere:0",
        "nobody can listen there, raised at once",
    ),
    Fault("cancelled-dial", harbours.DialsOn, "no connection of a dial that was cancelled", "one"),
    Fault(
        "cancelled-dial",
        harbours.CancelledSomehow,
        "CancelledError or ConnectingCancelledError",
        "DialError('cannot connect to harbour://name:1: cancelled')",
    ),
    Fault(
        "stopped-listening",
        harbours.StopsConnections,
        "the accepting end to receive 8 bytes",
        "4 bytes, then connectionLost",
        4,
    ),
    Fault(
        "stopped-listening",
        harbours.StaysInUse,
        "to listen on harbour://name:1",
        "ListenError: cannot listen on harbour://name:1: in use",
    ),
    Fault(
        "stopped-listening",
        harbours.NeverStops,
        "stopListening to be done",
        "nothing within 30 s",
        others=["refused", "lazy-endpoint"],
    ),
    Fault(
        "order",
        lines.SwapsBytes,
        "the accepting end to receive b'0 0000008 0000010 000001'",
        "b' 000000080 000001 000001'",
        6,
    ),
    Fault("order", lines.RepeatsTheLast, "nothing after the last byte", "b'0'", 513_313),
    Fault(
        "small-messages",
        lines.DropsOneOfMany,
        "the accepting end to receive b'7\\nmessage 07778\\nmessage '",
        "b'8\\nmessage 07779\\nmessage '",
        108_890,
    ),
    Fault(
        "small-messages",
        lines.RepeatsOneOfMany,
        "the accepting end to receive b'7\\nmessage 07778\\nmessage '",
        "b'6\\nmessage 07777\\nmessage '",
        108_890,
    ),
    Fault(
        "small-messages",
        lines.LosesTheLastOfMany,
        "the accepting end to receive 140000 bytes",
        "139986 bytes, and nothing more within 30 s",
        139_986,
    ),
    Fault(
        "first-words",
        lines.ForgetsFirstWords,
        "the accepting end to receive 31 bytes",
        "0 bytes, and nothing more within 30 s",
        0,
    ),
    Fault(
        "several-connections",
        lines.MixesConnections,
        "one of the dialling ends to receive 300 bytes",
        "0 bytes, and nothing more within 30 s",
        0,
    ),
    Fault(
        "several-connections",
        lines.EndsTogether,
        "one of the dialling ends to receive 600 bytes",
        "300 bytes, then connectionLost",
        300,
    ),
    Fault(
        "flush",
        lines.ClosesInHaste,
        "the accepting end to receive 1048576 bytes",
        "0 bytes, then connectionLost",
        0,
    ),
    Fault(
        "clean-end",
        lines.NeverEndsWell,
        "the dialling end to be told ConnectionDone",
        "ConnectionLost: Connection to the other side was lost",
    ),
    Fault(
        "half-close",
        lines.DeafAfterHalfClose,
        "the dialling end to receive 1048576 bytes",
        "0 bytes, and nothing more within 30 s",
        0,
    ),
    Fault(
        "half-close",
        lines.KnowsNoHalfClose,
        "no exception",
        "NotImplementedError: there is no half-close",
        others=["half-close-unheard"],
    ),
    Fault(
        "half-close-unheard",
        lines.HidesHalfClose,
        "the accepting end to be told connectionLost",
        "connectionMade, dataReceived, and nothing more within 30 s",
    ),
    Fault(
        "abort",
        lines.NeverAborted,
        "the dialling end to be told ConnectionAborted",
        "ConnectionDone: Connection was closed cleanly.",
    ),
    Fault(
        "abort",
        lines.FlushesBeforeItAborts,
        "the dialling end to be told connectionLost",
        "connectionMade, and nothing more within 30 s",
    ),
    Fault(
        "reset",
        lines.NeverReset,
        "the accepting end to be told of a connection that was lost",
        "ConnectionDone, as after a clean end",
    ),
    Fault(
        "vanished-peer", lines.SparesTheProducer, "the producer to be told stopProducing", "pause"
    ),
    Fault(
        "vanished-peer",
        lines.DoesNotMissItsPeer,
        "the dialling end to be told connectionLost",
        "connectionMade, and nothing more within 30 s",
    ),
    Fault(
        "story",
        lines.EndsTwice,
        "the dialling end to be told connectionMade, dataReceived, connectionLost, no more",
        "connectionMade, dataReceived, connectionLost, connectionLost",
    ),
    Fault("story", lines.BreaksAfterTheEnd, "no exception", "OSError: the socket is closed"),
    Fault("pause", lines.PausesTooLate, "nothing after pauseProducing", "65536 bytes", 65_536),
    Fault("pause", lines.IgnoresPauses, "nothing after pauseProducing", "983040 bytes", 65_536),
    Fault(
        "back-pressure",
        lines.NeverPauses,
        "the producer to be told pauseProducing before 1048576 bytes wait",
        "nothing",
    ),
    Fault(
        "back-pressure",
        lines.NeverResumes,
        "the producer to be told resumeProducing when the peer reads again",
        "pause; 131072 of 131072 bytes arrived, and nothing more within 30 s",
    ),
    Fault(
        "data-in-a-later-turn",
        lines.DeliversAtOnce,
        "dataReceived in a later turn",
        "dataReceived from within write",
    ),
    Fault(
        "data-in-a-later-turn",
        lines.DeliversWhenResumed,
        "dataReceived in a later turn",
        "dataReceived from within resumeProducing",
    ),
    Fault(
        "end-in-a-later-turn",
        lines.EndsAtOnce,
        "connectionLost in a later turn",
        "connectionLost from within abortConnection",
    ),
]


def broken_laws(fault: Fault) -> dict[str, LawBrokenError]:
    found = {}
    for law in LAWS:
        try:
            examine(law, fault.harbour())
        except LawBrokenError as exc:
            found[law.name] = exc
    return found


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_sound_transport_keeps_the_law_in_no_time(law: Law) -> None:
    harbour = Harbour()
    assert examine(law, harbour) is None
    assert harbour.clock.seconds() == 0
    assert harbour.clock.calls == []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_fault_is_found_by_its_law_alone_which_says_what_it_is(fault: Fault) -> None:
    found = broken_laws(fault)
    assert set(found) == {fault.law, *fault.others}
    error = found[fault.law]
    assert (error.law, error.sentence) == (fault.law, BY_NAME[fault.law].sentence)
    assert (error.expected, error.offset) == (fault.expected, fault.offset)
    assert fault.came in error.came
    for fact in fault.law, error.sentence, error.expected, error.came:
        assert fact in str(error)
    assert ("at byte" in str(error)) is (fault.offset is not None)


def test_every_law_is_the_only_one_to_find_some_fault() -> None:
    assert {fault.law for fault in FAULTS if not fault.others} == set(BY_NAME)
