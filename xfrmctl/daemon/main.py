"""Composition root of the daemon: everything is made here, started in this order, stopped in the reverse one.

Policies come before sockets, and blocks before anything is torn down: no packet of a configured child leaves in
clear at start or stop (DESIGN 3.11).
"""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from xfrmctl import __version__
from xfrmctl.config.load import Configuration, load
from xfrmctl.config.problem import ConfigError
from xfrmctl.control.schema import ReloadResult
from xfrmctl.control.server import ControlServer
from xfrmctl.daemon import clock, logs, look, lost, memory, preview, restart, routes, secret
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.echo_sockets import EchoSockets
from xfrmctl.daemon.garbage import Garbage
from xfrmctl.daemon.handlers import DaemonHandlers
from xfrmctl.daemon.icmp import IcmpWatch
from xfrmctl.daemon.inherit import Inheritance
from xfrmctl.daemon.keylog import KeyLog
from xfrmctl.daemon.lifecycle import live, notify, reloading
from xfrmctl.daemon.network import NetworkWatch
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.pathwatch import PathWatch
from xfrmctl.daemon.reconcile import FULL_INTERVAL_S, Reconciler
from xfrmctl.daemon.runtime import Runtime
from xfrmctl.daemon.scrape import GatewaySource, SaAccounts, metrics_of
from xfrmctl.daemon.snapshot import DaemonState, ObservedGateway, SnapshotBuilder
from xfrmctl.daemon.story import Story
from xfrmctl.daemon.tally import Tally
from xfrmctl.daemon.traffic import TrafficTable
from xfrmctl.daemon.tunnelwatch import watching
from xfrmctl.daemon.udp import UdpPorts
from xfrmctl.daemon.web import WebServers
from xfrmctl.ike.config import EngineConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.events import Disturbed, Lost
from xfrmctl.kernel.ports import EventSource
from xfrmctl.kernel.system import LinuxKernel
from xfrmctl.model.address import Endpoint
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.events import ConfigReloaded, Event, IcmpErrorJudged
from xfrmctl.model.path import Path as PmtuPath
from xfrmctl.model.sa import SaCounters, SaId
from xfrmctl.pmtu.inputs import IcmpReport

GOODBYE_S = 1.0
"""How long a stop waits for the peers to acknowledge our deletes."""

WATCH_S, WATCH_SHARE = 0.25, 0.05
"""How often paths are looked at, seconds; less often where that would take more than this share of the time.

TCP repeats itself in ever longer intervals: what is found in its first second helps it at its third repetition, what is
found a moment later only two seconds after that.
"""

SWITCH_S = 0.0005
"""How long a worker thread keeps the interpreter while the loop wants it: a message needs it once for each system call
that is made for it, and the usual 5 ms would come on top of each."""

REMEMBER_S = 300.0
"""How often what is believed of paths is written down, beside each stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says. ``log_format``: story, json or journal; ``state`` is what must outlive a crash."""

    config: Path
    control: Path
    log_format: str = "story"
    log_level: str = "info"
    state: Path = Path("/var/lib/xfrmctl")


