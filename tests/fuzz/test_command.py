"""The command that fuzzes, and what it says; atheris itself where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import __main__ as command
from fuzz.campaign import Campaign, FuzzingError
from fuzz.targets import CORPUS, TARGETS, Target

BRITTLE = Target("tests.fuzz.brittle", "breaks at a word", ("tests.fuzz",), longest=40)


def test_inputs_are_played_again_without_a_fuzzer(capsys: pytest.CaptureFixture[str]) -> None:
    path = CORPUS / "uri" / "ipc----name"
    assert command.main(["uri", str(path)]) == 0
    assert capsys.readouterr().out == f"uri: {path} breaks nothing\n"


def test_whoever_lacks_the_fuzzer_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "unavailable", lambda: "there is none")
    assert command.main(["uri", "--runs", "1"]) == 1
    assert command.main(["all", "--smoke"]) == 0
    assert capsys.readouterr() == ("", "fuzz: there is none.\n" * 2)


def test_help_names_all_targets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in TARGETS)


def campaign(tmp_path: Path) -> Campaign:
    pytest.importorskip("atheris", reason="atheris has no wheel here, or make fuzz was never run")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "named").write_bytes(b"Bye")
    return Campaign("brittle", BRITTLE, tmp_path / "work", kept)


def test_what_breaks_a_target_is_found_kept_and_told_how_to_play_again(tmp_path: Path) -> None:
    fuzzing = campaign(tmp_path)
    with pytest.raises(FuzzingError) as caught:
        fuzzing.run(runs=200_000, seed=1)
    [crash] = (tmp_path / "work").glob("crash-*")
    assert b"Q" in crash.read_bytes()
    assert f"python -m fuzz brittle {crash}" in str(caught.value)
    assert "ValueError: brittle" in str(caught.value)


def test_what_reaches_more_is_kept_beside_what_people_have_named(tmp_path: Path) -> None:
    fuzzing = campaign(tmp_path)
    fuzzing.found.mkdir(parents=True)
    (fuzzing.found / "one").write_bytes(b"PP")
    (fuzzing.found / "more of the same").write_bytes(b"Bye, bye")
    assert fuzzing.keep().startswith("brittle: 2 inputs kept, 5 bytes")
    assert sorted(path.read_bytes() for path in fuzzing.kept.iterdir()) == [b"Bye", b"PP"]
    said = fuzzing.run(runs=50, seed=1)
    assert said.startswith("brittle: 50 inputs in ")
