"""What no single value shows: overlapping selectors, connections nobody can tell apart, missing addresses.

Works on the built values, so that defaults and numbers count too. Errors go to ``report``, advice to
``warn``.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xfrmctl.config.build import Report
from xfrmctl.config.document import Key
from xfrmctl.config.secrets import GOOD_BYTES
from xfrmctl.config.selectors import check_selectors
from xfrmctl.config.transport import check_transport
from xfrmctl.crypto.certificate import Certificate, stamp
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, Start
from xfrmctl.model.iana import Esn, ProtocolId, TransformType
from xfrmctl.model.plane import Mark
from xfrmctl.model.sa import Lifetime
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.pmtu.overhead import IPV6_FLOOR, inner_mtu, outer_mtu_for

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
    _check_overlaps(connections.values(), report)


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
    if 0 < len(connection.psk) < GOOD_BYTES:
        cause = f"the key has {len(connection.psk)} bytes: who records one handshake can guess it offline"
        warn((*key, "auth", "psk"), cause, "make a strong one: openssl rand -base64 32")


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
    suites = [suite for proposal in child.esp for suite in proposal.suites()]
    encap = connection.force_encap
    worst = min(suites, key=lambda s: inner_mtu(outer, s, version, encap, child.mode))
    carried = inner_mtu(outer, worst, version, encap, child.mode)
    if carried < IPV6_FLOOR and any(ts.version == 6 for ts in child.local_ts):
        need = outer_mtu_for(IPV6_FLOOR, worst, version, encap, child.mode)
        cause = f"leaves {carried} bytes for IPv6 inside with {worst}, and IPv6 needs {IPV6_FLOOR} (RFC 8200 5)"
        warn(key, cause, f"a path of {need} bytes would do; below it only TCP works")


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


@dataclass(frozen=True, slots=True)
class _Pair:
    """One selector pair of one child."""

    connection: str
    child: str
    if_id: int
    mark: Mark | None
    local: TrafficSelector
    remote: TrafficSelector

    @property
    def owner(self) -> tuple[str, str]:
        return self.connection, self.child

    def __str__(self) -> str:
        return f"{self.local} to {self.remote}"


def _check_overlaps(connections: Iterable[ConnectionConfig], report: Report) -> None:
    """Pairs that two children claim: the kernel would give the packet to either of them.

    Children of one connection may nest, but not claim exactly the same. With the interface data plane a route
    decides, so that only equal destinations clash, unless both use one interface. A sweep over the start of
    the remote range finds the pairs without comparing each with each.
    """
    pairs = [
        _Pair(connection.name, child.name, child.if_id, child.options.mark_out, local, remote)
        for connection in connections
        for child in connection.children
        for local in child.local_ts
        for remote in child.remote_ts
        if local.version == remote.version
    ]
    order = {pair.owner: number for number, pair in reversed(list(enumerate(pairs)))}
    reported: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    for version in (4, 6):
        open_pairs: list[_Pair] = []
        family = [p for p in pairs if p.remote.version == version]
        for pair in sorted(family, key=lambda p: int(p.remote.start)):
            start = int(pair.remote.start)
            open_pairs = [p for p in open_pairs if int(p.remote.end) >= start]
            for other in open_pairs:
                first, second = sorted((other, pair), key=lambda p: order[p.owner])
                if first.owner == second.owner or (first.owner, second.owner) in reported:
                    continue
                clash = _clash(first, second)
                if clash:
                    reported.add((first.owner, second.owner))
                    _report_overlap(first, second, clash, report)
            open_pairs.append(pair)


def _clash(one: _Pair, two: _Pair) -> str:
    """How two pairs clash, "" where they do not."""
    if one.mark is not None and two.mark is not None and one.mark.excludes(two.mark):
        return ""
    same = one.local == two.local and one.remote == two.remote
    if one.if_id != two.if_id and one.if_id and two.if_id:
        return "route the same destination as" if one.remote == two.remote else ""
    if one.connection == two.connection:
        return "are the same as those of" if same else ""
    if one.local.intersect(two.local) is None or one.remote.intersect(two.remote) is None:
        return ""
    return "are the same as those of" if same else "overlap with those of"


def _report_overlap(first: _Pair, second: _Pair, clash: str, report: Report) -> None:
    report(
        ("connections", second.connection, "children", second.child, "remote_ts"),
        f"the selectors {second} {clash} child {first.child!r} of connection {first.connection!r} ({first})",
        "make them disjoint, so that each packet has one SA",
    )
