"""A tunnel device on the way (``ip_tunnel_xmit``, ``ip_tunnel_rcv``): GRE or IP in IP, put around and taken off."""

from dataclasses import replace

from xfrmctl.journey.hooks import hook
from xfrmctl.journey.lookup import find_policy
from xfrmctl.journey.sizes import segment
from xfrmctl.journey.steps import Journey, Outcome
from xfrmctl.journey.transform import check, decrypt
from xfrmctl.journey.world import World
from xfrmctl.model.observed import ObservedDevice, ObservedTunnel
from xfrmctl.model.sa import Direction
from xfrmctl.model.sizes import IP_HEADER
from xfrmctl.netfilter.packet import Packet

_NAMES = {4: "IP in IP", 47: "GRE"}


def wrapped(journey: Journey, device: ObservedDevice, tunnel: ObservedTunnel, packet: Packet) -> Packet:
    """The packet that the device makes of one: this host's own, between the ends of the tunnel."""
    name = _NAMES.get(tunnel.protocol, str(tunnel.protocol))
    most = segment(device.mtu, packet.version)
    if packet.mss is not None and packet.tcp_flags and most is not None:
        fits = packet.mss <= most
        text = f"{packet.mss} is told to the other end, and {most} fit the MTU of {device.name}"
        unsure = () if fits else ("whether frag-needed reaches the other end",)
        journey.add(
            "MSS", text, Outcome.PASS if fits else Outcome.UNSURE, (f"{device.name}: MTU {device.mtu}",), unsure
        )
    added = IP_HEADER[tunnel.local.version] + tunnel.header
    length = packet.length + added if packet.length is not None else None
    words = f"; {packet.length} bytes become {length}" if length is not None else f"; {added} bytes more"
    text = f"put into {name}, {tunnel.local} > {tunnel.remote}{words}; policies are asked again, now for {name}"
    journey.add(device.name, text, Outcome.CHANGE, (_said(device, tunnel),))
    return Packet(
        source=tunnel.local,
        destination=tunnel.remote,
        protocol=tunnel.protocol,
        length=length,
        mark=packet.mark,
    )


def _said(device: ObservedDevice, tunnel: ObservedTunnel) -> str:
    return f"{device.name}: {device.kind} local {tunnel.local} remote {tunnel.remote}, MTU {device.mtu}"


def unwrapped(journey: Journey, world: World, device: ObservedDevice, tunnel: ObservedTunnel, packet: Packet) -> bool:
    """What has brought a packet that comes in by the device, through INPUT and the policy check; whether it passes."""
    name = _NAMES.get(tunnel.protocol, str(tunnel.protocol))
    added = IP_HEADER[tunnel.local.version] + tunnel.header
    outer = Packet(
        source=tunnel.remote,
        destination=tunnel.local,
        protocol=tunnel.protocol,
        length=packet.length + added if packet.length is not None else None,
        iif=world.reverse(tunnel.remote).device,
    )
    policy, _ = find_policy(world.policies, Direction.IN, outer)
    if policy is not None and any(not t.optional for t in policy.templates):
        through = decrypt(journey, world, policy, outer, outer.iif)
        if through is None:
            return False
        outer = replace(outer, came_through=through)
    else:
        text = f"arrives by {outer.iif or 'an unknown device'} in {name}, in clear"
        journey.add("wire", text, evidence=(_said(device, tunnel),))
    arrived = outer
    for at in ("PREROUTING", "INPUT"):
        passed = hook(journey, world, at, arrived, f"the {name} packet")
        if passed is None:
            return False
        arrived = passed
    if not check(journey, world, Direction.IN, outer, 0):
        return False
    text = f"taken out of {name}: arrives again, and nobody remembers that it was encrypted"
    journey.add(device.name, text, Outcome.CHANGE, (_said(device, tunnel),))
    return True
