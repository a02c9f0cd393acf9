"""What `diagnose` reads of thousands of tunnels when it is asked about one: that one's SAs, and no walk through all."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from tests.unit.daemon.test_scrape import Gateway, several
from xfrmctl.daemon.diagnosis import _first, _others
from xfrmctl.daemon.gather.configured import connection_facts
from xfrmctl.daemon.glance import FEW, glance, state_of
from xfrmctl.model.sa import SaCounters, SaId

MANY = 200


class Daemon:
    """The parts that a glance uses. ``asked`` are the SAs that were read one by one."""

    def __init__(self) -> None:
        self.gateway = Gateway(several(MANY))
        self.engine, self.builder = self.gateway.engine, self.gateway.builder
        self.now, self.look, self.state = self.gateway.now, self.gateway.look, self.gateway.state
        self.asked: list[SaId] = []
        self.checked: list[SaId] = []
        self.walks = 0
        self.kernel = SimpleNamespace(counted=self._counted, walk=self._walk)
        self.reconciler = SimpleNamespace(changed=self._changed)
        self.runtime = SimpleNamespace(check=self.checked.extend)

    def _walk(self) -> Iterator[dict[SaId, SaCounters]]:
        self.walks += 1
        yield {found.id: found for found in self.gateway.sad}

    async def _changed(self) -> None:
        pass

    def _counted(self, ids: Sequence[SaId]) -> list[SaCounters]:
        self.asked += ids
        return [found for found in self.gateway.sad if found.id in set(ids)]


def test_a_glance_reads_the_sas_of_its_connections_and_no_others() -> None:
    async def run() -> None:
        daemon = Daemon()
        state = await glance(cast(Any, daemon), ["net7"])
        (connection,) = state.connections
        (child,) = connection.ike_sas[0].children
        assert connection.name == "net7" and child.inbound.packets == 7 and not child.inbound.missing
        assert [sa.spi for sa in daemon.asked] == [0x10000007, 0x20000007] and not daemon.checked
        daemon.gateway.sad.clear()
        lost = await glance(cast(Any, daemon), ["net7"])
        assert lost.connections[0].ike_sas[0].children[0].inbound.missing
        assert [sa.spi for sa in daemon.checked] == [0x10000007]

    asyncio.run(run())


def test_many_are_read_in_one_walk() -> None:
    async def run() -> None:
        daemon = Daemon()
        names = [f"net{n}" for n in range(1, FEW + 2)]
        state = await state_of(cast(Any, daemon), names)
        assert not daemon.asked and daemon.walks == 1
        assert [connection.name for connection in state.connections] == names

    asyncio.run(run())


def test_only_who_claims_the_same_packets_is_looked_at_beside() -> None:
    """All of these have the same selectors; of others there is none."""

    async def run() -> None:
        daemon = Daemon()
        config = daemon.engine.config
        (chosen,) = connection_facts([config.connections["net7"]])
        others = _others(config, [chosen])
        assert len(others) == MANY - 1 and "net7" not in {c.name for c in others}
        assert _others(config, [replace(chosen, children=())]) == ()
        everyone = connection_facts(config.connections.values())
        assert await _first(everyone, daemon.engine) == (everyone, [])

    asyncio.run(run())
