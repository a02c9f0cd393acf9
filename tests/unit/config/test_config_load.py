"""Files -> values, and every way in which a file can be wrong."""

import os
from ipaddress import ip_address
from pathlib import Path
from textwrap import dedent, indent

import pytest

from xfrmctl.config.load import Configuration, load
from xfrmctl.config.numbering import assign, is_ours
from xfrmctl.config.problem import ConfigError, Problem
from xfrmctl.ike.config import RetransmitPolicy, RetryPolicy, Start
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.sa import DataPlane, DfPolicy, Mode
from xfrmctl.model.selector import parse_selector

GOOD = """\
gateway:
  metrics: 127.0.0.1:9877
  bypass:
    - {local: 10.1.1.1/32, remote: 10.1.0.0/16}
connections:
  branch-7:
    local:   {address: 172.16.1.1, id: fqdn:moon.example.org}
    remote:  {address: 172.16.2.1, id: fqdn:sun.example.org}
    auth:    {psk: !file secrets/branch-7.psk}
    ike:     {proposals: [aes256gcm16-prfsha384-x25519], dpd: 30s}
    children:
      lan:
        local_ts:  [10.1.1.0/24]
        remote_ts: [10.1.2.0/24]
        esp:       [aes256gcm16-x25519]
        dataplane: policy          # or interface
        start:     trap            # or start, or none
        mtu: auto                  # the path MTU engine; or a number of bytes
        mss: auto                  # or off, or a number of bytes
        df:  copy                  # or set, or clear
        replay_window: 128
        fail: closed               # or open
"""

