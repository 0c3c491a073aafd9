from __future__ import annotations

from typing import Any

import pytest
from twisted.python import usage

from services.program.options import Option, Options
from services.program.start import CONFIGURATION_ERROR
from services.program.values import OneOf, WholeNumber


def even(text: str) -> int:
    number = int(text, 10) if text.isdecimal() else 1
    if number % 2:
        raise ValueError("not even")
    return number


class Sample(Options):
    program = "sample"
    longdesc = "For the tests."
    table = (
        Option(
            name="listen",
            doc="Where.",
            metavar="URI",
            default="one,two",
            env="SAMPLE_LISTEN",
            repeatable=True,
        ),
        Option(
            name="interval",
            doc="How often.",
            parse=WholeNumber(1, 300),
            default="10",
            env="SAMPLE_INTERVAL",
        ),
        Option(name="work-kind", doc="What.", parse=OneOf(("block", "pretend"))),
        Option(name="even", doc="Which.", parse=even, env="SAMPLE_EVEN"),
        Option(name="insecure", doc="Whether.", flag=True, env="SAMPLE_INSECURE"),
    )


def parsed(*arguments: str, **environ: str) -> Sample:
    options = Sample(environ)
    options.parseOptions(list(arguments))
    return options


def mistake(capfd: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """Give the one line that a mistake costs, without what each of them has."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments, **environ)
    assert caught.value.code == CONFIGURATION_ERROR
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("sample: ")
    assert err.endswith(" (try: twistd sample --help)\n")
    return err[len("sample: ") : -len(" (try: twistd sample --help)\n")]


def test_table_gives_the_defaults() -> None:
    assert dict(parsed()) == {
        "listen": ("one", "two"),
        "interval": 10,
        "work-kind": None,
        "even": None,
        "insecure": False,
        "log-format": None,
    }


def test_environment_replaces_the_default() -> None:
    options = parsed(
        SAMPLE_LISTEN=" a, b\tc,", SAMPLE_INTERVAL="7", SAMPLE_INSECURE="yes", SAMPLE_EVEN="4"
    )
    assert options["listen"] == ("a", "b", "c")
    assert (options["interval"], options["insecure"], options["even"]) == (7, True, 4)


def test_command_line_wins_over_the_environment_which_is_not_even_read() -> None:
    options = parsed("--interval=8", "--listen=x", "--listen", "y", SAMPLE_INTERVAL="nonsense")
    assert (options["interval"], options["listen"]) == (8, ("x", "y"))


def test_last_of_an_option_that_is_not_repeatable_holds() -> None:
    assert parsed("--interval=8", "--interval=9")["interval"] == 9


def test_repeated_option_does_not_outlive_its_command_line() -> None:
    assert parsed("--listen=x")["listen"] == ("x",)
    assert parsed("--listen=y")["listen"] == ("y",)


@pytest.mark.parametrize("empty", ["", " "])
def test_empty_variable_is_an_unset_one(empty: str) -> None:
    options = parsed(SAMPLE_INTERVAL=empty, SAMPLE_LISTEN=empty, SAMPLE_INSECURE=empty)
    assert dict(options) == dict(parsed())


def test_variables_that_are_nobodys_option_are_ignored() -> None:
    options = parsed(
        SAMPLE_PORT="tcp://10.0.0.1:1337", SAMPLE_SERVICE_HOST="10.0.0.1", SAMPLE_WHATEVER="x"
    )
    assert dict(options) == dict(parsed())


@pytest.mark.parametrize(
    "name",
    [
        "BROKER_PORT",
        "BROKER_SERVICE_HOST",
        "BROKER_SERVICE_PORT",
        "BROKER_SERVICE_PORT_HTTP",
        "BROKER_PORT_1337_TCP",
        "BROKER_PORT_1337_TCP_PROTO",
        "BROKER_PORT_1337_TCP_PORT",
        "BROKER_PORT_1337_UDP_ADDR",
        "BROKERS_INSTRUCT_PORT",
        "ENGINE_PORT",
    ],
)
def test_option_cannot_have_a_name_that_kubernetes_sets(name: str) -> None:
    with pytest.raises(ValueError, match="Kubernetes"):
        Option(name="port", doc="Where.", env=name)


@pytest.mark.parametrize("name", ["BROKER_LISTEN", "BROKER_HOST", "ENGINE_ID", "PORT"])
def test_option_can_have_any_other_name(name: str) -> None:
    assert Option(name="x", doc="Y.", env=name).env == name


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--interval=0"], "--interval: '0' is not a whole number from 1 to 300"),
        (["--interval", ""], "--interval: '' is not a whole number from 1 to 300"),
        (["--work-kind=other"], "--work-kind: 'other' is none of block, pretend"),
        (["--even=3"], "--even: '3': not even"),
        (["--interval"], "option --interval requires argument"),
        (["--insecure=1"], "option --insecure must not have an argument"),
        (["--nosuch"], "option --nosuch not recognized"),
        (["--in"], "option --in not a unique prefix"),
        (["-x"], "option -x not recognized"),
        (["stray", "more"], "'stray' is one argument too many"),
        (["st\nray\x1b"], r"'st\nray\x1b' is one argument too many"),
    ],
)
def test_mistake_on_the_command_line_is_one_line(
    capfd: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert mistake(capfd, *arguments) == line


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"SAMPLE_INTERVAL": "x"}, "SAMPLE_INTERVAL: 'x' is not a whole number from 1 to 300"),
        ({"SAMPLE_INSECURE": "on"}, "SAMPLE_INSECURE: 'on' is none of 1, 0, true, false, yes, no"),
        ({"SAMPLE_EVEN": "5"}, "SAMPLE_EVEN: '5': not even"),
        ({"SAMPLE_LOG_FORMAT": "xml"}, "SAMPLE_LOG_FORMAT: 'xml' is none of text, json"),
    ],
)
def test_mistake_in_the_environment_names_the_variable(
    capfd: pytest.CaptureFixture[str], environ: dict[str, str], line: str
) -> None:
    assert mistake(capfd, **environ) == line


def test_value_of_any_length_costs_one_readable_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(mistake(capfd, "--even", "\n" * 10_000 + "1")) < 500
    assert len(mistake(capfd, "--" + "n" * 10_000)) < 1100


def test_check_of_several_options_is_one_line_too(capfd: pytest.CaptureFixture[str]) -> None:
    class Strict(Sample):
        def postOptions(self) -> None:
            super().postOptions()
            raise usage.UsageError("--interval: longer than --timeout")

    with pytest.raises(SystemExit) as caught:
        Strict({}).parseOptions([])
    assert caught.value.code == CONFIGURATION_ERROR
    assert capfd.readouterr().err == (
        "sample: --interval: longer than --timeout (try: twistd sample --help)\n"
    )


def test_program_derived_from_another_has_each_option_once() -> None:
    class Derived(Sample):
        program = "derived"

    names = [option.name for option in Derived.table]
    assert len(names) == len(set(names))


def test_help_is_made_of_the_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        parsed("--help")
    assert caught.value.code == 0
    help_page = capsys.readouterr().out
    lines: Any = [" ".join(line.split()) for line in help_page.splitlines()]
    assert "--listen=URI Where. [default: one,two, env SAMPLE_LISTEN]" in lines
    assert "--interval=N How often. [default: 10, env SAMPLE_INTERVAL]" in lines
    assert "--work-kind=block|pretend What." in lines
    assert "--even=TEXT Which. [env SAMPLE_EVEN]" in lines
    assert "--insecure Whether. [env SAMPLE_INSECURE]" in lines
    assert "For the tests." in lines


@pytest.mark.parametrize("columns", ["", "0", "20", "many"])
def test_help_fits_into_any_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        parsed("--help")
    assert "--insecure" in capsys.readouterr().out


def test_version_names_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("brokerproto ")
