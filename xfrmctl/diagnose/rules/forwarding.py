"""The host's routing around the tunnels: forwarding, routes, devices, reverse-path filters.

What is said of ``rp_filter`` is read from the kernel: packets that come out of an SA are not subject to it
(``fib_validate_source``: ``secpath_exists(skb) ? 0 : IN_DEV_RPFILTER``), the encrypted ones are.
"""

from collections.abc import Iterator

from xfrmctl.diagnose.facts import ChildFacts, ConnectionFacts, Facts, somewhere_in
from xfrmctl.diagnose.lines import NOTHING_THERE, cisco, shell, xfrmctl
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.finding import ERROR, PEER, WARNING, Finding, Line
from xfrmctl.model.observed import LOCAL, UNICAST, RouteLookup
from xfrmctl.model.sa import DataPlane, Mode
from xfrmctl.model.selector import TrafficSelector

_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
_STRICT = 1
_TUNNELS = {"xfrm", "vti", "vti6", "gre", "gretap", "ip6gre", "ipip", "ip6tnl"}
"""Kinds of devices as rtnetlink names them."""


def told(answer: RouteLookup) -> str:
    """A look-up as evidence."""
    return f"{answer.asked}: {answer.kind}, {answer.said}"


def networks(selectors: tuple[TrafficSelector, ...]) -> list[IPNetwork]:
    """The prefixes of selectors; all addresses at once stand for none."""
    return [n for ts in selectors for n in ts.networks() if n.prefixlen]


def is_for_others(facts: Facts, network: IPNetwork) -> bool:
    """Whether a local network has addresses that are not the gateway's own."""
    return network.num_addresses > 1 or network.network_address not in facts.host.addresses


def inside_device(facts: Facts, network: IPNetwork) -> str | None:
    """The device that leads to a local network; its first address is often the gateway's own."""
    answers = (facts.host.routes.get(address) for address in somewhere_in(network))
    return next((answer.device for answer in answers if answer is not None and answer.kind == UNICAST), None)


def forwarding_off(facts: Facts) -> Iterator[Finding]:
    """The host does not route."""
    for version, sysctl in _FORWARDING.items():
        if facts.host.number(sysctl) != 0:
            continue
        served = [
            f"{child.connection}/{child.name}"
            for child in facts.children()
            if any(n.version == version for n in child.carries)
            or (
                child.mode is Mode.TUNNEL
                and any(n.version == version and is_for_others(facts, n) for n in networks(child.local_ts))
            )
        ]
        if served:
            yield Finding(
                id="forwarding-off",
                severity=ERROR,
                symptom=f"the gateway forwards no IPv{version} packet, neither into the tunnels nor out of them",
                evidence=[f"{sysctl} = 0", f"tunnels for networks behind this host: {', '.join(served[:6])}"],
                cause="the kernel drops whatever is not for its own addresses",
                cure_here="switch forwarding on, now and for the next start",
                cure_peer=NOTHING_THERE,
                lines=[
                    shell(f"sysctl -w {sysctl}=1"),
                    shell(f"echo {sysctl} = 1 > /etc/sysctl.d/60-xfrmctl.conf"),
                ],
            )


def device_forwarding_off(facts: Facts) -> Iterator[Finding]:
    """The host routes, but not what comes in by a device that a tunnel's packets come in by (``ip_route_input``)."""
    blamed: set[str] = set()
    for child in facts.children():
        if facts.host.number(_FORWARDING[4]) == 0 or (child.mode is not Mode.TUNNEL and not child.carries):
            continue
        mine = [n for n in networks(child.local_ts) if n.version == 4 and is_for_others(facts, n)]
        ways = {inside_device(facts, n) for n in mine if not child.tunnel} | {child.device}
        for device in sorted(filter(None, ways)):
            sysctl = f"net.ipv4.conf.{device}.forwarding"
            if facts.host.number(sysctl) == 0 and device not in blamed:
                blamed.add(device)
                yield Finding(
                    id="forwarding-off", severity=ERROR, connection=child.connection, child=child.name,
                    symptom=f"the gateway forwards no IPv4 packet that comes in by {device}",
                    evidence=[f"{sysctl} = 0", f"{_FORWARDING[4]} = {facts.host.sysctls.get(_FORWARDING[4])}"],
                    cause="forwarding is switched off for this device alone: what comes in there is dropped, unless it "
                    "is for the gateway itself",
                    cure_here="switch it on, now and for the next start", cure_peer=NOTHING_THERE,
                    lines=[shell(f"sysctl -w {sysctl}=1"), shell(f"echo {sysctl} = 1 > /etc/sysctl.d/60-xfrmctl.conf")],
                )  # fmt: skip


