"""What spoils a measurement is seen."""

from __future__ import annotations

from pathlib import Path

from benchmarks.hazards import SynCounts, wait_for_connection_tracking

_NETSTAT = """\
TcpExt: SyncookiesSent ListenOverflows TCPSynRetrans
TcpExt: 1 20 300
IpExt: InNoRoutes InOctets
IpExt: 4 5
"""


def test_counts_are_those_of_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "netstat"
    path.write_text(_NETSTAT)
    assert SynCounts.now(path) == SynCounts(retransmitted=300, overflowed=20)
    assert SynCounts.now().retransmitted >= 0


def test_herd_with_syns_sent_again_is_invalid() -> None:
    before = SynCounts(300, 20)
    assert before.problems_until(SynCounts(300, 25)) == []
    assert before.problems_until(SynCounts(307, 21)) == [
        "7 SYNs were sent again, 1 found the listen queue full"
    ]


def _tracked(folder: Path, count: int) -> Path:
    (folder / "nf_conntrack_count").write_text(f"{count}\n")
    (folder / "nf_conntrack_max").write_text("1000\n")
    return folder


def test_herd_waits_until_connections_are_forgotten(tmp_path: Path) -> None:
    told: list[str] = []
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        _tracked(tmp_path, 900 - 200 * len(slept))

    wait_for_connection_tracking(300, told.append, _tracked(tmp_path, 900), sleep)
    assert len(slept) == 2
    assert told == ["900 of 1000 tracked connections: waiting until old ones are forgotten"]


def test_what_never_goes_away_is_not_waited_for(tmp_path: Path) -> None:
    slept: list[float] = []
    folder = _tracked(tmp_path, 900)
    wait_for_connection_tracking(300, lambda _: None, folder, slept.append)
    assert 120 <= sum(slept) <= 150


def test_nobody_waits_where_nothing_is_tracked(tmp_path: Path) -> None:
    wait_for_connection_tracking(300, lambda _: None, tmp_path, lambda _: None)
