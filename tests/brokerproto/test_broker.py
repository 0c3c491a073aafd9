"""A broker and its callers: who is registered, what is counted, who hears what."""

from __future__ import annotations

import pytest

from brokerproto.commands import Step
from brokerproto.errors import DrainingError
from brokerproto.terms import Limits
from brokerproto.testing import RecordingCarrier
from tests.brokerproto.broker_bench import Bench, Caller

RICH = ":v=1;instance=a1;ack=1"


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Registration


def test_an_engine_is_registered_on_the_brokers_terms(bench: Bench) -> None:
    caller = bench.calls()
    (success,) = caller.says("NewEngine:a:0:v=1;instance=a1;interval=30;ack=2")
    terms = "v=1;epoch=1;interval=30;timeout=120;ack=2;herd=1"
    resume = "0b6d3d15178bcaf492999c5f275e2405"
    assert success == f"SUCCESS:Registered:{terms};resume={resume};boot=b0"
    member = bench.broker.fleet.get("a")
    assert member is not None
    assert (member.session, member.origin.address) == (caller.session, "peer")
    assert bench.hears() == [("registered", "a", 1)]


def test_a_plain_engine_hears_no_option(bench: Bench) -> None:
    assert bench.calls().says("NewEngine:a:0") == ["SUCCESS:Registered"]


@pytest.mark.fault("C022")
@pytest.mark.parametrize(("version", "answer"), [("99", "SUCCESS"), ("0", "FAILED:426:VERSION")])
def test_a_version_is_answered_with_one_not_above_it(
    bench: Bench, version: str, answer: str
) -> None:
    (said,) = bench.calls().says(f"NewEngine:a:0:v={version}")
    assert said.startswith(answer)
    assert "v=1;" in said or answer != "SUCCESS"


@pytest.mark.fault("C002")
def test_a_heartbeat_may_follow_its_hello_in_one_segment(bench: Bench) -> None:
    said = bench.calls().says("NewEngine:a:0:v=1;ack=1", "HeartBeat:a:1", "HeartBeat:a:2")
    assert said[1:] == ["ACK:1", "ACK:2"]
    assert bench.stats.heartbeats == 2


@pytest.mark.fault("C001")
def test_a_thousand_frames_in_one_segment_are_all_counted(bench: Bench) -> None:
    caller = bench.registers("a")
    said = caller.says(*[f"HeartBeat:a:{seq}" for seq in range(1, 1001)])
    assert said == [f"ACK:{seq}" for seq in range(1, 1001)]
    assert (bench.stats.heartbeats, bench.stats.missed) == (1000, 0)


def test_each_registration_of_an_id_raises_its_epoch(bench: Bench) -> None:
    for epoch in range(1, 4):
        caller = bench.calls()
        assert f";epoch={epoch};" in caller.says(f"NewEngine:a:0{RICH}")[0]
        caller.goes()
    assert [event for event in bench.hears() if event[0] == "registered"] == [
        ("registered", "a", epoch) for epoch in (1, 2, 3)
    ]


def test_herd_grows_with_the_fleet() -> None:
    bench = Bench(Limits(accept_rate=2))
    said = [bench.calls().says(f"NewEngine:e{n}:0{RICH}")[0] for n in range(5)]
    herds = [dict(pair.split("=") for pair in s.split(":")[2].split(";"))["herd"] for s in said]
    assert herds == ["1", "1", "2", "2", "3"]


def test_same_terms_are_kept_once_and_strange_ones_without_end_are_not() -> None:
    bench = Bench()
    terms = [bench.registers(f"a{n}").session.terms for n in range(2)]
    assert terms[0] is terms[1]
    for ack in range(3000):
        bench.registers("x", f":v=1;ack={ack}").goes()
    assert len(bench.broker._registrar._terms) <= 1000
    assert bench.registers("y", ":v=1;ack=2999").session.terms is not None
    assert bench.registers("z").session.terms is terms[0]


