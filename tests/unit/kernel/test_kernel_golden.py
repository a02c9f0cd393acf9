"""What Linux 6.12 really sends, for objects that iproute2 made: dumps and events read back to values."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from xfrmctl.kernel.desired import Action, Policy, PolicyKey, Template
from xfrmctl.kernel.events import Acquire, Expire
from xfrmctl.kernel.netlink.notifications import event_from
from xfrmctl.kernel.netlink.policy import KernelPolicy, policies_from
from xfrmctl.kernel.netlink.sa import counters_from
from xfrmctl.model.flow import port
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import Direction, SaId

REQID, IF_ID = 0x58000007, 0x58000003


def messages(group: str) -> list[tuple[int, memoryview]]:
    lines = (Path(__file__).parent / "linux-6.12.txt").read_text().splitlines()
    rows = (line.split() for line in lines if not line.startswith("#"))
    return [(int(kind, 16), memoryview(bytes.fromhex(data))) for name, kind, data in rows if name == group]


def test_sa_dump_has_ours_only() -> None:
    found = counters_from(messages("sa"))
    assert set(found) == {
        SaId(ip_address("172.16.1.1"), ProtocolId.ESP, 0xC0FFEE01),
        SaId(ip_address("fd16:1::1"), ProtocolId.ESP, 0xC0FFEE02),
        SaId(ip_address("172.16.1.1"), ProtocolId.ESP, 0xC0FFEE04),
    }  # not 0xc0ffee03, whose reqid is 7, and not the larval one
    one = found[SaId(ip_address("fd16:1::1"), ProtocolId.ESP, 0xC0FFEE02)]
    assert (one.reqid, one.bytes, one.packets, one.used_at) == (0x58000008, 0, 0, 0)
    assert one.added_at > 1_500_000_000


def test_policy_dump_has_ours_only() -> None:
    template = Template(ip_address("172.16.1.1"), ip_address("172.16.2.1"), REQID)
    net = ip_network
    one = PolicyKey(Direction.OUT, net("10.1.1.0/24"), net("10.1.2.0/24"), 6, source_port=port(80), if_id=IF_ID)
    two = PolicyKey(Direction.FWD, net("fd10:1::/64"), net("fd10:2::/64"))
    three = PolicyKey(Direction.OUT, net("10.1.1.0/24"), net("10.5.2.0/24"))
    found = {held.policy.key: held for held in policies_from(messages("pol"))}
    assert found == {  # iproute2 gave them no flag
        one: KernelPolicy(0x58000009, Policy(one, Action.ALLOW, 1234, template, errors=False)),
        two: KernelPolicy(0x58000012, Policy(two, Action.BLOCK, 99, errors=False)),
        three: KernelPolicy(0x58000019, Policy(three, Action.ALLOW, 1234, template, errors=False)),
    }


def test_events() -> None:
    found = [event for kind, payload in messages("ev") if (event := event_from(kind, payload)) is not None]
    acquire, *expiries = found
    assert isinstance(acquire, Acquire)
    assert acquire == Acquire(
        reqid=REQID,
        if_id=0,
        seq=acquire.seq,
        source=ip_address("10.1.1.1"),
        destination=ip_address("10.5.2.7"),
        protocol=17,
        source_port=4321,
        destination_port=53,
    )
    assert acquire.seq > 0
    name = SaId(ip_address("172.16.1.1"), ProtocolId.ESP, 0xC0FFEE04)
    assert expiries == [Expire(name, REQID, hard=False), Expire(name, REQID, hard=True)]


@pytest.mark.parametrize("group", ["sa", "pol", "ev"])
def test_a_message_cut_short_is_not_believed(group: str) -> None:
    for kind, payload in messages(group):
        for size in range(len(payload) - 40, len(payload)):
            cut = [(kind, payload[:size])]
            try:
                counters_from(cut)
                policies_from(cut)
            except Exception as error:  # struct.error: the kernel does not send such, but it must not hang
                assert type(error).__name__ == "error"
