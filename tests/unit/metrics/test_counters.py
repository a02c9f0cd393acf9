"""Events are counted, once each, and no label comes from outside."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.unit.control.gateway_values import SNAPSHOT
from tests.unit.metrics.scraping import metrics_of, scrape, text, value
from tests.unit.metrics.test_what_sas_carry import installed
from xfrmctl.metrics.counters import MAX_REASONS
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import (
    CarriersDiffer,
    ChildSaRekeyed,
    ChildSaRemoved,
    ConfigReloaded,
    CookieDemanded,
    DatagramDropped,
    DatagramNotSent,
    Event,
    IcmpErrorJudged,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    KernelDisturbed,
    KernelTrouble,
    MessageReceived,
    MessageSent,
    NegotiationFailed,
    PathMtuChanged,
    PathMtuHinted,
    PathProbed,
    PeerMoved,
    PeerSilent,
    RekeyCollided,
    RetryScheduled,
)
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import Encr, ExchangeType, NotifyType, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.path import Confidence, MtuSource, Path, ProbeOutcome
from xfrmctl.model.sa import SaId
from xfrmctl.model.suite import Suite

NAME = "branch-7"
PEER = Endpoint(ip_address("192.0.2.2"), 500)
PATH = Path(ip_address("192.0.2.1"), ip_address("192.0.2.2"), 0)
OLD, NEW = (SaId(ip_address("192.0.2.1"), ProtocolId.ESP, spi) for spi in (0x1000, 0x2000))


def value_of(*events: Event, name: str, **labels: str) -> float | None:
    """One series after these events."""

    async def run() -> float | None:
        metrics = metrics_of(SNAPSHOT)
        for event in events:
            metrics.observe(event)
        return value(await scrape(metrics), name, **labels)

    return asyncio.run(run())


def sent(
    attempt: int = 1,
    exchange: ExchangeType = ExchangeType.IKE_AUTH,
    *,
    response: bool = False,
    payloads: tuple[str, ...] = ("IDi",),
    fragments: int = 1,
) -> MessageSent:
    return MessageSent(
        connection=NAME,
        ike="c#1",
        exchange=exchange,
        response=response,
        message_id=1,
        payloads=payloads,
        remote=PEER,
        size=100,
        attempt=attempt,
        fragments=fragments,
    )


def received(message_id: int = 1, *, response: bool = True) -> MessageReceived:
    return MessageReceived(
        connection=NAME,
        ike="c#1",
        exchange=ExchangeType.INFORMATIONAL,
        response=response,
        message_id=message_id,
        payloads=(),
        remote=PEER,
        size=80,
    )


def failed(notify: str = "", code: FailureCode = FailureCode.AUTHENTICATION_FAILED) -> NegotiationFailed:
    failure = Failure(code=code, text="wrong key", notify=notify)
    return NegotiationFailed(connection=NAME, child="", ike="c#1", remote=PEER, initiator=True, failure=failure)


def established(handshake_s: float = 0.03) -> IkeSaEstablished:
    return IkeSaEstablished(
        connection=NAME,
        ike="c#1",
        initiator=True,
        local=PEER,
        remote=PEER,
        local_id=parse_identity("a"),
        remote_id=parse_identity("b"),
        suite=Suite(ProtocolId.IKE, Encr.AES_GCM_16, 256),
        nat_local=False,
        nat_remote=False,
        handshake_s=handshake_s,
    )


ALIVE = sent(exchange=ExchangeType.INFORMATIONAL, payloads=())
BEHIND_NAT = sent(exchange=ExchangeType.INFORMATIONAL, payloads=("N(NAT_DETECTION_SOURCE_IP)",))
TELLS = sent(exchange=ExchangeType.INFORMATIONAL, payloads=("D",))
SILENT = PeerSilent(connection=NAME, ike="c#1", remote=PEER, exchange=ExchangeType.INFORMATIONAL, attempts=8)


DEAD = Failure(code=FailureCode.PEER_DEAD, text="the peer is silent")


def narrowed(reason: str) -> PathMtuChanged:
    return PathMtuChanged(
        path=PATH, old=1500, new=1400, source=MtuSource.PROBE, confidence=Confidence.CONFIRMED, reason=reason
    )


def rekeyed(took_s: float | None) -> ChildSaRekeyed:
    return ChildSaRekeyed(
        connection=NAME, child="lan", ike="c#1", old=OLD, new=NEW, initiator=took_s is not None, took_s=took_s
    )


def judged(*, accepted: bool, took_s: float = 0.0002) -> IcmpErrorJudged:
    return IcmpErrorJudged(
        accepted=accepted,
        reason="matches" if accepted else "unknown_spi",
        family=4,
        reporter=PEER.address,
        peer=PEER.address,
        path=None,
        mtu=1400,
        quoted=1500,
        took_s=took_s,
    )


GONE = {"connection": NAME, "code": "peer_dead"}
COUNTED: list[tuple[list[Event], str, dict[str, str], float]] = [
    ([sent(1), sent(2), sent(3)], "retransmissions_total", {"connection": NAME}, 2),
    ([sent(1), sent(2)], "ike_messages_total", {"direction": "out", "exchange": "ike_auth"}, 2),
    ([sent(1, ExchangeType(99))], "ike_messages_total", {"direction": "out", "exchange": "other"}, 1),
    ([sent(1), sent(1), received()], "ike_bytes_total", {"direction": "out"}, 200),
    ([sent(fragments=3), sent(fragments=1)], "ike_fragments_total", {"direction": "out"}, 3),
    ([failed()], "negotiation_failures_total", {"notify": "none"}, 1),
    ([failed("TS_UNACCEPTABLE")] * 2, "negotiation_failures_total", {"notify": "ts_unacceptable"}, 2),
    ([failed(NotifyType(9999).name)], "negotiation_failures_total", {"notify": "other"}, 1),
    ([established()], "ike_sas_established_total", {"connection": NAME}, 1),
    ([IkeSaClosed(connection=NAME, ike="c#1", reason=DEAD)], "ike_sas_closed_total", GONE, 1),
    (
        [ChildSaRemoved(connection=NAME, child="lan", reqid=1, ike="c#1", inbound=OLD, outbound=NEW, reason=DEAD)],
        "child_sas_removed_total",
        GONE,
        1,
    ),
    (
        [PeerMoved(connection=NAME, ike="c#1", reqids=(1,), old=PEER, new=Endpoint(PEER.address, 4500))],
        "path_changes_total",
        {"connection": NAME},
        1,
    ),
    ([replace(installed(0x1000), connection=NAME)], "child_sas_installed_total", {"connection": NAME}, 1),
    ([established(0.03)], "handshake_duration_seconds_bucket", {"role": "initiator", "le": "0.025"}, 0),
    ([established(0.03)], "handshake_duration_seconds_bucket", {"role": "initiator", "le": "0.05"}, 1),
    ([established(0.05)], "handshake_duration_seconds_bucket", {"role": "initiator", "le": "0.05"}, 1),
    ([established(200)], "handshake_duration_seconds_bucket", {"role": "initiator", "le": "120.0"}, 0),
    ([established(200)], "handshake_duration_seconds_bucket", {"role": "initiator", "le": "+Inf"}, 1),
    ([established(0.03)] * 2, "handshake_duration_seconds_sum", {"role": "initiator"}, 0.06),
    ([established()], "handshake_duration_seconds_count", {"role": "responder"}, 0),
    ([ALIVE, received()], "liveness_checks_total", {"connection": NAME, "outcome": "asked"}, 1),
    ([ALIVE, received()], "liveness_checks_total", {"connection": NAME, "outcome": "answered"}, 1),
    ([BEHIND_NAT, received()], "liveness_checks_total", {"connection": NAME, "outcome": "answered"}, 1),
    ([ALIVE, received(), received()], "liveness_checks_total", {"connection": NAME, "outcome": "answered"}, 1),
    ([ALIVE, SILENT], "liveness_checks_total", {"connection": NAME, "outcome": "silent"}, 1),
    ([SILENT], "peer_silent_total", {"connection": NAME}, 1),
    ([rekeyed(0.2), rekeyed(None)], "rekeys_total", {"connection": NAME, "what": "child", "role": "initiator"}, 1),
    ([rekeyed(0.2), rekeyed(None)], "rekeys_total", {"connection": NAME, "what": "child", "role": "responder"}, 1),
    ([rekeyed(0.2), rekeyed(None)], "rekey_duration_seconds_count", {"what": "child"}, 1),
    ([rekeyed(0.2)], "rekey_duration_seconds_bucket", {"what": "child", "le": "0.1"}, 0),
    (
        [IkeSaRekeyed(connection=NAME, old="c#1", new="c#2", suite=None, took_s=0.2)],
        "rekey_duration_seconds_bucket",
        {"what": "ike", "le": "0.25"},
        1,
    ),
    (
        [RekeyCollided(connection=NAME, child="lan", ike="c#1", ours=True)],
        "rekey_collisions_total",
        {"connection": NAME, "what": "child"},
        1,
    ),
    (
        [RekeyCollided(connection=NAME, child="", ike="c#1", ours=True)],
        "rekey_collisions_total",
        {"connection": NAME, "what": "ike"},
        1,
    ),
    ([CookieDemanded(remote=PEER)], "cookies_demanded_total", {}, 1),
    ([], "cookies_demanded_total", {}, 0),
    ([RetryScheduled(connection=NAME, attempt=1, delay_s=2)], "retries_scheduled_total", {"connection": NAME}, 1),
    ([], "retries_scheduled_total", {"connection": "branch-8"}, 0),
    ([DatagramNotSent(remote=PEER, detail="no route")], "datagrams_not_sent_total", {}, 1),
    (
        [judged(accepted=True), judged(accepted=False)],
        "icmp_errors_judged_total",
        {"verdict": "dropped", "reason": "unknown_spi", "family": "ipv4"},
        1,
    ),
    ([judged(accepted=True)] * 2, "icmp_verdict_seconds_count", {}, 2),
    ([judged(accepted=True, took_s=0.003)], "icmp_verdict_seconds_bucket", {"le": "0.0025"}, 0),
    ([judged(accepted=True, took_s=0.003)], "icmp_verdict_seconds_bucket", {"le": "0.005"}, 1),
    ([PathMtuHinted(path=PATH, mtu=1300, verdict="lowered")], "path_mtu_errors_total", {"verdict": "lowered"}, 1),
    (
        [PathProbed(path=PATH, size=1400, outcome=ProbeOutcome.TOO_BIG)],
        "path_mtu_probes_total",
        {"outcome": "too_big"},
        1,
    ),
    ([narrowed("black hole"), narrowed("probe")], "path_mtu_changes_total", {"reason": "black_hole"}, 1),
    ([DatagramDropped(remote=PEER, reason="integrity")] * 2, "datagrams_dropped_total", {"reason": "integrity"}, 2),
    ([CarriersDiffer(path=PATH, size=1400, seconds=60)], "path_carriers_differ_total", {}, 1),
    ([KernelDisturbed(disturbance="flushed")], "kernel_disturbances_total", {}, 1),
    ([KernelTrouble(problem="no such module")], "kernel_troubles_total", {}, 1),
    ([ConfigReloaded(ok=True, detail="")], "config_reloads_total", {"result": "ok"}, 1),
    ([ConfigReloaded(ok=False, detail="")], "config_reloads_total", {"result": "refused"}, 1),
    ([], "config_reloads_total", {"result": "refused"}, 0),
    ([Event()], "cookies_demanded_total", {}, 0),
]


@pytest.mark.parametrize(
    ("events", "name", "labels", "expected"), COUNTED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_an_event_is_counted(events: list[Event], name: str, labels: dict[str, str], expected: float) -> None:
    if name.startswith("negotiation_failures"):
        labels = {"connection": NAME, "code": "authentication_failed"} | labels
    assert value_of(*events, name=f"xfrmctl_{name}", **labels) == pytest.approx(expected)


@pytest.mark.parametrize(
    "events",
    [
        [ALIVE, received(message_id=7)],
        [ALIVE, received(response=False)],
        [TELLS, received()],
        [sent(2, ExchangeType.INFORMATIONAL, payloads=()), received()],
        [received()],
    ],
)
def test_what_is_no_answer_to_the_question_whether_somebody_lives(events: list[Event]) -> None:
    assert value_of(*events, name="xfrmctl_liveness_checks_total", connection=NAME, outcome="answered") is None


def test_reasons_end_somewhere() -> None:
    events = [DatagramDropped(remote=PEER, reason=f"reason{i}") for i in range(MAX_REASONS + 5)]
    assert value_of(*events, name="xfrmctl_datagrams_dropped_total", reason="other") == 5
    assert value_of(*events, name="xfrmctl_datagrams_dropped_total", reason=f"reason{MAX_REASONS}") is None


def test_steps_are_sorted_by_size() -> None:
    async def run() -> list[float | None]:
        metrics = metrics_of(SNAPSHOT)
        for seconds in (0.0002, 0.002, 2.0):
            metrics.counters.stepped(seconds)
        samples = await scrape(metrics)
        bounds = ("0.0001", "0.00025", "0.0025", "1.0", "+Inf")
        return [value(samples, "xfrmctl_engine_step_seconds_bucket", le=bound) for bound in bounds]

    assert asyncio.run(run()) == [0, 1, 2, 2, 3]


@pytest.mark.parametrize("shown", [False, True])
def test_exemplars_are_shown_where_they_are_wanted(shown: bool) -> None:
    async def run() -> tuple[str, str]:
        metrics = metrics_of(SNAPSHOT)
        metrics.counters.exemplars = shown
        for event in (established(0.03), failed(), rekeyed(0.2), sent(2)):
            metrics.observe(event)
        return await text(metrics), await text(metrics, "application/openmetrics-text")

    plain, open_ = asyncio.run(run())
    assert " # {" not in plain
    found = [line for line in open_.splitlines() if " # {" in line]
    assert len(found) == 4 * shown
    assert all(' # {ike="c#1"} ' in line and line.endswith(" 1800000000.000") for line in found)
