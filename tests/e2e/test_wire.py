"""What a broker makes of awkward and malformed streams; its neighbours notice nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from services.scaletest.programs import wait_until
from tests.e2e.peers import Peer, refused_with
from tests.e2e.scene import Scene

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
REGISTERED_AND_LEFT = {"opened": 1, "registrations": 1, "left": 1, "causes__left__bye": 1}
REGISTERED_AND_CLOSED = {"opened": 1, "registrations": 1, "lost": 1, "causes__lost__closed": 1}

TLS = bytes.fromhex("16030100c4010000c00303") + bytes(range(32, 64)) + b"\x20" * 100
HTTP = b"GET /dowork HTTP/1.1\r\nHost: broker\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.6\r\n"
ZMTP = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + bytes(48)


def case(fault: str, name: str, *values: object) -> Any:
    """Name the values of a test after the fault that they are a case of."""
    return pytest.param(*values, id=f"{fault}-{name}", marks=pytest.mark.fault(fault))


def lost_by(code: int) -> dict[str, int]:
    """Give the counts that change when a registered engine breaks a rule."""
    return {
        "opened": 1,
        "registrations": 1,
        "lost": 1,
        f"causes__lost__{code}": 1,
        f"rejected__{code}": 1,
    }


@pytest.mark.fault("C002")
def test_heartbeat_behind_its_hello_in_one_segment_is_counted(scene: Scene) -> None:
    with scene.changed_by(heartbeats=1, **REGISTERED_AND_LEFT), Peer.to(scene.address) as peer:
        peer.send("NewEngine:hasty:0:ack=1", "HeartBeat:hasty:1")
        assert peer.frame().startswith("SUCCESS:Registered:v=1;epoch=")
        assert peer.frame() == "ACK:1"
        peer.send("Bye")
        assert peer.rest() == []


@pytest.mark.fault("C001")
def test_thousand_frames_in_one_segment_are_all_counted_in_order(scene: Scene) -> None:
    beats = [f"HeartBeat:burst:{number}" for number in range(1, 1001)]
    with scene.changed_by(heartbeats=1000, **REGISTERED_AND_LEFT):
        engine = scene.engine("burst")
        engine.send(*beats)
        assert engine.frames(1000) == [f"ACK:{number}" for number in range(1, 1001)]
        engine.leave()


@pytest.mark.fault("C003")
@pytest.mark.parametrize("slice_length", [10_000, 1])
def test_one_byte_per_segment_gives_what_the_whole_stream_gives(
    scene: Scene, slice_length: int
) -> None:
    engine_id = f"sliced-{slice_length}"
    frames = [
        f"NewEngine:{engine_id}:0:v=1;ack=2;interval=60;strange=yes",
        f"HeartBeat:{engine_id}:1",
        f"HeartBeat:{engine_id}:2\r",
        "",
        f"HeartBeat:{engine_id}:2",
        f"HeartBeat:{engine_id}:5:rtt=900",
        "Sing:la:la",
        f"HeartBeat:{engine_id}:6",
        "Bye:reason=enough",
    ]
    stream = "".join(f"{frame}\n" for frame in frames).encode()
    with (
        scene.changed_by(
            opened=1,
            registrations=1,
            heartbeats=4,
            missed=2,
            gaps=1,
            repeated=1,
            unknown_verbs=1,
            rejected__405=1,
            left=1,
            causes__left__enough=1,
        ),
        Peer.to(scene.address) as peer,
    ):
        for begin in range(0, len(stream), slice_length):
            peer.write(stream[begin : begin + slice_length])
        welcome, *answers = peer.rest()
    assert welcome.startswith("SUCCESS:Registered:v=1;epoch=1;interval=60;timeout=240;ack=2;")
    assert answers == ["ACK:2", "ACK:2", "FAILED:405:UNKNOWN_VERB:now:no such verb", "ACK:6"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        case("C006", "nul", b"NewEngine:a\x00b:0\n", 415),
        case("C006", "bell", b"NewEngine:a\x07b:0\n", 415),
        case("C006", "ansi", b"NewEngine:\x1b[31mred:0\n", 415),
        case("C007", "invalid-utf8", b"NewEngine:caf\xe9:0\n", 415),
        case("C007", "invalid-utf8-another", b"NewEngine:caf\xe8:0\n", 415),
        case("C007", "overlong", b"NewEngine:\xc0\xaf:0\n", 415),
        case("C007", "surrogate", b"NewEngine:\xed\xa0\x80:0\n", 415),
        case("C008", "semicolon", b"NewEngine:a;b:0\n", 415),
        case("C008", "equals", b"NewEngine:a=b:0\n", 415),
        case("C008", "space", b"NewEngine:a b:0\n", 415),
        case("C008", "colon", b"NewEngine:a:b:0\n", 400),
        case("C009", "empty", b"NewEngine::0\n", 415),
        case("C009", "missing", b"NewEngine\n", 400),
        case("C009", "254-bytes", b"NewEngine:" + b"e" * 254 + b":0\n", 415),
        case("C011", "beat-first", b"HeartBeat:a:1\n", 424),
        case("C012", "unknown-verb-first", b"Sing:la\n", 405),
        case("C015", "sequence", b"NewEngine:a:NaN\n", 400),
        case("C015", "too-large", b"NewEngine:a:9007199254740992\n", 400),
        case("C021", "extra-field", b"NewEngine:a:0:v=1:more\n", 400),
        case("C021", "demanded", b"NewEngine:a:0:!must=1\n", 426),
        case("C022", "version-0", b"NewEngine:a:0:v=0\n", 426),
        case("C022", "version-x", b"NewEngine:a:0:v=x\n", 400),
    ],
)
def test_bad_hello_is_refused_and_nobody_registered(scene: Scene, sent: bytes, code: int) -> None:
    with (
        scene.changed_by(opened=1, **{f"rejected__{code}": 1}),
        Peer.to(scene.address) as peer,
    ):
        peer.write(sent)
        assert refused_with(peer.rest()) == code


@pytest.mark.fault("C009")
def test_id_of_253_bytes_is_accepted(scene: Scene) -> None:
    with scene.changed_by(heartbeats=1, **REGISTERED_AND_LEFT):
        engine = scene.engine("e" * 253)
        engine.beat()
        engine.leave()


@pytest.mark.fault("C022")
def test_version_99_is_answered_with_version_1(scene: Scene) -> None:
    with scene.changed_by(**REGISTERED_AND_LEFT), Peer.to(scene.address) as peer:
        peer.send("NewEngine:from-the-future:0:v=99;warp=9")
        assert "v=1" in peer.frame().split(":")[2].split(";")
        peer.send("Bye")
        assert peer.rest() == []


@pytest.mark.fault("C013")
@pytest.mark.parametrize(
    ("protocol", "sent"), [("tls", TLS), ("http", HTTP), ("ssh", SSH), ("zmtp", ZMTP)]
)
def test_wrong_protocol_is_closed_within_a_second_and_counted_by_kind(
    scene: Scene, protocol: str, sent: bytes
) -> None:
    # Whole lines behind the refused one count as frames that came too late.
    stale = max(0, sent.count(b"\n") - 1)
    with (
        scene.changed_by(
            opened=1, rejected__400=1, stale=stale, **{f"wrong_protocol__{protocol}": 1}
        ),
        Peer.to(scene.address) as peer,
    ):
        peer.write(sent)
        # At once: at the end of the handshake's time it would be 408.
        assert refused_with(peer.rest()) == 400


@pytest.mark.fault("C010")
@pytest.mark.parametrize(
    ("beginning", "code"),
    [(b"", 400), (b"NewEngine:long:0:" + b"k=" + b"v" * 256 + b";", 413)],
)
def test_megabytes_without_a_line_end_cost_neither_memory_nor_log(
    scene: Scene, beginning: bytes, code: int
) -> None:
    pairs = b"".join(b"k%d=%s;" % (n, b"v" * 250) for n in range(8))
    log = scene.broker.program.log_path
    scene.broker.forget_peak()
    peak, logged = scene.broker.peak(), log.stat().st_size
    for megabytes in (1, 16, 100):
        with (
            scene.changed_by(opened=1, **{f"rejected__{code}": 1}),
            Peer.to(scene.address) as peer,
        ):
            peer.write_to_the_deaf(beginning + pairs + b"A" * (megabytes * MIB))
            # Who still writes when the broker has heard enough may see a reset.
            try:
                assert refused_with(peer.rest()) == code
            except ConnectionError:
                assert megabytes > 1
    assert scene.broker.peak() - peak < MIB
    assert log.stat().st_size - logged < 3 * 1024


@pytest.mark.fault("C010")
def test_registered_engine_that_never_ends_its_line_is_refused(scene: Scene) -> None:
    with scene.changed_by(**lost_by(413)):
        engine = scene.engine("endless")
        engine.write(b"HeartBeat:endless:1:" + b"k=v;" * 1024)
        assert refused_with(engine.rest()) == 413
        engine.socket.close()


@pytest.mark.fault("C012")
def test_third_unknown_verb_of_a_registered_engine_closes(scene: Scene) -> None:
    with scene.changed_by(heartbeats=1, unknown_verbs=2, **{**lost_by(405), "rejected__405": 3}):
        engine = scene.engine("singer")
        engine.send("Sing:la", "Sing:la")
        assert [refused_with([answer]) for answer in engine.frames(2)] == [405, 405]
        engine.beat()
        engine.send("Sing:la")
        assert refused_with(engine.rest()) == 405
        engine.socket.close()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        case("C018", "regress", "HeartBeat:rogue:1", 441),
        pytest.param("HeartBeat:rogue:99", 422, id="gap-too-large"),
        case("C020", "foreign-id", "HeartBeat:neighbour-0:3", 442),
        pytest.param("NewEngine:rogue-2:0", 431, id="second-hello"),
        case("C015", "sequence", "HeartBeat:rogue:+4", 400),
        case("C021", "extra-field", "HeartBeat:rogue:4:rtt=1:more", 400),
        case("C008", "space", "HeartBeat:rogue :4", 400),
        case("C021", "demanded", "HeartBeat:rogue:4:!must=1", 426),
    ],
)
def test_registered_engine_that_breaks_a_rule_is_refused_and_its_beats_still_count(
    scene: Scene, frame: str, code: int
) -> None:
    with scene.changed_by(heartbeats=3, **lost_by(code)):
        engine = scene.engine("rogue")
        for _ in range(3):
            engine.beat()
        engine.send(frame)
        assert refused_with(engine.rest()) == code
        engine.socket.close()


@pytest.mark.fault("C020")
def test_heartbeat_in_anothers_name_is_no_sign_of_life_of_the_other(scene: Scene) -> None:
    victim = "neighbour-0"

    def silent_for_a_while() -> dict[str, Any] | None:
        known: dict[str, Any] = scene.broker.engines()[victim]
        return known if known["age"] > 0 else None

    with scene.changed_by(**lost_by(442)):
        before = wait_until("the victim to be silent", silent_for_a_while)
        engine = scene.engine("thief")
        engine.send(f"HeartBeat:{victim}:{before['account']['last'] + 1}")
        assert refused_with(engine.rest()) == 442
        engine.socket.close()
        after = scene.broker.engines()[victim]
        assert after["account"] == before["account"]
        assert after["age"] >= before["age"]


@pytest.mark.fault("C016")
@pytest.mark.fault("C017")
def test_repeats_and_gaps_are_told_apart_and_counted(scene: Scene) -> None:
    with scene.changed_by(heartbeats=3, missed=1, gaps=1, repeated=1, **REGISTERED_AND_LEFT):
        engine = scene.engine("patchy")
        engine.send(*(f"HeartBeat:patchy:{number}" for number in (1, 1, 3, 4)))
        assert engine.frames(4) == ["ACK:1", "ACK:1", "ACK:3", "ACK:4"]
        engine.leave()


@pytest.mark.fault("C021")
def test_unknown_options_are_ignored(scene: Scene) -> None:
    with scene.changed_by(heartbeats=1, **REGISTERED_AND_LEFT):
        engine = scene.engine("chatty")
        engine.send("HeartBeat:chatty:1:mood=good;rtt=12")
        assert engine.frame() == "ACK:1"
        engine.leave()


@pytest.mark.fault("C025")
def test_half_close_after_the_hello_is_a_loss_and_leaves_nothing_open(scene: Scene) -> None:
    files = scene.broker.open_files()
    with scene.changed_by(**REGISTERED_AND_CLOSED):
        engine = scene.engine("half")
        engine.finish()
        assert engine.rest() == []
        # Ours is open still.
        scene.broker.until_open_files(files)
        engine.socket.close()


@pytest.mark.fault("C040")
def test_second_engine_of_an_id_is_refused_and_the_first_goes_on(scene: Scene) -> None:
    with scene.changed_by(
        opened=3,
        registrations=2,
        heartbeats=4,
        probes=1,
        rejected__409=1,
        left=2,
        causes__left__bye=2,
    ):
        first = scene.engine("twin")
        first.beat()
        with Peer.to(scene.address) as second:
            second.send("NewEngine:twin:0:v=1;instance=b")
            assert first.frame() == "PING"
            first.beat()
            [answer] = second.rest()
        assert re.fullmatch(r"FAILED:409:DUPLICATE_ID:[1-9]\d*:this id is registered", answer)
        first.beat()
        first.leave()
        second_try = scene.engine("twin")
        second_try.beat()
        second_try.leave()


@pytest.mark.fault("C023")
@pytest.mark.fault("C024")
@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'x"}\r\n{"level":"critical","message":"forged', 415),
        (b"x\n2026-11-22T12:00:00Z [broker] forged", 400),
        (b"\x1b[2J\x1b]0;title\x07", 415),
        (b"{0.__class__.__init__.__globals__}", 415),
        (b"%s%n%(message)s", 415),
        (b"{secret}", 415),
        ("\u202eevil".encode(), 415),
        (b"\xff\xfe", 415),
    ],
)
def test_hostile_hello_makes_one_harmless_json_line(
    scene: Scene, payload: bytes, code: int
) -> None:
    # Each from a host of its own, or the sixth would only be counted.
    host = f"127.23.{len(payload)}.{code % 100}"
    log = scene.broker.program.log_path
    before = len(log.read_bytes().splitlines())
    with (
        scene.changed_by(opened=1, stale=payload.count(b"\n"), **{f"rejected__{code}": 1}),
        Peer.to(scene.address, host) as peer,
    ):
        peer.write(b"NewEngine:" + payload + b":0\n")
        assert refused_with(peer.rest()) == code
    events = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    [event] = [event for event in events if " connections, " not in event["message"]]
    assert (event["level"], event["code"], event["id"]) == ("info", code, "no id")
    assert event["message"].startswith(f"refused {host}:")
    assert not any(mark in json.dumps(event) for mark in ("forged", "globals", "%s", "secret"))


@pytest.mark.fault("C023")
def test_ids_that_look_like_formats_are_logged_as_they_are(scene: Scene) -> None:
    with scene.changed_by(heartbeats=1, missed=1, gaps=1, **REGISTERED_AND_LEFT):
        engine = scene.engine("0.__class__.s")
        engine.send("HeartBeat:0.__class__.s:2")
        assert engine.frame() == "ACK:2"
        engine.leave()
    messages = [event["message"] for event in scene.broker.program.events()]
    assert "0.__class__.s missed 1 heartbeat, 1 to 1" in messages
