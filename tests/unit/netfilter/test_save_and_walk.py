"""Rules of iptables-save: read, and judged against a packet; what cannot be known is said to be unknown."""

from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from tests.unit.netfilter.rule_sets import GATEWAY, PEER, packet
from xfrmctl.model.address import IPAddress
from xfrmctl.netfilter.match import rule_matches
from xfrmctl.netfilter.packet import ESP, ICMP, SYN_ACK, UDP, Applied, Packet, Stranger
from xfrmctl.netfilter.rules import Rule, RuleSet
from xfrmctl.netfilter.save import RulesError, parse
from xfrmctl.netfilter.walk import Verdict, Walk, walk


@dataclass
class Here(Stranger):
    """A host that knows its addresses and one set."""

    addresses: dict[str, str] = field(default_factory=lambda: {"wan": "172.16.1.1", "lan": "10.1.1.1"})
    members: dict[str, set[str]] = field(default_factory=dict)

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        asked = ",".join(str(packet.source if flag == "src" else packet.destination) for flag in flags)
        return asked in self.members[name] if name in self.members else None

    def is_local(self, address: IPAddress) -> bool | None:
        return str(address) in self.addresses.values()

    def address_of(self, device: str, version: int) -> IPAddress | None:
        return ip_address(self.addresses[device]) if device in self.addresses else None


def rule(text: str, family: int = 4) -> Rule:
    rules = parse(f"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n-A FORWARD {text}\nCOMMIT\n", family)
    return next(rules.rules())


def table(*lines: str, name: str = "filter", hook: str = "FORWARD") -> RuleSet:
    chains = {f":{line.split()[1]} - [0:0]" for line in lines if line.split()[1] != hook}
    return parse("\n".join([f"*{name}", f":{hook} ACCEPT [0:0]", *sorted(chains), *lines, "COMMIT"]), 4)


def through(rules: RuleSet, where: str, hook: str, asked: Packet, host: Stranger | None = None) -> Walk:
    found = walk(rules, where, hook, asked, host or Here())
    assert found is not None
    return found


# ---- reading -----------------------------------------------------------------------------------------------------


def test_tables_chains_policies_counters_and_notes() -> None:
    rules = parse(GATEWAY, 4)
    assert list(rules.tables) == ["mangle", "nat", "filter"] and rules
    forward = rules.chain("filter", "FORWARD")
    assert forward is not None and forward.policy == "DROP" and forward.packets == 3
    clamp = next(r for r in rules.rules() if r.target and r.target.name == "TCPMSS")
    assert (clamp.packets, clamp.bytes, clamp.number) == (7, 420, 1)
    assert [str(m) for m in clamp.matches] == [
        "-p tcp",
        "-m tcp --tcp-flags SYN,RST SYN",
        "-m policy --dir out --pol ipsec",
    ]
    assert rules.notes == ["Warning: iptables-legacy tables present, use iptables-legacy-save to see them"]


def test_an_operators_words_may_look_like_options() -> None:
    rules = parse(GATEWAY, 4)
    texts = [str(o) for r in rules.rules() for m in r.matches for o in m.options if o.name == "--comment"]
    assert texts == ['--comment -j DROP "never"']
    log = next(r for r in rules.rules() if r.target and r.target.name == "LOG")
    assert log.target is not None and str(log.target.get("--log-prefix")) == "--log-prefix lan: -j "


def test_without_counters_there_are_none() -> None:
    found = rule("-j ACCEPT")
    assert found.packets is None and str(found) == "-t filter -A FORWARD -j ACCEPT"
    assert not parse("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-A INPUT -j DROP", "line 1: stands before the first table"),
        ("*filter\n-A INPUT -j DROP", "line 2: the table filter has no chain INPUT"),
        ("*filter\n:INPUT", "line 2: no chain"),
        ("*filter\n:INPUT ACCEPT [0:0]\nnonsense here", "line 3: neither a chain nor a rule"),
        ('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment "open', "line 3: No closing quotation"),
        ("*filter\n:" + "x" * 70000, "line 2: longer than"),
    ],
)
def test_a_text_that_is_none_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RulesError, match=said):
        parse(text, 4)


# ---- matches -----------------------------------------------------------------------------------------------------

