"""A kernel in memory, with the ports of the real one. It asserts misuse and renders itself as text.

What the real kernel would answer with an errno because *the world* is so (an SPI in use, a module missing) is a
refusal here, too, on demand: ``refuse_next``. What it could only answer because *we* are wrong (an SA installed
twice, a key deleted and put back, an object without our mark) raises :class:`Misuse` and fails the test.
"""

from collections.abc import Callable, Collection, Sequence

from xfrmctl.kernel import apply
from xfrmctl.kernel.desired import (
    Actual,
    ClampRule,
    Desired,
    DfRule,
    Element,
    IcmpGuard,
    Interface,
    Policy,
    PolicyKey,
    Route,
    TunnelInterface,
)
from xfrmctl.kernel.events import Expire, KernelEvent
from xfrmctl.kernel.fake_events import FakeEvents
from xfrmctl.kernel.fake_sad import FakeSad, Misuse
from xfrmctl.kernel.firewall.clamp import pairs_of
from xfrmctl.kernel.ownership import PEER_TABLE, is_our_reqid, is_ours
from xfrmctl.kernel.plan import (
    AddClamps,
    AddInterface,
    ChangeDf,
    ClampOperation,
    DeleteInterface,
    DeletePolicy,
    DeleteRoute,
    InterfaceOperation,
    Plan,
    PolicyOperation,
    RouteOperation,
    SetIcmpGuard,
    diff,
    holding,
)
from xfrmctl.kernel.ports import CleanupReport, ConvergeReport, TunnelCounters, Underlay
from xfrmctl.model.address import IPAddress
from xfrmctl.model.snapshot import ClampInfo, ReassemblyInfo


