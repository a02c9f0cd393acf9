"""What no single value shows: connections nobody can tell apart, missing addresses (overlaps are in ``overlaps``).

Works on the built values, so that defaults and numbers count too. Errors go to ``report``, advice to
``warn``.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_address

from xfrmctl.config.build import GatewaySettings, Report
from xfrmctl.config.document import Key
from xfrmctl.config.secrets import GOOD_BYTES
from xfrmctl.config.selectors import check_selectors
from xfrmctl.config.transport import check_transport
from xfrmctl.config.tunnel import check_devices, check_tunnel
from xfrmctl.crypto.certificate import Certificate, stamp
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, Start
from xfrmctl.model.iana import Esn, ProtocolId, TransformType
from xfrmctl.model.sa import DataPlane, DfPolicy, Lifetime
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.sizes import IPV6_FLOOR
from xfrmctl.model.spd import Precedence, SpdAction, SpdEntry
from xfrmctl.pmtu.overhead import inner_mtu, outer_mtu_for

SOON_S = 14 * 86400.0
"""A certificate that ends within this time is warned about."""


def check(connections: Mapping[str, ConnectionConfig], report: Report, warn: Report) -> None:
    """All cross checks."""
    for connection in connections.values():
        _check_connection(connection, report, warn)
        _check_alternates(connection, report)
        for child in connection.children:
            _check_child(connection, child, report, warn)
    _check_twins(connections.values(), report)
    check_devices(connections.values(), report)


def check_listeners(gateway: GatewaySettings, warn: Report) -> None:
    """Whoever reaches the page reads it."""
    page = gateway.status_page
    if page is not None and not ip_address(page.host).is_loopback:
        cause = f"the page has no password, and whoever reaches {page} sees peers, networks and faults"
        warn(("gateway", "status_page"), cause, "listen on 127.0.0.1, and come by: ssh -L 9880:127.0.0.1:9880 GATEWAY")


def check_policies(
    policies: Iterable[SpdEntry], connections: Collection[ConnectionConfig], report: Report, warn: Report
) -> None:
    """Policies that do more, or less, than one might think."""
    routed = [child for c in connections for child in c.children if child.dataplane == DataPlane.INTERFACE]
    for policy in policies:
        key: Key = ("policies", policy.name)
        if policy.action == SpdAction.DISCARD and _is_everything(policy.local_ts) and _is_everything(policy.remote_ts):
            cause = "it drops whatever this gateway itself says and hears, too, but IKE and ESP: DNS, NTP, SSH, BGP"
            warn(key, cause, "name the networks behind this gateway in local_ts; or add a bypass for what you need")
        if policy.action == SpdAction.DISCARD and policy.precedence == Precedence.SPECIFIC:
            _check_sides(policy, connections, report)
        behind = [
            c.name
            for c in routed
            if policy.action == SpdAction.BYPASS and _meet(policy.remote_ts, _routed(c.remote_ts))
        ]
        if behind:
            cause = f"child {behind[0]!r} has dataplane: interface: its routes take these packets, whatever is bypassed"
            warn(key, cause, "add a more specific route past the interface")


def _check_sides(policy: SpdEntry, connections: Iterable[ConnectionConfig], report: Report) -> None:
    """A forwarded packet is looked up both ways round: a discard with overlapping sides hits what children carry."""
    for connection in connections:
        for child in connection.children:
            if _meet(child.local_ts, policy.remote_ts) and _meet(child.remote_ts, policy.local_ts):
                other = f"child {child.name!r} of connection {connection.name!r}"
                cause = f"its two sides overlap, so it would drop what {other} brings as well"
                report(
                    ("policies", policy.name), cause, "write precedence: last, or local_ts without the remote networks"
                )
                return


def _is_everything(selectors: Iterable[TrafficSelector]) -> bool:
    return any(n.prefixlen == 0 for ts in selectors for n in ts.networks())


def _routed(selectors: Iterable[TrafficSelector]) -> list[TrafficSelector]:
    """What gets routes: a default route is never taken over."""
    return [ts for ts in selectors if any(n.prefixlen for n in ts.networks())]


def _meet(one: Iterable[TrafficSelector], two: Sequence[TrafficSelector]) -> bool:
    return any(a.intersect(b) is not None for a in one for b in two)


def _check_connection(connection: ConnectionConfig, report: Report, warn: Report) -> None:
    key: Key = ("connections", connection.name)
    if not connection.children:
        sample = "lan: {local_ts: [10.1.1.0/24], remote_ts: [10.1.2.0/24]}"
        report((*key, "children"), "no child: the connection would carry nothing", f"add {sample}")
    local, remote = connection.local, connection.remote
    if local and remote and local.version != remote.version:
        cause = f"local.address {local} and remote.address {remote} are of different families"
        report((*key, "remote", "address"), cause, "write two IPv4 or two IPv6 addresses")
    if local and local == remote:
        report((*key, "remote", "address"), f"{remote} is local.address as well", "write the peer's address")
    if connection.credential is not None and connection.credential.certificate is not None:
        _check_validity(connection.credential.certificate, (*key, "auth", "certificate"), warn)
    for anchor in connection.trust.anchors if connection.trust is not None else ():
        _check_validity(anchor, (*key, "auth", "ca"), warn)
    _check_psks((*key, "auth"), connection, report, warn)


def _check_psks(key: Key, connection: ConnectionConfig, report: Report, warn: Report) -> None:
    for psk in (connection.psk, *connection.psks.values()):
        if 0 < len(psk) < GOOD_BYTES:
            cause = f"the key has {len(psk)} bytes: who records one handshake can guess it offline"
            warn((*key, "psk"), cause, "make a strong one: openssl rand -base64 32")
            break
    many = connection.remote is None and connection.remote_id is None
    if connection.psks and not many:
        cause = "keys by identity are for a connection that serves many peers, and this one has a single peer"
        report((*key, "psks"), cause, "write psk; or leave remote.address out, with remote.id: any or a pattern")
    elif many and connection.psk and connection.trust is None:
        cause = "all peers share one key, so each of them can take another's identity, and its place"
        warn((*key, "psk"), cause, "give each its own: psks: {fqdn:NAME: !file secrets/NAME.psk}; or use certificates")


def _check_validity(certificate: Certificate, key: Key, warn: Report) -> None:
    now = time.time()
    if not certificate.valid_from <= now <= certificate.valid_to:
        span = f"{certificate.time_of('from')} to {certificate.time_of('to')}"
        cause = f"{certificate.subject_text} is valid from {span}, and the clock says {stamp(now)}"
        warn(key, cause, "renew the certificate, or set the clock")
    elif certificate.valid_to - now < SOON_S:
        warn(key, f"{certificate.subject_text} expires at {certificate.time_of('to')}", "renew it and reload")


def _check_alternates(connection: ConnectionConfig, report: Report) -> None:
    """Further addresses of ours need a first one, and MOBIKE to take over from it."""
    key: Key = ("connections", connection.name, "local", "alternates")
    if connection.alternates and connection.local is None:
        report(key, "with address: any the routes choose among all addresses", "write local.address, or no alternates")
    elif connection.alternates and not connection.mobike:
        report(key, "without MOBIKE no other address can take over", "write ike.mobike: true, or no alternates")


def _check_child(connection: ConnectionConfig, child: ChildConfig, report: Report, warn: Report) -> None:
    key: Key = ("connections", connection.name, "children", child.name)
    if connection.remote is None and child.start != Start.NONE:
        cause = f"start: {child.start.value} needs to know whom to call, and remote.address is any"
        report((*key, "start"), cause, "write the peer's remote.address, or start: none")
    if not child.replay_window:
        _check_no_replay_window((*key, "replay_window"), child, report, warn)
    _check_lifetime((*key, "lifetime"), child.lifetime, report)
    local, remote = ({ts.version for ts in side} for side in (child.local_ts, child.remote_ts))
    for version in sorted(local ^ remote)[:1] if local and remote else ():
        side, other = ("local_ts", "remote_ts") if version in local else ("remote_ts", "local_ts")
        cause = f"an IPv{version} selector in {side} has no partner in {other}"
        report((*key, side), cause, f"add an IPv{version} network to {other}, or take this one out")
    check_tunnel(connection, child, report, warn)
    check_transport(connection, child, report)
    check_selectors(child, (*key, "remote_ts"), report, warn)
    if child.protocol == ProtocolId.AH:
        _check_ah(connection, (*key, "ah"), report, warn)
    if child.mtu is not None:
        _check_mtu(connection, child, child.mtu, report, warn)


def _check_no_replay_window(key: Key, child: ChildConfig, report: Report, warn: Report) -> None:
    """RFC 4303 3.4.3: a receiver may do without; but the upper half of an extended sequence number needs the window."""
    if any(t.id == Esn.YES for proposal in child.esp for t in proposal.of(TransformType.ESN)):
        cause = "extended sequence numbers do not work without a replay window (RFC 4303 3.4.3)"
        report(key, cause, "write a window such as 128, or take esn out of esp")
    else:
        warn(
            key, "whoever has recorded packets can send them again, and they are accepted", "write a window: up to 4096"
        )


def _check_ah(connection: ConnectionConfig, key: Key, report: Report, warn: Report) -> None:
    warn(key, "AH encrypts nothing: whoever is on the path reads it all", "write esp: unless the peer insists on AH")
    if connection.force_encap:
        cause = "ike.encap: always has its packets go inside UDP, and AH cannot"
        report(key, cause, "leave ike.encap out, or write esp: instead of ah:")


def _check_lifetime(key: Key, limits: Lifetime, report: Report) -> None:
    """An SA that ends before it is rekeyed takes its traffic with it."""
    for name, soft, hard in (
        ("time", limits.soft_seconds, limits.hard_seconds),
        ("bytes", limits.soft_bytes, limits.hard_bytes),
        ("packets", limits.soft_packets, limits.hard_packets),
    ):
        if soft and hard and hard <= soft:
            cause = f"the SA would end at {hard} {name}, and is rekeyed at {soft} only"
            report((*key, name), cause, f"write a larger lifetime.{name}, or a smaller rekey.{name}")


def _check_mtu(connection: ConnectionConfig, child: ChildConfig, outer: int, report: Report, warn: Report) -> None:
    key: Key = ("connections", connection.name, "children", child.name, "mtu")
    address = connection.remote or connection.local
    version = address.version if address else 4
    if version == 6 and outer < IPV6_FLOOR:
        report(key, f"an IPv6 path always carries {IPV6_FLOOR} bytes", f"write at least {IPV6_FLOOR}, or auto")
        return
    if child.tunnel is not None:
        return  # in config.tunnel
    suites = [suite for proposal in child.esp for suite in proposal.suites()]
    encap = connection.force_encap
    worst = min(suites, key=lambda s: inner_mtu(outer, s, version, encap, child.mode))
    carried = inner_mtu(outer, worst, version, encap, child.mode)
    if carried < IPV6_FLOOR and any(ts.version == 6 for ts in child.local_ts):
        need = outer_mtu_for(IPV6_FLOOR, worst, version, encap, child.mode)
        cause = f"leaves {carried} bytes for IPv6 inside with {worst}, and IPv6 needs {IPV6_FLOOR} (RFC 8200 5)"
        only = version == 6 or child.df is DfPolicy.SET
        below = "only TCP works" if only else "ESP goes without DF, for routers to fragment"
        warn(key, cause, f"a path of {need} bytes would do; below it {below}")


def _check_twins(connections: Iterable[ConnectionConfig], report: Report) -> None:
    """Two connections that a responder could not tell apart: it has only addresses and identities."""
    seen: dict[object, str] = {}
    for connection in connections:
        proof = (connection.trust, connection.remote_keys)
        ids = (connection.local_id, connection.remote_id, connection.remote_pattern, proof)
        who = (connection.local, connection.remote, ids)
        twin = seen.setdefault(who, connection.name)
        if twin != connection.name:
            report(
                ("connections", connection.name),
                f"same addresses and identities as connection {twin!r}: no peer could say which one it means",
                f"give one of them another remote.id or local.id, or put its children into {twin!r}",
            )
