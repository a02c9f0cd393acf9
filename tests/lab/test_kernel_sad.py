"""SAs in the real kernel: every suite carries traffic, counters come back, refusals can be read, expiries arrive."""

import errno
import select
import time
from dataclasses import replace

import pytest

from tests.lab.kernel_gateway import GCM, REQID, SUITES, Gateway, gateways, inside, keys_of
from xfrmctl.kernel.events import Acquire, Expire, KernelEvent
from xfrmctl.kernel.netlink import sa as sa_messages
from xfrmctl.kernel.ports import EventSource
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.topology import HOST_B, Topology
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.iana import Encr
from xfrmctl.model.sa import DataPlane, DfPolicy, Direction, Lifetime

pytestmark = pytest.mark.lab


def wait_for(source: EventSource, seconds: float, count: int = 1) -> list[KernelEvent]:
    """Events, until ``count`` have come or time is up."""
    found: list[KernelEvent] = []
    deadline = time.monotonic() + seconds
    while len(found) < count and (left := deadline - time.monotonic()) > 0:
        if select.select([source], [], [], left)[0]:
            found += source.read()
    return found


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("outer", [4, 6])
def test_every_suite_carries_both_families(topology: Topology, name: str, outer: int) -> None:
    with gateways(topology, outer=outer) as both:
        for gateway in both:
            gateway.converge(gateway.desired())
            gateway.kernel.install(gateway.sas(SUITES[name], df=DfPolicy.CLEAR))
        with Capture(topology.ns("r"), "rb") as capture:
            for address in HOST_B:
                assert traffic.ping(topology.ns("ha"), address).loss == 0
        assert capture.report.problems() == []
        for gateway in both:
            counters = gateway.kernel.dump()
            assert {sa.id for sa, _ in gateway.sas()} == set(counters)
            assert all(c.packets == 6 and c.bytes > 6 * 84 - 1 and c.reqid == REQID for c in counters.values())
            assert all(abs(c.used_at - time.time()) < 60 and c.added_at <= c.used_at for c in counters.values())
        stat = both[1].kernel.xfrm_stat()
        with inside(both[1].ns):
            stat = both[1].kernel.xfrm_stat()
        assert stat["XfrmInStateProtoError"] == 0 and "XfrmOutPolBlock" in stat


def test_a_batch_is_all_or_none_and_the_refusal_can_be_read(topology: Topology) -> None:
    with gateways(topology) as (ga, _):
        ga.kernel.install(ga.sas())
        before = ga.kernel.dump().keys()
        fresh, taken = ga.sas(spi=0x2000)[0], ga.sas()[0]
        with pytest.raises(KernelRefusal, match="already in use") as caught:
            ga.kernel.install([fresh, taken])
        assert caught.value.code == errno.EEXIST
        assert "install SA" in str(caught.value) and "0x0000100" in str(caught.value)
        assert ga.kernel.dump().keys() == before
        ga.kernel.delete([sa.id for sa, _ in ga.sas()])
        ga.kernel.delete([sa.id for sa, _ in ga.sas()])  # gone already
        assert ga.kernel.dump() == {}


def test_an_algorithm_that_the_kernel_does_not_have(topology: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    cipher = replace(sa_messages._AEAD[Encr.AES_GCM_16], name=b"rfc4106(gcm(rot13))")
    monkeypatch.setitem(sa_messages._AEAD, Encr.AES_GCM_16, cipher)
    with gateways(topology) as (ga, _):
        with pytest.raises(KernelRefusal) as caught:
            ga.kernel.install(ga.sas())
        assert caught.value.code == errno.ENOSYS
        assert "rfc4106(gcm(rot13))" in str(caught.value) and "AEAD algorithm not found" in str(caught.value)


def test_soft_and_hard_expiry(topology: Topology) -> None:
    with gateways(topology) as (ga, _):
        with inside(ga.ns):
            events = ga.kernel.open_events()
        ga.kernel.install(ga.sas(lifetime=Lifetime(soft_seconds=1, hard_seconds=3))[:1])
        [(sa, _)] = ga.sas()[:1]
        found = wait_for(events, 8, count=2)
        assert found == [Expire(sa.id, REQID, hard=False), Expire(sa.id, REQID, hard=True)]
        assert ga.kernel.dump() == {}
        events.close()


@pytest.mark.parametrize("plane", list(DataPlane))
@pytest.mark.parametrize("family", [4, 6])
def test_first_packet_acquires_and_the_sa_takes_the_larval_ones_place(
    topology: Topology, plane: DataPlane, family: int
) -> None:
    address = HOST_B[0 if family == 4 else 1]
    with gateways(topology, plane=plane) as both:
        ga, gb = both
        with inside(ga.ns):
            events = ga.kernel.open_events()
        for gateway in both:
            gateway.converge(gateway.desired())
        gb.kernel.install(gb.sas())
        ping = topology.ns("ha").popen(["ping", "-n", "-i", "0.2", "-c", "40", address])
        acquires = [event for event in wait_for(events, 5) if isinstance(event, Acquire)]
        assert len(acquires) == 1
        acquire = acquires[0]
        assert (acquire.reqid, acquire.if_id) == (REQID, ga.if_id)
        assert str(acquire.destination) == address and acquire.protocol in (1, 58)
        assert acquire.seq > 0 and _states(ga) == 1
        ga.kernel.install(
            [
                (replace(sa, acquire_seq=acquire.seq) if sa.direction is Direction.OUT else sa, keys)
                for sa, keys in ga.sas()
            ]
        )
        assert _states(ga) == 2  # the larval one is gone
        assert traffic.ping(topology.ns("ha"), address, interval_s=0.02).loss == 0
        ping.kill()
        ping.wait()
        assert wait_for(events, 0.2) == []
        events.close()


def test_a_foreign_policys_acquire_is_not_ours(topology: Topology) -> None:
    with gateways(topology) as (ga, _):
        with inside(ga.ns):
            events = ga.kernel.open_events()
        template = "tmpl src 172.16.1.1 dst 172.16.2.1 proto esp reqid 7 mode tunnel"
        ga.ns.batch([f"xfrm policy add src 10.1.1.0/24 dst 10.1.2.0/24 dir out {template}"])
        traffic.ping(topology.ns("ha"), HOST_B[0], count=1, wait_s=0.5)
        assert wait_for(events, 1) == []
        assert _states(ga) == 1 and ga.kernel.dump() == {}
        events.close()


def _states(gateway: Gateway) -> int:
    return gateway.ns.run(["ip", "xfrm", "state"]).stdout.count("src ") - gateway.ns.run(
        ["ip", "xfrm", "state"]
    ).stdout.count("sel src ")


def test_keys_are_not_shown() -> None:
    assert "bytes" in repr(keys_of(GCM)) and "\\x01" not in repr(keys_of(GCM))
