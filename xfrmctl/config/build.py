"""Schema -> values of the IKE engine. Everything is checked already, except that secrets are fetched here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from xfrmctl.config import identities, numbering, schema
from xfrmctl.config.credentials import Credentials
from xfrmctl.config.document import Key
from xfrmctl.config.schema_tunnel import Tunnel as TunnelSection
from xfrmctl.config.spelling import ListenAddress
from xfrmctl.ike.config import (
    ChildConfig,
    Childless,
    ConnectionConfig,
    EngineConfig,
    RetransmitPolicy,
    RetryPolicy,
    Start,
    Unique,
)
from xfrmctl.model.address import IPAddress
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.plane import Offload, PlaneOptions
from xfrmctl.model.sa import DataPlane, DfPolicy, Lifetime, Mode, Oversize
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.spd import Precedence, SpdAction, SpdEntry
from xfrmctl.model.suite import Proposal
from xfrmctl.model.tunnel import Tunnel, TunnelType
from xfrmctl.pmtu.settings import PathOptions

DEFAULT_PATHS = PathOptions()

HARD_ABOVE_SOFT = 1.2
"""Where no hard limit is written, an SA whose rekeying fails lives this much longer than it should."""

HEADROOM_BYTES = 1 << 30
HEADROOM_PACKETS = 1 << 20
"""About a second of a 10 Gbit/s link."""

Report = Callable[[Key, str, str], None]
"""Takes key, cause, cure."""


class IcmpPolicy(Enum):
    """What becomes of ICMP errors about the path to a peer (RFC 4301 6.1.1).

    VALIDATE: the kernel learns from those that quote what we have really sent. IGNORE: it learns from none. TRUST: it
    learns from whatever it believes itself.
    """

    VALIDATE = "validate"
    IGNORE = "ignore"
    TRUST = "trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What the daemon needs beside the engine; None means off, or the command line's value.

    ``path_mtu`` is for connections that are not in ``path_mtu_of``, by name.
    """

    metrics: ListenAddress | None = None
    status_page: ListenAddress | None = None
    metrics_compat: str = "off"
    metrics_exemplars: bool = False
    key_log: Path | None = None
    policies: tuple[SpdEntry, ...] = ()
    control_group: str | None = None
    crash_detection: bool = True
    icmp: Mapping[int, IcmpPolicy] = field(default_factory=dict)
    path_mtu: PathOptions = DEFAULT_PATHS
    path_mtu_of: Mapping[str, PathOptions] = field(default_factory=dict)
    firewall: FirewallBackend = FirewallBackend.AUTO

    @property
    def written_policies(self) -> tuple[SpdEntry, ...]:
        """Those of the section of that name; those of gateway.bypass come before everything and quarrel with nobody."""
        return tuple(p for p in self.policies if not p.name.startswith(BYPASS))


BYPASS = "gateway.bypass"


def gateway(found: schema.File) -> GatewaySettings:
    """The settings of this machine, and its policies that are no child's."""
    bypass = [
        SpdEntry(
            name=f"{BYPASS}[{number}]",
            action=SpdAction.BYPASS,
            local_ts=(entry.local,),
            remote_ts=(entry.remote,),
            precedence=Precedence.FIRST,
        )
        for number, entry in enumerate(found.gateway.bypass)
    ]
    written = [
        SpdEntry(
            name=name,
            action=SpdAction(entry.action),
            local_ts=entry.local_ts,
            remote_ts=entry.remote_ts,
            precedence=Precedence(entry.precedence),
        )
        for name, entry in found.policies.items()
    ]
    return GatewaySettings(
        metrics=found.gateway.metrics,
        status_page=found.gateway.status_page,
        metrics_compat=found.gateway.metrics_compat,
        metrics_exemplars=found.gateway.metrics_exemplars,
        key_log=Path(found.gateway.key_log) if found.gateway.key_log is not None else None,
        policies=(*bypass, *written),
        control_group=found.gateway.control_group,
        crash_detection=found.gateway.crash_detection,
        icmp={
            4: IcmpPolicy(found.gateway.icmp.frag_needed),
            6: IcmpPolicy(found.gateway.icmp.packet_too_big),
        },
        path_mtu=_paths(found.gateway.path_mtu),
        path_mtu_of={name: _paths(c.path_mtu) for name, c in found.connections.items() if c.path_mtu is not None},
        firewall=FirewallBackend(found.gateway.firewall),
    )


def _paths(found: schema.PathMtu) -> PathOptions:
    return PathOptions(probe=found.probe, aging_s=found.aging, confirm_s=found.confirm, echo=found.echo)