UDP_PACKET = packet(protocol=UDP, destination_port=4500, tcp_flags=None, mss=None)
PING = packet(protocol=ICMP, destination_port=None, tcp_flags=None, mss=None, icmp_type=8, icmp_code=0)
ENCRYPTED = packet(protocol=ESP, destination_port=None, tcp_flags=None, mss=None, spi=150)


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ("-s 10.1.1.0/24", packet(), True),
        ("! -s 10.1.1.0/24", packet(), False),
        ("-d 10.1.1.0/24", packet(), False),
        ("-s 10.1.1.0/24 -d 10.1.2.10/32", packet(), True),
        ("-i lan -o wan", packet(), True),
        ("-i la+ ! -o wan", packet(), False),
        ("-i +", packet(), True),
        ("-p tcp -m tcp --dport 443", packet(), True),
        ("-p tcp -m tcp --dport 440:450", packet(), True),
        ("-p tcp -m tcp ! --dport 443", packet(), False),
        ("-p tcp -m tcp --dport 1024:", packet(), False),
        ("-p tcp -m tcp --sport 1024:65535", packet(), None),
        ("-p udp -m udp --dport 443", packet(), False),
        ("-p 6", packet(), True),
        ("-p esp", ENCRYPTED, True),
        ("-p esp -m esp --espspi 100:200", ENCRYPTED, True),
        ("-p esp -m esp --espspi 100:200", packet(protocol=ESP), None),
        ("-p udp -m multiport --dports 500,4500", UDP_PACKET, True),
        ("-p udp -m multiport ! --dports 500,4500", UDP_PACKET, False),
        ("-p udp -m multiport --ports 500,4500", UDP_PACKET, True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", packet(), True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", packet(tcp_flags=SYN_ACK), False),
        ("-p tcp -m tcp --tcp-flags SYN,RST SYN", packet(tcp_flags=SYN_ACK), True),
        ("-p tcp -m tcp --tcp-flags ALL NONE", packet(), False),
        ("-p icmp -m icmp --icmp-type 8", PING, True),
        ("-p icmp -m icmp --icmp-type 3/4", PING, False),
        ("-p icmp -m icmp --icmp-type 8/0", PING, True),
        ("-p icmp -m icmp --icmp-type 8", packet(protocol=ICMP), None),
        ("-m conntrack --ctstate RELATED,ESTABLISHED", packet(), False),
        ("-m conntrack ! --ctstate INVALID", packet(), True),
        ("-m conntrack --ctstate DNAT", packet(translated=frozenset({"DNAT"})), True),
        ("-m state --state ESTABLISHED", packet(state="ESTABLISHED"), True),
        ("-m mark --mark 0x5/0xff", packet(mark=0x105), True),
        ("-m mark ! --mark 0x5", packet(mark=0x105), True),
        ("-m mark --mark 0x5", packet(mark=None), None),
        ("-m iprange --src-range 10.1.1.1-10.1.1.20", packet(), True),
        ("-m iprange --dst-range 10.1.2.1-10.1.2.9", packet(), False),
        ("-m addrtype --dst-type LOCAL", packet(), False),
        ("-m addrtype ! --dst-type LOCAL", packet(), True),
        ("-m addrtype --dst-type BROADCAST", packet(), None),
        ("-m length --length 1400:65535", packet(length=1500), True),
        ("-p tcp -m tcpmss --mss 1361:65535", packet(), True),
        ("-p tcp -m tcpmss ! --mss 0:1360", packet(mss=1360), False),
        ("-m set --match-set nets src,dst", packet(), True),
        ("-m set ! --match-set nets src,dst", packet(), False),
        ("-m set --match-set others src", packet(), None),
        ("-m rpfilter --invert", packet(reverse_path=False), True),
        ("-m rpfilter", packet(reverse_path=True), True),
        ("-m rpfilter --invert", packet(), None),
        ("-m limit --limit 3/min", packet(), None),
        ("-m owner --uid-owner 0", packet(), None),
        ("-d 10.9.0.0/16 -m limit --limit 3/min", packet(), False),
        ("-s nonsense", packet(), None),
        ("-f", packet(), False),
    ],
)
def test_a_match(text: str, asked: Packet, expected: bool | None) -> None:
    host = Here(members={"nets": {"10.1.1.10,10.1.2.10"}})
    answer = rule_matches(rule(text + " -j DROP"), asked, host)
    assert answer.value is expected and (answer.value is not None or answer.why)


