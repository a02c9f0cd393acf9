"""Faults of the host around the tunnel: forwarding, routes, firewall, sizes."""

from tests.lab.faults.fault import Fault

PAIR = "-s 10.1.1.0/24 -d 10.1.2.0/24"
BACK = "-s 10.1.2.0/24 -d 10.1.1.0/24"

HOST = (
    Fault(
        name="forwarding is off",
        finding="forwarding-off",
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
        evidence="-A POSTROUTING -s 10.1.1.0/24 -o wan -j MASQUERADE",
    ).by_rule("ga", "-t nat -A POSTROUTING -s 10.1.1.0/24 -o wan -j MASQUERADE"),
    Fault(
        name="nft's masquerade eats the tunnel's packets",
        finding="nat-before-policy",
        evidence='oifname "wan" masquerade',
        make=(
            "ga: nft add table ip homenat",
            "ga: nft add chain ip homenat post '{ type nat hook postrouting priority 100; }'",
            "ga: nft add rule ip homenat post oifname wan masquerade",
        ),
        undo=("ga: nft delete table ip homenat",),
    ),
    Fault(
        name="FORWARD drops before encryption", finding="forward-drop-outbound", evidence=f"-A FORWARD {PAIR} -j DROP"
    ).by_rule("ga", f"-I FORWARD {PAIR} -j DROP"),
    Fault(
        name="FORWARD drops after decryption", finding="forward-drop-inbound", evidence=f"-A FORWARD {BACK} -j DROP"
    ).by_rule("ga", f"-I FORWARD {BACK} -j DROP"),
    Fault(name="INPUT drops ESP", finding="firewall-drops-esp", evidence="-A INPUT -p esp -j DROP").by_rule(
        "ga", "-I INPUT -p esp -j DROP"
    ),
    Fault(name="INPUT drops fragments", finding="firewall-drops-fragments", evidence="-A INPUT -f -j DROP").by_rule(
        "ga", "-I INPUT -f -j DROP"
    ),
    Fault(
        name="OUTPUT drops ICMP errors", finding="icmp-to-hosts-dropped", evidence="-A OUTPUT -p icmp -j DROP"
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
        undo=("ga: sleep 0.1",),
    ),
    Fault(
        name="rules in the other variant of iptables", finding="iptables-variants-mixed", evidence="iptables-legacy"
    ).by_rule("ga", "-A INPUT -p tcp --dport 22 -j ACCEPT", "iptables-legacy"),
    Fault(name="ESP blocked on the way", finding="esp-blocked", evidence="IKE with 172.16.2.1").by_rule(
        "r", "-I FORWARD -p esp -j DROP"
    ),
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
        name="the path reorders",
        finding="replay-drops",
        evidence="the window is 32 packets",
        a={"children": {"lan": {"replay_window": 32}}},
        make=("r: tc qdisc add dev ra root netem duplicate 50%",),
        undo=("r: tc qdisc delete dev ra root",),
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
        name="a route that leads nowhere",
        finding="no-route-to-network",
        evidence="blackhole",
        make=("ga: ip route add blackhole 10.1.2.0/24",),
        undo=("ga: ip route delete blackhole 10.1.2.0/24",),
    ),
    Fault(
        name="the device is exempt from policies",
        finding="policy-bypassed",
        evidence="disable_xfrm = 1",
        make=("ga: sysctl -w net.ipv4.conf.wan.disable_xfrm=1", "ga: ip route flush cache"),
        undo=("ga: sysctl -w net.ipv4.conf.wan.disable_xfrm=0",),
    ),
)

INTERFACE = (
    Fault(
        name="a route past the tunnel",
        finding="route-past-tunnel",
        evidence="dev wan",
        make=("ga: ip route add 10.1.2.128/25 via 172.16.1.254 dev wan",),
        undo=("ga: ip route delete 10.1.2.128/25 via 172.16.1.254 dev wan",),
    ),
    Fault(
        name="the interface is down",
        finding="interface-missing",
        evidence="is down",
        make=("ga: ip link set ipsec0 down",),
        undo=("ga: ip link set ipsec0 up",),
    ),
)
