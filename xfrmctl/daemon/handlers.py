"""What the control API may ask of the daemon."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xfrmctl.config.load import load
from xfrmctl.config.problem import ConfigError
from xfrmctl.control.schema import ActionResult, NameList, PlanResult, ReloadResult, RequestError, unknown_name
from xfrmctl.daemon import diagnosis, glance
from xfrmctl.daemon.clock import wall
from xfrmctl.daemon.keylog import left_out
from xfrmctl.daemon.snapshot import Observed, failure_info
from xfrmctl.daemon.status import carried
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.model.events import ChildSaInstalled, ChildSaRekeyed, Event, IkeSaRekeyed, NegotiationFailed
from xfrmctl.model.failure import Failure
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.selection import ALL_EVENTS, EVERYTHING, EventSelection, Selection
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot
from xfrmctl.model.traffic import Traffic
from xfrmctl.model.words import duration

if TYPE_CHECKING:
    from xfrmctl.daemon.main import Daemon


class DaemonHandlers:
    """Implements ``control.server.Handlers`` on a running daemon."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._diagnosing = asyncio.Lock()

    async def snapshot(self, wanted: Selection = EVERYTHING) -> Snapshot:
        """The state now of what is wanted."""
        return await glance.gateway(self._daemon, wanted)

    async def traffic(self, wanted: Selection) -> Traffic:
        """One look at the counters of what is wanted."""
        daemon, pacer = self._daemon, Pacer()
        began = daemon.now()
        sad = await carried(daemon.kernel, pacer)
        seen = Observed(now=began, wall=wall(), began=began, sad=sad)
        found = await daemon.traffic.look(wanted, seen, daemon.kernel.xfrm_stat(), began - daemon.started, pacer)
        await pacer.forget(sad)
        return found

    async def names(self) -> NameList:
        """What is configured."""
        connections = self._daemon.engine.config.connections
        return NameList(connections={name: [c.name for c in found.children] for name, found in connections.items()})

    async def connection(self, name: str) -> ConnectionInfo:
        """One connection's state now."""
        found = await glance.connection(self._daemon, name)
        if found is None:
            raise unknown_name("connection", name, self._daemon.engine.config.connections)
        return found

    def _children(self, connection: str, child: str | None) -> set[str]:
        connections = self._daemon.engine.config.connections
        if connection not in connections:
            raise unknown_name("connection", connection, connections)
        known = [c.name for c in connections[connection].children]
        if child is None:
            return set(known)
        if child not in known:
            raise unknown_name("child", child, known)
        return {child}

    def _up(self, connection: str) -> set[str]:
        sas = self._daemon.engine.ike_sas(connection)
        return {c.config.name for sa in sas for c in sa.children if c.installed}

    async def up(self, connection: str, child: str | None, timeout_s: float) -> ActionResult:
        """Ask for children and wait until they stand, one attempt has failed, or time is up."""
        wanted = self._children(connection, child)
        if self._daemon.engine.config.connections[connection].remote is None:
            raise RequestError(
                f"connection {connection} has no remote.address", "only the peer can bring it up", status=409
            )
        failures: list[Failure] = []
        changed = asyncio.Event()

        def observe(event: Event) -> None:
            if isinstance(event, NegotiationFailed | ChildSaInstalled) and event.connection == connection:
                if isinstance(event, NegotiationFailed) and event.initiator:
                    failures.append(event.failure)
                changed.set()

        unsubscribe = self._daemon.bus.subscribe(observe)
        try:
            engine = self._daemon.engine
            self._daemon.runtime.step(lambda now: engine.initiate(connection, child, now))
            async with asyncio.timeout(timeout_s):
                while not failures and not wanted <= self._up(connection):
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            missing = ", ".join(sorted(wanted - self._up(connection)))
            return ActionResult(
                ok=False,
                message=f"{missing} not up after {timeout_s:.0f} s; still trying: see `xfrmctl show {connection}`",
            )
        finally:
            unsubscribe()
        if failures:
            failure = failures[0]
            return ActionResult(ok=False, message=failure.text, failure=failure_info(failure, wall()))
        await self._daemon.reconciler.changed()
        return ActionResult(ok=True, message=f"{connection}: {', '.join(sorted(wanted))} up")

    async def down(self, connection: str, child: str | None) -> ActionResult:
        """Take children down and keep them down."""
        names = self._children(connection, child)
        was = names & self._up(connection)
        engine = self._daemon.engine
        self._daemon.runtime.step(lambda now: engine.terminate(connection, child, now))
        children = engine.config.connections[connection].children
        self._daemon.inherited.drop([each.reqid for each in children if each.name in names])
        await self._daemon.reconciler.changed()
        text = f"{', '.join(sorted(was))} taken down" if was else "was not up"
        return ActionResult(ok=True, message=f"{connection}: {text}; `xfrmctl up {connection}` brings it back")

    async def rekey(self, connection: str, child: str | None, timeout_s: float) -> ActionResult:
        """Renew keys and wait until the successors stand."""
        names = self._children(connection, child)
        engine = self._daemon.engine
        up = self._up(connection)
        if not engine.ike_sas(connection) or (child is not None and not names <= up):
            raise RequestError(f"{child or connection} is not up", "there are no keys to renew", status=409)
        done = asyncio.Event()

        def observe(event: Event) -> None:
            match event:
                case IkeSaRekeyed(connection=name) if child is None and name == connection:
                    done.set()
                case ChildSaRekeyed(connection=name) if name == connection and event.child == child:
                    done.set()

        unsubscribe = self._daemon.bus.subscribe(observe)
        try:
            self._daemon.runtime.step(lambda now: engine.rekey(connection, child, now))
            await asyncio.wait_for(done.wait(), timeout_s)
        except TimeoutError:
            what = child or "the IKE SA"
            text = f"{what} not rekeyed after {timeout_s:.0f} s; still trying: see `xfrmctl show {connection}`"
            return ActionResult(ok=False, message=text)
        finally:
            unsubscribe()
        return ActionResult(ok=True, message=f"{connection}: {child or 'IKE SA'} rekeyed")

    async def debug(self, connection: str, seconds: float, keys: bool) -> ActionResult:
        """Tell of a connection for so long, or no more."""
        self._children(connection, None)
        daemon, tables = self._daemon, self._daemon.keys.directory
        if keys and tables is None:
            cure = "name a directory in gateway.key_log and reload; whoever reads it reads the traffic"
            raise RequestError("the configuration allows no key log", cure, status=403)
        daemon.keys.stop(connection)
        if keys and seconds:
            daemon.keys.start(connection, daemon.now() + seconds)
        daemon.engine.explain(connection, daemon.now() + seconds if seconds else None)
        if not seconds:
            return ActionResult(ok=True, message=f"{connection}: debugged no more")
        where = "`xfrmctl events` and the log have it"
        if keys:
            where += f"; keys of its IKE SAs, and of CHILD SAs from their next rekey on, are in {tables}"
            unnamed = left_out(daemon.engine.config.connections[connection])
            if unnamed:
                where += (
                    f", but of {', '.join(unnamed)} none: Wireshark has no name for it; configure AES to see inside"
                )
        return ActionResult(ok=True, message=f"{connection}: debugged for {duration(seconds)}; {where}")

    async def reload(self) -> ReloadResult:
        """Read the configuration again."""
        return await self._daemon.reload()

    async def plan(self, file: Path | None) -> PlanResult:
        """What a reload would change."""
        daemon = self._daemon
        try:
            newer = await asyncio.to_thread(load, file or daemon.configuration.file, daemon.configuration)
        except ConfigError as error:
            raise RequestError(str(error), "correct the file; `xfrmctl check` shows all problems", status=422) from None
        step = daemon.step_to(newer)
        desired = daemon.reconciler.planned(step.resolved, newer.gateway.policies)
        plan = await asyncio.to_thread(daemon.kernel.plan, desired)
        return step.result(plan.render().splitlines())

    async def diagnose(self, connection: str | None, seconds: float) -> Diagnosis:
        """Look for faults; one at a time, since it is work."""
        async with self._diagnosing:
            return await diagnosis.diagnose(self._daemon, connection, seconds)

    def events(self, wanted: EventSelection = ALL_EVENTS) -> AsyncIterator[dict[str, Any]]:
        """What has happened and what happens from now on. Raises RequestError."""
        self._daemon.story.check(wanted)
        return self._daemon.story.follow(wanted)
