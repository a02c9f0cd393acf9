"""Options of the data plane, by what packets look like: DSCP and ECN outside and inside, marks, if_id, replay.

Host A pings host B; the router shows the outer header, host B the inner one.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.tunnel import LAN, MAIN, connection, lan, no_alarm, text
from xfrmctl.lab import pcap, traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_B, INNER_A, INNER_B, Topology
from xfrmctl.model.snapshot import ChildInfo

pytestmark = pytest.mark.lab

EF, CS1 = 46 << 2, 8 << 2
"""Two DSCPs as bytes of the header."""
ECT0, CE = 2, 3
ESP, ICMP = 50, 1


class Pair:
    """Both gateways, arranged anew for each test."""

    def __init__(self, topology: Topology, gateways: tuple[Gateway, Gateway]) -> None:
        self.topology, self.gateways = topology, gateways

    def arrange(self, *sides: dict[str, Any]) -> None:
        """A's options and B's; the tunnel is up when this returns."""
        for side in (1, 0):
            own = lan(side, local_ts=(INNER_A, INNER_B)[side][0], remote_ts=(INNER_B, INNER_A)[side][0], start="none")
            self.gateways[side].configure(text({MAIN: connection(side, {LAN: own | sides[side]})}))
            assert self.gateways[side].client.reload().ok
        result = self.gateways[0].client.up(MAIN, LAN)
        assert result.ok, f"{result.message}\n{self.gateways[0].log_tail()}\n{self.gateways[1].log_tail()}"

    def child(self, side: int) -> ChildInfo:
        (connection_,) = self.gateways[side].status().connections
        return connection_.ike_sas[-1].children[-1]

    def rules(self, where: str, *rules: str) -> None:
        """iptables rules in the mangle table of a namespace; the last test's are gone."""
        namespace = self.topology.ns(where)
        namespace.run(["iptables", "-w", "-t", "mangle", "-F"])
        for rule in rules:
            namespace.run(["iptables", "-w", "-t", "mangle", *rule.split()])

    def tos(self, sent: int, *, loss: float = 0) -> tuple[int | None, int | None]:
        """The second byte of the IPv4 header outside and inside, for pings sent with this one; None if none came."""
        ns = self.topology.ns
        with Capture(ns("r"), "rb") as outside, Capture(ns("hb"), "eth0") as inside:
            done = traffic.parse_ping(
                ns("ha").run(["ping", "-n", "-Q", str(sent), "-c", "3", "-i", "0.05", "-W", "1", HOST_B[0]],
                             check=False).stdout
            )  # fmt: skip
            files = []
            for capture in (outside, inside):
                capture.stop()
                files.append(capture.file.read_bytes())
        assert done.loss == loss, done.text
        return _tos(files[0], "172.16.1.1", ESP), _tos(files[1], "10.1.1.10", ICMP)


def _tos(data: bytes, source: str, protocol: int) -> int | None:
    address = bytes(map(int, source.split(".")))
    found = {
        frame[15]
        for frame in pcap.frames(data)
        if frame[12:14] == b"\x08\x00" and frame[23] == protocol and frame[26:30] == address
    }
    assert len(found) <= 1, found
    return found.pop() if found else None


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    with Topology() as topology:
        a, b = (Gateway(topology.ns(ns), text({})) for ns in ("ga", "gb"))
        try:
            a.start(wait=False)
            b.start()
            a.wait_ready()
            yield Pair(topology, (a, b))
        finally:
            for gateway in (a, b):
                print(gateway.log_tail())
                gateway.close()


@pytest.fixture(autouse=True)
def clean(both: Pair) -> Iterator[None]:
    yield
    for where in ("ga", "gb", "r"):
        both.rules(where)


@pytest.mark.rfc("4301", "5.1.2")
@pytest.mark.parametrize(
    ("sender", "receiver", "outer", "inner"),
    [
        ({}, {}, EF, EF),
        ({"dscp": {"outbound": "none"}}, {}, 0, EF),
        ({}, {"dscp": {"inbound": "copy"}}, EF, CS1),
    ],
)
def test_dscp(both: Pair, sender: dict[str, Any], receiver: dict[str, Any], outer: int, inner: int) -> None:
    both.arrange(sender, receiver)
    if receiver:
        both.rules("r", "-A POSTROUTING -p esp -o rb -j DSCP --set-dscp 8")
    seen = both.tos(EF)
    assert seen == (CS1 if receiver else outer, inner)
    assert both.child(0).plane.dscp_outbound == sender.get("dscp", {}).get("outbound", "copy")
    assert both.child(1).plane.dscp_inbound == receiver.get("dscp", {}).get("inbound", "keep")