# Heartbeats


@pytest.mark.fault("C016")
def test_a_repeat_is_acknowledged_again_and_counted_as_one(bench: Bench) -> None:
    caller = bench.registers("a")
    assert caller.says("HeartBeat:a:1") == ["ACK:1"]
    assert caller.says("HeartBeat:a:1") == ["ACK:1"]
    assert (bench.stats.heartbeats, bench.stats.repeated) == (1, 1)


@pytest.mark.fault("C017")
def test_a_gap_is_missed_once_and_the_account_goes_on(bench: Bench) -> None:
    caller = bench.registers("a")
    assert caller.says("HeartBeat:a:1", "HeartBeat:a:3", "HeartBeat:a:4") == [
        "ACK:1",
        "ACK:3",
        "ACK:4",
    ]
    stats = bench.stats
    assert (stats.heartbeats, stats.missed, stats.gaps) == (3, 1, 1)
    assert bench.hears()[1:] == [("missed", "a", 1)]


@pytest.mark.fault("C018")
def test_a_number_that_goes_back_ends_the_session_and_is_no_sign_of_life(bench: Bench) -> None:
    caller = bench.registers("a")
    caller.says("HeartBeat:a:1", "HeartBeat:a:2")
    bench.passes(20)
    bench.hears()
    caller.hears()
    assert caller.says("HeartBeat:a:1")[0].startswith("FAILED:441:SEQUENCE_REGRESSED:now:")
    assert bench.hears() == [("lost", "a", "441")]
    assert bench.stats.late == 0
    assert bench.stats.rejected == {441: 1}


@pytest.mark.fault("C020")
def test_a_heartbeat_in_anothers_name_keeps_neither_alive(bench: Bench) -> None:
    victim, liar = bench.registers("victim"), bench.registers("liar")
    seen = victim.session.seen
    bench.passes(5)
    assert liar.says("HeartBeat:victim:1")[0].startswith("FAILED:442:NOT_YOUR_ID:now:")
    assert victim.session.seen == seen
    assert bench.hears()[2:] == [("lost", "liar", "442")]
    assert bench.stats.heartbeats == 0
    assert victim.says("HeartBeat:victim:1") == ["ACK:1"]


def test_what_was_lost_with_a_connection_is_missed_after_the_next(bench: Bench) -> None:
    first = bench.registers("a", RICH)
    first.says("HeartBeat:a:1", "HeartBeat:a:2")
    first.goes(reset=True)
    second = bench.registers("a", RICH, seq=5)
    second.says("HeartBeat:a:6")
    stats = bench.stats
    assert (stats.heartbeats, stats.missed, stats.gaps) == (3, 3, 1)
    assert bench.hears()[2:] == [("registered", "a", 2), ("missed", "a", 3)]


def test_a_life_that_comes_back_knowing_less_is_refused(bench: Bench) -> None:
    first = bench.registers("a", RICH)
    first.says("HeartBeat:a:1", "HeartBeat:a:2")
    first.goes()
    second = bench.calls()
    assert second.says(f"NewEngine:a:1{RICH}")[0].startswith("FAILED:441:")
    assert bench.hears()[2:] == [("refused", "a", 441)]
    assert bench.stats.registered == 0


def test_a_new_life_closes_the_account_of_the_old_one(bench: Bench) -> None:
    first = bench.registers("a", RICH)
    first.says("HeartBeat:a:1", "HeartBeat:a:3")
    first.goes()
    second = bench.registers("a", ":v=1;instance=b2")
    second.says("HeartBeat:a:1")
    stats = bench.stats
    assert (stats.heartbeats, stats.missed) == (3, 1)


