"""XFRM on the way: the policy look-up, the SA, encapsulation, the policy check after decryption."""

from dataclasses import replace

from xfrmctl.journey.hooks import hook
from xfrmctl.journey.lookup import ends, find_policy, find_sa, inbound_sas
from xfrmctl.journey.sizes import outside, room
from xfrmctl.journey.steps import Journey, Outcome
from xfrmctl.journey.world import World
from xfrmctl.model.address import IPAddress
from xfrmctl.model.observed import ObservedPolicy, ObservedSa, ObservedTemplate, RouteLookup
from xfrmctl.model.sa import Direction
from xfrmctl.netfilter.packet import ESP, UDP, Applied, Packet

NAT_T_PORT = 4500
_UNKNOWN_MTU = 1500


def look_up(
    journey: Journey,
    world: World,
    packet: Packet,
    *,
    if_id: int = 0,
    device: str = "",
    where: str = "policy lookup (out)",
) -> tuple[bool, ObservedPolicy | None]:
    """Which outbound policy takes a packet: whether it goes on, and the policy if it has templates."""
    policy, depends = find_policy(world.policies, Direction.OUT, packet, if_id=if_id, device=device)
    asked = f"{_flow(packet)}{f' if_id {if_id:#x}' if if_id else ''}"
    if policy is None and if_id:
        journey.add(
            where, f"no policy for {asked}: an xfrm interface sends nothing in clear", Outcome.DROP, (), depends
        )
        return False, None
    if policy is None:
        if world.defaults.block_out:
            journey.add(where, f"no policy for {asked}, and the default is to block", Outcome.DROP, (), depends)
            return False, None
        journey.add(where, f"no policy for {asked}: it goes on in clear", Outcome.PASS, _near(world, packet), depends)
        return True, None
    if policy.block:
        journey.add(where, "the policy blocks it (XfrmOutPolBlock)", Outcome.DROP, (str(policy),), depends)
        return False, None
    if not policy.templates:
        journey.add(where, "the policy lets it pass in clear", Outcome.PASS, (str(policy),), depends)
        return True, None
    journey.add(where, f"the policy with priority {policy.priority} takes it", Outcome.PASS, (str(policy),), depends)
    return True, policy


def _near(world: World, packet: Packet) -> tuple[str, ...]:
    """Outbound policies that miss the packet by one end only: where people look when it is not encrypted."""
    return tuple(
        f"misses it: {policy}"
        for policy in world.policies
        if policy.direction is Direction.OUT
        and policy.source.version == packet.version
        and (packet.source in policy.source) != (packet.destination in policy.destination)
    )[:3]


def applied(policy: ObservedPolicy | None, packet: Packet) -> tuple[Applied, ...]:
    """What ``-m policy --dir out`` sees of a packet that a policy has taken."""
    if policy is None:
        return ()
    found = []
    for template in policy.templates:
        source, destination = ends(template, packet, None)
        found.append(Applied(template.reqid, template.spi, template.protocol, template.mode, source, destination))
    return tuple(found)


def path_of(world: World, policy: ObservedPolicy, packet: Packet) -> tuple[RouteLookup, int]:
    """The route that the outermost packet takes, and the MTU of it."""
    source, destination = ends(policy.templates[-1], packet, None)
    outer = Packet(source=source, destination=destination, protocol=policy.templates[-1].protocol)
    route = world.route(outer)
    device = world.devices.get(route.device)
    return route, min(route.mtu or _UNKNOWN_MTU * 100, device.mtu if device is not None else _UNKNOWN_MTU)


def encrypt(journey: Journey, world: World, policy: ObservedPolicy, packet: Packet) -> bool:
    """Find the SA of each template, encapsulate, and send the outermost packet on; whether it leaves."""
    route, path_mtu = path_of(world, policy, packet)
    inner, length = packet, packet.length
    for template in policy.templates:
        sa = find_sa(world.sas, template, policy, inner, route.source)
        if sa is None and template.optional:
            journey.add("SA lookup", "no SA, and the template is optional: left out", Outcome.PASS, (str(template),))
            continue
        if sa is None:
            text = "no SA for the template: the kernel asks IKE for one (acquire) and drops the packet meanwhile"
            journey.add("SA lookup", text, Outcome.DROP, (str(template), *_nearly(world, template)))
            return False
        journey.add("SA lookup", f"{sa.name or 'the SA'}, SPI {sa.spi:#010x}", Outcome.PASS, (str(sa),))
        length = _encapsulate(journey, sa, inner, length, path_mtu)
        inner = outer_packet(sa, length)
    return _outside(journey, world, inner, route)