def routes_to_networks(facts: Facts) -> Iterator[Finding]:
    """Protected networks that packets have no way to, or a way past the tunnel."""
    for child in facts.children():
        wanted = child.carries if child.tunnel else networks(child.remote_ts) if child.mode is Mode.TUNNEL else ()
        if facts.up(child):
            found = (_route(facts, child, a) for n in wanted if n.prefixlen for a in somewhere_in(n))
            yield from list(filter(None, found))[:1]


def _route(facts: Facts, child: ChildFacts, address: IPAddress) -> Finding | None:
    answer, inside = facts.host.routes.get(address), child.device
    if answer is None or (answer.kind == UNICAST and inside in (None, answer.device)):
        return None
    device = inside or "WAN"
    fresh = shell(f"ip route replace NETWORK dev {device}" + ("" if inside else " via GATEWAY"))
    if answer.kind == UNICAST:
        return Finding(
            id="route-past-tunnel", severity=ERROR, connection=child.connection, child=child.name,
            symptom=f"packets to {address} leave by {answer.device}, not by {inside}",
            evidence=[told(answer), f"{child.connection}/{child.name} wants {address} through {inside}"],
            cause="a route that is not ours is more specific, or has a better metric, than ours into the tunnel",
            cure_here="remove that route, or give it a metric above 58",
            cure_peer=NOTHING_THERE,
            lines=[shell(f"ip route show match {address}"), shell(f"ip route delete NETWORK dev {answer.device}")],
        )  # fmt: skip
    if answer.kind == LOCAL:
        cause = "the address is this host's own: local and remote networks overlap"
    else:
        cause = "packets are dropped before the policy sees them: the kernel looks up the route first" if not inside \
            else "our route into the interface is gone, or the interface is down"  # fmt: skip
    return Finding(
        id="no-route-to-network", severity=ERROR, connection=child.connection, child=child.name,
        symptom=f"the gateway has no way to {address}, which is behind the peer",
        evidence=[told(answer)], cause=cause,
        cure_here="put a route there: into the interface" if inside else "put a route there; any device will do, such "
        "as the one to the peer", cure_peer="nothing, unless its networks are written wrongly here", lines=[fresh],
    )  # fmt: skip


def recursive_routing(facts: Facts) -> Iterator[Finding]:
    """The route to the peer leads into the tunnel to the peer, or would if we did not keep a route of our own."""
    for connection in facts.connections:
        if connection.remote is None:
            continue
        followed = facts.host.routes.get(connection.remote)
        answer = facts.host.unguarded.get(connection.remote, followed)
        device = facts.host.devices.get(answer.device) if answer is not None else None
        if answer is None or device is None or device.kind not in _TUNNELS:
            continue
        own = [c.name for c in connection.children if c.interface == device.name or c.if_id == device.if_id != 0]
        if own or device.kind != "xfrm":
            guarded = followed is not None and followed.device != answer.device
            yield Finding(
                id="recursive-routing", severity=WARNING if guarded else ERROR,
                connection=connection.name, child=own[0] if own else "",
                symptom=f"a route leads to {connection.remote} by {device.name}; only our own route keeps the tunnel up"
                if guarded else f"encrypted packets to {connection.remote} are routed into {device.name} again",
                evidence=[told(answer), f"{device.name} is a tunnel ({device.kind})"],
                cause="the route to the peer's own address goes into its tunnel: the kernel drops what would turn in "
                "a circle (Local routing loop detected)",
                cure_here="give the peer's address a route of its own past the tunnel, and see that no routing daemon "
                "learns that address through it",
                cure_peer="have its routing daemon not announce its own outer address through the tunnel; and the same "
                "route of its own for ours",
                lines=[shell(f"ip route add {connection.remote} via GATEWAY dev WAN"), *_past_the_tunnel(connection)],
            )  # fmt: skip


