"""``xfrmctl diagnose``: gathers the facts twice, some seconds apart, and has them judged. Changes nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xfrmctl.config.load import load
from xfrmctl.config.problem import ConfigError
from xfrmctl.control.schema import RequestError, unknown_name
from xfrmctl.daemon.clock import wall
from xfrmctl.daemon.gather.configured import connection_facts
from xfrmctl.daemon.gather.probes import probe
from xfrmctl.diagnose.diagnosis import diagnose as judge
from xfrmctl.diagnose.facts import ConnectionFacts, Facts, PeerProbe
from xfrmctl.diagnose.rules.reach import wants_probe
from xfrmctl.ike.config import EngineConfig
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.snapshot import Snapshot

if TYPE_CHECKING:
    from xfrmctl.daemon.main import Daemon

MOST_PROBED = 32
"""Peers that are asked at a time; where more are silent, the first ones tell."""

MAX_SECONDS = 60.0


def _chosen(engine: EngineConfig, connection: str | None) -> tuple[ConnectionFacts, ...]:
    if connection is not None and connection not in engine.connections:
        raise unknown_name("connection", connection, engine.connections)
    return connection_facts(c for c in engine.connections.values() if connection in (None, c.name))


async def diagnose(daemon: "Daemon", connection: str | None, seconds: float) -> Diagnosis:
    """Of a running daemon. Raises RequestError for an unknown connection or a wait that is out of range."""
    if not 0 <= seconds <= MAX_SECONDS:
        raise RequestError(f"seconds {seconds} is out of range", f"0 to {MAX_SECONDS:.0f} seconds")
    engine = daemon.engine.config
    chosen = _chosen(engine, connection)
    before = await daemon.snapshot()
    _, (probes, blind) = await asyncio.gather(asyncio.sleep(seconds), _probed(chosen, before, engine))
    after = await daemon.snapshot()
    facts = Facts(wall=wall(), connections=chosen, before=before, after=after, seconds=seconds, probes=probes)
    return _diagnosis(facts, blind)


def without_daemon(config: Path, connection: str | None, fault: str) -> Diagnosis:
    """What can be seen without one, with the caller's rights. Raises RequestError for an unknown connection."""
    chosen: tuple[ConnectionFacts, ...] = ()
    blind: list[str] = []
    try:
        chosen = _chosen(load(config).engine, connection)
    except ConfigError as error:
        blind = [f"the connections: {problem}" for problem in error.problems]
    return _diagnosis(Facts(wall=wall(), connections=chosen, daemon_fault=fault), blind)


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
