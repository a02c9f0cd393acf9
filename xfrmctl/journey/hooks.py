"""One hook of netfilter for one packet: every table that stands there, in the order of its priority."""

from collections.abc import Callable
from functools import partial

from xfrmctl.journey.steps import Journey, Outcome
from xfrmctl.journey.world import NamedRules, World, is_local
from xfrmctl.model.address import IPAddress
from xfrmctl.netfilter.nftwalk import walk_nft
from xfrmctl.netfilter.packet import Host, Packet
from xfrmctl.netfilter.walk import Verdict, Walk, walk

TABLES = {
    "PREROUTING": {"raw": -300, "mangle": -150, "nat": -100},
    "INPUT": {"mangle": -150, "filter": 0, "security": 50, "nat": 100},
    "FORWARD": {"mangle": -150, "filter": 0, "security": 50},
    "OUTPUT": {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50},
    "POSTROUTING": {"mangle": -150, "nat": 100},
}
"""``enum nf_ip_hook_priorities`` (linux/netfilter_ipv4.h): chains of nf_tables stand between them by their own."""


class Local:
    """The world, as rules ask it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        """Whether a set has the packet."""
        return self._world.in_set(name, flags, packet)

    def is_local(self, address: IPAddress) -> bool | None:
        """Whether it is an address of the gateway."""
        return is_local(self._world, address)

    def address_of(self, device: str, version: int) -> IPAddress | None:
        """The first address of a device, one of its link only where there is no other."""
        known = self._world.devices.get(device)
        usable = [a for a in known.addresses if a.version == version] if known is not None else []
        return next((a for a in usable if not a.is_link_local), next(iter(usable), None))


def hook(journey: Journey, world: World, name: str, packet: Packet, what: str = "") -> Packet | None:
    """Send a packet through a hook; gives it as it comes out, None where it ends there.

    NAT is asked for the first packet of a connection only; what it has decided holds for the rest of it. ``what`` names
    a packet that is not the one the journey is about.
    """
    where = f"{name}{f' ({what})' if what else ''}"
    silent = True
    for label, program, ask in _chains(world, name, packet):
        done = ask(packet)
        if done is None:
            continue
        silent = not _tell(journey, f"{where}, {label}", program, done, packet) and silent
        if not done.passes:
            return None
        packet = done.packet
    if silent:
        journey.add(where, "no rule takes it")
    return packet


Ask = Callable[[Packet], Walk | None]


def _chains(world: World, name: str, packet: Packet) -> list[tuple[str, str, Ask]]:
    """Everything that stands at a hook, in its order: a label, who keeps it, and how it is asked."""
    host = Local(world)
    first = packet.state == "NEW"
    found: list[tuple[int, str, str, Ask]] = []
    for table, priority in TABLES[name].items():
        for named in world.rules(packet.version) if first or table != "nat" else ():
            found.append((priority, table, named.name, partial(_iptables, named, table, name, host)))
    for chain in world.native.at(name.lower(), packet.version):
        if first or chain.kind != "nat":
            label = f"{chain.name[1]} {chain.name[2]}"
            found.append((chain.priority, label, "nft", partial(walk_nft, world.native, chain, host=host)))
    return [(label, program, ask) for _, label, program, ask in sorted(found, key=lambda entry: entry[0])]


def _iptables(named: NamedRules, table: str, name: str, host: Host, packet: Packet) -> Walk | None:
    return walk(named.rules, table, name, packet, host)


def _tell(journey: Journey, where: str, program: str, done: Walk, before: Packet) -> bool:
    """Whether there is anything to tell."""
    evidence = [f"{program}: {v.rule} — {'' if v.certain else 'perhaps: '}{v.effect}" for v in done.visits]
    if not done.passes:
        if done.by is None:
            evidence.append(f"{program}: {done.table} {done.hook}: the policy is DROP")
        by = f"the rule {done.by.text}" if done.by is not None else f"the policy of {done.hook} is DROP"
        journey.add(where, f"{by}: {done.verdict.value}", Outcome.DROP, tuple(evidence), done.conditions)
        return True
    if not done.visits:
        return False
    effects = [v.effect for v in done.visits if v.certain and ": " in v.effect]
    changed = done.packet != before
    text = "; ".join(effects) if changed else "nothing stops or changes it for sure" if done.conditions else "passes"
    if done.verdict is Verdict.QUEUE:
        text = "a program in user space decides (NFQUEUE)"
    queue = (f"the program behind {done.by.text}",) if done.verdict is Verdict.QUEUE and done.by is not None else ()
    outcome = Outcome.CHANGE if changed else Outcome.PASS
    journey.add(where, text, outcome, tuple(evidence), (*done.conditions, *queue))
    return True
