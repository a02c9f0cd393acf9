"""Whose packets are they: selectors of several children, and policies of others, that share packets."""

from collections.abc import Iterator

from xfrmctl.diagnose.facts import ChildFacts, Facts
from xfrmctl.diagnose.lines import NOTHING_THERE, shell, xfrmctl
from xfrmctl.diagnose.rules.forwarding import networks
from xfrmctl.model.finding import ERROR, WARNING, Finding
from xfrmctl.model.observed import ObservedPolicy
from xfrmctl.model.overlap import Pairs
from xfrmctl.model.sa import DataPlane, Direction
from xfrmctl.model.selector import TrafficSelector

MOST = 20
"""Findings of one kind: of a thousand overlaps nobody reads each."""

CHILDREN_FROM = 200_000
"""The best priority of a child's policy (:mod:`xfrmctl.daemon.intent`)."""


def _size(child: ChildFacts) -> int:
    return sum(n.num_addresses for n in (*networks(child.local_ts), *networks(child.remote_ts)))


def overlaps(facts: Facts) -> Iterator[Finding]:
    """A child whose selectors are a part of another's takes those packets, also while it is down itself."""
    index: Pairs[ChildFacts] = Pairs()
    everyone = (child for connection in (*facts.others, *facts.connections) for child in connection.children)
    plain = [c for c in everyone if c.dataplane is DataPlane.POLICY and not c.if_id and not c.marked]
    left = MOST
    for child in plain:
        seen: set[int] = set()
        for other in index.overlapping(child.local_ts, child.remote_ts):
            narrow, wide = sorted((child, other), key=_size)
            asked = narrow.connection in facts.by_name or wide.connection in facts.by_name
            if id(other) in seen or not left or not asked or facts.up(narrow) or not facts.up(wide):
                continue
            seen.add(id(other))
            common = _common(narrow, wide)
            if common is None:
                continue
            left -= 1
            name, loser = f"{narrow.connection}/{narrow.name}", f"{wide.connection}/{wide.name}"
            yield Finding(
                id="selectors-overlap", severity=ERROR, connection=narrow.connection, child=narrow.name,
                symptom=f"packets {common[0]} to {common[1]} belong to {name}, which is down, and so never to {loser}, "
                "which is up",
                evidence=[f"{name}: {_spelled(narrow)}, down", f"{loser}: {_spelled(wide)}, up"],
                cause="the more specific selector comes first in the SPD, whether its SA stands or not",
                cure_here=f"bring {name} up, or take its selectors out of one of the two: `xfrmctl check` warns of "
                "every overlap",
                cure_peer="nothing, unless that connection is down because of it: `xfrmctl diagnose "
                f"{narrow.connection}` says so",
                lines=[xfrmctl(f"xfrmctl up {narrow.connection}"), xfrmctl("xfrmctl check")],
            )  # fmt: skip
        index.add(child.local_ts, child.remote_ts, child)


def _common(one: ChildFacts, other: ChildFacts) -> tuple[TrafficSelector, TrafficSelector] | None:
    for near in one.local_ts:
        for far in one.remote_ts:
            for mine in other.local_ts:
                for theirs in other.remote_ts:
                    local, remote = near.intersect(mine), far.intersect(theirs)
                    if local is not None and remote is not None:
                        return local, remote
    return None


def _spelled(child: ChildFacts) -> str:
    return f"{' '.join(map(str, child.local_ts))} to {' '.join(map(str, child.remote_ts))}"


def foreign_policies(facts: Facts) -> Iterator[Finding]:
    """Policies of somebody else that come before ours, for the same packets."""
    left = MOST
    for child in facts.children():
        for policy in facts.host.foreign_policies:
            if left and policy.if_id == child.if_id and policy.priority < CHILDREN_FROM and _takes(policy, child):
                left -= 1
                yield Finding(
                    id="foreign-policy", severity=ERROR if facts.up(child) else WARNING,
                    connection=child.connection, child=child.name,
                    symptom="a policy that is not ours takes packets of the tunnel",
                    evidence=[f"ip xfrm policy: {policy}", f"{child.connection}/{child.name}: {_spelled(child)}"],
                    cause="another IPsec daemon, or somebody by hand, has made it, and it comes before ours",
                    cure_here="stop that program, or delete the policy",
                    cure_peer=NOTHING_THERE,
                    lines=[shell(f"ip xfrm policy delete src {policy.source} dst {policy.destination} "
                                 f"dir {policy.direction.value}"),
                           shell("pgrep -a 'charon|pluto|iked'")],
                )  # fmt: skip


def _takes(policy: ObservedPolicy, child: ChildFacts) -> bool:
    out = policy.direction is Direction.OUT
    source, destination = (child.local_ts, child.remote_ts) if out else (child.remote_ts, child.local_ts)
    return any(policy.source.overlaps(n) for n in networks(source) if n.version == policy.source.version) and any(
        policy.destination.overlaps(n) for n in networks(destination) if n.version == policy.destination.version
    )
