"""A gateway with one connection up and one down, and handlers that serve it: for control, metrics and cli tests."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from xfrmctl.control.schema import ActionResult, NameList, PlanResult, ReloadResult, RequestError, unknown_name
from xfrmctl.control.server import ControlServer
from xfrmctl.model.finding import ERROR, PEER, Diagnosis, Finding, Line
from xfrmctl.model.snapshot import (
    ChildInfo,
    ClampInfo,
    ConfiguredChild,
    ConnectionInfo,
    FailureInfo,
    FragmentInfo,
    IkeInfo,
    KernelInfo,
    MtuInfo,
    PathInfo,
    PlaneInfo,
    PolicyInfo,
    ReassemblyInfo,
    SaInfo,
    Snapshot,
)

FAILURE = FailureInfo(
    code="no_proposal_chosen",
    text="the peer accepts none of our IKE proposals",
    cause="the two ends have no algorithm of some kind in common",
    cure="add one of the peer's algorithms to ike.proposals",
    notify="NO_PROPOSAL_CHOSEN",
    ours=["aes256gcm16-prfsha384-x25519"],
    theirs=["aes128-sha256-modp2048"],
    at=1_760_000_000.0,
)


def sa(spi: str, octets: int, packets: int) -> SaInfo:
    return SaInfo(
        spi=spi,
        bytes=octets,
        packets=packets,
        replay_drops=2,
        late_drops=3,
        integrity_failures=1,
        missing=False,
        soft_expires_in_s=None,
        hard_expires_in_s=3600.0,
        offload="",
    )


CHILD = ChildInfo(
    name="lan",
    peer="",
    suite="aes256gcm16-noesn",
    mode="tunnel",
    dataplane="policy",
    reqid=0x58000001,
    if_id=0,
    interface=None,
    encap="4500->4500",
    local_ts=["10.1.1.0/24"],
    remote_ts=["10.1.2.0/24"],
    established_s=12.0,
    inbound=sa("0xc0000001", 1_500_000, 1200),
    outbound=sa("0xc0000002", 900, 9),
    mtu=MtuInfo(
        outer_mtu=1400,
        source="probe",
        inner_mtu=1338,
        overhead=62,
        mss_ipv4=1298,
        mss_ipv6=None,
        path=PathInfo(
            path="172.16.1.1 -> 172.16.2.1 (udp 4500)",
            carrier="udp 4500, as esp",
            mtu=1400,
            source="probe",
            confidence="confirmed",
            state="settled",
            age_s=75.0,
            ages_in_s=525.0,
            link_mtu=1500,
            peer_mtu=1400,
            probes_sent=9,
            probes_answered=3,
            probes_lost=6,
        ),
    ),
    plane=PlaneInfo(
        replay_window=128,
        dscp_outbound="none",
        dscp_inbound="keep",
        ecn="on",
        mark_inbound="",
        mark_outbound="0x2a/0xff",
        set_mark_inbound="",
        set_mark_outbound="",
    ),
    fragments=FragmentInfo(
        df="copy",
        oversize="icmp",
        outer="DF as the packet inside has it, IPv6 inside always",
        ipv4_with_df="senders are told 1346 by ICMP",
        ipv4_without_df="fragmented after encryption, and the peer puts ESP together",
        ipv6="packets above 1246 bytes are lost but TCP's, for no router fragments IPv6 outside: cure",
        ipv6_lost=True,
    ),
)

IPV4 = ReassemblyInfo(
    family=4, fragments=20, packets=9, failed=2, timed_out=1, made=8, memory=2304, memory_limit=4194304
)

IKE = IkeInfo(
    name="branch-7#3",
    state="established",
    meaning="authenticated, CHILD SAs can be made",
    initiator=True,
    spi_initiator="0x0102030405060708",
    spi_responder="0x1112131415161718",
    local="172.16.1.1:4500",
    remote="172.16.2.1:4500",
    local_id="fqdn:moon.example.org",
    remote_id="fqdn:sun.example.org",
    suite="aes256gcm16-prfsha384-x25519",
    nat_local=True,
    nat_remote=False,
    age_s=3700.0,
    last_seen_s=4.0,
    children=[CHILD],
)


def configured(name: str, state: str) -> ConfiguredChild:
    return ConfiguredChild(
        name=name,
        state=state,
        protection="block",
        mode="tunnel",
        local_ts=["10.1.1.0/24"],
        remote_ts=["10.1.2.0/24"],
        dataplane="policy",
        start="trap",
    )


UP = ConnectionInfo(
    name="branch-7",
    state="up",
    meaning="the IKE SA and all children stand",
    local="172.16.1.1",
    remote="172.16.2.1",
    peers=None,
    attempts=0,
    retry_in_s=None,
    last_failure=None,
    children=[configured("lan", "up")],
    ike_sas=[IKE],
)

DOWN = ConnectionInfo(
    name="branch-8",
    state="waiting",
    meaning="the last attempt failed, the next one waits",
    local="172.16.1.1",
    remote="172.16.3.1",
    peers=None,
    attempts=3,
    retry_in_s=16.0,
    last_failure=FAILURE,
    children=[configured("office", "down")],
    ike_sas=[],
)

FINDING = Finding(
    id="no-common-ike-proposal",
    severity=ERROR,
    connection="branch-8",
    symptom="the peer accepts none of our IKE proposals",
    evidence=["ke: we x25519; peer modp2048: nothing in common"],
    cause="the two ends have no algorithm of some kind in common",
    cure_here="add one of the peer's algorithms to ike.proposals",
    cure_peer="add one of ours",
    lines=[Line(end=PEER, product="strongSwan", text="proposals = aes256gcm16-prfsha384-x25519")],
)

SNAPSHOT = Snapshot(
    version="0.1.0",
    started_at=1_760_000_000.0,
    uptime_s=7300.0,
    config_file="/etc/xfrmctl/xfrmctl.yaml",
    config_hash="ab" * 32,
    reload_ok=True,
    reload_error="",
    half_open=0,
    connections=[UP, DOWN],
    policies=[
        PolicyInfo(
            name="printers",
            action="bypass",
            local_ts=["10.1.1.0/24"],
            remote_ts=["10.9.0.0/24"],
            precedence="specific",
        )
    ],
    clamps=[ClampInfo(family=4, mss=1298, pairs=2, packets=7, bytes=420, standing=True)],
    kernel=KernelInfo(
        xfrm_stat={"XfrmInNoStates": 3},
        policies=6,
        states=2,
        problems=[],
        disturbances=[],
        reassembly=[IPV4],
        df={"cleared": 4, "set": 0},
    ),
    counters={"steps": 12},
)


def with_counters(inbound: int, outbound: int, spi: str = "0xc0000001", missing: bool = False) -> Snapshot:
    """The snapshot with other byte counters on ``lan``."""
    child = replace(
        CHILD,
        inbound=replace(CHILD.inbound, spi=spi, bytes=inbound, missing=missing),
        outbound=replace(CHILD.outbound, spi="o" + spi, bytes=outbound),
    )
    return replace(SNAPSHOT, connections=[replace(UP, ike_sas=[replace(IKE, children=[child])]), DOWN])


class Gateway:
    """Handlers that remember what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.reload_ok = True
        self.bug = False
        self.planned = PlanResult(
            file=SNAPSHOT.config_file, configuration_differs=False, lines=["+ policy out 10.1.1.0/24 10.1.2.0/24"]
        )
        self.feed: list[dict[str, Any]] = [{"event": "ike_sa_established", "connection": "branch-7", "at": 1.5}]
        self.endless = False
        self.streams_closed = 0

    async def snapshot(self) -> Snapshot:
        if self.bug:
            raise RuntimeError("a programming error")
        return SNAPSHOT

    async def names(self) -> NameList:
        return NameList(connections={c.name: [child.name for child in c.children] for c in SNAPSHOT.connections})

    async def connection(self, name: str) -> ConnectionInfo:
        known = {connection.name: connection for connection in SNAPSHOT.connections}
        if name not in known:
            raise unknown_name("connection", name, known)
        return known[name]

    async def up(self, connection: str, child: str | None, timeout_s: float) -> ActionResult:
        self.asked.append(("up", connection, child, timeout_s))
        if connection not in ("branch-7", "branch-8"):
            raise unknown_name("connection", connection, ["branch-7", "branch-8"])
        if connection == "branch-8":
            return ActionResult(ok=False, message="branch-8 is not up", failure=FAILURE)
        return ActionResult(ok=True, message="branch-7: lan up")

    async def rekey(self, connection: str, child: str | None, timeout_s: float) -> ActionResult:
        self.asked.append(("rekey", connection, child, timeout_s))
        return ActionResult(ok=True, message=f"{connection} rekeyed")

    async def down(self, connection: str, child: str | None) -> ActionResult:
        self.asked.append(("down", connection, child))
        return ActionResult(ok=True, message=f"{connection} down")

    async def reload(self) -> ReloadResult:
        if not self.reload_ok:
            return ReloadResult(ok=False, message="x.yaml:3:1: gateway.metric: unknown key")
        return ReloadResult(ok=True, message="1 added, 1 changed", added=["new"], changed=["branch-7"])

    async def plan(self, file: Path | None) -> PlanResult:
        self.asked.append(("plan", file))
        if not self.reload_ok:
            raise RequestError("x.yaml:3:1: unknown key", "correct the file", status=422)
        return self.planned

    async def diagnose(self, connection: str | None, seconds: float) -> Diagnosis:
        self.asked.append(("diagnose", connection, seconds))
        if connection not in (None, "branch-7", "branch-8"):
            raise unknown_name("connection", connection, ["branch-7", "branch-8"])
        found = [FINDING] if connection != "branch-7" else []
        names = [connection] if connection else ["branch-7", "branch-8"]
        return Diagnosis(connections=names, seconds=seconds, findings=found, blind=[])

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        try:
            for event in self.feed:
                yield event
            number = 0
            while self.endless:
                for _ in range(200):
                    number += 1
                    yield {"event": "message_sent", "number": number, "filling": "x" * 1000}
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        finally:
            self.streams_closed += 1


@contextmanager
def serving(path: Path, gateway: Gateway | None = None) -> Iterator[Gateway]:
    """A real server on a real socket, in a thread of its own, so that blocking clients can be tested."""
    handlers = gateway or Gateway()
    ready = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        server = ControlServer(handlers, path)
        await server.start()
        end = asyncio.Event()
        stop.append((asyncio.get_running_loop(), end))
        ready.set()
        await end.wait()
        await server.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    try:
        assert not failures, failures
        yield handlers
    finally:
        for loop, end in stop:
            loop.call_soon_threadsafe(end.set)
        thread.join(10)
        assert not thread.is_alive()
        assert not failures, failures
