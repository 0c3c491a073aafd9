"""What is wrong with each of the broken lines, in the words of the laws."""

from __future__ import annotations

from tests.transports.conformance import broken_ends as ends
from tests.transports.conformance import broken_lines as lines
from tests.transports.conformance.fault import Fault

FAULTS = [
    Fault("interfaces", lines.IsNoConsumer, "a connection that provides IConsumer", "IsNoConsumer"),
    Fault(
        "mirrored-whereabouts",
        lines.TellsStrangeAddress,
        "getHost() of the dialling end and getPeer() of the accepting end to be equal",
        "InprocAddress(name='name-1', number=1) and InprocAddress(name='proxy', number=1)",
    ),
    Fault(
        "order",
        lines.SwapsBytes,
        "the accepting end to receive b'0 0000008 0000010 000001'",
        "b' 0000000 8000010 0000010'",
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
        ends.EndsTogether,
        "one of the dialling ends to receive 600 bytes",
        "300 bytes, then connectionLost",
        300,
    ),
    Fault(
        "flush",
        ends.ClosesInHaste,
        "the accepting end to receive 1048576 bytes",
        "0 bytes, then connectionLost",
        0,
    ),
    Fault(
        "clean-end",
        ends.NeverEndsWell,
        "the dialling end to be told ConnectionDone",
        "ConnectionLost: Connection to the other side was lost...",
    ),
    Fault(
        "clean-end-in-halves",
        ends.NeverEndsWellInHalves,
        "the accepting end to be told ConnectionDone",
        "ConnectionLost: Connection to the other side was lost...",
    ),
    Fault(
        "half-close",
        ends.DeafAfterHalfClose,
        "the dialling end to receive 1048576 bytes",
        "0 bytes, and nothing more within 30 s",
        0,
    ),
    Fault(
        "half-close",
        ends.KnowsNoHalfClose,
        "no exception",
        "NotImplementedError: there is no half-close",
        others=["half-close-unheard"],
    ),
    Fault(
        "half-close-unheard",
        ends.HidesHalfClose,
        "the accepting end to be told connectionLost",
        "connectionMade, dataReceived, and nothing more within 30 s",
    ),
    Fault(
        "half-close",
        ends.HidesOwnHalfClose,
        "the dialling end to be told writeConnectionLost",
        "connectionMade, and nothing more within 30 s",
    ),
    Fault(
        "half-close",
        ends.HidesHalfCloseOfCallers,
        "the accepting end to be told readConnectionLost",
        "connectionMade, dataReceived, and nothing more within 30 s",
        others=["clean-end-in-halves"],
    ),
    Fault(
        "half-close",
        ends.HidesHalfCloseOfListeners,
        "the dialling end to be told readConnectionLost",
        "connectionMade, writeConnectionLost, dataReceived, connectionLost",
        others=["half-close-unheard", "clean-end-in-halves"],
    ),
    Fault(
        "half-close",
        ends.ClosesBothHalves,
        "the dialling end to be told writeConnectionLost",
        "connectionMade, connectionLost",
        others=["half-close-unheard"],
    ),
    Fault(
        "abort",
        ends.AbortsWithNoise,
        "nothing but the beginning of what was written",
        "5 bytes, others",
    ),
    Fault(
        "abort",
        ends.NeverAborted,
        "the dialling end to be told ConnectionAborted",
        "ConnectionDone: Connection was closed cleanly.",
    ),
    Fault(
        "abort",
        ends.FlushesBeforeItAborts,
        "the dialling end to be told connectionLost",
        "connectionMade, and nothing more within 30 s",
    ),
    Fault(
        "reset",
        ends.NeverReset,
        "the accepting end to be told of a connection that was lost",
        "ConnectionDone, as after a clean end",
    ),
    Fault(
        "vanished-peer", lines.SparesTheProducer, "the producer to be told stopProducing", "pause"
    ),
    Fault(
        "vanished-peer",
        ends.DoesNotMissItsPeer,
        "the dialling end to be told connectionLost",
        "connectionMade, and nothing more within 30 s",
    ),
    Fault(
        "story",
        ends.EndsTwice,
        "the dialling end to be told connectionMade, dataReceived, connectionLost, no more",
        "connectionMade, dataReceived, connectionLost, connectionLost",
    ),
    *(
        Fault("story", kind, "no exception", "OSError: the socket is closed")
        for kind in (
            ends.BreaksAfterTheEnd,
            ends.BreaksAtSequenceAfterTheEnd,
            ends.BreaksWhenAbortedAfterTheEnd,
        )
    ),
    Fault(
        "story",
        ends.BreaksWhenClosedAfterTheEnd,
        "no exception",
        "OSError: the socket is closed",
        others=["half-close"],
    ),
    Fault("pause", lines.PausesTooLate, "nothing after pauseProducing", "65536 bytes", 65_536),
    Fault(
        "pause",
        lines.PausesOnlyFromWithin,
        "nothing after pauseProducing",
        "4 bytes",
        1_048_576,
    ),
    Fault(
        "back-pressure",
        lines.ForgetsWithoutProducer,
        "the accepting end to receive 131079 bytes",
        "131072 bytes, and nothing more within 30 s",
        131_072,
    ),
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
        ends.EndsAtOnce,
        "connectionLost in a later turn",
        "connectionLost from within abortConnection",
    ),
]
