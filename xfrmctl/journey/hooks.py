"""One hook of netfilter for one packet: every table that stands there, in the order of its priority."""

from xfrmctl.journey.steps import Journey, Outcome
from xfrmctl.journey.world import NamedRules, World, is_local
from xfrmctl.model.address import IPAddress
from xfrmctl.netfilter.packet import Packet
from xfrmctl.netfilter.walk import Verdict, Walk, walk

TABLES = {
    "PREROUTING": ("raw", "mangle", "nat"),
    "INPUT": ("mangle", "filter", "security", "nat"),
    "FORWARD": ("mangle", "filter", "security"),
    "OUTPUT": ("raw", "mangle", "nat", "filter", "security"),
    "POSTROUTING": ("mangle", "nat"),
}
"""``enum nf_ip_hook_priorities`` (linux/netfilter_ipv4.h)."""


class _Host:
    """The world, as rules ask it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        return self._world.in_set(name, flags, packet)

    def is_local(self, address: IPAddress) -> bool | None:
        return is_local(self._world, address)

    def address_of(self, device: str, version: int) -> IPAddress | None:
        known = self._world.devices.get(device)
        usable = [a for a in known.addresses if a.version == version] if known is not None else []
        return next((a for a in usable if not a.is_link_local), next(iter(usable), None))


def hook(journey: Journey, world: World, name: str, packet: Packet, what: str = "") -> Packet | None:
    """Send a packet through a hook; gives it as it comes out, None where it ends there.

    Rules of the nat table are asked for the first packet of a connection only; what they have decided holds for the
    rest of it. ``what`` names a packet that is not the one the journey is about.
    """
    where = f"{name}{f' ({what})' if what else ''}"
    silent = True
    for table in TABLES[name]:
        if table == "nat" and packet.state != "NEW":
            continue
        for named in world.rules(packet.version):
            done = walk(named.rules, table, name, packet, _Host(world))
            if done is None:
                continue
            told = _tell(journey, f"{where}, {table}", named, done, packet)
            silent = silent and not told
            if not done.passes:
                return None
            packet = done.packet
    silent = not _native(journey, world, where, name, packet) and silent
    if silent:
        journey.add(where, "no rule takes it")
    return packet


def _tell(journey: Journey, where: str, named: NamedRules, done: Walk, before: Packet) -> bool:
    """Whether there is anything to tell."""
    evidence = [f"{named.name}: {v.rule} — {'' if v.certain else 'perhaps: '}{v.effect}" for v in done.visits]
    if not done.passes:
        if done.by is None:
            evidence.append(f"{named.name}: -t {done.table} -P {done.hook} DROP")
        by = f"the rule {done.by.text}" if done.by is not None else f"the policy of {done.hook} is DROP"
        journey.add(where, f"{by}: {done.verdict.value}", Outcome.DROP, tuple(evidence), done.conditions)
        return True
    if not done.visits:
        return False
    changes = [v.effect for v in done.visits if v.certain and ": " in v.effect]
    changed = done.packet != before
    text = (
        "; ".join(changes) if changed else "nothing that stops or changes it for sure" if done.conditions else "passes"
    )
    if done.verdict is Verdict.QUEUE:
        text = "a program in user space decides (NFQUEUE)"
    queue = (f"the program behind {done.by.target}",) if done.verdict is Verdict.QUEUE and done.by else ()
    outcome = Outcome.CHANGE if changed else Outcome.PASS
    journey.add(where, text, outcome, tuple(evidence), (*done.conditions, *queue))
    return True


def _native(journey: Journey, world: World, where: str, name: str, packet: Packet) -> bool:
    families = {"inet", "ip" if packet.version == 4 else "ip6"}
    found = [c for c in world.native if c.hook == name.lower() and c.family in families]
    for chain in found:
        title = f"nft table {chain.family} {chain.table} chain {chain.name}"
        evidence = tuple(f"{title}: {rule}" for rule in chain.rules)
        if chain.rules or chain.policy == "drop":
            text = f"{title} (policy {chain.policy}) has {len(chain.rules)} rules, which are not judged here"
            journey.add(where, text, Outcome.UNSURE, evidence, (f"the rules of {title}",))
    return bool(found)