def _nearly(world: World, template: ObservedTemplate) -> tuple[str, ...]:
    return tuple(
        f"does not fit: {sa}"
        for sa in world.sas
        if sa.destination == template.destination or sa.reqid == template.reqid
    )[:3]


def _encapsulate(journey: Journey, sa: ObservedSa, packet: Packet, length: int | None, path_mtu: int) -> int | None:
    fits = room(sa, path_mtu, packet.version)
    size = outside(length, sa) if length is not None else None
    words = []
    if length is not None and size is not None:
        words.append(f"{length} bytes become {size}")
    if fits is not None:
        words.append(f"at most {fits.inner_mtu} fit the path of {path_mtu} uncut, MSS {fits.mss or 'none'}")
    else:
        words.append("sizes of these algorithms are not known here")
    how = "ESP in UDP" if sa.encap is not None else {ESP: "ESP"}.get(sa.protocol, f"protocol {sa.protocol}")
    df = "copied from the packet" if sa.dont_fragment else "clear"
    journey.add(
        "encapsulation", f"{how}, {sa.mode} mode: {'; '.join(words)}; DF outside is {df}", Outcome.CHANGE, (str(sa),)
    )
    return size


def outer_packet(sa: ObservedSa, length: int | None, *, state: str = "NEW") -> Packet:
    """The encrypted packet as netfilter sees it."""
    udp = sa.encap is not None
    return Packet(
        source=sa.source,
        destination=sa.destination,
        protocol=UDP if udp else sa.protocol,
        source_port=sa.encap.source_port if sa.encap is not None else None,
        destination_port=sa.encap.destination_port if sa.encap is not None else None,
        spi=None if udp else sa.spi,
        length=length,
        state="ESTABLISHED" if sa.packets else state,
    )


def _outside(journey: Journey, world: World, outer: Packet, route: RouteLookup) -> bool:
    said = (f"{route.asked}: {route.said}",)
    if not route.device:
        journey.add("route of the ESP packet", f"there is no way to {outer.destination}", Outcome.DROP, said)
        return False
    device = world.devices.get(route.device)
    if device is not None and device.kind == "xfrm":
        text = f"the way to the peer leads into a tunnel ({route.device}): the packet would go round in circles"
        journey.add("route of the ESP packet", text, Outcome.DROP, said)
        return False
    journey.add("route of the ESP packet", f"to {outer.destination} by {route.device}", Outcome.PASS, said)
    passing: Packet | None = replace(outer, oif=route.device)
    for name in ("OUTPUT", "POSTROUTING"):
        before = passing
        passing = hook(journey, world, name, passing, "the ESP packet") if passing is not None else None
        if passing is None:
            return False
        if before is not None and passing.source != before.source:
            text = (
                f"the ESP packet leaves as {passing.source}: the peer's SA is for {before.source}, it will not find it"
            )
            journey.add(name, text, Outcome.UNSURE, (), ("whether the peer expects NAT (ESP in UDP)",))
    journey.add("wire", f"leaves by {route.device} as {_outer_words(passing)}", Outcome.END)
    return True


def _outer_words(outer: Packet | None) -> str:
    assert outer is not None
    kind = (
        f"UDP {outer.source_port} > {outer.destination_port}" if outer.protocol == UDP else f"protocol {outer.protocol}"
    )
    return f"{outer.source} > {outer.destination}, {kind}" + (f", {outer.length} bytes" if outer.length else "")