@pytest.mark.parametrize(
    ("first_bytes", "protocol"),
    [
        (b"\x16\x03\x01", "tls"),
        (b"GET / HTTP/1.1\r\n", "http"),
        (b"SSH-2.0-x\r\n", "ssh"),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f", "zmtp"),
    ],
)
@pytest.mark.fault("C013")
def test_another_protocol_is_counted_by_its_name(
    bench: Bench, first_bytes: bytes, protocol: str
) -> None:
    caller = bench.calls()
    caller.sends(first_bytes)
    assert caller.session.is_over
    assert bench.stats.wrong_protocol == {protocol: 1}


@pytest.mark.fault("C012")
def test_the_third_unknown_verb_ends_the_session(bench: Bench) -> None:
    caller = bench.registers("a")
    codes = [said.split(":")[1] for said in caller.says("What", "What", "HeartBeat:a:1", "What")]
    assert codes == ["405", "405", "1", "405"]
    assert bench.stats.unknown_verbs == 2
    assert bench.stats.rejected == {405: 3}
    assert bench.hears()[1:] == [("lost", "a", "405")]


# Ends


@pytest.mark.parametrize(("bye", "cause"), [("Bye", "bye"), ("Bye:reason=stopped", "stopped")])
@pytest.mark.fault("C049")
def test_whoever_says_bye_has_left_and_is_not_lost(bench: Bench, bye: str, cause: str) -> None:
    caller = bench.registers("a")
    assert caller.says(bye) == []
    caller.goes()
    assert bench.hears()[1:] == [("left", "a", cause)]
    assert bench.stats.causes == {f"left:{cause}": 1}


def test_reasons_that_engines_think_up_are_not_counted_one_by_one_without_end(
    bench: Bench,
) -> None:
    for n in range(1000):
        bench.registers("a").says(f"Bye:reason=because-{n}")
    bench.registers("a").says("Bye:reason=because-7")
    causes = bench.stats.causes
    assert len(causes) <= 101
    assert sum(causes.values()) == bench.stats.left == 1001
    assert causes["left:because-7"] == 2
    assert bench.broker.fleet.ends[-2].cause == "because-999"
    bench.registers("a").goes()
    assert bench.stats.causes["lost:closed"] == 1


@pytest.mark.parametrize(("reset", "cause"), [(False, "closed"), (True, "reset")])
@pytest.mark.fault("C025")
def test_a_connection_that_ends_without_bye_is_lost(bench: Bench, reset: bool, cause: str) -> None:
    bench.registers("a").goes(reset=reset)
    assert bench.hears()[1:] == [("lost", "a", cause)]
    assert (bench.stats.lost, bench.stats.causes) == (1, {f"lost:{cause}": 1})


@pytest.mark.fault("C046")
def test_frames_after_an_end_are_counted_as_stale_and_change_nothing(bench: Bench) -> None:
    caller = bench.registers("a")
    caller.says("HeartBeat:a:1", "oops!", "HeartBeat:a:2", "Bye")
    bench.hears()
    assert caller.says("HeartBeat:a:3", "NewEngine:a:0") == []
    stats = bench.stats
    assert (stats.stale, stats.heartbeats, stats.rejected) == (4, 1, {400: 1})
    assert bench.hears() == []


def states() -> dict[str, list[str]]:
    """What a caller has said before its connection breaks."""
    return {
        "before a hello": [],
        "within a hello": ["NewEngine:x:"],
        "after a hello": [f"NewEngine:x:0{RICH}\n"],
        "within a heartbeat": [f"NewEngine:x:0{RICH}\n", "HeartBeat:x:"],
        "after a heartbeat": [f"NewEngine:x:0{RICH}\nHeartBeat:x:1\n"],
        "after a bye": [f"NewEngine:x:0{RICH}\nBye\n"],
        "after a refusal": ["NewEngine:-:0\n"],
        "after an offence": [f"NewEngine:x:0{RICH}\n", "oops!\n"],
        "in a plain hello": ["NewEngine:x:0\n"],
    }


