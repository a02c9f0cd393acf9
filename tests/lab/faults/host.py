"""Faults of the host around the tunnel: forwarding, routes, firewall, sizes."""

from tests.lab.faults.fault import Fault
from xfrmctl.model.snapshot import Snapshot

WATCHED = 0.5
"""Seconds, where counters have to move."""

PAIR = "-s 10.1.1.0/24 -d 10.1.2.0/24"
PAIR6 = "-s fd10:1::/64 -d fd10:2::/64"
BACK = "-s 10.1.2.0/24 -d 10.1.1.0/24"

REPLIES = """python3 -c '
import socket, time
icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
while True:
    icmp.sendto(bytes.fromhex("0000fffd00010001"), ("10.1.2.10", 0))
    time.sleep(0.02)
'"""
"""Answers to pings that nobody has sent: for conntrack they are INVALID."""

FILTERED = tuple(
    f"r: {tool} -w {{}} {chain} -p {protocol} --{protocol}-type {kind} -j DROP"
    for chain in ("OUTPUT", "FORWARD")
    for tool, protocol, kind in (
        ("iptables", "icmp", "fragmentation-needed"),
        ("ip6tables", "icmpv6", "packet-too-big"),
    )
)
NARROW = ("ra", "rb")


def is_down(state: Snapshot) -> bool:
    """The peer has been missed."""
    return all(connection.state != "up" for connection in state.connections)


def is_narrow(state: Snapshot) -> bool:
    """Probes have found the path to be narrower than the link."""
    sas = [sa for connection in state.connections for ike in connection.ike_sas for sa in ike.children]
    paths = [sa.mtu.path for sa in sas if sa.mtu is not None and sa.mtu.path is not None]
    return any(path.mtu < path.link_mtu for path in paths)