def engine(found: schema.File, file: Path, previous: Mapping[str, ConnectionConfig], report: Report) -> EngineConfig:
    """The engine's configuration; secrets that cannot be had are reported and left empty."""
    limits, ports = found.gateway.limits, found.gateway.ports
    default = _retransmit(found.gateway.retransmit)
    credentials = Credentials(file, report)
    connections = {name: _connection(name, c, credentials, default, report) for name, c in found.connections.items()}
    return EngineConfig(
        connections=number(connections, previous),
        ike_port=ports.ike,
        nat_t_port=ports.nat_t,
        half_open_limit=limits.half_open,
        half_open_per_source=limits.half_open_per_source,
        cookie_threshold=limits.cookies_from,
        half_open_timeout_s=limits.half_open_timeout,
        retransmit=default,
    )


def number(
    connections: Mapping[str, ConnectionConfig], previous: Mapping[str, ConnectionConfig]
) -> dict[str, ConnectionConfig]:
    """Give every child its reqid and, with the interface data plane, its if_id and interface name."""
    reqids = numbering.assign(
        (_child_key(c, ch) for c in connections.values() for ch in c.children),
        {_child_key(c, ch): ch.reqid for c in previous.values() for ch in c.children},
    )
    if_ids = numbering.assign(
        (_link_key(c, ch) for c in connections.values() for ch in c.children if _has_interface(ch)),
        {_link_key(c, ch): ch.if_id for c in previous.values() for ch in c.children if _has_interface(ch)},
    )
    return {
        name: replace(
            connection,
            children=tuple(
                replace(
                    child,
                    reqid=reqids[_child_key(connection, child)],
                    if_id=if_ids[_link_key(connection, child)] if _has_interface(child) else child.if_id,
                    interface=_interface(child, if_ids[_link_key(connection, child)])
                    if _has_interface(child)
                    else None,
                )
                for child in connection.children
            ),
        )
        for name, connection in connections.items()
    }


def _interface(child: ChildConfig, if_id: int) -> str:
    return child.interface or default_interface(if_id)


def default_interface(if_id: int) -> str:
    """The name of an interface nobody has named: ``xfc-`` and the if_id's own 24 bits."""
    return f"xfc-{if_id & 0xFFFFFF:06x}"


def _has_interface(child: ChildConfig) -> bool:
    return child.dataplane == DataPlane.INTERFACE


def _child_key(connection: ConnectionConfig, child: ChildConfig) -> str:
    return f"{connection.name}/{child.name}"


def _link_key(connection: ConnectionConfig, child: ChildConfig) -> str:
    """Children that name the same interface share it, and its if_id."""
    if child.interface is None or child.interface == default_interface(child.if_id):
        return _child_key(connection, child)
    return f"interface {child.interface}"


def _connection(
    name: str, found: schema.Connection, credentials: Credentials, default: RetransmitPolicy, report: Report
) -> ConnectionConfig:
    key: Key = ("connections", name)
    proofs = credentials.of(found.auth, (*key, "auth"))
    for child_name, child in found.children.items():
        if child.interface is not None and child.dataplane != "interface":
            cause = "the policy data plane has no interface"
            report((*key, "children", child_name, "interface"), cause, "add dataplane: interface")
        if child.if_id is not None and child.dataplane == "interface":
            cause = "with dataplane: interface the daemon makes the device and numbers it"
            report(
                (*key, "children", child_name, "if_id"),
                cause,
                "leave if_id out; or, with a device of your own, leave out dataplane: interface",
            )
        elif child.if_id is not None and numbering.is_ours(child.if_id):
            cause = f"if_ids from {numbering.OURS:#x} to {numbering.OURS + 0xFFFFFF:#x} are the daemon's own"
            report((*key, "children", child_name, "if_id"), cause, "give your device a smaller one")
    certificate = proofs.credential.certificate if proofs.credential else None
    local_id = identities.local(found.local, certificate, key, report)
    remote_id, remote_pattern = identities.remote(found.remote, proofs.trust is not None, key, report)
    return ConnectionConfig(
        name=name,
        local=found.local.address,
        remote=found.remote.address,
        local_id=local_id,
        remote_id=remote_id,
        remote_pattern=remote_pattern,
        psk=proofs.psk,
        psks=proofs.psks,
        credential=proofs.credential,
        trust=proofs.trust,
        remote_keys=proofs.remote_keys,
        sha1=found.auth.sha1,
        ike=found.ike.proposals,
        children=tuple(_child(n, c, found, (*key, "children", n), report) for n, c in found.children.items()),
        dpd_s=found.ike.dpd,
        rekey_s=found.ike.rekey,
        reauth_s=found.ike.reauth,
        keepalive_s=found.ike.keepalive,
        retry=RetryPolicy(tries=found.retry.tries, first_s=found.retry.first, max_s=found.retry.max),
        retransmit=_retransmit(found.ike.retransmit) if found.ike.retransmit else default,
        force_encap=found.ike.encap == "always",
        fragment_size=found.ike.fragmentation,
        mobike=found.ike.mobike,
        childless=Childless(found.ike.childless),
        alternates=found.local.alternates,
        unique=_unique(found),
    )


