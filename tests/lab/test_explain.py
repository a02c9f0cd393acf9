"""What ``xfrmctl explain`` says is what the kernel does: each case is told first, and then a real packet is sent."""

import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.lab.kernel_gateway import IF_ID, gateways, inside
from xfrmctl.cli.main import app
from xfrmctl.kernel.observe import Observer
from xfrmctl.lab import static, traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.topology import HOST_A, HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import DataPlane, Direction

pytestmark = pytest.mark.lab


def told(topology: Topology, *what: str, at: str = "ga") -> dict[str, Any]:
    """What the command says in the gateway's namespace."""
    with inside(topology.ns(at)):
        run = CliRunner().invoke(app, ["explain", *what, "--json"])
    assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
    found: dict[str, Any] = json.loads(run.stdout)
    assert run.exit_code == int(found["dropped"]), run.stdout
    return found


def done(topology: Topology, version: int = 0) -> str:
    """What becomes of a ping of host A's on its way out of gateway A: esp, clear or nothing."""
    with Capture(topology.ns("r"), "ra") as capture:
        traffic.ping(topology.ns("ha"), HOST_B[version], count=1, wait_s=0.3)
    counts = capture.report.counts
    return "esp" if capture.report.esp else "clear" if counts[Kind.PLAINTEXT] else "nothing"


def prediction(found: dict[str, Any]) -> str:
    there = found["there"]
    return "nothing" if there["dropped"] else "clear" if "in clear" in there["end"] else "esp"


def run(*commands: str) -> Callable[[Topology], None]:
    """A fault made by commands in gateway A's namespace."""

    def make(topology: Topology) -> None:
        for command in commands:
            topology.ns("ga").run(command.split())

    return make


