"""The real kernel: everything of this package put together behind :class:`xfrmctl.kernel.ports.Kernel`.

Threads: the SAD, and what is asked about ways and tunnels, have sockets of their own and belong to the daemon's loop;
all the rest is guarded by one lock, so that a worker thread can converge while ``plan`` or ``clamp_counters`` wait for
their turn.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from xfrmctl.kernel import apply
from xfrmctl.kernel.desired import Actual, Desired
from xfrmctl.kernel.devices import Devices
from xfrmctl.kernel.firewall.backend import Firewall
from xfrmctl.kernel.firewall.told import Way
from xfrmctl.kernel.netlink.notifications import XfrmEvents
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.kernel.plan import Plan, diff, holding
from xfrmctl.kernel.ports import CleanupReport, ConvergeReport, EventSource, TunnelCounters, Underlay
from xfrmctl.kernel.reassembly import reassembly
from xfrmctl.kernel.sad import Sad
from xfrmctl.kernel.spd import Spd
from xfrmctl.model.address import NAT_T_PORT, IPAddress
from xfrmctl.model.errors import KernelRefusal, XfrmctlError
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import Direction, KernelSa, SaCounters, SaId, SaKeys, SaMove
from xfrmctl.model.snapshot import ClampInfo, ReassemblyInfo

XFRM_STAT = Path("/proc/thread-self/net/xfrm_stat")


class LinuxKernel:
    """The kernel of the network namespace in which the object was made."""

    def __init__(self, firewall: FirewallBackend = FirewallBackend.AUTO, encap_port: int = NAT_T_PORT) -> None:
        """Raises KernelRefusal where the kernel has no XFRM or we may not use it.

        ``firewall``: who clamps. ``encap_port``: our port of UDP encapsulation.
        """
        self._lock = Lock()
        try:
            self._sad = Sad()
            self._spd = Spd()
            self._devices = Devices()
            self._ways = Devices()
        except OSError as error:
            raise KernelRefusal(
                "open netlink",
                error.errno or 0,
                f"{error.strerror}: the kernel needs CONFIG_XFRM_USER (modprobe xfrm_user)",
            ) from error
        self._firewall = Firewall(firewall, encap_port)

    def close(self) -> None:
        """Close all sockets; what is installed stays."""
        self._sad.close()
        self._spd.close()
        self._devices.close()
        self._ways.close()
        self._firewall.close()

    # The SAD

    def install(self, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        """Add SAs, all or none. Raises KernelRefusal; those already added are then gone again."""
        self._sad.install(sas)

    def delete(self, ids: Sequence[SaId]) -> None:
        """Delete SAs; one that is gone already is no failure. Raises KernelRefusal for anything else."""
        self._sad.delete(ids)

    def move(self, moves: Sequence[SaMove]) -> None:
        """Change addresses and encapsulation ports of SAs; sequence numbers and replay windows stay."""
        self._sad.move(moves)

    def dump(self) -> dict[SaId, SaCounters]:
        """Every SA of ours with what the kernel has counted on it."""
        return self._sad.dump()

    def walk(self) -> Iterator[dict[SaId, SaCounters]]:
        """The same, some at a time: the kernel is asked for more only when more is wanted."""
        return self._sad.walk()

    def counted(self, ids: Sequence[SaId]) -> list[SaCounters]:
        """What the kernel has counted on these SAs by now; those that are gone are left out."""
        return self._sad.counted(ids)

    def gone(self, ids: Sequence[SaId]) -> list[SaId]:
        """Those of these SAs that the kernel does not have. Raises KernelRefusal."""
        return self._sad.gone(ids)

    # Desired state

    def converge(self, desired: Desired) -> ConvergeReport:
        """Read everything of ours, compare, mend."""
        with self._lock:
            self._firewall.wanted = set(desired.clamps)
            before = self._firewall.clamp_tunnels(desired.clamped_groups) if desired.clamped_groups else []
            report = apply.converge(self._backend, desired)
            if not any(route.table == PEER_TABLE for route in desired.routes):
                with suppress(KernelRefusal):  # a rule whose table is empty does no harm
                    self._devices.delete_rules()
            problems = (*before, *report.problems, *self._firewall.remove_other())
            problems = (*problems, *self._firewall.watch_errors(self._inner_ways(desired)))
            if not desired.clamped_groups:
                problems = (*problems, *self._firewall.clamp_tunnels(frozenset()))
            if desired.clamps:
                problems = (*problems, *self._firewall.warnings())
            return ConvergeReport(report.applied, problems, tuple(self._firewall.disturbances()))

    def _inner_ways(self, desired: Desired) -> dict[int, Way]:
        """For each family that tunnels carry, an address of ours in what they select, and a neighbour of it."""
        found: dict[int, Way] = {}
        own = self._devices.addresses()
        for key, policy in desired.policies.items():
            version, near = key.source.version, key.source
            if policy.template is None or key.direction is not Direction.OUT or found.get(version, (None,))[0]:
                continue
            found.setdefault(version, (None, ""))
            source = next((address for address in own if address.version == version and address in near), None)
            host = next((near[n] for n in range(1, min(4, near.num_addresses)) if near[n] != source), None)
            if source is not None and host is not None:
                underlay = self._devices.underlay(None, host)
                found[version] = ((source, host), underlay.device if underlay is not None else "")
        return found

    def change(self, before: Desired, after: Desired) -> ConvergeReport:
        """Bring ``before`` to ``after`` without reading the kernel."""
        with self._lock:
            self._firewall.wanted -= before.clamps
            self._firewall.wanted |= after.clamps
            problems = self._firewall.clamp_more_tunnels(after.clamped_groups)
            try:
                report = apply.execute(self._backend, diff(holding(before), after))
                return ConvergeReport(report.applied, (*problems, *report.problems))
            except XfrmctlError as error:
                return ConvergeReport(0, (*problems, str(error)))

    def actual(self) -> Actual:
        """What stands and is ours. Raises KernelRefusal or FirewallError."""
        with self._lock:
            return self._backend.actual()

    def underlay(self, local: IPAddress | None, remote: IPAddress) -> Underlay | None:
        """Which way packets to a peer go, our own routes apart; None where there is no way."""
        return self._ways.underlay(local, remote)

    def addresses(self) -> tuple[IPAddress, ...]:
        """Global addresses of this host, those of its devices in order. Raises KernelRefusal."""
        return self._ways.addresses()

    def detour(self, remote: IPAddress, avoid: Collection[str]) -> Underlay | None:
        """The best route to a peer in the main table that leads through none of these devices."""
        return self._ways.detour(remote, avoid)

    def rules_stand(self, versions: Collection[int]) -> bool:
        """Whether the table of routes to peers is asked. Raises KernelRefusal."""
        return self._ways.rules_stand(versions)

    def tunnels(self) -> dict[str, TunnelCounters]:
        """The tunnel devices of ours that stand. Raises KernelRefusal."""
        return {
            name: TunnelCounters(link.interface.up, link.interface.mtu, link.collisions, link.tx_errors)
            for name, link in self._ways.read_tunnels().items()
        }

    def plan(self, desired: Desired) -> Plan:
        """What ``converge`` would do. Raises KernelRefusal or FirewallError."""
        return diff(self.actual(), desired)

    @property
    def _backend(self) -> "_Backend":
        return _Backend(self._spd, self._devices, self._firewall)

    # Reports

    def xfrm_stat(self) -> dict[str, int]:
        """``/proc/net/xfrm_stat`` by name; empty where the kernel does not count."""
        try:
            text = XFRM_STAT.read_text()
        except FileNotFoundError:
            return {}
        rows = (line.split() for line in text.splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2}

    def df_counters(self) -> dict[str, int]:
        """How many packets the rules about DF have changed. Raises FirewallError."""
        with self._lock:
            return self._firewall.df_counters()

    def reassembly(self) -> list[ReassemblyInfo]:
        """What the kernel counts of IP fragments, by family."""
        return reassembly()

    def clamp_counters(self) -> list[ClampInfo]:
        """The TCPMSS rules with their counters. Raises FirewallError."""
        with self._lock:
            return self._firewall.counters()

    def open_events(self) -> EventSource:
        """Listen to acquires, expiries and mapping changes, and to what others delete of ours."""
        return XfrmEvents((self._sad.port, self._spd.port))

    def cleanup(self) -> CleanupReport:
        """Remove every trace of us; needs no memory of what was installed."""
        removed: dict[str, int] = {}
        problems: list[str] = []
        with self._lock:
            try:
                ids = list(self._sad.dump())
                self._sad.delete(ids)
                removed["sas"] = len(ids)
                actual = self._backend.actual_without_clamps()
                state = actual.state
                removed |= {
                    "policies": len(state.policies),
                    "interfaces": len(state.interfaces),
                    "routes": len(state.routes),
                }
                problems += apply.execute(self._backend, diff(actual, Desired())).problems
                removed["rules"] = self._devices.delete_rules()
            except XfrmctlError as error:
                problems.append(str(error))
            counts, more = self._firewall.cleanup()
        return CleanupReport(removed | counts, (*problems, *more))


class _Backend:
    """The parts as :class:`xfrmctl.kernel.apply.Backend`."""

    def __init__(self, spd: Spd, devices: Devices, firewall: Firewall) -> None:
        self._firewall = firewall
        self._spd = spd
        self._devices = devices
        self.apply_policies = spd.apply
        self.apply_interfaces = devices.apply_interfaces
        self.apply_routes = devices.apply_routes
        self.apply_clamps = firewall.apply
        self.apply_icmp = firewall.set_icmp
        self.apply_df = firewall.set_df

    def actual(self) -> Actual:
        members, rules = self._firewall.read()
        state = self.actual_without_clamps().state
        return Actual(replace(state, icmp=self._firewall.icmp(), df=self._firewall.df()), members, rules)

    def actual_without_clamps(self) -> Actual:
        return Actual(Desired(self._spd.read(), self._devices.read_interfaces(), self._devices.read_routes()))