class FakeKernel(FakeSad):
    """The state is public: tests look at it, and put foreign objects into it."""

    def __init__(self) -> None:
        super().__init__()
        self.policies: dict[PolicyKey, Policy] = {}
        self.interfaces: dict[str, Interface] = {}
        self.routes: dict[tuple[object, ...], Route] = {}
        self.members: set[Element] = set()
        self.rules: set[ClampRule] = set()
        self.icmp: IcmpGuard | None = IcmpGuard()
        self.df: frozenset[DfRule] = frozenset()
        self.statistics: dict[str, int] = {}
        self.ways: dict[IPAddress, Underlay] = {}
        self.own: tuple[IPAddress, ...] = ()
        self.detours: dict[IPAddress, Underlay] = {}
        self.looped: dict[str, int] = {}
        self.foreign_policies: set[PolicyKey] = set()
        self.foreign_routes: set[tuple[object, ...]] = set()
        self.after_each_step: Callable[[], None] = lambda: None
        self._deleted: set[PolicyKey] = set()
        self._listeners: list[FakeEvents] = []

    # What tests do

    def emit(self, event: KernelEvent) -> None:
        """Let an event reach all listeners. A hard expiry takes the SA along, as in the kernel."""
        if isinstance(event, Expire) and event.hard:
            self._forget(event.id)
        for listener in self._listeners:
            listener.put(event)

    def render(self) -> str:
        """All of our state as text, one object a line, sorted."""
        sas = [
            f"sa {sa.direction.value} {sa.source} -> {sa.destination} spi {sa.spi:#010x} reqid {sa.reqid:#x}"
            f" {sa.suite}" + (f" if_id {sa.if_id:#x}" if sa.if_id else "")
            for sa in self.sas.values()
        ]
        state = Desired(
            self.policies,
            self.interfaces,
            frozenset(self.routes.values()),
            frozenset(pairs_of(self.members)),
            self.icmp,
            self.df,
        )
        rules = [f"clamp rule {rule}" for rule in self.rules]
        return "\n".join(sorted([*sas, *rules, *state.render().splitlines()]))

    # Desired state

    def converge(self, desired: Desired) -> ConvergeReport:
        """Read, compare, mend."""
        self._deleted.clear()
        return apply.converge(self, desired)

    def change(self, before: Desired, after: Desired) -> ConvergeReport:
        """Bring ``before`` to ``after``."""
        self._deleted.clear()
        return apply.execute(self, diff(holding(before), after))

    def underlay(self, local: IPAddress | None, remote: IPAddress) -> Underlay | None:
        """What the test has put into ``ways``."""
        return self.ways.get(remote)

    def addresses(self) -> tuple[IPAddress, ...]:
        """What the test has put into ``own``."""
        return self.own

    def detour(self, remote: IPAddress, avoid: Collection[str]) -> Underlay | None:
        """What the test has put into ``detours``."""
        return self.detours.get(remote)

    def rules_stand(self, versions: Collection[int]) -> bool:
        """Nobody takes them away here."""
        return bool(versions)

    def tunnels(self) -> dict[str, TunnelCounters]:
        """The tunnel devices, with what the test has put into ``looped``."""
        found = [i for i in self.interfaces.values() if isinstance(i, TunnelInterface)]
        return {i.name: TunnelCounters(i.up, i.mtu, self.looped.get(i.name, 0), 0) for i in found}

    def plan(self, desired: Desired) -> Plan:
        """What ``converge`` would do."""
        return diff(self.actual(), desired)

    def actual(self) -> Actual:
        """What stands and is ours."""
        routes = frozenset(self.routes.values())
        state = Desired(dict(self.policies), dict(self.interfaces), routes, icmp=self.icmp, df=self.df)
        return Actual(state, frozenset(self.members), frozenset(self.rules))

    def xfrm_stat(self) -> dict[str, int]:
        """What the test has put into ``statistics``."""
        return dict(self.statistics)

    def df_counters(self) -> dict[str, int]:
        """Nothing counted."""
        return {"cleared": 0, "set": 0}

    def reassembly(self) -> list[ReassemblyInfo]:
        """None: no packets here."""
        return []

    def clamp_counters(self) -> list[ClampInfo]:
        """The rules, with nothing counted."""
        return [
            ClampInfo(
                family=rule.family,
                mss=rule.mss,
                pairs=len(pairs_of(m for m in self.members if m.rule == rule)),
                packets=0,
                bytes=0,
                standing=rule in self.rules,
            )
            for rule in sorted(self.rules | {member.rule for member in self.members})
        ]

    def cleanup(self) -> CleanupReport:
        """Remove every trace of us."""
        removed = {
            "sas": len(self.sas),
            "policies": len(self.policies),
            "interfaces": len(self.interfaces),
            "routes": len(self.routes),
            "clamp_rules": len(self.rules),
            "clamp_sets": len({member.rule for member in self.members}),
        }
        self.delete(list(self.sas))
        report = apply.execute(self, diff(self.actual(), Desired()))
        return CleanupReport(removed, report.problems)

    def open_events(self) -> FakeEvents:
        """A listener for ``emit``."""
        listener = FakeEvents()
        self._listeners.append(listener)
        return listener

    # The backend of ``apply``

    def apply_policies(self, operations: Sequence[PolicyOperation]) -> list[tuple[PolicyOperation, str]]:
        """Carry out."""
        failed: list[tuple[PolicyOperation, str]] = []
        for operation in operations:
            text = self._refused("policy") or self._policy(operation)
            if text:
                failed.append((operation, text))
            self.after_each_step()
        return failed

    def apply_interfaces(self, operations: Sequence[InterfaceOperation]) -> list[str]:
        """Carry out."""
        problems: list[str] = []
        for operation in operations:
            text = self._refused("interface")
            if text:
                problems.append(text)
            elif isinstance(operation, DeleteInterface):
                self._delete_interface(operation.old)
            else:
                self._put_interface(operation.new, fresh=isinstance(operation, AddInterface))
            self.after_each_step()
        return problems

    def apply_routes(self, operations: Sequence[RouteOperation]) -> list[tuple[RouteOperation, str]]:
        """Carry out."""
        failed: list[tuple[RouteOperation, str]] = []
        for operation in operations:
            text = self._refused("route") or self._route(operation)
            if text:
                failed.append((operation, text))
            self.after_each_step()
        return failed

    def apply_icmp(self, operations: Sequence[SetIcmpGuard]) -> list[str]:
        """Carry out."""
        for operation in operations:
            self.icmp = operation.new
            self.after_each_step()
        return []

    def apply_df(self, operations: Sequence[ChangeDf]) -> list[str]:
        """Carry out."""
        for operation in operations:
            self.df = operation.new if operation.afresh else (self.df - operation.gone) | operation.new
            self.after_each_step()
        return []

    def apply_clamps(self, operations: Sequence[ClampOperation]) -> list[str]:
        """Carry out."""
        for operation in operations:
            if isinstance(operation, AddClamps):
                self.members |= operation.elements
                self.rules |= operation.rules | {member.rule for member in operation.elements}
            else:
                self.members -= operation.elements
                self.rules -= {rule for rule in operation.rules if all(m.rule != rule for m in self.members)}
            self.after_each_step()
        return []

    def _policy(self, operation: PolicyOperation) -> str:
        if isinstance(operation, DeletePolicy):
            key = operation.old.key
            if key in self.foreign_policies:
                raise Misuse(f"{key} deleted, but it is not ours")
            if self.policies.pop(key, None) is not None:
                self._deleted.add(key)
            return ""
        new, key = operation.new, operation.new.key
        if new.template is not None and not is_our_reqid(new.template.reqid):
            raise Misuse(f"{new} without our mark")
        if key in self._deleted:
            raise Misuse(f"{key} deleted and put back: a gap")
        if operation.old is None and key in self.policies:
            raise Misuse(f"{key} added, but it is there")
        if key in self.foreign_policies:
            return f"{key}: a policy that is not ours has this selector already"
        self.policies[key] = new
        return ""

    def _put_interface(self, new: Interface, *, fresh: bool) -> None:
        if not is_ours(new.mark):
            raise Misuse(f"{new} without our mark")
        if fresh and new.name in self.interfaces:
            raise Misuse(f"{new.name} added, but it is there")
        if any(old.identity == new.identity and old.name != new.name for old in self.interfaces.values()):
            raise Misuse(f"two interfaces like {new}")
        self.interfaces[new.name] = new

    def _delete_interface(self, old: Interface) -> None:
        self.interfaces.pop(old.name, None)
        self.routes = {key: route for key, route in self.routes.items() if route.device != old.name}

    def _route(self, operation: RouteOperation) -> str:
        if isinstance(operation, DeleteRoute):
            if operation.old.key in self.foreign_routes:
                raise Misuse(f"{operation.old} deleted, but it is not ours")
            self.routes.pop(operation.old.key, None)
            return ""
        new = operation.new
        if operation.old is None and new.key in self.routes:
            raise Misuse(f"{new} added, but it is there")
        if new.key in self.foreign_routes:
            return f"route {new}: a route that is not ours has this destination and metric already"
        if new.device is not None and new.device not in self.interfaces and new.table != PEER_TABLE:
            return f"route {new}: there is no device {new.device}"
        self.routes[new.key] = new
        return ""
