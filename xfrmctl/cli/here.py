"""This gateway, as ``xfrmctl explain`` asks it: the kernel by netlink, rules and sets by their own programs."""

from collections.abc import Sequence
from pathlib import Path

from xfrmctl.journey.world import NamedRules
from xfrmctl.kernel.firewall.iptables import Ipset, Tables, active_variant
from xfrmctl.kernel.firewall.programs import FirewallError, installed, run
from xfrmctl.kernel.observe import Observer
from xfrmctl.model.address import IPAddress
from xfrmctl.model.observed import RouteLookup
from xfrmctl.netfilter.nft import NftRuleSet, parse_nft
from xfrmctl.netfilter.packet import Packet
from xfrmctl.netfilter.save import parse
from xfrmctl.netfilter.sets import element


class Here:
    """One look at the kernel; routes and sets are asked as the packet goes."""

    def __init__(self, observer: Observer) -> None:
        """Raises KernelRefusal or FirewallError where something cannot be read."""
        self._observer = observer
        self._ipset = Ipset()
        self._kinds: dict[str, str] = {}
        self.policies = observer.policies()
        self.sas = observer.sas()
        self.devices = observer.devices()
        self.defaults = observer.defaults()
        self.native = _native()
        self._rules = {version: list(_rules(version)) for version in (4, 6)}

    def route(self, packet: Packet, iif: str = "") -> RouteLookup:
        """RTM_GETROUTE for the packet as it is now."""
        return self._observer.route(
            packet.destination,
            packet.source,
            iif=iif,
            mark=packet.mark or 0,
            protocol=packet.protocol,
            ports=(packet.source_port, packet.destination_port),
        )

    def reverse(self, address: IPAddress, mark: int = 0) -> RouteLookup:
        """RTM_GETROUTE for an answer."""
        return self._observer.route(address, mark=mark)

    def rules(self, version: int) -> Sequence[NamedRules]:
        """Every variant of iptables that holds rules."""
        return self._rules[version]

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        """``ipset test``."""
        if not installed("ipset"):
            return None
        try:
            if name not in self._kinds:
                self._kinds[name] = self._ipset.kind(name)
            asked = element(self._kinds[name], flags, packet)
            return None if asked is None else self._ipset.holds(name, asked)
        except FirewallError:
            return None

    def sysctl(self, name: str) -> str | None:
        """From /proc/sys; a device's name may hold dots."""
        head, _, rest = name.partition(".conf.")
        path = Path("/proc/sys", *head.split("."))
        if rest:
            device, _, leaf = rest.rpartition(".")
            path = path / "conf" / device / leaf
        try:
            return path.read_text().strip()
        except OSError:
            return None


def _native() -> NftRuleSet:
    if not installed("nft"):
        return NftRuleSet()
    return parse_nft(run(["nft", "-j", "list", "ruleset"]), run(["nft", "-a", "list", "ruleset"]))


def _rules(version: int) -> list[NamedRules]:
    other = {"nft": "legacy", "legacy": "nft"}.get(active_variant())
    found = []
    for tables in (Tables(version), *([Tables(version, other)] if other else [])):
        if not tables.in_use():
            continue
        rules = parse(tables.everything(), version)
        if rules:
            found.append(NamedRules(tables.program("save").removesuffix("-save"), rules))
    return found