def _past_the_tunnel(connection: ConnectionFacts) -> list[Line]:
    """The peer's route to us, if we have an address of our own."""
    us = connection.local
    if us is None:
        return []
    ios = f"ip route {us} 255.255.255.255 GATEWAY" if us.version == 4 else f"ipv6 route {us}/128 GATEWAY"
    return [shell(f"ip route add {us} via GATEWAY dev WAN", PEER), cisco(ios)]


def wrong_interface(facts: Facts) -> Iterator[Finding]:
    """Policies that are bound to an xfrm interface which is not there, is down, or has another if_id."""
    for child in facts.children():
        if not child.if_id or not facts.up(child) or not facts.host.devices:
            continue
        held = [d for d in facts.host.devices.values() if d.kind == "xfrm" and d.if_id == child.if_id]
        if any(d.up for d in held):
            continue
        named = facts.host.devices.get(child.interface or "")
        problems = facts.after.kernel.problems if facts.after is not None and named is None else []
        refused = [p for p in problems if child.interface and p.startswith(f"update interface: {child.interface} ")]
        if refused:
            yield _no_interfaces(child, refused[0])
            continue
        if held:
            seen = f"{held[0].name} has if_id {child.if_id:#x}, and is down"
        elif named is not None:
            seen = f"{named.name} has if_id {named.if_id:#x}"
        else:
            others = [f"{d.name} has {d.if_id:#x}" for d in facts.host.devices.values() if d.kind == "xfrm"]
            seen = f"no device has if_id {child.if_id:#x}" + (f"; {', '.join(others[:3])}" if others else "")
        name = held[0].name if held else child.interface or "NAME"
        yield Finding(
            id="interface-missing", severity=ERROR, connection=child.connection, child=child.name,
            symptom="the SAs stand, and no packet comes to them: the interface of their policies is not there",
            evidence=[f"policies and SAs of {child.connection}/{child.name} have if_id {child.if_id:#x}", seen],
            cause="the xfrm interface was deleted, is down, or was made with another if_id",
            cure_here="have an xfrm interface with this if_id, up",
            cure_peer=NOTHING_THERE,
            lines=[shell(f"ip link set {name} up") if held
                   else shell(f"ip link add {name} type xfrm dev WAN if_id {child.if_id:#x} && ip link set {name} up")],
        )  # fmt: skip


def _no_interfaces(child: ChildFacts, problem: str) -> Finding:
    return Finding(
        id="kernel-refused", severity=ERROR, connection=child.connection, child=child.name,
        symptom=f"the SAs stand, and no packet comes to them: the kernel has refused to make {child.interface}",
        evidence=[problem],
        cause="this kernel was built without xfrm interfaces (Linux 4.19 is the first that has them), or the module is "
        "not loaded and cannot be",
        cure_here="load the module, or do without an interface",
        cure_peer="nothing: whether packets come by an interface is never negotiated",
        lines=[shell("modprobe xfrm_interface; ip link add test type xfrm if_id 1 && ip link delete test"),
               xfrmctl("dataplane: policy", f"connections.{child.connection}.children.{child.name}")],
    )  # fmt: skip


def xfrm_disabled(facts: Facts) -> Iterator[Finding]:
    """Devices that pass packets by the SPD (``disable_xfrm``: on output; ``disable_policy``: on input)."""
    for child in facts.children():
        if child.dataplane is not DataPlane.POLICY or not facts.up(child):
            continue
        ways = {facts.host.device_to(a) for n in networks(child.remote_ts) for a in somewhere_in(n)[:1]}
        for device in sorted(filter(None, ways)):
            sysctl = f"net.ipv4.conf.{device}.disable_xfrm"
            if facts.host.number(sysctl):
                yield Finding(
                    id="policy-bypassed", severity=ERROR, connection=child.connection, child=child.name,
                    symptom=f"packets of the tunnel leave by {device} without being encrypted",
                    evidence=[f"{sysctl} = 1", f"the route to the remote network goes out there ({device})"],
                    cause="this device is exempt from IPsec policies", cure_here="take the exemption away",
                    cure_peer=NOTHING_THERE,
                    lines=[shell(f"sysctl -w {sysctl}=0")],
                )  # fmt: skip


