"""SAs that a daemon before us has left: which are kept, for how long, and what ends them."""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from xfrmctl.daemon.inherit import KEEP_S, LINGER_S, Inheritance
from xfrmctl.model.events import ChildSaInstalled, ConfigReloaded
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import SaCounters, SaId

HERE, THERE, ELSEWHERE = (ip_address(text) for text in ("192.0.2.1", "192.0.2.2", "203.0.113.9"))
LAN, OTHER, GONE = 0x58000001, 0x58000002, 0x58000003


class Connection:
    local, remote = HERE, THERE


class Engine:
    """What is asked of the engine: who has a reqid, and to begin."""

    def __init__(self) -> None:
        self.reqids = {LAN: "main", OTHER: "main"}
        self.config = self
        self.connections = {"main": Connection()}
        self.resumed: list[int] = []

    def configured(self, reqid: int) -> tuple[str, object]:
        return self.reqids.get(reqid, ""), None

    def resume(self, reqids: Sequence[int], now: float) -> None:
        self.resumed += list(reqids)


class Sad:
    def __init__(self, *sas: tuple[SaId, int]) -> None:
        self.sas = dict(sas)

    def dump(self) -> dict[SaId, SaCounters]:
        return {sa_id: SaCounters(id=sa_id, reqid=reqid) for sa_id, reqid in self.sas.items()}

    def delete(self, ids: Sequence[SaId]) -> None:
        for sa_id in ids:
            del self.sas[sa_id]


class Loop:
    """A loop's timers, which the test lets come."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, action: Callable[[], object]) -> None:
        self.due.append((delay, action))

    def come(self, delay: float) -> None:
        for at, action in self.due:
            if at == delay:
                action()


def sa(destination: Any, spi: int) -> SaId:
    return SaId(destination, ProtocolId.ESP, spi)


IN, OUT, MORE = sa(HERE, 0x1001), sa(THERE, 0x1002), sa(THERE, 0x2002)


def inherited(*sas: tuple[SaId, int]) -> tuple[Inheritance, Engine, Sad, Loop]:
    engine, sad, loop = Engine(), Sad(*sas), Loop()
    made = Inheritance(engine, sad, loop)  # type: ignore[arg-type]
    made.take()
    made.resume(0.0)
    return made, engine, sad, loop


def test_what_a_configured_child_can_use_is_kept_and_negotiated_anew() -> None:
    strange = (sa(ELSEWHERE, 0x3001), LAN), (sa(THERE, 0x3002), GONE)
    _, engine, sad, _ = inherited((IN, LAN), (OUT, LAN), *strange)
    assert set(sad.sas) == {IN, OUT}
    assert engine.resumed == [LAN]


def test_nothing_left_means_nothing_to_begin() -> None:
    _, engine, _, loop = inherited()
    assert engine.resumed == [] and loop.due == []


def installed(reqid: int) -> ChildSaInstalled:
    found = object.__new__(ChildSaInstalled)
    object.__setattr__(found, "reqid", reqid)
    return found


def test_a_successor_ends_its_predecessor_and_no_other() -> None:
    made, _, sad, loop = inherited((IN, LAN), (OUT, LAN), (MORE, OTHER))
    made.observe(installed(LAN))
    assert set(sad.sas) == {IN, OUT, MORE}, "packets under way may still need them"
    loop.come(LINGER_S)
    assert set(sad.sas) == {MORE}
    made.observe(installed(LAN))  # a rekey later on
    loop.come(KEEP_S)
    assert not sad.sas, "nobody has answered"


def test_a_reload_that_takes_the_child_out_ends_it_at_once() -> None:
    made, engine, sad, _ = inherited((IN, LAN), (MORE, OTHER))
    del engine.reqids[LAN]
    made.observe(ConfigReloaded(ok=False, detail="a faulty file changes nothing"))
    assert set(sad.sas) == {IN, MORE}
    made.observe(ConfigReloaded(ok=True, detail="1 removed"))
    assert set(sad.sas) == {MORE}


def test_the_operator_ends_some_and_a_stop_all() -> None:
    made, _, sad, _ = inherited((IN, LAN), (MORE, OTHER))
    made.drop([LAN])
    assert set(sad.sas) == {MORE}
    made.drop()
    assert not sad.sas


def test_a_real_loop_takes_its_timers() -> None:
    async def run() -> None:
        made = Inheritance(Engine(), Sad((IN, LAN)), asyncio.get_running_loop())  # type: ignore[arg-type]
        assert made.take() == 1

    asyncio.run(run())
