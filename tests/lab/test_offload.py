"""Hardware offload with netdevsim as the hardware: what the kernel shows of an SA, and why where it encrypts itself."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from tests.lab.kernel_gateway import GCM, REQID, SUITES, Gateway, gateways, inside, keys_of
from tests.lab.tunnel import LAN, MAIN, connection, lan, no_alarm, text
from xfrmctl.kernel.offload import FEATURE, features
from xfrmctl.lab.gateway import Gateway as Daemon
from xfrmctl.lab.topology import Topology
from xfrmctl.model.plane import Offload, PlaneOptions
from xfrmctl.model.sa import Direction, Encap, KernelSa, SaKeys
from xfrmctl.model.suite import Suite

pytestmark = pytest.mark.lab

CRYPTO = PlaneOptions(offload=Offload.CRYPTO)
OURS, PEER = ip_address("172.16.77.1"), ip_address("172.16.77.2")


@pytest.fixture
def device(topology: Topology) -> Iterator[str]:
    """A network device with an IPsec engine at gateway A, on the way to PEER."""
    namespace = topology.ns("ga")
    namespace.run(["sh", "-c", "echo '7 1' >/sys/bus/netdevsim/new_device"])
    try:
        names = namespace.run(["sh", "-c", "ls /sys/bus/netdevsim/devices/netdevsim7/net"]).stdout.split()
        namespace.batch([f"link set {names[0]} up", f"address add {OURS}/24 dev {names[0]}"])
        yield names[0]
    finally:
        namespace.run(["sh", "-c", "echo 7 >/sys/bus/netdevsim/del_device"])


def pair(suite: Suite = GCM, **changes: Any) -> list[tuple[KernelSa, SaKeys]]:
    return [
        (
            KernelSa(
                direction=direction,
                source=OURS if direction is Direction.OUT else PEER,
                destination=PEER if direction is Direction.OUT else OURS,
                spi=0x2000 + number,
                reqid=REQID,
                suite=suite,
                **({"options": CRYPTO} | changes),
            ),
            keys_of(suite),
        )
        for number, direction in enumerate((Direction.OUT, Direction.IN))
    ]


def installed(gateway: Gateway, sas: list[tuple[KernelSa, SaKeys]]) -> set[str]:
    """What became of the wish of each SA."""
    with inside(gateway.ns):
        gateway.kernel.install(sas)
        found = {counters.offload for counters in gateway.kernel.dump().values()}
        gateway.kernel.delete([sa.id for sa, _ in sas])
        assert gateway.kernel.dump() == {}
    return found


def test_what_the_device_takes_is_read_back_from_the_kernel(topology: Topology, device: str) -> None:
    with gateways(topology) as (gateway, _):
        with inside(gateway.ns):
            assert features(device)[FEATURE] and not features("wan")[FEATURE]
        assert installed(gateway, pair()) == {f"crypto on {device}"}
        assert installed(gateway, pair(options=replace(CRYPTO, offload=Offload.AUTO))) == {f"crypto on {device}"}
        assert installed(gateway, pair(options=PlaneOptions())) == {""}
        assert installed(gateway, pair(encap=Encap(4500, 4500))) == {f"crypto on {device}"}


@pytest.mark.parametrize(("suite", "word"), [(SUITES["aes256gcm16-esn"], "ESN"), (SUITES["aes128-sha256"], "no: ")])
def test_what_the_device_refuses_the_kernel_does_and_the_reason_is_kept(
    topology: Topology, device: str, suite: Suite, word: str
) -> None:
    with gateways(topology) as (gateway, _):
        (shown,) = installed(gateway, pair(suite))
    assert shown.startswith("no: ") and word in shown, shown


def test_a_daemon_tells_what_is_offloaded_and_why_not(topology: Topology) -> None:
    a, b = (text({MAIN: connection(side, {LAN: lan(side, start="none", offload="crypto")})}) for side in (0, 1))
    with Daemon(topology.ns("ga"), a) as one, Daemon(topology.ns("gb"), b):
        assert one.client.up(MAIN).ok
        (child,) = one.status().connections[0].ike_sas[0].children
        assert child.inbound.offload == child.outbound.offload
        assert child.inbound.offload.startswith(f"no: wan has no {FEATURE}")
        labels = f'child="{LAN}",connection="{MAIN}",direction="in"'
        assert f"xfrmctl_child_offloaded{{{labels}}} 0.0" in one.metrics()
        no_alarm(one)
        assert f"no: wan has no {FEATURE}" in " ".join(one.ctl_text("show", MAIN).stdout.split())
