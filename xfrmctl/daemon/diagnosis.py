"""``xfrmctl diagnose``: gathers the facts twice, some seconds apart, and has them judged. Changes nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from xfrmctl.config.load import load
from xfrmctl.config.problem import ConfigError
from xfrmctl.control.schema import RequestError, unknown_name
from xfrmctl.daemon.clock import wall
from xfrmctl.daemon.gather.configured import connection_facts
from xfrmctl.daemon.gather.echoes import probe_path, probe_tunnel
from xfrmctl.daemon.gather.host import Look, own_addresses
from xfrmctl.daemon.gather.probes import probe
from xfrmctl.daemon.glance import state_of
from xfrmctl.daemon.state import find_standing
from xfrmctl.diagnose.diagnosis import diagnose as judge
from xfrmctl.diagnose.facts import (
    ChildFacts,
    ConnectionFacts,
    Facts,
    HostFacts,
    PathProbe,
    PeerProbe,
    TunnelProbe,
    sas_of,
    somewhere_in,
)
from xfrmctl.diagnose.rules.reach import wants_probe
from xfrmctl.ike.config import ConnectionConfig, EngineConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.metrics.pacer import CHEAP, Pacer
from xfrmctl.metrics.scrape import dismantle
from xfrmctl.model.address import IPAddress
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.overlap import Pairs
from xfrmctl.model.snapshot import Snapshot

if TYPE_CHECKING:
    from xfrmctl.daemon.main import Daemon

MOST_PROBED = 32
"""Peers that are asked at a time; where more are silent, the first ones tell."""

MOST_JUDGED = 1000
"""Connections that are looked at in one go, those that are not up first: each costs a millisecond or two."""

MAX_SECONDS = 60.0


def _chosen(engine: EngineConfig, connection: str | None) -> tuple[ConnectionFacts, ...]:
    if connection is not None and connection not in engine.connections:
        raise unknown_name("connection", connection, engine.connections)
    return connection_facts(c for c in engine.connections.values() if connection in (None, c.name))


async def _first(
    chosen: tuple[ConnectionFacts, ...], engine: IkeEngine
) -> tuple[tuple[ConnectionFacts, ...], list[str]]:
    """No more than can be looked at in one go, and what is said of the rest."""
    left = len(chosen) - MOST_JUDGED
    if left <= 0:
        return chosen, []
    down: list[ConnectionFacts] = []
    up: list[ConnectionFacts] = []
    pacer = Pacer()
    for connection in chosen:
        standing: set[str] = set()
        await pacer.walk(find_standing(engine.ike_sas(connection.name), standing))
        (up if {child.name for child in connection.children} <= standing else down).append(connection)
    return tuple((*down, *up)[:MOST_JUDGED]), [f"{left} further connections: name one to have it looked at"]


def _others(engine: EngineConfig, chosen: Sequence[ConnectionFacts]) -> tuple[ConnectionFacts, ...]:
    """Who else is configured for packets of theirs, as far as they can be looked at in one go."""
    names = {c.name for c in chosen}
    index: Pairs[str] = Pairs()
    for child in (child for c in chosen for child in c.children):
        index.add(child.local_ts, child.remote_ts, child.name)
    rest = (c for c in engine.connections.values() if c.name not in names and _meets(index, c))
    return connection_facts(islice(rest, MOST_JUDGED))


def _meets(index: Pairs[str], connection: ConnectionConfig) -> bool:
    return any(True for child in connection.children for _ in index.overlapping(child.local_ts, child.remote_ts))


async def diagnose(daemon: "Daemon", connection: str | None, seconds: float) -> Diagnosis:
    """Of a running daemon. Raises RequestError for an unknown connection or a wait that is out of range."""
    if not 0 <= seconds <= MAX_SECONDS:
        raise RequestError(f"seconds {seconds} is out of range", f"0 to {MAX_SECONDS:.0f} seconds")
    engine = daemon.engine.config
    # What thousands of tunnels make long is done in a thread: the loop gets its turn every few milliseconds.
    chosen = await asyncio.to_thread(_chosen, engine, connection)
    look = await asyncio.to_thread(Look, watch=seconds > 0)
    chosen, blind = await _first(chosen, daemon.engine)
    others = await asyncio.to_thread(_others, engine, chosen)
    names = [c.name for c in (*chosen, *others)]
    before = await state_of(daemon, names)
    _, (probes, unasked), paths = await asyncio.gather(
        asyncio.sleep(seconds), _probed(chosen, before, engine), _paths(chosen, before)
    )
    after = await state_of(daemon, names)
    tunnels = await _tunnels(chosen, before, after)
    if tunnels:
        after = await state_of(daemon, names)  # which knows of the pings
    host, unread = await asyncio.to_thread(look.facts, chosen, _outbound(after))
    facts = Facts(
        wall=wall(),
        connections=chosen,
        others=others,
        before=before,
        after=after,
        seconds=seconds,
        probes=probes,
        paths=paths,
        tunnels=tunnels,
        host=host,
    )
    found = await asyncio.to_thread(_diagnosis, facts, [*blind, *unasked, *unread])
    pacer = Pacer()
    for seen in (c for state in (before, after) for c in state.connections):
        await pacer.walk(dismantle(seen), cheap=CHEAP)
    return found


def _outbound(state: Snapshot) -> set[int]:
    """The SPIs that we send with."""
    return {int(sa.outbound.spi, 16) for c in state.connections for ike in c.ike_sas for sa in ike.children}


def without_daemon(config: Path, connection: str | None, fault: str) -> Diagnosis:
    """What can be seen without one, with the caller's rights. Raises RequestError for an unknown connection."""
    chosen: tuple[ConnectionFacts, ...] = ()
    blind: list[str] = []
    try:
        chosen = _chosen(load(config).engine, connection)
    except ConfigError as error:
        blind = [f"the connections: {problem}" for problem in error.problems]
    try:
        host, unread = Look(watch=False).facts(chosen)
    except KernelRefusal as error:
        host, unread = HostFacts(), [f"routes, policies and SAs: {error}; run this as root"]
    return _diagnosis(Facts(wall=wall(), connections=chosen, daemon_fault=fault, host=host), [*blind, *unread])


