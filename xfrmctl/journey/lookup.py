"""Which policy takes a packet, and which SA carries it.

A policy (``xfrm_policy_match``): same direction, family and if_id, its mark under its mask, its selector; of those the
lowest priority value, and of equals the oldest. An SA (``xfrm_state_look_at``): the template's addresses (tunnel) or
the packet's (transport), protocol, reqid and mode, the policy's if_id, its mark; of those the one added last.
"""

from collections.abc import Iterable, Sequence

from xfrmctl.model.address import IPAddress
from xfrmctl.model.flow import TYPED, Port
from xfrmctl.model.observed import ObservedPolicy, ObservedSa, ObservedTemplate
from xfrmctl.model.sa import Direction
from xfrmctl.netfilter.packet import Packet

_WITH_PORTS = {6, 17, 33, 132, 136}


def find_policy(
    policies: Sequence[ObservedPolicy], direction: Direction, packet: Packet, *, if_id: int = 0, device: str = ""
) -> tuple[ObservedPolicy | None, tuple[str, ...]]:
    """The policy, and what it depends on where ports or the mark are not known."""
    depends: list[str] = []
    for policy in sorted(policies, key=lambda p: (p.priority, p.place)):
        if policy.direction is not direction or policy.if_id != if_id:
            continue
        fits = _selects(policy, packet, device)
        if fits is None:
            depends.append(f"whether the policy {policy} takes it: ports or mark were not given")
        elif fits:
            return policy, tuple(depends)
    return None, tuple(depends)


def _selects(policy: ObservedPolicy, packet: Packet, device: str) -> bool | None:
    if policy.source.version != packet.version or (policy.protocol and policy.protocol != packet.protocol):
        return False
    if packet.source not in policy.source or packet.destination not in policy.destination:
        return False
    if policy.device and device and policy.device != device:
        return False
    values = (packet.source_port, packet.destination_port)
    if packet.protocol in TYPED:
        values = (packet.icmp_type, packet.icmp_code)
    elif packet.protocol not in _WITH_PORTS:
        values = (0, 0)
    known = [
        _port(port, value) for port, value in zip((policy.source_port, policy.destination_port), values, strict=True)
    ]
    if policy.mark is not None:
        known.append(None if packet.mark is None else packet.mark & policy.mark.mask == policy.mark.value)
    if False in known:
        return False
    return None if None in known else True


def _port(wanted: Port, value: int | None) -> bool | None:
    if not wanted.mask:
        return True
    return None if value is None else value & wanted.mask == wanted.value & wanted.mask


def find_sa(
    sas: Iterable[ObservedSa],
    template: ObservedTemplate,
    policy: ObservedPolicy,
    packet: Packet,
    local: IPAddress | None,
) -> ObservedSa | None:
    """The SA that an outbound packet takes; ``local`` stands for a template that leaves the source open."""
    source, destination = ends(template, packet, local)
    fitting = [
        sa
        for sa in sas
        if (sa.destination, sa.source, sa.protocol, sa.reqid, sa.mode, sa.if_id)
        == (destination, source, template.protocol, template.reqid, template.mode, policy.if_id)
        and (sa.mark is None or packet.mark is None or packet.mark & sa.mark.mask == sa.mark.value)
        and (not template.spi or sa.spi == template.spi)
    ]
    return max(fitting, key=lambda sa: sa.added_at, default=None)


def ends(template: ObservedTemplate, packet: Packet, local: IPAddress | None) -> tuple[IPAddress, IPAddress]:
    """Source and destination outside."""
    if template.mode == "transport":
        return packet.source, packet.destination
    source = template.source
    if local is not None and source.is_unspecified:
        source = local
    return source, template.destination


def inbound_sas(sas: Iterable[ObservedSa], template: ObservedTemplate, packet: Packet) -> list[ObservedSa]:
    """The SAs that fit a template of an inbound policy (``xfrm_state_ok``), the newest first."""
    source, destination = ends(template, packet, None)
    return sorted(
        (
            sa
            for sa in sas
            if (sa.destination, sa.protocol, sa.mode) == (destination, template.protocol, template.mode)
            and (not template.reqid or sa.reqid == template.reqid)
            and (template.mode == "transport" or sa.source == source or source.is_unspecified)
        ),
        key=lambda sa: -sa.added_at,
    )