INNER = Applied(7, 0, 50, "transport", ip_address("10.0.0.1"), ip_address("10.0.0.2"))


@pytest.mark.parametrize(
    ("text", "asked", "expected"),
    [
        ("--dir out --pol ipsec", packet(goes_through=(PEER,)), True),
        ("--dir out --pol none", packet(goes_through=(PEER,)), False),
        ("--dir out --pol none", packet(), True),
        ("--dir out --pol ipsec", packet(), False),
        ("--dir out --pol ipsec", packet(goes_through=None), None),
        ("--dir in --pol ipsec", packet(goes_through=(PEER,)), False),
        ("--dir in --pol ipsec --proto esp --mode tunnel", packet(came_through=(PEER,)), True),
        ("--dir in --pol ipsec --mode transport", packet(came_through=(PEER,)), False),
        (f"--dir in --pol ipsec --reqid {PEER.reqid}", packet(came_through=(PEER,)), True),
        (f"--dir in --pol ipsec ! --reqid {PEER.reqid}", packet(came_through=(PEER,)), False),
        ("--dir in --pol ipsec --tunnel-src 172.16.0.0/16", packet(came_through=(PEER,)), True),
        ("--dir in --pol ipsec --tunnel-dst 10.0.0.0/8", packet(came_through=(PEER,)), False),
        (
            "--dir out --pol ipsec --strict --mode transport --next --mode tunnel",
            packet(goes_through=(INNER, PEER)),
            True,
        ),
        (
            "--dir out --pol ipsec --strict --mode tunnel --next --mode transport",
            packet(goes_through=(INNER, PEER)),
            False,
        ),
        ("--dir out --pol ipsec --strict --mode tunnel", packet(goes_through=(INNER, PEER)), False),
        ("--dir out --pol ipsec --mode tunnel", packet(goes_through=(INNER, PEER)), True),
    ],
)
def test_policy(text: str, asked: Packet, expected: bool | None) -> None:
    assert rule_matches(rule(f"-m policy {text} -j ACCEPT"), asked, Here()).value is expected


# ---- walks -------------------------------------------------------------------------------------------------------


def test_the_first_verdict_decides_and_a_goto_does_not_come_back() -> None:
    rules = parse(GATEWAY, 4)
    passed = through(rules, "filter", "FORWARD", packet())
    assert passed.verdict is Verdict.ACCEPT and passed.by is not None and passed.by.chain == "LAN"
    assert [v.effect for v in passed.visits] == ["goes to LAN", "ACCEPT"] and passed.conditions == ()
    foreign = through(rules, "filter", "FORWARD", packet(source=ip_address("192.0.2.1")))
    assert foreign.verdict is Verdict.DROP and foreign.by is None, "RETURN leads to the end of FORWARD: its policy"
    assert through(rules, "filter", "FORWARD", packet(state="ESTABLISHED")).passes


def test_what_is_unknown_is_a_condition_and_never_a_guess() -> None:
    ping = through(parse(GATEWAY, 4), "filter", "FORWARD", PING)
    assert ping.verdict is Verdict.DROP and len(ping.conditions) == 1
    assert "--limit 5/sec" in ping.conditions[0] and "depends on" in ping.conditions[0]
    assert [v.certain for v in ping.visits] == [True, False, False], "the LOG is shown but decides nothing"


def test_mss_is_lowered_and_never_raised() -> None:
    rules = parse(GATEWAY, 4)
    lowered = through(rules, "mangle", "FORWARD", packet(goes_through=(PEER,)))
    assert lowered.packet.mss == 1360 and lowered.visits[-1].effect.endswith("MSS 1460 becomes 1360")
    assert through(rules, "mangle", "FORWARD", packet(goes_through=(PEER,), mss=1200)).packet.mss == 1200
    assert through(rules, "mangle", "FORWARD", packet()).packet.mss == 1460
    to_pmtu = table("-A FORWARD -p tcp -j TCPMSS --clamp-mss-to-pmtu", name="mangle")
    assert through(to_pmtu, "mangle", "FORWARD", packet(path_mtu=1446)).packet.mss == 1406
    unknown = through(to_pmtu, "mangle", "FORWARD", packet())
    assert unknown.packet.mss == 1460 and "MTU of the routes" in unknown.conditions[0]


