"""The kernel is asked what each match says of one packet: rules without a target only count. Ours must agree.

One packet that nobody answers, and a counter for each match: what has counted one is what the kernel has matched.
"""

import errno
import socket
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.lab.kernel_gateway import inside
from xfrmctl.cli.here import Here
from xfrmctl.journey.hooks import Local
from xfrmctl.kernel.firewall.programs import run
from xfrmctl.kernel.observe import Observer
from xfrmctl.lab import static, traffic
from xfrmctl.lab.topology import HOST_A, HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.netfilter.nft import parse_nft
from xfrmctl.netfilter.nftwalk import walk_nft
from xfrmctl.netfilter.packet import ESP, ICMP, SYN, TCP, Applied, Packet
from xfrmctl.netfilter.save import parse
from xfrmctl.netfilter.walk import walk

pytestmark = pytest.mark.lab

PORT, SOURCE_PORT = 5999, 40404
THROUGH = (Applied(1, 0x1001, ESP, "tunnel", ip_address(OUTER_A[0]), ip_address(OUTER_B[0])),)
TO_HOST = Packet(
    source=ip_address(HOST_A[0]),
    destination=ip_address(HOST_B[0]),
    protocol=TCP,
    iif="lan",
    oif="wan",
    goes_through=THROUGH,
)
TCP_SYN = replace(
    TO_HOST,
    source_port=SOURCE_PORT,
    destination_port=PORT,
    tcp_flags=SYN,
    mss=1460,
    length=60,
    mark=0x105,
    path_mtu=1446,
)
PING = replace(TO_HOST, protocol=ICMP, icmp_type=8, icmp_code=0, length=84, mark=0x105)

IPTABLES = """
-s 10.1.1.0/24
! -s 10.1.1.0/24
-d 10.1.1.0/24
-s 10.1.1.10/32 -d 10.1.2.10/32
-i lan -o wan
-i la+ ! -o wan
-i +
-p tcp
-p icmp
! -p tcp
-p udp -m udp --dport 5999
-p tcp -m tcp --dport 5999
-p tcp -m tcp --dport 5990:6000
-p tcp -m tcp ! --dport 5999
-p tcp -m tcp --sport 40404
-p tcp -m tcp --dport 6000:
-p tcp -m multiport --dports 22,5998:5999
-p tcp -m multiport ! --dports 22,5998:5999
-p tcp -m multiport --ports 40404
-p tcp -m multiport --sports 1:1024
-p tcp -m tcp --syn
-p tcp -m tcp --tcp-flags SYN,RST SYN
-p tcp -m tcp --tcp-flags ALL ACK
-p tcp -m tcpmss --mss 1361:65535
-p tcp -m tcp --syn -m tcpmss ! --mss 0:1460
-p icmp -m icmp --icmp-type 8
-p icmp -m icmp --icmp-type 3/4
-p icmp -m icmp --icmp-type any
-m conntrack --ctstate NEW
-m conntrack --ctstate RELATED,ESTABLISHED
-m conntrack ! --ctstate INVALID
-m conntrack --ctstate DNAT,SNAT
-m mark --mark 0x5/0xff
-m mark --mark 0x5
-m mark ! --mark 0x105
-m connmark --mark 0x0
-m length --length 60
-m length --length 61:1500
-m addrtype --dst-type LOCAL
-m addrtype --src-type UNICAST
-m addrtype ! --dst-type LOCAL
-m set --match-set nets src,dst
-m set --match-set nets dst,src
-m set ! --match-set hosts dst
-m policy --dir out --pol ipsec
-m policy --dir out --pol none
-m policy --dir in --pol ipsec
-m policy --dir in --pol none
-m policy --dir out --pol ipsec --reqid 1
-m policy --dir out --pol ipsec --reqid 2
-m policy --dir out --pol ipsec --mode tunnel --tunnel-src 172.16.1.1 --tunnel-dst 172.16.2.0/24
-m policy --dir out --pol ipsec --mode tunnel --tunnel-dst 172.16.1.0/24
-m policy --dir out --pol ipsec --strict --proto esp --mode tunnel
-m policy --dir out --pol ipsec --strict --mode tunnel --next --mode tunnel
-f
""".strip().splitlines()