def _diagnosis(facts: Facts, blind: Sequence[str]) -> Diagnosis:
    return Diagnosis(
        connections=[c.name for c in facts.connections],
        seconds=facts.seconds,
        findings=judge(facts),
        blind=list(blind),
    )


async def _probed(
    chosen: Sequence[ConnectionFacts], state: Snapshot, engine: EngineConfig
) -> tuple[Mapping[str, PeerProbe], list[str]]:
    """Ask the peers whose silence needs an explanation."""
    down = {c.name for c in state.connections if wants_probe(c)}
    wanted = [c for c in chosen if c.name in down]
    ports = engine.ike_port, engine.nat_t_port
    asked = [(c.name, c.local, c.remote) for c in wanted[:MOST_PROBED] if c.remote is not None]
    answers = await asyncio.gather(*(asyncio.to_thread(probe, local, remote, ports) for _, local, remote in asked))
    left = len(wanted) - len(asked)
    blind = [f"{left} further silent peers were not asked: name a connection"] if left else []
    return {name: answer for (name, _, _), answer in zip(asked, answers, strict=True)}, blind


async def _paths(chosen: Sequence[ConnectionFacts], state: Snapshot) -> Mapping[str, PathProbe]:
    """Ask the peers of tunnels that are up with large echoes: of the written size, or of what our link carries."""
    asked = await asyncio.to_thread(_askable, chosen, state)
    answers = await asyncio.gather(*(asyncio.to_thread(probe_path, *question) for question in asked.values()))
    return {name: answer for name, answer in zip(asked, answers, strict=True) if answer is not None}


def _askable(
    chosen: Sequence[ConnectionFacts], state: Snapshot
) -> dict[str, tuple[IPAddress | None, IPAddress, int, int]]:
    asked: dict[str, tuple[IPAddress | None, IPAddress, int, int]] = {}
    sas = sas_of(state)
    for connection in chosen:
        found = [sa.mtu for c in connection.children for sa, _ in sas.get((connection.name, c.name), ()) if sa.mtu]
        if connection.remote is not None and found and found[0].path is not None and len(asked) < MOST_PROBED:
            link = found[0].path.link_mtu
            written = [c.mtu for c in connection.children if c.mtu is not None]
            size = max(written, default=link)
            asked[connection.name] = (connection.local, connection.remote, size, link)
    return asked


async def _tunnels(
    chosen: Sequence[ConnectionFacts], before: Snapshot, now: Snapshot
) -> Mapping[tuple[str, str], TunnelProbe]:
    """Ping through the tunnels that nothing has come out of meanwhile, though somebody uses them."""
    wanted = await asyncio.to_thread(_unanswered, chosen, before, now)
    answers = await asyncio.gather(*(asyncio.to_thread(_through, child) for child in wanted[:MOST_PROBED]))
    return {
        (child.connection, child.name): answer
        for child, answer in zip(wanted, answers, strict=False)
        if answer is not None
    }


def _unanswered(chosen: Sequence[ConnectionFacts], before: Snapshot, now: Snapshot) -> list[ChildFacts]:
    looked = Facts(wall=0.0, connections=tuple(chosen), before=before, after=now)
    return [
        child
        for child in looked.children()
        for was, sa, _ in looked.lasting(child)
        if sa.inbound.packets == was.inbound.packets
        and (sa.outbound.packets > was.outbound.packets or not sa.inbound.packets)
    ]


def _through(child: ChildFacts) -> TunnelProbe | None:
    """From an address of ours that the tunnel is for to some behind the peer."""
    mine = [a for a in own_addresses() if any(ts.contains(a) for ts in child.local_ts)]
    networks = [n for ts in child.remote_ts for n in ts.networks() if n.prefixlen]
    for source in mine:
        targets = [a for n in networks[:4] for a in somewhere_in(n) if a.version == source.version]
        if targets:
            return probe_tunnel(source, targets)
    return None
