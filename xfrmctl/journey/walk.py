"""A packet from where it arrives to where it leaves, in the order in which Linux does things.

Sources (6.12): ``ip_rcv_finish_core``, ``ip_forward`` (policy check, then policy look-up, then MTU, then FORWARD),
``ip_local_deliver``, ``ip_local_out``, ``nf_nat_ipv4_out`` (SNAT, then the policies are asked again:
``nf_xfrm_me_harder``), ``xfrm_output_resume`` (the ESP packet goes through OUTPUT), ``xfrmi_xmit2``.
"""

from dataclasses import dataclass, replace
from errno import EXDEV

from xfrmctl.journey.device import unwrapped, wrapped
from xfrmctl.journey.hooks import hook
from xfrmctl.journey.lookup import find_policy
from xfrmctl.journey.sizes import room, segment
from xfrmctl.journey.steps import Journey, Outcome
from xfrmctl.journey.transform import addressed, applied, check, decrypt, encrypt, look_up, path_of, peer_needs
from xfrmctl.journey.world import World, is_local
from xfrmctl.model.observed import ObservedPolicy, RouteLookup
from xfrmctl.model.sa import Direction
from xfrmctl.netfilter.packet import Packet


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a packet comes from: the device, and the inbound policy that wants it encrypted, if one does."""

    device: str
    policy: ObservedPolicy | None = None
    if_id: int = 0


@dataclass(frozen=True, slots=True)
class Translation:
    """What NAT has made of a connection: its first packet as it came and as it left."""

    before: Packet
    after: Packet


@dataclass(frozen=True, slots=True)
class Travelled:
    """A journey, and the packet as whoever gets it sees it; None where nobody does."""

    journey: Journey
    packet: Packet | None


def travel(world: World, packet: Packet, title: str, translation: Translation | None = None) -> Travelled:
    """Follow one packet. ``translation``: it answers a connection that NAT has changed."""
    journey = Journey(title=title)
    if is_local(world, packet.source):
        found = _sent(journey, world, packet, translation)
    else:
        found = _received(journey, world, packet, translation)
    if not journey.end and journey.steps:
        journey.end = journey.steps[-1].text
    return Travelled(journey, found)


# ---- arriving ----------------------------------------------------------------------------------------------------


def _received(journey: Journey, world: World, packet: Packet, translation: Translation | None) -> Packet | None:
    arrival = _arrival(journey, world, packet)
    current: Packet | None = replace(packet, iif=arrival.device)
    device = world.devices.get(arrival.device)
    around = device.tunnel if device is not None and arrival.policy is None else None
    if device is not None and around is not None and not unwrapped(journey, world, device, around, packet):
        return None
    if arrival.policy is not None and current is not None:
        through = decrypt(journey, world, arrival.policy, current, _outer_device(world, arrival))
        if through is None:
            return None
        current = replace(current, came_through=through)
    assert current is not None
    current = replace(current, reverse_path=world.reverse(current.source).device == current.iif)
    arrived = current
    current = hook(journey, world, "PREROUTING", current)
    if current is None:
        return None
    current = _undo(journey, current, translation, "PREROUTING")
    route = _route(journey, world, current)
    if route is None:
        return None
    if route.kind == "local":
        return _delivered(journey, world, current, arrived, arrival)
    return _forwarded(journey, world, current, arrived, route, arrival, translation)


def _arrival(journey: Journey, world: World, packet: Packet) -> Arrival:
    """By the way back to its source: packets are assumed to come where answers go."""
    back = world.reverse(packet.source, packet.mark or 0)
    said = (f"{back.asked}: {back.said}",)
    device = world.devices.get(back.device)
    if_id = device.if_id if device is not None and device.kind == "xfrm" else 0
    for direction in (Direction.FWD, Direction.IN):
        policy, _ = find_policy(world.policies, direction, packet, if_id=if_id)
        if policy is not None and any(not t.optional for t in policy.templates):
            text = f"comes encrypted: the policy for {direction.value} packets asks for it"
            journey.add("arrival", text, Outcome.PASS, (*said, str(policy)))
            name = back.device if if_id else _device_to_peer(world, policy)
            return Arrival(name, policy, if_id)
    if not back.device:
        text = "no way leads back to its source: by which device it comes is not known, and no answer gets there"
        journey.add("arrival", text, Outcome.UNSURE, said, ("the device that it comes in by",))
    else:
        journey.add(
            "arrival", f"comes in by {back.device}, where the way back to {packet.source} leaves", evidence=said
        )
    return Arrival(back.device, None, if_id)


def _device_to_peer(world: World, policy: ObservedPolicy) -> str:
    template = policy.templates[-1]
    return world.reverse(template.source).device if template.mode == "tunnel" else ""


def _outer_device(world: World, arrival: Arrival) -> str:
    assert arrival.policy is not None
    return _device_to_peer(world, arrival.policy) if arrival.if_id else arrival.device


def _undo(journey: Journey, packet: Packet, translation: Translation | None, where: str) -> Packet:
    """Connection tracking takes NAT back in the answers: the destination before routing, the source after it."""
    if translation is None:
        return packet
    before, after = translation.before, translation.after
    if where == "PREROUTING" and (after.source, after.source_port) != (before.source, before.source_port):
        changed = replace(packet, destination=before.source, destination_port=before.source_port)
        text = f"destination {addressed(packet.destination, packet.destination_port)} becomes "
        text += addressed(changed.destination, changed.destination_port)
    elif where == "POSTROUTING" and (after.destination, after.destination_port) != (
        before.destination,
        before.destination_port,
    ):
        changed = replace(packet, source=before.destination, source_port=before.destination_port)
        text = f"source {addressed(packet.source, packet.source_port)} becomes "
        text += addressed(changed.source, changed.source_port)
    else:
        return packet
    journey.add(f"{where}, connection tracking", f"the translation is taken back: {text}", Outcome.CHANGE)
    return changed


def _route(journey: Journey, world: World, packet: Packet) -> RouteLookup | None:
    route = world.route(packet, packet.iif)
    evidence = [f"{route.asked}: {route.said}"]
    if route.errno == EXDEV and packet.came_through:
        journey.add(
            "rp_filter", "not asked of packets that were decrypted (fib_validate_source)", evidence=tuple(evidence)
        )
        route = world.route(packet)
        evidence = [f"{route.asked}: {route.said}"]
    if route.kind == "local" or (route.kind == "unicast" and route.device):
        where = "for this host" if route.kind == "local" else f"to be forwarded by {route.device}"
        journey.add("route", where, Outcome.PASS, tuple(evidence))
        return route
    text = f"there is no way: {route.said}"
    forwarding = f"net.ipv{packet.version}.conf.{packet.iif or 'all'}.forwarding"
    if route.errno and world.sysctl(forwarding) == "0":
        text = f"{packet.iif} does not forward: {forwarding} is 0"
        evidence.append(f"{forwarding} = 0")
    elif route.errno == EXDEV:
        text = f"rp_filter drops it: the way back to {packet.source} does not leave by {packet.iif}"
        evidence += [
            f"{name} = {world.sysctl(name)}"
            for name in (f"net.ipv4.conf.{device}.rp_filter" for device in ("all", packet.iif))
        ]
    journey.add("route", text, Outcome.DROP, tuple(evidence))
    return None


# ---- for this host, from this host -------------------------------------------------------------------------------


def _delivered(journey: Journey, world: World, packet: Packet, arrived: Packet, arrival: Arrival) -> Packet | None:
    found = hook(journey, world, "INPUT", packet)
    if found is None or not check(journey, world, Direction.IN, arrived, arrival.if_id):
        return None
    journey.add("delivery", f"to {addressed(found.destination, found.destination_port)} of this host", Outcome.END)
    return found


def _sent(
    journey: Journey, world: World, packet: Packet, translation: Translation | None, *, within: str = ""
) -> Packet | None:
    """A packet of this host's own; ``within`` is the tunnel device that has made it of another one."""
    if not within:
        journey.add("origin", f"{packet.source} is an address of this host: it sends the packet itself")
    route = _route(journey, world, packet)
    if route is None:
        return None
    if within and within == route.device:
        text = f"the way to {packet.destination} leads into {route.device} again: it would go round in circles"
        journey.add("route", text, Outcome.DROP, (f"{route.asked}: {route.said}",))
        return None
    if route.kind == "local":
        journey.add("delivery", "it stays on this host", Outcome.END)
        return packet
    goes_on, policy = look_up(journey, world, packet, device=route.device)
    if not goes_on:
        return None
    current: Packet | None = replace(packet, oif=route.device, goes_through=applied(policy, packet))
    assert current is not None
    before = current
    current = hook(journey, world, "OUTPUT", current)
    if current is None:
        return None
    if (current.destination, current.destination_port, current.mark) != (
        before.destination,
        before.destination_port,
        before.mark,
    ):
        journey.add("route", "netfilter has changed the packet: route and policies are asked again")
        again = _route(journey, world, replace(current, oif="", goes_through=()))
        if again is None:
            return None
        route = again
        goes_on, policy = look_up(journey, world, current, device=route.device)
        if not goes_on:
            return None
        current = replace(current, oif=route.device, goes_through=applied(policy, current))
    return _leaving(journey, world, current, route, policy, translation)


