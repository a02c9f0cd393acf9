"""All rules together, and the findings that explain others.

One fault shows in many places: a rule of our own firewall that drops ESP looks, from elsewhere, like a path that does.
What is known for sure takes the place of what would only be suspected: ``EXPLAINS``.
"""

from collections.abc import Callable, Iterator

from xfrmctl.diagnose.catalogue import CATALOGUE
from xfrmctl.diagnose.facts import Facts
from xfrmctl.diagnose.rules import firewall, forwarding, negotiation, reach, sas, selectors, sizes, states
from xfrmctl.model.finding import ERROR, Finding

Rule = Callable[[Facts], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    reach.no_daemon,
    negotiation.negotiation_failures,
    negotiation.own_certificate,
    reach.silent_peers,
    forwarding.forwarding_off,
    forwarding.device_forwarding_off,
    forwarding.routes_to_networks,
    forwarding.recursive_routing,
    forwarding.wrong_interface,
    forwarding.xfrm_disabled,
    forwarding.reverse_path,
    forwarding.reverse_path_of_devices,
    firewall.gateway_drops,
    states.fragment_drops,
    firewall.nat_eats,
    firewall.forward_drops,
    firewall.forward_drops_a_part,
    states.reverse_path_rules,
    states.invalid_drops,
    firewall.frag_needed_drops,
    selectors.overlaps,
    selectors.foreign_policies,
    sas.missing,
    sas.one_way,
    sas.duplicates,
    sas.late,
    sas.replays,
    sas.sequence_end,
    sizes.static_mtu,
    sizes.small_mtu,
    sizes.black_hole,
    sizes.fragments,
    sizes.clamps,
    sizes.mixed_variants,
)

SILENT_PEER = ("udp-500-blocked", "udp-4500-blocked", "ike-blocked", "ike-not-running", "peer-unreachable",
               "peer-ignores-us")  # fmt: skip
ONE_WAY = ("esp-blocked", "no-answers")
IN_THE_WAY = (
    "forwarding-off", "no-route-to-network", "route-past-tunnel", "recursive-routing", "interface-missing", "rp-filter",
    "policy-bypassed", "nat-before-policy", "forward-drop-outbound", "forward-drop-inbound", "rp-filter-decrypted",
    "firewall-drops-esp", "firewall-drops-ah", "firewall-drops-esp-in-udp", "selectors-overlap", "foreign-policy",
    "sa-missing", "static-mtu-too-large",
)  # fmt: skip
"""Each leaves packets of a tunnel without answers."""

EXPLAINS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(IN_THE_WAY, ONE_WAY),
    "kernel-refused": (*ONE_WAY, "no-route-to-network", "route-past-tunnel"),
    "recursive-routing": (*ONE_WAY, "no-route-to-network", *SILENT_PEER),
    "interface-missing": (*ONE_WAY, "no-route-to-network", "route-past-tunnel"),
    "rp-filter": (*ONE_WAY, *SILENT_PEER),
    "rp-filter-decrypted": (*ONE_WAY, "route-past-tunnel"),
    "firewall-drops-ike": SILENT_PEER,
    "firewall-drops-esp-in-udp": (*ONE_WAY, *SILENT_PEER),
    "firewall-drops-fragments": ("fragments-dropped",),
    "clock-wrong": ("authentication-failed", "own-certificate-expired", "own-certificate-not-yet-valid"),
    "own-certificate-expired": ("authentication-failed",),
    "own-certificate-not-yet-valid": ("authentication-failed",),
}
"""A finding, and those that it makes superfluous for the same connection (for all, where it is about the gateway)."""


def diagnose(facts: Facts) -> list[Finding]:
    """Every finding, errors first, in the order of the catalogue. One that is not in it is a fault of ours."""
    found = [finding for rule in RULES for finding in rule(facts)]
    kept = [f for f in found if not any(_explains(other, f) for other in found)]
    order = list(CATALOGUE)
    return sorted(kept, key=lambda f: (f.severity != ERROR, order.index(f.id)))


def _explains(one: Finding, other: Finding) -> bool:
    return other.id in EXPLAINS.get(one.id, ()) and one.connection in ("", other.connection)