HOST = (
    Fault(name="INPUT drops IKE", finding="firewall-drops-ike", evidence="--dport 500 -j DROP", again=True).by_rule(
        "ga", "-I INPUT -p udp --dport 500 -j DROP"
    ),
    Fault(
        name="INPUT drops UDP 4500",
        finding="firewall-drops-esp-in-udp",
        evidence="--dport 4500 -j DROP",
        a={"ike": {"encap": "always"}},
        again=True,
    ).by_rule("ga", "-I INPUT -p udp --dport 4500 -j DROP"),
    Fault(
        name="FORWARD drops one host",
        finding="forward-drop-part",
        seconds=WATCHED,
        cured=True,
        evidence="-A FORWARD -s 10.1.1.10/32 -d 10.1.2.0/24 -j DROP",
    ).by_rule("ga", "-I FORWARD -s 10.1.1.10 -d 10.1.2.0/24 -j DROP"),
    Fault(
        name="conntrack calls packets INVALID, and a rule drops them",
        finding="conntrack-invalid",
        seconds=WATCHED,
        evidence="--ctstate INVALID -j DROP",
        noise=(f"ha: {REPLIES}",),
    ).by_rule("ga", "-I FORWARD -m conntrack --ctstate INVALID -j DROP"),
    Fault(
        name="strict reverse-path filtering, and the peer is routed elsewhere",
        finding="rp-filter",
        seconds=WATCHED,
        evidence="TcpExt IPReversePathFilter: +",
        make=(
            "ga: sysctl -w net.ipv4.conf.wan.rp_filter=1",
            "ga: ip link add alt type dummy",
            "ga: ip link set alt up",
            "ga: ip route add 172.16.2.1/32 dev alt",
        ),
        undo=("ga: ip link delete alt", "ga: sysctl -w net.ipv4.conf.wan.rp_filter=0"),
        settled=is_down,
    ),
    Fault(
        name="behind the peer nothing answers, ESP in UDP",
        finding="no-answers",
        seconds=WATCHED,
        evidence="the way that IKE goes as well",
        a={"ike": {"encap": "always"}},
        make=(
            "gb: iptables -w -I FORWARD -j DROP",
            "gb: ip6tables -w -I FORWARD -j DROP",
            "gb: iptables -w -I INPUT -p icmp -j DROP",
            "gb: ip6tables -w -I INPUT -s fd10::/16 -j DROP",
        ),
        undo=(
            "gb: iptables -w -D FORWARD -j DROP",
            "gb: ip6tables -w -D FORWARD -j DROP",
            "gb: iptables -w -D INPUT -p icmp -j DROP",
            "gb: ip6tables -w -D INPUT -s fd10::/16 -j DROP",
        ),
    ),
    Fault(
        name="forwarding is off",
        finding="forwarding-off",
        cured=True,
        evidence="net.ipv4.ip_forward = 0",
        make=("ga: sysctl -w net.ipv4.ip_forward=0",),
        undo=("ga: sysctl -w net.ipv4.ip_forward=1",),
    ),
    Fault(
        name="IPv6 forwarding is off",
        finding="forwarding-off",
        evidence="net.ipv6.conf.all.forwarding = 0",
        make=("ga: sysctl -w net.ipv6.conf.all.forwarding=0",),
        undo=("ga: sysctl -w net.ipv6.conf.all.forwarding=1", "ga: ip -6 route replace default via fd16:1::fe"),
    ),
    Fault(
        name="masquerade eats the tunnel's packets",
        finding="nat-before-policy",
        cured=True,
        evidence="-A POSTROUTING -s 10.1.1.0/24 -o wan -j MASQUERADE",
    ).by_rule("ga", "-t nat -A POSTROUTING -s 10.1.1.0/24 -o wan -j MASQUERADE"),
    Fault(
        name="nft's masquerade eats the tunnel's packets",
        finding="nat-before-policy",
        cured=True,
        evidence='oifname "wan" masquerade',
        make=(
            "ga: nft add table ip homenat",
            "ga: nft add chain ip homenat post '{ type nat hook postrouting priority 100; }'",
            "ga: nft add rule ip homenat post oifname wan masquerade",
        ),
        undo=("ga: nft delete table ip homenat",),
    ),
    Fault(
        name="FORWARD drops before encryption",
        finding="forward-drop-outbound",
        cured=True,
        evidence=f"-A FORWARD {PAIR} -j DROP",
    ).by_rule("ga", f"-I FORWARD {PAIR} -j DROP"),
    Fault(
        name="FORWARD drops after decryption",
        finding="forward-drop-inbound",
        cured=True,
        evidence=f"-A FORWARD {BACK} -j DROP",
    ).by_rule("ga", f"-I FORWARD {BACK} -j DROP"),
    Fault(
        name="FORWARD drops what is IPv6, before encryption",
        finding="forward-drop-outbound",
        evidence=f"-A FORWARD {PAIR6} -j DROP",
        cured=True,
        version=1,
    ).by_rule("ga", f"-I FORWARD {PAIR6} -j DROP", "ip6tables"),
    Fault(
        name="FORWARD drops whatever no rule accepts, as Docker leaves it",
        finding="forward-drop-outbound",
        evidence="policy of FORWARD is drop",
        cured=True,
        make=(
            "ga: iptables -w -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "ga: iptables -w -P FORWARD DROP",
        ),
        undo=(
            "ga: iptables -w -P FORWARD ACCEPT",
            "ga: iptables -w -D FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ),
    ),
    Fault(
        name="nft drops after decryption",
        finding="forward-drop-inbound",
        evidence="ip saddr 10.1.2.0/24 drop",
        cured=True,
        make=(
            "ga: nft add table inet fw",
            "ga: nft add chain inet fw f '{ type filter hook forward priority 0; }'",
            "ga: nft add rule inet fw f ip saddr 10.1.2.0/24 drop",
        ),
        undo=("ga: nft delete table inet fw",),
    ),
    Fault(
        name="forwarding is off for one device",
        finding="forwarding-off",
        evidence="net.ipv4.conf.lan.forwarding = 0",
        cured=True,
        make=("ga: sysctl -w net.ipv4.conf.lan.forwarding=0",),
        undo=("ga: sysctl -w net.ipv4.conf.lan.forwarding=1",),
    ),
    Fault(name="INPUT drops ESP", finding="firewall-drops-esp", cured=True, evidence="-A INPUT -p esp -j DROP").by_rule(
        "ga", "-I INPUT -p esp -j DROP"
    ),
    Fault(
        name="INPUT drops fragments", finding="firewall-drops-fragments", cured=True, evidence="-A INPUT -f -j DROP"
    ).by_rule("ga", "-I INPUT -f -j DROP"),
    Fault(
        name="OUTPUT drops ICMP errors",
        finding="icmp-to-hosts-dropped",
        cured=True,
        evidence="-A OUTPUT -p icmp -j DROP",
    ).by_rule("ga", "-I OUTPUT -p icmp -j DROP"),
    Fault(
        name="a rule ends the mangle chain before the clamp",
        finding="mss-clamp-shadowed",
        evidence="-A POSTROUTING -j ACCEPT",
    ).by_rule("ga", "-t mangle -I POSTROUTING -j ACCEPT"),
    Fault(
        name="somebody has flushed the clamp",
        finding="mss-clamp-missing",
        evidence="IPv4 to",
        make=("ga: iptables -w -t mangle -F",),
        reload=True,
    ),
    Fault(
        name="ESP blocked on the way", finding="esp-blocked", seconds=WATCHED, evidence="IKE with 172.16.2.1"
    ).by_rule("r", "-I FORWARD -p esp -j DROP"),
    Fault(
        name="fragments dropped on the way", finding="fragments-dropped", evidence="in fragments: not answered"
    ).by_rule("r", "-I FORWARD -f -j DROP"),
    Fault(
        name="a policy of somebody else",
        finding="foreign-policy",
        evidence="dir out priority 7",
        make=("ga: ip xfrm policy add src 10.1.1.0/24 dst 10.1.2.0/25 dir out priority 7 action block",),
        undo=("ga: ip xfrm policy delete src 10.1.1.0/24 dst 10.1.2.0/25 dir out",),
    ),
    Fault(
        name="a queue that lets voice overtake",
        finding="late-drops",
        seconds=WATCHED,
        evidence="the window is 32 packets",
        a={"children": {"lan": {"replay_window": 32}}},
        make=(
            f"r: tc qdisc add dev ra root handle 1: prio bands 2 priomap {'1 ' * 16}",
            "r: tc qdisc add dev ra parent 1:2 handle 12: netem delay 400ms limit 10000",
            "r: tc filter add dev ra parent 1: protocol ip u32 match ip dsfield 0xb8 0xfc flowid 1:1",
        ),
        undo=("r: tc qdisc delete dev ra root",),
        noise=("ha: ping -n -q -i 0.005 -Q 0xb8 10.1.2.10",),
    ),
    Fault(
        name="the path doubles packets",
        finding="replay-drops",
        seconds=WATCHED,
        evidence="dropped of",
        make=("r: tc qdisc add dev ra root netem duplicate 50%",),
        undo=("r: tc qdisc delete dev ra root",),
    ),
    Fault(
        name="ESP blocked in one direction",
        finding="esp-blocked",
        seconds=WATCHED,
        evidence="IKE with 172.16.1.1",
        side=1,
    ).by_rule("r", "-I FORWARD -i ra -p esp -j DROP"),
    Fault(
        name="the written MTU is too small",
        finding="static-mtu-too-small",
        evidence="an ICMP echo of 1500 bytes with DF is answered",
        a={"children": {"lan": {"mtu": 1400}}},
    ),
    Fault(
        name="the written MTU is too small for IPv6 inside",
        finding="static-mtu-too-small",
        evidence="mtu: 1300",
        a={"children": {"lan": {"mtu": 1300}}},
    ),
    Fault(
        name="the written MTU is too large",
        finding="static-mtu-too-large",
        evidence="a router on the way says 1400",
        a={"children": {"lan": {"mtu": 1500}}},
        make=("r: ip link set rb mtu 1400", "gb: ip link set wan mtu 1400"),
        undo=("r: ip link set rb mtu 1500", "gb: ip link set wan mtu 1500"),
    ),
)

POLICY = (
    Fault(
        name="a reverse-path filter of nft, and the remote network is routed elsewhere",
        finding="rp-filter-decrypted",
        cured=True,
        evidence="fib saddr . iif oif",
        make=(
            "ga: nft add table inet rpf",
            "ga: nft add chain inet rpf pre '{ type filter hook prerouting priority -300; }'",
            "ga: nft add rule inet rpf pre fib saddr . iif oif missing drop",
            "ga: ip route add 10.1.2.0/24 dev lan",
        ),
        undo=("ga: nft delete table inet rpf", "ga: ip route delete 10.1.2.0/24 dev lan"),
    ),
    Fault(
        name="policies are bound to another interface than somebody has made",
        finding="interface-missing",
        evidence="no device has if_id 0x4d; mine has 0x4e",
        a={"children": {"lan": {"if_id": 77}}},
        make=("ga: ip link add mine type xfrm dev wan if_id 78", "ga: ip link set mine up"),
        undo=("ga: ip link delete mine",),
        again=True,
    ),
    Fault(
        name="a narrower connection is down and takes the packets",
        finding="selectors-overlap",
        evidence="part/half",
        a={
            "beside": {
                "part": {
                    "local": {"address": "172.16.1.1"},
                    "remote": {"address": "172.16.9.9"},
                    "auth": {"psk": "another key for the laboratory only"},
                    "children": {
                        "half": {"local_ts": ["10.1.1.0/24"], "remote_ts": ["10.1.2.128/25"], "start": "none"}
                    },
                }
            }
        },
    ),
    Fault(
        name="a route that leads nowhere",
        finding="no-route-to-network",
        evidence="blackhole",
        make=("ga: ip route add blackhole 10.1.2.0/24",),
        undo=("ga: ip route delete blackhole 10.1.2.0/24",),
    ),
    Fault(
        name="the interface of the policies is down",
        finding="interface-missing",
        evidence="mine has if_id 0x4d, and is down",
        a={"children": {"lan": {"if_id": 77}}},
        make=("ga: ip link add mine type xfrm dev wan if_id 77",),
        undo=("ga: ip link delete mine",),
        again=True,
    ),
    Fault(
        name="a route to the peer alone",
        finding="no-route-to-network",
        evidence="ip route get 10.1.2.1: nowhere",
        make=("ga: ip route add 172.16.2.0/24 via 172.16.1.254", "ga: ip route delete default"),
        undo=("ga: ip route add default via 172.16.1.254", "ga: ip route delete 172.16.2.0/24"),
    ),
    Fault(
        name="AH blocked on the way",
        finding="esp-blocked",
        seconds=WATCHED,
        evidence="IKE with 172.16.2.1",
        a={"children": {"lan": {"ah": ["sha256"]}}},
        b={"children": {"lan": {"ah": ["sha256"]}}},
        again=True,
    ).by_rule("r", "-I FORWARD -p ah -j DROP"),
    Fault(
        name="INPUT drops AH",
        finding="firewall-drops-ah",
        evidence="-A INPUT -p ah -j DROP",
        a={"children": {"lan": {"ah": ["sha256"]}}},
        b={"children": {"lan": {"ah": ["sha256"]}}},
        again=True,
    ).by_rule("ga", "-I INPUT -p ah -j DROP"),
    Fault(
        name="the device is exempt from policies",
        finding="policy-bypassed",
        cured=True,
        evidence="disable_xfrm = 1",
        make=("ga: sysctl -w net.ipv4.conf.wan.disable_xfrm=1", "ga: ip route flush cache"),
        undo=("ga: sysctl -w net.ipv4.conf.wan.disable_xfrm=0",),
    ),
    Fault(
        name="rules in the other variant of iptables", finding="iptables-variants-mixed", evidence="iptables-legacy"
    ).by_rule("ga", "-A INPUT -p tcp --dport 22 -j ACCEPT", "iptables-legacy"),
)

INTERFACE = (
    Fault(
        name="a route past the tunnel",
        finding="route-past-tunnel",
        evidence="dev wan",
        make=("ga: ip route add 10.1.2.128/25 via 172.16.1.254 dev wan",),
        undo=("ga: ip route delete 10.1.2.128/25 via 172.16.1.254 dev wan",),
    ),
)

NARROWED = (
    Fault(
        name="the path has become narrow, and no router says so",
        finding="path-mtu-black-hole",
        seconds=WATCHED,
        evidence="no answer and no ICMP error on the wire",
        make=(*(line.format("-A") for line in FILTERED), *(f"r: ip link set {dev} mtu 1400" for dev in NARROW)),
        undo=(*(line.format("-D") for line in FILTERED), *(f"r: ip link set {dev} mtu 1500" for dev in NARROW)),
        again=True,
        settled=is_narrow,
    ),
)
"""What the daemons believe of the path outlives it: the last one of its topology."""

RECURSIVE = (
    Fault(
        name="the peer's address is routed into its tunnel",
        finding="recursive-routing",
        evidence="dev ipsec0",
        make=("ga: ip route add 172.16.2.1/32 dev ipsec0",),
        undo=("ga: ip route delete 172.16.2.1/32 dev ipsec0",),
    ),
)
"""The same: what was believed of a path through itself is a tunnel's MTU again and again."""

GRE_DEVICE = (
    Fault(
        name="strict reverse-path filtering on a GRE device, and the remote network is routed elsewhere",
        finding="rp-filter-decrypted",
        seconds=WATCHED,
        evidence="TcpExt IPReversePathFilter: +",
        make=(
            "ga: sysctl -w net.ipv4.conf.gre1.rp_filter=1",
            "ga: ip route add 10.1.2.0/25 via 172.16.1.254 dev wan",
        ),
        undo=(
            "ga: ip route delete 10.1.2.0/25 via 172.16.1.254 dev wan",
            "ga: sysctl -w net.ipv4.conf.gre1.rp_filter=0",
        ),
    ),
    Fault(
        name="a route past a GRE device",
        finding="route-past-tunnel",
        evidence="main/lan wants 10.1.2.1 through gre1",
        make=("ga: ip route add 10.1.2.0/25 via 172.16.1.254 dev wan",),
        undo=("ga: ip route delete 10.1.2.0/25 via 172.16.1.254 dev wan",),
    ),
    Fault(
        name="FORWARD drops what goes into a GRE device",
        finding="forward-drop-outbound",
        evidence="-A FORWARD -o gre1 -j DROP",
        cured=True,
    ).by_rule("ga", "-I FORWARD -o gre1 -j DROP"),
    Fault(
        name="the peer's address is routed into a GRE device",
        finding="recursive-routing",
        evidence="gre1 is a tunnel (gre)",
        make=("ga: ip route add 172.16.2.1/32 dev gre1",),
        undo=("ga: ip route delete 172.16.2.1/32 dev gre1",),
    ),
)
"""Between two with a GRE device over transport mode."""
