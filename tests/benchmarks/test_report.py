"""Reports show what was measured, and what was left out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.report import Table, as_markdown, as_text, goals_table, print_report, tables
from benchmarks.results import Sample
from tests.benchmarks.sampled import fleet_sample, results, whole


def test_goals_have_a_row_each_with_a_verdict() -> None:
    rows = {row[0]: row for row in goals_table(results(*whole(0.5))).rows}
    assert rows["heartbeat, queued batch, no ACKs"] == (
        "heartbeat, queued batch, no ACKs",
        "<= 1.8, better 1.4",
        "0.5",
        "0.5 to 0.5",
        "pass",
    )
    assert rows["registration herd, 99 % within"][2:] == ("25 ms", "25 to 25", "pass")


def test_goal_that_nothing_was_measured_for_says_so() -> None:
    assert {row[2:] for row in goals_table(results()).rows} == {("", "", "not measured")}


def test_broker_stands_beside_its_ratio_to_the_limit() -> None:
    [table] = [each for each in tables(results(*whole(2.0))) if each.title.startswith("15,000")]
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert rows["limit"]["us, batch"] == "2"
    assert rows["hub"]["us, batch"] == "4 (2.00)"
    assert rows["hub"]["fan-out ms"] == "400 (2.00)"


def test_columns_are_aligned() -> None:
    table = Table("T", ("name", "us"), (("a", "1"), ("bcdef", "1,000")))
    assert as_text(table) == "T\nname      us\na          1\nbcdef  1,000"


def test_markdown_is_a_table() -> None:
    table = Table("T", ("name", "us"), (("a", ""), ("b", "2")))
    assert as_markdown(table) == "| name | us |\n| --- | --- |\n| a | |\n| b | 2 |"


def test_what_was_left_out_or_wrong_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    taken = results(
        fleet_sample("hub", "reg", invalid=("9 SYNs were sent again",)),
        Sample("fleet", "hub", "stop", 200, 0, inexact=["ACKs: 1 instead of 2"]),
    )
    taken.skipped["hub-acks"] = "it is not there"
    print_report(taken, "text")
    said = capsys.readouterr().out
    assert "hub-acks: it is not there" in said
    assert "round 1, reg: 9 SYNs were sent again" in said
    assert "WRONG: accounts that do not close:\n  hub, 200 engines, round 1, stop: ACKs" in said


def test_report_of_a_file_is_printed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    results(*whole(1.0)).save(path)
    assert main(["report", str(path), "--markdown"]) == 0
    assert "| what | goal | measured | least to most | verdict |" in capsys.readouterr().out


def test_other_file_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    path.write_text("{}")
    assert main(["report", str(path)]) == 1
    said = capsys.readouterr().err
    assert said == f"benchmarks: {path}: not the results of a benchmark of schema 1\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--rounds", "0"], "0 is less than 1"),
        (["run", "--contenders", "limit,rabbit"], "there is no contender 'rabbit'"),
        (["run", "--parts", "fleet,sauce"], "there is no part sauce"),
        (["run", "--phases", "reg:herd,dance"], "'dance' is no phase"),
    ],
)
def test_mistake_on_the_command_line_is_told(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_costs_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.plot import draw

    path = tmp_path / "plot.png"
    draw(results(*whole(1.5)), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_plotting_is_imported_only_where_something_is_drawn() -> None:
    import subprocess
    import sys

    script = (
        "import sys, benchmarks.__main__, benchmarks.plot; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