@pytest.mark.fault("C100")
@pytest.mark.parametrize("state", states())
@pytest.mark.parametrize("commanded", [False, True])
def test_a_reset_in_any_state_ends_only_that_session(
    bench: Bench, state: str, commanded: bool
) -> None:
    bystander = bench.registers("a")
    caller = bench.calls("x")
    for part in states()[state]:
        caller.sends(part.encode())
    command = bench.orders("DOWORK", 5) if commanded else None
    caller.goes(reset=True)
    bench.passes(15)
    assert bystander.says("HeartBeat:a:1")[-1] == "ACK:1"
    stats = bench.stats
    assert (stats.connections, stats.registered, stats.late) == (1, 1, 0)
    assert stats.opened == stats.closed + stats.connections
    if command is not None:
        assert command.entries["a"].step is Step.WRITTEN
        assert command.entries.keys() - {"a"} == ({"x"} if command.states[Step.LOST] else set())


def test_closing_tells_everybody_and_frees_all(bench: Bench) -> None:
    callers = [bench.registers("a"), bench.registers("p", ""), bench.calls()]
    bench.broker.close(DrainingError("the broker stops"))
    assert [caller.codes() for caller in callers] == [[503], [503], [503]]
    bench.broker.close(DrainingError("again"))
    assert [caller.codes() for caller in callers] == [[], [], []]
    assert bench.stats.registered == 0
    assert bench.stats.causes == {"lost:503": 2}
    for caller in callers:
        caller.goes()
    assert bench.stats.connections == 0


def test_ending_without_a_word_says_nothing(bench: Bench) -> None:
    caller = bench.registers("a")
    bench.broker.end(caller.session, None)
    assert caller.hears() == []
    assert bench.hears()[1:] == [("lost", "a", "closed")]
    assert bench.stats.rejected == {}


# The cap


@pytest.mark.fault("C030")
def test_connections_beyond_the_cap_are_told_so_at_once() -> None:
    bench = Bench(Limits(connections=50))
    engines = [bench.registers(f"e{n}") for n in range(40)]
    silent = [bench.calls() for _ in range(10)]
    surplus = [bench.calls(f"surplus{n}") for n in range(100)]
    assert all(caller.session.is_over for caller in surplus)
    assert [caller.codes() for caller in surplus] == [[507]] * 100
    assert bench.stats.rejected == {507: 100}
    assert bench.hears()[40:] == [("refused", f"surplus{n}", 507) for n in range(100)]
    for n, caller in enumerate(engines):
        assert caller.says(f"HeartBeat:e{n}:1") == ["ACK:1"]
    for caller in [*surplus, *silent]:
        caller.goes()
    assert bench.stats.connections == 40
    assert bench.registers("late").session.is_open


@pytest.mark.parametrize(("rate", "retry"), [(2000, 5), (1, 12), (0, 5)])
def test_a_full_broker_names_the_herd_and_at_least_five_seconds(rate: int, retry: int) -> None:
    bench = Bench(Limits(connections=12, accept_rate=rate))
    for n in range(12):
        bench.registers(f"e{n}")
    assert bench.calls().hears()[0].startswith(f"FAILED:507:BROKER_FULL:{retry}:")


def test_a_session_may_have_nobody_who_carries_its_bytes(bench: Bench) -> None:
    caller = Caller(bench.broker)
    caller.session.carrier = None
    caller.says(f"NewEngine:a:0{RICH}")
    bench.orders("DOWORK", 1)
    bench.passes(60)
    assert isinstance(caller.carrier, RecordingCarrier)
    assert bench.stats.causes == {"lost:timeout": 1}


@pytest.mark.fault("C049")
@pytest.mark.parametrize("reset", [False, True])
def test_bye_that_was_read_is_a_leave_however_the_connection_ends(
    reset: bool, bench: Bench
) -> None:
    caller = bench.registers("a")
    caller.says("Bye:reason=stopped")
    caller.goes(reset=reset)
    assert bench.stats.causes == {"left:stopped": 1}
