"""Quality of service around a tunnel: a queue that lets voice overtake, what it costs, and the three cures.

The router's link to gateway B is narrow, and its queue sorts by the DSCP of what it sees. Host A sends bulk faster
than the link takes it, and calls beside it. The tunnel copies the DSCP outside, so the queue can tell calls from bulk
although both are ESP: that is wanted. But calls then arrive a queue's length ahead of the bulk that has been encrypted
before them, and gateway B takes what is further behind than its replay window for an old packet (RFC 4303 3.4.3).

Cures: a replay window as large as the queue; or an SA of its own for what overtakes; or a tunnel that hides the DSCP.
"""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, no_alarm, text
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, Topology
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo

pytestmark = pytest.mark.lab

EF = 46
CALL_PORT, BULK_PORT = 7100, 7200
BULK, EVERY = 1500, 30
"""Bulk packets, and after how many of them one of a call goes out."""

SIZE, RATE, QUEUE = 200, "1mbit", 2000
"""Bytes of payload; what the link takes; how many packets wait for it at most, calls apart."""


@dataclass(frozen=True)
class Arrived:
    """How many of each got through, how many were in the queue's way, and the worst place a call had won."""

    bulk: int
    calls: int
    queue_drops: int
    overtaken: int


@contextmanager
def priority_queue(topology: Topology) -> Iterator[None]:
    """The router's link to gateway B: calls first, by the DSCP of the outer header."""
    tc = ["tc", "-batch", "-"]
    lines = (
        "qdisc add dev rb root handle 1: htb default 1",
        f"class add dev rb parent 1: classid 1:1 htb rate {RATE} burst 3k",
        "qdisc add dev rb parent 1:1 handle 2: prio bands 2 priomap 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        f"qdisc add dev rb parent 2:1 handle 21: pfifo limit {QUEUE}",
        f"qdisc add dev rb parent 2:2 handle 22: pfifo limit {QUEUE}",
        f"filter add dev rb parent 2: protocol ip u32 match ip dsfield {EF << 2:#x} 0xfc flowid 2:1",
    )
    topology.ns("r").run(tc, stdin="".join(f"{line}\n" for line in lines))
    try:
        yield
    finally:
        topology.ns("r").run(["tc", "qdisc", "delete", "dev", "rb", "root"])


def bulk_queue(topology: Topology) -> tuple[int, bool]:
    """How many packets it has dropped, and whether none waits there."""
    said = topology.ns("r").run(["tc", "-s", "qdisc", "show", "dev", "rb", "parent", "2:2"]).stdout
    return int(said.partition("dropped ")[2].partition(",")[0]), "backlog 0b 0p" in said


def send(topology: Topology) -> Arrived:
    """Bulk in one go, far faster than the link, with calls among it, and what has become of them."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with (
        ha.socket(socket.AF_INET, socket.SOCK_DGRAM) as bulk,
        ha.socket(socket.AF_INET, socket.SOCK_DGRAM) as call,
        hb.socket(socket.AF_INET, socket.SOCK_DGRAM) as bulk_sink,
        hb.socket(socket.AF_INET, socket.SOCK_DGRAM) as call_sink,
    ):
        call.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EF << 2)
        for sink, port in ((bulk_sink, BULK_PORT), (call_sink, CALL_PORT)):
            sink.bind((HOST_B[0], port))
            sink.setblocking(False)
        arrived: dict[int, list[int]] = {BULK_PORT: [], CALL_PORT: []}
        overtaken = 0

        def collect(wait_s: float) -> bool:
            nonlocal overtaken
            ready = select.select([bulk_sink, call_sink], [], [], wait_s)[0]
            for sink in ready:
                port = sink.getsockname()[1]
                serial = int.from_bytes(sink.recv(2048)[:4], "big")
                arrived[port].append(serial)
                if port == CALL_PORT:
                    overtaken = max(overtaken, serial - max(arrived[BULK_PORT], default=serial))
            return bool(ready)

        for serial in range(BULK):
            bulk.sendto(serial.to_bytes(4, "big") + bytes(SIZE), (HOST_B[0], BULK_PORT))
            if serial % EVERY == 0:
                call.sendto(serial.to_bytes(4, "big") + bytes(SIZE), (HOST_B[0], CALL_PORT))
            while collect(0):
                pass

        def empty() -> bool:
            while collect(0.02):
                pass
            return bulk_queue(topology)[1]

        eventually("the queue is empty", empty)
        while collect(0.5):
            pass
    return Arrived(len(arrived[BULK_PORT]), len(arrived[CALL_PORT]), bulk_queue(topology)[0], overtaken)


@contextmanager
def tunnel(topology: Topology, children: dict[str, dict[str, Any]]) -> Iterator[tuple[Gateway, Gateway]]:
    """Both gateways with these children, up; what is not said is as ever."""
    nets = (INNER_A[0], INNER_B[0])
    made = []
    for side, ns in enumerate(("ga", "gb")):
        own = {
            name: lan(side, **({"local_ts": nets[side], "remote_ts": nets[1 - side]} | _side(options, side)))
            for name, options in children.items()
        }
        entry = connection(side, own) | {"ike": {"dpd": "30s"}}
        made.append(Gateway(topology.ns(ns), text({MAIN: entry}, path_mtu={"probe": False})))
    try:
        for gateway in reversed(made):
            gateway.start()
        eventually("all children stand", lambda: len(standing(made[0])) == len(standing(made[1])) == len(children))
        yield made[0], made[1]
    finally:
        for gateway in made:
            print(gateway.log_tail(30))
            gateway.close()


def _side(options: dict[str, Any], side: int) -> dict[str, Any]:
    """Selectors are written from A's side: (A's, B's)."""
    ends = options.get("between")
    rest = {key: value for key, value in options.items() if key != "between"}
    return rest | ({"local_ts": ends[side], "remote_ts": ends[1 - side]} if ends else {})