MINIMAL = """\
connections:
  c:
    local: {address: 192.0.2.1}
    remote: {address: 192.0.2.2}
    auth: {psk: !file k}
    children:
      lan: {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    for name in ("secrets/branch-7.psk", "k"):
        path = tmp_path / name
        path.write_text("a long and boring secret\n")
        path.chmod(0o600)
    return tmp_path


def loaded(place: Path, text: str, previous: Configuration | None = None) -> Configuration:
    file = place / "xfrmctl.yaml"
    file.write_text(text)
    return load(file, previous)


def problems(place: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(place, text)
    for problem in caught.value.problems:
        assert problem.cause and problem.cure, problem
        assert "Value error" not in str(problem)
    return caught.value.problems


def only(place: Path, text: str) -> Problem:
    found = problems(place, text)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def minimal(child: str = "", connection: str = "", gateway: str = "") -> str:
    """The minimal file with more lines in its child, its connection, its gateway."""
    text = "gateway:\n" + indent(dedent(gateway).strip() + "\n", "  ") if gateway else ""
    text += "connections:\n  c:\n"
    own = "local: {address: 192.0.2.1}\nremote: {address: 192.0.2.2}\nauth: {psk: !file k}\n"
    keys = {line.split(":")[0] for line in dedent(connection).splitlines() if not line.startswith(" ")}
    kept = "\n".join(line for line in own.splitlines() if line.split(":")[0] not in keys) + "\n"
    text += indent(kept + dedent(connection).strip() + "\n", "    ")
    if "children" not in keys:
        text += "    children:\n      lan:\n"
        words = {line.split(":")[0].strip() for line in dedent(child).splitlines()}
        for word, network in (("local_ts", "10.1.0.0/16"), ("remote_ts", "10.2.0.0/16")):
            if word not in words:
                text += f"        {word}: [{network}]\n"
        text += indent(dedent(child), "        ") + "\n"
    return text


def test_the_example_of_the_design(place: Path) -> None:
    found = loaded(place, GOOD)
    connection = found.engine.connections["branch-7"]
    child = connection.children[0]
    assert connection.local == ip_address("172.16.1.1")
    assert connection.remote_id == parse_identity("fqdn:sun.example.org")
    assert connection.psk == b"a long and boring secret"
    assert [str(p) for p in connection.ike] == ["aes256gcm16-prfsha384-x25519"]
    assert (connection.dpd_s, connection.keepalive_s, connection.force_encap) == (30.0, 20.0, False)
    assert child.local_ts == (parse_selector("10.1.1.0/24"),)
    assert [str(p) for p in child.esp] == ["aes256gcm16-x25519-noesn"]
    assert (child.dataplane, child.start, child.mtu, child.mss) == (DataPlane.POLICY, Start.TRAP, None, "auto")
    assert (child.df, child.replay_window, child.fail_closed, child.mode) == (DfPolicy.COPY, 128, True, Mode.TUNNEL)
    assert is_ours(child.reqid) and child.if_id == 0 and child.interface is None
    assert str(found.gateway.metrics) == "127.0.0.1:9877"
    assert str(found.gateway.bypass[0].remote) == "10.1.0.0/16"
    assert found.warnings == ()


def test_defaults(place: Path) -> None:
    connection = loaded(place, MINIMAL).engine.connections["c"]
    assert connection.local_id == parse_identity("192.0.2.1")
    assert connection.remote_id == parse_identity("192.0.2.2")
    assert len(connection.ike) == 2 and len(connection.children[0].esp) == 2
    assert connection.children[0].start == Start.TRAP
    assert connection.retry == RetryPolicy() and connection.retransmit == RetransmitPolicy()


def test_everything_else_that_can_be_written(place: Path) -> None:
    text = minimal(
        """
        esp: aes256gcm16
        mode: tunnel
        dataplane: interface
        interface: ipsec7
        start: start
        mtu: 1400
        mss: 1300
        df: clear
        replay_window: 1024
        fail: open
        lifetime: {time: 8h, bytes: 10G, packets: 1000000}
        """,
        """
        remote: {address: 192.0.2.2, id: any}
        ike: {dpd: off, encap: always, keepalive: 15s, retransmit: {first: 500ms, factor: 1.5, tries: 3}}
        retry: {tries: 5, first: 1s, max: 1m}
        """,
        """
        metrics: "[::1]:9877"
        ports: {ike: 5500, nat_t: 5501}
        limits: {half_open: 10, half_open_per_source: 2, cookies_from: 0, half_open_timeout: 5s}
        state_dir: /tmp/x
        control_group: adm
        """,
    )
    found = loaded(place, text)
    connection = found.engine.connections["c"]
    child = connection.children[0]
    assert connection.remote_id is None and connection.dpd_s is None and connection.force_encap
    assert connection.retry == RetryPolicy(tries=5, first_s=1, max_s=60)
    assert connection.retransmit == RetransmitPolicy(first_s=0.5, factor=1.5, tries=3, max_s=64)
    assert (child.interface, child.mtu, child.mss, child.fail_closed) == ("ipsec7", 1400, 1300, False)
    assert (child.lifetime.hard_seconds, child.lifetime.hard_bytes) == (28800, 10**10)
    assert child.lifetime.hard_packets == 10**6 and child.lifetime.soft_seconds == 0
    assert is_ours(child.if_id)
    engine = found.engine
    assert (engine.ike_port, engine.nat_t_port, engine.cookie_threshold) == (5500, 5501, 0)
    assert (engine.half_open_limit, engine.half_open_per_source, engine.half_open_timeout_s) == (10, 2, 5.0)
    assert str(found.gateway.metrics) == "[::1]:9877"


def test_yaml_words_stay_words(place: Path) -> None:
    """YAML 1.1 would read off as False and 0x12 as 18."""
    found = loaded(place, minimal("mss: off"))
    assert found.engine.connections["c"].children[0].mss == "off"


def test_anchors_and_merge_keys(place: Path) -> None:
    text = """\
    connections:
      a: &common
        local: {address: 192.0.2.1}
        remote: {address: 192.0.2.2}
        auth: {psk: !file k}
        children:
          lan: {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16}
      b:
        <<: *common
        remote: {address: 192.0.2.3}
        children:
          lan: {local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16}
    """
    found = loaded(place, dedent(text)).engine.connections
    assert found["b"].remote == ip_address("192.0.2.3") and found["b"].local == found["a"].local


ONE_FAULT = [
    # (child, connection, gateway, key, cause, cure)
    ("mtux: 1", "", "", "children.lan.mtux", "unknown key 'mtux'", "did you mean 'mtu'?"),
    ("", "rekey: 4h", "", "c.rekey", "unknown key 'rekey'", "does not rekey"),
    ("", "ike: {rekey: 4h}", "", "ike.rekey", "unknown key", "does not rekey"),
    ("", "auth: {certificate: x, psk: !file k}", "", "auth.certificate", "unknown key", "auth.psk only"),
    ("", "", "metric: off", "gateway.metric", "unknown key", "'metrics'"),
    ("local_ts: [10.1.1.1/24]", "", "", "local_ts[0]", "host bits set", "write 10.1.1.0/24"),
    ("local_ts: [10.9.0.0/16, 10.1.1.1/24]", "", "", "local_ts[1]", "host bits set", "write 10.1.1.0/24"),
    ("local_ts: nonsense", "", "", "local_ts[0]", "neither a network nor a range", "write 10.1.0.0/16"),
    ("local_ts: 10.1.1.9-10.1.1.1", "", "", "local_ts[0]", "is not a range", "write a network"),
    ("local_ts: a-b", "", "", "local_ts[0]", "does not appear to be", "write a network"),
    ("local_ts: []", "", "", "local_ts", "the list is empty", "at least one"),
    ("local_ts: {a: b}", "", "", "local_ts", "is no list", "local_ts: [ENTRY"),
    ("local_ts: fd00::/8", "", "", "remote_ts", "IPv4 selector in remote_ts has no partner", "add an IPv4 network"),
    ("esp: aes257gcm16", "", "", "esp[0]", "unknown keyword 'aes257gcm16'", "did you mean 'aes256gcm16'"),
    ("esp: aes256", "", "", "esp[0]", "a CBC cipher needs an integrity algorithm", "add sha256"),
    ("", "ike: {proposals: aes256gcm16-x25519}", "", "proposals[0]", "has no PRF", "add one such as prfsha384"),
    ("", "ike: {dpd: 30}", "", "ike.dpd", "'30' has no unit", "write 30s"),
    ("", "ike: {dpd: soon}", "", "ike.dpd", "no duration", "30s"),
    ("", "ike: {dpd: 0s}", "", "ike.dpd", "no time at all", "above zero"),
    ("", "ike: {encap: sometimes}", "", "ike.encap", "is not one of", "auto, always"),
    ("", "ike: {retransmit: {factor: 0.5}}", "", "retransmit.factor", "greater than or equal", "correct"),
    ("", "ike: [a]", "", "c.ike", "a list is no mapping", "proposals, dpd"),
    ("dataplane: interfaec", "", "", "dataplane", "is not one of", "did you mean interface?"),
    ("df: set", "", "", "lan.df", "the kernel sets DF", "copy, clear"),
    ("start: traps", "", "", "lan.start", "is not one of", "did you mean trap?"),
    ("fail: shut", "", "", "lan.fail", "is not one of", "closed, open"),
    ("mtu: 100", "", "", "lan.mtu", "576 to 65535", "auto"),
    ("mtu: big", "", "", "lan.mtu", "is no outer MTU", "auto"),
    ("mss: 20", "", "", "lan.mss", "256 to 65495", "off"),
    ("mss: true", "", "", "lan.mss", "is no MSS", "off"),
    ("replay_window: 100", "", "", "replay_window", "no multiple of 32", "write 128"),
    ("replay_window: 0", "", "", "replay_window", "32 to 4096", "128"),
    ("lifetime: {bytes: many}", "", "", "lifetime.bytes", "no number of bytes", "10G"),
    ("lifetime: {packets: 0}", "", "", "lifetime.packets", "out of range", "no limit"),
    ("lifetime: {time: 4}", "", "", "lifetime.time", "has no unit", "4s"),
    ("dataplane: interface\ninterface: a-name-that-is-too-long", "", "", "interface", "15 bytes", "shorter"),
    ("dataplane: interface\ninterface: a/b", "", "", "interface", "no interface name", "letters"),
    ("dataplane: interface\ninterface: xfc-7", "", "", "interface", "given by xfrmctl", "ipsec0"),
    ("interface: ipsec0", "", "", "interface", "policy data plane has no interface", "dataplane: interface"),
    ("mode: transport\ndataplane: interface", "", "", "lan.mode", "no tunnel to route", "dataplane: policy"),
    ("", "remote: {address: 192.0.2.300}", "", "remote.address", "is no IP address", "192.0.2.1"),
    ("", "remote: {address: 0.0.0.0}", "", "remote.address", "cannot be a gateway's", "any"),
    ("", "remote: {address: 2001:db8::1}", "", "remote.address", "different families", "two IPv4 or two IPv6"),
    ("", "remote: {address: 192.0.2.1}", "", "remote.address", "is local.address as well", "peer's"),
    ("start: trap", "remote: {id: fqdn:x}", "", "lan.start", "remote.address is any", "start: none"),
    ("", "local: {address: any}", "", "c.local", "neither address nor id", "add id"),
    ("", "local: {address: 192.0.2.1, id: 'fqdn:'}", "", "local.id", "empty after the colon", "fqdn:NAME"),
    ("", "local: {address: 192.0.2.1, id: ipv4:moon}", "", "local.id", "is no identity", "fqdn:NAME"),
    ("", "auth: {}", "", "auth.psk", "missing", "psk: !file"),
    ("", "auth: {psk: !file nowhere}", "", "auth.psk", "No such file", "openssl rand"),
    ("", "auth: {psk: !file .}", "", "auth.psk", "no ordinary file", "holds the key"),
    ("", "auth: {psk: !secret k}", "", "auth.psk", "unknown tag !secret", "!file PATH"),
    ("", "local: {address: !file k}", "", "local.address", "!file is for secrets only", "192.0.2.1"),
    ("", "children: {}", "", "c.children", "no child", "local_ts"),
    ("", "children: {lan: }", "", "children.lan", "nothing is no mapping", "local_ts, remote_ts"),
    ("", "children: {lan: {local_ts: 10.1.0.0/16}}", "", "lan.remote_ts", "missing", "remote_ts: [10.1.2.0/24]"),
    ("", "children: {'a b': {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16}}", "", "a b", "be a name", "letters"),
    ("", "retry: {tries: never}", "", "retry.tries", "no number of attempts", "forever"),
    ("", "", "metrics: localhost", "gateway.metrics", "no address to listen on", "127.0.0.1:9877"),
    ("", "", "metrics: 127.0.0.1:99999", "gateway.metrics", "no address to listen on", "127.0.0.1:9877"),
    ("", "", "ports: {ike: 0}", "ports.ike", "1 to 65535", "500"),
    ("", "", "bypass: [{local: 10.0.0.0/8}]", "bypass[0].remote", "missing", "remote: 10.1.2.0/24"),
    ("", "", "limits: {half_open: lots}", "limits.half_open", "is no number", "1000"),
]


@pytest.mark.parametrize(("child", "connection", "gateway", "key", "cause", "cure"), ONE_FAULT)
def test_one_fault_is_told_with_key_cause_and_cure(
    place: Path, child: str, connection: str, gateway: str, key: str, cause: str, cure: str
) -> None:
    text = minimal(child, connection, gateway)
    problem = only(place, text)
    assert problem.key.endswith(key), problem
    assert cause in problem.cause, problem
    assert cure in problem.cure, problem
    line = text.splitlines()[problem.line - 1]
    word = key.rpartition(".")[2].partition("[")[0]
    assert word in line or problem.cause.startswith(("missing", "no child")) or "[" in key, (line, problem)


def test_all_problems_at_once(place: Path) -> None:
    text = """\
    gateway: {metrics: nowhere}
    connections:
      a:
        local: {address: 192.0.2.1}
        remote: {address: 192.0.2.2, oops: 1}
        auth: {psk: !file k}
        children:
          lan: {local_ts: 10.1.0.1/16, remote_ts: 10.2.0.0/16, mtu: 1}
      b:
        local: {address: 192.0.2.1}
        auth: {psk: !file nowhere}
        children:
          lan: {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16, start: trap}
        auth: {psk: !file k}
    """
    found = problems(place, dedent(text))
    assert [p.key for p in found] == [
        "gateway.metrics",
        "connections.a.remote.oops",
        "connections.a.children.lan.local_ts[0]",
        "connections.a.children.lan.mtu",
        "connections.b.auth.psk",
        "connections.b.children.lan.start",
        "connections.b.auth",
    ]
    assert [p.line for p in found] == [1, 5, 8, 8, 11, 13, 14]
    assert "stands twice: first in line 11" in found[-1].cause
    assert str(found[1]).startswith(f"{place / 'xfrmctl.yaml'}:5:")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a: [1", "not YAML"),
        ("a:\n\tb: 1", "not YAML"),
        ("a: 1\n--- \nb: 2", "not YAML"),
        ("a: *b", "not YAML"),
        ("a: \x01", "not YAML"),
        ("", "the file is empty"),
        ("- a", "is no mapping"),
        ("connections: [a]", "is no mapping"),
        ("? [a]\n: b", "a key must be a word"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: &a {<<: *a}", "nested too deeply"),
        ("a: " + "[" * 5000, "not"),
    ],
)
def test_what_is_no_yaml(place: Path, text: str, cause: str) -> None:
    assert any(cause in p.cause for p in problems(place, text))


def test_billion_laughs(place: Path) -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True):
        text += f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    assert any("too many values" in p.cause for p in problems(place, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read it: No such file.*--config"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)


def test_not_utf8(place: Path) -> None:
    file = place / "x.yaml"
    file.write_bytes(b"a: b\nc: \xff\n")
    with pytest.raises(ConfigError, match=r"x\.yaml:2:1: not UTF-8"):
        load(file)


# ---- secrets -----------------------------------------------------------------------------------------------------


def inline(place: Path, key: str, mode: int = 0o600) -> bytes:
    file = place / "c.yaml"
    file.write_text(MINIMAL.replace("!file k", key))
    file.chmod(mode)
    return load(file).engine.connections["c"].psk


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("correct-horse-battery", b"correct-horse-battery"),
        ("0x00ff41", b"\x00\xffA"),
        ("0sAP9B", b"\x00\xffA"),
        ("12345678901234567890", b"12345678901234567890"),
        ("'007'", b"007"),
        ("007", b"007"),
    ],
)
def test_inline_secrets(place: Path, key: str, secret: bytes) -> None:
    assert inline(place, key) == secret


@pytest.mark.parametrize(
    ("key", "cause"), [("0xabc", "is no hex"), ("0sA", "is no base64"), ("''", "not a single value"), ("0x", "empty")]
)
def test_wrong_inline_secrets(place: Path, key: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        inline(place, key)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_inline_secret_in_a_public_file(place: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=r"others can read .*chmod 0600") as caught:
        inline(place, "correct-horse-battery", mode)
    assert "correct-horse" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_public_secret_file(place: Path, mode: int) -> None:
    (place / "k").chmod(mode)
    problem = only(place, MINIMAL)
    assert f"mode {mode:04o}" in problem.cause and problem.cure == f"chmod 0600 {place / 'k'}"


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"abc\n", b"abc"), (b"abc\r\n", b"abc"), (b"abc\n\n", b"abc\n"), (b" a ", b" a "), (b"0x4142\n", b"AB")],
)
def test_secret_files(place: Path, content: bytes, secret: bytes) -> None:
    (place / "k").write_bytes(content)
    assert loaded(place, MINIMAL).engine.connections["c"].psk == secret


def test_empty_secret_file(place: Path) -> None:
    (place / "k").write_bytes(b"\n")
    assert "the key is empty" in only(place, MINIMAL).cause


def test_a_fifo_is_no_secret_and_does_not_hang(place: Path) -> None:
    (place / "k").unlink()
    os.mkfifo(place / "k", 0o600)
    assert "no ordinary file" in only(place, MINIMAL).cause


def test_short_secret_is_warned_about(place: Path) -> None:
    (place / "k").write_bytes(b"secret\n")
    (warning,) = loaded(place, MINIMAL).warnings
    assert "6 bytes" in warning.cause and "openssl" in warning.cure and warning.line == 5


def test_secrets_are_never_shown(place: Path) -> None:
    assert "boring" not in repr(loaded(place, MINIMAL))


# ---- cross checks ------------------------------------------------------------------------------------------------


def pair(one: str, two: str, remote: str = "192.0.2.3", more: str = "") -> str:
    return dedent(
        f"""\
        connections:
          a:
            local: {{address: 192.0.2.1}}
            remote: {{address: 192.0.2.2}}
            auth: {{psk: !file k}}
            children: {{lan: {{{one}}}}}
          b:
            local: {{address: 192.0.2.1}}
            remote: {{address: {remote}}}
            auth: {{psk: !file k}}
            children: {{lan: {{{two}}}{more}}}
        """
    )


BASE = "local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16"
ROUTED = ", dataplane: interface"


@pytest.mark.parametrize(
    ("one", "two", "word"),
    [
        (BASE, BASE, "are the same as"),
        (BASE, "local_ts: 10.1.1.0/24, remote_ts: 10.2.3.0/24", "overlap with"),
        ("local_ts: [10.9.0.0/16, 10.1.0.0/16], remote_ts: 0.0.0.0/0", BASE, "overlap with"),
        (BASE + ROUTED, BASE + ROUTED, "route the same destination as"),
        (BASE + ROUTED, BASE, "are the same as"),
        ("local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0" + ROUTED + ", interface: i1", BASE, "overlap with"),
        (BASE + ROUTED + ", interface: i1", BASE + ROUTED + ", interface: i1", "are the same as"),
    ],
)
def test_overlapping_selectors_name_both(place: Path, one: str, two: str, word: str) -> None:
    problem = only(place, pair(one, two))
    assert word in problem.cause and "child 'lan' of connection 'a'" in problem.cause
    assert problem.key == "connections.b.children.lan.remote_ts" and problem.line == 11


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"),
        (BASE, "local_ts: 10.5.0.0/16, remote_ts: 10.2.0.0/16"),
        (BASE + ROUTED, "local_ts: 10.1.0.0/16, remote_ts: 10.2.3.0/24" + ROUTED),
        ("local_ts: fd00::/16, remote_ts: fd01::/16", BASE),
    ],
)
def test_selectors_that_do_not_clash(place: Path, one: str, two: str) -> None:
    assert len(loaded(place, pair(one, two)).engine.connections) == 2


def test_children_of_one_connection_may_nest_but_not_repeat(place: Path) -> None:
    nested = "local_ts: 10.7.0.0/16, remote_ts: 10.8.0.0/16"
    loaded(place, pair(BASE, nested, more=", x: {local_ts: 10.7.1.0/24, remote_ts: 10.8.0.0/16}"))
    assert "same as those of child 'lan'" in only(place, pair(BASE, nested, more=f", x: {{{nested}}}")).cause


def test_twins(place: Path) -> None:
    other = "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"
    problem = only(place, pair(BASE, other, remote="192.0.2.2"))
    assert "same addresses and identities as connection 'a'" in problem.cause and problem.line == 7


def test_ipv6_floor(place: Path) -> None:
    connection = "local: {address: 2001:db8::1}\nremote: {address: 2001:db8::2}"
    assert "always carries 1280" in only(place, minimal("mtu: 1200", connection)).cause
    text = minimal("local_ts: fd01::/64\nremote_ts: fd02::/64\nmtu: 1300\nesp: aes256gcm16")
    (warning,) = loaded(place, text).warnings
    assert "leaves 1246 bytes" in warning.cause and "1336" in warning.cure


def test_responder_only(place: Path) -> None:
    found = loaded(place, minimal("", "remote: {id: any}")).engine.connections["c"]
    assert found.remote is None and found.remote_id is None and found.children[0].start == Start.NONE


# ---- numbers, hashes, reload -------------------------------------------------------------------------------------


def test_numbers_are_stable(place: Path) -> None:
    one = loaded(place, pair(BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16" + ROUTED))
    alone = loaded(place, MINIMAL.replace("  c:", "  a:"))
    assert alone.engine.connections["a"].children[0].reqid == one.engine.connections["a"].children[0].reqid
    child = one.engine.connections["b"].children[0]
    assert child.interface == f"xfc-{child.if_id & 0xFFFFFF:06x}" and len(child.interface) <= 15
    again = loaded(place, pair(BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16" + ROUTED), one)
    assert again.engine == one.engine and again.hash == one.hash


def test_children_share_a_named_interface(place: Path) -> None:
    shared = ROUTED + ", interface: i1"
    other = "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"
    found = loaded(place, pair(BASE + shared, other + shared)).engine.connections
    assert found["a"].children[0].if_id == found["b"].children[0].if_id != 0
    assert found["a"].children[0].reqid != found["b"].children[0].reqid


def test_colliding_names_get_neighbours_and_keep_what_they_have() -> None:
    names = [f"n{i}" for i in range(30000)]
    found = assign(names)
    assert len(set(found.values())) == 30000 and all(is_ours(n) for n in found.values())
    half = assign(names[::2])
    kept = assign(names, half)
    assert all(kept[name] == number for name, number in half.items())
    assert len(set(kept.values())) == 30000


def test_what_a_reload_changes(place: Path) -> None:
    other = "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"
    old = loaded(place, pair(BASE, other))
    new = loaded(place, pair(BASE + ", mtu: 1400", other).replace("  b:", "  z:"), old)
    changes = old.changes(new)
    assert (changes.added, changes.changed, changes.removed) == (("z",), ("a",), ("b",))
    assert old.hash != new.hash


def test_a_new_secret_changes_hash_and_digest(place: Path) -> None:
    old = loaded(place, MINIMAL)
    (place / "k").write_text("another long and boring secret\n")
    new = loaded(place, MINIMAL)
    assert old.changes(new).changed == ("c",) and old.hash != new.hash


def test_many_connections(place: Path) -> None:
    text = "connections:\n" + "".join(
        f"""\
  c{i}:
    local: {{address: 192.0.2.1}}
    remote: {{address: 10.{i >> 8}.{i & 255}.1}}
    auth: {{psk: !file k}}
    children: {{lan: {{local_ts: 10.250.0.0/16, remote_ts: 172.{16 + (i >> 8) % 16}.{i & 255}.{(i >> 12) * 64}/26}}}}
"""
        for i in range(2000)
    )
    assert len(loaded(place, text).engine.connections) == 2000