def test_marks() -> None:
    rules = parse(GATEWAY, 4)
    marked = through(rules, "mangle", "PREROUTING", packet(iif="guest0", oif="", mark=0x1F0F))
    assert marked.packet.mark == 0x1F05
    keep = table(
        "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        "-A PREROUTING -m mark --mark 0x7 -j RETURN",
        "-A PREROUTING -j MARK --set-xmark 0x7/0xffffffff",
        "-A PREROUTING -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        name="mangle",
        hook="PREROUTING",
    )
    first = through(keep, "mangle", "PREROUTING", packet())
    assert (first.packet.mark, first.packet.connection_mark) == (7, 7)
    answer = through(keep, "mangle", "PREROUTING", packet(connection_mark=first.packet.connection_mark))
    assert answer.packet.mark == 7 and answer.visits[-1].effect == "returns"
    lost = through(keep, "mangle", "PREROUTING", packet(connection_mark=None))
    assert any("the mark of the connection" in c for c in lost.conditions)


def test_masquerade_takes_the_address_of_the_device() -> None:
    rules = parse(GATEWAY, 4)
    eaten = through(rules, "nat", "POSTROUTING", packet())
    assert str(eaten.packet.source) == "172.16.1.1" and eaten.by is not None and "MASQUERADE" in eaten.by.text
    assert eaten.packet.translated == {"SNAT"}
    spared = through(rules, "nat", "POSTROUTING", packet(goes_through=(PEER,)))
    assert spared.packet.source == packet().source and spared.by is not None and spared.by.text.endswith("-j ACCEPT")
    unknown = through(rules, "nat", "POSTROUTING", packet(), Stranger())
    assert unknown.packet.source == packet().source and "which address wan has" in unknown.conditions[0]


@pytest.mark.parametrize(
    ("target", "address", "port", "condition"),
    [
        ("DNAT --to-destination 10.0.0.1", "10.0.0.1", 443, ""),
        ("DNAT --to-destination 10.0.0.1:8080", "10.0.0.1", 8080, ""),
        ("DNAT --to-destination :8080", "10.1.2.10", 8080, ""),
        ("DNAT --to-destination 10.0.0.1-10.0.0.9", "10.0.0.1", 443, "which address of 10.0.0.1-10.0.0.9"),
        ("DNAT --to-destination 10.0.0.1:80-90", "10.0.0.1", 80, "which port of 80-90"),
        ("REDIRECT --to-ports 3128", "10.1.1.1", 3128, ""),
        ("NETMAP --to 10.9.0.0/16", "10.9.2.10", 443, ""),
        ("DNAT --to-destination nowhere", "10.1.2.10", 443, "what DNAT"),
    ],
)
def test_destination_nat(target: str, address: str, port: int, condition: str) -> None:
    rules = table(f"-A PREROUTING -j {target}", name="nat", hook="PREROUTING")
    found = through(rules, "nat", "PREROUTING", packet())
    assert (str(found.packet.destination), found.packet.destination_port) == (address, port)
    assert condition in "".join(found.conditions) and bool(condition) == bool(found.conditions)


def test_destination_nat_of_ipv6() -> None:
    text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DNAT --to-destination {}\nCOMMIT\n"
    asked = packet(source=ip_address("fd01::1"), destination=ip_address("fd02::1"))
    for spelled, expected in (("[fd00::7]:8080", ("fd00::7", 8080)), ("fd00::7", ("fd00::7", 443))):
        found = through(parse(text.format(spelled), 6), "nat", "PREROUTING", asked)
        assert (str(found.packet.destination), found.packet.destination_port) == expected


def test_an_unknown_target_is_a_condition() -> None:
    found = through(table("-A FORWARD -j SYNPROXY"), "filter", "FORWARD", packet())
    assert found.verdict is Verdict.ACCEPT and "SYNPROXY is not judged" in found.conditions[0]


def test_chains_without_end_are_not_followed() -> None:
    """The kernel refuses them; a text may hold them."""
    found = through(table("-A FORWARD -j ROUND", "-A ROUND -j ROUND"), "filter", "FORWARD", packet())
    assert found.verdict is Verdict.ACCEPT and "deeper than" in found.conditions[0]


def test_no_such_hook() -> None:
    assert walk(parse(GATEWAY, 4), "nat", "OUTPUT", packet(), Here()) is None
    assert walk(parse(GATEWAY, 4), "raw", "PREROUTING", packet(), Here()) is None