@pytest.mark.rfc("4301", "5.1.2")
def test_ecn_goes_out_and_congestion_comes_in_unless_switched_off(both: Pair) -> None:
    both.arrange({}, {})
    both.rules("r", "-A POSTROUTING -p esp -o rb -j TOS --set-tos 0x03/0x03")
    assert both.tos(ECT0) == (CE, CE)
    both.arrange({"ecn": "off"}, {"ecn": "off"})
    assert both.tos(ECT0) == (CE, ECT0)
    both.rules("r")
    assert both.tos(ECT0) == (0, ECT0)
    both.arrange({}, {})
    assert both.tos(ECT0) == (ECT0, ECT0)


def test_a_fixed_dscp_by_the_mark_of_what_was_encrypted(both: Pair) -> None:
    both.arrange({"dscp": {"outbound": "none"}, "set_mark": {"outbound": "0x2e"}}, {})
    no_alarm(*both.gateways)  # before rules that take the place of the clamp's
    both.rules("ga", "-A OUTPUT -m mark --mark 0x2e -j DSCP --set-dscp 46")
    assert both.tos(CS1) == (EF, CS1)


def test_only_packets_with_the_mark_of_a_child_pass_and_the_others_do_not_leave_in_clear(both: Pair) -> None:
    both.arrange({"mark": {"outbound": "0x2a/0xff"}}, {"mark": "0x2b"})
    no_alarm(*both.gateways)
    both.rules("gb", "-A PREROUTING -i lan -j MARK --set-mark 0x2b")
    assert both.tos(0, loss=1) == (None, None), "no mark, no tunnel, and nothing in clear"
    both.rules("ga", "-A PREROUTING -i lan -j MARK --set-mark 0x12a")
    assert both.tos(0) == (0, 0), "outbound by the low byte of the mark; B marks what it has decrypted"
    both.rules("gb", "-A PREROUTING -i lan -j MARK --set-mark 0x2b", "-A FORWARD -i wan -m mark ! --mark 0x2b -j DROP")
    assert both.tos(0) == (0, 0)
    plane = both.child(1).plane
    assert (plane.mark_inbound, plane.mark_outbound, plane.set_mark_inbound) == ("0x2b", "0x2b", "0x2b")
    down = both.gateways[0].client.down(MAIN)
    assert down.ok
    for where in ("ga", "gb"):
        states = both.topology.ns(where).run(["ip", "xfrm", "state"]).stdout
        assert "spi" not in states.replace("spi 0x00000000", ""), "marked SAs are deleted by their names"


def test_an_if_id_belongs_to_a_device_of_the_operators(both: Pair) -> None:
    namespace = both.topology.ns("ga")
    namespace.batch(["link add own7 type xfrm if_id 7", "link set own7 up", f"route add {INNER_B[0]} dev own7"])
    try:
        both.arrange({"if_id": 7}, {})
        outer, inner = both.tos(0)
        assert (outer, inner) == (0, 0)
        assert both.child(0).if_id == 7
        assert both.child(0).interface is None
        no_alarm(*both.gateways)
        both.arrange({}, {})
        assert "own7" in namespace.run(["ip", "link"]).stdout, "what is not ours stays"
    finally:
        namespace.batch(["link delete own7"])


@pytest.mark.rfc("4303", "3.4.3")
@pytest.mark.parametrize(("window", "esp"), [(32, "aes128gcm16"), (4096, "aes128gcm16-esn"), ("off", "aes128gcm16")])
def test_a_packet_that_comes_twice_passes_only_without_a_replay_window(both: Pair, window: int | str, esp: str) -> None:
    both.arrange({"esp": esp}, {"esp": esp, "replay_window": window})
    state = both.topology.ns("gb").run(["ip", "xfrm", "state"]).stdout
    assert re.search(rf"replay[-_]window {0 if window == 'off' else window}\b", state), state
    with _every_packet_twice(both.topology):
        said = both.topology.ns("ha").run(["ping", "-n", "-c", "5", "-i", "0.05", HOST_B[0]]).stdout
    drops = both.child(1).inbound.replay_drops
    if window == "off":
        assert re.search(r"\+[45] duplicates", said) and not drops, said
    else:
        assert "duplicates" not in said and drops >= 5
    assert both.child(1).plane.replay_window == (0 if window == "off" else window)


@contextmanager
def _every_packet_twice(topology: Topology) -> Iterator[None]:
    """On the way from the router to gateway B."""
    topology.ns("r").run(["tc", "qdisc", "add", "dev", "rb", "root", "netem", "duplicate", "100%"])
    try:
        yield
    finally:
        topology.ns("r").run(["tc", "qdisc", "delete", "dev", "rb", "root"])
