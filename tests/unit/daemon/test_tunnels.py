"""A child with a tunnel device -> the device, its routes, and what must never leave in clear."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from tests.sim.world import ALICE, BOB, child, connection
from xfrmctl.daemon.intent import Established, of_child, sizes
from xfrmctl.daemon.tunnels import BLACKHOLE_METRIC
from xfrmctl.ike.config import ChildConfig
from xfrmctl.kernel.desired import Action, Desired, TunnelInterface, TunnelKind
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.model.iana import Encr, ProtocolId
from xfrmctl.model.plane import PlaneOptions
from xfrmctl.model.sa import Direction, Mode
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Suite
from xfrmctl.model.tunnel import Tunnel, TunnelType

GCM = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256)
ENDS = ip_address(ALICE), ip_address(BOB)
GRE = Tunnel(
    type=TunnelType.GRE,
    interface="gre1",
    addresses=(ip_interface("10.255.0.1/30"),),
    routes=(ip_network("10.2.0.0/16"),),
)


def config(tunnel: Tunnel = GRE) -> ChildConfig:
    own = [(TrafficSelector(end, end, tunnel.type.protocol),) for end in ENDS]
    return replace(child(), mode=Mode.TRANSPORT, local_ts=own[0], remote_ts=own[1], tunnel=tunnel, reqid=0x58000001)


def part(wanted: ChildConfig, *, mode: Mode | None = None, outer: int = 1500, **more: bool) -> Desired:
    conn = connection(ALICE, BOB, wanted)
    up = Established(wanted.reqid, GCM, *ENDS, False, mode, wanted.local_ts, wanted.remote_ts) if mode else None
    return of_child(conn, wanted, up, sizes(conn, wanted, up, outer), **more)


def device(desired: Desired) -> TunnelInterface:
    (found,) = desired.interfaces.values()
    assert isinstance(found, TunnelInterface)
    return found


def test_the_device_has_the_size_that_its_sa_leaves() -> None:
    assert device(part(config(), mode=Mode.TRANSPORT)).mtu == 1442
    assert device(part(config(replace(GRE, key=1)), mode=Mode.TRANSPORT)).mtu == 1438
    assert device(part(config(), mode=Mode.TUNNEL)).mtu == 1422, "where the peer insists on a tunnel"
    assert device(part(config(), mode=Mode.TRANSPORT, outer=1400)).mtu == 1342
    assert device(part(config())).mtu < 1442, "before anything is negotiated: what any of the proposals leaves"
    ipip = replace(GRE, type=TunnelType.IPIP)
    assert device(part(config(ipip), mode=Mode.TRANSPORT)).mtu == 1446


def test_the_device_is_as_configured() -> None:
    found = device(part(config(replace(GRE, key=42, ttl=9)), mode=Mode.TRANSPORT))
    assert (found.kind, found.local, found.remote, found.key, found.ttl) == (TunnelKind.GRE, *ENDS, 42, 9)
    assert found.addresses == {ip_interface("10.255.0.1/30")} and found.up and found.clamped and found.copy_tos
    quiet = replace(config(), mss="off", options=PlaneOptions(dscp_out=False))
    assert not device(part(quiet)).clamped and not device(part(quiet)).copy_tos


@pytest.mark.parametrize("mode", [None, Mode.TRANSPORT])
@pytest.mark.parametrize("more", [{}, {"up": False}, {"stopping": True}])
def test_its_packets_are_never_without_a_policy(mode: Mode | None, more: dict[str, bool]) -> None:
    desired = part(config(), mode=mode, **more)
    for direction in (Direction.OUT, Direction.IN):
        (policy,) = [p for k, p in desired.policies.items() if (k.direction, k.protocol) == (direction, 47)]
        assert policy.action is Action.BLOCK or policy.template is not None
        assert policy.errors, "or the kernel's errors would quote decrypted packets in clear"
    assert any(r.device is None and r.metric == BLACKHOLE_METRIC for r in desired.routes)


@pytest.mark.parametrize("more", [{}, {"up": False}, {"stopping": True}])
def test_over_ipv6_errors_that_quote_decrypted_packets_are_blocked(more: dict[str, bool]) -> None:
    ends = ip_address("fd16:1::1"), ip_address("fd16:2::1")
    narrow, wide = ([(TrafficSelector(e, e, protocol),) for e in ends] for protocol in (47, 0))
    for (local_ts, remote_ts), blocks in ((narrow, {(1, 4), (4, 1)}), (wide, set[tuple[int, int]]())):
        wanted = replace(config(), local_ts=local_ts, remote_ts=remote_ts)
        conn = connection(str(ends[0]), str(ends[1]), wanted)
        policies = of_child(conn, wanted, None, sizes(conn, wanted, None, 1500), **more).policies
        found = [p for k, p in policies.items() if k.protocol == 58 and p.action is Action.BLOCK]
        assert {(p.key.source_port.value, p.key.destination_port.value) for p in found} == blocks
        assert all(p.key.direction is Direction.OUT for p in found)


def test_a_device_that_is_down_has_neither_addresses_nor_routes() -> None:
    desired = part(config(), mode=Mode.TRANSPORT, up=False)
    assert not device(desired).up and not device(desired).addresses
    assert [r.device for r in desired.routes] == [None]
    assert not part(config(), stopping=True).interfaces


def test_a_device_is_never_too_small_for_ipv6() -> None:
    six = replace(
        GRE,
        addresses=(*GRE.addresses, ip_interface("fd00::1/64")),
        routes=(*GRE.routes, ip_network("fd00:2::/64")),
    )
    wide, narrow = (part(config(six), mode=Mode.TRANSPORT, outer=outer) for outer in (1340, 1300))
    assert device(wide).mtu > 1280 and not device(wide).narrow, "the outer header has DF"
    assert (device(narrow).mtu, device(narrow).narrow) == (1280, 1242), "fragments outside for what does not fit"
    for desired in (wide, narrow):
        assert {a.version for a in device(desired).addresses} == {4, 6}
        assert {r.destination.version for r in desired.routes if r.device is None} == {4, 6}, "nothing leaves in clear"
    fits = {r.destination.version: r.mtu for r in narrow.routes if r.device}
    assert fits == {4: 1242, 6: None}, "IPv4 is told; the kernel would drop IPv6 above the MTU of a route"
    only_ipv4 = part(config(), mode=Mode.TRANSPORT, outer=1300)
    assert (device(only_ipv4).mtu, device(only_ipv4).narrow) == (1242, 0)


def test_the_kernel_gets_it_and_loses_it_again() -> None:
    kernel = FakeKernel()
    up = part(config(), mode=Mode.TRANSPORT)
    assert not kernel.converge(up).problems
    assert "interface gre1 gre 10.0.0.1 -> 10.0.0.2" in kernel.render().replace(ALICE, "10.0.0.1").replace(
        BOB, "10.0.0.2"
    )
    assert not kernel.plan(up)
    for other in (
        part(config(), mode=Mode.TRANSPORT, outer=1400),
        part(config(replace(GRE, key=7)), mode=Mode.TRANSPORT),
        part(config(), mode=Mode.TRANSPORT, up=False),
    ):
        assert [str(o)[:1] for o in kernel.plan(other).operations if "interface" in str(o)] == ["~"], "in place"
    renamed = part(config(replace(GRE, interface="gre2")), mode=Mode.TRANSPORT)
    assert not kernel.converge(renamed).problems, "two devices cannot have the same ends: the old one goes first"
    assert list(kernel.interfaces) == ["gre2"]
    ipip = part(config(replace(GRE, interface="gre2", type=TunnelType.IPIP)), mode=Mode.TRANSPORT)
    assert [str(o)[:1] for o in kernel.plan(ipip).operations if "interface" in str(o)] == ["-", "+"]