def peer_needs(journey: Journey, policy: ObservedPolicy, packet: Packet) -> None:
    """What the other side must have so that it accepts the packet once it is decrypted."""
    template = policy.templates[0]
    source, destination = ends(template, packet, None)
    text = (
        f"after decryption the peer checks its own policies (in for itself, fwd for hosts behind it): one must cover "
        f"{_flow(packet)} and ask for {template.mode} mode from {source} to {destination}; "
        "where none does, it drops the packet and counts XfrmInNoPols or XfrmInTmplMismatch"
    )
    needs = f"there: dir fwd (or in) src {packet.source} dst {packet.destination} tmpl src {source} dst {destination}"
    journey.add("at the peer", text, Outcome.PASS, (needs,))


def decrypt(
    journey: Journey, world: World, policy: ObservedPolicy, packet: Packet, device: str
) -> tuple[Applied, ...] | None:
    """The ESP packet that brings the packet: through INPUT, to its SA; None where it ends before."""
    found: list[Applied] = []
    for template in policy.templates[:1]:
        sas = inbound_sas(world.sas, template, packet)
        if not sas:
            text = "no inbound SA fits the policy: the peer has nothing to encrypt it with"
            journey.add("SA lookup (in)", text, Outcome.DROP, (str(policy),))
            return None
        sa = sas[0]
        outer: Packet | None = replace(
            outer_packet(sa, outside(packet.length, sa) if packet.length else None), iif=device
        )
        assert outer is not None
        journey.add(
            "wire", f"arrives by {device or 'an unknown device'} as {_outer_words(outer)}", Outcome.PASS, (str(sa),)
        )
        outer = hook(journey, world, "PREROUTING", outer, "the ESP packet")
        if outer is None or not _is_for_us(journey, world, outer, device):
            return None
        if hook(journey, world, "INPUT", outer, "the ESP packet") is None:
            return None
        journey.add("SA lookup (in)", f"decrypted by SPI {sa.spi:#010x}; arrives again", Outcome.CHANGE, (str(sa),))
        found.append(Applied(sa.reqid, sa.spi, sa.protocol, sa.mode, sa.source, sa.destination))
    return tuple(found)


def _is_for_us(journey: Journey, world: World, outer: Packet, device: str) -> bool:
    route = world.route(outer, device)
    said = (f"{route.asked}: {route.said}",)
    if route.kind == "local":
        journey.add("route of the ESP packet", "for this host", Outcome.PASS, said)
        return True
    journey.add("route of the ESP packet", f"not for this host: {route.said}", Outcome.DROP, said)
    return False


def check(journey: Journey, world: World, direction: Direction, packet: Packet, if_id: int) -> bool:
    """The policy check of a packet that has arrived (``__xfrm_policy_check``); whether it passes."""
    where = f"policy check ({direction.value})"
    policy, depends = find_policy(world.policies, direction, packet, if_id=if_id)
    through = packet.came_through or ()
    blocked = world.defaults.block_forward if direction is Direction.FWD else world.defaults.block_in
    if policy is None:
        if blocked or any(a.mode == "tunnel" for a in through):
            why = "decrypted, and no policy asks for it" if through else "no policy, and the default is to block"
            journey.add(where, f"{why} (XfrmInNoPols)", Outcome.DROP, (), depends)
            return False
        journey.add(where, f"no policy asks anything of {_flow(packet)}", Outcome.PASS, (), depends)
        return True
    if policy.block:
        journey.add(where, "the policy blocks it (XfrmInPolBlock)", Outcome.DROP, (str(policy),), depends)
        return False
    asked = [t for t in policy.templates if not t.optional]
    tunnels = [a for a in through if a.mode == "tunnel"]
    if len(through) < len(asked) or len(tunnels) > len(policy.templates):
        why = (
            "it came in clear, and the policy wants it encrypted"
            if asked
            else "it came encrypted, and the policy does not want it"
        )
        journey.add(where, f"{why} (XfrmInTmplMismatch)", Outcome.DROP, (str(policy),), depends)
        return False
    journey.add(where, "passes: it came as the policy asks", Outcome.PASS, (str(policy),), depends)
    return True


def addressed(address: IPAddress, port: int | None) -> str:
    """An address with its port, if any."""
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _flow(packet: Packet) -> str:
    return f"{addressed(packet.source, packet.source_port)} > {addressed(packet.destination, packet.destination_port)}"
