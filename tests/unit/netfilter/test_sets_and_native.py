"""What is asked of sets of ipset, and which chains of nf_tables stand beside those of iptables."""

import pytest

from tests.unit.netfilter.rule_sets import packet
from xfrmctl.netfilter.native import NativeChain, parse_native
from xfrmctl.netfilter.packet import ICMP, Packet
from xfrmctl.netfilter.sets import element


@pytest.mark.parametrize(
    ("kind", "flags", "asked", "expected"),
    [
        ("hash:net,net", ("src", "dst"), packet(), "10.1.1.10,10.1.2.10"),
        ("hash:net,net", ("dst", "src"), packet(), "10.1.2.10,10.1.1.10"),
        ("hash:ip", ("src",), packet(), "10.1.1.10"),
        ("hash:ip", ("dst", "src"), packet(), "10.1.2.10"),
        ("hash:ip,port", ("src", "dst"), packet(), "10.1.1.10,tcp:443"),
        ("hash:ip,port", ("src", "src"), packet(), None),
        ("hash:ip,port", ("src", "dst"), packet(protocol=ICMP, destination_port=None), None),
        ("hash:net,iface", ("src", "src"), packet(), "10.1.1.10,lan"),
        ("hash:net,iface", ("src", "dst"), packet(oif=""), None),
        ("hash:ip,mark", ("src", "src"), packet(mark=7), "10.1.1.10,0x7"),
        ("hash:mac", ("src",), packet(), None),
        ("hash:net,net", ("src",), packet(), None),
        ("", ("src",), packet(), None),
    ],
)
def test_an_element(kind: str, flags: tuple[str, ...], asked: Packet, expected: str | None) -> None:
    assert element(kind, flags, asked) == expected


LISTING = """\
table ip filter {
\tchain FORWARD {
\t\ttype filter hook forward priority filter; policy accept;
\t\tcounter packets 0 bytes 0 drop
\t}
}
table inet fw {
\tset peers {
\t\ttype ipv4_addr
\t\telements = { 172.16.2.1 }
\t}

\tchain helper {
\t\taccept
\t}

\tchain fwd {
\t\ttype filter hook forward priority filter + 10; policy drop;
\t\tct state established,related accept
\t\tiifname "lan" jump helper
\t}
}
table netdev early {
\tchain in {
\t\ttype filter hook ingress device "wan" priority 0; policy accept;
\t}
}
"""


def test_base_chains_that_iptables_does_not_know() -> None:
    rules = ("ct state established,related accept", 'iifname "lan" jump helper')
    assert parse_native(LISTING) == [NativeChain("inet", "fw", "fwd", "forward", "drop", rules)]
    assert parse_native("") == [] and parse_native("nonsense {\n}\n") == []