class Daemon:
    """One gateway."""

    def __init__(self, options: Options, configuration: Configuration, loop: asyncio.AbstractEventLoop) -> None:
        self.configuration = self._started_with = configuration
        self.kernel = LinuxKernel(configuration.gateway.firewall, configuration.engine.nat_t_port)
        self.bus = Bus()
        self._log = structlog.get_logger("daemon")
        self._secret = secret.kept(options.state, clock.entropy, self._log.warning)
        self.engine = IkeEngine(self.resolved(configuration), clock.entropy, clock.wall)
        found = configuration.gateway
        self._echoes = EchoSockets(loop, self._echoed)
        echo = self._echoes, clock.entropy
        self.paths = PathKeeper(self.engine, self.kernel, found.path_mtu, loop.time, found.path_mtu_of, echo)
        self.reconciler = Reconciler(self.engine, self.kernel, self.bus, self.paths, configuration.gateway.policies)
        self.paths.changed, self.paths.poisoned = self.reconciler.path_changed, self.reconciler.path_poisoned
        self._state = options.state
        self.paths.engine.recall(memory.read(options.state, clock.wall()), loop.time())
        self._icmp = IcmpWatch(
            self.engine,
            self.bus,
            self.reconciler.guard,
            self.paths.engine.mtu,
            configuration.gateway.icmp,
            self.reconciler.faults,
        )
        self._ports: UdpPorts | None = None
        self.runtime = Runtime(self.engine, self.kernel, self._send, self.bus, loop, self.paths)
        self._path_watch = PathWatch(self.paths, self.kernel, self.runtime)
        self.inherited = Inheritance(self.engine, self.kernel, loop)
        self.reconciler.narrowed = lambda reqids: self.runtime.step(partial(self.engine.clear_df, reqids))
        self._loop = loop
        handlers = DaemonHandlers(self)
        self._control = ControlServer(handlers, options.control, configuration.gateway.control_group)
        self._metrics = metrics_of(self)
        self.runtime.accounts = SaAccounts(self.kernel, self._metrics.ledger, self._metrics.counters.stepped)
        self._web = WebServers(self._metrics, GatewaySource(self), handlers.diagnose)
        self._events: EventSource | None = None
        self._network: NetworkWatch | None = None
        self._lost = asyncio.Event()
        self._tunnels = watching(self.engine, self.kernel, self.paths, self.reconciler, self.bus.publish, loop)
        self._tally, self._garbage = Tally(), Garbage()
        self.story = Story(self.engine, self.bus, clock.wall)
        self.keys = KeyLog(self.engine, lambda: self.configuration.gateway.key_log, loop.time)
        self.keys.trouble = lambda text: self._log.error(
            "no more keys are logged; mend it, and ask again with --keys", why=text
        )
        self.runtime.installed = self.keys.installed
        self.traffic = TrafficTable(self.engine, self.reconciler, self._tally)
        self.builder = SnapshotBuilder(self.engine, self.reconciler, self.paths, self._tunnels, self._tally)
        self.started, self._started_wall = loop.time(), clock.wall()
        self._reload_error = ""
        self._tasks: set[asyncio.Task[None]] = set()
        loop.set_exception_handler(lambda _, context: self._fault(context))
        storyteller = logs.Storyteller(options.log_format, options.log_level)
        watchers = (
            self._tally,
            self.story,
            self.keys,
            self.paths,
            self.reconciler,
            self._icmp,
            self._tunnels.keepalives,
            self.inherited,
            self._garbage,
        )
        for listener in (self._judged, *(each.observe for each in (storyteller, self._metrics, *watchers))):
            self.bus.subscribe(listener)

    # -- configuration

    def resolved(self, configuration: Configuration) -> EngineConfig:
        """The engine's configuration with local addresses filled in from the routes where none is written."""
        connections = {
            name: replace(c, local=routes.local_address(c.remote), roams=True)
            if c.local is None and c.remote is not None
            else c
            for name, c in configuration.engine.connections.items()
        }
        makes = configuration.gateway.crash_detection
        engine = restart.on_bound_ports(self._started_with, configuration.engine)
        return replace(engine, connections=connections, qcd_secret=self._secret if makes else b"")

    @reloading
    async def reload(self) -> ReloadResult:
        """Read the file again; what has not changed is not touched, and a faulty file changes nothing."""
        try:
            newer = await asyncio.to_thread(load, self.configuration.file, self.configuration)
        except ConfigError as error:
            self._reload_error = str(error)
            self.bus.publish(ConfigReloaded(ok=False, detail=str(error)))
            return ReloadResult(ok=False, message=str(error))
        step = self.step_to(newer)
        changes, gateway = step.connections(), step.gateway()
        waiting = ", ".join(restart.pending(self._started_with, newer))
        if waiting:
            self._log.warning("takes effect at the next start; systemctl restart xfrmctl", keys=waiting)
        self.configuration, self._reload_error = newer, ""
        self.reconciler.entries, self._icmp.policies = newer.gateway.policies, newer.gateway.icmp
        self.runtime.step(lambda now: self.engine.reload(step.resolved, now))
        self.runtime.step(self.engine.handle_network)
        self.runtime.step(partial(self.paths.configure, newer.gateway.path_mtu, newer.gateway.path_mtu_of))
        await lost.look(self.engine.ike_sas(), self.kernel, self.runtime)
        self._icmp.start()
        self._tunnels.configure()
        await self.reconciler.everything()
        result = preview.reloaded(changes, gateway, waiting)
        self.bus.publish(ConfigReloaded(ok=True, detail=result.message))
        return result

    def step_to(self, newer: Configuration) -> preview.Step:
        """The step that a reload takes."""
        return preview.Step(self.engine, self._started_with, self.configuration, newer, self.resolved(newer))

    # -- state

    def now(self) -> float:
        """Monotonic seconds."""
        return self._loop.time()

    async def look(self, began: float, sad: dict[SaId, SaCounters]) -> ObservedGateway:
        """The kernel now; ``sad`` is what SAs have carried, read from ``began`` on."""
        return await look.around(self.kernel, sad, self.configuration, self._loop.time, began)

    def state(self) -> DaemonState:
        """What the daemon knows of itself."""
        return DaemonState(self.configuration, self._started_wall, self.started, self._reload_error)

    # -- life

    def _send(self, local: Endpoint, remote: Endpoint, data: bytes, *, whole: bool = False) -> str | None:
        if self._ports is None:
            return "the sockets are closed"
        return self._ports.send(local, remote, data, whole=whole)

    def _kernel_readable(self) -> None:
        assert self._events is not None
        for event in self._events.read():
            if isinstance(event, Lost | Disturbed):
                self.reconciler.look_again()
                self._lost.set()
            else:
                self.runtime.kernel_event(event)

    async def _audit(self) -> None:
        """From time to time, and where somebody was at them, look if the SAs still stand; and tidy up."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), FULL_INTERVAL_S)
            self._lost.clear()
            await lost.look(self.engine.ike_sas(), self.kernel, self.runtime)
            self._garbage.tidy()

    def _judged(self, event: Event) -> None:
        """An error about a packet of ours is a report for the path-MTU engine, even if the kernel must not see it."""
        if isinstance(event, IcmpErrorJudged) and event.path is not None:
            report = IcmpReport(event.path, event.mtu, event.quoted)
            self.runtime.step(partial(self.paths.engine.handle_icmp, report))

    def _echoed(self, path: PmtuPath, secret: bytes, length: int) -> None:
        self.runtime.step(partial(self.paths.esp.echoes.heard, path, secret, length))

    def _network_changed(self, address_gone: bool) -> None:
        self.reconciler.network_changed(address_gone=address_gone)
        self.runtime.step(self.engine.handle_network)
        self._background(self._path_watch.look_at_routes())

    def _remember(self) -> None:
        """Write down what is believed of the paths."""
        try:
            memory.write(self._state, self.paths.engine.remember(self._loop.time()), clock.wall())
        except OSError as error:
            text = "beliefs about paths are not kept over a restart; make the directory writable"
            self._log.warning(text, directory=str(self._state), why=str(error))

    async def _watch_paths(self) -> None:
        """Look at what SAs carry and where routes lead. Ends by cancellation."""
        remember_at = self._loop.time() + REMEMBER_S
        while True:
            began = self._loop.time()
            with suppress(XfrmctlError):  # the kernel would not say: the next time it may
                if self.paths.any:
                    await self._path_watch.look()
                self._tunnels.look()
            if began >= remember_at:
                remember_at = began + REMEMBER_S
                self._remember()
            cost = self._loop.time() - began
            await asyncio.sleep(max(WATCH_S, cost / WATCH_SHARE))

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        """A task that ends by a fault of ours must not end in silence."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault({"exception": error, "message": "a background task has failed"})

    def _fault(self, context: dict[str, Any]) -> None:
        """A fault of ours: it is in the log with its traceback, and in ``show`` until the next start."""
        error = context.get("exception")
        self._log.error(context["message"], exc_info=error)
        self.reconciler.faults.append(f"internal error: {error!r}; please report it with the log of this minute")

    async def start(self) -> None:
        """Come up: API, policies, sockets, negotiations."""
        await self._control.start()
        self._icmp.start()
        self._tunnels.configure()
        await self.reconciler.everything()
        inherited = self.inherited.take()
        engine = self.configuration.engine
        self._ports = UdpPorts(engine.ike_port, engine.nat_t_port, self.runtime.datagram, self.paths.underlays.misled)
        self._events = self.kernel.open_events()
        self._loop.add_reader(self._events.fileno(), self._kernel_readable)
        self._network = NetworkWatch(self._loop, self._network_changed)
        await self._web.start(self.configuration.gateway)
        self._ports.listen(self._loop)
        self._background(self.reconciler.run())
        self._background(self._audit())
        self._background(self._watch_paths())
        self.runtime.step(self.engine.start_all)
        self.runtime.step(self.inherited.resume)
        sys.setswitchinterval(SWITCH_S)
        self._garbage.start()
        self._log.info("ready", version=__version__, connections=len(engine.connections), inherited_sas=inherited)
        notify(f"READY=1\nSTATUS={len(engine.connections)} connections configured")
        live(self._loop)

    async def protect(self) -> tuple[str, ...]:
        """Put up what stays behind when a daemon stops, and nothing else; gives what the kernel has refused of it."""
        await self.reconciler.everything(stopping=True)
        self.kernel.close()
        return self.reconciler.problems

    async def stop(self) -> None:
        """Go: blocks first, then the SAs and a word to every peer, then everything else."""
        self._ending()
        await self.reconciler.everything(stopping=True)
        self.inherited.drop()
        self.runtime.step(self.engine.shutdown)
        await self._goodbye()
        await self.close()
        self._log.info("stopped")

    async def leave(self) -> None:
        """Go in favour of a daemon that comes at once: SAs and policies stay, and nobody is told."""
        self._ending()
        await self.close()
        self._log.info("left to a successor; policies and SAs stay in the kernel")

    def _ending(self) -> None:
        notify("STOPPING=1")
        for task in tuple(self._tasks):
            task.cancel()
        self._remember()

    async def _goodbye(self) -> None:
        """Wait a moment for the peers to acknowledge our deletes."""
        gone = asyncio.Event()

        def look(_: Event) -> None:
            if self.engine.idle:
                gone.set()

        self.bus.subscribe(look)
        if not self.engine.idle:
            with suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), GOODBYE_S)

    async def close(self) -> None:
        """Release what is held; the kernel keeps what it has."""
        self.runtime.stop()
        self._echoes.stop()
        self._icmp.stop()
        self._tunnels.close()
        await self._web.stop()
        await self._control.stop()
        if self._events is not None:
            self._loop.remove_reader(self._events.fileno())
            self._events.close()
        if self._network is not None:
            self._network.close()
        if self._ports is not None:
            self._ports.close(self._loop)
            self._ports = None
        self.kernel.close()