NFT = """
ip saddr 10.1.1.0/24
ip saddr != 10.1.1.0/24
ip daddr { 10.1.1.0/24, 10.1.2.1-10.1.2.9 }
ip daddr { 10.1.1.0/24, 10.1.2.1-10.1.2.20 }
ip6 saddr ::/0
ip saddr & 255.255.255.0 == 10.1.1.0
ip saddr & 255.255.0.0 == 10.1.1.0
ip saddr . ip daddr { 10.1.1.0/24 . 10.1.2.0/24 }
iifname "la*" oifname wan
iif lan
iifname { "wan", "lo" }
meta l4proto tcp
meta l4proto { tcp, icmp }
ip protocol icmp
tcp dport 5999
tcp dport != 5999
tcp dport { 22, 5990-6000 }
udp dport 5999
th dport 5999
tcp sport 40404 tcp flags syn
tcp flags syn / fin,syn,rst,ack
tcp flags & (syn | ack) == ack
tcp option maxseg size > 1360
tcp option maxseg size 1000
icmp type echo-request
icmp type { echo-reply, destination-unreachable }
ct state new
ct state established,related
ct state { new, untracked }
ct direction original
ct mark 0
meta mark 0x105
meta mark & 0xff == 0x5
meta mark != 0x105
ip length 60
ip length > 60
meta nfproto ipv4
meta nfproto ipv6
rt ipsec exists
rt ipsec missing
meta ipsec exists
ipsec out reqid 1
ipsec out reqid 2
ipsec in reqid 1
fib daddr type local
fib saddr type unicast
""".strip().splitlines()


def marked_and_counted(topology: Topology) -> None:
    """A tunnel, a mark on what comes in, sets, and a counter for each match."""
    static.add_tunnel(topology)
    topology.ns("hb").run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", str(PORT), "-j", "DROP"])
    topology.ns("hb").run(["iptables", "-A", "INPUT", "-p", "icmp", "-j", "DROP"])
    with inside(topology.ns("ga")):
        run(["ipset", "restore"], "create nets hash:net,net\nadd nets 10.1.1.0/24,10.1.2.0/24\ncreate hosts hash:ip\n")
        rules = [f"-A FORWARD {match}" for match in IPTABLES]
        mark = "-A PREROUTING -i lan -j MARK --set-mark 0x105"
        run(["iptables-restore"], "\n".join(["*mangle", mark, *rules, "COMMIT", ""]))
        chain = ["table inet c {", "chain f {", "type filter hook forward priority 5; policy accept;"]
        run(["nft", "-f", "-"], "\n".join([*chain, *(f"{match} counter" for match in NFT), "}", "}", ""]))


def one(topology: Topology, packet: Packet) -> None:
    """Send it once."""
    if packet.protocol == ICMP:
        traffic.ping(topology.ns("ha"), HOST_B[0], count=1, wait_s=0.2)
        return
    with topology.ns("ha").socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST_A[0], SOURCE_PORT))
        sock.setblocking(False)
        assert sock.connect_ex((HOST_B[0], PORT)) == errno.EINPROGRESS
        traffic.ping(topology.ns("ha"), "10.1.1.1", count=1)  # gateway A has seen whatever came before


@pytest.mark.parametrize("packet", [TCP_SYN, PING], ids=["syn", "ping"])
def test_every_match_says_what_the_kernel_says(topology: Topology, packet: Packet) -> None:
    marked_and_counted(topology)
    one(topology, packet)
    with inside(topology.ns("ga")), Observer() as observer:
        host = Local(Here(observer))
        saved = parse(run(["iptables-save", "-c", "-t", "mangle"]), 4)
        native = parse_nft(run(["nft", "-j", "list", "ruleset"]), run(["nft", "-a", "list", "ruleset"]))
        said = walk(saved, "mangle", "FORWARD", packet, host)
        (chain,) = native.at("forward", 4)
        nft = walk_nft(native, chain, packet, host)
    assert said is not None and said.conditions == () and nft.conditions == ()
    forward = saved.chain("mangle", "FORWARD")
    assert forward is not None and len(forward.rules) == len(IPTABLES) and len(chain.rules) == len(NFT)
    counted = [rule.text for rule in forward.rules if rule.packets]
    assert counted and [visit.rule.text for visit in said.visits] == counted
    hit = [rule.text for rule in chain.rules if any(e.get("counter", {}).get("packets") for e in rule.expressions)]
    assert hit and [visit.rule.text for visit in nft.visits] == hit
