"""Every way in which a file can be wrong, told with place, cause and cure."""

from pathlib import Path
from textwrap import dedent

import pytest

from tests.unit.config.config_files import minimal, only, problems
from xfrmctl.config.load import load
from xfrmctl.config.problem import ConfigError

NEAR, FAR = "local_ts: 192.0.2.1/32", "remote_ts: 192.0.2.2/32"
RANGE = "10.0.0.1-10.255.255.254[tcp/1-65534]"
HOSTS = f"{NEAR}\n{FAR}"
V6 = "local: {address: '2001:db8::1'}\nremote: {address: '2001:db8::2'}"

ONE_FAULT = [
    # (child, connection, gateway, key, cause, cure)
    ("mtux: 1", "", "", "children.lan.mtux", "unknown key 'mtux'", "did you mean 'mtu'?"),
    ("", "rekey: 4h", "", "c.rekey", "unknown key 'rekey'", "belongs under ike"),
    (
        "rekey: {time: 1h}\nlifetime: {time: 30m}",
        "",
        "",
        "lifetime.time",
        "would end at 1800 time",
        "larger lifetime.time",
    ),
    ("", "auth: {certificate: x, psk: !file k}", "", "auth.certificate", "without key", "add key: PATH"),
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
    (
        f"local_ts: '{RANGE}'\nremote_ts: '{RANGE}'",
        "",
        "",
        "remote_ts",
        "1904400 entries of the kernel's SPD",
        "networks",
    ),
    ("local_ts: '10.1.0.0/16[tcp]'\nremote_ts: '10.2.0.0/16[udp]'", "", "", "remote_ts", "no packet has both", "same"),
    ("local_ts: '10.1.0.0/16[tcp/http]'", "", "", "local_ts[0]", "has no number", "write such as tcp/443"),
    ("ah: aes256-sha256", "", "", "ah[0]", "names a cipher", "write it under esp"),
    ("ah: x25519", "", "", "ah[0]", "no integrity algorithm", "begin with one such as sha256"),
    ("ah: sha256\nesp: aes256gcm16", "", "", "lan.ah", "either ESP or AH", "take one of them out"),
    ("ah: sha256", "ike: {encap: always}", "", "lan.ah", "AH cannot", "leave ike.encap out"),
    ("", "ike: {proposals: aes256gcm16-x25519}", "", "proposals[0]", "has no PRF", "add one such as prfsha384"),
    ("", "ike: {dpd: 30}", "", "ike.dpd", "'30' has no unit", "write 30s"),
    ("", "ike: {dpd: soon}", "", "ike.dpd", "no duration", "30s"),
    ("", "ike: {dpd: 0s}", "", "ike.dpd", "no time at all", "above zero"),
    (
        "",
        "local: {address: any, id: fqdn:a, alternates: 192.0.2.9}",
        "",
        "local.alternates",
        "routes choose",
        "local.address",
    ),
    ("", "local: {address: 192.0.2.1, alternates: [any]}", "", "alternates[0]", "any is no address", "192.0.2.1"),
    (
        "",
        "local: {address: 192.0.2.1, alternates: 192.0.2.9}\nike: {mobike: false}",
        "",
        "alternates",
        "MOBIKE",
        "mobike: true",
    ),
    ("", "ike: {encap: sometimes}", "", "ike.encap", "is not one of", "auto, always"),
    ("", "ike: {fragmentation: 500}", "", "ike.fragmentation", "out of range", "576"),
    ("", "ike: {fragmentation: sometimes}", "", "ike.fragmentation", "packet size", "auto, off"),
    ("", "ike: {retransmit: {factor: 0.5}}", "", "retransmit.factor", "greater than or equal", "correct"),
    ("", "ike: [a]", "", "c.ike", "a list is no mapping", "proposals, dpd"),
    ("dataplane: interfaec", "", "", "dataplane", "is not one of", "did you mean interface?"),
    ("df: never", "", "", "lan.df", "is not one of", "copy, set, clear"),
    ("df: set", "", "", "lan.df", "fragments after encryption", "dataplane: interface"),
    ("df: set\ndataplane: interface", "", "firewall: iptables", "lan.df", "iptables cannot", "firewall: auto"),
    ("df: set", V6, "", "lan.df", "no DF bit", "leave df out"),
    ("df: clear", V6, "", "lan.df", "no DF bit", "leave df out"),
    ("oversize: fragment", "", "", "lan.oversize", "fragments after encryption", "dataplane: interface"),
    (
        "oversize: fragment\ndataplane: interface",
        "",
        "firewall: iptables",
        "lan.oversize",
        "iptables cannot",
        "firewall: auto",
    ),
    (
        "oversize: fragment\ndataplane: interface\nlocal_ts: fd01::/64\nremote_ts: fd02::/64",
        "",
        "",
        "lan.oversize",
        "IPv6 only",
        "leave oversize out",
    ),
    (f"mode: transport\n{HOSTS}\noversize: fragment", "", "", "lan.oversize", "own sockets", "leave oversize out"),
    ("Remote-TS: 10.2.0.0/16", "", "", "lan.Remote-TS", "unknown key", "did you mean 'remote_ts'?"),
    ("remote_ts: '10.2.0.0/16[tpc/443]'", "", "", "remote_ts[0]", "is no protocol", "did you mean 'tcp'?"),
    ("start: traps", "", "", "lan.start", "is not one of", "did you mean trap?"),
    ("fail: shut", "", "", "lan.fail", "is not one of", "closed, open"),
    ("mtu: 100", "", "", "lan.mtu", "576 to 65535", "auto"),
    ("mtu: big", "", "", "lan.mtu", "is no outer MTU", "auto"),
    ("mss: 20", "", "", "lan.mss", "256 to 65495", "off"),
    ("mss: true", "", "", "lan.mss", "is no MSS", "off"),
    ("replay_window: 100", "", "", "replay_window", "no multiple of 32", "write 128"),
    ("replay_window: 16", "", "", "replay_window", "32 to 4096", "128"),
    ("replay_window: off\nesp: aes256gcm16-esn", "", "", "replay_window", "extended sequence numbers", "take esn out"),
    ("dscp: {outbound: 46}", "", "", "dscp.outbound", "is not one of", "set_mark: {outbound: 0x2e}"),
    ("offload: packet", "", "", "lan.offload", "whole packets need policies", "auto, crypto, no"),
    ("dscp: {in: copy}", "", "", "dscp.in", "unknown key", "outbound, inbound"),
    ("mark: 0x2a/0", "", "", "lan.mark", "empty mask", "leave the mark out"),
    ("mark: {outbound: 0x12a/0xff}", "", "", "lan.mark.outbound", "bits outside its mask", "write 0x2a/0xff"),
    ("set_mark: {outbound: red}", "", "", "lan.set_mark.outbound", "is no mark", "0x2a/0xff"),
    ("set_mark: 0x100000000", "", "", "lan.set_mark", "is no mark", "0x2a/0xff"),
    ("if_id: 0x58000001", "", "", "lan.if_id", "is no if_id", "ip -d link show"),
    ("if_id: 1476395009", "", "", "lan.if_id", "the daemon's own", "smaller"),
    ("if_id: 7\ndataplane: interface", "", "", "lan.if_id", "the daemon makes the device", "leave if_id out"),
    ("lifetime: {bytes: many}", "", "", "lifetime.bytes", "no number of bytes", "10G"),
    ("lifetime: {packets: 0}", "", "", "lifetime.packets", "out of range", "no limit"),
    ("lifetime: {time: 4}", "", "", "lifetime.time", "has no unit", "4s"),
    ("dataplane: interface\ninterface: a-name-that-is-too-long", "", "", "interface", "15 bytes", "shorter"),
    ("dataplane: interface\ninterface: a/b", "", "", "interface", "no interface name", "letters"),
    ("dataplane: interface\ninterface: xfc-7", "", "", "interface", "given by xfrmctl", "ipsec0"),
    ("interface: ipsec0", "", "", "interface", "policy data plane has no interface", "dataplane: interface"),
    ("mode: trensport", "", "", "lan.mode", "is not one of", "did you mean transport?"),
    (
        f"mode: transport\n{HOSTS}\ndataplane: interface",
        "",
        "",
        "lan.dataplane",
        "leads back into it",
        "dataplane: policy",
    ),
    (f"mode: transport\n{HOSTS}\ndf: clear", "", "", "lan.df", "its own DF bit", "leave df out"),
    (f"mode: transport\n{FAR}", "", "", "lan.local_ts", "10.1.0.0/16 is not local.address", "leave local_ts out"),
    (f"mode: transport\n{NEAR}", "", "", "lan.remote_ts", "10.2.0.0/16 is not remote.address", "leave remote_ts out"),
    ("", "remote: {address: 192.0.2.300}", "", "remote.address", "is no IP address", "192.0.2.1"),
    ("", "remote: {address: 0.0.0.0}", "", "remote.address", "cannot be a gateway's", "any"),
    ("", "remote: {address: 2001:db8::1}", "", "remote.address", "different families", "two IPv4 or two IPv6"),
    ("", "remote: {address: 192.0.2.1}", "", "remote.address", "is local.address as well", "peer's"),
    ("start: trap", "remote: {id: fqdn:x}", "", "lan.start", "remote.address is any", "start: none"),
    ("", "local: {address: any}", "", "c.local", "neither address nor id", "add id"),
    ("", "local: {address: 192.0.2.1, id: 'fqdn:'}", "", "local.id", "empty after the colon", "fqdn:NAME"),
    ("", "local: {address: 192.0.2.1, id: ipv4:moon}", "", "local.id", "is no identity", "fqdn:NAME"),
    ("", "local: {address: 192.0.2.1, id: fqnd:moon}", "", "local.id", "no kind of identity", "did you mean 'fqdn'?"),
    ("", "auth: {}", "", "c.auth", "nothing to prove", "psk: !file"),
    ("", "auth: {psk: !file nowhere}", "", "auth.psk", "No such file", "openssl rand"),
    ("", "auth: {psk: !file .}", "", "auth.psk", "no ordinary file", "holds the key"),
    ("", "auth: {psk: !secret k}", "", "auth.psk", "unknown tag !secret", "!file PATH"),
    ("", "local: {address: !file k}", "", "local.address", "!file and !credential are for secrets only", "192.0.2.1"),
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


@pytest.mark.rfc("7296", "2.4")
@pytest.mark.rfc("7296", "2.23.1")
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
