"""What a broker can be told, and what it takes for a mistake."""

from __future__ import annotations

import pytest
from twisted.internet.testing import MemoryReactorClock

from brokerproto.terms import Limits
from services.broker.options import Options
from services.broker.plugin import broker_program
from transports import URI


def parsed(*arguments: str, **environ: str) -> Options:
    options = Options(environ)
    options.parseOptions(list(arguments))
    return options


def mistake(capfd: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    """Give the one line that a mistake costs."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments, **environ)
    out, err = capfd.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (78, "", 1)
    assert err.startswith("broker: ")
    return err


def test_defaults_are_the_documented_ones() -> None:
    options = parsed()
    assert options["listen"] == (URI("tcp", "127.0.0.1", 1337),)
    assert options["control"] == URI("http", "127.0.0.1", 8080)
    assert (options["control-host"], options["insecure"]) == ((), False)
    limits = options.limits(options["max-connections"])
    assert limits == Limits()
    assert (limits.interval, limits.timeout_of(10), limits.handshake) == (10, 40, 10)
    assert (limits.connections, limits.accept_rate) == (65_536, 2_000)


def test_every_option_reaches_the_limits() -> None:
    options = parsed(
        "--interval=5",
        "--timeout=12",
        "--handshake-timeout=3",
        "--accept-rate=0",
        "--max-connections=77",
    )
    assert options.limits(50) == Limits(5, 12, 3, 50, 0)
    assert options["max-connections"] == 77


@pytest.mark.parametrize(
    ("option", "least", "most"),
    [
        ("interval", 1, 300),
        ("handshake-timeout", 1, 86_400),
        ("max-connections", 1, 10_000_000),
        ("accept-rate", 0, 1_000_000),
        ("control-rate", 0, 1_000_000),
    ],
)
def test_number_is_taken_within_its_bounds_and_no_further(
    capfd: pytest.CaptureFixture[str], option: str, least: int, most: int
) -> None:
    variable = f"BROKER_{option.replace('-', '_').upper()}"
    for value in (least, most):
        assert parsed(f"--{option}={value}")[option] == value
        assert parsed(**{variable: str(value)})[option] == value
    for wrong in (least - 1, most + 1, "", "x", "1.5", "+1", "01", "1e1", "\u0665", "0x1"):
        assert f"--{option}: " in mistake(capfd, f"--{option}={wrong}")
    assert f"{variable}: 'x' is not" in mistake(capfd, **{variable: "x"})


@pytest.mark.parametrize(("interval", "timeout"), [(10, 22), (1, 4), (300, 602)])
def test_timeout_is_taken_from_its_least_value_on(
    capfd: pytest.CaptureFixture[str], interval: int, timeout: int
) -> None:
    options = parsed(f"--interval={interval}", f"--timeout={timeout}")
    assert options.limits(1).timeout_of(interval) == timeout
    line = mistake(capfd, f"--interval={interval}", f"--timeout={timeout - 1}")
    assert f"--timeout: a timeout of {timeout - 1} s is too short: at least {timeout} s" in line


def test_addresses_may_be_several() -> None:
    listen = (
        "tcp://127.0.0.1:1",
        "tcp://[::1]:2",
        "inproc://here",
        "ipc:///run/broker.sock?mode=660",
        "ipc://@broker",
        "twisted:tcp:1:interface=127.0.0.1",
    )
    expected = tuple(map(URI.parse, listen))
    assert parsed(*(f"--listen={uri}" for uri in listen))["listen"] == expected
    assert parsed(BROKER_LISTEN=" ".join(listen))["listen"] == expected
    assert parsed(BROKER_LISTEN=", ".join(listen))["listen"] == expected


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "the scheme is missing"),
        ("127.0.0.1:1337", "the scheme is missing"),
        ("tcp://:1337", "the host is missing"),
        ("tcp://127.0.0.1:99999", "not within 0 to 65535"),
        ("pigeon://loft:1", "pigeon"),
        ("pigeon:loft", "pigeon"),
        ("tcp://1337", "the port is missing"),
        ("tcp:/127.0.0.1:1337", "the scheme is missing"),
        ("ipc://./broker.sock", "a path begins with /"),
        ("tcp://127.0.0.1:1\n", "may not stand in an address"),
    ],
)
def test_address_that_cannot_be_read_is_a_mistake(
    capfd: pytest.CaptureFixture[str], uri: str, said: str
) -> None:
    assert said in mistake(capfd, f"--listen={uri}")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("tcp://127.0.0.1", "the port is missing"),
        ("tcp://127.0.0.1:1337/path", "has no path"),
        ("tcp://127.0.0.1:1337?framing=odd", "may be lines"),
        ("inproc://here:1337", "has no port"),
        ("ipc://run/broker.sock", "third slash"),
        ("ipc:///run/broker.sock?mode=9", "octal"),
        ("twisted:tcp:1337x:interface=127.0.0.1", "'1337x' is not a whole number"),
    ],
)
def test_address_that_its_transport_cannot_use_is_a_mistake(
    capfd: pytest.CaptureFixture[str], uri: str, said: str
) -> None:
    options = parsed("--insecure", f"--listen={uri}")
    with pytest.raises(SystemExit) as caught:
        broker_program(MemoryReactorClock(), options)
    out, err = capfd.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (78, "", 1)
    assert err.startswith("broker: ")
    assert said in err


def test_help_names_the_schemes() -> None:
    text = " ".join(str(Options({})).split())
    assert "those of installed packages; fault+ before any of them." in text


def test_same_address_twice_is_a_mistake(capfd: pytest.CaptureFixture[str]) -> None:
    twice = ("--listen=tcp://127.0.0.1:1337", "--listen=tcp://127.0.0.1:1337")
    assert "given twice" in mistake(capfd, *twice)


@pytest.mark.parametrize(
    "uri",
    [
        "tcp://127.0.0.1:8080",
        "http://127.0.0.1",
        "http://127.0.0.1:8080/path",
        "http://127.0.0.1:8080?x=1",
        "8080",
    ],
)
def test_control_api_is_http_with_a_port_and_nothing_more(
    capfd: pytest.CaptureFixture[str], uri: str
) -> None:
    assert f"--control: {uri!r}: " in mistake(capfd, f"--control={uri}")
    assert f"BROKER_CONTROL: {uri!r}: " in mistake(capfd, BROKER_CONTROL=uri)


def test_control_hosts_are_names_of_machines(capfd: pytest.CaptureFixture[str]) -> None:
    options = parsed("--control-host=broker.example", "--control-host=Other")
    assert options["control-host"] == ("broker.example", "Other")
    for wrong in ("a/b", "a:80", "*", "", "a b", "http://a", "@a"):
        assert "--control-host: " in mistake(capfd, f"--control-host={wrong}")


def test_port_variable_replaces_the_port_of_the_default_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert parsed(PORT="81")["control"] == URI("http", "127.0.0.1", 81)
    assert parsed(PORT=" ")["control"].port == 8080
    assert parsed("--control=http://[::1]:82", PORT="81")["control"] == URI("http", "::1", 82)
    assert parsed(PORT="81", BROKER_CONTROL="http://localhost:83")["control"].port == 83
    for wrong in ("x", "65536", "-1", "tcp://10.0.0.1:8080"):
        assert "PORT: " in mistake(capfd, PORT=wrong)


@pytest.mark.parametrize(
    "option",
    [
        "--listen=tcp://0.0.0.0:1337",
        "--listen=tcp://*:1337",
        "--listen=tcp://[::]:1337",
        "--listen=tcp://192.0.2.1:1337",
        "--listen=tcp://broker.example:1337",
        "--listen=twisted:tcp:1337",
        "--listen=twisted:tls:/etc/pem:interface=10.0.0.1",
        "--listen=twisted:systemd:domain=INET:index=0",
        "--listen=twisted:haproxy:unix:/run/broker.sock",
        "--control=http://0.0.0.0:8080",
        "--control=http://*:8080",
        "--control=http://broker.example:8080",
    ],
)
@pytest.mark.fault("C060")
def test_beyond_this_machine_only_when_told_that_it_is_insecure(
    capfd: pytest.CaptureFixture[str], option: str
) -> None:
    line = mistake(capfd, option)
    assert f"{option.partition('=')[2]!r} can be reached from other machines" in line
    assert "--insecure" in line
    name, _, uri = option.removeprefix("--").partition("=")
    for options in (parsed(option, "--insecure"), parsed(option, BROKER_INSECURE="yes")):
        assert URI.parse(uri) in (options[name] if name == "listen" else [options[name]])
    assert "BROKER_INSECURE: 'maybe'" in mistake(capfd, option, BROKER_INSECURE="maybe")


@pytest.mark.parametrize(
    "uri",
    [
        "tcp://127.0.0.1:0",
        "tcp://[::1]:0",
        "tcp://localhost:0",
        "inproc://broker",
        "ipc:///run/broker.sock?mode=666",
        "ipc://@broker",
        "twisted:unix:/run/broker.sock",
        "twisted:tcp:0:interface=127.0.0.1",
        "twisted:tcp6:0:interface=\\:\\:1",
        "twisted:systemd:domain=UNIX:index=0",
    ],
)
def test_this_machine_alone_needs_no_permission(uri: str) -> None:
    assert parsed(f"--listen={uri}")["listen"] == (URI.parse(uri),)


def test_one_address_beyond_this_machine_is_one_too_many(
    capfd: pytest.CaptureFixture[str],
) -> None:
    line = mistake(capfd, "--listen=tcp://127.0.0.1:1", "--listen=tcp://*:2")
    assert "'tcp://*:2' can be reached" in line


def test_what_kubernetes_sets_for_a_service_is_not_read() -> None:
    links = {
        "BROKER_PORT": "tcp://10.0.0.1:1337",
        "BROKER_SERVICE_HOST": "10.0.0.1",
        "BROKER_SERVICE_PORT": "1337",
        "BROKER_PORT_1337_TCP": "tcp://10.0.0.1:1337",
    }
    assert dict(parsed(**links)) == dict(parsed())
