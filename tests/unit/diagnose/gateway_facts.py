"""Facts of a gateway with one connection, ``main``, and one child, ``lan``: healthy, and one change at a time away."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from tests.unit.control.gateway_values import CHILD, IKE, SNAPSHOT, UP, configured
from xfrmctl.diagnose.diagnosis import diagnose
from xfrmctl.diagnose.facts import ChildFacts, ConnectionFacts, Facts
from xfrmctl.model.failure import Failure
from xfrmctl.model.finding import Finding
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, FailureInfo, Snapshot

WALL = 1_780_000_100.0
MOON, SUN = "fqdn:moon.example.org", "fqdn:sun.example.org"

LAN = ChildFacts(
    connection="main",
    name="lan",
    local_ts=(parse_selector("10.1.1.0/24"),),
    remote_ts=(parse_selector("10.1.2.0/24"),),
    esp=("aes256gcm16-noesn",),
)
MAIN = ConnectionFacts(
    name="main",
    local=ip_address("172.16.1.1"),
    remote=ip_address("172.16.2.1"),
    local_id=MOON,
    remote_id=SUN,
    auth="psk",
    ike=("aes256gcm16-prfsha384-x25519",),
    children=(LAN,),
)


def quiet(child: ChildInfo) -> ChildInfo:
    """The same without anything remarkable."""
    mtu = replace(child.mtu, mss_ipv4=1298, mss_ipv6=None) if child.mtu is not None else None
    inbound, outbound = (
        replace(sa, replay_drops=0, late_drops=0, integrity_failures=0) for sa in (child.inbound, child.outbound)
    )
    return replace(child, inbound=inbound, outbound=outbound, encap=None, mtu=mtu)


SA = quiet(CHILD)


def connected(*children: ChildInfo, **more: Any) -> ConnectionInfo:
    """``main`` with these CHILD SAs."""
    info = replace(UP, name="main", children=[configured("lan", "up")])
    return replace(info, ike_sas=[replace(IKE, nat_local=False, children=list(children or (SA,)))], **more)


def down(failure: Failure | None, state: str = "waiting", **more: Any) -> ConnectionInfo:
    """``main`` without SAs, after this failure."""
    info = FailureInfo(
        code=failure.code.value, text=failure.text, cause=failure.cause, cure=failure.cure, notify=failure.notify,
        ours=list(failure.ours), theirs=list(failure.theirs), at=WALL - 5,
    ) if failure is not None else None  # fmt: skip
    base = connected(state=state, last_failure=info, **more)
    return replace(base, ike_sas=[], children=[configured("lan", "down")])


def snapshot(*connections: ConnectionInfo) -> Snapshot:
    """The gateway's state with these connections."""
    kernel = replace(SNAPSHOT.kernel, xfrm_stat={})
    return replace(SNAPSHOT, connections=list(connections), policies=[], kernel=kernel)


def facts(*connections: ConnectionInfo, **more: Any) -> Facts:
    """Healthy facts of these connections (``main``, up), with changes."""
    state = snapshot(*(connections or (connected(),)))
    usual: dict[str, Any] = {"connections": (MAIN,), "before": state, "after": state, "seconds": 3.0}
    return Facts(wall=WALL, **usual | more)


def ids(found: Facts) -> list[str]:
    """What is found in them."""
    return [finding.id for finding in diagnose(found)]


def only(found: Facts) -> Finding:
    """The one finding that there is."""
    findings = diagnose(found)
    assert len(findings) == 1, [f.id for f in findings]
    return findings[0]


def lines(finding: Finding, end: str = "peer") -> Sequence[str]:
    """Its lines for one end, with the product's name before."""
    return [f"{line.product}: {line.text}" for line in finding.lines if line.end == end]
