"""A gateway with thousands of tunnels that nobody has negotiated: what the daemon does for them, in a real kernel.

The IKE engine is stood in for by one that says that all its children are up, for ten thousand handshakes are another
benchmark. Everything else is the daemon's own: path-MTU engine, reconciler, the ICMP guard's table, and the kernel.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_address
from types import SimpleNamespace
from typing import Any

from tests.sim.world import child, connection
from xfrmctl.config.build import IcmpPolicy
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.icmp import IcmpWatch
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.ike.sa import ChildSa
from xfrmctl.ike.states import ChildState, IkeState
from xfrmctl.kernel.desired import Desired
from xfrmctl.kernel.ownership import if_id_for, reqid_for
from xfrmctl.kernel.ports import ConvergeReport
from xfrmctl.kernel.system import LinuxKernel
from xfrmctl.lab.topology import OUTER_A
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import Event, PeerMoved
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.path import Path
from xfrmctl.model.sa import DataPlane, SaId
from xfrmctl.pmtu.inputs import IcmpReport
from xfrmctl.pmtu.settings import PathOptions

FIRST_PEER = int(ip_address("172.18.0.1"))
FIRST_NET = int(ip_address("11.0.0.0"))
OURS = ip_address(OUTER_A[0])


@dataclass
class Tunnels:
    """In place of an IKE engine: ``count`` peers with one child each, up; the first ``devices`` by xfrm interface."""

    count: int
    devices: int = 0
    connections: dict[str, ConnectionConfig] = field(default_factory=dict)
    sas: dict[str, Any] = field(default_factory=dict)
    by_reqid: dict[int, tuple[Any, ChildSa]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = SimpleNamespace(connections=self.connections)
        self.peers = SimpleNamespace(reqids=())
        self.probes = SimpleNamespace(find=self.sas.get, grid=lambda _: (0, 1))
        template = child()
        (suite,) = template.esp[0].suites()
        for number in range(1, self.count + 1):
            self._add(number, suite)

    def _add(self, number: int, suite: Any) -> None:
        net = str(IPv4Network((FIRST_NET + (number << 8), 24)))
        more: dict[str, Any] = {}
        if number <= self.devices:
            more = {"dataplane": DataPlane.INTERFACE, "interface": f"xfc{number}", "if_id": if_id_for(number)}
        peer = ip_address(FIRST_PEER + number)
        config: ChildConfig = child("lan", "10.1.1.0/24", net, reqid=reqid_for(number), **more)
        one = connection(str(OURS), str(peer), config, name=f"net{number}")
        name = f"net{number}#{number}"
        sa = ChildSa(
            config=config,
            reqid=config.reqid,
            suite=suite,
            inbound=SaId(OURS, config.protocol, 0x10000000 + number),
            outbound=SaId(peer, config.protocol, 0x20000000 + number),
            local_ts=config.local_ts,
            remote_ts=config.remote_ts,
            encap=None,
            initiator=True,
            created_at=0.0,
            state=ChildState.INSTALLED,
        )
        ike = SimpleNamespace(name=name, connection=one.name, config=one, state=IkeState.ESTABLISHED, children=[sa])
        ike.local, ike.remote = Endpoint(OURS, 500), Endpoint(peer, 500)
        self.connections[one.name], self.sas[name], self.by_reqid[config.reqid] = one, ike, (ike, sa)

    def newest_child(self, reqid: int) -> tuple[Any, ChildSa] | None:
        """As the engine's."""
        return self.by_reqid.get(reqid)

    def configured(self, reqid: int) -> tuple[str, ChildConfig | None]:
        """As the engine's."""
        found = self.by_reqid.get(reqid)
        return (found[0].connection, found[1].config) if found is not None else ("", None)

    def ike_sas(self) -> list[Any]:
        """As the engine's."""
        return list(self.sas.values())


class WatchedKernel(LinuxKernel):
    """The kernel; tells when a change has been carried out."""

    def __init__(self, firewall: FirewallBackend, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(firewall)
        self._loop = loop
        self.changed = asyncio.Event()

    def change(self, before: Desired, after: Desired) -> ConvergeReport:
        """As the kernel's."""
        report = super().change(before, after)
        assert report.problems == (), report.problems
        self._loop.call_soon_threadsafe(self.changed.set)
        return report


class Crowd:
    """The daemon's parts, put together as the daemon does it. To be made and used in the gateway's namespace."""

    def __init__(self, count: int, firewall: FirewallBackend, *, devices: int = 0) -> None:
        self.loop = asyncio.get_running_loop()
        self.tunnels = Tunnels(count, devices)
        engine: Any = self.tunnels
        self.kernel = WatchedKernel(firewall, self.loop)
        self.bus = Bus()
        self.paths = PathKeeper(engine, self.kernel, PathOptions(probe=False), self.loop.time)
        self.reconciler = Reconciler(engine, self.kernel, self.bus, self.paths)
        self.paths.changed, self.paths.poisoned = self.reconciler.path_changed, self.reconciler.path_poisoned
        self.guard = IcmpWatch(
            engine,
            self.bus,
            self.reconciler.guard,
            self.paths.engine.mtu,
            {4: IcmpPolicy.VALIDATE, 6: IcmpPolicy.VALIDATE},
            self.reconciler.faults,
        )
        for listener in (self.paths.observe, self.reconciler.observe, self.guard.observe):
            self.bus.subscribe(listener)

    async def start(self) -> None:
        """Open all paths, and bring the kernel to what is wanted."""
        for name, sa in self.tunnels.sas.items():
            self.paths.observe(PeerMoved(connection="", ike=name, reqids=(), old=sa.remote, new=sa.remote))
        self._drain()
        self.guard.start()
        await self.reconciler.everything()
        assert self.reconciler.problems == (), self.reconciler.problems
        self._task = self.loop.create_task(self.reconciler.run())
        await asyncio.sleep(0)

    def _drain(self) -> None:
        while items := self.paths.drain():
            for item in items:
                if isinstance(item, Event):
                    self.bus.publish(item)
                else:
                    self.paths.executors[type(item)](item)

    def path(self, number: int) -> Path:
        """The path of a tunnel, from 1."""
        return Path(OURS, ip_address(FIRST_PEER + number), 0)

    def hear(self, numbers: Sequence[int], mtu: int) -> None:
        """Errors have come that say what the paths of these tunnels carry, bytes; less than before."""
        for number in numbers:
            self.paths.engine.handle_icmp(IcmpReport(self.path(number), mtu, 1500), self.loop.time())
        self._drain()

    async def applied(self) -> None:
        """Wait until a change has been carried out."""
        await self.kernel.changed.wait()
        self.kernel.changed.clear()

    async def stop(self) -> None:
        """End; what stands in the kernel is taken away."""
        self._task.cancel()
        self.guard.stop()
        assert self.kernel.cleanup().problems == ()
        self.kernel.close()