# ---- forwarded ---------------------------------------------------------------------------------------------------


def _forwarded(
    journey: Journey,
    world: World,
    packet: Packet,
    arrived: Packet,
    route: RouteLookup,
    arrival: Arrival,
    translation: Translation | None,
) -> Packet | None:
    if not check(journey, world, Direction.FWD, arrived, arrival.if_id):
        return None
    goes_on, policy = look_up(journey, world, packet, device=route.device)
    if not goes_on:
        return None
    current = replace(packet, oif=route.device, goes_through=applied(policy, packet))
    current = replace(current, path_mtu=_mtu(journey, world, current, route, policy))
    found = hook(journey, world, "FORWARD", current)
    return None if found is None else _leaving(journey, world, found, route, policy, translation)


def _mtu(
    journey: Journey, world: World, packet: Packet, route: RouteLookup, policy: ObservedPolicy | None
) -> int | None:
    """The MTU of the way on, as ``ip_forward`` asks for it, before the rules of FORWARD."""
    device = world.devices.get(route.device)
    limit = min(route.mtu or 1 << 16, device.mtu if device is not None else 1 << 16)
    evidence = [f"{route.device}: MTU {device.mtu}"] if device is not None else []
    evidence += [f"{route.asked}: mtu {route.mtu}"] if route.mtu else []
    if policy is not None:
        outer, path = path_of(world, policy, packet)
        fits = [room(sa, path, packet.version) for sa in world.sas if sa.reqid == policy.templates[-1].reqid]
        limit = min((f.inner_mtu for f in fits if f is not None), default=limit)
        evidence.append(f"{outer.asked}: {outer.said}, {path} bytes")
    if limit >= 1 << 16:
        return None
    mss = segment(limit, packet.version)
    text = f"packets of up to {limit} bytes go on"
    text += (
        "; larger ones get frag-needed where they have DF, before any rule of FORWARD"
        if packet.version == 4
        else ("; larger ones get Packet Too Big, before any rule of FORWARD")
    )
    if packet.protocol == 6 and mss is not None:
        text += f"; TCP fits with an MSS of {mss}"
    if packet.length is not None and packet.length > limit:
        text = f"{packet.length} bytes are more than {limit}: frag-needed if it has DF, else it is cut"
    journey.add("MTU", text, Outcome.PASS, tuple(evidence))
    return limit


