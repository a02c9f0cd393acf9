"""Never in clear (DESIGN 3.11): captures on the router, while 400 packets a second of the child's selectors come.

Four flows run all the time, IPv4 and IPv6, from host A and from host B. Each test does one thing to a gateway and
asserts that none of the packets showed on the underlay except inside ESP; the last ones show that the operator can
end the protection, which also proves that the captures would have seen a packet in clear.
"""

import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.lab.tunnel import LAN, MAIN, Stream, World, connection, eventually, ike_dropped, lan, network_of
from xfrmctl.lab import gateway
from xfrmctl.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.slow]

DWELL_S = 0.4
"""How long a state is watched: 40 packets of each flow."""


@pytest.fixture(scope="module", params=["policy", "interface"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with Topology() as topology, Stream(topology) as stream:
        world = World(topology, stream, request.param)
        try:
            yield world
        finally:
            world.close()


def ikeless(world: World) -> bool:
    return not world.a.client.connection(MAIN).ike_sas


@pytest.mark.rfc("3948", "5.2")
def test_start_negotiating_and_giving_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first policy on: while starting, while nobody answers, when the peer is given up, until it is up."""
    monkeypatch.setattr(gateway.Gateway, "spawn", gateway.spawn)  # as a service manager does it, not the nursery
    a = world.config(0, retry={"first": "0.5s", "tries": 1})
    marks = [0, 0]
    world.a.configure(a)
    with ike_dropped(world.topology), world.watch() as seen:
        time.sleep(DWELL_S)
        for side, one in enumerate(world.gateways):
            one.start(wait=False)
            eventually("the first policy stands", partial(world.guarded, side), timeout_s=60, every_s=0.005)
            marks[side] = world.stream.serial
        for one in world.gateways:
            one.wait_ready()
        eventually("a failed attempt is told", lambda: world.a.client.connection(MAIN).last_failure)
        eventually("the peer is given up", lambda: world.a.client.connection(MAIN).state == "down")
        assert ikeless(world)
        assert world.stream.stands(DWELL_S)
    before = [serial for serial in seen.clear if serial <= marks[0]]
    assert before, "nothing was in clear before the daemon: the capture would not see it"
    seen.nothing_in_clear(after=max(marks), esp=False)
    with world.watch() as seen:
        assert world.a.client.up(MAIN).ok
        world.stream.flows()
        time.sleep(DWELL_S)
    seen.nothing_in_clear(esp=True)


@pytest.mark.rfc("3948", "3.1.1")
def test_down(world: World) -> None:
    world.base()
    with world.watch() as seen:
        assert world.a.client.down(MAIN).ok
        assert world.stream.stands(DWELL_S)
        assert world.a.client.up(MAIN).ok
        world.stream.flows()
    seen.nothing_in_clear(esp=True)


def test_stop_and_traps_at_both_ends(world: World) -> None:
    """SIGTERM on either side; then both start with traps and packets already there: both initiate at once."""
    world.base()
    with world.watch() as seen:
        assert world.a.stop() == 0
        assert world.stream.stands(DWELL_S)
        assert world.b.stop() == 0
        assert world.stream.stands(DWELL_S)
        for side, one in enumerate(world.gateways):
            one.configure(world.config(side, start="trap"))
            one.start(wait=False)
        for one in world.gateways:
            one.wait_ready()
        world.stream.flows()
        time.sleep(DWELL_S)
    seen.nothing_in_clear(esp=True)


def test_crash_and_restart(world: World) -> None:
    """SIGKILL: SAs and policies stay and go on working; the new daemon begins afresh behind the same policies."""
    world.base()
    with world.watch() as seen:
        world.a.kill()
        world.stream.flows()
        time.sleep(DWELL_S)
        world.base()
        time.sleep(DWELL_S)
    seen.nothing_in_clear(esp=True)


def test_peer_crashes_and_then_we(world: World) -> None:
    """SIGKILL of the peer's daemon; ours notices and tries again, and is killed without an SA."""
    world.base()
    with world.watch() as seen:
        world.b.kill()
        eventually("the peer counts as dead", lambda: world.a.client.connection(MAIN).state != "up")
        assert world.stream.stands(DWELL_S)
        world.a.kill()
        network_of(world.b.namespace, "xfrm", "state", "flush")
        assert world.stream.stands(DWELL_S)
        with ike_dropped(world.topology):
            world.a.start()
            world.b.start()
            assert world.stream.stands(DWELL_S)
        world.base()
    seen.nothing_in_clear(esp=True)


def test_reload_that_changes_the_child(world: World) -> None:
    world.base()
    changed = [world.config(side, esp="chacha20poly1305-x25519", replay_window=64) for side in (0, 1)]
    with world.watch() as seen:
        world.base(*changed)
        time.sleep(DWELL_S)
    seen.nothing_in_clear(esp=True)
    assert "chacha20poly1305" in world.a.client.connection(MAIN).ike_sas[0].children[0].suite
    narrow = world.config(0, remote_ts=["10.1.2.0/25", "fd10:2::/65"])
    with world.watch() as seen:
        world.base(a=narrow)
        time.sleep(DWELL_S)
    seen.nothing_in_clear(esp=True)


def test_reload_that_changes_the_data_plane(world: World) -> None:
    world.base()
    other = "interface" if world.dataplane == "policy" else "policy"
    with world.watch() as seen:
        world.base(a=world.config(0, dataplane=other))
        time.sleep(DWELL_S)
        world.base()
    seen.nothing_in_clear(esp=True)


def test_reload_that_removes_another_connection(world: World) -> None:
    child = {"far": {**lan(0, world.dataplane), "remote_ts": ["10.77.0.0/24", "fd77::/64"], "start": "none"}}
    other = {**connection(0, child), "remote": {"address": "172.16.2.77"}}
    world.base(a=world.config(0, {"other": other}))
    serial = world.a.client.connection(MAIN).ike_sas[0].name
    with world.watch() as seen:
        before = world.stream.serial
        world.base()
        took = world.stream.serial - before
        time.sleep(DWELL_S)
    seen.nothing_in_clear(esp=True)
    assert world.a.client.connection(MAIN).ike_sas[0].name == serial, f"the tunnel was touched ({took} packets)"


def test_interface_deleted_by_hand(world: World) -> None:
    """It is made again by itself: routes of ours have gone with it, which is seen."""
    if world.dataplane == "policy":
        pytest.skip("there is no interface")
    world.base()
    namespace = world.a.namespace
    name = network_of(namespace, "-o", "link", "show", "type", "xfrm").split()[1].partition("@")[0]
    with world.watch() as seen:
        network_of(namespace, "link", "delete", name)
        eventually("the interface is back", lambda: name in network_of(namespace, "-o", "link", "show", "type", "xfrm"))
        world.stream.flows()
    seen.nothing_in_clear(esp=True)


@pytest.mark.parametrize("how", ["deleteall", "flush"])
@pytest.mark.parametrize("side", [0, 1])
def test_sas_deleted_by_hand(world: World, how: str, side: int) -> None:
    """Nothing in clear, and the tunnel comes back by itself."""
    world.base()
    with world.watch() as seen:
        # deleteall complains about SAs that the daemon has deleted meanwhile
        world.gateways[side].namespace.run(["ip", "xfrm", "state", how], check=False)
        world.stream.flows()
        time.sleep(DWELL_S)
    seen.nothing_in_clear(esp=True)


def test_policies_flushed_by_hand(world: World) -> None:
    """Whoever takes our policies away opens the gate; the daemon hears of it and shuts it within moments."""
    if world.dataplane == "interface":
        pytest.skip("routes decide what goes into the tunnel")
    world.base()
    with world.watch() as seen:
        network_of(world.a.namespace, "xfrm", "policy", "flush")
        time.sleep(1)
        shut = world.stream.serial
        time.sleep(DWELL_S)
    print(f"{len(seen.clear)} packets in clear")
    seen.nothing_in_clear(after=shut, esp=True)


def test_hard_lifetime(world: World) -> None:
    world.base(a=world.config(0, rekey={"time": "off"}, lifetime={"time": "2s"}))
    first = world.a.client.connection(MAIN).ike_sas[0].children[0].outbound.spi
    with world.watch() as seen:
        time.sleep(3)
        world.a.wait_up(MAIN)
        world.stream.flows()
    seen.nothing_in_clear(esp=True)
    assert world.a.client.connection(MAIN).ike_sas[0].children[0].outbound.spi != first


def test_taking_the_child_out_ends_the_block_and_putting_it_back_begins_it(world: World) -> None:
    world.base()
    elsewhere: dict[str, Any] = {"remote_ts": ["10.77.0.0/24", "fd77::/64"], "start": "none"}
    with world.watch() as seen:
        world.configure(0, world.config(0, **elsewhere))
        time.sleep(DWELL_S)
        out_until = world.stream.serial
        world.base()
        back = world.stream.serial
        time.sleep(DWELL_S)
    assert sum(serial <= out_until for serial in seen.clear) > 20
    seen.nothing_in_clear(after=back, esp=True)


def test_cleanup_ends_the_block(world: World) -> None:
    world.base()
    with world.watch() as seen:
        world.a.kill()
        world.a.ctl_text("cleanup")
        time.sleep(DWELL_S)
        cleaned = world.stream.serial
        world.base()
        back = world.stream.serial
        time.sleep(DWELL_S)
    assert sum(serial <= cleaned for serial in seen.clear) > 20
    seen.nothing_in_clear(after=back, esp=True)
    assert LAN in world.a.config_file.read_text()


def test_protect_blocks_without_a_daemon_as_at_boot(world: World) -> None:
    """What the unit xfrmctl-boot does before there is a network; the daemon then takes over."""
    world.base()
    world.a.kill()
    world.a.ctl_text("cleanup")
    with world.watch() as seen:
        argv = ["-m", "xfrmctl", "daemon", "--protect", "--config", str(world.a.config_file)]
        world.a.namespace.run([sys.executable, *argv, "--state", str(world.a.directory / "state")])
        protected = world.stream.serial
        time.sleep(DWELL_S)
        assert not world.a.running
        world.base()
        time.sleep(DWELL_S)
    seen.nothing_in_clear(after=protected, esp=True)