def standing(gateway: Gateway) -> list[ChildInfo]:
    found: ConnectionInfo = gateway.client.connection(MAIN)
    return [child for ike in found.ike_sas for child in ike.children]


def drops(gateway: Gateway) -> int:
    return sum(child.inbound.late_drops for child in standing(gateway))


def test_a_small_replay_window_drops_what_was_overtaken_and_it_is_told(topology: Topology) -> None:
    with tunnel(topology, {LAN: {"replay_window": 32}}) as (_, b), priority_queue(topology):
        found = send(topology)
        lost = drops(b)
        print(found, lost)
        assert found.calls == BULK // EVERY, "calls are what the queue is for"
        assert found.overtaken > 32, "the queue has really reordered"
        assert lost > 100
        assert lost == BULK - found.bulk - found.queue_drops, "each packet is accounted for"
        assert f"{lost} late" in b.ctl_text("show").stdout
        assert [f.id for f in b.client.diagnose(None, 0).findings] == ["late-drops"]
        metric = f'xfrmctl_child_late_drops_total{{child="{LAN}",connection="{MAIN}"}} {lost}.0'
        assert metric in b.metrics()


@pytest.mark.rfc("4303", "3.4.3")
def test_a_replay_window_of_the_queues_length_loses_nothing(topology: Topology) -> None:
    with tunnel(topology, {LAN: {"replay_window": 2048}}) as (_, b), priority_queue(topology):
        found = send(topology)
        print(found)
        assert drops(b) == 0
        assert (found.calls, found.bulk) == (BULK // EVERY, BULK - found.queue_drops)
        assert found.overtaken > 32
        no_alarm(b)


@pytest.mark.rfc("4301", "4.1")
def test_an_sa_of_its_own_for_calls_loses_nothing_with_any_window(topology: Topology) -> None:
    calls = (f"{HOST_A[0]}/32[udp]", f"{HOST_B[0]}/32[udp/{CALL_PORT}]")
    children: dict[str, dict[str, Any]] = {LAN: {"replay_window": 32}, "calls": {"replay_window": 32, "between": calls}}
    with tunnel(topology, children) as (_, b), priority_queue(topology):
        found = send(topology)
        print(found)
        assert drops(b) == 0
        assert (found.calls, found.bulk) == (BULK // EVERY, BULK - found.queue_drops)
        assert found.overtaken > 32


def test_a_tunnel_that_hides_the_dscp_is_not_reordered(topology: Topology) -> None:
    """All wait in one queue then, calls too: nothing is lost to the replay window, and nothing is preferred."""
    with tunnel(topology, {LAN: {"replay_window": 32, "dscp": {"outbound": "none"}}}) as (_, b):
        with priority_queue(topology):
            found = send(topology)
        print(found)
        assert drops(b) == 0
        assert found.overtaken <= EVERY
