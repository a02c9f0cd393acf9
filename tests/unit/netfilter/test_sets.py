"""What is asked of sets of ipset."""

import pytest

from tests.unit.netfilter.rule_sets import packet
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