def _unique(found: schema.Connection) -> Unique:
    """Of many peers one that comes back takes its own place; a single one may have called while we called it."""
    if found.unique is not None:
        return Unique(found.unique)
    return Unique.REPLACE if found.remote.address is None else Unique.NO


def _child(name: str, found: schema.Child, connection: schema.Connection, key: Key, report: Report) -> ChildConfig:
    tunnel = _tunnel(found.tunnel) if found.tunnel is not None else None
    wrapped = found.mode == "tunnel" and (tunnel is None or "mode" in found.model_fields_set)
    protocol = tunnel.type.protocol if tunnel is not None else 0
    mode = Mode.TUNNEL if wrapped else Mode.TRANSPORT
    remote = connection.remote.address
    unasked = Start.NONE if remote is None else Start.TRAP if tunnel is None else Start.START
    return ChildConfig(
        name=name,
        local_ts=found.local_ts or _own("local", connection.local.address, protocol, key, report),
        remote_ts=found.remote_ts or _own("remote", remote, protocol, key, report),
        esp=_proposals(found, key, report),
        mode=mode,
        tunnel_will_do=found.mode == "transport-or-tunnel",
        dataplane=DataPlane(found.dataplane),
        start=Start(found.start) if found.start else unasked,
        mtu=found.mtu,
        mss=found.mss,
        df=DfPolicy(found.df),
        oversize=Oversize(found.oversize),
        replay_window=found.replay_window,
        options=_options(found),
        if_id=found.if_id or 0,
        fail_closed=found.fail == "closed",
        interface=found.interface,
        lifetime=_lifetime(found.rekey, found.lifetime),
        tunnel=tunnel,
    )


def _tunnel(found: TunnelSection) -> Tunnel:
    return Tunnel(
        type=TunnelType(found.type),
        interface=found.interface,
        addresses=found.addresses,
        key=found.key,
        ttl=found.ttl,
        keepalive_s=found.keepalive,
        routes=found.routes,
    )


def _proposals(found: schema.Child, child: Key, report: Report) -> tuple[Proposal, ...]:
    """Those of AH, where there are any, or of ESP."""
    if found.ah and "esp" in found.model_fields_set:
        report((*child, "ah"), "a child is either ESP or AH, and esp is written as well", "take one of them out")
    return found.ah or found.esp


def _own(
    side: str, address: IPAddress | None, protocol: int, child: Key, report: Report
) -> tuple[TrafficSelector, ...]:
    """The selector of a transport mode child that has none written: the gateway's address, and a tunnel's protocol."""
    if address is not None:
        return (TrafficSelector(address, address, protocol),)
    if protocol:
        return ()  # said once, of the address that the tunnel needs
    cause = f"missing, and {side}.address is any: in transport mode the selectors are the two addresses"
    report((*child, f"{side}_ts"), cause, f"write {side}.address, or the addresses that it may have as {side}_ts")
    return ()


def _options(found: schema.Child) -> PlaneOptions:
    """Packets that must have a mark to come in get it at decryption, unless something else is written."""
    return PlaneOptions(
        dscp_out=found.dscp.outbound == "copy",
        dscp_in=found.dscp.inbound == "copy",
        ecn=found.ecn == "on",
        mark_in=found.mark.inbound,
        mark_out=found.mark.outbound,
        set_mark_in=found.set_mark.inbound or found.mark.inbound,
        set_mark_out=found.set_mark.outbound,
        offload=Offload(found.offload),
    )


def _lifetime(rekey: schema.ChildRekey, limit: schema.ChildLifetime) -> Lifetime:
    soft = Lifetime(
        soft_seconds=round(rekey.time or 0),
        soft_bytes=rekey.bytes or 0,
        soft_packets=rekey.packets or 0,
    )
    return replace(
        soft,
        hard_seconds=max(1, round(limit.time)) if limit.time else round(soft.soft_seconds * HARD_ABOVE_SOFT),
        hard_bytes=limit.bytes or _headroom(soft.soft_bytes, HEADROOM_BYTES),
        hard_packets=limit.packets or _headroom(soft.soft_packets, HEADROOM_PACKETS),
    )


def _headroom(soft: int, least: int) -> int:
    """Twice the limit for rekeying, or ``least`` above it: a fast link must not get there before the rekey is done."""
    return max(2 * soft, soft + least) if soft else 0


def _retransmit(found: schema.Retransmit) -> RetransmitPolicy:
    return RetransmitPolicy(
        first_s=found.first, factor=found.factor, tries=found.tries, max_s=max(found.max, found.first)
    )