def _leaving(
    journey: Journey,
    world: World,
    packet: Packet,
    route: RouteLookup,
    policy: ObservedPolicy | None,
    translation: Translation | None,
) -> Packet | None:
    """POSTROUTING, and what follows from it: NAT comes before the policies here."""
    found = hook(journey, world, "POSTROUTING", packet)
    if found is None:
        return None
    found = _undo(journey, found, translation, "POSTROUTING")
    if (found.source, found.source_port) != (packet.source, packet.source_port):
        where = "policy lookup again (after SNAT)"
        goes_on, again = look_up(journey, world, found, device=route.device, where=where)
        if not goes_on:
            return None
        if policy is not None and again is None:
            text = f"the translation has taken it from the policy: {packet.source} was protected, {found.source} is not"
            journey.add(where, text, Outcome.CHANGE, (str(policy),))
        policy = again
    device = world.devices.get(route.device)
    if device is not None and device.kind == "xfrm":
        goes_on, policy = look_up(journey, world, found, if_id=device.if_id, where=f"{route.device} (xfrm interface)")
        if not goes_on or policy is None:
            return None
        passed = hook(journey, world, "POSTROUTING", replace(found, state="ESTABLISHED"), "again, behind the interface")
        if passed is None:
            return None
    if policy is None and device is not None and device.tunnel is not None:
        outer = wrapped(journey, device, device.tunnel, found)
        return found if _sent(journey, world, outer, None, within=device.name) is not None else None
    if policy is None:
        journey.add("wire", f"leaves by {route.device} in clear", Outcome.END)
        return found
    _segments(journey, world, found, policy)
    if not encrypt(journey, world, policy, found):
        return None
    end = journey.steps[-1].text
    peer_needs(journey, policy, found)
    journey.end = end
    return found


def _segments(journey: Journey, world: World, packet: Packet, policy: ObservedPolicy) -> None:
    """Whether the MSS that leaves fits the tunnel."""
    if packet.mss is None or not packet.tcp_flags:
        return
    _, path = path_of(world, policy, packet)
    limits = [room(sa, path, packet.version) for sa in world.sas if sa.reqid == policy.templates[-1].reqid]
    most = min((f.mss for f in limits if f is not None and f.mss is not None), default=None)
    if most is None:
        return
    if packet.mss > most:
        text = f"{packet.mss} is told to the other end, and {most} fit: without frag-needed its large segments are lost"
        journey.add("MSS", text, Outcome.UNSURE, (), ("whether frag-needed reaches the other end",))
    else:
        journey.add("MSS", f"{packet.mss} is told to the other end, and {most} fit")