CASES: dict[str, tuple[Callable[[Topology], None], str, str]] = {
    "healthy": (run(), "esp", "SA lookup"),
    "masquerade": (
        run("iptables -t nat -A POSTROUTING -o wan -j MASQUERADE"),
        "clear",
        "policy lookup again (after SNAT)",
    ),
    "masquerade-spared": (
        run(
            "iptables -t nat -A POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT",
            "iptables -t nat -A POSTROUTING -o wan -j MASQUERADE",
        ),
        "esp",
        "POSTROUTING, nat",
    ),
    "forward-drop": (run("iptables -A FORWARD -d 10.1.2.0/24 -j DROP"), "nothing", "FORWARD, filter"),
    "forward-spares-ipsec": (
        run(
            "iptables -A FORWARD -m policy --dir out --pol ipsec --mode tunnel --tunnel-dst 172.16.2.1 -j ACCEPT",
            "iptables -P FORWARD DROP",
        ),
        "esp",
        "FORWARD, filter",
    ),
    "legacy-drop": (run("iptables-legacy -A FORWARD -d 10.1.2.0/24 -j DROP"), "nothing", "FORWARD, filter"),
    "output-drops-esp": (run("iptables -A OUTPUT -p esp -j DROP"), "nothing", "OUTPUT (the ESP packet), filter"),
    "raw-drop": (run("iptables -t raw -A PREROUTING -i lan -j DROP"), "nothing", "PREROUTING, raw"),
    "no-forwarding": (run("sysctl -q -w net.ipv4.conf.lan.forwarding=0"), "nothing", "route"),
    "no-policy": (run("ip xfrm policy delete src 10.1.1.0/24 dst 10.1.2.0/24 dir out"), "clear", "policy lookup (out)"),
    "no-sa": (
        run("ip xfrm state delete src 172.16.1.1 dst 172.16.2.1 proto esp spi 0x1001"),
        "nothing",
        "SA lookup",
    ),
    "block-younger": (  # of the same priority: the older one decides
        run("ip xfrm policy add src 10.1.1.0/24 dst 10.1.0.0/16 dir out priority 0 action block"),
        "esp",
        "policy lookup (out)",
    ),
    "block-older": (
        run(
            "ip xfrm policy delete src 10.1.1.0/24 dst 10.1.2.0/24 dir out",
            "ip xfrm policy add src 10.1.1.0/24 dst 10.1.0.0/16 dir out priority 0 action block",
            "ip xfrm policy add src 10.1.1.0/24 dst 10.1.2.0/24 dir out priority 0 tmpl src 172.16.1.1 dst 172.16.2.1"
            " proto esp reqid 1 mode tunnel",
        ),
        "nothing",
        "policy lookup (out)",
    ),
    "set": (
        run(
            "ipset create bad hash:net,net",
            "ipset add bad 10.1.1.0/24,10.1.2.10",
            "iptables -A FORWARD -m set --match-set bad src,dst -j DROP",
        ),
        "nothing",
        "FORWARD, filter",
    ),
    "nft-drop": (
        run(
            "nft add table inet fw",
            "nft add chain inet fw f { type filter hook forward priority 10 ; policy drop ; }",
            "nft add rule inet fw f ct state established,related accept",
            "nft add rule inet fw f ip daddr 10.1.2.0/24 tcp dport { 80, 443 } accept",
        ),
        "nothing",
        "FORWARD, fw f",
    ),
    "nft-accept": (
        run(
            "nft add table inet fw",
            "nft add chain inet fw f { type filter hook forward priority 10 ; policy drop ; }",
            "nft add rule inet fw f iifname lan rt ipsec exists ip daddr 10.1.2.0/24 counter accept",
        ),
        "esp",
        "FORWARD, fw f",
    ),
    "nft-masquerade": (
        run(
            "nft add table ip n",
            "nft add chain ip n post { type nat hook postrouting priority 100 ; }",
            "nft add rule ip n post oifname wan masquerade",
        ),
        "clear",
        "policy lookup again (after SNAT)",
    ),
    "nft-drops-esp-out": (
        run(
            "nft add table inet fw",
            "nft add chain inet fw o { type filter hook output priority 0 ; }",
            "nft add rule inet fw o meta l4proto esp drop",
        ),
        "nothing",
        "OUTPUT (the ESP packet), fw o",
    ),
    "marked-away": (
        run(
            "iptables -t mangle -A PREROUTING -i lan -j MARK --set-mark 7",
            "ip rule add fwmark 7 lookup 77",
            "ip route add blackhole default table 77",
        ),
        "nothing",
        "route",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_told_is_what_happens(topology: Topology, name: str) -> None:
    fault, expected, where = CASES[name]
    static.add_tunnel(topology)
    fault(topology)
    found = told(topology, HOST_A[0], HOST_B[0], "icmp", "--length", "84")
    assert prediction(found) == expected, json.dumps(found["there"], indent=1)
    assert any(step["where"].startswith(where) for step in found["there"]["steps"])
    if expected == "nothing":
        assert found["there"]["end"].startswith(f"dropped at {where}")
    assert found["there"]["depends"] == []
    assert done(topology) == expected


SIX: dict[str, tuple[Callable[[Topology], None], str, str]] = {
    "forward-drop": (run("ip6tables -A FORWARD -d fd10:2::/64 -j DROP"), "nothing", "FORWARD, filter"),
    "legacy-drop": (run("ip6tables-legacy -A FORWARD -d fd10:2::/64 -j DROP"), "nothing", "FORWARD, filter"),
    "masquerade": (
        run("ip6tables -t nat -A POSTROUTING -o wan -j MASQUERADE"),
        "clear",
        "policy lookup again (after SNAT)",
    ),
    "nft-drop": (
        run(
            "nft add table ip6 fw",
            "nft add chain ip6 fw f { type filter hook forward priority 10 ; }",
            "nft add rule ip6 fw f ip6 saddr fd10:1::/64 drop",
        ),
        "nothing",
        "FORWARD, fw f",
    ),
}


@pytest.mark.parametrize("name", SIX)
def test_the_same_for_ipv6(topology: Topology, name: str) -> None:
    fault, expected, where = SIX[name]
    static.add_tunnel(topology)
    fault(topology)
    found = told(topology, HOST_A[1], HOST_B[1], "icmpv6", "--length", "104")
    assert prediction(found) == expected, json.dumps(found["there"], indent=1)
    assert any(step["where"].startswith(where) for step in found["there"]["steps"])
    assert done(topology, 1) == expected


MARKED = "mark 0x7 mask 0xffffffff"


@pytest.mark.parametrize("marked", [True, False])
def test_policies_and_sas_with_marks(topology: Topology, marked: bool) -> None:
    """A policy for marked packets alone: what has no mark goes by it."""
    static.add_tunnel(topology)
    ga = topology.ns("ga")
    ga.batch(["xfrm policy delete src 10.1.1.0/24 dst 10.1.2.0/24 dir out"])
    template = f"tmpl src {OUTER_A[0]} dst {OUTER_B[0]} proto esp reqid 1 mode tunnel"
    ga.batch([f"xfrm policy add src 10.1.1.0/24 dst 10.1.2.0/24 dir out {MARKED} {template}"])
    if marked:
        ga.run(
            [
                "iptables",
                "-t",
                "mangle",
                "-A",
                "PREROUTING",
                "-i",
                "lan",
                "-d",
                "10.1.2.0/24",
                "-j",
                "MARK",
                "--set-mark",
                "7",
            ]
        )
    found = told(topology, HOST_A[0], HOST_B[0], "icmp")
    steps = {step["where"]: step["text"] for step in found["there"]["steps"]}
    assert prediction(found) == ("esp" if marked else "clear"), json.dumps(found["there"], indent=1)
    assert "priority 0 takes it" in steps["policy lookup (out)"] if marked else "in clear" in steps["wire"]
    assert done(topology) == ("esp" if marked else "clear")


@pytest.mark.parametrize("rule", ["", "iptables -A OUTPUT -d 10.1.2.0/24 -j DROP"])
def test_what_the_gateway_sends_itself(topology: Topology, rule: str) -> None:
    static.add_tunnel(topology)
    if rule:
        topology.ns("ga").run(rule.split())
    found = told(topology, "10.1.1.1", HOST_B[0], "icmp")
    wheres = [step["where"] for step in found["there"]["steps"]]
    assert wheres[0] == "origin" and "FORWARD" not in " ".join(wheres)
    assert wheres.index("policy lookup (out)") < next(n for n, where in enumerate(wheres) if where.startswith("OUTPUT"))
    assert found["there"]["dropped"] is bool(rule)
    assert not rule or found["there"]["end"].startswith("dropped at OUTPUT, filter")
    if not rule:
        assert found["back"]["end"] == "to 10.1.1.1 of this host", found["back"]
    pinged = topology.ns("ga").run(["ping", "-c1", "-W1", "-I", "10.1.1.1", HOST_B[0]], check=False)
    assert (pinged.returncode == 0) is not bool(rule)


def gre_over_transport(topology: Topology) -> None:
    """GRE devices of both gateways, and transport mode for GRE between them."""
    for number, (name, near, far) in enumerate((("ga", OUTER_A[0], OUTER_B[0]), ("gb", OUTER_B[0], OUTER_A[0]))):
        namespace, net = topology.ns(name), f"10.1.{2 - number}.0/24"
        lines = [f"link add gre1 type gre local {near} remote {far} ttl 64", "link set gre1 up mtu 1400"]
        lines += [f"route add {net} dev gre1"]
        for source, destination, spi in ((OUTER_A[0], OUTER_B[0], "0x2001"), (OUTER_B[0], OUTER_A[0], "0x2002")):
            lines.append(
                f"xfrm state add src {source} dst {destination} proto esp spi {spi} reqid 5 mode transport "
                f"aead rfc4106(gcm(aes)) 0x{spi[2:] * 10} 128"
            )
        for direction, (source, destination) in (("out", (near, far)), ("in", (far, near))):
            lines.append(
                f"xfrm policy add src {source}/32 dst {destination}/32 proto gre dir {direction} "
                "tmpl proto esp reqid 5 mode transport"
            )
        namespace.batch(lines)


@pytest.mark.parametrize(
    ("fault", "expected", "where"),
    [
        ("", "esp", "at the peer"),
        ("iptables -A FORWARD -o gre1 -j DROP", "nothing", "FORWARD, filter"),
        ("iptables -A OUTPUT -p gre -j DROP", "nothing", "OUTPUT, filter"),
        ("ip route add 172.16.2.1/32 dev gre1", "nothing", "route"),
        ("ip xfrm policy delete src 172.16.1.1/32 dst 172.16.2.1/32 proto gre dir out", "clear", "wire"),
    ],
)
def test_a_gre_device_over_transport_mode(topology: Topology, fault: str, expected: str, where: str) -> None:
    gre_over_transport(topology)
    if fault:
        topology.ns("ga").run(fault.split())
    found = told(topology, HOST_A[0], HOST_B[0], "icmp", "--length", "100")
    steps = found["there"]["steps"]
    wrapped = [step["text"] for step in steps if step["where"] == "gre1"]
    assert len(wrapped) == (0 if where == "FORWARD, filter" else 1)
    assert not wrapped or "GRE, 172.16.1.1 > 172.16.2.1; 100 bytes become 124" in wrapped[0]
    assert prediction(found) == expected, json.dumps(found["there"], indent=1)
    assert steps[-1]["where"].startswith(where), steps[-1]
    with Capture(topology.ns("r"), "ra") as capture:
        answered = traffic.ping(topology.ns("ha"), HOST_B[0], count=1, wait_s=0.3, packet_bytes=100).received
    counts = capture.report.counts
    seen = "esp" if capture.report.esp else "clear" if counts[Kind.PLAINTEXT] + counts[Kind.OTHER] else "nothing"
    assert (seen, answered) == (expected, expected == "esp")
    if expected == "esp":
        assert f"{capture.report.largest} bytes" in found["there"]["end"]
        text = json.dumps(found["back"])
        assert "decrypted by SPI 0x00002002" in text and "taken out of GRE" in text and not found["back"]["dropped"]


def test_a_strict_gre_device_forgets_that_packets_were_encrypted(topology: Topology) -> None:
    gre_over_transport(topology)
    topology.ns("ga").batch(["route add 10.1.2.0/25 via 172.16.1.254 dev wan"])
    topology.ns("ga").run(["sysctl", "-q", "-w", "net.ipv4.conf.gre1.rp_filter=1"])
    found = told(topology, HOST_A[0], HOST_B[0], "icmp")
    assert "in clear" in found["there"]["end"]  # it leaves past the device, and so does not get there


@pytest.mark.parametrize("version", [0, 1], ids=["ipv4", "ipv6"])
def test_both_directions_and_both_ends_of_a_healthy_tunnel(topology: Topology, version: int) -> None:
    static.add_tunnel(topology)
    what = (HOST_A[version], HOST_B[version], "icmp", "--length", "1300")
    here, there = told(topology, *what), told(topology, *what, at="gb")
    assert not here["dropped"] and not there["dropped"]
    assert "decrypted by SPI 0x00001002" in json.dumps(here["back"])
    assert "decrypted by SPI 0x00001001" in json.dumps(there["there"])
    assert here["there"]["end"] == f"leaves by wan as {OUTER_A[0]} > {OUTER_B[0]}, protocol 50, 1356 bytes"
    with Capture(topology.ns("r"), "ra") as capture:
        assert traffic.ping(topology.ns("ha"), HOST_B[version], count=1, packet_bytes=1300).received == 1
    assert capture.report.largest == 1356


def test_input_that_drops_esp_is_seen_in_the_answer(topology: Topology) -> None:
    static.add_tunnel(topology)
    topology.ns("ga").run(["iptables", "-A", "INPUT", "-p", "esp", "-j", "DROP"])
    found = told(topology, HOST_A[0], HOST_B[0], "icmp")
    assert not found["there"]["dropped"] and "INPUT (the ESP packet), filter" in found["back"]["end"]
    assert traffic.ping(topology.ns("ha"), HOST_B[0], count=1, wait_s=0.3).received == 0


def test_a_policy_check_that_fails_after_decryption(topology: Topology) -> None:
    static.add_tunnel(topology)
    topology.ns("ga").batch(["xfrm policy delete src 10.1.2.0/24 dst 10.1.1.0/24 dir fwd"])
    found = told(topology, HOST_A[0], HOST_B[0], "icmp")
    assert "XfrmInNoPols" in found["back"]["end"]
    assert traffic.ping(topology.ns("ha"), HOST_B[0], count=1, wait_s=0.3).received == 0
    stat = topology.ns("ga").run(["cat", "/proc/net/xfrm_stat"]).stdout
    assert int(stat.split("XfrmInNoPols")[1].split()[0]) >= 1


@pytest.mark.parametrize("plane", list(DataPlane))
def test_our_own_tunnels_of_both_planes(topology: Topology, plane: DataPlane) -> None:
    with gateways(topology, plane=plane) as both:
        for one in both:
            one.converge(one.desired())
            one.kernel.install(one.sas())
        found = told(topology, HOST_A[0], HOST_B[0], "tcp", "443")
        assert not found["dropped"], json.dumps(found, indent=1)
        assert "protocol 50" in found["there"]["end"]
        wheres = [step["where"] for step in found["there"]["steps"]]
        assert any("(xfrm interface)" in where for where in wheres) is (plane is DataPlane.INTERFACE)
        assert traffic.ping(topology.ns("ha"), HOST_B[0], count=1).received == 1


@pytest.mark.parametrize("firewall", [FirewallBackend.IPTABLES, FirewallBackend.NFTABLES], ids=lambda kind: kind.value)
def test_our_own_clamp_is_foreseen(topology: Topology, firewall: FirewallBackend) -> None:
    with gateways(topology, firewall=firewall) as both:
        for one in both:
            one.converge(one.desired(mss=1000 if one is both[0] else 0))
            one.kernel.install(one.sas())
        found = told(topology, HOST_A[0], HOST_B[0], "tcp", "5201")
        (mss,) = (step for step in found["there"]["steps"] if step["where"] == "MSS")
        assert mss["text"].startswith("1000 is told") and found["there"]["depends"] == []
        with Capture(topology.ns("hb"), "eth0") as capture:
            assert traffic.transfer(topology.ns("ha"), topology.ns("hb"), HOST_B[0], size=1000).complete
        assert [syn.mss for syn in capture.report.syns if not syn.ack] == [1000]


def test_the_kernel_is_read_as_it_is(topology: Topology) -> None:
    static.add_tunnel(topology, reqid=7)
    ga = topology.ns("ga")
    ga.batch(["link add ipsec7 type xfrm if_id 0x77 dev wan"])
    state = "xfrm state add src 172.16.1.1 dst 192.0.2.7 proto esp spi 0x7777 reqid 9 mode tunnel if_id 0x77"
    keys = "enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f auth-trunc hmac(sha256) 0x" + "ab" * 32 + " 128"
    ga.run([*f"ip {state} encap espinudp 4500 4501 0.0.0.0 {keys}".split()])
    with inside(ga), Observer() as observer:
        policies, sas, devices = observer.policies(), observer.sas(), observer.devices()
        route = observer.route(ip_address(HOST_B[0]), ip_address(HOST_A[0]), iif="lan")
    out = [p for p in policies if p.direction is Direction.OUT and p.source.version == 4]
    assert len(policies) == 6 and str(out[0]) == (
        "src 10.1.1.0/24 dst 10.1.2.0/24 dir out priority 0 "
        "tmpl src 172.16.1.1 dst 172.16.2.1 proto esp reqid 7 mode tunnel"
    )
    by_spi = {sa.spi: sa for sa in sas}
    assert {0x1001, 0x1002, 0x7777} == set(by_spi) and str(by_spi[0x1001].suite) == "aes128gcm16-noesn"
    odd = by_spi[0x7777]
    assert odd.encap is not None and (odd.encap.source_port, odd.encap.destination_port) == (4500, 4501)
    assert odd.if_id == 0x77 and odd.suite is not None and str(odd.suite) == "aes128-sha256-noesn"
    assert (devices["ipsec7"].kind, devices["ipsec7"].if_id) == ("xfrm", 0x77) and devices["ipsec7"].if_id != IF_ID
    assert ip_address("172.16.1.1") in devices["wan"].addresses
    assert (route.kind, route.device) == ("unicast", "wan") and "iif lan" in route.asked
