"""All rules together, and the findings that explain others.

One fault shows in many places: a rule of our own firewall that drops ESP looks, from elsewhere, like a path that does.
What is known for sure takes the place of what would only be suspected: ``EXPLAINS``.
"""

from collections.abc import Callable, Iterator

from xfrmctl.diagnose.facts import Facts
from xfrmctl.diagnose.rules import negotiation, reach
from xfrmctl.model.finding import ERROR, Finding

Rule = Callable[[Facts], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    reach.no_daemon,
    negotiation.negotiation_failures,
    negotiation.own_certificate,
    reach.silent_peers,
)

SILENT_PEER = ("udp-500-blocked", "udp-4500-blocked", "ike-blocked", "ike-not-running", "peer-unreachable",
               "peer-ignores-us")  # fmt: skip
EXPLAINS: dict[str, tuple[str, ...]] = {
    "own-certificate-expired": ("authentication-failed",),
    "own-certificate-not-yet-valid": ("authentication-failed",),
}
"""A finding, and those that it makes superfluous for the same connection (for all, where it is about the gateway)."""


def diagnose(facts: Facts) -> list[Finding]:
    """Every finding, errors first, in the order of the rules."""
    found = [finding for rule in RULES for finding in rule(facts)]
    kept = [f for f in found if not any(_explains(other, f) for other in found)]
    return sorted(kept, key=lambda f: f.severity != ERROR)


def _explains(one: Finding, other: Finding) -> bool:
    return other.id in EXPLAINS.get(one.id, ()) and one.connection in ("", other.connection)