def reverse_path(facts: Facts) -> Iterator[Finding]:
    """Encrypted packets arrive where no packet to the peer would leave, and the device is strict about that."""
    for connection in facts.connections:
        arrives = facts.host.addresses.get(connection.local) if connection.local is not None else None
        leaves = facts.host.device_to(connection.remote) if connection.remote is not None else None
        if (
            not arrives
            or not leaves
            or arrives == leaves
            or connection.remote is None
            or connection.remote.version != 4
        ):
            continue
        keys = ("net.ipv4.conf.all.rp_filter", f"net.ipv4.conf.{arrives}.rp_filter")
        if max((facts.host.number(key) or 0 for key in keys), default=0) != _STRICT:
            continue
        yield _asymmetric(facts, connection, arrives, leaves, keys)


def reverse_path_of_devices(facts: Facts) -> Iterator[Finding]:
    """A tunnel device that is strict about where packets come from: taking GRE off forgets that they were encrypted
    (``skb_scrub_packet``), so unlike what comes out of an SA they are held to it.
    """
    for child in facts.children():
        device = child.tunnel
        if device is None or not facts.up(child):
            continue
        keys = ("net.ipv4.conf.all.rp_filter", f"net.ipv4.conf.{device}.rp_filter")
        if max((facts.host.number(key) or 0 for key in keys), default=0) != _STRICT:
            continue
        asked = (facts.host.routes.get(somewhere_in(n)[0]) for n in child.carries if n.version == 4 and n.prefixlen)
        elsewhere = [r for r in asked if r is not None and r.kind == UNICAST and r.device != device]
        for answer in elsewhere[:1]:
            moved = facts.host.moved.get("IPReversePathFilter", 0)
            yield Finding(
                id="rp-filter-decrypted", severity=ERROR, connection=child.connection, child=child.name,
                symptom=f"what comes out of the tunnel by {device} is dropped for its source address",
                evidence=[told(answer), ", ".join(f"{key} = {facts.host.sysctls.get(key)}" for key in keys),
                          f"TcpExt IPReversePathFilter: {moved:+d} in {facts.seconds:.1f} s"],
                cause="reverse-path filtering is strict there: a source is taken only where packets to it would leave",
                cure_here="route the networks behind the peer into the device, or make the filter loose on it",
                cure_peer=NOTHING_THERE,
                lines=[shell(f"ip route replace NETWORK dev {device}"),
                       shell(f"sysctl -w net.ipv4.conf.{device}.rp_filter=2 net.ipv4.conf.all.rp_filter=0")],
            )  # fmt: skip


def _asymmetric(facts: Facts, connection: ConnectionFacts, arrives: str, leaves: str, keys: tuple[str, ...]) -> Finding:
    moved = facts.host.moved.get("IPReversePathFilter", 0)
    return Finding(
        id="rp-filter", severity=ERROR, connection=connection.name,
        symptom=f"what the peer sends to {connection.local} is dropped on {arrives}, before IPsec sees it",
        evidence=[f"{connection.local} is on {arrives}, and the route to {connection.remote} goes out on {leaves}",
                  ", ".join(f"{key} = {facts.host.sysctls.get(key)}" for key in keys),
                  f"TcpExt IPReversePathFilter: {moved:+d} in {facts.seconds:.1f} s"],
        cause="reverse-path filtering is strict there: a source is taken only where packets to it would leave",
        cure_here="make the filter loose on that device, or route the peer out of it",
        cure_peer=NOTHING_THERE,
        lines=[shell(f"sysctl -w net.ipv4.conf.{arrives}.rp_filter=2 net.ipv4.conf.all.rp_filter=0"),
               shell(f"ip route add {connection.remote} via GATEWAY dev {arrives}")],
    )  # fmt: skip
