"""Which hosts are the broker's: addresses, and names that no stranger can have."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.broker.control.hosts import Authority, Hosts, own_names

HOSTS = Hosts.of(["Broker.Example.ORG.", "edge"])


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("localhost", Authority("localhost", None, False)),
        ("LocalHost.:8080", Authority("localhost", 8080, False)),
        ("localhost:", Authority("localhost", None, False)),
        ("127.0.0.1:65535", Authority("127.0.0.1", 65_535, True)),
        ("[::1]", Authority("::1", None, True)),
        ("[0:0::0001]:0080", Authority("::1", 80, True)),
        ("[::ffff:10.0.0.1]:80", Authority("::ffff:a00:1", 80, True)),
        ("[fe80::1%25eth0]:80", Authority("fe80::1", 80, True)),
        ("[fe80::1%eth0]", Authority("fe80::1", None, True)),
        # Not addresses, whatever an old resolver makes of them.
        ("127.1", Authority("127.1", None, False)),
        ("2130706433", Authority("2130706433", None, False)),
        ("0x7f000001", Authority("0x7f000001", None, False)),
        ("127.0.0.01", Authority("127.0.0.01", None, False)),
        ("256.0.0.1", Authority("256.0.0.1", None, False)),
    ],
)
def test_authority_is_host_and_port(text: str, authority: Authority) -> None:
    parsed = Authority.parse(text)
    if authority.host == "::ffff:a00:1":
        assert parsed.host in (authority.host, "::ffff:10.0.0.1")
    else:
        assert parsed == authority


@pytest.mark.parametrize(
    "text",
    [
        "", ":", ":80", "a b", "a,b", "a:b", "a:80:80", "a:-1", "a:+1", "a:65536", "a:999999",
        "a:\u0663", "[", "[]", "[]:80", "[::1", "::1", "[::1]]", "[::1]80", "[::1]:x", "[1.2.3.4]",
        "[:::]", "[g::1]", "[::1%]", "user@a", "a/b", "a?b", "http://a", "\u00e4", "a\0", "a\n",
        "a\u3002b", "*", "[::1%" + "x" * 60 + "]", "a" * 256,
        ".", "..", ".a", "a..", "a..b", ".:80", "brokers-instruct..svc", "a." * 128,
    ],
)  # fmt: skip
def test_text_that_is_no_authority_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Authority.parse(text)


@given(
    st.text(max_size=30)
    | st.text("aA1.-_:", max_size=10)
    | st.from_regex(r"\[[0-9a-f:.%]*\](:[0-9]*)?", fullmatch=True)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        authority = Authority.parse(text)
    except ValueError:
        return
    host = f"[{authority.host}]" if ":" in authority.host else authority.host
    port = "" if authority.port is None else f":{authority.port}"
    assert Authority.parse(host + port) == authority


@given(st.ip_addresses().map(str))
def test_every_address_is_ours(address: str) -> None:
    text = f"[{address}]:8080" if ":" in address else address
    assert Authority.parse(text) in HOSTS


@pytest.mark.parametrize(
    "text",
    [
        "localhost", "LOCALHOST:1", "localhost.", "broker.example.org", "BROKER.example.org.:8080",
        "edge", "brokers-instruct", "Brokers-Instruct:8080", "brokers-instruct.",
        "brokers-instruct.default.svc", "brokers-instruct.team-1.svc.cluster.local:8080",
        "brokers-instruct.default.svc.cluster.local.",
    ],
)  # fmt: skip
def test_name_that_is_ours_is_answered_for(text: str) -> None:
    assert Authority.parse(text) in HOSTS


@pytest.mark.parametrize(
    "text",
    [
        "evil.example", "localhost.evil.example", "evil.localhost", "127.0.0.1.",
        "127.0.0.1.nip.io", "2130706433", "broker.example.org.evil.example", "xbroker.example.org",
        "example.org", "edge.evil.example", "brokers-instruct.dev", "brokers-instruct.evil.example",
        "brokers-instruct.a.svc.evil.example", "brokers-instruct.a.b.svc",
        "brokers-instruct.a.svc.cluster.local.evil.example", "xbrokers-instruct.a.svc",
        "brokers-instruct.a-svc", "brokers",
    ],
)  # fmt: skip
def test_name_that_a_stranger_can_have_is_not(text: str) -> None:
    assert Authority.parse(text) not in HOSTS


def test_names_of_a_pod_are_found_without_asking_the_dns(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(
        "# kubelet\n127.0.0.1\tlocalhost\n\n"
        "10.1.2.3\tbroker.brokers.prod.svc.k8s.example\tbroker # the pod\n"
        "10.1.2.4\tother\n"
    )
    (tmp_path / "resolv.conf").write_text(
        "nameserver 10.0.0.10\nsearch prod.svc.k8s.example svc.k8s.example k8s.example\n"
        "options ndots:5\n"
    )
    names = own_names(tmp_path, "broker")
    assert names >= {
        "broker",
        "broker.brokers",
        "broker.brokers.prod.svc.k8s.example",
        "brokers-instruct",
        "brokers-instruct.prod",
        "brokers-instruct.prod.svc",
        "brokers-instruct.prod.svc.k8s.example",
    }
    assert not names & {"localhost", "other", "brokers", ""}
    assert all(name.split(".")[0] in ("broker", "brokers-instruct") for name in names)


def test_names_of_a_machine_are_its_short_and_its_long_one(tmp_path: Path) -> None:
    assert own_names(tmp_path, "Node-7.Example.org.") == {
        "node-7.example.org",
        "node-7",
        "brokers-instruct",
    }
    (tmp_path / "resolv.conf").write_bytes(b"domain lab.example\nsearch\n\xff\n")
    assert own_names(tmp_path, "node-7") >= {"node-7.lab.example", "brokers-instruct.lab.example"}


def test_names_of_this_machine_are_found() -> None:
    assert own_names()
