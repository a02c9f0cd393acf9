"""A gateway with one connection up and one down, and handlers that serve it: for control, metrics and cli tests."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from xfrmctl.control.schema import ActionResult, NameList, PlanResult, ReloadResult, RequestError, unknown_name
from xfrmctl.control.server import ControlServer, Handlers
from xfrmctl.model.finding import ERROR, PEER, Diagnosis, Finding, Line
from xfrmctl.model.selection import ALL_EVENTS, EVERYTHING, EventSelection, Selection, is_pattern
from xfrmctl.model.snapshot import (
    ChildInfo,
    ClampInfo,
    ConfiguredChild,
    ConnectionInfo,
    ExchangeInfo,
    FailureInfo,
    FragmentInfo,
    HistoryInfo,
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
from xfrmctl.model.traffic import Traffic, TrafficRow

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
        soft_left_bytes=None,
        hard_left_bytes=5_000_000_000 - octets,
        soft_left_packets=None,
        hard_left_packets=None,
        idle_s=2.0,
        offload="",
    )


CHILD = ChildInfo(
    name="lan",
    peer="",
    state="installed",
    meaning="both SAs are in the kernel",
    initiator=True,
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
    meaning="both ends have proved their identity; asking whether the peer lives",
    initiator=True,
    spi_initiator="0102030405060708",
    spi_responder="1112131415161718",
    local="172.16.1.1:4500",
    remote="172.16.2.1:4500",
    local_id="fqdn:moon.example.org",
    remote_id="fqdn:sun.example.org",
    local_proof="psk",
    remote_proof="psk",
    suite="aes256gcm16-prfsha384-x25519",
    nat_local=True,
    nat_remote=False,
    mobike=True,
    fragment_size=1280,
    age_s=3700.0,
    last_seen_s=4.0,
    rtt_s=0.012,
    rekey_in_s=10_700.0,
    reauth_in_s=None,
    dpd_in_s=26.0,
    next_request=7,
    next_expected=2,
    queued=1,
    under_way=ExchangeInfo(
        exchange="INFORMATIONAL",
        message_id=6,
        payloads=[],
        attempt=2,
        attempts=8,
        sent_s=0.5,
        next_in_s=1.3,
    ),
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
        rekeys=3 if state == "up" else 0,
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
    history=HistoryInfo(established=2, ike_rekeys=4, child_rekeys=3, failures=1, retransmissions=5, silences=0),
    debug_s=None,
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
    history=HistoryInfo(established=0, ike_rekeys=0, child_rekeys=0, failures=3, retransmissions=0, silences=0),
    debug_s=None,
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
    configured=2,
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
)


ROW = TrafficRow(
    connection="branch-7",
    child="lan",
    peer="172.16.2.1",
    state="up",
    spi_in="0xc0000001",
    spi_out="0xc0000002",
    bytes_in=1_500_000,
    packets_in=1200,
    bytes_out=900,
    packets_out=9,
    integrity=1,
    replay=5,
    inner_mtu=1338,
    source="probe",
    mss=1298,
    rekeys=3,
    age_s=12.0,
)

TRAFFIC = Traffic(
    at=1_760_000_000.0,
    clock_s=100.0,
    uptime_s=7300.0,
    configured=2,
    up=1,
    half_open=0,
    ike_sas=1,
    failures=4,
    ike_rekeys=4,
    kernel_errors=3,
    rows=[ROW],
)


def with_counters(inbound: int, outbound: int, spi: str = "0xc0000001", missing: bool = False) -> Snapshot:
    """The snapshot with other byte counters on ``lan``."""
    child = replace(
        CHILD,
        inbound=replace(CHILD.inbound, spi=spi, bytes=inbound, missing=missing),
        outbound=replace(CHILD.outbound, spi="o" + spi, bytes=outbound),
    )
    return replace(SNAPSHOT, connections=[replace(UP, ike_sas=[replace(IKE, children=[child])]), DOWN])


ESTABLISHED = {
    "event": "ike_sa_established",
    "at": 1.5,
    "severity": "info",
    "text": "branch-7#3 established with fqdn:sun.example.org",
    "connection": "branch-7",
}


class Gateway:
    """Handlers that remember what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.wanted = EVERYTHING
        self.looks = 0
        self.followed = ALL_EVENTS
        self.reload_ok = True
        self.bug = False
        self.planned = PlanResult(
            file=SNAPSHOT.config_file, configuration_differs=False, lines=["+ policy out 10.1.1.0/24 10.1.2.0/24"]
        )
        self.feed: list[dict[str, Any]] = [ESTABLISHED]
        self.endless = False
        self.streams_closed = 0

    async def snapshot(self, wanted: Selection = EVERYTHING) -> Snapshot:
        """What is asked for is remembered; of the filters only names of connections are heeded."""
        if self.bug:
            raise RuntimeError("a programming error")
        self.wanted = wanted
        known = {connection.name: connection for connection in SNAPSHOT.connections}
        for name in wanted.connections:
            if not is_pattern(name) and name not in known:
                raise unknown_name("connection", name, known)
        fits = [c for n, c in known.items() if any(fnmatchcase(n, pattern) for pattern in wanted.connections or "*")]
        return replace(SNAPSHOT, connections=fits)

    async def traffic(self, wanted: Selection) -> Traffic:
        """Each look is a second after the last one; ``lan`` has then sent 1 MB more."""
        self.wanted = wanted
        self.looks += 1
        rows = [
            replace(
                ROW, bytes_out=ROW.bytes_out + 1_000_000 * self.looks, packets_out=ROW.packets_out + 700 * self.looks
            ),
            replace(ROW, child="idle", spi_in="0xc0000003", spi_out="0xc0000004", integrity=0, replay=0, rekeys=9),
            replace(ROW, connection="branch-8", child="office", state="waiting", spi_in="", spi_out="", age_s=None),
        ]
        return replace(TRAFFIC, clock_s=100.0 + self.looks, rows=rows)

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

    async def debug(self, connection: str, seconds: float, keys: bool) -> ActionResult:
        self.asked.append(("debug", connection, seconds, keys))
        if connection not in ("branch-7", "branch-8"):
            raise unknown_name("connection", connection, ["branch-7", "branch-8"])
        return ActionResult(ok=True, message=f"{connection}: debugged")

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

    async def events(self, wanted: EventSelection = ALL_EVENTS) -> AsyncIterator[dict[str, Any]]:
        self.followed = wanted
        try:
            for event in self.feed:
                if not wanted.connections or event["connection"] in wanted.connections:
                    yield event
            if not wanted.follow:
                return
            number = 0
            while self.endless:
                for _ in range(200):
                    number += 1
                    yield {"event": "message_sent", "number": number, "filling": "x" * 1000}
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        finally:
            self.streams_closed += 1


class _Given:
    """What a gateway of the tests says, as a copy: the server takes large states apart."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def __getattr__(self, name: str) -> Any:
        said = getattr(self._gateway, name)
        if name not in ("snapshot", "connection", "traffic"):
            return said

        async def copied(*given: Any) -> Any:
            return deepcopy(await said(*given))

        return copied


@contextmanager
def serving(path: Path, gateway: Gateway | None = None) -> Iterator[Gateway]:
    """A real server on a real socket, in a thread of its own, so that blocking clients can be tested."""
    handlers = gateway or Gateway()
    ready = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        server = ControlServer(cast(Handlers, _Given(handlers)), path)
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
